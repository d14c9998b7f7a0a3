"""The short run: what every `make test` does, and what every mutant must be caught by."""

from tests.chaos.run import Plan
from tests.chaos.schedule import MIXES

SHORT = Plan(
    mix=MIXES["short"],
    seed=1,
    seconds=50.0,
    session_ms=2_000,
    quiet_s=2.0,
)
