"""Chunked steps against Lightning's own, and against a loop written by hand."""

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from made import TINY_TABNET, made_prepared
from torch.nn import functional as F

from churnlib import ChurnDataModule, ChurnModule
from churnlib.build import build_optimizer, build_scheduler
from churnlib.compose import compose
from churnlib.models.module import INITIAL_ROWS
from churnlib.models.parameter_groups import parameter_groups
from churnlib.models.schedules import cosine, onecycle, plateau

SMALL_MLP = {"_target_": "churnlib.models.mlp.MLP", "hidden_sizes": [16], "dropout": 0.2}
TABLE = made_prepared(300)


def trainer(**options):
    defaults = {
        "max_epochs": 3, "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False, "gradient_clip_val": 0.5,
    }  # fmt: skip
    return L.Trainer(**{**defaults, **options})


def fitted(network=SMALL_MLP, *, chunk=4, trainer_options=None, module=ChurnModule, **options):
    torch.manual_seed(0)
    data = ChurnDataModule(TABLE, batch_size=16)
    model = module(network, chunk=chunk, **options)
    used = trainer(**(trainer_options or {}))
    used.fit(model, data)
    return model, used


def same(first, second):
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("network", [SMALL_MLP, TINY_TABNET])
@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_chunks_give_the_weights_and_the_metrics_of_single_steps(network, schedule):
    make = {"cosine": cosine, "plateau": lambda o, n: plateau(o, n, patience=0, factor=0.1)}[schedule]
    single, one = fitted(network, chunk=1, scheduler=make)
    chunked, many = fitted(network, chunk=4, scheduler=make)
    assert (single.automatic_optimization, chunked.automatic_optimization) == (True, False)
    assert same(single, chunked)
    assert one.global_step == many.global_step == 3 * 14
    assert one.current_epoch == many.current_epoch == 3
    assert one.callback_metrics == many.callback_metrics
    assert one.optimizers[0].param_groups[0]["lr"] == many.optimizers[0].param_groups[0]["lr"]


@pytest.mark.parametrize("chunk", [1, 5])
def test_training_is_a_loop_that_one_can_read(chunk):
    """The whole training written out; the weights are equal bit for bit."""
    module, _ = fitted(chunk=chunk, optimizer=lambda groups: torch.optim.AdamW(groups, lr=1e-3), scheduler=cosine)

    torch.manual_seed(0)
    data = ChurnDataModule(TABLE, batch_size=16)
    by_hand = ChurnModule(SMALL_MLP)
    by_hand.build(data.input_spec(), class_counts=data.class_counts())
    network = by_hand.network.train()
    network.initialize(*data.sample(INITIAL_ROWS))
    optimizer = torch.optim.AdamW(parameter_groups(network), lr=1e-3, fused=True)
    batches = data.train_dataloader()
    schedule = cosine(optimizer, 3 * len(batches))["scheduler"]
    for epoch in range(3):
        batches.set_epoch(epoch)
        for numeric, codes, label in batches:
            logits, penalty = network.forward_with_penalty(numeric, codes)
            rows = F.binary_cross_entropy_with_logits(logits, label.float(), reduction="none")
            optimizer.zero_grad()
            (rows.mean() + penalty).backward()
            # In the optimizer's order: another order of the sum is another last bit.
            torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 0.5)
            optimizer.step()
            schedule.step()
    assert same(module.network, network)


class SeesBatches(L.Callback):
    def __init__(self):
        self.seen = 0

    def on_train_batch_end(self, *_):
        self.seen += 1


@pytest.mark.parametrize(
    "options",
    [
        {"accumulate_grad_batches": 2}, {"max_steps": 5}, {"limit_train_batches": 3}, {"val_check_interval": 5},
        {"overfit_batches": 2}, {"fast_dev_run": True},
    ],
)  # fmt: skip
def test_where_batches_are_counted_lightning_steps(options):
    module, used = fitted(trainer_options=options)
    assert module.automatic_optimization
    expected = {
        "accumulate_grad_batches": 21, "max_steps": 5, "limit_train_batches": 9, "val_check_interval": 42,
        "overfit_batches": 6, "fast_dev_run": 1,
    }  # fmt: skip
    assert used.global_step == expected[next(iter(options))]


