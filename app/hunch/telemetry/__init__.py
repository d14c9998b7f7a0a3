"""What a running Hunch tells: log lines, metrics, spans; every name of them in one place."""

from hunch.telemetry.logs import EventName, configure_logging, log_event
from hunch.telemetry.metrics import Metrics
from hunch.telemetry.told import Told
from hunch.telemetry.traces import Tracer

__all__ = ["EventName", "Metrics", "Told", "Tracer", "configure_logging", "log_event"]
