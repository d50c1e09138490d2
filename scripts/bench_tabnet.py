"""Times training steps of TabNet against the usual way to write it: row-major, a loop over ghost batches, a sort.

    python scripts/bench_tabnet.py
    python scripts/bench_tabnet.py --batch 1024 16384 --width 64 --virtual-batch-size 512 --device cuda

Both networks start from the same weights and give the same outputs (checked before timing). Steps alternate between
them, so a busy machine slows both; the ratio is the median of the paired ratios.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from churnlib.models.ghost_norm import GhostBatchNorm
from churnlib.models.tabnet import SQRT_HALF, TabNet


class LoopTabNet(TabNet):
    """The same network and parameters, computed as most implementations do; sparsemax masks only."""

    def _decide(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        features = loop_norm(self.input_norm, x)
        state = self._transform(self.initial, features)[:, self.n_d :]
        prior = torch.ones_like(x)
        masks: list[Tensor] = []
        decisions: list[Tensor] = []
        attention: Any
        for attention, transformer in zip(self.attentions, self.steps, strict=True):
            mask = sorted_sparsemax(loop_norm(attention.norm, state @ attention.weight.T) * prior)
            prior = prior * (self.gamma - mask)
            hidden = self._transform(transformer, features * mask)
            masks.append(mask.T)
            decisions.append(F.relu(hidden[:, : self.n_d]).T)
            state = hidden[:, self.n_d :]
        return masks, decisions

    def _transform(self, transformer: Any, x: Tensor) -> Tensor:
        weights = [*self.shared, *transformer.weights]
        for layer, (weight, norm) in enumerate(zip(weights, transformer.norms, strict=True)):
            y = F.glu(loop_norm(norm, x @ weight.T), dim=1)
            x = y if layer == 0 else (x + y) * SQRT_HALF
        return x


def loop_norm(norm: GhostBatchNorm, x: Tensor) -> Tensor:
    """Ghost batch normalisation of rows (B, C), one chunk after the other."""
    chunks = 1 if norm.virtual_batch_size is None else max(1, len(x) // norm.virtual_batch_size)
    mean, var, weight, bias = norm.running_mean, norm.running_var, norm.weight, norm.bias
    done = [
        F.batch_norm(chunk, mean, var, weight, bias, norm.training, norm.momentum, norm.eps)
        for chunk in x.tensor_split(chunks)
    ]
    return torch.cat(done)


class SortedSparsemax(torch.autograd.Function):
    """Sparsemax over the last dimension by the textbook's sort."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: D102
        ordered = x.sort(dim=1, descending=True).values
        excess = ordered.cumsum(dim=1) - 1
        rank = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        count = (rank * ordered > excess).sum(dim=1, keepdim=True)
        p = (x - excess.gather(1, count - 1) / count).clamp(min=0)
        ctx.save_for_backward(p)
        return p

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]  # noqa: D102
        support = ctx.saved_tensors[0] > 0
        mean = (grad * support).sum(dim=1, keepdim=True) / support.sum(dim=1, keepdim=True)
        return torch.where(support, grad - mean, 0)


def sorted_sparsemax(x: Tensor) -> Tensor:
    """Applies `SortedSparsemax`."""
    return SortedSparsemax.apply(x)  # type: ignore[return-value]


def make_step(network: TabNet, x: Tensor, target: Tensor) -> Callable[[], None]:
    """Returns a function that does one training step and returns when the device has finished it."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        logits, penalty = network.forward_with_penalty(x)
        loss = F.binary_cross_entropy_with_logits(logits, target) + penalty
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if x.is_cuda:
            torch.cuda.synchronize()

    return step


def measure(arguments: argparse.Namespace, batch: int) -> tuple[float, float, float]:
    """Returns the medians of seconds per step, ours and the loop's, and of their paired ratio."""
    generator = torch.Generator().manual_seed(0)
    sizes = {"n_d": arguments.width, "n_a": arguments.width, "n_steps": arguments.steps}
    ours = TabNet(arguments.features, virtual_batch_size=arguments.virtual_batch_size, generator=generator, **sizes)
    loop = LoopTabNet(arguments.features, virtual_batch_size=arguments.virtual_batch_size, **sizes)
    loop.load_state_dict(copy.deepcopy(ours.state_dict()))
    x = torch.randn(batch, arguments.features, generator=generator).to(arguments.device)
    target = (x[:, :1] * x[:, 1:2] > 0).float()
    ours, loop = ours.to(arguments.device), loop.to(arguments.device)
    torch.testing.assert_close(ours(x), loop(x), atol=1e-3, rtol=1e-3)

    steps = make_step(ours, x, target), make_step(loop, x, target)
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(arguments.warmup + arguments.repeats):
        for step, record in zip(steps, seconds, strict=True):
            start = time.perf_counter()
            step()
            if repeat >= arguments.warmup:
                record.append(time.perf_counter() - start)
    ratio = statistics.median(slow / fast for fast, slow in zip(*seconds, strict=True))
    return statistics.median(seconds[0]), statistics.median(seconds[1]), ratio


def main() -> None:
    """Prints one line for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1024, 4096], help="rows of a batch")
    parser.add_argument("--features", type=int, default=54, help="input features")
    parser.add_argument("--width", type=int, default=8, help="n_d and n_a")
    parser.add_argument("--steps", type=int, default=5, help="decision steps")
    parser.add_argument("--virtual-batch-size", type=int, default=128, help="rows of a ghost batch")
    parser.add_argument("--repeats", type=int, default=30, help="timed steps of each network")
    parser.add_argument("--warmup", type=int, default=3, help="steps before")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.device}, {arguments.threads} thread(s), D = {arguments.features}")
    print(f"{'batch':>7} {'churnlib':>14} {'loop':>14} {'ratio':>7}")
    for batch in arguments.batch:
        fast, slow, ratio = measure(arguments, batch)
        print(f"{batch:>7} {batch / fast:>9,.0f} rows/s {batch / slow:>7,.0f} rows/s {ratio:>6.2f}x")


if __name__ == "__main__":
    main()
