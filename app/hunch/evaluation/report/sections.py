"""`sections_of`: all sections of a report, in the order in which they are read."""

from collections.abc import Iterator

from hunch.evaluation.policies import policy_of_choice
from hunch.evaluation.report.contents import Section, Setting, Table
from hunch.evaluation.report.numbers import Report
from hunch.evaluation.report.written import ms, named, place, share, share_of, title
from hunch.evaluation.simulation.outcome import Latency, Outcome
from hunch.evaluation.sweep_explaining import change, meaning, points_of
from hunch.evaluation.sweep_file import Choice

RIGHT_BY = {"label": "it is the row's label", "slow": "it is the slow model's answer"}


def sections_of(report: Report) -> list[Section]:
    """All sections; what was not measured has none."""
    found = [
        _choices(report),
        _frontier(report),
        _surfaces(report),
        _latency(report),
        _gains(report),
        _confidence(report),
        _classes(report),
    ]
    if report.sweep.live:
        found.append(_live(report))
    found.append(_made_of(report))
    return found


def _choices(report: Report) -> Section:
    sweep = report.sweep
    rows = []
    for index, names in sweep.marked().items():
        point = sweep.points[index]
        outcome = point.outcome
        cells = [
            ", ".join(names),
            f"{point.tau:g}{' …' if point.taus else ''}",
            f"{point.delta_ms:,}",
            share(sweep.accuracy_of(index), 2),
            ms(outcome.latency.p95_ms.value),
            share(outcome.slow_calls.value),
            share(outcome.rates["fallback"].value),
            f"{outcome.in_time_per_s.value:,.1f}",
        ]
        if sweep.asked.prices.are_given:
            cells.append(f"{point.cost:.4g}")
        rows.append(cells)
    columns = ["point", "τ", "Δ ms", "right", "p95 ms", "slow calls", "fallbacks", "in time /s"]
    if sweep.asked.prices.are_given:
        columns.append("cost")
    changes = [(it.name, meaning(sweep, it.name), change(sweep, it)) for it in sweep.choices]
    return Section(
        name="choices",
        title="What to choose",
        sentences=[_headline(report)],
        tables=[
            Table(title="The points that have a name", columns=columns, rows=rows),
            Table(
                title="What each choice would change against today",
                columns=["choice", "is the", "would change"],
                rows=changes,
            ),
        ],
        settings=[_setting(report, it) for it in sweep.choices if it.point is not None],
    )


def _headline(report: Report) -> str:
    sweep, point = report.sweep, report.point
    outcome = point.outcome
    slow, fast = sweep.alone["slow"], sweep.alone["fast"]
    said = (
        f"{place(point)}: {share(sweep.accuracy_of(report.recommended), 2)} right with "
        f"{share(outcome.slow_calls.value)} of the messages through the slow model, p95 "
        f"{ms(outcome.latency.p95_ms.value)} ms. The slow model alone: "
        f"{share(sweep.record.slow_accuracy, 2)}, p95 {ms(slow.latency.p95_ms.value)} ms"
        f"{'' if slow.keeps_up else ' and more, as it does not keep up'}. The fast model alone: "
        f"{share(sweep.record.fast_accuracy, 2)}, p95 {ms(fast.latency.p95_ms.value)} ms."
    )
    if not any(it.name == "least-cost" and it.point is not None for it in sweep.choices):
        epsilon = points_of(sweep.asked.epsilon)
        return f"No point is within {epsilon} of the slow model. Today's setting is {said}"
    return f"Least cost within {points_of(sweep.asked.epsilon)} of the slow model: {said}"


def _setting(report: Report, choice: Choice) -> Setting:
    sweep = report.sweep
    policy = policy_of_choice(sweep, choice)
    is_plain = sweep.policy is None and not policy.taus
    return Setting(
        name=choice.name,
        meaning=meaning(sweep, choice.name),
        toml=f"tau = {policy.tau!r}\ndelta_ms = {policy.delta_ms}\n" if is_plain else None,
        policy_name=policy.name,
        policy=policy.text(),
    )


