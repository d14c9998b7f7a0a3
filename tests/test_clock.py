"""The system's clock: it goes on, with the wall clock where that is ahead, whoever reads it."""

import time
from concurrent.futures import ThreadPoolExecutor

from hunch.clock import SystemClock

READS = 20_000


class Scripted:
    """Wall and monotonic clock of a machine, of which a test says how late each is read."""

    def __init__(self, monkeypatch):
        self.true_s = 1_000.0
        self.is_stopped_between = 0.0
        self.wall_step_s = 0.0
        monkeypatch.setattr(time, "time", self._wall)
        monkeypatch.setattr(time, "monotonic", self._steady)

    def _wall(self):
        wall_s = 1_700_000_000.0 + self.true_s + self.wall_step_s
        self.true_s += self.is_stopped_between
        return wall_s

    def _steady(self):
        return self.true_s


def test_a_process_that_is_stopped_while_it_reads_the_clock_runs_no_ahead(monkeypatch):
    """SIGSTOP between the two readings: the clock is right afterwards, and stays so."""
    machine, clock = Scripted(monkeypatch), SystemClock()
    before_ms = clock.now_ms()
    machine.true_s += 1
    machine.is_stopped_between = 10.0
    stopped_ms = clock.now_ms()
    machine.is_stopped_between = 0.0
    machine.true_s += 1

    assert 11_000.0 == stopped_ms - before_ms
    assert 12_000.0 == clock.now_ms() - before_ms


def test_a_wall_clock_that_steps_forward_is_followed_and_back_is_not(monkeypatch):
    """The time goes on from the latest that was told."""
    machine, clock = Scripted(monkeypatch), SystemClock()
    before_ms = clock.now_ms()
    machine.wall_step_s = 5.0
    forward_ms = clock.now_ms()
    machine.wall_step_s = -60.0
    machine.true_s += 1

    assert 5_000.0 == forward_ms - before_ms
    assert 6_000.0 == clock.now_ms() - before_ms


def test_threads_that_read_it_at_once_see_it_neither_go_back_nor_run_ahead():
    """A model's threads and the event loop share one clock."""
    clock = SystemClock()

    def read(_):
        return [clock.now_ms() for _ in range(READS)]

    with ThreadPoolExecutor(8) as threads:
        series = list(threads.map(read, range(8)))

    assert all(times == sorted(times) for times in series)
    assert clock.now_ms() <= time.time() * 1000 + 1.0
