"""Options of resampling: what the training rows of a fit become, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from churnlib.config.checks import check_choice, check_range


@dataclass(kw_only=True)
class ResampleConfig:
    """``resample=none|random_under|random_over|weighted``: how often customers of each class are learned from."""

    name: str
    """none, random_under, random_over, weighted, smote, smotenc, adasyn or nearmiss; set by the group."""
    ratio: float
    """Rows of the rarer class per row of the commonest one afterwards, in (0, 1]; fewer than before changes nothing."""

    def __post_init__(self) -> None:
        names = ("none", "random_under", "random_over", "weighted", "smote", "smotenc", "adasyn", "nearmiss")
        check_choice("resample.name", self.name, names)
        check_range("resample.ratio", self.ratio, low=0, high=1, open_low=True)


@dataclass(kw_only=True)
class NeighborsConfig(ResampleConfig):
    """``resample=smote|smotenc|adasyn``: made-up customers between neighbours of the rarer class."""

    neighbors: int
    """Neighbours to draw from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("resample.neighbors", self.neighbors, low=1)


@dataclass(kw_only=True)
class NearMissConfig(NeighborsConfig):
    """``resample=nearmiss``: of the commoner class those customers stay that are most like the rarer one."""

    version: int
    """1, 2 or 3 of NearMiss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("resample.version", self.version, low=1, high=3)
