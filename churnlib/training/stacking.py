"""``model=stack``: models of several kinds on the same folds, weighed by what they say about rows they did not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from churnlib.compose import compose
from churnlib.config import TrainConfig, config_dir, nearest
from churnlib.data.customers import Customers
from churnlib.errors import ConfigError
from churnlib.evaluation.blending import fit_blend
from churnlib.models.baselines.recipes import recipe_of
from churnlib.models.ensemble import Ensemble, blend_logits
from churnlib.training.cross_validation import design, fit_design
from churnlib.training.fitted import Fit, HeldOut, Trained
from churnlib.training.many import MEMBERS

STACK = "churnlib.training.stacking.Stack"
"""``_target_`` of the stack's configuration."""

SHARED = ("data", "preprocess", "split", "resample", "seed", "cv", "cv_repeats", "ensemble")
SHARED_TRAINER = ("accelerator", "precision", "compile", "threads", "progress")
"""Options of the run that hold for each of its models."""

OWN = ("loss", "augment", "optimizer", "scheduler")
OWN_TRAINER = ("max_epochs", "batch_size", "gradient_clip_val")
"""Options that each model of a stack has for itself, and the run has none of."""

LEAST = 1e-3
"""Weight below which a model is left out of the bundle."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The arguments of ``model=stack``.

    Attributes:
        models: Each the name of a model, or a name and its options as on the command line.
    """

    models: Sequence[str]


def is_stack(spec: Mapping[str, Any]) -> bool:
    """Whether a model's configuration describes a stack."""
    return spec["_target_"] == STACK


def fit_stack(config: TrainConfig, customers: Customers, folder: Path) -> Trained:
    """Fit every model of the stack on the same folds, and weigh them.

    Args:
        config: The run's options.
        customers: The rows.
        folder: Of the run; each model has a folder of its own in it.

    Raises:
        ChurnlibError: If a model is not known, or its options are wrong.
    """
    plan = design(config, customers)
    kinds = {
        name: fit_design(part, plan, folder / MEMBERS / str(number), name=name)
        for number, (name, part) in enumerate(parts_of(config).items())
    }
    said = [trained.held_out.logits for trained in kinds.values()]
    rows = next(iter(kinds.values())).held_out.rows
    weights, shift = fit_blend(said, customers.label[rows])
    counts = {name: float(weight) for name, weight in zip(kinds, weights, strict=True) if weight >= LEAST}
    if not counts:  # nothing is known but the share of churners
        counts = dict.fromkeys(kinds, 0.0)
    groups = [kinds[name].fit.model.groups[0] for name in counts]  # type: ignore[attr-defined]
    model = Ensemble(tuple(groups), tuple(counts.values()), tuple(shift.tolist()))
    blended = blend_logits([kinds[name].held_out.logits for name in counts], model.weights, model.shift)
    fits = [trained.fit for trained in kinds.values()]
    seconds = sum(fit.seconds for fit in fits)
    rate = sum(fit.rows_per_second * fit.seconds for fit in fits) / max(seconds, 1e-9)
    return Trained(
        Fit(model, max(fit.epochs for fit in fits), seconds, rate),
        plan.customers,
        HeldOut(rows, blended),
        [part for trained in kinds.values() for part in trained.parts],
        {name: counts.get(name, 0.0) for name in kinds},
    )


def check_stack(config: TrainConfig) -> None:
    """Refuse a stack before anything is read.

    Raises:
        ConfigError: If a model is not known, its options are wrong, or the run has options that are each model's own.
        MissingPackageError: If a model's package is not installed.
    """
    plain = compose(["model=stack"])
    changed = [key for key in OWN if getattr(config, key) != getattr(plain, key)]
    changed += [f"trainer.{key}" for key in OWN_TRAINER if getattr(config.trainer, key) != getattr(plain.trainer, key)]
    if changed:
        raise ConfigError(
            f"{changed[0]} is no option of a stack, whose models have each their own; write it behind a model's name, "
            "such as \"model.models=['mlp trainer.max_epochs=10',logistic]\""
        )
    if config.cv is None:
        raise ConfigError("model=stack weighs models by rows that they did not learn from; give it folds, such as cv=5")
    for part in parts_of(config).values():
        recipe_of(part.model)


def parts_of(config: TrainConfig) -> dict[str, TrainConfig]:
    """Return the configuration of each model of a stack: its own recipe, on the rows and with the seeds of the run.

    Raises:
        ConfigError: If a model is not known, or its options are wrong.
    """
    same = {key: getattr(config, key) for key in SHARED}
    trainer = {
        key: getattr(config.trainer, key) for key in ("accelerator", "precision", "compile", "threads", "progress")
    }
    parts = {}
    for words in config.model["models"]:
        part = _composed(words)
        parts[words] = replace(part, **same, trainer=replace(part.trainer, **trainer), logger=None)
    return parts


def _composed(words: str) -> TrainConfig:
    """Return the configuration of ``NAME`` or ``NAME OPTION OPTION``."""
    from hydra.errors import HydraException

    name, *options = words.split()
    known = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml") if path.stem != "stack")
    if name not in known:
        hint = nearest(name, known) or f"; choose from {', '.join(known)}"
        raise ConfigError(f"model.models has {name!r}, which is no model that a stack can hold{hint}")
    try:
        return compose([f"model={name}", *options])
    except HydraException as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"model.models has {words!r}, which cannot be used: {reason}") from error
