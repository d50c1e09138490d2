"""A plan as files, there whole or not at all."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from churnlib.errors import DataError

if TYPE_CHECKING:
    from churnlib.planning.plan import Plan


def check_folder(folder: str | Path) -> Path:
    """Return a folder that is not there yet, in one that is.

    Raises:
        DataError: If something stands there already, or it has no place to be.
    """
    target = Path(folder)
    if target.exists():
        raise DataError(f"output={target} exists already; a plan is never overwritten, choose another folder")
    if not target.absolute().parent.is_dir():
        raise DataError(f"output={target} cannot be written: there is no folder {target.absolute().parent}")
    return target


def write_plan(plan: Plan, folder: str | Path) -> Path:
    """Write a plan; see :meth:`churnlib.planning.plan.Plan.write`."""
    target = check_folder(folder)
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
    try:
        temporary.mkdir()
        plan.customers.write_parquet(temporary / "plan.parquet")
        plan.contacts.write_csv(temporary / "plan.csv")
        plan.segments.write_csv(temporary / "segments.csv")
        told = {**plan.summary, "segments": plan.segments.to_dicts()}
        text = json.dumps(_finite(told), indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / "plan.json").write_text(text + "\n", encoding="utf-8")
        temporary.rename(target)
    except OSError as error:
        raise DataError(f"output={target} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _finite(value: Any) -> Any:
    """Return the value with null for numbers that JSON lacks."""
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


__all__ = ["check_folder", "write_plan"]
