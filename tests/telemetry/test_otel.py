"""The OTEL_* variables: what they ask for, and one sentence for each that cannot be followed."""

import pytest

from hunch import __version__
from hunch.errors import ConfigError
from hunch.telemetry.otel import Asked, asked, resource

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    """An environment in which OpenTelemetry is not named."""
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_is_exported_unasked():
    """Without a variable nothing leaves the process; an empty variable is none."""
    assert Asked() == asked({})
    assert Asked() == asked({"OTEL_TRACES_EXPORTER": "", "OTEL_EXPORTER_OTLP_ENDPOINT": " "})


@pytest.mark.parametrize(
    ("env", "traces", "metrics"),
    [
        (ENDPOINT, True, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4317"}, True, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True, False),
        ({"OTEL_TRACES_EXPORTER": " OTLP , "}, True, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False, False),
        ({**ENDPOINT, "OTEL_METRICS_EXPORTER": "otlp"}, True, True),
        ({"OTEL_METRICS_EXPORTER": "prometheus,otlp"}, False, True),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, False, False),
        ({**ENDPOINT, "OTEL_METRICS_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, False, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "no"}, True, False),
    ],
)
def test_exporters_are_asked_for_by_name_or_traces_by_an_endpoint(env, traces, metrics):
    """Metrics go out by OTLP only when named; traces also when there is somewhere to go."""
    found = asked(env)

    assert (traces, metrics) == (found.traces, found.metrics)


def test_a_signals_own_protocol_wins_over_the_common_one():
    """The default is gRPC; each signal can have its own."""
    env = {
        **ENDPOINT,
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }

    assert (
        "http/protobuf"
        == asked(env).destination.protocol
        == asked(env).metrics_destination.protocol
    )
    env["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"] = "grpc"
    assert ("http/protobuf", "grpc") == (
        asked(env).destination.protocol,
        asked(env).metrics_destination.protocol,
    )
    assert "grpc" == asked(ENDPOINT).destination.protocol


@pytest.mark.parametrize(
    ("sampler", "argument", "ratio"),
    [
        ("", "0.5", None),
        ("always_on", "", 1.0),
        ("parentbased_always_off", "", 0.0),
        ("traceidratio", "0.25", 0.25),
        ("parentbased_traceidratio", "", 1.0),
    ],
)
def test_the_sampler_becomes_a_ratio(sampler, argument, ratio):
    """Hunch continues the producer's traces in any case, so parentbased_ changes nothing."""
    env = {**ENDPOINT, "OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}

    assert ratio == asked(env).ratio


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "Hunch knows otlp and none"),
        ("OTEL_METRICS_EXPORTER", "console", "Hunch knows otlp, none and prometheus"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "give grpc or http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http", "give grpc or http/protobuf"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "60s", "give a whole number, from 1 to"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "give a whole number, from 1 to"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "give a whole number, from 1 to"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "give a number of milliseconds, from 1 to"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "give gzip or none"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://x", "give a URL such as http://localhost:4317"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file", "there is no such file"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2.5", "give a number of milliseconds, from 1 to"),
        ("OTEL_BSP_SCHEDULE_DELAY", "99999999999999999", "give a whole number, from 1 to"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1", "give a URL such as http://localhost:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:port", "give a URL such as http://localhost"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:99999", "give a URL such as http://localhost"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4317/path", "gRPC knows no path"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://h:4317/path", "gRPC knows no path"),
        ("OTEL_TRACES_EXPORTER", "otlp,none", "none stands alone"),
        ("OTEL_METRICS_EXPORTER", "none,otlp", "none stands alone"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "give always_on, always_off, traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan", "give a share from 0 to 1"),
        ("OTEL_TRACES_SAMPLER_ARG", "half", "give a share from 0 to 1"),
    ],
)
def test_what_cannot_be_followed_is_one_sentence(name, value, allowed):
    """The person who set the variable reads its name, its value and what to give."""
    env = {
        **ENDPOINT,
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_TRACES_SAMPLER": "traceidratio",
        name: value,
    }

    with pytest.raises(ConfigError) as caught:
        asked(env)
    assert str(caught.value).startswith(f"{name} = {value!r} is not allowed: {allowed}")
    assert "\n" not in str(caught.value)


def test_the_interval_of_metrics_is_followed():
    """A minute unless said otherwise."""
    env = {"OTEL_METRICS_EXPORTER": "otlp"}

    assert 60_000 == asked(env).metrics_interval_ms
    assert 500 == asked({**env, "OTEL_METRIC_EXPORT_INTERVAL": "500"}).metrics_interval_ms


def test_the_service_is_named_after_its_stage(monkeypatch):
    """Unless a variable names it; OTEL_SERVICE_NAME wins over OTEL_RESOURCE_ATTRIBUTES."""
    attributes = resource("fast").attributes
    assert {
        "service.name": "hunch-fast",
        "service.namespace": "hunch",
        "service.version": __version__,
    }.items() <= attributes.items()
    assert "hunch" == resource().attributes["service.name"]
    assert attributes["service.instance.id"] == resource("slow").attributes["service.instance.id"]

    given = "service.name=ours,service.namespace=shop,team=blue"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", given)
    expected = {"service.name": "ours", "service.namespace": "shop", "team": "blue"}
    assert expected.items() <= resource("fast").attributes.items()
    assert "ours" == asked().service_name

    monkeypatch.setenv("OTEL_SERVICE_NAME", "theirs")
    assert "theirs" == resource("fast").attributes["service.name"] == asked().service_name


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, ("localhost:4317", False)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://jaeger:4317"}, ("jaeger:4317", False)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://jaeger:4317"}, ("jaeger:4317", True)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "jaeger:4317"}, ("jaeger:4317", True)),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "jaeger:4317",
                "OTEL_EXPORTER_OTLP_INSECURE": "true",
            },
            ("jaeger:4317", False),
        ),
    ],
)
def test_grpc_goes_where_the_endpoint_says(env, expected):
    """The scheme says whether it is secure; without one OTEL_EXPORTER_OTLP_INSECURE does."""
    found = asked({"OTEL_TRACES_EXPORTER": "otlp", **env}).destination

    assert expected == (found.address, found.is_secure)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, "http://localhost:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/t"}, "https://c/t"),
    ],
)
def test_http_goes_where_the_endpoint_says(env, expected):
    """An endpoint for all signals gets the path of traces; one for traces is taken as it is."""
    protocol = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}

    assert expected == asked({**protocol, **env}).destination.address


