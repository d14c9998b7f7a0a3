"""What a running Hunch tells: log lines, metrics, spans; every name of them in one place."""

from hunch.telemetry.logs import EventName, configure_logging, log_event
from hunch.telemetry.metrics import Metrics
from hunch.telemetry.told import Told

__all__ = ["EventName", "Metrics", "Told", "configure_logging", "log_event"]
