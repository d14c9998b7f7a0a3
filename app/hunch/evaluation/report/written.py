"""How numbers of a report are written."""

from hunch.evaluation.simulation.outcome import Estimate, Outcome
from hunch.evaluation.sweep_file import Point


def share(value: float, digits: int = 1) -> str:
    """In percent."""
    return f"{100 * value:.{digits}f} %"


def share_of(found: Estimate, digits: int = 2) -> str:
    """In percent, with its interval where it has one."""
    if found.low is None or found.high is None:
        return share(found.value, digits)
    low, high = 100 * found.low, 100 * found.high
    return f"{share(found.value, digits)} ({low:.{digits}f} to {high:.{digits}f})"


def ms(value: float) -> str:
    """Milliseconds without their unit: whole ones from 100, a tenth from 1, else three digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3g}"


def named(name: str, value: float) -> str:
    """A number whose name says its unit, and that is a share where it says none."""
    if name.endswith("_ms"):
        return f"{ms(value)} ms"
    if name.endswith("_per_s"):
        return f"{value:,.1f} /s"
    return share(value, 2)


def title(name: str) -> str:
    """A name without its unit."""
    return name.removesuffix("_ms").removesuffix("_per_s").replace("_", " ")


def place(point: Point) -> str:
    """τ and Δ of a point."""
    own = f", {len(point.taus)} labels with their own" if point.taus else ""
    return f"τ {point.tau:g}{own}, Δ {point.delta_ms:,} ms"


def lines(point: Point, accuracy: float, *, has_prices: bool) -> list[str]:
    """All that is known of a point, a line each."""
    outcome, latency = point.outcome, point.outcome.latency
    found = [
        place(point),
        f"right on the frontier: {share(accuracy, 2)}",
        f"right as simulated: {share_of(outcome.accuracy)}",
        (
            f"p50 {ms(latency.p50_ms.value)}, p95 {ms(latency.p95_ms.value)}, "
            f"p99 {ms(latency.p99_ms.value)} ms"
        ),
        f"exit {share(point.accept_rate)}, {paths(outcome)}",
        (
            f"slow calls {share(outcome.slow_calls.value)} of the messages, "
            f"{share(outcome.wasted_calls.value)} of them in vain"
        ),
        f"right in time: {outcome.in_time_per_s.value:,.1f} /s",
    ]
    if has_prices:
        found.append(f"cost of a message: {point.cost:.4g}")
    if not outcome.keeps_up:
        found.append(
            f"OVERLOAD: {outcome.offered_per_s.value:,.0f} /s come, "
            f"{outcome.decided_per_s.value:,.0f} /s are decided"
        )
    return found


def paths(outcome: Outcome) -> str:
    """Shares of the three paths."""
    return ", ".join(f"{path} {share(rate.value)}" for path, rate in outcome.rates.items())
