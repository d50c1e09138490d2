"""Training several networks of one shape in one pass: one Lightning run, in which each has its own rows and end.

What a member has by itself: training rows and their order, weights, dropout, loss, gradient and its clipping, the
optimizer's settings, validation rows, best epoch, patience. What it shares with the others: the kind of optimizer and
the schedule, as a factor on its own rate. A member whose patience is over leaves the stack, and the others go on with
less to compute.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from churnlib.data.rows_at_a_time import evaluation_rows
from churnlib.models.losses import TrainingLoss, cross_entropy
from churnlib.models.module import ChurnModule
from churnlib.models.network import ChurnNetwork
from churnlib.models.stacked import StackedMLP
from churnlib.training.stacked_data import Rows, Validation, learns
from churnlib.training.stacked_optimizer import OptimizerFactory, Portions


@dataclass(frozen=True, slots=True)
class Member:
    """How one network of several is trained.

    Attributes:
        network: With its initial weights; it gets those of its best epoch back.
        generator: Where the random numbers of its dropout start.
        loss: What it minimises.
        optimizer: From parameter groups to its optimizer, of the same class as the others'.
        settings: Equal for members whose optimizers have equal settings.
        clip: Largest norm of its gradient; None for any.
        patience: Epochs without a lower validation log loss until it stops; None for never.
        min_delta: Smaller gains do not count.
    """

    network: ChurnNetwork
    generator: torch.Generator
    loss: TrainingLoss
    optimizer: OptimizerFactory
    settings: Hashable = None
    clip: float | None = None
    patience: int | None = None
    min_delta: float = 0.0


class Stack(nn.Module):
    """The networks' layers, stacked; the input layers side by side, where they have something to learn.

    Args:
        networks: Of one shape; they are copied, and get their best weights back by :meth:`write_back`.
        generators: Of each network's dropout.
    """

    def __init__(self, networks: Sequence[ChurnNetwork], generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(copy.deepcopy(network.inputs) for network in networks if learns(network.inputs))
        self.body = StackedMLP([network.body for network in networks], generators)  # type: ignore[misc]
        self.n_members = len(networks)

    def forward(self, rows: Sequence[Rows]) -> Tensor:
        """Return logits, ``(members, n)`` or ``(members, n, n_classes)`` float32, of equally many rows each."""
        if len(self.inputs):
            x = torch.stack([inputs(*parts) for inputs, parts in zip(self.inputs, rows, strict=True)])
        else:
            x = torch.stack([parts[0] for parts in rows])
        with torch.autocast(x.device.type, enabled=False):
            logits = self.body(x.transpose(1, 2))
        return logits.squeeze(2) if logits.shape[2] == 1 else logits

    def write_back(self, place: int, network: ChurnNetwork) -> None:
        """Copy the weights of the member at a place into its network."""
        self.body.write_back(place, network.body)  # type: ignore[arg-type]
        if len(self.inputs):
            network.inputs.load_state_dict(self.inputs[place].state_dict())

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the members at these places alone."""
        self.body.keep(places, self.n_members)
        self.inputs = nn.ModuleList(self.inputs[place] for place in places if len(self.inputs))
        self.n_members = len(places)


