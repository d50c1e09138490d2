import lightning as L
import numpy as np
import polars as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from made import TINY_TABNET, made_customers, made_prepared
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from torch.nn import functional as F

from churnlib import ChurnDataModule, ChurnModule

SMALL_MLP = {"_target_": "churnlib.models.mlp.MLP", "hidden_sizes": [16], "dropout": 0.2}


def quiet_trainer(**options):
    defaults = {
        "max_epochs": 2, "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False,
    }  # fmt: skip
    return L.Trainer(**{**defaults, **options})


def fitted(network, *, table=None, seed=0, trainer=None, **options):
    torch.manual_seed(seed)
    data = ChurnDataModule(table or made_prepared(300), batch_size=64)
    module = ChurnModule(network, **options)
    trainer = trainer or quiet_trainer()
    trainer.fit(module, data)
    return module.eval(), data, trainer


@pytest.mark.parametrize("network", ["mlp", "tabnet", SMALL_MLP, TINY_TABNET])
def test_a_network_is_trained_in_five_lines(network):
    _, _, trainer = fitted(network)
    assert {"train/loss", "val/log_loss", "val/roc_auc", "val/average_precision"} <= set(trainer.callback_metrics)


def test_training_learns():
    module, data, _ = fitted(SMALL_MLP, table=made_prepared(1_000), trainer=quiet_trainer(max_epochs=30))
    numeric, codes, label = next(iter(data.val_dataloader()))
    assert roc_auc_score(label, module(numeric, codes).detach()) > 0.7


def test_logged_metrics_are_those_of_scikit_learn():
    module, data, trainer = fitted(SMALL_MLP)
    numeric, codes, label = next(iter(data.val_dataloader()))
    probability = module(numeric, codes).detach().double().sigmoid().numpy()
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged["val/log_loss"] == pytest.approx(log_loss(label, probability), abs=1e-5)
    assert logged["val/roc_auc"] == pytest.approx(roc_auc_score(label, probability), abs=1e-6)
    assert logged["val/average_precision"] == pytest.approx(average_precision_score(label, probability), abs=1e-6)


def test_the_same_seed_gives_the_same_weights():
    first, second, other = (fitted(SMALL_MLP, seed=seed)[0] for seed in (1, 1, 2))
    for (name, a), b, c in zip(
        first.state_dict().items(), second.state_dict().values(), other.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
        if name.endswith("weight") and a.ndim == 2 and "embeddings" not in name and a.std() > 0:
            assert not torch.equal(a, c), name


def test_a_checkpoint_loads_by_itself_with_weights_only(tmp_path):
    keeper = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    module, data, _ = fitted(SMALL_MLP, trainer=quiet_trainer(enable_checkpointing=True, callbacks=[keeper]))
    again = ChurnModule.load_from_checkpoint(tmp_path / "last.ckpt").eval()
    numeric, codes, _ = next(iter(data.val_dataloader()))
    torch.testing.assert_close(again(numeric, codes), module(numeric, codes), rtol=0, atol=0)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path):
    table = made_prepared(300)

    def adam(groups):
        return torch.optim.Adam(groups, lr=0.01)

    whole, _, _ = fitted(SMALL_MLP, table=table, optimizer=adam, trainer=quiet_trainer(max_epochs=4))
    keeper = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    fitted(SMALL_MLP, table=table, optimizer=adam,
           trainer=quiet_trainer(max_epochs=2, enable_checkpointing=True, callbacks=[keeper]))  # fmt: skip
    torch.manual_seed(99)  # another process would stand elsewhere
    resumed = ChurnModule(SMALL_MLP, optimizer=adam)
    data = ChurnDataModule(table, batch_size=64)
    again = quiet_trainer(
        max_epochs=4, enable_checkpointing=True, callbacks=[ModelCheckpoint(dirpath=tmp_path, save_last=True)]
    )
    again.fit(resumed, data, ckpt_path=tmp_path / "last.ckpt")
    for (name, expected), tensor in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(tensor, expected), name


