"""The scikit-learn face: a customer table and its labels in, an estimator with ``predict_proba`` out.

It adds no way of its own: rows are prepared, trained on, calibrated and scored by the code of ``train.py`` and
``score.py``, only without a run folder.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from churnlib.bundle import write_bundle
from churnlib.calibration import log_odds
from churnlib.config import TrainConfig
from churnlib.data.customers import Customers, prepare_labelled
from churnlib.data.splits import Split, split_each_class
from churnlib.data.tables import table_from
from churnlib.evaluation.metrics import evaluate
from churnlib.models.ensemble import Ensemble
from churnlib.models.fitted import FittedModel
from churnlib.models.network_model import NetworkModel
from churnlib.predictor import Predictor, load
from churnlib.reading import Reading
from churnlib.schema import Kind, Role
from churnlib.training.calibrating import held_out_probability
from churnlib.training.classifier_input import (
    array_names,
    check_labels,
    is_customers,
    labels_from_texts,
    table_from_array,
    table_of_customers,
    target_column,
)
from churnlib.training.classifier_options import compose_options
from churnlib.training.fitted import Trained
from churnlib.training.isolation import isolated


class ChurnClassifier(ClassifierMixin, BaseEstimator):
    """Any churnlib model as a scikit-learn classifier, on raw customer tables or on numbers.

    Strings, categories, dates, truth values and gaps are read as everywhere in churnlib; columns of numeric arrays are
    numbers. Every row is used as it is given, every column may lack values in later rows.

    Any option of ``train.py`` can be set, in ``options`` or like a parameter, with ``__`` for the dot:
    ``ChurnClassifier().set_params(optimizer__lr=1e-3)`` and ``GridSearchCV(clf, {"model__dropout": [0.1, 0.3]})``.

    Example::

        clf = churnlib.ChurnClassifier("mlp", random_state=0)
        cross_val_score(clf, customers.drop("churn"), customers["churn"], scoring="roc_auc")

    Args:
        model: Name of a model, as in ``python train.py model=NAME``.
        options: By the key of the command line, such as ``{"trainer.max_epochs": 30, "optimizer": "sgd"}``.
        columns: Corrections to what is inferred about columns: ``{"zip": {"kind": "categorical"}}``, with ``kind``,
            ``role``, ``order``, ``format``, ``sensitive``.
        threshold: Of two classes, the probability from which the second is predicted, or the rule by which validation
            rows choose it: ``"f1"``, ``"youden"`` or ``"cost"``.
        validation_fraction: Share of each class that stops the training and calibrates the probabilities, in (0, 1);
            not used with ``eval_set``.
        random_state: Seed of the validation rows, the weights and the batches, which then leaves all global random
            numbers alone; None draws one from numpy's global generator, as in scikit-learn.
        verbose: 0 prints nothing; 1 shows the epochs.

    Attributes:
        classes_: Labels, sorted.
        n_features_in_: Number of columns seen in ``fit``.
        feature_names_in_: Their names, where the rows had names that are text.
        n_iter_: Epochs run.
        predictor_: The :class:`~churnlib.predictor.Predictor` that :meth:`save` writes. It computes in float32, the
            methods here in float64: their probabilities differ by less than 1e-6.
    """

    n_features_in_: int
    feature_names_in_: np.ndarray

    def __init__(
        self,
        model: str = "mlp",
        *,
        options: Mapping[str, Any] | None = None,
        columns: Mapping[str, Mapping[str, Any]] | None = None,
        threshold: float | str = 0.5,
        validation_fraction: float = 0.15,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.options = options
        self.columns = columns
        self.threshold = threshold
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    # --- fitting ----------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, *, eval_set: tuple[Any, Any] | None = None) -> Self:
        """Train on rows.

        Args:
            X: ``(n, n_columns)``: a polars or pandas frame, a list of dicts, a dict of columns, an array or a list of
                lists.
            y: ``(n,)`` labels of any type, two classes or more.
            eval_set: Validation rows and their labels, in the form of ``X`` and ``y``; taken from these when None.

        Raises:
            ValueError: If rows or labels are not what scikit-learn expects of a classifier's.
            ChurnlibError: If an option is wrong, or no column can be learned from.
        """
        frame, numeric = self._table(X, reset=True, y=y)
        labels = check_labels(y, len(frame))
        self.classes_, label = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            found = f"one class: {self.classes_.tolist()}" if len(labels) else "no rows"
            raise ValueError(f"{type(self).__name__} needs rows of two or more classes, got {found}")
        seed = self._seed()
        options = compose_options(self.model, self.options, threshold=self.threshold, progress=self.verbose > 0)
        config = replace(options, seed=seed)
        if eval_set is None:
            split = self._split(label, seed)
        else:
            frame, label, split = self._with_validation_rows(frame, label, eval_set)
        numbers = {name: {"kind": "numeric"} for name in frame.columns} if numeric else {}
        customers = prepare_labelled(
            frame,
            label,
            target=target_column(y, self.classes_, frame.columns),
            classes=[str(one) for one in self.classes_.tolist()],
            split=split,
            columns={**numbers, **(self.columns or {})},
            preprocess=asdict(config.preprocess),
        )
        self.predictor_, trained = _train(config, customers)
        self.n_iter_ = trained.fit.epochs
        self._exact = _in_float64(self.predictor_)
        self._metrics = {"test": None, "validation": _validation_metrics(trained, self.predictor_)}
        return self

    def _table(self, X: Any, *, reset: bool, y: Any = "no_validation") -> tuple[pl.DataFrame, bool]:
        """Return rows as a table, and whether they came as an array of numbers; columns are found by their place."""
        if is_customers(X):
            X = table_of_customers(X, [] if reset else self._names)
        elif not hasattr(X, "columns"):
            X = check_array(X, dtype=None, ensure_all_finite=False, estimator=self, input_name="X")  # type: ignore[arg-type]
        validate_data(self, X, y, reset=reset, skip_check_array=True)
        frame, numeric = table_from_array(X) if isinstance(X, np.ndarray) else (table_from(X), False)
        if reset:
            self._names = frame.columns
        return frame.rename(dict(zip(frame.columns, self._names, strict=True))), numeric

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _split(self, label: np.ndarray, seed: int) -> Split:
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be in (0, 1), got {self.validation_fraction!r}")
        return split_each_class(label, self.validation_fraction, seed=seed)

    def _with_validation_rows(
        self, frame: pl.DataFrame, label: np.ndarray, eval_set: tuple[Any, Any]
    ) -> tuple[pl.DataFrame, np.ndarray, Split]:
        """Return the rows with those for validation below them, the labels of both, and which are which."""
        others, _ = self._table(eval_set[0], reset=False)
        if not len(others):
            raise ValueError("eval_set has no rows; leave it out to take a share of X")
        labels = check_labels(eval_set[1], len(others))
        strange = sorted(set(labels.tolist()) - set(self.classes_.tolist()), key=str)
        if strange:
            raise ValueError(f"eval_set has labels that y does not have: {strange}")
        rows, n = np.arange(len(frame) + len(others)), len(frame)
        return (
            pl.concat([frame, others], how="vertical_relaxed"),
            np.concatenate([label, np.searchsorted(self.classes_, labels)]),
            Split(rows[:n], rows[n:], rows[:0], by="column"),
        )

    # --- answers ----------------------------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return calibrated probabilities, ``(n, n_classes)`` float64, columns in the order of ``classes_``.

        Args:
            X: Rows as ``fit`` takes them.

        Raises:
            RowErrors: If a number or a date cannot be read.
        """
        reading = self._reading(X)
        probability = self._exact.probabilities(reading)
        return probability if probability.ndim == 2 else np.column_stack([1.0 - probability, probability])

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row, ``(n,)``: by the threshold for two classes, else the most probable.

        Where a probability equals the threshold, it is the first class, as in scikit-learn.

        Args:
            X: Rows as ``fit`` takes them.

        Raises:
            RowErrors: If a number or a date cannot be read.
        """
        reading = self._reading(X)
        probability = self._exact.probabilities(reading)
        second = probability > self._exact.threshold if probability.ndim == 1 else probability.argmax(axis=1)
        return self.classes_[second.astype(np.int64)]

    def decision_function(self, X: Any) -> np.ndarray:
        """Return calibrated log-odds of the second class, ``(n,)``, or one number per class, ``(n, n_classes)``.

        The sigmoid or softmax of them is what ``predict_proba`` returns.

        Args:
            X: Rows as ``fit`` takes them.

        Raises:
            RowErrors: If a number or a date cannot be read.
        """
        reading = self._reading(X)
        return log_odds(self._exact.bundle.calibration, self._exact.logits(reading.typed))

    def _reading(self, X: Any) -> Reading:
        check_is_fitted(self, "predictor_")
        frame, _ = self._table(X, reset=False)
        reading = self.predictor_.read(frame)
        self.predictor_.check(reading)
        return reading

    # --- parameters and files ---------------------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; with ``deep`` each option too, under its name with ``__`` for the dot."""
        options = self.options if deep and isinstance(self.options, Mapping) else {}
        return {**super().get_params(deep=deep), **{key.replace(".", "__"): value for key, value in options.items()}}

    def set_params(self, **params: Any) -> Self:
        """Set parameters; a name with ``__`` sets the option of the command line that has a dot there."""
        options = {key.replace("__", "."): value for key, value in params.items() if "__" in key}
        super().set_params(**{key: value for key, value in params.items() if "__" not in key})
        if options:
            self.options = {**(self.options or {}), **options}
        return self

    def save(self, path: str | Path) -> Predictor:
        """Write a bundle, which ``score.py`` and ``serve.py`` read too, to a folder that does not exist yet.

        Returns:
            A predictor over the bundle as written.

        Raises:
            BundleError: If something stands at the path already, or it cannot be written.
        """
        from churnlib.training.packing import complete

        check_is_fitted(self, "predictor_")
        return Predictor(write_bundle(complete(self.predictor_, self._metrics), path))

    @classmethod
    def load(cls, path: str | Path, *, trust: Sequence[str] = ()) -> Self:
        """Read a bundle as a fitted classifier.

        The labels are those of ``fit`` for numbers, truth values and text. A bundle that ``train.py`` wrote has text
        labels. Of the parameters only the model's name is known, which matters if the classifier is fitted again.

        Args:
            path: A bundle's folder.
            trust: Packages of your own whose networks the bundle may name.

        Raises:
            BundleError: If the bundle is missing, damaged or of a version that cannot be read.
        """
        predictor = load(path, trust=trust, backend="torch")
        self = cls(predictor.model_name)
        self.predictor_, self._exact, self._metrics = predictor, _in_float64(predictor), predictor.metrics
        target = next((column for column in predictor.schema.columns if column.role is Role.target), None)
        self.classes_ = labels_from_texts(predictor.classes, Kind.categorical if target is None else target.kind)
        self._names = [column.name for column in predictor.schema.columns if column is not target]
        self.n_features_in_ = len(self._names)
        if self._names != array_names(self.n_features_in_):
            self.feature_names_in_ = np.array(self._names, dtype=object)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags


