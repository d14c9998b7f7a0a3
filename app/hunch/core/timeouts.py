"""τ under congestion: the less likely the slow answer comes in time, the less is deferred for it.

A deferral pays iff (1 - F) (a - c) > cost, where F is the share of slow answers that come too late,
a the slow model's accuracy and c the fast model's confidence. τ at F = 0 says what a deferral must
bring: cost = a - τ. At F that is reached at a - cost / (1 - F), or

    τ(F) = τ - (a - τ) F / (1 - F)

which falls as F grows, to 0 at F = 1: then nothing is deferred, for nothing would come of it.
"""

import numpy as np
from numpy.typing import NDArray

from hunch.errors import ConfigError

LEAST_COST = 0.01
"""What a deferral costs at least, in accuracy; without it a τ above a would never fall."""


def timeout_aware_tau(
    taus: NDArray[np.float64], slow_accuracy: float, timeout_share: float
) -> NDArray[np.float64]:
    """The τ of each row while so many slow answers come too late; never above τ, never below 0.

    Args:
        taus: [n], what counts while all slow answers come in time.
        slow_accuracy: of the slow model on what is deferred, in [0, 1].
        timeout_share: of the deferrals, in [0, 1]; at 0 the taus are unchanged to the last bit.
    """
    for name, share in (("slow_accuracy", slow_accuracy), ("timeout_share", timeout_share)):
        if not 0.0 <= share <= 1.0:
            raise ConfigError(f"{name} is {share}, but it must lie between 0 and 1.")
    if timeout_share == 1.0:
        return np.zeros_like(taus)
    cost = np.maximum(slow_accuracy - taus, LEAST_COST)
    fallen: NDArray[np.float64] = np.maximum(
        taus - cost * (timeout_share / (1.0 - timeout_share)), 0.0
    )
    return fallen
