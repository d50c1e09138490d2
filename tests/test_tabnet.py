"""TabNet against a plain re-statement of the paper, and the promises of its interface."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from churnlib.models.ghost_norm import GhostBatchNorm
from churnlib.models.tabnet import TABNET_PRESETS, TabNet


class PlainTabNet:
    """The paper's equations, row-major, with loops and a sort, reading the weights of a `TabNet`.

    Nothing here calls the network's own code. Running statistics are those of the network, copied and moved by hand.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self.stats = {
            name: (norm.running_mean.clone(), norm.running_var.clone())
            for name, norm in network.named_modules()
            if isinstance(norm, GhostBatchNorm)
        }

    def norm(self, name: str, rows: Tensor, virtual_batch_size: int | None) -> Tensor:
        module = self.network.get_submodule(name)
        mean, var = self.stats[name]
        chunks = 1 if virtual_batch_size is None else max(1, len(rows) // virtual_batch_size)
        done = []
        for chunk in rows.tensor_split(chunks):
            if self.network.training and len(rows) > 1:
                centre = chunk.mean(dim=0)
                spread = ((chunk - centre) ** 2).mean(dim=0)
                done.append((chunk - centre) / (spread + 1e-5).sqrt())
                m, n = module.momentum, len(chunk)
                mean = (1 - m) * mean + m * centre.detach()
                var = (1 - m) * var + m * spread.detach() * n / (n - 1)
            else:
                done.append((chunk - mean) / (var + 1e-5).sqrt())
        self.stats[name] = (mean, var)
        return torch.cat(done) * module.weight + module.bias

    def sparsemax(self, z: Tensor) -> Tensor:
        ordered = z.sort(dim=1, descending=True).values
        k = torch.arange(1, z.shape[1] + 1)
        support = (1 + k * ordered > ordered.cumsum(dim=1)).sum(dim=1, keepdim=True)
        tau = (ordered.cumsum(dim=1).gather(1, support - 1) - 1) / support
        return torch.clamp(z - tau, min=0)

    def transformer(self, name: str, x: Tensor) -> Tensor:
        module, vbs = self.network.get_submodule(name), self.virtual_batch_size
        for layer, weight in enumerate([*self.network.shared, *module.weights]):
            y = self.norm(f"{name}.norms.{layer}", x @ weight.T, vbs)
            half = y.shape[1] // 2
            y = y[:, :half] * torch.sigmoid(y[:, half:])
            x = y if layer == 0 else (x + y) * torch.sqrt(torch.tensor(0.5, dtype=x.dtype))
        return x

    @property
    def virtual_batch_size(self) -> int | None:
        return self.network.initial.norms[0].virtual_batch_size

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits, penalty, masks (n_steps, B, K) and the aggregate mask (B, K)."""
        net = self.network
        groups = list(range(net.in_features)) if net.groups is None else net.groups.tolist()
        features = self.norm("input_norm", x, None)
        state = self.transformer("initial", features)[:, net.n_d :]
        prior = torch.ones(len(x), net.n_groups, dtype=x.dtype)
        masks: list[Tensor] = []
        total = penalty = aggregate = torch.zeros(())
        for step in range(net.n_steps):
            scores = state @ net.attentions[step].weight.T
            scores = self.norm(f"attentions.{step}.norm", scores, self.virtual_batch_size)
            mask = self.sparsemax(scores * prior)
            prior = prior * (net.gamma - mask)
            hidden = self.transformer(f"steps.{step}", features * mask[:, groups])
            decision = F.relu(hidden[:, : net.n_d])
            state = hidden[:, net.n_d :]
            total = total + decision
            penalty = penalty - (mask * torch.log(mask + net.epsilon)).sum(dim=1).mean() / net.n_steps
            aggregate = aggregate + decision.sum(dim=1, keepdim=True) * mask
            masks.append(mask)
        aggregate = aggregate / aggregate.sum(dim=1, keepdim=True)
        return total @ net.head.T, net.lambda_sparse * penalty, torch.stack(masks), aggregate


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(**arguments: Any) -> Any:
    """A network (typed loosely: tests reach inside) whose norms are off their start, so that a lost term shows."""
    settings = {"n_d": 5, "n_a": 3, "virtual_batch_size": 16, "momentum": 0.1, "generator": seeded()} | arguments
    network = TabNet(6, 2, **settings)
    generator = seeded(1)
    with torch.no_grad():
        for norm in network.modules():
            if isinstance(norm, GhostBatchNorm):
                norm.weight.normal_(1, 0.2, generator=generator)
                norm.bias.normal_(0, 0.2, generator=generator)
                norm.running_mean.normal_(0, 0.2, generator=generator)
                norm.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


def rows(n: int, seed: int = 2) -> Tensor:
    return torch.randn(n, 6, generator=seeded(seed))


CASES = pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"n_steps": 1},
        {"n_steps": 5, "gamma": 1.0},
        {"groups": [0, 1, 1, 2, 0, 3], "gamma": 1.7},
        {"n_shared": 0, "n_independent": 1},
        {"n_shared": 1, "n_independent": 0},
        {"virtual_batch_size": None},
    ],
    ids=str,
)


@CASES
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_equals_the_paper_written_out_plainly(arguments: dict[str, Any], training: bool, dtype: torch.dtype) -> None:
    network = small(lambda_sparse=0.1, **arguments).to(dtype).train(training)
    plain = PlainTabNet(network)
    weights = list(network.parameters())
    x = rows(50).to(dtype).requires_grad_()
    upstream = torch.randn(50, 2, generator=seeded(4)).to(dtype) / 10

    expected_logits, expected_penalty, _, _ = plain(x)
    expected = torch.autograd.grad((expected_logits * upstream).sum() + expected_penalty, [x, *weights])
    logits, penalty = network.forward_with_penalty(x)
    actual = torch.autograd.grad((logits * upstream).sum() + penalty, [x, *weights])

    exact = dtype == torch.float64
    forward, backward = (1e-10, 1e-9) if exact else (1e-5, 1e-4)
    torch.testing.assert_close(logits, expected_logits, atol=forward, rtol=forward)
    torch.testing.assert_close(penalty, expected_penalty, atol=forward, rtol=forward)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=backward, rtol=backward)
    for name, (mean, var) in plain.stats.items():
        norm = network.get_submodule(name)
        torch.testing.assert_close(norm.running_mean, mean, atol=forward, rtol=forward)
        torch.testing.assert_close(norm.running_var, var, atol=forward, rtol=forward)


def test_explain_gives_the_masks_and_the_weighted_aggregate_of_the_paper() -> None:
    network = small(groups=[0, 1, 1, 2, 0, 3]).eval()
    masks, aggregate = network.explain(rows(20))
    _, _, expected_masks, expected_aggregate = PlainTabNet(network)(rows(20))
    torch.testing.assert_close(masks, expected_masks, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(aggregate, expected_aggregate, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(masks.sum(dim=2), torch.ones(3, 20), atol=1e-6, rtol=0)
    torch.testing.assert_close(aggregate.sum(dim=1), torch.ones(20), atol=1e-6, rtol=0)


def test_explain_of_a_network_in_training_is_that_of_evaluation_and_changes_nothing() -> None:
    network = small().train()
    network.input_norm.eval()  # frozen on purpose: has to stay so
    before = {name: value.clone() for name, value in network.state_dict().items()}
    masks, _ = network.explain(rows(20))
    assert network.training and network.shared.training and not network.input_norm.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(masks, network.eval().explain(rows(20))[0])


def test_explain_falls_back_to_the_mean_mask_where_no_step_decides() -> None:
    network = small().eval()
    with torch.no_grad():
        for step in network.steps:
            step.norms[-1].weight.zero_()
            step.norms[-1].bias.fill_(-100.0)  # gates shut and the residual alone: make that negative too
            for norm in step.norms:
                norm.weight.zero_()
                norm.bias.copy_(torch.tensor([-1.0] * 8 + [5.0] * 8))
    masks, aggregate = network.explain(rows(4))
    torch.testing.assert_close(aggregate, masks.mean(dim=0))


def test_presets_have_the_papers_number_of_parameters() -> None:
    def parameters(n_inputs: int, n_outputs: int, preset: str) -> int:
        network = TabNet(n_inputs, n_outputs, **TABNET_PRESETS[preset])
        return sum(parameter.numel() for parameter in network.parameters())

    assert parameters(54, 7, "covertype") == 470_472
    assert round(parameters(28, 1, "higgs_medium"), -4) == 660_000  # the paper's 0.66M; of the small one it says 81K


@pytest.mark.parametrize("preset", TABNET_PRESETS)
def test_presets_build_and_hold_pytorch_momentum(preset: str) -> None:
    network = TabNet(4, **TABNET_PRESETS[preset])
    assert (network.n_d, network.n_a) == (TABNET_PRESETS[preset]["n_d"], TABNET_PRESETS[preset]["n_a"])
    momentum = {module.momentum for module in network.modules() if isinstance(module, GhostBatchNorm)}
    assert momentum == {TABNET_PRESETS[preset]["momentum"]}
    assert momentum < {0.02, 0.05, 0.1, 0.2, 0.3, 0.4}  # 1 - 0.98, 0.95, 0.9, 0.8, 0.7, 0.6


@CASES
def test_every_parameter_gets_a_gradient(arguments: dict[str, Any]) -> None:
    network = small(**arguments)
    network(rows(64)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_no_tensor_has_two_names_in_the_state() -> None:
    state = small().state_dict()
    assert len({value.data_ptr() for value in state.values()}) == len(state)


def test_a_used_column_loses_attention_in_later_steps_as_gamma_says() -> None:
    network = small(gamma=1.0, n_steps=2).eval()
    with torch.no_grad():  # both attentions want the third column, whatever the row
        for attention in network.attentions:
            attention.norm.weight.zero_()
            attention.norm.bias.copy_(torch.tensor([0.0, 0.0, 9.0, 0.0, 0.0, 0.0]))
    masks, _ = network.explain(rows(3))
    assert torch.equal(masks[0], torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 0.0]).expand(3, 6))
    torch.testing.assert_close(masks[1], torch.full((3, 6), 1 / 6))  # gamma - 1 = 0: nothing left to prefer


def test_features_of_one_group_get_the_same_attention() -> None:
    network = small(groups=[0, 1, 1, 2, 2, 2]).eval()
    seen: list[Tensor] = []
    network.steps[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = rows(10)
    masks, _ = network.explain(x)
    normalised = network.input_norm(x.T)
    torch.testing.assert_close(seen[0], normalised * masks[0].T[[0, 1, 1, 2, 2, 2]])
    assert masks.shape == (3, 10, 3)


def test_the_penalty_is_the_mean_entropy_of_the_masks() -> None:
    network = small(n_steps=1, lambda_sparse=0.5).eval()
    with torch.no_grad():
        network.attentions[0].norm.weight.zero_()
        network.attentions[0].norm.bias.copy_(torch.tensor([3.0, 3.0, 0.0, 0.0, 0.0, 0.0]))
    logits, penalty = network.forward_with_penalty(rows(7))
    assert penalty.item() == pytest.approx(0.5 * 0.693147, rel=1e-5)  # two columns, half each: log 2
    assert penalty.dtype == torch.float32
    torch.testing.assert_close(logits, network(rows(7)))


def trained(*, lambda_sparse: float, mask: str = "sparsemax", seed: int = 0, steps: int = 60) -> TabNet:
    x = rows(128)
    target = ((x[:, 0] * x[:, 1] > 0) ^ (x[:, 2] > 1)).float()[:, None]
    network = TabNet(6, mask=mask, lambda_sparse=lambda_sparse, momentum=0.1, generator=seeded(seed))  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(steps):
        logits, penalty = network.forward_with_penalty(x)
        loss = F.binary_cross_entropy_with_logits(logits, target) + penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


@pytest.mark.parametrize("mask", ["sparsemax", "entmax"])
def test_the_sparsity_term_makes_masks_sparser(mask: str) -> None:
    def entropy(lambda_sparse: float) -> float:
        masks, _ = trained(lambda_sparse=lambda_sparse, mask=mask).explain(rows(256))
        return -torch.special.xlogy(masks, masks).sum(dim=2).mean().item()

    assert entropy(1.0) < 0.6 * entropy(0.0)


def test_the_same_seed_trains_to_the_same_weights() -> None:
    first, second, other = (trained(lambda_sparse=1e-3, seed=seed, steps=5).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["head"], other["head"])


@pytest.mark.parametrize("mask", ["sparsemax", "entmax"])
def test_in_evaluation_one_row_equals_many(mask: str) -> None:
    network = TabNet(6, mask=mask, momentum=1.0, generator=seeded())  # type: ignore[arg-type]
    network(rows(200))  # settles the running statistics
    network.eval()
    x = rows(100, seed=5)
    alone = torch.cat([network(row[None]) for row in x])
    torch.testing.assert_close(network(x).sigmoid(), alone.sigmoid(), atol=1e-6, rtol=0)
    assert network(x[:0]).shape == (0, 1)


def test_rows_do_not_see_each_other_in_a_sharply_trained_network() -> None:
    # Float32 rounding grows with the sharpness of the function (3e-6 here), so the proof is in float64.
    network = trained(lambda_sparse=1e-3).double().eval()
    x = rows(40).double()
    alone = torch.cat([network(row[None]) for row in x])
    torch.testing.assert_close(network(x), alone, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 31, 32, 33, 48])
def test_any_batch_size_trains(size: int) -> None:
    network = small()
    logits, penalty = network.forward_with_penalty(rows(size))
    (logits.sum() + penalty).backward()
    assert logits.shape == (size, 2)
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())  # type: ignore[arg-type]


class OperatorCount(TorchDispatchMode):
    """Counts the operators that reach the backend, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calls[str(func)] += 1
        return func(*args, **(kwargs or {}))


def operators(network: TabNet, size: int) -> Counter[str]:
    x = torch.randn(size, 54, generator=seeded())
    network.zero_grad(set_to_none=True)
    for _ in range(2):  # the first call may fill caches for a new number of groups
        network.zero_grad(set_to_none=True)
        with OperatorCount() as count:
            logits, penalty = network.forward_with_penalty(x)
            (logits.mean() + penalty).backward()
    return count.calls


def test_the_number_of_operators_does_not_depend_on_the_batch_and_nothing_waits_for_the_device() -> None:
    network = TabNet(54, n_steps=5, virtual_batch_size=128, generator=seeded())
    small_batch, large_batch = operators(network, 1024), operators(network, 4096)
    assert small_batch == large_batch
    syncs = ("item", "_local_scalar_dense", "nonzero", "_to_copy", "lift_fresh", "scalar_tensor")
    assert not [name for name in small_batch if any(sync in name for sync in syncs)]


# torch 2.13 makes an object of a custom function while it traces it, and then warns of that.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("arguments", [{}, {"mask": "entmax", "n_members": 2, "virtual_batch_size": None}], ids=str)
def test_a_training_step_compiles_in_one_graph_and_gives_the_same(arguments: dict[str, Any]) -> None:
    plain, compiled = (small(n_steps=2, n_shared=1, n_independent=1, **arguments).double() for _ in range(2))
    # Traced forward and backward, without the compiler of C++, which takes a minute.
    step = torch.compile(compiled.forward_with_penalty, fullgraph=True, dynamic=False, backend="aot_eager")
    for one, forward in ((plain, plain.forward_with_penalty), (compiled, step)):
        logits, penalty = forward(rows(40).double())
        (logits.square().mean() + penalty).backward()
        assert one.head.grad is not None
    for mine, theirs in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-9, rtol=1e-6)
    for mine, theirs in zip(compiled.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-12, rtol=1e-9)