def test_where_a_callback_or_the_module_sees_batches_lightning_steps(tmp_path):
    counter = SeesBatches()
    module, _ = fitted(trainer_options={"callbacks": [counter]})
    assert module.automatic_optimization
    assert counter.seen == 42
    often = ModelCheckpoint(dirpath=tmp_path, every_n_train_steps=5, save_top_k=-1)
    fitted(trainer_options={"callbacks": [often], "enable_checkpointing": True})
    assert len(list(tmp_path.glob("*.ckpt"))) == 8

    class Watched(ChurnModule):
        def on_train_batch_end(self, *_):
            pass

    assert fitted(module=Watched)[0].automatic_optimization


def test_callbacks_of_epochs_and_optimizer_steps_work_with_chunks(tmp_path):
    class Steps(L.Callback):
        started = backward = stepped = 0

        def on_step_start(self, trainer, module):
            assert trainer.global_step == self.started
            Steps.started += 1

        def on_after_backward(self, *_):
            Steps.backward += 1

        def on_before_optimizer_step(self, *_):
            Steps.stepped += 1

    rates = LearningRateMonitor(logging_interval="epoch")
    stop = EarlyStopping("val/log_loss", min_delta=10.0, patience=1)
    keeper = ModelCheckpoint(dirpath=tmp_path, monitor="val/log_loss", save_last=True, filename="best")
    logger = L.pytorch.loggers.CSVLogger(tmp_path)
    module, used = fitted(
        scheduler=cosine,
        trainer_options={
            "callbacks": [Steps(), rates, stop, keeper], "enable_checkpointing": True, "logger": logger,
            "max_epochs": 9,
        },
    )  # fmt: skip
    assert module.chunk == 4
    assert used.current_epoch == 2  # the first epoch's loss, and one without a gain of 10
    assert Steps.started == Steps.backward == Steps.stepped == used.global_step == 28
    assert (tmp_path / "best.ckpt").exists() and (tmp_path / "last.ckpt").exists()
    assert rates.lrs


def test_total_steps_are_those_of_the_schedule_whoever_steps():
    for chunk in (1, 4):
        module, used = fitted(chunk=chunk, scheduler=onecycle)
        assert module.total_steps() == used.global_step == 42


def test_a_schedule_without_an_end_is_refused():
    with pytest.raises(ValueError, match="needs an end"):
        fitted(scheduler=cosine, trainer_options={"max_epochs": -1})


# --- clipping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("chunk", [1, 4])
def test_clipping_bounds_the_norm_of_what_the_optimizer_sees(precision, chunk):
    norms = []

    class Seen(torch.optim.SGD):
        def step(self, closure=None):
            value = closure() if closure is not None else None
            gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
            norms.append(float(torch.nn.utils.get_total_norm(gradients)))
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.data.add_(p.grad, alpha=-group["lr"])
            return value

    # Lightning refuses half precision on a CPU; its plugin, with the scaler of the gradients, works there.
    how = {"plugins": MixedPrecision(precision, "cpu")} if precision == "16-mixed" else {"precision": precision}
    fitted(
        chunk=chunk, optimizer=lambda groups: Seen(groups, lr=0.01), trainer_options={"gradient_clip_val": 1e-3, **how}
    )
    finite = [norm for norm in norms if norm > 0]
    assert len(norms) >= 40
    assert finite
    assert max(finite) <= 1e-3 * 1.001
    assert max(finite) > 0.99e-3  # it was at work


def test_without_a_bound_gradients_are_left_alone():
    bounded, _ = fitted(trainer_options={"gradient_clip_val": 1e-6}, optimizer=lambda g: torch.optim.SGD(g, lr=0.1))
    free, _ = fitted(trainer_options={"gradient_clip_val": None}, optimizer=lambda g: torch.optim.SGD(g, lr=0.1))
    start = ChurnModule(SMALL_MLP)
    torch.manual_seed(0)
    start.build(ChurnDataModule(TABLE).input_spec(), class_counts=[1, 1])

    def moved(module):
        pairs = zip(module.network.parameters(), start.network.parameters(), strict=True)
        return float(sum((a - b).detach().square().sum() for a, b in pairs).sqrt())

    assert moved(bounded) < 42 * 0.1 * 1e-6 * 1.01 < moved(free)