def _frontier(report: Report) -> Section:
    sweep = report.sweep
    rows = []
    for index in sweep.frontier:
        point = sweep.points[index]
        outcome = point.outcome
        rows.append(
            (
                f"{point.tau:g}",
                f"{point.delta_ms:,}",
                share(sweep.accuracy_of(index), 2),
                share_of(outcome.accuracy),
                ms(outcome.latency.p95_ms.value),
                share(outcome.slow_calls.value),
                share(outcome.rates["fallback"].value),
                f"{point.cost:.4g}",
            )
        )
    what = "its price" if sweep.asked.prices.are_given else "the share of slow calls"
    said = (
        f"{len(sweep.points):,} points were simulated; no other is better than one of the "
        f"{len(sweep.frontier):,} on the frontier in accuracy, p95 or cost ({what}) without being "
        "worse in another. Accuracy is the slow model's less what the point lacks of it on the "
        "same messages."
    )
    return Section(
        name="frontier",
        title="The frontier",
        sentences=[said],
        charts=["accuracy-latency", "accuracy-cost"],
        tables=[
            Table(
                title=f"All {len(rows):,} points of the frontier",
                columns=[
                    "τ",
                    "Δ ms",
                    "right",
                    "simulated (95 %)",
                    "p95 ms",
                    "slow calls",
                    "fallbacks",
                    "cost",
                ],
                rows=rows,
                is_long=True,
            )
        ],
    )


def _surfaces(report: Report) -> Section:
    said = (
        f"Each cell is a simulated point at {report.sweep.load.rate_per_s:g} messages a second. "
        "τ alone says who exits; the lower Δ and the busier the slow model, the more fall back. "
        "A frame is around what is recommended, and around today's setting, where the grid has "
        "them."
    )
    return Section(
        name="surfaces",
        title="Over τ and Δ",
        sentences=[said],
        charts=["exits", "fallbacks", "right", "p95"],
    )


def _latency(report: Report) -> Section:
    sweep = report.sweep
    rows: list[tuple[str, ...]] = []
    for index, names in sweep.marked().items():
        rows += _by_path(", ".join(names), sweep.points[index].outcome)
    for side in ("fast", "slow"):
        outcome = sweep.alone[side]
        rows.append((f"{side} alone", "all", "100.0 %", *_three(outcome.latency)))
    return Section(
        name="latency",
        title="Latency by path",
        sentences=["From a message's arrival until its decision can be seen."],
        charts=["latency"],
        tables=[
            Table(
                title="Milliseconds by path",
                columns=["point", "path", "share", "p50", "p95", "p99"],
                rows=rows,
            )
        ],
    )


def _by_path(name: str, outcome: Outcome) -> Iterator[tuple[str, ...]]:
    yield name, "all", share(1.0), *_three(outcome.latency)
    for path, latency in outcome.by_path.items():
        yield name, path, share(outcome.rates[path].value), *_three(latency)


def _three(latency: Latency) -> tuple[str, str, str]:
    return ms(latency.p50_ms.value), ms(latency.p95_ms.value), ms(latency.p99_ms.value)


def _gains(report: Report) -> Section:
    sweep = report.sweep
    rows = [
        (
            f"{it.tau:g}",
            share(it.deferral_rate),
            f"{it.capacity_per_s:,.0f}",
            it.bottleneck,
            f"{it.over_slow:.2f}",
            f"{it.over_fast:.2f}",
            "none" if it.limit is None else f"{it.limit:.2f}",
            "none" if it.at_load_over_slow is None else f"{it.at_load_over_slow:.2f}",
        )
        for it in sweep.gains
    ]
    said = (
        "Messages a second that can be decided without one deferral too many, in multiples of "
        "the slow model alone. No slow model allows more than 1 / the share that waits."
    )
    return Section(
        name="throughput",
        title="Throughput gained",
        sentences=[said],
        charts=["gains"],
        tables=[
            Table(
                title="For each τ",
                columns=[
                    "τ",
                    "wait",
                    "messages/s at most",
                    "limited by",
                    "x slow",
                    "x fast",
                    "1 / wait",
                    "x slow at this load",
                ],
                rows=rows,
                is_long=True,
            )
        ],
    )


