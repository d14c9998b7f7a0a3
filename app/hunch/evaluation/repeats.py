"""`kept`: which row stands for an input that a record has more than once.

Of its labelled rows the label that most have counts, of equally many the one that comes first; the
first row with that label stays. Without a label the first row stays.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_LABEL = -1


class Kept(NamedTuple):
    """The rows that stay, one an input, columns of equal length.

    Attributes:
        rows: which they are.
        counts: how many rows have the same input.
        contradictions: for each input whose rows have different labels, two of those rows.
    """

    rows: NDArray[np.intp]
    counts: NDArray[np.int64]
    contradictions: list[tuple[int, int]]


def kept(inputs: Sequence[bytes], right: NDArray[np.int64], among: NDArray[np.bool_]) -> Kept:
    """Finds them.

    Args:
        inputs: fingerprints, length n.
        right: [n], the column of the right label, `NO_LABEL` where there is none.
        among: [n], whether a row counts at all.
    """
    rows_of: dict[bytes, list[int]] = {}
    for row in np.flatnonzero(among).tolist():
        rows_of.setdefault(inputs[row], []).append(row)
    columns = right.tolist()
    rows, contradictions = [], []
    for same in rows_of.values():
        labelled = [row for row in same if columns[row] != NO_LABEL] or same
        found = Counter(columns[row] for row in labelled)
        ((most, _),) = found.most_common(1)
        rows.append(next(row for row in labelled if columns[row] == most))
        if len(found) > 1:
            first = labelled[0]
            other = next(row for row in labelled if columns[row] != columns[first])
            contradictions.append((first, other))
    counts = np.array([len(same) for same in rows_of.values()], dtype=np.int64)
    return Kept(np.array(rows, dtype=np.intp), counts, contradictions)
