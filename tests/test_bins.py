"""Bins of single columns: where they lie, and what of them is below a value."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from churnlib.models.bins import Bins, borders_between, short_between


def placed(values: list[list[float]], n_bins: int) -> Bins:
    bins = Bins(len(values[0]), n_bins=n_bins)
    bins.place(torch.tensor(values), lambda x: (x - 10.0) / 4.0)
    return bins


def test_each_value_reaches_the_borders_below_it():
    bins = placed([[1.0], [1.0], [2.0], [4.0]], 8)
    assert bins.edges[0].tolist()[:2] == [1.5, 3.0] and bool(bins.edges[0, 2:].isnan().all())
    scaled = (torch.tensor([[0.0], [1.5], [2.0], [9.0]]) - 10.0) / 4.0
    assert bins(scaled).sum(-1).flatten().tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("n_bins", [2, 5, 16])
def test_the_bins_of_a_column_hold_about_as_many_rows_each(n_bins: int):
    values = np.random.default_rng(0).lognormal(5, 2, 4_000).astype(np.float32)
    borders = borders_between(values, n_bins)
    counts = np.bincount(np.searchsorted(borders, values, side="right"))
    assert len(counts) == n_bins and counts.max() - counts.min() <= 4
    assert not np.isin(borders, values).any()


def test_a_frequent_value_has_its_bin_and_gaps_and_constants_have_none():
    assert borders_between(np.float32([0] * 90 + [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), 3).size >= 1
    bins = placed([[7.0, float("nan")], [7.0, float("nan")]], 4)
    assert bool(bins.edges.isnan().all())
    assert bins(torch.full((1, 2), 1e12)).sum() == 0


@pytest.mark.parametrize(
    ("low", "high", "between"),
    [(12, 13, 12.5), (0.1, 0.2, 0.15), (30.2, 79, 50), (-3, 1_000_000, 0), (1e-30, 3e-30, 2e-30)],
)
def test_a_border_has_few_digits(low: float, high: float, between: float):
    assert short_between(np.float32(low), np.float32(high)) == np.float32(between)


def test_a_border_lies_beyond_the_lower_of_any_two_numbers():
    low = np.float32(1234.5)
    high = np.nextafter(low, np.float32(np.inf))
    assert short_between(low, high) == high
    most = np.finfo(np.float32).max
    assert -most < short_between(-most, most) < most


def test_a_number_needs_two_bins():
    with pytest.raises(ValueError, match="a number needs at least 2 bins, got 1"):
        Bins(3, n_bins=1)
