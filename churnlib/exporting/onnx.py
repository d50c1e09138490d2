"""A bundle's model as an ONNX file that is known to answer like the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churnlib.errors import MissingPackageError
from churnlib.models.onnx.graph import CannotExport
from churnlib.models.onnx.running import OnnxModel, has_runtime, original

if TYPE_CHECKING:
    from churnlib.bundle import Bundle
    from churnlib.data.preparation import Encoded
    from churnlib.models.fitted import FittedModel

TOLERANCE = 1e-6
"""Largest difference of a probability that counts as rounding."""


def exported(bundle: Bundle) -> bytes:
    """Return a bundle's model as an ONNX file.

    Where ONNX Runtime is installed, the file is asked about the golden rows before it is handed out.

    Raises:
        CannotExport: If the model has no such form, or the file answers otherwise than the model.
        MissingPackageError: If the package onnx is not installed.
    """
    try:
        import onnx  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise MissingPackageError("the package onnx is not installed; add it with: pip install onnx") from error
    from churnlib.models.onnx.writing import to_onnx

    spec, model = bundle.preparation.input_spec(), original(bundle.model)
    content = to_onnx(
        model,
        n_numeric=len(spec["fill"]),
        cardinalities=spec["cardinalities"],
        n_outputs=bundle.n_outputs,
    )
    if has_runtime() and bundle.golden:
        found = difference(bundle, OnnxModel(content, original=lambda: model))
        if not found <= TOLERANCE:
            raise CannotExport(f"its answers would differ by up to {found:.1g} from the model's own")
    return content


def golden_rows(bundle: Bundle) -> Encoded:
    """Return a bundle's golden rows, encoded."""
    from churnlib.data.coercion import coerce
    from churnlib.data.tables import table_from
    from churnlib.schema import Kind

    sequences = {column.name for column in bundle.schema.columns if column.kind is Kind.sequence}
    frame = table_from([dict(golden["row"]) for golden in bundle.golden], sequences=sequences)
    return bundle.preparation.encode(coerce(frame, bundle.schema).typed)


def difference(bundle: Bundle, model: FittedModel) -> float:
    """Return by how much another model's probabilities of the golden rows differ from the bundle's own, at most."""
    rows = golden_rows(bundle)
    own, other = (
        probabilities(bundle, one.logits(rows.numeric, rows.codes)) for one in (original(bundle.model), model)
    )
    return float(np.abs(own - other).max(initial=0.0))


def probabilities(bundle: Bundle, logits: np.ndarray) -> np.ndarray:
    """Return what a bundle makes of logits: of hazards the probability of being gone by the end of each interval."""
    if bundle.hazards is None:
        return bundle.calibration.probabilities(logits)
    gone = 1.0 - bundle.hazards.survival(logits, bundle.hazards.breaks)
    return gone[:, 0] if gone.shape[1] == 1 else gone
