"""The bundle: a folder that holds everything a model needs to answer, and nothing that could run by itself.

    bundle.json        format, model, versions, and size and SHA-256 of each other file
    schema.json        columns and classes
    preparation.json   fitted statistics and categories
    network.json       class and arguments of the network, or
    baseline.json      kind and settings of a fitted baseline, or
    ensemble.json      both for several of these, and how their answers are combined, or
    uplift.json        both for those of an uplift model: customers left alone, customers treated, and effects
    weights.safetensors, or model.txt, model.json: the numbers of LightGBM, XGBoost, CatBoost in their own formats;
                       of several models one for each member, member_000.weights.safetensors, ...
    model.onnx         the model once more as one graph, where it has that form, to answer without torch
    decision.json      calibration and threshold
    metrics.json       how the model did
    profile.json       what the training rows looked like
    golden.json        made-up customers and their probabilities, replayed before a server is ready
    background.json    customers that reasons are measured against: made up unless the user wanted training rows

Written whole or not at all: into a temporary folder beside the target, then renamed. Read only after every file's size
and checksum agree; numbers are safetensors, text or JSON, so reading runs nothing. A network that is not part of
churnlib is built only when its package is trusted by name.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from churnlib.calibration import UNCALIBRATED, Calibration, calibration_from_dict
from churnlib.config.checks import check_choice
from churnlib.data.preparation import Preparation
from churnlib.decision import OwnThreshold
from churnlib.errors import BundleError
from churnlib.models.fitted import KEPT_AS, FittedModel, restore, state_names
from churnlib.models.onnx.running import OnnxModel, has_runtime
from churnlib.schema import Schema
from churnlib.survival import HazardCurve

FORMAT_VERSION = 6
"""Raised when a bundle of this release cannot be read by the one before.

2 brought baselines, 3 ensembles, 4 steps of preparation and columns that are kept from the model, 5 calibrations other
than a temperature, 6 thresholds of each customer's own, hazards, and uplift models.
"""

JSON_FILES = (
    "schema.json", "preparation.json", "decision.json",
    "metrics.json", "profile.json", "golden.json", "background.json",
)  # fmt: skip
"""Beside them stand the model's own files: its values (one of ``KEPT_AS``) and its numbers."""

ONNX = "model.onnx"
BACKENDS = ("auto", "torch", "onnx")

LARGEST_JSON = 64 * 2**20
LARGEST_STATE = 4 * 2**30
"""Bytes; a larger file is refused before it is read."""


@dataclass(frozen=True)
class Bundle:
    """A model and all that belongs to it.

    Attributes:
        schema: Columns and classes.
        preparation: From typed columns to the model's arrays.
        model: From those arrays to logits: a network or a fitted baseline.
        calibration: From logits to probabilities; of a model that says when customers leave, what its hazards mean.
        threshold: Probability from which a customer counts as leaving; None for more than two classes.
        own_threshold: Where each customer has a threshold by his value; ``threshold`` is that of a mean value then.
        name: Short name of the model.
        metrics: How it did on validation and test rows.
        profile: What the training rows looked like (:mod:`churnlib.data.profile`).
        golden: ``{"row": {...}, "probability": ...}`` each.
        background: Customers that reasons are measured against; made up unless ``bundle.background=rows`` was said.
        version: Hash of the files that decide the answers; set when written or read.
        created: UTC time of writing, ISO 8601.
        onnx: The model as an ONNX file (:func:`churnlib.models.onnx.writing.to_onnx`); None without one.
    """

    schema: Schema
    preparation: Preparation
    model: FittedModel
    calibration: Calibration = UNCALIBRATED
    threshold: float | None = 0.5
    own_threshold: OwnThreshold | None = None
    name: str = "model"
    metrics: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    golden: Sequence[Mapping[str, Any]] = ()
    background: Sequence[Mapping[str, Any]] = ()
    version: str = ""
    created: str = ""
    onnx: bytes | None = field(default=None, repr=False)

    @property
    def hazards(self) -> HazardCurve | None:
        """What the hazards of the model mean; None of a model that says whether customers leave, not when."""
        return self.calibration if isinstance(self.calibration, HazardCurve) else None

    @property
    def n_outputs(self) -> int:
        """Logits of a row: 1 for two classes, one for each of more classes or of the intervals of hazards."""
        if self.hazards is not None:
            return len(self.hazards.breaks)
        return 1 if len(self.schema.classes) == 2 else len(self.schema.classes)


