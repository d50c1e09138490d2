"""When a run is compiled, what it then computes, and what happens where nothing can be compiled."""

from __future__ import annotations

import contextlib
import logging
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from made import made_prepared
from torch import nn

from churnlib import ChurnDataModule, ChurnModule
from churnlib.compose import compose
from churnlib.data.batches import IndexBatches
from churnlib.errors import ConfigError
from churnlib.models.network import build_network
from churnlib.training import compiling
from churnlib.training.compiling import CompileWhenLong, batch_sizes, compile_training

TABLE = made_prepared(300)
PLAIN = {"_target_": "churnlib.models.mlp.PlainMLP", "hidden_sizes": [8], "dropout": 0.5}
TINY_TABNET = {"_target_": "churnlib.models.tabnet.TabNet", "n_d": 4, "n_a": 4, "n_steps": 2}

# What PyTorch says of itself when its compiler is loaded.
INDUCTOR = pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")


def fit(callback: CompileWhenLong, spec: dict[str, Any] = PLAIN, *, max_epochs: int = 3, batch_size: int = 8) -> Any:
    torch.manual_seed(0)
    module = ChurnModule(spec)
    trainer = L.Trainer(
        max_epochs=max_epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[callback], enable_checkpointing=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, ChurnDataModule(TABLE, batch_size=batch_size))
    return module


