import lightning as L
import numpy as np
import pytest
import torch
from made import made_customers, made_prepared

from churnlib import ChurnDataModule, ChurnModule


def test_a_frame_becomes_batches():
    data = ChurnDataModule(made_customers(200), target="churn", id="customer", batch_size=64)
    data.setup()
    numeric, codes, label = next(iter(data.train_dataloader()))
    assert (numeric.dtype, codes.dtype, label.dtype) == (torch.float32, torch.int64, torch.int64)
    assert numeric.shape == (47, 3) and codes.shape == (47, 3) and label.shape == (47,)


def test_a_file_gives_the_same_batches_as_its_frame(tmp_path):
    frame = made_customers(120)
    frame.write_csv(tmp_path / "customers.csv")
    frame.write_parquet(tmp_path / "customers.parquet")
    batches = []
    for table in (frame, frame.to_pandas(), str(tmp_path / "customers.csv"), tmp_path / "customers.parquet"):
        data = ChurnDataModule(table, target="churn", id="customer")
        batches.append(next(iter(data.val_dataloader())))
    for other in batches[1:]:
        for tensor, expected in zip(other, batches[0], strict=True):
            torch.testing.assert_close(tensor, expected, equal_nan=True, rtol=0, atol=0)


def test_every_training_row_is_seen_once_an_epoch_in_a_new_order():
    data = ChurnDataModule(made_prepared(200), batch_size=32)
    batches = data.train_dataloader()
    first = torch.cat([numeric for numeric, _, _ in batches])
    batches.set_epoch(1)
    second = torch.cat([numeric for numeric, _, _ in batches])
    assert not torch.equal(first.nan_to_num(-1), second.nan_to_num(-1))
    expected = data.customers.encoded["train"].numeric
    for epoch in (first, second):
        np.testing.assert_array_equal(np.sort(epoch.numpy(), axis=0), np.sort(expected, axis=0))


def test_a_trainer_moves_through_the_epochs_orders():
    """The order follows the epoch's number, so that a resumed run sees the batches of the interrupted one."""
    seen = []

    class Watched(ChurnModule):
        def training_step(self, batch, batch_idx):
            if batch_idx == 0:
                seen.append(batch[0][:5, 0].tolist())
            return super().training_step(batch, batch_idx)

    data = ChurnDataModule(made_prepared(200), batch_size=32)
    trainer = L.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Watched({"_target_": "churnlib.models.mlp.MLP", "hidden_sizes": [4]}), data)
    expected = []
    for epoch in range(3):
        batches = ChurnDataModule(data.customers, batch_size=32).train_dataloader()
        batches.set_epoch(epoch)
        expected.append(next(iter(batches))[0][:5, 0].tolist())
    assert str(seen) == str(expected)


def test_the_target_is_required():
    with pytest.raises(ValueError, match="name the column that says who left"):
        ChurnDataModule(made_customers(50))