def write_bundle(bundle: Bundle, path: str | Path) -> Bundle:
    """Write a bundle to a folder that does not exist yet.

    Returns:
        The bundle with its version and time of writing.

    Raises:
        BundleError: If something stands at the path already, or it cannot be written.
    """
    target = Path(path)
    if target.exists():
        raise BundleError(f"{target} exists already; a bundle is never overwritten, choose another folder or remove it")
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
    try:
        temporary.mkdir(parents=True)
        names = _write_files(bundle, temporary)
        manifest = _manifest(bundle, temporary, names)
        _write_json(temporary / "bundle.json", manifest)
        temporary.replace(target)
    except OSError as error:
        raise BundleError(f"the bundle cannot be written to {target} ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return replace(bundle, version=manifest["model"]["version"], created=manifest["created"])


def read_bundle(path: str | Path, *, trust: Sequence[str] = (), backend: str = "torch", threads: int = 1) -> Bundle:
    """Read a bundle after checking every file of it.

    Args:
        path: The folder.
        trust: Packages of your own whose networks the bundle may name; an ONNX file needs none.
        backend: What answers. ``torch``: the model as it was trained (baselines by numpy or their own library).
            ``onnx``: its ONNX file, by ONNX Runtime and without torch. ``auto``: ONNX Runtime where it is installed
            and the bundle has such a file.
        threads: Processor threads of ONNX Runtime.

    Raises:
        BundleError: If it is missing, damaged, of a version this release cannot read, names a network that is not
            trusted, or lacks the file that the backend reads.
        ConfigError: If there is no such backend.
        MissingPackageError: If the backend is not installed.
    """
    check_choice("backend", backend, BACKENDS)
    folder = Path(path)
    manifest = _read_manifest(folder)
    # A network unless the manifest says otherwise: it is the network's file that a bad manifest lacks.
    kept_as = next((name for name in KEPT_AS if name in manifest.get("files", {})), "network.json")
    texts = {name: _read_checked(folder, name, manifest) for name in (*JSON_FILES, kept_as)}
    contents = {name: _parse(folder / name, text) for name, text in texts.items()}
    parts = {name.removesuffix(".json"): content for name, content in contents.items()}
    try:
        names = state_names(kept_as, contents[kept_as])
        states = {name: _read_checked(folder, name, manifest, largest=LARGEST_STATE) for name in names}
        schema = Schema.from_dict(parts["schema"])
        onnx = _read_checked(folder, ONNX, manifest, largest=LARGEST_STATE) if ONNX in manifest["files"] else None

        def original() -> FittedModel:
            return restore(kept_as, contents[kept_as], states, n_classes=len(schema.classes), trust=trust)

        return Bundle(
            schema=schema,
            preparation=Preparation.from_dict(parts["preparation"]),
            model=_answering(folder, backend, onnx, original, threads=threads),
            calibration=calibration_from_dict(parts["decision"].get("calibration", parts["decision"])),
            threshold=parts["decision"]["threshold"],
            own_threshold=_own_threshold(parts["decision"]),
            name=manifest["model"]["name"],
            metrics=parts["metrics"],
            profile=parts["profile"],
            golden=parts["golden"],
            background=parts["background"],
            version=manifest["model"]["version"],
            created=manifest["created"],
            onnx=onnx,
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(f"the bundle {folder} cannot be used: {str(error) or repr(error)}") from error


def _own_threshold(decision: Mapping[str, Any]) -> OwnThreshold | None:
    kept = decision.get("own_threshold")
    return None if kept is None else OwnThreshold.from_dict(kept)


def _answering(
    folder: Path, backend: str, onnx: bytes | None, original: Callable[[], FittedModel], *, threads: int
) -> FittedModel:
    """Return the model that the backend answers with."""
    if backend == "onnx" and onnx is None:
        raise BundleError(f"the bundle {folder} has no {ONNX}; use backend=torch, or train again with bundle.onnx=true")
    if onnx is None or backend == "torch" or (backend == "auto" and not has_runtime()):
        return original()
    return OnnxModel(onnx, original=original, threads=threads)


def package_versions() -> dict[str, str]:
    """Return the versions that a model's answers may depend on."""
    versions = {"python": platform.python_version()}
    for package in ("churnlib", "torch", "polars", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


# --- writing --------------------------------------------------------------------------------------------------------


def _write_files(bundle: Bundle, folder: Path) -> list[str]:
    """Write all but the manifest; return the names of the model's own files, that of its values first."""
    kept = bundle.model.keep()
    contents = {
        "schema.json": bundle.schema.to_dict(),
        "preparation.json": bundle.preparation.to_dict(),
        kept.name: dict(kept.values),
        "decision.json": _decision(bundle),
        "metrics.json": dict(bundle.metrics),
        "profile.json": dict(bundle.profile),
        "golden.json": list(bundle.golden),
        "background.json": list(bundle.background),
    }
    for name, content in contents.items():
        _write_json(folder / name, content)
    for name, state in kept.states.items():
        (folder / name).write_bytes(state)
    if bundle.onnx is not None:
        (folder / ONNX).write_bytes(bundle.onnx)
    return [kept.name, *kept.states]


def _decision(bundle: Bundle) -> dict[str, Any]:
    decision: dict[str, Any] = {"calibration": bundle.calibration.to_dict(), "threshold": bundle.threshold}
    if bundle.own_threshold is not None:
        decision["own_threshold"] = bundle.own_threshold.to_dict()
    return decision


def _manifest(bundle: Bundle, folder: Path, model_files: Sequence[str]) -> dict[str, Any]:
    exported = [ONNX] if (folder / ONNX).exists() else []
    files = {name: _fingerprint((folder / name).read_bytes()) for name in (*JSON_FILES, *model_files, *exported)}
    return {
        "format": "churnlib bundle",
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {"name": bundle.name, "version": _model_version(files, model_files)},
        "versions": package_versions(),
        "files": files,
    }


def _model_version(files: Mapping[str, Mapping[str, Any]], model_files: Sequence[str]) -> str:
    """The same answers have the same version, whenever and wherever they were trained."""
    values, *numbers = model_files
    deciding = ("schema.json", "preparation.json", values, "decision.json", *numbers)
    joined = "".join(files[name]["sha256"] for name in deciding)
    return hashlib.sha256(joined.encode()).hexdigest()[:12]


def _write_json(path: Path, content: Any) -> None:
    """Write JSON to be read by people too, and made-up customers one a line: there are a hundred of all columns."""
    if isinstance(content, list):
        text = "[\n" + ",\n".join(_json(entry, indent=None) for entry in content) + "\n]"
    else:
        text = _json(content, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def _json(content: Any, *, indent: int | None) -> str:
    return json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)


def _fingerprint(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


# --- reading --------------------------------------------------------------------------------------------------------


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "bundle.json"
    if not path.is_file():
        where = f"{folder} has no bundle.json" if folder.is_dir() else f"there is no folder {folder}"
        raise BundleError(f"{where}; give the bundle folder of a finished run, such as outputs/latest/bundle")
    manifest = _parse(path, path.read_bytes())
    found = manifest.get("format_version") if isinstance(manifest, dict) else None
    if not isinstance(manifest, dict) or manifest.get("format") != "churnlib bundle" or not isinstance(found, int):
        raise BundleError(f"{path} is not the manifest of a churnlib bundle; give the bundle folder of a finished run")
    if found > FORMAT_VERSION:
        wrote = manifest.get("versions", {}).get("churnlib", "a newer release")
        raise BundleError(
            f"the bundle {folder} has format {found} (churnlib {wrote}), this release reads up to {FORMAT_VERSION}; "
            f"install that release or train again"
        )
    return manifest


def _read_checked(folder: Path, name: str, manifest: Mapping[str, Any], *, largest: int = LARGEST_JSON) -> bytes:
    expected = manifest.get("files", {}).get(name)
    path = folder / name
    if expected is None or not path.is_file():
        raise BundleError(f"the bundle {folder} lacks {name}; copy it again from where it was written")
    size = path.stat().st_size
    if size > largest:
        raise BundleError(f"{path} has {size:,} bytes, more than the {largest:,} this release reads")
    content = path.read_bytes()
    if _fingerprint(content) != expected:
        raise BundleError(
            f"{path} is damaged or was changed after writing (its checksum differs); copy the bundle again"
        )
    return content


def _parse(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON; copy the bundle again") from error