class StackedModule(ChurnModule):
    """Trains several networks at once; afterwards each has the weights of its best epoch.

    Args:
        members: The networks, of one shape, and how each is trained.
        keep_best: Whether the weights of the best epoch are kept, or those of the last one.
        **options: Arguments of :class:`~churnlib.models.module.ChurnModule`.

    Attributes:
        curves: For each member what :attr:`ChurnModule.curve` says of a network alone, but for the areas under curves.
    """

    def __init__(self, members: Sequence[Member], *, keep_best: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.members = list(members)
        self.network = Stack(  # type: ignore[assignment]
            [member.network for member in members], [member.generator for member in members]
        )
        self.losses = nn.ModuleList(member.loss for member in members)
        self.keep_best = keep_best
        self.active = list(range(len(members)))
        self.curves: list[list[dict[str, float]]] = [[] for _ in members]
        self._lowest = [float("inf")] * len(members)
        self._to_beat = [float("inf")] * len(members)
        self._waited = [0] * len(members)

    @property
    def epochs(self) -> list[int]:
        """Epochs that each member was trained for."""
        return [len(curve) for curve in self.curves]

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return one optimizer for all, with groups for each settings."""
        stack: Any = self.network
        self._portions = Portions(list(stack.body.parameters()), [member.settings for member in self.members])
        return self._portions.optimizer(stack, stack.inputs, [member.optimizer for member in self.members])

    def on_train_epoch_start(self) -> None:
        """Tell the batches who takes part, and start the epoch."""
        self.trainer.train_dataloader.active = self.active  # type: ignore[union-attr]
        super().on_train_epoch_start()
        self._sums = torch.zeros(2, len(self.active), device=self.device)

    def _loss(self, batch: Sequence[Rows]) -> Tensor:
        """Return the sum of the members' losses: each gets the gradient that it would have alone."""
        stack: Any = self.network
        logits, label = stack([rows[:-1] for rows in batch]), torch.stack([rows[-1] for rows in batch])
        losses: list[Any] = [self.losses[member] for member in self.active]
        if all(loss.is_plain for loss in losses):
            each = cross_entropy(logits.flatten(0, 1), label.flatten()).view(label.shape).mean(1)
            log_loss = each.detach()
        else:
            each = torch.stack([loss(*rows).mean() for loss, *rows in zip(losses, logits, label, strict=True)])
            own = zip(losses, logits.detach(), label, strict=True)
            log_loss = torch.stack([loss.log_loss(*rows).mean() for loss, *rows in own])
        rows = label.shape[1]
        self._sums.add_(torch.stack([each.detach(), log_loss]), alpha=rows)
        self._rows += rows
        return each.sum()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip each member's gradient by its own norm, and hand the gradients to the optimizer's parameters."""
        limits = [self.members[member].clip for member in self.active]
        if any(limits):
            self._clip([math.inf if limit is None else limit for limit in limits])
        self._portions.hand_over()

    def _clip(self, limits: Sequence[float]) -> None:
        stack: Any = self.network
        gradients = [parameter.grad.view(stack.n_members, -1) for parameter in stack.body.parameters()]
        norms = [torch.linalg.vector_norm(gradient, dim=1) for gradient in gradients]
        inputs = [[parameter.grad for parameter in one.parameters()] for one in stack.inputs]
        if inputs:
            norms.append(torch.stack([torch.nn.utils.get_total_norm(own) for own in inputs]))
        # The formula of torch.nn.utils.clip_grad_norm_.
        norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)
        share = (norm.new_tensor(limits) / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(share[:, None])
        for place, own in enumerate(inputs):
            for gradient in own:
                gradient.mul_(share[place])

    def validation_step(self, batch: Validation, batch_idx: int) -> None:
        """Compute each member's log loss on its own validation rows."""
        rows = [batch.rows[member] for member in self.active]
        n, step = len(rows[0][0]), max(1, evaluation_rows(rows[0][0].shape[1]) // len(rows))
        stack: Any = self.network
        parts = [stack([tuple(part[i : i + step] for part in one[:-1]) for one in rows]) for i in range(0, n, step)]
        logits = torch.cat(parts, dim=1)
        self._val = []
        for place, member in enumerate(self.active):
            own = batch.counts[member]
            odds = self.losses[member].log_odds(logits[place, :own])  # type: ignore[operator]
            self._val.append(cross_entropy(odds, rows[place][-1][:own]).mean())

    def on_validation_epoch_end(self) -> None:
        """Log the mean, keep the weights that were never better, and let those stop who have waited long enough."""
        values = torch.stack(self._val).tolist()
        self.log("val/log_loss", sum(values) / len(values), prog_bar=True)
        means = (self._sums / self._rows).T.tolist()
        for place, (value, (loss, log_loss)) in enumerate(zip(values, means, strict=True)):
            self._note(place, {"train/loss": loss, "train/log_loss": log_loss, "val/log_loss": value})
        staying = [place for place, value in enumerate(values) if not self._is_over(self.active[place], value)]
        if not staying:
            self.trainer.should_stop = True
        elif len(staying) < len(self.active):
            stack: Any = self.network
            stack.keep(staying)
            self._portions.keep(staying, self.trainer.optimizers[0])
            self.active = [self.active[place] for place in staying]

    def on_train_epoch_end(self) -> None:
        """Log the mean of the members' losses."""
        self._loss_sum, self._log_loss_sum = self._sums.mean(1)
        super().on_train_epoch_end()

    def _note(self, place: int, figures: Mapping[str, float]) -> None:
        """Add an epoch to a member's curve, and keep its weights if they are the best so far."""
        member, stack, value = self.active[place], cast("Stack", self.network), figures["val/log_loss"]
        # As for a network alone, the first epoch is the best until another one is, even if it made nothing but NaN.
        if not self.keep_best or value < self._lowest[member] or not self.curves[member]:
            stack.write_back(place, self.members[member].network)
        self._lowest[member] = min(self._lowest[member], value if math.isfinite(value) else math.inf)
        rate = self._portions.rate(place, self.trainer.optimizers[0])
        self.curves[member].append({"epoch": self.current_epoch + 1, "learning_rate": rate, **figures})

    def _is_over(self, member: int, value: float) -> bool:
        """Return whether a member's patience is over, or it has lost its way; as Lightning's EarlyStopping counts."""
        options = self.members[member]
        if options.patience is None:
            return False
        if value + options.min_delta < self._to_beat[member]:
            self._to_beat[member], self._waited[member] = value, 0
        else:
            self._waited[member] += 1
        return self._waited[member] >= options.patience or not math.isfinite(value)
