"""The fast stage of one process: lanes take what waits, one model answers, outputs go out.

A lane takes what has arrived when it is free, waits for the model if another lane has it, and hands
its chunk over before it takes again. Also a stage with the slow model alone is such a stage.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hunch.evaluation.simulation.way_out import Delivery, WayOut

Floats = NDArray[np.float64]


class Chunk(NamedTuple):
    """Messages from `first` up to `end` of a lane, predicted together, and when that was done."""

    first: int
    end: int
    decided_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast a process answers.

    Attributes:
        batch_ms: the model's time for a batch of 0, 1, … messages.
        ratios: what each batch takes of that, one after the other.
        message_ms: besides, for each message.
        most: messages in one batch.
    """

    batch_ms: Sequence[float]
    ratios: Iterator[float]
    message_ms: float
    most: int


class Sent(NamedTuple):
    """What became of each message of a lane, columns in the order of arrival.

    Attributes:
        decided_ms: the answer was there.
        begun_ms: its delivery began.
        ended_ms: its delivery ended.
    """

    decided_ms: Floats
    begun_ms: Floats
    ended_ms: Floats


class Served(NamedTuple):
    """A process's lanes, and how long its model was at work."""

    lanes: list[Sent]
    busy_ms: float


def serve(
    arrivals_ms: Sequence[Sequence[float]], ways_out: Sequence[WayOut[Chunk]], speed: Speed
) -> Served:
    """Answers all messages of a process's lanes.

    Args:
        arrivals_ms: of each lane's messages at the reader, ascending.
        ways_out: of each lane.
        speed: of the process.
    """
    batch_ms, ratios, message_ms, most = speed.batch_ms, speed.ratios, speed.message_ms, speed.most
    taken = [0] * len(arrivals_ms)
    ready = [(times[0], lane) for lane, times in enumerate(arrivals_ms) if len(times)]
    heapify(ready)
    free_ms = busy_ms = 0.0
    while ready:
        now_ms, lane = heappop(ready)
        times, first = arrivals_ms[lane], taken[lane]
        end = bisect_right(times, now_ms, first, min(first + most, len(times)))
        size = end - first
        model_ms = batch_ms[size] * next(ratios)
        busy_ms += model_ms
        free_ms = (max(free_ms, now_ms)) + model_ms + size * message_ms
        put_ms = ways_out[lane].put(free_ms, Chunk(first, end, free_ms), size)
        taken[lane] = end
        if end < len(times):
            heappush(ready, (max(put_ms, times[end]), lane))
    return Served([_columns(way_out.close()) for way_out in ways_out], busy_ms)


def _columns(deliveries: Sequence[Delivery[Chunk]]) -> Sent:
    chunks = [chunk for delivery in deliveries for chunk in delivery.items]
    sizes = np.array([chunk.end - chunk.first for chunk in chunks], dtype=np.intp)
    counts = np.array([len(delivery.items) for delivery in deliveries], dtype=np.intp)
    begun, ended = (
        np.repeat(np.array(times, dtype=np.float64), counts)
        for times in (
            [delivery.begin_ms for delivery in deliveries],
            [delivery.end_ms for delivery in deliveries],
        )
    )
    decided = np.array([chunk.decided_ms for chunk in chunks], dtype=np.float64)
    return Sent(np.repeat(decided, sizes), np.repeat(begun, sizes), np.repeat(ended, sizes))
