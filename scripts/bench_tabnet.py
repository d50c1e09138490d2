"""Times training steps of TabNet against the package pytorch-tabnet: same hyper-parameters, same weights, same batches.

    python -m pip install pytorch-tabnet
    python scripts/bench_tabnet.py
    python scripts/bench_tabnet.py --compile --batch 1024
    python scripts/bench_tabnet.py --losses

Two things are timed, in turn, so that a busy machine slows both; on the CPU processor seconds are counted, not those of
the clock. Ratios are medians of paired ratios, beside them their quartiles.

    step   forward, loss, backward and optimizer on a batch that lies ready, each with the optimizer it comes with
           (fused Adam; the package's default Adam)
    fit    the package as its users run it: rows by its DataLoader, its loss of two classes, its gradient clip and its
           bookkeeping of each batch, against our step on batches gathered from resident tensors (with --fit)

``--compile`` compiles our forward and backward (``torch.compile``); the time that takes is printed apart.

``--losses`` compares the mean losses of epochs. Training this network is chaotic: a change in the last bit of a weight
grows ten to a hundred times with each step, so that within ten steps two orders of the same sums have parted. Printed
are the differences from the package's losses of

    lockstep   ours at the weights and running statistics that the package has before each of its steps: what the two
               make of the same weights, all along the way of training
    free       ours, trained by itself from the same weights
    itself     the package again, from weights of which about half are moved by their last bit: what no implementation
               can fall below

With lockstep come the largest differences of any batch: of its loss, of a gradient (by the largest entry of its
tensor), and of a running statistic. In float32 a gradient of either is that far from the exact one.

``--device cuda`` runs on a GPU; nobody has run it there yet.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from peer_tabnet import MISSING, build_peer, pairs

from churnlib.models import tabnet
from churnlib.models.tabnet import TabNet

Step = Callable[[Tensor, Tensor], Tensor]


def make_network(arguments: argparse.Namespace, *, lambda_sparse: float = 1e-3) -> TabNet:
    """Return our network with the sizes of the command line; the same at every call."""
    return TabNet(
        arguments.features,
        n_d=arguments.width,
        n_a=arguments.width,
        n_steps=arguments.steps,
        virtual_batch_size=arguments.virtual_batch_size,
        lambda_sparse=lambda_sparse,
        generator=torch.Generator().manual_seed(0),
    ).to(arguments.device)


def make_rows(arguments: argparse.Namespace, n: int) -> tuple[Tensor, Tensor]:
    """Return made-up rows and labels that take more than a straight line."""
    x = torch.randn(n, arguments.features, generator=torch.Generator().manual_seed(1)).to(arguments.device)
    return x, (x[:, :1] * x[:, 1:2] + 0.5 * x[:, 2:3] > 0).float()


def make_optimizer(network: nn.Module, name: str, **options: Any) -> torch.optim.Optimizer:
    """Return pytorch-tabnet's default optimizer, or plain gradient descent."""
    if name == "sgd":
        return torch.optim.SGD(network.parameters(), lr=0.01)
    return torch.optim.Adam(network.parameters(), lr=0.02, **options)


def our_step(network: TabNet, *, optimizer: str = "adam", compiled: bool = False) -> Step:
    """Return a function that does one training step of ours."""
    by = make_optimizer(network, optimizer, fused=True)
    forward = network.forward_with_penalty
    forward = torch.compile(forward, dynamic=False, fullgraph=True) if compiled else forward

    def step(x: Tensor, target: Tensor) -> Tensor:
        logits, penalty = forward(x)
        loss = F.binary_cross_entropy_with_logits(logits, target) + penalty
        by.zero_grad(set_to_none=True)
        loss.backward()
        by.step()
        return loss.detach()

    return step


def peer_loss(peer: nn.Module, x: Tensor, target: Tensor, lambda_sparse: float) -> Tensor:
    """Return the loss of the package's network."""
    logits, negative_entropy = peer(x)
    return F.binary_cross_entropy_with_logits(logits, target) - lambda_sparse * negative_entropy


