"""Options of ``uplift``, with their ranges."""

from __future__ import annotations

from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from churnlib.config.checks import check_choice, check_local, check_range
from churnlib.config.data import DataConfig, PreprocessConfig, SplitConfig
from churnlib.errors import ConfigError


@dataclass(kw_only=True)
class UpliftConfig:
    """``churnlib uplift``: what a treatment prevents, and for whom."""

    data: DataConfig
    preprocess: PreprocessConfig
    split: SplitConfig
    model: Any
    """A baseline: how likely customers leave, of those treated and of those left alone."""
    treatment: str | None = None
    """Column that says who was treated; no model reads it."""
    treated: str | None = None
    """Its value that means "treated"; may be left out for 0/1, yes/no, true/false."""
    learner: str = "x"
    """x (X-learner) or t (T-learner)."""
    effects: str = "ridge"
    """Models of effects of the X-learner: ridge or hist_gradient_boosting."""
    propensity: str = "constant"
    """Chance of being treated: constant (the same for all, as in an experiment) or logistic (by the columns)."""
    replicates: int = 1000
    """Resampled sets of test rows behind the intervals."""
    threads: int | None = 1
    """Of the fits; null for as many as there are."""
    seed: int = 42
    """Of the split and the fits."""
    output_dir: str | None = None
    """Folder of the run; a dated one under outputs/ when left out."""

    def __post_init__(self) -> None:
        check_local("output_dir", self.output_dir)
        if not self.treatment:
            raise ConfigError("treatment is missing: name the column that says who was treated, treatment=COLUMN")
        check_choice("learner", self.learner, ("x", "t"))
        check_choice("effects", self.effects, ("ridge", "hist_gradient_boosting"))
        check_choice("propensity", self.propensity, ("constant", "logistic"))
        check_range("replicates", self.replicates, low=20)
        check_range("threads", self.threads, low=1)
        check_range("seed", self.seed, low=0, high=2**32 - 1)
        if is_dataclass(self.model) and not isinstance(self.model, type):
            self.model = asdict(self.model)


__all__ = ["UpliftConfig"]