# --- optimizers and schedules ---------------------------------------------------------------------------------------

UPDATES = {
    "adam": lambda p, g, s: torch.optim.Adam([p], lr=s["lr"], foreach=False, fused=False),
    "adamw": lambda p, g, s: torch.optim.AdamW(
        [p], lr=s["lr"], weight_decay=s["weight_decay"], foreach=False, fused=False
    ),
    "sgd": lambda p, g, s: torch.optim.SGD(
        [p], lr=s["lr"], momentum=0.9, nesterov=True, weight_decay=s["weight_decay"], foreach=False, fused=False
    ),
    "rmsprop": lambda p, g, s: torch.optim.RMSprop([p], lr=s["lr"], foreach=False),
}


@pytest.mark.parametrize("name", UPDATES)
def test_each_optimizer_takes_the_textbooks_step_fused_or_not(name):
    """Three steps on the first layer, with the gradients that the run had."""
    spec = compose([f"optimizer={name}"]).optimizer
    gradients = []

    class Recorder(L.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            gradients.append(module.network.body.head.weight.grad.clone())

    module, used = fitted(
        optimizer=build_optimizer(spec), trainer_options={"gradient_clip_val": None, "callbacks": [Recorder()]}
    )
    group = used.optimizers[0].param_groups[0]
    assert bool(group.get("fused")) == (name in ("adam", "adamw"))
    torch.manual_seed(0)
    start = ChurnModule(SMALL_MLP)
    start.build(ChurnDataModule(TABLE).input_spec(), class_counts=[1, 1])
    weight = torch.nn.Parameter(start.network.body.head.weight.detach().clone())
    optimizer = UPDATES[name](weight, gradients, spec)
    for gradient in gradients:
        weight.grad = gradient
        optimizer.step()
    torch.testing.assert_close(module.network.body.head.weight.detach(), weight.detach(), rtol=1e-5, atol=1e-6)


def rates(schedule, epochs=4, **options):
    seen = []

    class Recorder(L.Callback):
        def on_step_start(self, trainer, module):
            seen.append(trainer.optimizers[0].param_groups[0]["lr"])

    scheduler = None if schedule is None else build_scheduler(schedule)
    fitted(scheduler=scheduler, trainer_options={"callbacks": [Recorder()], "max_epochs": epochs}, **options)
    return torch.tensor(seen)


def test_schedules_move_the_rate_of_a_trained_run():
    """56 steps from a peak of 1e-3."""
    flat = rates(None)
    assert (flat == 1e-3).all() and len(flat) == 56
    spec = {**compose(["scheduler=cosine"]).scheduler, "warmup": 0.25, "final": 0.1}
    cosine_rates = rates(spec)
    torch.testing.assert_close(cosine_rates[:14], torch.arange(1, 15) / 14 * 1e-3, rtol=1e-6, atol=0)
    angle = torch.pi * torch.arange(42) / 42
    torch.testing.assert_close(cosine_rates[14:], 1e-3 * (0.1 + 0.9 * (1 + angle.cos()) / 2), rtol=1e-5, atol=0)
    cycle = rates(compose(["scheduler=onecycle"]).scheduler)
    assert cycle.argmax() in (16, 17) and cycle.max() == pytest.approx(1e-3, rel=1e-3)
    assert cycle[0] == pytest.approx(4e-5) and cycle[-1] == pytest.approx(4e-9)
    assert (cycle[:16].diff() > 0).all() and (cycle[17:].diff() < 0).all()


def test_the_rate_falls_when_the_validation_loss_does_not():
    """A rate too small to learn anything: no epoch but the first is better, so the rate halves after each patience."""
    spec = {**compose(["scheduler=plateau"]).scheduler, "patience": 1, "factor": 0.5}
    by_epoch = rates(spec, epochs=7, optimizer=lambda g: torch.optim.SGD(g, lr=1e-6)).view(7, 14)
    assert (by_epoch == by_epoch[:, :1]).all()
    torch.testing.assert_close(by_epoch[:, 0] / 1e-6, torch.tensor([1, 1, 1, 0.5, 0.5, 0.25, 0.25]))
