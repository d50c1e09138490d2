"""MurmurHash3 (x86, 32 bits) of many texts at once: the same numbers on every machine, in every process and release.

polars promises that of its own hash only within one version, and Python of its own not even from one process to the
next. This one is public, has known answers to check against, and is what scikit-learn hashes features with.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl

_C1, _C2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)


def murmur3(texts: pl.Series, *, seed: int = 0) -> np.ndarray:
    """Return the hash of each text's UTF-8 bytes, ``(n,)`` int32.

    >>> murmur3(pl.Series(["", "hello"])).tolist()
    [0, 613153351]

    Args:
        texts: Strings, none of them missing.
        seed: Of the hash, 32 bits.
    """
    sizes = texts.str.len_bytes().to_numpy()
    hashes = np.empty(len(texts), dtype=np.uint32)
    # Texts of one length make a table of bytes, which is hashed column by column.
    order = np.argsort(sizes, kind="stable")
    lengths, starts = np.unique(sizes[order], return_index=True)
    for length, rows in zip(lengths.tolist(), np.split(order, starts)[1:], strict=True):
        joined = texts.gather(rows).str.join().item().encode()
        hashes[rows] = _hash_table(np.frombuffer(joined, dtype=np.uint8).reshape(len(rows), length), seed)
    return hashes.view(np.int32)


def _hash_table(table: np.ndarray, seed: int) -> np.ndarray:
    """Hash each row of a table of bytes, ``(n, length)`` uint8."""
    n, length = table.shape
    whole = length // 4
    blocks = np.ascontiguousarray(table[:, : 4 * whole]).view("<u4").astype(np.uint32).reshape(n, whole)
    state = np.full(n, seed, dtype=np.uint32)
    for block in blocks.T:
        state ^= _mixed(block)
        state = _rotated(state, 13) * np.uint32(5) + np.uint32(0xE6546B64)
    tail = np.zeros(n, dtype=np.uint32)
    for place, byte in enumerate(table[:, 4 * whole :].T):
        tail |= byte.astype(np.uint32) << np.uint32(8 * place)
    state ^= _mixed(tail) if length % 4 else np.uint32(0)
    return _avalanche(state ^ np.uint32(length))


def _mixed(block: np.ndarray) -> np.ndarray:
    return _rotated(block * _C1, 15) * _C2


def _rotated(value: np.ndarray, bits: int) -> np.ndarray:
    return (value << np.uint32(bits)) | (value >> np.uint32(32 - bits))


def _avalanche(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    state = (state ^ (state >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return state ^ (state >> np.uint32(16))


def draws(texts: pl.Expr, *, seed: int) -> pl.Expr:
    """Return a number in [0, 1) for each text, Float64: the same for the same text and seed, now and ever after.

    Computed piece by piece where rows are streamed.

    >>> pl.DataFrame({"id": ["C1", "C2", "C1"]}).select(draws(pl.col("id"), seed=1).round(4)).to_series().to_list()
    [0.3303, 0.7863, 0.3303]

    Args:
        texts: Strings, none of them missing.
        seed: Of the hash; its last 32 bits count.
    """
    return texts.map_batches(partial(_draws, seed=seed), return_dtype=pl.Float64, is_elementwise=True)


def _draws(texts: pl.Series, *, seed: int) -> pl.Series:
    return pl.Series(texts.name, murmur3(texts, seed=seed % 2**32).view(np.uint32) / 2.0**32)


def bucket_and_sign(texts: pl.Series, n_buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each text among ``n_buckets`` and the sign that it counts with, as scikit-learn hashes them.

    Args:
        texts: Strings, none of them missing.
        n_buckets: Places.

    Returns:
        ``(n,)`` int64 places from 0, and ``(n,)`` float64 signs.
    """
    hashed = murmur3(texts).astype(np.int64)
    return np.abs(hashed) % n_buckets, np.where(hashed >= 0, 1.0, -1.0)
