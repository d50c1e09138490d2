from __future__ import annotations

from itertools import chain

import pytest
import torch

from churnlib.data.batches import IndexBatches


def made_batches(n: int = 100, **options) -> IndexBatches:
    rows = torch.arange(n)
    return IndexBatches([rows, rows.float() * 2], **{"batch_size": 32, **options})


def rows_of(batches: IndexBatches) -> list[list[int]]:
    return [rows.tolist() for rows, _ in batches]


def epoch_of(batches: IndexBatches) -> list[int]:
    return list(chain.from_iterable(rows_of(batches)))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("n", "batch_size"), [(7000, 256), (100, 32), (100, 100), (100, 101), (1, 8), (7, 1), (33, 32)]
)
def test_batches_differ_by_one_row_and_leave_none_out(n, batch_size, shuffle):
    batches = made_batches(n, batch_size=batch_size, shuffle=shuffle)
    found = rows_of(batches)
    assert len(found) == len(batches) == -(-n // batch_size)
    sizes = {len(rows) for rows in found}
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1
    assert sorted(chain.from_iterable(found)) == list(range(n))
    assert batches.n_rows == n


def test_without_shuffling_rows_come_in_order():
    assert epoch_of(made_batches()) == list(range(100))


def test_all_tensors_are_shuffled_alike():
    for rows, doubled in made_batches(shuffle=True):
        torch.testing.assert_close(doubled, rows.float() * 2)


def test_the_order_depends_on_the_seed_and_the_epoch_alone():
    batches = made_batches(shuffle=True, seed=7)
    first = rows_of(batches)
    assert rows_of(batches) == first
    batches.set_epoch(3)
    third = rows_of(batches)
    assert third != first
    # A resumed run asks for epoch 3 first.
    resumed = made_batches(shuffle=True, seed=7)
    resumed.set_epoch(3)
    torch.manual_seed(123)
    assert rows_of(resumed) == third
    assert rows_of(made_batches(shuffle=True, seed=8)) != first


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    rows_of(made_batches(shuffle=True))
    torch.testing.assert_close(torch.rand(3), expected)


def test_the_largest_seed_of_the_configuration_works():
    assert sorted(epoch_of(made_batches(shuffle=True, seed=2**32 - 1))) == list(range(100))


def test_a_side_without_rows_has_no_batches():
    batches = made_batches(0)
    assert len(batches) == 0
    assert rows_of(batches) == []


def test_rows_can_be_moved_to_a_device():
    batches = made_batches()
    assert batches.to(torch.device("meta")) is batches
    assert {tensor.device.type for tensor in batches.tensors} == {"meta"}


def test_a_tensor_without_columns_is_batched_too():
    batches = IndexBatches([torch.zeros(10, 0), torch.arange(10)], batch_size=4, shuffle=True)
    assert [tuple(empty.shape) for empty, _ in batches] == [(4, 0), (3, 0), (3, 0)]


def test_impossible_batches_are_refused():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        made_batches(batch_size=0)
    with pytest.raises(ValueError, match="equal length"):
        IndexBatches([torch.zeros(3), torch.zeros(4)], batch_size=2)
    with pytest.raises(ValueError, match="equal length"):
        IndexBatches([], batch_size=2)