def test_class_weights_do_not_shift_the_probabilities():
    """pos_weight multiplies the odds that the loss asks for; the network takes the factor off again."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"x": rng.normal(size=4_000), "churn": (rng.random(4_000) < 0.1).astype(int)})
    from churnlib.data.customers import prepare_customers

    network = {"_target_": "churnlib.models.mlp.MLP", "hidden_sizes": [4]}
    module, data, _ = fitted(
        network, table=prepare_customers(frame, target="churn"), loss={"name": "bce", "pos_weight": "balanced"},
        trainer=quiet_trainer(max_epochs=25),
        optimizer=lambda groups: torch.optim.Adam(groups, lr=0.01),
    )  # fmt: skip
    numeric, codes, label = next(iter(data.val_dataloader()))
    assert module.loss.weights[1] > 8
    mean = float(module(numeric, codes).detach().sigmoid().mean())
    assert mean == pytest.approx(float(label.double().mean()), abs=0.03)


def test_several_classes_are_learned():
    rng = np.random.default_rng(0)
    frame = made_customers(300).with_columns(churn=pl.Series(rng.choice(["stays", "leaves", "moves"], 300)))
    from churnlib.data.customers import prepare_customers

    module, data, trainer = fitted(
        SMALL_MLP, table=prepare_customers(frame, target="churn"), loss={"name": "bce", "pos_weight": "balanced"}
    )
    numeric, codes, _ = next(iter(data.val_dataloader()))
    assert module(numeric, codes).shape == (len(numeric), 3)
    assert 0 <= trainer.callback_metrics["val/roc_auc"] <= 1


@pytest.mark.parametrize("wrong", ["heavy", 0, -1.0, float("inf")])
def test_a_wrong_pos_weight_is_refused_at_once(wrong):
    with pytest.raises(ValueError, match="pos_weight must be"):
        ChurnModule("mlp", loss={"name": "bce", "pos_weight": wrong})


def test_an_unknown_network_is_refused_at_once():
    with pytest.raises(ValueError, match="one of mlp, "):
        ChurnModule("resnet")


def test_bf16_keeps_logits_and_loss_in_float32():
    module, data, trainer = fitted(SMALL_MLP, trainer=quiet_trainer(precision="bf16-mixed"))
    assert trainer.callback_metrics["train/loss"].dtype == torch.float32
    numeric, codes, _ = next(iter(data.val_dataloader()))
    with torch.autocast("cpu", torch.bfloat16):
        assert module(numeric, codes).dtype == torch.float32


def test_gradient_clipping_bounds_the_norm():
    norms = []

    class Watched(ChurnModule):
        def on_train_batch_end(self, *_):
            norms.append(
                float(torch.nn.utils.get_total_norm([p.grad for p in self.parameters() if p.grad is not None]))
            )

    torch.manual_seed(0)
    quiet_trainer(gradient_clip_val=0.01).fit(Watched(SMALL_MLP), ChurnDataModule(made_prepared(200), batch_size=32))
    assert norms
    assert max(norms) <= 0.01 * 1.01


def test_data_loaders_of_ones_own_train_the_same_network():
    """Any Dataset: rows, codes, labels, and a weight that says how much a row counts."""
    data = ChurnDataModule(made_prepared(300), batch_size=64)
    encoded = data.customers.encoded
    sides = {
        side: torch.utils.data.TensorDataset(
            torch.from_numpy(encoded[side].numeric),
            torch.from_numpy(encoded[side].codes),
            torch.from_numpy(data.customers.labels(side)),
            torch.ones(len(encoded[side].codes)),
        )
        for side in ("train", "validation")
    }
    loaders = {side: torch.utils.data.DataLoader(rows, batch_size=64) for side, rows in sides.items()}
    torch.manual_seed(0)
    module = ChurnModule(SMALL_MLP)
    module.build(data.input_spec(), class_counts=data.class_counts())
    trainer = quiet_trainer(max_epochs=8)
    trainer.fit(module, loaders["train"], loaders["validation"])
    assert module.automatic_optimization
    assert module.curve[-1]["val/log_loss"] < module.curve[0]["val/log_loss"]
    assert module.curve[-1]["train/loss"] == pytest.approx(module.curve[-1]["train/log_loss"])


def test_data_loaders_without_the_networks_sizes_are_answered_with_what_to_do():
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(4, 1)), batch_size=2)
    with pytest.raises(RuntimeError, match=r"call module\.build\(input_spec, class_counts=...\)"):
        quiet_trainer().fit(ChurnModule(SMALL_MLP), loader, loader)


def test_rows_that_count_for_nothing_teach_nothing():
    """Weights of 0 for half of the rows, and of 2 for the rest: the same gradient as the rest alone."""
    prepared = made_prepared(300)
    n = len(prepared.rows("train"))
    weights = np.zeros(n, np.float32)
    weights[: n // 2] = n / (n // 2)
    module = ChurnModule({**SMALL_MLP, "dropout": 0.0}, loss="cost_sensitive")
    data = ChurnDataModule(prepared, batch_size=n, row_weights=weights)
    module.build(data.input_spec(), class_counts=data.class_counts())
    module.network.train()
    numeric, codes, label, weight = (tensor for tensor in data.train_dataloader().tensors)
    module._mean_loss(module.network(numeric, codes), label, weight).backward()
    weighted = [p.grad.clone() for p in module.network.parameters() if p.grad is not None]
    module.zero_grad()
    half = slice(0, n // 2)
    F.binary_cross_entropy_with_logits(module.network(numeric[half], codes[half]), label[half].float()).backward()
    alone = [p.grad for p in module.network.parameters() if p.grad is not None]
    for first, second in zip(weighted, alone, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-6)
