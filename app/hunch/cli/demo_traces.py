"""The traces of the demo: its own collector, one typical trace for each path, and a Jaeger.

The stages export to this process, which needs no other collector. Where a Jaeger runs, it gets all
of them, too, and the demo prints where each can be seen.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hunch.cli.demo_jaeger import Jaeger
from hunch.cli.demo_tally import PATHS
from hunch.telemetry import names
from hunch.testing import OtlpReceiver, ReceivedSpan
from hunch.testing.otlp import Protocol

LOOK_S = 1.0
"""How long it looks for a Jaeger, and passes on what comes at the end."""
ARRIVE_S = 2.0
"""How long the demo waits for spans that are on their way."""
PROTOCOL: Protocol = "http/protobuf"
LOOPBACK = "127.0.0.1,localhost"
SPANS: Mapping[str, frozenset[str]] = {
    "fast": frozenset({"fast", "decide"}),
    "slow": frozenset({"fast", "defer", "slow", "join", "decide"}),
    "fallback": frozenset({"fast", "defer", "join", "decide"}),
    "error": frozenset({"fast", "decide"}),
}
"""What a whole trace of each path consists of."""

Trace = Sequence[ReceivedSpan]


class Traces:
    """Collects, until the demo ends; `jaeger` gets what comes, None where there is none."""

    def __init__(self, jaeger: Jaeger | None) -> None:
        self.jaeger = jaeger
        forward_to = None if jaeger is None else jaeger.endpoint
        self._receiver = OtlpReceiver(protocols=[PROTOCOL], forward_to=forward_to)

    @classmethod
    async def start(cls, jaeger: Jaeger) -> "Traces":
        """Looks whether that Jaeger is there, and listens."""
        is_there = False
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                is_there = await asyncio.to_thread(jaeger.is_there)
        traces = cls(jaeger if is_there else None)
        traces._receiver.start()
        return traces

    async def stop(self) -> None:
        """Passes on what came last, and listens no more."""
        await asyncio.to_thread(self._receiver.flush, LOOK_S)
        await asyncio.to_thread(self._receiver.stop)

    def environment(self) -> dict[str, str]:
        """Variables with which a stage exports to here, past any proxy."""
        without = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy", ""), LOOPBACK]
        hosts = ",".join(part for part in without if part)
        return self._receiver.environment(PROTOCOL) | {"NO_PROXY": hosts, "no_proxy": hosts}

    async def by_path(self, paths: Collection[str]) -> dict[str, Trace]:
        """A typical trace of each of these paths, as far as there is one."""
        await asyncio.to_thread(self._await, paths)
        found = typical(self._receiver.traces)
        return {path: found[path] for path in PATHS if path in paths and path in found}

    @property
    def batches(self) -> list[ReceivedSpan]:
        """The spans of all batches."""
        return [span for span in self._receiver.spans if span.name.endswith(" batch")]

    async def passed_on(self) -> bool:
        """Whether Jaeger has taken all that there is, soon."""
        is_flushed = await asyncio.to_thread(self._receiver.flush, ARRIVE_S)
        return self.jaeger is not None and is_flushed and self._receiver.forwarded[1] == 0

    def _await(self, paths: Collection[str]) -> None:
        """Waits for a trace of each path, where any came at all."""
        if self._receiver.requests:
            try:
                self._receiver.wait_for(
                    lambda seen: set(paths) <= typical(seen.traces).keys(), ARRIVE_S
                )
            except TimeoutError:
                return


def typical(traces: Mapping[str, Trace]) -> dict[str, Trace]:
    """Path → of its whole traces the one in the middle by duration.

    Those that were sampled come first: others were rebuilt later, and say less.
    """
    whole: defaultdict[str, list[Trace]] = defaultdict(list)
    for spans in traces.values():
        path = path_of(spans)
        if path is not None and SPANS[path] <= {span.name for span in spans}:
            whole[path].append(spans)
    chosen: dict[str, Trace] = {}
    for path, found in whole.items():
        best = [spans for spans in found if _is_sampled(spans)] or found
        chosen[path] = sorted(best, key=_length_ns)[len(best) // 2]
    return chosen


def path_of(spans: Trace) -> str | None:
    """How a trace's message was decided; None before it is."""
    said = (span.attributes.get(names.PATH) for span in spans if span.name == "decide")
    return next((str(path) for path in said if path in SPANS), None)


def origin_of(spans: Trace) -> str:
    """The name of the trace's message."""
    return next(
        (str(said[names.ORIGIN]) for span in spans if names.ORIGIN in (said := span.attributes)), ""
    )


def told(found: Mapping[str, Trace], jaeger: Jaeger | None) -> dict[str, dict[str, Any]]:
    """Path → the id of its trace and where it can be seen, for programs."""
    return {
        path: {
            "origin": origin_of(spans),
            "trace_id": spans[0].trace_id,
            "url": None if jaeger is None else jaeger.url(spans[0].trace_id),
        }
        for path, spans in found.items()
    }


def _is_sampled(spans: Trace) -> bool:
    """Whether it was sampled in the fast stage, where alone batches are known."""
    return any(span.links for span in spans if span.name == "fast")


def _length_ns(spans: Trace) -> int:
    return max(span.end_ns for span in spans) - min(span.start_ns for span in spans)
