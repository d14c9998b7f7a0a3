"""Simulated against measured: the same names on both sides, and which of them are too far apart.

Accuracy and rates may differ by 2 points, the p95 by 10 % of what was measured or by 10 ms. The
other percentiles are shown and not judged.
"""

from collections.abc import Mapping

from hunch.evaluation.arrivals import Traffic
from hunch.evaluation.simulation.outcome import Outcome
from hunch.evaluation.simulator import Setting
from hunch.evaluation.sweep_file import LivePoint

MOST_APART = 0.02
MOST_APART_MS = 10.0
MOST_APART_OF_P95 = 0.1
ROUNDING = 1e-9
SHARES = ("accuracy", "fast", "slow", "fallback", "shed")
TIMES = ("p50_ms", "p95_ms", "p99_ms")
NAMES = (*SHARES, *TIMES)


def predicted_of(outcome: Outcome) -> dict[str, float]:
    """The numbers of a simulated outcome that are held against those of a broker."""
    latency = outcome.latency
    return {
        "accuracy": outcome.accuracy.value,
        **{path: rate.value for path, rate in outcome.rates.items()},
        "shed": outcome.reasons["shed"].value,
        "p50_ms": latency.p50_ms.value,
        "p95_ms": latency.p95_ms.value,
        "p99_ms": latency.p99_ms.value,
    }


def missed(predicted: Mapping[str, float], measured: Mapping[str, float]) -> tuple[str, ...]:
    """Which names are further apart than they may be."""
    far = [name for name in SHARES if abs(predicted[name] - measured[name]) > MOST_APART + ROUNDING]
    apart_ms = abs(predicted["p95_ms"] - measured["p95_ms"])
    if apart_ms > max(MOST_APART_MS, MOST_APART_OF_P95 * measured["p95_ms"]) + ROUNDING:
        far.append("p95_ms")
    return tuple(far)


def compared(
    setting: Setting,
    traffic: Traffic,
    outcome: Outcome,
    measured: Mapping[str, float],
    busy: float,
) -> LivePoint:
    """One point, both sides and the verdict."""
    predicted = predicted_of(outcome)
    return LivePoint(
        tau=setting.tau,
        delta_ms=setting.delta_ms,
        rate_per_s=traffic.rate_per_s,
        pattern=traffic.pattern,
        predicted={name: predicted[name] for name in NAMES},
        measured={name: measured[name] for name in NAMES},
        missed=missed(predicted, measured),
        busy=busy,
    )