def test_under_bfloat16_autocast_masks_penalty_and_logits_stay_float32() -> None:
    network = small()
    exact = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, penalty = network.forward_with_penalty(rows(64))
        (logits.sum() + penalty).backward()
    assert logits.dtype == penalty.dtype == torch.float32
    assert len(logits.detach()[:, 0].unique()) == 64  # bfloat16 logits would tie rows
    torch.testing.assert_close(logits, exact(rows(64)), atol=0.3, rtol=0.1)
    masks, _ = network.explain(rows(64))
    torch.testing.assert_close(masks.sum(dim=2), torch.ones(3, 64), atol=1e-6, rtol=0)


def test_dropout_acts_in_training_only() -> None:
    network, plain = small(dropout=0.5), small()
    assert not torch.allclose(network(rows(32)), plain(rows(32)))
    torch.testing.assert_close(network.eval()(rows(32)), plain.eval()(rows(32)))


def test_input_dropout_replaces_features_by_their_mean_in_training_only() -> None:
    network = small(input_dropout=0.5)
    seen: list[Tensor] = []
    network.initial.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = rows(500) + 100  # far from zero: only the features' means are
    network(x)
    centred = small().input_norm(x.T) * 2  # inverse of the share kept
    dropped = seen[0] == 0
    assert dropped.float().mean().item() == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(seen[0][~dropped], centred[~dropped])
    torch.testing.assert_close(network.input_norm.running_mean, small_after(x).running_mean)
    torch.testing.assert_close(network.eval()(x), network(x))


