"""What `/live` and `/ready` say of the stages of a process.

Alive is whom a restart would not help: the idle, and those whose broker is away. Ready is who has
been ready once and has not left a partition alone since; a rebalance is shorter than that.
"""

from collections.abc import Sequence
from typing import Any

from hunch.stages.stage import Stage


def live(stages: Sequence[Stage], timeout_ms: float) -> tuple[bool, dict[str, Any]]:
    """Whether no stage is stuck, and how each of them is."""
    shown, stuck = {}, []
    for stage in stages:
        watch = stage.watch
        stalled_ms = watch.stalled_ms()
        shown[stage.name] = {
            "stalled_ms": round(stalled_ms),
            "broker": "away" if watch.is_broker_away else "there",
            "lag_records": sum(watch.lag().values()),
        }
        if stalled_ms > timeout_ms:
            stuck.append(stage.name)
    answer: dict[str, Any] = {"live": not stuck, "stages": shown}
    if stuck:
        answer["stuck"] = stuck
        answer["message"] = (
            f"In {' and '.join(stuck)} work has waited for more than {timeout_ms:.0f} ms "
            "(live_timeout_ms) without any progress: restart this process."
        )
    return not stuck, answer


def ready(stages: Sequence[Stage]) -> tuple[bool, dict[str, Any]]:
    """Whether every stage has been ready, and every owned partition is read; what is missing."""
    missing = []
    for stage in stages:
        watch = stage.watch
        watch.look()
        if not watch.has_been_ready:
            missing.append(f"{stage.name}: its lanes are not open yet")
        elif partitions := watch.missing():
            named = ", ".join(map(str, sorted(partitions)))
            missing.append(f"{stage.name}: owned and not read for 10 s: {named}")
    return not missing, {"ready": not missing, "missing": missing}
