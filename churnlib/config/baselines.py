"""Arguments of the models that are fitted in one go."""

from __future__ import annotations

from dataclasses import dataclass

from churnlib.config.checks import check_range


@dataclass(kw_only=True)
class LinearConfig:
    """Arguments of the models in :mod:`churnlib.models.baselines.linear`."""

    _target_: str
    C: float
    """Inverse strength of the penalty on the coefficients."""

    def __post_init__(self) -> None:
        check_range("model.C", self.C, low=0, open_low=True)


@dataclass(kw_only=True)
class RBFSVMConfig(LinearConfig):
    """Arguments of :class:`churnlib.models.baselines.kernel.RBFSVM`."""

    gamma: float | None
    """Inverse squared width of the kernel; null for 1 / (inputs * their variance)."""
    n_landmarks: int
    """Means of customers that the kernel compares with, at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("model.gamma", self.gamma, low=0, open_low=True)
        check_range("model.n_landmarks", self.n_landmarks, low=1)


@dataclass(kw_only=True)
class RandomForestConfig:
    """Arguments of :class:`churnlib.models.baselines.forest.RandomForest`."""

    _target_: str
    n_estimators: int
    """Trees."""
    max_features: float | None
    """Share of the inputs that each split looks at, in (0, 1]; null for their square root."""
    max_depth: int | None
    """Most steps from root to leaf; null for no limit."""
    min_samples_leaf: int
    """Rows in a leaf at least."""

    def __post_init__(self) -> None:
        check_range("model.max_features", self.max_features, low=0, high=1, open_low=True)
        for name in ("n_estimators", "max_depth", "min_samples_leaf"):
            check_range(f"model.{name}", getattr(self, name), low=1)


@dataclass(kw_only=True)
class BoostingConfig:
    """What all boosting models take."""

    _target_: str
    n_estimators: int
    """Rounds at most; early stopping usually ends sooner."""
    patience: int
    """Rounds without a better validation log loss until the end; the best round is kept."""

    def __post_init__(self) -> None:
        for name in ("n_estimators", "patience", "max_leaf_nodes", "num_leaves", "max_depth", "depth"):
            check_range(f"model.{name}", getattr(self, name, None), low=2 if "leave" in name or "leaf" in name else 1)
        for name in ("min_samples_leaf", "min_child_samples"):
            check_range(f"model.{name}", getattr(self, name, None), low=1)
        for name in ("l2_regularization", "reg_lambda", "l2_leaf_reg", "min_child_weight"):
            check_range(f"model.{name}", getattr(self, name, None), low=0)
        for name in ("learning_rate", "subsample", "max_features", "colsample_bytree", "colsample_bylevel"):
            check_range(f"model.{name}", getattr(self, name, None), low=0, high=1, open_low=True)


@dataclass(kw_only=True)
class HistGradientBoostingConfig(BoostingConfig):
    """Arguments of :class:`churnlib.models.baselines.hist_gradient_boosting.HistGradientBoosting`."""

    learning_rate: float
    """Share of each tree that is added, in (0, 1]."""
    max_leaf_nodes: int
    """Leaves of a tree."""
    min_samples_leaf: int
    """Rows in a leaf at least."""
    l2_regularization: float
    """Pull of the leaves towards 0."""
    max_features: float
    """Share of the columns that each split looks at, in (0, 1]."""


@dataclass(kw_only=True)
class LightGBMConfig(BoostingConfig):
    """Arguments of :class:`churnlib.models.baselines.lightgbm.LightGBM`, named as in LightGBM's scikit-learn face."""

    learning_rate: float
    """Share of each tree that is added, in (0, 1]."""
    num_leaves: int
    """Leaves of a tree."""
    min_child_samples: int
    """Rows in a leaf at least."""
    subsample: float
    """Share of the rows that each tree sees, in (0, 1]."""
    colsample_bytree: float
    """Share of the columns that each tree sees, in (0, 1]."""
    reg_lambda: float
    """Pull of the leaves towards 0."""


@dataclass(kw_only=True)
class XGBoostConfig(BoostingConfig):
    """Arguments of :class:`churnlib.models.baselines.xgboost.XGBoost`, named as in XGBoost."""

    learning_rate: float
    """Share of each tree that is added, in (0, 1]."""
    max_depth: int
    """Steps from root to leaf."""
    min_child_weight: float
    """Sum of the rows' curvature in a leaf at least."""
    subsample: float
    """Share of the rows that each tree sees, in (0, 1]."""
    colsample_bylevel: float
    """Share of the columns that each level of a tree sees, in (0, 1]."""
    reg_lambda: float
    """Pull of the leaves towards 0."""


@dataclass(kw_only=True)
class CatBoostConfig(BoostingConfig):
    """Arguments of :class:`churnlib.models.baselines.catboost.CatBoost`, named as in CatBoost."""

    learning_rate: float | None
    """Share of each tree that is added, in (0, 1]; chosen by CatBoost when null."""
    depth: int
    """Steps from root to leaf, at most 16."""
    l2_leaf_reg: float
    """Pull of the leaves towards 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("model.depth", self.depth, low=1, high=16)