def small_after(x: Tensor) -> GhostBatchNorm:
    """The input's normalisation after one training batch without dropout."""
    network = small()
    network(x)
    return network.input_norm


def test_a_small_attention_scale_starts_with_nearly_even_masks() -> None:
    even, paper = (TabNet(6, attention_scale=scale, momentum=1.0, generator=seeded()) for scale in (0.01, 1.0))
    for network in (even, paper):
        network(rows(500))  # one batch for the running statistics
    masks, _ = even.explain(rows(50))
    torch.testing.assert_close(masks, torch.full_like(masks, 1 / 6), atol=0.1, rtol=0)
    assert (paper.explain(rows(50))[0] == 0).float().mean() > 0.3


@pytest.mark.parametrize("arguments", [{}, {"mask": "entmax", "groups": [0, 1, 1, 2, 0, 3]}], ids=str)
def test_torch_export_with_any_batch_size(arguments: dict[str, Any]) -> None:
    network = small(**arguments).eval()
    batch = torch.export.Dim("batch", min=1, max=65536)
    program = torch.export.export(network, (rows(8),), dynamic_shapes=({0: batch},))
    exported: Any = program.module()
    for size in (1, 2, 33):
        torch.testing.assert_close(exported(rows(size)), network(rows(size)), atol=1e-6, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_torchscript_trace_with_any_batch_size() -> None:
    network = small().eval()
    traced: Any = torch.jit.trace(network, (rows(8),))
    torch.testing.assert_close(traced(rows(33)), network(rows(33)), atol=1e-6, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_onnx_with_any_batch_size(tmp_path: Any) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    network = small().eval()
    path = tmp_path / "tabnet.onnx"
    shapes = ({0: torch.export.Dim("batch", min=1, max=65536)},)
    torch.onnx.export(network, (rows(8),), path, dynamo=True, dynamic_shapes=shapes, verbose=False)
    session = runtime.InferenceSession(str(path))
    for size in (1, 2, 33):
        (logits,) = session.run(None, {session.get_inputs()[0].name: rows(size).numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), network(rows(size)).detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TabNet(0), "in_features must be at least 1"),
        (lambda: TabNet(3, gamma=0.9), "gamma must be at least 1"),
        (lambda: TabNet(3, n_shared=0, n_independent=0), "n_shared"),
        (lambda: TabNet(3, mask="softmax"), "mask must be one of"),  # type: ignore[arg-type]
        (lambda: TabNet(3, groups=[0, 2, 2]), "without gaps"),
        (lambda: TabNet(3, groups=[0, 1]), "each of the 3 input features"),
        (lambda: TabNet(3)(torch.zeros(2, 4)), r"shape \(batch, 3\), got \(2, 4\)"),
    ],
)
def test_wrong_arguments_are_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_is_an_ordinary_module_without_state_of_its_own_making() -> None:
    network = small()
    network(rows(32))
    copy = small(generator=seeded(9))
    copy.load_state_dict(network.state_dict())
    torch.testing.assert_close(copy.eval()(rows(9)), network.eval()(rows(9)))
    assert isinstance(network, nn.Module)