def peer_step(peer: nn.Module, *, optimizer: str = "adam", lambda_sparse: float = 1e-3) -> Step:
    """Return a function that does the same step with the package's network."""
    by = make_optimizer(peer, optimizer)

    def step(x: Tensor, target: Tensor) -> Tensor:
        loss = peer_loss(peer, x, target, lambda_sparse)
        by.zero_grad(set_to_none=True)
        loss.backward()
        by.step()
        return loss.detach()

    return step


def seconds(step: Callable[[], object]) -> float:
    """Return what a call costs: processor seconds, or on a GPU the seconds until it is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    step()
    return time.process_time() - start


def paired(ours: Callable[[], object], peers: Callable[[], object], repeats: int) -> tuple[float, float, list[float]]:
    """Return the medians of both and the quartiles of their ratio, after two calls that do not count."""
    turns = [(seconds(ours), seconds(peers)) for _ in range(repeats + 2)][2:]
    fast, slow = (statistics.median(one) for one in zip(*turns, strict=True))
    return fast, slow, statistics.quantiles([b / a for a, b in turns], n=4)


def time_steps(arguments: argparse.Namespace, batch: int) -> None:
    """Print rows per second of training steps."""
    network = make_network(arguments)
    x, target = make_rows(arguments, batch)
    peers = peer_step(build_peer(network))
    ours = our_step(network, compiled=arguments.compile)
    if arguments.compile:
        start = time.perf_counter()
        ours(x, target)
        print(f"compiled in {time.perf_counter() - start:.0f} s by the clock")
    result = paired(lambda: ours(x, target), lambda: peers(x, target), arguments.repeats)
    report("compiled step" if arguments.compile else "step", batch, batch, result)


def time_fits(arguments: argparse.Namespace, batch: int) -> None:
    """Print rows per second of whole epochs, the package by its own classifier."""
    import warnings

    from pytorch_tabnet.tab_model import TabNetClassifier  # pyright: ignore[reportMissingImports]

    warnings.filterwarnings("ignore")
    n, options = 4 * batch, {"n_d": arguments.width, "n_a": arguments.width, "n_steps": arguments.steps}
    x, target = make_rows(arguments, n)
    rows, labels = x.cpu().numpy(), target.long().squeeze(1).cpu().numpy()
    step = our_step(make_network(arguments), compiled=arguments.compile)

    def ours() -> None:
        order = torch.randperm(n, device=x.device)
        for part in order.split(batch):
            step(x[part], target[part])

    def peers() -> None:
        model = TabNetClassifier(verbose=0, device_name=arguments.device, **options)
        model.fit(
            rows,
            labels,
            max_epochs=2,
            batch_size=batch,
            virtual_batch_size=arguments.virtual_batch_size,
            compute_importance=False,
        )

    report("fit", batch, 2 * n, paired(lambda: (ours(), ours()), peers, max(3, arguments.repeats // 10)))


def report(what: str, batch: int, rows: int, result: tuple[float, float, list[float]]) -> None:
    """Print one line."""
    fast, slow, (low, ratio, high) = result
    rates = f"{rows / fast:>12,.0f} {rows / slow:>16,.0f}"
    print(f"{what:<14} {batch:>7} {rates} {ratio:>7.2f}x ({low:.2f} to {high:.2f})", flush=True)


class Lockstep:
    """Our network, set to the state of the package's before each of its steps; keeps the largest differences.

    Attributes:
        loss: Largest difference of a batch's loss.
        gradient: Of a gradient, by the largest entry of its tensor.
        statistic: Of a running statistic.
    """

    def __init__(self, network: TabNet) -> None:
        self.network = copy.deepcopy(network)
        self.loss = self.gradient = self.statistic = 0.0

    def step(self, peer: nn.Module, x: Tensor, target: Tensor) -> tuple[float, float]:
        """Return the package's loss and ours; leaves the package as it is before its optimizer steps."""
        with torch.no_grad():
            for mine, theirs in pairs(self.network, peer):
                mine.copy_(theirs)
        logits, penalty = self.network.forward_with_penalty(x)
        ours = F.binary_cross_entropy_with_logits(logits, target) + penalty
        theirs = peer_loss(peer, x, target, self.network.lambda_sparse)
        for network, loss in ((self.network, ours), (peer, theirs)):
            network.zero_grad(set_to_none=True)
            loss.backward()
        self.loss = max(self.loss, (ours - theirs).abs().item())
        for mine, other in pairs(self.network, peer):
            if mine.grad is None:
                self.statistic = max(self.statistic, (mine - other).abs().max().item())
            else:
                assert other.grad is not None
                off = (mine.grad - other.grad).abs().max() / other.grad.abs().max().clamp(min=1e-12)
                self.gradient = max(self.gradient, off.item())
        return theirs.item(), ours.item()


