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

    assert "http/protobuf" == asked(env).destination.protocol == asked(env).metrics_protocol
    env["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"] = "grpc"
    assert ("http/protobuf", "grpc") == (
        asked(env).destination.protocol,
        asked(env).metrics_protocol,
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
        ("OTEL_METRIC_EXPORT_INTERVAL", "60s", "give a whole number, 1 or more"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "give a whole number, 1 or more"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "give a whole number, 1 or more"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "give milliseconds, more than 0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "9" * 5_000, "give a whole number, 1 or more"),
        ("OTEL_TRACES_EXPORTER", "otlp,none", "give otlp or none, not both"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "give gzip or none"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file", "there is no such file"),
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
            "OTEL_EXPORTER_OTLP_TIMEOUT": "10",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2.5",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
    ).destination

    assert {"authorization": "Bearer secret", "x-tenant": "7"} == dict(found.headers)
    assert (2.5, True) == (found.timeout_s, found.is_gzipped)
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://u:s3cr3t@x"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:s3cr3t"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4317/s3cr3t"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Bearer s3cr3t"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cr3t%E2%82%AC"),
    ],
)
def test_what_may_hold_a_secret_is_refused_without_it(caplog, name, value):
    """The sentence names the variable; neither it nor the log shows the value."""
    with pytest.raises(ConfigError) as caught:
        asked({**ENDPOINT, name: value})

    assert str(caught.value).startswith(f"{name} is not allowed")
    assert "s3cr3t" not in str(caught.value) + caplog.text


def test_a_key_without_its_certificate_is_refused(tmp_path):
    """GRPC would end the process with a signal."""
    key = tmp_path / "key.pem"
    key.write_text("")
    with pytest.raises(ConfigError, match="set both or neither"):
        asked({**ENDPOINT, "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(key)})


def test_an_address_is_shown_without_its_password():
    """What the log says of an endpoint may be read by anybody."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:s3cr3t@c:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }

    assert "http://c:4318/v1/traces" == asked(env).destination.shown()


@pytest.mark.parametrize(("text", "seconds"), [("10000", 10.0), ("2.5", 2.5), ("500", 0.5)])
def test_a_time_out_is_taken_as_the_specification_or_the_sdk_means_it(text, seconds):
    """The one counts milliseconds, the other seconds."""
    assert seconds == asked({**ENDPOINT, "OTEL_EXPORTER_OTLP_TIMEOUT": text}).destination.timeout_s


def test_variables_of_what_is_not_exported_are_left_alone():
    """They may be meant for another program."""
    env = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_BSP_SCHEDULE_DELAY": "soon"}

    assert not asked(env).traces
    with pytest.raises(ConfigError):
        asked(env, is_traced=True)