# --- beyond the paper -----------------------------------------------------------------------------------------------


def test_an_embedded_number_is_one_column_to_the_attention() -> None:
    network = TabNet(6, groups=[0, 1, 0, 2, 2, 2], n_numeric=2, numeric_embedding="piecewise", embedding_dim=3)
    assert network.n_groups == 3
    assert network.groups is not None  # two numbers, two curves of each, then the rest
    assert network.groups.tolist() == [0, 1, 0, 0, 1, 1, 0, 2, 2, 2]
    assert network(rows(40)).shape == (40, 1)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_each_member_is_a_network_of_its_own_parts(training: bool) -> None:
    """A member equals a single network with its scales, its normalisations and its last layer."""
    together: Any = TabNet(6, 2, n_members=3, virtual_batch_size=16, momentum=0.1, generator=seeded()).train(training)
    state = together.state_dict()
    logits = together(rows(48))
    assert logits.shape == (48, 3, 2)
    for member in range(3):
        alone: Any = TabNet(6, 2, virtual_batch_size=16, momentum=0.1).train(training)
        own = {}
        for name, value in alone.state_dict().items():
            given = state[name]
            if name == "head":
                given = given[member]
            elif given.shape != value.shape:  # normalisations: channel by channel, a member after the other
                given = given.view(-1, 3)[:, member]
            own[name] = given
        alone.load_state_dict(own)
        scale = state["member_scale"][:, member]  # (D, 1): after the normalisation of the input, so into its scales
        with torch.no_grad():
            alone.input_norm.weight.mul_(scale[:, 0])
            alone.input_norm.bias.mul_(scale[:, 0])
        torch.testing.assert_close(alone(rows(48)), logits[:, member], atol=1e-5, rtol=1e-5)


def test_masks_of_members_are_their_mean_and_sum_to_one() -> None:
    network = TabNet(6, n_members=4, momentum=1.0, generator=seeded())
    network(rows(200))
    masks, importance = network.explain(rows(10))
    assert masks.shape == (3, 10, 6)
    torch.testing.assert_close(masks.sum(2), torch.ones(3, 10))
    torch.testing.assert_close(importance.sum(1), torch.ones(10))
    assert network.eval()(rows(0)).shape == (0, 4, 1)


def test_a_hidden_column_is_neither_seen_nor_looked_at() -> None:
    network = small(groups=[0, 1, 1, 2, 0, 3]).eval()
    x, hidden = rows(20), torch.zeros(4, 20)
    hidden[1] = 1.0
    changed = x.clone()
    changed[:, 1:3] += 5.0
    masks, decisions = network.decide(x, hidden)
    _, others = network.decide(changed, hidden)
    for part, other in zip(decisions, others, strict=True):
        torch.testing.assert_close(part, other)
    assert not torch.allclose(network.decide(x)[1][0], network.decide(changed)[1][0])
    assert masks[0].shape == (4, 20)