def compare_losses(arguments: argparse.Namespace, batch: int) -> float:
    """Print the mean loss of each epoch; return the largest difference in lockstep."""
    dtype = getattr(torch, arguments.dtype)
    tabnet.SQRT_HALF = torch.tensor(0.5).sqrt().item()  # the package rounds this constant to float32, in float64 too
    x, target = (part.to(dtype) for part in make_rows(arguments, arguments.rows))
    network = make_network(arguments).to(dtype)
    peer, moved = build_peer(network), build_peer(network)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.mul_(1 + torch.finfo(dtype).eps * torch.randint(0, 2, parameter.shape).to(parameter))
    by, lockstep = make_optimizer(peer, arguments.optimizer), Lockstep(network)
    free = our_step(network, optimizer=arguments.optimizer)
    itself = peer_step(moved, optimizer=arguments.optimizer)
    print(f"batch {batch}: mean losses of an epoch, and differences from pytorch-tabnet's")
    print(f"{'epoch':>5} {'pytorch-tabnet':>15} {'lockstep':>9} {'free':>9} {'itself':>9}")
    worst = 0.0
    for epoch in range(arguments.epochs):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch)).to(x.device)
        losses = []
        for part in order.split(batch):
            rows = x[part], target[part]
            losses.append([*lockstep.step(peer, *rows), float(free(*rows)), float(itself(*rows))])
            by.step()
        theirs, *others = torch.tensor(losses, dtype=torch.float64).mean(0).tolist()
        worst = max(worst, abs(others[0] - theirs))
        print(f"{epoch:>5} {theirs:>15.6f} " + " ".join(f"{one - theirs:>+9.1e}" for one in others), flush=True)
    largest = f"loss {lockstep.loss:.1e}, gradient {lockstep.gradient:.1e}, running statistic {lockstep.statistic:.1e}"
    print(f"in lockstep, largest of any batch: {largest}")
    return worst


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1024, 16384], help="rows of a batch")
    parser.add_argument("--features", type=int, default=54, help="input features")
    parser.add_argument("--width", type=int, default=8, help="n_d and n_a")
    parser.add_argument("--steps", type=int, default=5, help="decision steps")
    parser.add_argument("--virtual-batch-size", type=int, default=128, help="rows of a ghost batch")
    parser.add_argument("--repeats", type=int, default=30, help="timed steps of each network")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="compile ours")
    parser.add_argument("--fit", action="store_true", help="time whole epochs too")
    parser.add_argument("--losses", action="store_true", help="compare losses instead of times")
    parser.add_argument("--epochs", type=int, default=3, help="of --losses")
    parser.add_argument("--rows", type=int, default=131_072, help="of an epoch of --losses")
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="sgd", help="of --losses")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="of --losses")
    return parser.parse_args()


def main() -> int:
    """Print what the command line asks for; return 1 if the package is missing or the losses differ."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    try:
        build_peer(make_network(arguments))
    except ModuleNotFoundError:
        print(MISSING)
        return 1
    print(f"torch {torch.__version__}, {arguments.device}, {arguments.threads} thread(s), {vars(arguments)}")
    if arguments.losses:
        worst = [compare_losses(arguments, batch) for batch in arguments.batch]
        return int(max(worst) > 1e-3)
    print(f"{'':<14} {'batch':>7} {'ours rows/s':>12} {'pytorch-tabnet':>16} {'ratio':>8}")
    for batch in arguments.batch:
        time_steps(arguments, batch)
        if arguments.fit:
            time_fits(arguments, batch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
