"""What a run of a sweep was told apart from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TOLD_ELSEWHERE = ("model", "seed")
"""They have columns of their own."""


def settings(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return for each run its ``overrides`` that not all runs have, but for model and seed, one a line.

    >>> settings([{"overrides": ["model=mlp", "optimizer.lr=1e-3"]}, {"overrides": ["model=mlp", "optimizer.lr=0.01"]}])
    ['lr = 0.001', 'lr = 0.01']
    """
    told = [dict(word.split("=", 1) for word in run["overrides"] if "=" in word) for run in runs]
    keys = [key for key in {key: None for words in told for key in words} if key not in TOLD_ELSEWHERE]
    varying = [key for key in keys if len({words.get(key) for words in told}) > 1]
    last = [key.rsplit(".", 1)[-1] for key in varying]
    names = {key: short if last.count(short) == 1 else key for key, short in zip(varying, last, strict=True)}
    return ["\n".join(_spaced(names[key], words[key]) for key in varying if key in words) for words in told]


def _spaced(name: str, value: str) -> str:
    """Write an override with blanks where a line may break, and a number with four digits."""
    try:
        value = f"{float(value):.4g}"
    except ValueError:
        value = value.replace(",", ", ")
    return f"{name} = {value}"