def _confidence(report: Report) -> Section:
    rows = report.rows
    sides = [("fast", rows.fast), ("slow", rows.slow)]
    cells = [
        (
            side,
            it.model,
            f"{it.rows:,}",
            share(it.accuracy, 2),
            f"{it.temperature:.4g}",
            f"{it.error:.3f}",
        )
        for side, it in sides
        if it is not None
    ]
    present = [side for side, it in sides if it is not None]
    right = RIGHT_BY[report.sweep.record.right_by]
    said = (
        f"An answer counts as right where {right}. On the diagonal confidence is the share of "
        "right answers. A τ is worth what the score keeps apart of right and wrong."
    )
    return Section(
        name="confidence",
        title="What confidence is worth",
        sentences=[said],
        charts=[
            *(f"reliability-{it}" for it in present),
            *(f"histogram-{it}" for it in present),
        ],
        tables=[
            Table(
                title="Both models on the recorded rows",
                columns=["side", "model", "rows", "right", "temperature", "calibration error"],
                rows=cells,
            )
        ],
    )


def _classes(report: Report) -> Section:
    rows = [
        (
            it.label,
            f"{it.rows:,}",
            share(it.fast_accuracy),
            share(it.slow_accuracy),
            share(it.accuracy),
            share(it.accept_rate),
            f"{it.wrong_exits:,}",
        )
        for it in report.rows.classes
    ]
    said = (
        f"At {place(report.point)}, while every slow answer is in time; the worst first. Few rows "
        "say little about a class."
    )
    return Section(
        name="classes",
        title="Class by class",
        sentences=[said],
        tables=[
            Table(
                title=f"{len(rows):,} labels",
                columns=["label", "rows", "fast", "slow", "cascade", "exit", "exit wrong"],
                rows=rows,
                is_long=len(rows) > 20,
            )
        ],
    )


def _live(report: Report) -> Section:
    points = report.sweep.live
    missed = sum(bool(it.missed) for it in points)
    rows = [
        (
            f"{it.tau:g}",
            f"{it.delta_ms:,}",
            f"{it.rate_per_s:g}",
            title(name),
            named(name, it.predicted[name]),
            named(name, it.measured[name]),
            "" if it.busy is None else f"{it.busy:.0%}",
            "missed" if name in it.missed else "met",
        )
        for it in points
        for name in it.predicted
    ]
    said = (
        f"{len(points):,} points were also measured on a broker; in {missed:,} of them at least "
        "one number misses what the simulation had predicted. It takes cores as enough: look at "
        "how many were busy."
    )
    return Section(
        name="live",
        title="Simulated against live",
        sentences=[said],
        charts=["live-shares", "live-latency"],
        tables=[
            Table(
                title="Predicted and measured",
                columns=[
                    "τ",
                    "Δ ms",
                    "messages/s",
                    "number",
                    "predicted",
                    "measured",
                    "busy",
                    "is",
                ],
                rows=rows,
                is_long=len(rows) > 40,
            )
        ],
    )


def _made_of(report: Report) -> Section:
    sweep = report.sweep
    load, deployment, record = sweep.load, sweep.deployment, sweep.record
    exact = "exactly-once" if deployment.is_exactly_once else "at-least-once"
    rows = [
        ("record", f"{record.folder}, {record.rows:,} rows, {record.sha256[:8]}"),
        *(
            (f"{side} model", f"{it.name}@{it.version}, {it.sha256[:8]}")
            for side, it in (("fast", sweep.models.fast), ("slow", sweep.models.slow))
        ),
        ("measure", sweep.measure.name),
        ("policy", sweep.policy or "none"),
        ("load", f"{load.rate_per_s:g} messages a second, {load.pattern}"),
        ("runs", f"{load.seconds:g} s, seeds {', '.join(map(str, load.seeds))}"),
        (
            "processes",
            (
                f"{deployment.fast_processes} fast, {deployment.slow_processes} slow, "
                f"{deployment.join_processes} join, {deployment.partitions} partitions, {exact}"
            ),
        ),
        ("in time", f"within {sweep.asked.in_time_ms:g} ms"),
        ("made", f"{sweep.created} by Hunch {sweep.made_by}"),
    ]
    return Section(
        name="made-of",
        title="What this is made of",
        sentences=list(sweep.notes),
        tables=[Table(title="", columns=["", ""], rows=rows)],
    )
