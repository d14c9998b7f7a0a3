"""Tests of stages and cascades without sockets, threads or sleeps.

clock = ManualClock(start_ms=1_000_000)
log = MemoryLog(clock)
log.create_topic("messages", partitions=4)
...
await clock.advance(200)
"""
