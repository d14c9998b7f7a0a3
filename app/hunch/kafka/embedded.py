"""The embedded broker: librdkafka's mock cluster, in a process that ends with its parent.

It comes with the `confluent-kafka` wheel and speaks Kafka's protocol on a free port of loopback. It
keeps records in memory, knows no transactions and creates topics only through its parent. The
parent talks to it in lines over its stdin and stdout:

    topic NAME PARTITIONS   ->   ok | error SENTENCE
"""

import ctypes
import importlib.util
import os
import select
import subprocess
import sys
from typing import Any, NoReturn, Self

from hunch.errors import BrokerError, ConfigError

ADDRESS = "embedded"
"""What `bootstrap` says where this broker is meant."""
FETCH_MAX_WAIT_MS = 10
"""Clients may wait no longer in a fetch: it comes back late, not when there are records."""
SESSION_TIMEOUT_MS = 1_500
"""A rebalance takes this long less one second, so it must be short."""
HEARTBEAT_MS = 300
MEMBERS_PER_GROUP = 1
"""A second member of a group is refused in about half of all joins."""
PARTITION_BYTES = 5 * 1024 * 1024
"""What a partition keeps; older records go without a word."""

START_S = 20.0
ANSWER_S = 5.0
PARENT_CHECK_S = 0.5

INSTALL = "pip install 'hunch-stream[embedded]'"


class EmbeddedBroker:
    """A broker that lives as long as this object is open, and never longer than this process.

    Attributes:
        bootstrap: its address, `host:port`, once it is started.
    """

    def __init__(self) -> None:
        self.bootstrap = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The broker's process id; raises `BrokerError` before the start."""
        return self._running().pid

    def start(self) -> None:
        """Starts the process and waits for its address (about 0.2 s).

        Raises `ConfigError` where confluent-kafka is missing or cannot be used.
        """
        if importlib.util.find_spec("confluent_kafka") is None:
            msg = (
                "The embedded broker needs confluent-kafka, which is not installed: "
                f"{INSTALL}, or set bootstrap to the address of a Kafka."
            )
            raise ConfigError(msg)
        # A session of its own: Ctrl-C must end the stages first, while they still have a broker.
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", __name__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # nothing may be left to flush to a broker that has died
            start_new_session=True,
        )
        kind, _, rest = self._line(START_S).partition(" ")
        if kind != "ready":
            self.stop()
            raise ConfigError(rest or f"The embedded broker did not start; try: {INSTALL}.")
        self.bootstrap = rest

    def create_topic(self, name: str, partitions: int) -> None:
        """Creates a topic, at once ready for use.

        Raises `BrokerError` where it exists or the broker is gone.
        """
        process = self._running()
        assert process.stdin is not None  # noqa: S101 - start() made it a pipe
        try:
            process.stdin.write(f"topic {name} {partitions}\n".encode())
        except OSError as error:
            msg = "The embedded broker has ended: start the command again."
            raise BrokerError(msg) from error
        kind, _, rest = self._line(ANSWER_S).partition(" ")
        if kind != "ok":
            raise BrokerError(rest or "The embedded broker does not answer: start again.")

    def stop(self) -> None:
        """Ends the broker; what it kept is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            msg = "The embedded broker is not started."
            raise BrokerError(msg)
        return self._process

    def _line(self, timeout_s: float) -> str:
        output = self._running().stdout
        assert output is not None  # noqa: S101 - start() made it a pipe
        readable, _, _ = select.select([output], [], [], timeout_s)
        return output.readline().decode().strip() if readable else ""


class MockCluster:
    """librdkafka's mock cluster in this process; it can abort the process it lives in."""

    def __init__(self) -> None:
        self._library = _library()
        error = ctypes.create_string_buffer(512)
        conf = self._call("rd_kafka_conf_new", ctypes.c_void_p)
        self._call("rd_kafka_conf_set", ctypes.c_int, conf, b"log_level", b"2", error, _size(error))
        handle = self._call("rd_kafka_new", ctypes.c_void_p, 0, conf, error, _size(error))
        if handle is None:
            raise ConfigError(f"The embedded broker did not start: {error.value.decode()}.")
        one_broker = 1
        self._cluster = self._call("rd_kafka_mock_cluster_new", ctypes.c_void_p, handle, one_broker)
        self._call("rd_kafka_mock_group_initial_rebalance_delay_ms", None, self._cluster, 0)
        found = self._call("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, self._cluster)
        self.bootstrap = str(found.decode())

    def create_topic(self, name: str, partitions: int) -> str | None:
        """Creates a topic; says what was wrong where it could not."""
        code = self._call(
            "rd_kafka_mock_topic_create", ctypes.c_int, self._cluster, name.encode(), partitions, 1
        )
        if code == 0:
            return None
        why = self._call("rd_kafka_err2str", ctypes.c_char_p, code).decode()
        return f"The embedded broker refused the topic {name} with {partitions} partitions: {why}."

    def _call(self, symbol: str, result: Any, *arguments: Any) -> Any:
        try:
            function = getattr(self._library, symbol)
        except AttributeError:
            msg = (
                f"This confluent-kafka has no {symbol}, which the embedded broker needs: {INSTALL}."
            )
            raise ConfigError(msg) from None
        function.restype = result
        answer = function(*arguments)
        # A bare int would be passed on as 32 bits of a pointer.
        return ctypes.c_void_p(answer) if result is ctypes.c_void_p and answer else answer


def _size(buffer: Any) -> ctypes.c_size_t:
    return ctypes.c_size_t(len(buffer))


def _library() -> ctypes.CDLL:
    """The librdkafka that confluent-kafka's own extension is linked with."""
    try:
        from confluent_kafka import cimpl  # noqa: PLC0415 - an optional package

        # A symbol is looked up in what this library depends on, too: in the wheel's librdkafka.
        return ctypes.CDLL(cimpl.__file__)
    except (ImportError, OSError) as error:
        raise ConfigError(f"confluent-kafka cannot be used ({error}): {INSTALL}.") from error


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def _serve(parent: int) -> None:
    """Answers the parent's lines until it is gone: its end of stdin closes, or its id changes.

    Both are watched, because a process that the parent forked may hold that end open.
    """
    cluster = MockCluster()
    _say(f"ready {cluster.bootstrap}")
    waiting = b""
    while os.getppid() == parent:
        readable, _, _ = select.select([0], [], [], PARENT_CHECK_S)
        if not readable:
            continue
        received = os.read(0, 65_536)
        if not received:
            return
        *lines, waiting = (waiting + received).split(b"\n")
        for line in lines:
            _, name, partitions = line.decode().split()
            problem = cluster.create_topic(name, int(partitions))
            _say("ok" if problem is None else f"error {problem}")


def _main() -> NoReturn:
    try:
        _serve(int(sys.argv[1]))
    except ConfigError as error:
        _say(f"error {error}")
    except BrokenPipeError:
        pass  # the parent died between asking and listening
    # Nothing here is worth an orderly end, and librdkafka's threads could delay it.
    os._exit(0)


if __name__ == "__main__":
    _main()