def test_headers_time_out_and_compression_are_followed():
    """Those of traces win; credentials in headers are not shown when the value is."""
    found = asked(
        {
            **ENDPOINT,
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20secret,x-tenant=7",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "10000",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2500",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
    ).destination

    assert {"authorization": "Bearer secret", "x-tenant": "7"} == dict(found.headers)
    assert (2.5, True) == (found.timeout_s, found.is_gzipped)
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_HEADERS", "Bearer s3cr3t"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=b,s3cr3t"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "Bearer s3cr3t"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cr3t%E2%82%AC"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cr3t%0Ax"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cr3t@host:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cr3t@host:port"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "user:s3cr3t/s3cr3t@host:4317"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://user:s3cr3t@host:4317"),
    ],
)
def test_no_refusal_shows_a_secret(name, value, caplog):
    """A credential in a wrong place stands in no sentence and in no line of the log."""
    with pytest.raises(ConfigError) as caught:
        asked({**ENDPOINT, "OTEL_METRICS_EXPORTER": "otlp", name: value})

    assert str(caught.value).startswith(name)
    assert "s3cr3t" not in str(caught.value) + caplog.text


def test_a_key_without_its_certificate_is_refused(tmp_path):
    """One without the other would end the process inside a library."""
    key = tmp_path / "client.key"
    key.touch()
    for name in ("CLIENT_KEY", "CLIENT_CERTIFICATE"):
        with pytest.raises(ConfigError, match="go together: set both or neither"):
            asked({**ENDPOINT, f"OTEL_EXPORTER_OTLP_{name}": str(key)})


def test_a_number_of_thousands_of_digits_is_refused():
    """Python would not even read it; the sentence stays short."""
    with pytest.raises(ConfigError, match="give a whole number") as caught:
        asked({**ENDPOINT, "OTEL_BSP_MAX_QUEUE_SIZE": "9" * 5_000})

    assert len(str(caught.value)) < 300


def test_what_nothing_goes_out_for_stops_no_start():
    """A variable for spans is not looked at where none are sent, unless a setting sends them."""
    env = {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon", "OTEL_BSP_MAX_QUEUE_SIZE": "many"}

    assert Asked() == asked(env)
    assert asked({**env, "OTEL_TRACES_EXPORTER": "none"}, is_traced=True).is_disabled
    with pytest.raises(ConfigError):
        asked(env, is_traced=True)


def test_the_specifications_own_default_time_out_is_ten_seconds():
    """OTEL_EXPORTER_OTLP_TIMEOUT is in milliseconds, for spans and for metrics."""
    env = {**ENDPOINT, "OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TIMEOUT": "10000"}
    found = asked(env)

    assert 10.0 == found.destination.timeout_s == found.metrics_destination.timeout_s
    assert 10.0 == asked(ENDPOINT).destination.timeout_s
