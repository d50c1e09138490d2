"""What a fit of ChurnClassifier costs around the training itself, which cross-validation and searches pay many times.

    python scripts/bench_classifier.py                 100 rows of three numbers, model=mlp
    python scripts/bench_classifier.py models=mlp,tabnet,ft_transformer

The first fit of a process also loads PyTorch and Lightning and composes the configuration. Of the later ones the least
of five counts: one epoch, and what each further epoch adds. Beside them stands scikit-learn's own MLPClassifier.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.words import options_of

EPOCHS = 50


def main(words: list[str]) -> int:
    """Measure the models that the words choose and print one table."""
    models = options_of(words, {"models": "mlp"}, __doc__)["models"].split(",")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(100, 3))
    label = (rows[:, 0] > 0).astype(int)
    table = Table(title="Fits of 100 rows: seconds")
    for header in ("model", "first fit, 1 epoch", "fit, 1 epoch", "each further epoch", "predict_proba of 1 row"):
        table.add_column(header, justify="left" if header == "model" else "right")
    for model in models:
        table.add_row(model, *(f"{value:.4f}" for value in ours(model, rows, label)))
    table.add_row("MLPClassifier", *(f"{value:.4f}" for value in theirs(rows, label)))
    Console(width=130).print(table)
    return 0


def ours(model: str, rows: np.ndarray, label: np.ndarray) -> list[float]:
    """Return the figures of a churnlib model."""
    from churnlib import ChurnClassifier

    def make(epochs: int) -> Any:
        options = {"trainer.max_epochs": epochs, "callbacks.early_stopping": None}
        return ChurnClassifier(model, options=options, random_state=0)

    return figures(make, rows, label)


def theirs(rows: np.ndarray, label: np.ndarray) -> list[float]:
    """Return the figures of scikit-learn's network of the same width."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    same: dict[str, Any] = {"hidden_layer_sizes": (256, 256), "batch_size": 85}
    return figures(lambda epochs: MLPClassifier(**same, max_iter=epochs, n_iter_no_change=epochs), rows, label)


def figures(make: Callable[[int], Any], rows: np.ndarray, label: np.ndarray) -> list[float]:
    """Return seconds of the first fit, of a later one, of a further epoch, and of scoring one row."""
    first = seconds(lambda: make(1).fit(rows, label))
    once, many = (min(seconds(lambda n=n: make(n).fit(rows, label)) for _ in range(5)) for n in (1, 1 + EPOCHS))
    fitted = make(1).fit(rows, label)
    return [
        first,
        once,
        (many - once) / EPOCHS,
        min(seconds(lambda: fitted.predict_proba(rows[:1])) for _ in range(20)),
    ]


def seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
