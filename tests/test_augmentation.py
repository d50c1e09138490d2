"""Altered training rows: what changes, how much, and that nothing else does."""

import lightning as L
import numpy as np
import pytest
import torch
from made import made_prepared

from churnlib import ChurnDataModule, ChurnModule
from churnlib.models.augmentation import Augmentation
from churnlib.models.input_layer import InputLayer

DATA = ChurnDataModule(made_prepared(300), batch_size=64)
INPUTS = InputLayer(**DATA.input_spec())
NETWORK = {"_target_": "churnlib.models.mlp.PlainMLP", "hidden_sizes": [16], "dropout": 0.2}


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return next(iter(DATA.train_dataloader()))


def test_mixup_mixes_rows_and_labels_by_the_same_share(batch):
    numeric, codes, label = batch
    x = INPUTS(numeric, codes)
    mix = Augmentation(mixup=0.5).draw(len(label), label.device)
    assert 0 <= mix.share <= 1 and sorted(mix.partner.tolist()) == list(range(len(label)))
    expected = mix.share * x + (1 - mix.share) * x[mix.partner]
    torch.testing.assert_close(mix(x, INPUTS), expected)


def test_the_loss_of_mixed_rows_is_the_mixed_loss(batch, monkeypatch):
    """Against soft labels: the cross-entropy is linear in the label."""
    numeric, codes, label = batch
    module = ChurnModule(NETWORK, augment={"mixup": 0.5})
    module.build(DATA.input_spec(), class_counts=[1, 1])
    module.network.train()
    module._loss_sum, module._log_loss_sum, module._rows = torch.zeros(()), torch.zeros(()), 0
    mix = module.augment.draw(len(label), label.device)
    monkeypatch.setattr(Augmentation, "draw", lambda *_: mix)
    torch.manual_seed(1)
    loss = module._loss(batch)
    torch.manual_seed(1)
    logits, _ = module.network.forward_with_penalty(numeric, codes, mix)
    soft = mix.share * label + (1 - mix.share) * label[mix.partner]
    torch.testing.assert_close(loss, torch.nn.functional.binary_cross_entropy_with_logits(logits, soft))


def test_noise_has_its_size_and_reaches_only_numbers(batch):
    x = INPUTS(*batch[:2]).repeat(50, 1)
    x = x.detach()
    moved = Augmentation(noise=0.3).draw(len(x), x.device)(x, INPUTS) - x
    assert float(moved[:, : INPUTS.n_numeric].std()) == pytest.approx(0.3, rel=0.05)
    assert not moved[:, INPUTS.n_numeric :].any()


def test_hidden_columns_are_hidden_as_a_whole_and_as_often_as_asked(batch):
    x = INPUTS(*batch[:2]).repeat(50, 1)
    x = torch.where(x == 0, torch.ones_like(x), x)
    hidden = Augmentation(hide=0.2).draw(len(x), x.device)(x, INPUTS) == 0
    assert float(hidden.float().mean()) == pytest.approx(0.2, abs=0.02)
    for column in set(INPUTS.groups):
        inputs = [i for i, group in enumerate(INPUTS.groups) if group == column]
        assert (hidden[:, inputs] == hidden[:, inputs[:1]]).all()


def test_swapped_values_come_from_their_own_column(batch):
    numeric, codes = (tensor.repeat(20, 1) for tensor in batch[:2])
    other_numeric, other_codes = Augmentation(swap=0.3).swap_columns(numeric, codes)
    changed = float((other_codes != codes).float().mean())
    assert 0 < changed < 0.3
    for before, after in ((numeric, other_numeric), (codes, other_codes)):
        for i in range(before.shape[1]):
            assert set(after[:, i][~after[:, i].isnan()].tolist()) <= set(before[:, i].tolist())
    assert Augmentation().swap_columns(numeric, codes) == (numeric, codes)


@pytest.mark.parametrize("augment", [{"mixup": 0.4}, {"noise": 0.1}, {"swap": 0.1}, {"hide": 0.1}])
def test_altered_rows_train_a_network_that_reads_unaltered_ones(augment):
    torch.manual_seed(0)
    module = ChurnModule(NETWORK, augment=augment, optimizer=lambda g: torch.optim.Adam(g, lr=0.01))
    trainer = L.Trainer(
        max_epochs=12, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DATA)
    losses = [epoch["val/log_loss"] for epoch in module.curve]
    assert losses[-1] < losses[0]
    numeric, codes, label = next(iter(DATA.val_dataloader()))
    logits = module.eval()(numeric, codes)
    assert torch.equal(logits, module(numeric, codes))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, label.float())
    assert losses[-1] == pytest.approx(float(expected.detach()), abs=1e-6)


def test_options_out_of_range_are_refused():
    for options, sentence in (
        ({"swap": 1.0}, r"swap must be in \[0, 1\)"),
        ({"mixup": -1}, "mixup must be at least 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            Augmentation(**options)
    assert not Augmentation()
    assert np.all([bool(Augmentation(**{name: 0.1})) for name in ("mixup", "noise", "swap", "hide")])
