"""Effects of columns by expected gradients (Erion et al. 2021, Nature Machine Intelligence 3, 620-631).

On the way from a background customer to the customer, each input adds its gradient times the part of the way; on
average over background customers and places on the way, these sum to what the customer's answer is above the
background's. What is walked through are the model's inputs: scaled numbers, one-hot columns and embeddings, of whose
effects the column that they come from gets the sum.

An input that is made of several columns changes step by step as one column after the other becomes the customer's, in
an order drawn at random; each column gets the gradient times its own step.

Shape letters: c customers, S samples, d inputs, K columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from churnlib.explanation.mixing import SEVERAL, Customers, Mixer
from churnlib.models.differentiable import Differentiable

MOST_ROWS = 12_800
"""Rows that a network is asked about at a time: their hidden layers stay in a processor's cache, more or less."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Where on which ways the gradients are taken; the same for each customer, so that none depends on the others.

    Attributes:
        which: ``(S,)`` int64 background customers.
        places: ``(S,)`` float64 in (0, 1), from the background customer to the customer.
        orders: ``(S, K)`` int64 orders of the columns.
    """

    which: np.ndarray
    places: np.ndarray
    orders: np.ndarray


def draw_samples(n: int, ranked: np.ndarray, n_columns: int, rng: np.random.Generator) -> Samples:
    """Draw samples: background customers come equally often, and places are spread evenly over each one's ways.

    Two background customers with neighbouring answers have mirrored places, one as far from its start as the other from
    the end: what the gradients of the one miss of the way is near to what those of the other have too much.

    Args:
        n: Samples, rounded up to a multiple of the background customers if there are more; with fewer, so many of
            these are drawn.
        ranked: Background customers in the order of their answers.
        n_columns: Columns.
        rng: Source of chance.
    """
    rounds = max(1, -(-n // len(ranked)))
    used = ranked[np.sort(rng.permutation(len(ranked))[: min(n, len(ranked))])]
    pairs = -(-len(used) // 2)
    # Each background customer has one place in each of as many strips of its way, at another height in each.
    height = (np.stack([rng.permutation(pairs) for _ in range(rounds)]) + 0.25) / pairs
    place = (np.arange(rounds)[:, None] + height) / rounds
    places = np.empty((rounds, len(used)))
    places[:, 0::2], places[:, 1::2] = place, 1.0 - place[:, : len(used) // 2]
    which = np.tile(used, rounds)
    orders = np.argsort(rng.random((len(which), n_columns)), axis=1)
    return Samples(which, places.ravel(), orders)


def gradient_effects(
    model: Differentiable,
    mixer: Mixer,
    customers: Customers,
    background: Customers,
    samples: Samples,
    target: np.ndarray | None = None,
) -> NDArray[np.float32]:
    """Return the effect of each column on the log-odds by each sample.

    Args:
        model: Behind its input layer.
        mixer: Which column each input comes from.
        customers: ``n`` customers.
        background: Customers that they are measured against.
        samples: Of :func:`draw_samples`.
        target: ``(n,)`` class whose log-odds are explained; None for two classes.

    Returns:
        ``(n, S, K)``; the mean over the second axis are the effects.
    """
    owner = mixer.owner[model.owners]
    group = torch.from_numpy(_one_hot(owner, len(mixer.names))).to(model.dtype)
    here = model.inputs(customers.encoded.numeric, customers.encoded.codes)
    there = model.inputs(background.encoded.numeric, background.encoded.codes)[samples.which]
    place = torch.from_numpy(samples.places).to(model.dtype)[:, None]
    several = np.flatnonzero(owner == SEVERAL)
    effects = np.empty((len(here), len(place), len(mixer.names)), dtype=np.float32)
    step = max(1, MOST_ROWS // len(place))
    for start in range(0, len(here), step):
        rows = np.arange(start, min(start + step, len(here)))
        x = here[start : start + step, None, :]  # (c, 1, d)
        origin = there.expand(len(rows), -1, -1)
        walk: list[Tensor] = []
        if len(several):
            walk = _walk(model, mixer, customers.take(rows), background, samples, several)
            origin = origin.clone()
            origin[:, :, several] = walk[0]
        way = x - origin  # (c, S, d)
        gradient = _gradient(model, origin + place * way, None if target is None else target[rows])
        part = (gradient * way) @ group  # (c, S, K)
        for turn, (before, after) in enumerate(pairwise(walk)):
            moved = (gradient[:, :, several] * (after - before)).sum(2, keepdim=True)
            whose = torch.from_numpy(_turns(mixer, samples)[:, turn]).expand(len(rows), -1).unsqueeze(2)
            part.scatter_add_(2, whose, moved)
        effects[rows] = part.numpy()
    return effects


def _gradient(model: Differentiable, points: Tensor, target: np.ndarray | None) -> Tensor:
    """Return the gradient of the log-odds at points, ``(c, S, d)`` both."""
    with torch.enable_grad():
        flat = points.flatten(0, 1).requires_grad_()
        logits = model.logits(flat)
        if target is not None:
            logits = log_odds_of(logits, torch.from_numpy(target).repeat_interleave(points.shape[1]))
        (gradient,) = torch.autograd.grad(logits.sum(), flat)
    return gradient.unflatten(0, points.shape[:2])


def log_odds_of(logits: Tensor, target: Tensor) -> Tensor:
    """Return the log-odds of one class against all others, ``(n,)``, from ``(n, n_classes)`` logits."""
    chosen = F.one_hot(target, logits.shape[1]).bool()
    return logits[chosen] - logits.masked_fill(chosen, -torch.inf).logsumexp(1)


def _one_hot(owner: np.ndarray, n: int) -> np.ndarray:
    """Return which column each input belongs to, ``(d, n)`` of 0 and 1; rows of inputs of several columns are 0."""
    return (owner[:, None] == np.arange(n)[None, :]).astype(np.float64)


def _turns(mixer: Mixer, samples: Samples) -> NDArray[np.int64]:
    """Return the involved columns in each sample's order, ``(S, n_involved)``."""
    involved = np.isin(samples.orders, mixer.involved)
    return samples.orders[involved].reshape(len(samples.orders), len(mixer.involved))


def _walk(
    model: Differentiable,
    mixer: Mixer,
    customers: Customers,
    background: Customers,
    samples: Samples,
    several: np.ndarray,
) -> list[Tensor]:
    """Return the inputs of several columns after 0, 1, ... of the involved ones have become the customer's."""
    n, n_samples = len(customers), len(samples.which)
    mine = customers.take(np.repeat(np.arange(n), n_samples))
    theirs = background.take(np.tile(samples.which, n))
    own = np.zeros((n_samples, len(mixer.names)), dtype=bool)
    turns, walk = _turns(mixer, samples), []
    for turn in range(len(mixer.involved) + 1):
        mixed = mixer.mix(mine, theirs, np.tile(own, (n, 1)))
        walk.append(model.inputs(mixed.numeric, mixed.codes).unflatten(0, (n, n_samples))[:, :, several])
        if turn < len(mixer.involved):
            own[np.arange(n_samples), turns[:, turn]] = True
    return walk


__all__ = ["Samples", "draw_samples", "gradient_effects", "log_odds_of"]