def interpreted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let compilation return the function that counts its calls: what surrounds the compiler is tested without it."""
    calls: list[int] = []

    def fake(function: Any, **_: Any) -> Any:
        def counted(numeric: torch.Tensor, codes: torch.Tensor) -> Any:
            calls.append(len(numeric))
            return function(numeric, codes)

        return counted

    monkeypatch.setattr(torch, "compile", fake)
    return calls


def test_a_run_of_seconds_is_not_compiled(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    calls = interpreted(monkeypatch)
    callback = CompileWhenLong("auto")
    with caplog.at_level(logging.INFO, "churnlib"):
        fit(callback, TINY_TABNET)
    assert not callback.compiled and not calls
    assert callback.decision is not None and "ahead it would save less than it costs" in callback.decision
    assert [record.message for record in caplog.records if record.name.startswith("churnlib")] == [callback.decision]


def test_a_network_that_gains_nothing_is_not_compiled_however_long_the_run():
    callback = CompileWhenLong("auto")
    fit(callback)
    assert callback.decision == "not compiled: nothing is known to be gained by it for PlainMLP"


@pytest.mark.parametrize(("seconds", "compiled"), [(1e-9, True), (1e9, False)])
def test_it_depends_on_what_the_rest_of_the_run_saves(monkeypatch: pytest.MonkeyPatch, seconds: float, compiled: bool):
    calls = interpreted(monkeypatch)
    monkeypatch.setattr(compiling, "GAINS", {"PlainMLP": (seconds, 0.5)})
    callback = CompileWhenLong("auto")
    fit(callback, max_epochs=4)
    assert callback.compiled is compiled and bool(calls) is compiled
    # Once for each of the two sizes, and then what the 8 + 32 first steps leave of the 4 epochs of 27 batches.
    assert len(calls) == (2 + 4 * 27 - 40 if compiled else 0)


def test_the_estimate_is_the_measured_time_of_half_of_what_is_left(monkeypatch: pytest.MonkeyPatch):
    ticks = iter(range(1_000))
    monkeypatch.setattr(compiling, "_clock", lambda module, wait: float(next(ticks)))
    monkeypatch.setattr(compiling, "GAINS", {"Linear": (1e9, 0.5)})
    module: Any = SimpleNamespace(total_steps=lambda: 1_040, network=SimpleNamespace(body=nn.Linear(1, 1)))
    callback = CompileWhenLong("auto")
    callback.on_train_epoch_start(None, module)  # type: ignore[arg-type]
    for _ in range(41):
        callback.on_step_start(SimpleNamespace(global_step=40), module)  # type: ignore[arg-type]
    assert callback.decision == "not compiled: of about 500 s of training ahead it would save less than it costs"


def test_nothing_is_left_of_it_after_the_training(monkeypatch: pytest.MonkeyPatch):
    calls = interpreted(monkeypatch)
    module = fit(CompileWhenLong("true"))
    assert calls and "forward_with_penalty" not in vars(module.network)
    plain = fit(CompileWhenLong("false"))
    torch.testing.assert_close(module.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_a_resumed_run_does_what_was_decided_before(monkeypatch: pytest.MonkeyPatch):
    calls = interpreted(monkeypatch)
    resumed = CompileWhenLong("auto")
    resumed.load_state_dict({"decision": "compiled in 9 s, because ...", "compiled": True})
    fit(resumed, max_epochs=1)
    assert resumed.compiled and calls
    resumed = CompileWhenLong("auto")
    resumed.load_state_dict({"decision": "not compiled: ...", "compiled": False})
    fit(resumed, max_epochs=1)
    assert resumed.decision == "not compiled: ..."


def test_batches_of_one_size_are_compiled_and_rare_ones_are_not():
    assert batch_sizes(IndexBatches([torch.zeros(100)], batch_size=50)) == [50]
    assert batch_sizes(IndexBatches([torch.zeros(101)], batch_size=34)) == [34, 33]
    assert batch_sizes(IndexBatches([torch.zeros(10)], batch_size=50)) == [10]


@INDUCTOR
def test_without_a_compiler_training_goes_on_and_says_so():
    import torch._inductor.config as inductor

    callback = CompileWhenLong("true")
    with inductor.patch({"cpp.cxx": ("no-such-compiler",), "fx_graph_cache": False}):
        module = fit(callback, {**PLAIN, "hidden_sizes": [7]}, max_epochs=1)
    torch._dynamo.reset()
    assert not callback.compiled and callback.decision is not None
    assert callback.decision.startswith("not compiled: the compiler failed (")
    assert "compiler" in callback.decision.partition("(")[2].lower()
    assert callback.decision.endswith("; training goes on without it") and "\n" not in callback.decision
    plain = fit(CompileWhenLong("false"), {**PLAIN, "hidden_sizes": [7]}, max_epochs=1)
    torch.testing.assert_close(module.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_the_option_is_read():
    assert [compose([f"trainer.compile={word}"]).trainer.compile for word in ("auto", "true", "false")] == [
        "auto", "true", "false",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"trainer.compile must be one of auto, true, false, got 'maybe'"):
        compose(["trainer.compile=maybe"])
    with pytest.raises(ValueError, match="when must be one of auto, true, false"):
        CompileWhenLong("maybe")


@INDUCTOR
@pytest.mark.slow
def test_a_compiled_pass_gives_the_same_logits_gradients_and_statistics():
    torch.manual_seed(0)
    # Without dropout, which draws other random numbers in compiled code.
    network = build_network({**PLAIN, "dropout": 0.0}, TABLE.preparation.input_spec()).train()
    encoded = TABLE.encoded["train"]
    numeric, codes = torch.from_numpy(encoded.numeric[:32]), torch.from_numpy(encoded.codes[:32])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def step() -> list[torch.Tensor]:
        network.load_state_dict(before)
        network.zero_grad()
        logits, _ = network.forward_with_penalty(numeric, codes)
        logits.square().mean().backward()
        gradients = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
        return [logits.detach(), *gradients, *(buffer.clone() for buffer in network.buffers())]

    wanted = step()
    compile_training(network, [32], context=contextlib.nullcontext)
    torch.testing.assert_close(dict(network.state_dict()), {**before, **{
        name: tensor for name, tensor in network.state_dict().items() if "running" in name or "tracked" in name
    }})  # fmt: skip
    torch.testing.assert_close(step(), wanted, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()
