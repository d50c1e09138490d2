"""Times training steps of TabNet against the package pytorch-tabnet: same hyper-parameters, same weights, same batches.

    python -m pip install pytorch-tabnet
    python scripts/bench_tabnet.py
    python scripts/bench_tabnet.py --compile --batch 1024
    python scripts/bench_tabnet.py --losses

Two things are timed, in turn, so that a busy machine slows both; ratios are medians of paired ratios.

    step   forward, loss, backward and optimizer on a batch that lies ready, each with the optimizer it comes with
           (fused Adam; the package's default Adam)
    fit    the package as its users run it: rows by its DataLoader, its loss of two classes, its gradient clip and its
           bookkeeping of each batch, against our step on batches gathered from resident tensors (with --fit)

``--compile`` compiles our forward and backward (``torch.compile``); the time that takes is printed apart.
``--losses`` trains both from the same weights on the same batches and prints the mean loss of each epoch. By plain
gradient descent: Adam divides by the size of the gradient, so where that is nothing but rounding it steps as far as
anywhere else, and two orders of the same sums part within some ten steps.
``--device cuda`` runs on a GPU; nobody has run it there yet.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from peer_tabnet import MISSING, build_peer

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


def our_step(network: TabNet, *, plain: bool = False, compiled: bool = False) -> Step:
    """Return a function that does one training step of ours."""
    optimizer: torch.optim.Optimizer = torch.optim.Adam(network.parameters(), lr=0.02, fused=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01) if plain else optimizer
    forward = network.forward_with_penalty
    forward = torch.compile(forward, dynamic=False, fullgraph=True) if compiled else forward

    def step(x: Tensor, target: Tensor) -> Tensor:
        logits, penalty = forward(x)
        loss = F.binary_cross_entropy_with_logits(logits, target) + penalty
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def peer_step(network: TabNet, *, plain: bool = False) -> Step:
    """Return a function that does the same step with the package's network, started from our weights."""
    peer = build_peer(network).to(network.head.device)
    if network.head.dtype == torch.float64:
        encoder: Any = peer.double().tabnet.encoder  # type: ignore[union-attr]
        encoder.group_attention_matrix = encoder.group_attention_matrix.double()  # no parameter, so it stays behind
    optimizer: torch.optim.Optimizer = torch.optim.Adam(peer.parameters(), lr=0.02)
    optimizer = torch.optim.SGD(peer.parameters(), lr=0.01) if plain else optimizer

    def step(x: Tensor, target: Tensor) -> Tensor:
        logits, negative_entropy = peer(x)
        loss = F.binary_cross_entropy_with_logits(logits, target) - network.lambda_sparse * negative_entropy
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def seconds(step: Callable[[], object]) -> float:
    """Return how long a call takes, the device's work included."""
    start = time.perf_counter()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def paired(ours: Callable[[], object], peers: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Return the medians of both and of their ratio, after two calls that do not count."""
    pairs = [(seconds(ours), seconds(peers)) for _ in range(repeats + 2)][2:]
    fast, slow = (statistics.median(one) for one in zip(*pairs, strict=True))
    return fast, slow, statistics.median(b / a for a, b in pairs)


def time_steps(arguments: argparse.Namespace, batch: int) -> None:
    """Print rows per second of training steps."""
    network = make_network(arguments)
    x, target = make_rows(arguments, batch)
    peers = peer_step(network)
    ours = our_step(network, compiled=arguments.compile)
    if arguments.compile:
        print(f"compiled in {seconds(lambda: ours(x, target)):.1f} s")
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

    fast, slow, _ = paired(lambda: (ours(), ours()), peers, max(3, arguments.repeats // 10))
    report("fit", batch, 2 * n, (fast, slow, slow / fast))


def report(what: str, batch: int, rows: int, result: tuple[float, float, float]) -> None:
    """Print one line."""
    fast, slow, ratio = result
    print(f"{what:<14} {batch:>7} {rows / fast:>12,.0f} {rows / slow:>16,.0f} {ratio:>7.2f}x", flush=True)


def compare_losses(arguments: argparse.Namespace) -> float:
    """Print the mean loss of each epoch of both networks; return the largest difference."""
    batch, worst = arguments.batch[0], 0.0
    x, target = make_rows(arguments, 8 * batch)
    network = make_network(arguments).to(getattr(torch, arguments.dtype))
    x, target = x.to(network.head.dtype), target.to(network.head.dtype)
    peers = peer_step(network, plain=True)
    ours = our_step(network, plain=True)
    print(f"{'epoch':>5} {'churnlib':>10} {'pytorch-tabnet':>15} {'difference':>11}")
    for epoch in range(arguments.epochs):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch)).to(x.device)
        batches = [(x[part], target[part]) for part in order.split(batch)]
        means = [float(torch.stack([step(*one) for one in batches]).mean()) for step in (ours, peers)]
        worst = max(worst, abs(means[0] - means[1]))
        print(f"{epoch:>5} {means[0]:>10.6f} {means[1]:>15.6f} {means[0] - means[1]:>+11.1e}")
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
    parser.add_argument("--epochs", type=int, default=5, help="of --losses")
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
        return int(compare_losses(arguments) > 1e-3)
    print(f"{'':<14} {'batch':>7} {'ours rows/s':>12} {'pytorch-tabnet':>16} {'ratio':>8}")
    for batch in arguments.batch:
        time_steps(arguments, batch)
        if arguments.fit:
            time_fits(arguments, batch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