def _train(config: TrainConfig, customers: Customers) -> tuple[Predictor, Trained]:
    """Return what scores rows, and what was trained."""
    from churnlib.training.packing import calibrated
    from churnlib.training.train import fit_model
    from churnlib.training.unlabelled import pretraining_rows

    with isolated():
        trained = fit_model(config, customers, Path(), unlabelled=pretraining_rows(config, customers))
    return calibrated(config, trained), trained


def _in_float64(predictor: Predictor) -> Predictor:
    """Return the same model in float64, in which a row's answer is the same whichever rows it comes with.

    In float32 it is so to 1e-6, as sums of a matrix product are taken in another order for another number of rows;
    scikit-learn asks for 1e-7.
    """
    return Predictor(replace(predictor.bundle, model=_model_in_float64(predictor.bundle.model)))


def _model_in_float64(model: FittedModel) -> FittedModel:
    if isinstance(model, Ensemble):
        members = (
            tuple(replace(member, model=_model_in_float64(member.model)) for member in group) for group in model.groups
        )
        return replace(model, groups=tuple(members))
    if isinstance(model, NetworkModel):
        return replace(model, network=copy.deepcopy(model.network).double())
    return model  # a baseline computes in float64 already, or row by row


def _validation_metrics(trained: Trained, predictor: Predictor) -> dict[str, Any]:
    """Return the metrics of what was said about rows that were not learned from."""
    label = trained.customers.label[trained.held_out.rows]
    probability = held_out_probability(trained.held_out.logits, label, predictor.bundle.calibration)
    return evaluate(label, probability, threshold=predictor.threshold, classes=list(trained.customers.schema.classes))
