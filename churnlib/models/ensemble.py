"""Several fitted models that answer together: folds of a cross-validation, seeds, or models of different kinds.

Members of a group are equals: their mean probability counts. Groups are weighed: the log-odds of an ensemble are a
weighted sum of the groups' log-odds and a shift, which for one group of weight 1 is that group's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churnlib.models.fitted import FittedModel, Kept, member_file, state_names
from churnlib.models.fitted import restore as restore_model

if TYPE_CHECKING:
    from churnlib.models.onnx.graph import Graph
    from churnlib.models.onnx.writing import EncodedRows


@dataclass(frozen=True, slots=True)
class Member:
    """A model among others, which may have learned from other rows than they, and knows other values.

    Attributes:
        model: The model.
        numeric: For each of its numeric inputs the place among those given; None for the same.
        codes: For each of its categorical inputs a table from the code given to its own; None for the same.
        categorical: For each of its categorical inputs the place among those given; None for the same.
    """

    model: FittedModel
    numeric: tuple[int, ...] | None = None
    codes: tuple[tuple[int, ...], ...] | None = None
    categorical: tuple[int, ...] | None = None

    def logits(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the model's logits for rows as the ensemble gets them."""
        return self.model.logits(*self.own(numeric, codes))

    def own(self, numeric: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows as the ensemble gets them as the model reads them."""
        if self.numeric is not None:
            numeric = np.ascontiguousarray(numeric[:, list(self.numeric)])
        if self.categorical is not None:
            codes = np.ascontiguousarray(codes[:, list(self.categorical)])
        if self.codes is not None and len(self.codes):
            columns = [np.asarray(table)[column] for table, column in zip(self.codes, codes.T, strict=True)]
            codes = np.ascontiguousarray(np.stack(columns, axis=1).astype(np.int64))
        return numeric, codes


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Members in groups; see the module.

    Attributes:
        groups: The members of each group.
        weights: A finite number per group.
        shift: Added to the log-odds; one number for two classes, else one per class.
        hazards: Whether the logits are those of hazards, one for each interval of time. Their members are equals: one
            group of weight 1, whose mean survival counts.
    """

    groups: tuple[tuple[Member, ...], ...]
    weights: tuple[float, ...] = (1.0,)
    shift: tuple[float, ...] = (0.0,)
    hazards: bool = False

    def __post_init__(self) -> None:
        if self.hazards and (self.weights != (1.0,) or any(self.shift)):
            raise ValueError("hazards are averaged in one group of weight 1, without a shift")
        if not self.groups or not all(self.groups) or len(self.groups) != len(self.weights):
            raise ValueError(
                f"{len(self.weights)} weights for {len(self.groups)} groups; give one for each, and members"
            )
        if not np.isfinite([*self.weights, *self.shift]).all():
            raise ValueError(f"weights and shift must be finite, got {self.weights} and {self.shift}")

    @property
    def members(self) -> list[Member]:
        """All members, group by group."""
        return [member for group in self.groups for member in group]

    def logits(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return logits, float64; see :class:`~churnlib.models.fitted.FittedModel`."""
        groups = [
            mean_logits([member.logits(numeric, codes) for member in group], hazards=self.hazards)
            for group in self.groups
        ]
        if self.hazards:
            return groups[0]
        return blend_logits(groups, self.weights, self.shift)

    def draw(self, graph: Graph, rows: EncodedRows) -> str:
        """Add the members to an ONNX graph and return their logits."""
        from churnlib.models.onnx.blending import draw_blend, draw_mean
        from churnlib.models.onnx.writing import draw

        single = len(self.shift) == 1
        groups = [
            draw_mean(
                graph,
                [
                    draw(graph, one.model, rows.of_member(graph, one.numeric, one.codes, one.categorical))
                    for one in group
                ],
                single=single,
                hazards=self.hazards,
            )
            for group in self.groups
        ]
        if self.hazards:
            return groups[0]
        return draw_blend(graph, groups, self.weights, self.shift)

    def keep(self) -> Kept:
        """Write the members down, each as it would be by itself."""
        members, states = [], {}
        groups = [number for number, group in enumerate(self.groups) for _ in group]
        for number, (group, member) in enumerate(zip(groups, self.members, strict=True)):
            kept = member.model.keep()
            reads = {"numeric": member.numeric, "categorical": member.categorical, "codes": member.codes}
            members.append({"group": group, **reads, "kept_as": kept.name, "values": dict(kept.values)})
            states |= {member_file(number, file): content for file, content in kept.states.items()}
        values = {"weights": list(self.weights), "shift": list(self.shift), "members": members}
        values |= {"hazards": True} if self.hazards else {}
        return Kept("ensemble.json", values, states)


def mean_logits(members: Sequence[np.ndarray], *, hazards: bool = False) -> NDArray[np.float64]:
    """Return the logits of the members' mean probability; of hazards, those of their mean survival.

    >>> mean_logits([np.array([0.0]), np.array([np.log(3.0)])]).round(6).tolist()  # 1/2 and 3/4
    [0.510826]

    Args:
        members: ``(n,)`` or ``(n, n_classes)`` each. Computed without leaving the logarithms, so that very sure
            customers still differ.
        hazards: Whether they are hazards, ``(n, n_intervals)``; see :func:`churnlib.models.hazards.combine_hazards`.
    """
    if len(members) == 1:
        return np.asarray(members[0], dtype=np.float64)
    logits = np.stack([np.asarray(member, dtype=np.float64) for member in members])
    if logits.ndim == 2:
        leaves, stays = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
        return np.logaddexp.reduce(leaves, axis=0) - np.logaddexp.reduce(stays, axis=0)
    if hazards:
        leaves, stays = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
        there = np.cumsum(stays, axis=2) - stays
        return np.logaddexp.reduce(there + leaves, axis=0) - np.logaddexp.reduce(there + stays, axis=0)
    shares = logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)
    return np.logaddexp.reduce(shares, axis=0) - np.log(len(members))


def blend_logits(
    groups: Sequence[np.ndarray], weights: Sequence[float], shift: Sequence[float] = (0.0,)
) -> NDArray[np.float64]:
    """Return ``sum(weight * logits) + shift``, ``(n,)`` or ``(n, n_classes)``.

    Args:
        groups: Logits of each group. Of several classes only differences between the columns count, so they are
            taken relative to the row's total first.
        weights: One per group.
        shift: One number for two classes, else one per class.
    """
    if groups[0].ndim == 2:
        groups = [logits - np.logaddexp.reduce(logits, axis=1, keepdims=True) for logits in groups]
    weighted = [weight * np.asarray(logits, dtype=np.float64) for weight, logits in zip(weights, groups, strict=True)]
    return np.sum(weighted, axis=0) + (shift[0] if groups[0].ndim == 1 else np.asarray(shift))


def restore(
    values: Mapping[str, Any], states: Mapping[str, bytes], *, n_classes: int, trust: Sequence[str] = ()
) -> Ensemble:
    """Build the ensemble that was written down; see :func:`churnlib.models.fitted.restore`."""
    groups: list[list[Member]] = [[] for _ in values["weights"]]
    for number, kept in enumerate(values["members"]):
        files = state_names(kept["kept_as"], kept["values"])
        own = {file: states[member_file(number, file)] for file in files}
        model = restore_model(kept["kept_as"], kept["values"], own, n_classes=n_classes, trust=trust)
        # Bundles of before there were preparations side by side have no places of categorical inputs.
        numeric, categorical = (None if kept.get(k) is None else tuple(kept[k]) for k in ("numeric", "categorical"))
        codes = None if kept["codes"] is None else tuple(map(tuple, kept["codes"]))
        groups[kept["group"]].append(Member(model, numeric, codes, categorical))
    shift = tuple(float(value) for value in values["shift"])
    hazards = bool(values.get("hazards", False))
    if not hazards and len(shift) != (1 if n_classes == 2 else n_classes):
        raise ValueError(f"the ensemble's shift has {len(shift)} numbers; is the bundle one for {n_classes} classes?")
    return Ensemble(tuple(map(tuple, groups)), tuple(float(weight) for weight in values["weights"]), shift, hazards)
