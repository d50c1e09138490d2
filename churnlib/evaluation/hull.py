"""The convex hull of the ROC curve: the cuts that are best for some ratio of costs, and isotonic calibration.

Both are one thing. The slopes of the hull are the churn rates that a monotone regression of the labels on the scores
gives (Fawcett and Niculescu-Mizil 2007, "PAV and the ROC convex hull"), so the pool-adjacent-violators algorithm finds
the hull in one pass, and one pass serves EMPC, isotonic calibration and the parts of the Brier score.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from churnlib.evaluation.inputs import Floats, Ints
from churnlib.evaluation.ranking import steps


class Hull(NamedTuple):
    """Vertices of the hull from (0, 0) on, as counts, and where they lie.

    Attributes:
        tp: ``(v,)`` churners above each vertex, the first 0, the last all.
        fp: ``(v,)`` stayers above it.
        place: ``(v - 1,)`` place, among the counts given, of all vertices but the first.
    """

    tp: Floats
    fp: Floats
    place: Ints


def corners(tp: Floats, fp: Floats) -> Ints:
    """Return the places that can be vertices of the hull, however often each row is drawn.

    After a step without a churner, or before one without a stayer, going back or on is at least as good for any costs;
    what remains is at most one place per row of the rarer class.

    Args:
        tp: ``(m,)`` churners down to each distinct score.
        fp: ``(m,)`` stayers.
    """
    turns = (steps(tp)[:-1] > 0) & (steps(fp)[1:] > 0)
    return np.append(np.flatnonzero(turns), len(tp) - 1)


def roc_hull(tp: Floats, fp: Floats) -> Hull:
    """Find the hull of ``(m,)`` cumulated counts; places without rows are passed over.

    >>> hull = roc_hull(np.array([1.0, 1.0, 2.0]), np.array([0.0, 2.0, 2.0]))
    >>> hull.tp.tolist(), hull.fp.tolist()
    ([0.0, 1.0, 2.0], [0.0, 0.0, 2.0])
    """
    from scipy.optimize import isotonic_regression

    rows = steps(tp + fp)
    drawn = np.flatnonzero(rows > 0)
    rate = steps(tp)[drawn] / rows[drawn]
    fitted = isotonic_regression(rate, weights=rows[drawn], increasing=False)
    place = drawn[np.asarray(fitted.blocks[1:]) - 1]
    return Hull(np.append(0.0, tp[place]), np.append(0.0, fp[place]), place)
