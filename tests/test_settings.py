"""Settings: precedence, provenance, and one sentence for every mistake."""

import os
import ssl
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.policies import policy

from hunch.errors import ConfigError, PolicyError
from hunch.settings import LOGICAL_TOPICS, MASK, Settings, load


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without hunch.toml and an environment without HUNCH_ variables."""
    for name in [name for name in os.environ if name.upper().startswith("HUNCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(overrides=None, config=None) -> str:
    """The sentence with which these settings are refused."""
    with pytest.raises(ConfigError) as caught:
        load(config, overrides or {})
    return str(caught.value)


def test_without_anything_every_value_is_the_default():
    """Nothing set: the defaults of the design, each said to be one."""
    loaded = load(None, {})

    assert Settings() == loaded.settings
    assert {"default"} == set(loaded.sources.values())
    assert set(Settings.model_fields) == set(loaded.sources)


def test_command_line_wins_over_environment_over_file_over_default(empty_folder, monkeypatch):
    """Each layer wins over those below it, and the source says which one it was."""
    (empty_folder / "hunch.toml").write_text("tau = 0.1\ndelta_ms = 1\npartitions = 2\n")
    monkeypatch.setenv("HUNCH_TAU", "0.2")
    monkeypatch.setenv("HUNCH_DELTA_MS", "2")

    loaded = load(None, {"tau": 0.3})

    settings, sources = loaded.settings, loaded.sources
    assert (0.3, "command line") == (settings.tau, sources["tau"])
    assert (2, "HUNCH_DELTA_MS") == (settings.delta_ms, sources["delta_ms"])
    assert (2, "hunch.toml") == (settings.partitions, sources["partitions"])
    assert (32, "default") == (settings.max_batch_size, sources["max_batch_size"])


def test_a_policy_file_stands_between_environment_and_file(empty_folder, monkeypatch):
    """Its τ and Δ win over hunch.toml, and give way to the environment and the command line."""
    made = policy(tau=0.4, delta_ms=40)
    (empty_folder / "p.json").write_text(made.text())
    (empty_folder / "hunch.toml").write_text('tau = 0.1\ndelta_ms = 1\npolicy_file = "p.json"\n')
    monkeypatch.setenv("HUNCH_DELTA_MS", "2")

    loaded = load(None, {})

    assert (0.4, f"policy {made.name}") == (loaded.settings.tau, loaded.sources["tau"])
    assert (2, "HUNCH_DELTA_MS") == (loaded.settings.delta_ms, loaded.sources["delta_ms"])
    assert loaded.settings == loaded.decided()
    assert 0.1 == load(None, {"policy_file": "off"}).settings.tau


@pytest.mark.parametrize("text", [None, "{"])
def test_a_policy_file_that_cannot_be_read_stops_only_who_decides_by_it(empty_folder, text):
    """All other settings are there, and the problem is said."""
    if text is not None:
        (empty_folder / "p.json").write_text(text)
    (empty_folder / "hunch.toml").write_text('tau = 0.1\npolicy_file = "p.json"\n')

    loaded = load(None, {})

    assert (0.1, "hunch.toml") == (loaded.settings.tau, loaded.sources["tau"])
    assert "p.json" in str(loaded.problem)
    with pytest.raises(PolicyError, match=r"p\.json"):
        loaded.decided()


def test_a_named_file_is_read_instead_of_the_one_in_the_folder(empty_folder):
    """--config FILE replaces hunch.toml, and the source is the file as it was named."""
    (empty_folder / "hunch.toml").write_text("tau = 0.1\npartitions = 9\n")
    named = empty_folder / "other.toml"
    named.write_text("tau = 0.2\n")

    loaded = load(named, {})

    assert (0.2, str(named)) == (loaded.settings.tau, loaded.sources["tau"])
    assert 4 == loaded.settings.partitions


def test_a_named_file_that_is_missing_is_refused():
    """A mistyped --config must not start with defaults."""
    sentence = refused(config=Path("nowhere.toml"))

    assert "There is no settings file nowhere.toml: correct the path." == sentence


def test_a_syntax_error_names_file_and_line(empty_folder):
    """Broken TOML is one sentence with the place."""
    (empty_folder / "hunch.toml").write_text("tau = 0.1\ndelta_ms = \n")

    sentence = refused()

    assert sentence.startswith("The settings file hunch.toml is not TOML:")
    assert "line 2" in sentence


def test_an_unknown_key_is_refused_with_the_nearest_one(empty_folder, monkeypatch):
    """A typo is never silently without effect, wherever it stands."""
    assert "There is no setting 'taw' (command line): did you mean 'tau'?" == refused({"taw": 1})

    monkeypatch.setenv("HUNCH_DELTA_MSEC", "3")
    expected = "There is no setting 'delta_msec' (HUNCH_DELTA_MSEC): did you mean 'delta_ms'?"
    assert expected == refused()

    monkeypatch.delenv("HUNCH_DELTA_MSEC")
    (empty_folder / "hunch.toml").write_text("fastmodel = 'x'\n")
    expected = "There is no setting 'fastmodel' (hunch.toml): did you mean 'fast_model'?"
    assert expected == refused()


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("tau", "1.5", "it should be less than or equal to 1"),
        ("tau", "nan", "it should be a finite number"),
        ("tau", True, "it is no yes-or-no setting"),
        ("delta_ms", "-1", "it should be greater than or equal to 0"),
        ("delta_ms", "soon", "it should be a valid integer"),
        ("delta_ms", 10**12 + 1, "it should be less than or equal to 1000000000000"),
        ("drain_ms", 10**12 + 1, "it should be less than or equal to 1000000000000"),
        ("takeover_timeout_ms", 10**12 + 1, "it should be less than or equal to 1000000000000"),
        ("session_timeout_ms", 2**31, "it should be less than or equal to 2147483647"),
        ("transaction_timeout_ms", 2**31, "it should be less than or equal to 2147483647"),
        ("request_timeout_ms", 2**31, "it should be less than or equal to 2147483647"),
        ("partitions", 0, "it should be greater than or equal to 1"),
        ("deadline_from", "now", "it should be 'deferral' or 'ingest'"),
        ("delivery", "at-most-once", "it should be 'exactly-once' or 'at-least-once'"),
        ("bootstrap", "kafka", "give host:port"),
        ("bootstrap", "kafka:99999", "give host:port"),
        ("bootstrap", "a:1,,b:2", "give host:port"),
        ("topic_prefix", "a b", "give letters, digits"),
        ("topics", '{"mesages": "in"}', "there is no topic 'mesages', use messages"),
        ("topics", '{"messages": "a/b"}', "'a/b' cannot be the name of a topic"),
        ("topics", "messages", "it should be a valid dictionary"),
        ("topics", "{", "it looks like JSON and is not"),
        ("stages", "fast,jion", "it should be 'fast', 'slow' or 'join'"),
        ("stages", "fast,fast", "give one or more of fast, slow, join, each once"),
        ("providers", "[]", "it should be 'auto'"),
        ("fast_model", "", "it should have at least 1 character"),
        ("http_port", "70000", "it should be less than or equal to 65535"),
        ("http_port", True, "it is no yes-or-no setting"),
        ("live_timeout_ms", "0", "it should be greater than or equal to 1"),
        ("trace_ratio", "1.5", "it should be less than or equal to 1"),
        ("trace_paths_per_s", "-1", "it should be greater than or equal to 0"),
        ("log_payloads", "yes", "give true or false"),
        ("log_payloads", 1, "give true or false"),
    ],
)
def test_a_bad_value_is_one_sentence_with_key_source_and_what_is_allowed(key, value, allowed):
    """The person who reads the sentence knows what to change, where and to what."""
    sentence = refused({key: value})

    assert sentence.startswith(f"{key} = ")
    assert f"(command line) is not allowed: {allowed}" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            {"heartbeat_interval_ms": 2000},
            "heartbeat_interval_ms = 2000 is not below a third of "  # noqa: ISC004  one sentence
            "session_timeout_ms = 6000: lower it.",
        ),
        (
            {"bootstrap": "embedded", "delivery": "exactly-once"},
            "the embedded broker has no transactions: set at-least-once.",
        ),
        (
            {"transaction_timeout_ms": 6000},
            "transaction_timeout_ms = 6000 is not below session_timeout_ms = 6000: lower it.",
        ),
        (
            {"topics": {"messages": "decisions"}},
            "two topics have the name 'decisions': change one of them in topics.",
        ),
        (
            {"security_protocol": "SASL_SSL", "sasl_plain_username": "u"},
            "SASL_SSL needs sasl_plain_username and sasl_plain_password.",
        ),
        (
            {"sasl_plain_password": "hunter2"},
            "security_protocol = PLAINTEXT would ignore sasl_*: set SASL_SSL.",
        ),
        (
            {"ssl_cafile": "ca.pem"},
            "security_protocol = PLAINTEXT would ignore ssl_cafile: set SSL.",
        ),
    ],
)
def test_values_that_do_not_fit_together_are_refused(overrides, expected):
    """What would be ignored or cannot work is said at start."""
    assert expected == refused(overrides)


def test_secrets_are_never_shown():
    """No form of the settings and no error carries a password."""
    settings = load(
        None,
        {
            "security_protocol": "SASL_SSL",
            "sasl_plain_username": "u",
            "sasl_plain_password": "hunter2",
            "ssl_password": "hunter3",
        },
    ).settings

    assert MASK == settings.shown()["sasl_plain_password"]
    assert "hunter" not in f"{settings} {settings!r} {settings.shown()}"
    assert "hunter2" == settings.security()["sasl_plain_password"]
    assert "hunter4" not in refused({"sasl_plain_password": ["hunter4"]})


def test_topics_and_groups_have_the_prefix_and_other_names_stand_as_they_are():
    """A prefix is for all names; a name given in [topics] is a topic that exists already."""
    settings = Settings(topic_prefix="x.", topics={"messages": "orders"})

    assert "orders" == settings.topic("messages")
    assert "x.slow-results" == settings.topic("slow-results")
    assert "x.hunch-fast" == settings.group("fast")


def test_lists_and_tables_come_from_the_environment_too(monkeypatch):
    """JSON for a table; commas or JSON for a list."""
    monkeypatch.setenv("HUNCH_TOPICS", '{"messages": "in"}')
    monkeypatch.setenv("HUNCH_STAGES", "slow, join")
    monkeypatch.setenv("HUNCH_PROVIDERS", '["CPUExecutionProvider"]')

    settings = load(None, {}).settings

    assert {"messages": "in"} == settings.topics
    assert ("slow", "join") == settings.stages
    assert ("CPUExecutionProvider",) == settings.providers


def test_off_is_how_an_absent_value_is_written():
    """TOML and the environment have no word for nothing."""
    assert None is load(None, {"max_age_ms": "off"}).settings.max_age_ms
    assert 5 == load(None, {"max_age_ms": "5"}).settings.max_age_ms
    assert None is load(None, {"trace_ratio": "off"}).settings.trace_ratio
    assert 0.0 == load(None, {"trace_ratio": "0"}).settings.trace_ratio


@pytest.mark.parametrize(("written", "value"), [("true", True), ("false", False)])
def test_yes_and_no_are_true_and_false_wherever_they_stand(
    empty_folder, monkeypatch, written, value
):
    """The file has booleans; the environment and --set have only words."""
    (empty_folder / "hunch.toml").write_text(f"log_payloads = {written}\n")
    in_file = load(None, {}).settings.log_payloads
    (empty_folder / "hunch.toml").unlink()
    monkeypatch.setenv("HUNCH_LOG_PAYLOADS", written)
    in_environment = load(None, {}).settings.log_payloads
    by_command = load(None, {"log_payloads": written}).settings.log_payloads

    assert [value] * 3 == [in_file, in_environment, by_command]


def test_settings_read_neither_environment_nor_file(empty_folder, monkeypatch):
    """Settings(...) is a value: only load looks outside."""
    (empty_folder / "hunch.toml").write_text("tau = 0.1\n")
    monkeypatch.setenv("HUNCH_DELTA_MS", "1")

    settings = Settings()

    assert (0.9, 500) == (settings.tau, settings.delta_ms)


def test_settings_are_frozen():
    """What is in force cannot be changed behind the back of those who read it."""
    with pytest.raises(ValidationError):
        Settings().tau = 0.5


def test_security_arguments_are_those_of_aiokafka(empty_folder):
    """Plain needs nothing more; SSL brings a context; a bad file is one sentence."""
    assert {"security_protocol": "PLAINTEXT"} == Settings().security()
    assert isinstance(Settings(security_protocol="SSL").security()["ssl_context"], ssl.SSLContext)

    (empty_folder / "ca.pem").write_text("no certificate")
    for name in ("nowhere.pem", "ca.pem"):
        with pytest.raises(ConfigError, match=rf"ssl_cafile \({name}\).* cannot be used"):
            Settings(security_protocol="SSL", ssl_cafile=name).security()


def test_every_setting_says_what_it_means():
    """`hunch init` and `hunch config` show a sentence for each, with the unit of every time."""
    for key, field in Settings.model_fields.items():
        assert field.description is not None, key
        assert field.description.endswith("."), key
        assert not key.endswith("_ms") or "milliseconds" in field.description, key


def test_every_logical_topic_has_a_name():
    """Nothing is missing in the list of topics."""
    names = {Settings(topic_prefix="p.").topic(logical) for logical in LOGICAL_TOPICS}

    assert {f"p.{logical}" for logical in LOGICAL_TOPICS} == names


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("exactly-once", 5_000)),
        ({"bootstrap": "embedded"}, ("at-least-once", 5_000)),
        (
            {"session_timeout_ms": "1500", "heartbeat_interval_ms": "300"},
            ("exactly-once", 1_250),
        ),
        ({"session_timeout_ms": 9_000, "transaction_timeout_ms": 700}, ("exactly-once", 700)),
        ({"delivery": "at-least-once"}, ("at-least-once", 5_000)),
    ],
)
def test_what_is_not_set_follows_from_what_is(given, expected):
    """The promise from the broker, the time of a transaction from the session."""
    settings = load(None, given).settings

    assert expected == (settings.delivery, settings.transaction_timeout_ms)
