"""`deploy/local-kafka/kafka.sh`: starts, stops, keeps its data, ends with its parent, refuses."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from tests.brokers import KAFKA_SH, comes_true, wait_until_gone

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
PARENT = """
import subprocess, sys
broker = subprocess.Popen([sys.argv[1], "--until-stdin-closes"], stdin=subprocess.PIPE)
sys.stderr.write(f"pid {broker.pid}\\n")
broker.wait()
"""


def refused(environment, *arguments):
    """Runs kafka.sh where it must refuse; exit code and the lines on stderr."""
    done = subprocess.run(
        [KAFKA_SH, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr.strip().splitlines()


async def end_of(bootstrap, topic):
    """How many records partition 0 of a topic holds."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        partition = TopicPartition(topic, 0)
        return (await consumer.end_offsets([partition]))[partition]


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_data_outlive_the_broker(how, kafka_broker, fresh_topics):
    """What was acknowledged is there after a clean stop and after kill -9, at the same address."""
    topic = f"{await fresh_topics()}messages"
    before = kafka_broker.bootstrap
    async with AIOKafkaProducer(bootstrap_servers=before) as producer:
        await producer.send_and_wait(topic, b"{}", partition=0)
    getattr(kafka_broker, how)()
    was_running = kafka_broker.is_running
    kafka_broker.start()

    assert (False, before) == (was_running, kafka_broker.bootstrap)
    assert 1 == await end_of(before, topic)


@pytest.mark.usefixtures("kafka_broker")
def test_ends_with_its_parent_and_takes_its_folder_along(tmp_path):
    """A broker whose parent is killed ends, and its temporary folder goes."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, KAFKA_SH],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert parent.stdout is not None
    assert parent.stderr is not None
    pid = int(parent.stderr.readline().removeprefix("pid "))
    is_ready = parent.stdout.readline().startswith("ready 127.0.0.1:")
    folders = len(list(tmp_path.glob("hunch-kafka.*")))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    is_gone = wait_until_gone(pid, 20.0)
    is_clean = comes_true(lambda: not list(tmp_path.glob("hunch-kafka.*")), 10.0)
    parent.stdout.close()
    parent.stderr.close()

    assert (True, 1, True, True) == (is_ready, folders, is_gone, is_clean)


@pytest.mark.usefixtures("kafka_broker")
def test_ctrl_c_ends_it_and_takes_its_folder_along(tmp_path):
    """SIGINT to the whole group, as a terminal sends it, leaves no process and no folder."""
    broker = subprocess.Popen(
        [KAFKA_SH],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    assert broker.stdout is not None
    is_ready = broker.stdout.readline().startswith("ready 127.0.0.1:")
    os.killpg(broker.pid, signal.SIGINT)
    code = broker.wait()
    is_clean = comes_true(lambda: not list(tmp_path.glob("hunch-kafka.*")), 10.0)
    broker.stdout.close()

    assert (True, 128 + signal.SIGINT, True) == (is_ready, code, is_clean)


def test_a_taken_port_is_refused(kafka_broker):
    """A port that somebody listens on is named in one sentence."""
    port = kafka_broker.bootstrap.rpartition(":")[2]
    code, output, lines = refused(os.environ, "--port", port)

    assert (1, "") == (code, output)
    sentence = "choose another one, or end what listens there."
    assert [f"Port {port} of 127.0.0.1 is taken: {sentence}"] == lines


def test_missing_java_is_one_sentence():
    """Without Java the script says how to get it, with an exit code of its own."""
    code, output, lines = refused({**os.environ, "JAVA_HOME": "/nowhere"})

    assert (3, "") == (code, output)
    assert 1 == len(lines)
    assert "A local Kafka needs Java 17 or later" in lines[0]


def test_an_unknown_argument_is_refused():
    """Wrong use is answered with the right one."""
    code, _, lines = refused(os.environ, "--prot", "1")

    assert 2 == code
    assert "Unknown argument '--prot'" in lines[0]


@pytest.fixture
def few_tools(tmp_path):
    """An environment with Java, an empty cache and no Maven; `mvn` may be put into its folder."""
    java = shutil.which("java")
    if java is None:
        pytest.skip("needs Java, as the other tests here say loudly")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in (
        "bash", "cat", "cmp", "cp", "dirname", "head", "ls", "mkdir", "mktemp", "mv",
        "rm", "sed", "sleep", "wc",
    ):  # fmt: skip
        (tools / tool).symlink_to(shutil.which(tool))
    (tools / "java").symlink_to(java)
    kept = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
    return {**kept, "PATH": str(tools), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_missing_maven_is_one_sentence(few_tools):
    """Without Maven and jars the script says how to get it."""
    code, output, lines = refused(few_tools)

    assert (3, "") == (code, output)
    assert 1 == len(lines)
    assert "Kafka's jars are fetched by Maven, and 'mvn' is missing" in lines[0]


def test_a_half_filled_cache_is_filled_again(few_tools, tmp_path, kafka_broker):
    """Jars that are not all there are fetched anew, by two starts at once, without harm."""
    jars = tmp_path / "cache/hunch"
    real = next((CACHE / "hunch").glob("kafka-*[0-9]"))
    half = jars / real.name
    half.mkdir(parents=True)
    for name in ("pom.xml", "contents"):
        shutil.copy(real / name, half / name)
    (half / "stale.jar").write_bytes(b"of another version")
    mvn = tmp_path / "bin/mvn"
    mvn.write_text(
        "#!/bin/bash\n"
        "for word; do case $word in\n"
        '-DoutputDirectory=*) cp "$REAL"/*.jar "${word#*=}";;\n'
        "esac; done\n"
        "echo fetched >&2\n"
    )
    mvn.chmod(0o755)
    port = kafka_broker.bootstrap.rpartition(":")[2]
    environment = {**few_tools, "REAL": str(real)}
    both = [
        subprocess.Popen(
            [KAFKA_SH, "--port", port], env=environment, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in both]
    code, _, lines = refused(environment, "--port", port)

    # Each gets as far as the port, which is taken; the third finds all jars and fetches none.
    assert [True, True] == ["fetched" in text and "is taken" in text for text in said]
    assert (1, 1) == (code, len(lines))
    assert [half] == list(jars.iterdir())
    assert {path.name for path in real.iterdir()} == {path.name for path in half.iterdir()}
