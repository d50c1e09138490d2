"""Training several networks of one shape in one pass: one Lightning run, in which each has its own rows and end.

What a member has by itself: training rows and their order, weights, dropout, gradient and its clipping, validation
rows, best epoch, patience. What it shares with the others: the optimizer's settings and the schedule. A member whose
patience is over leaves the stack, and the others go on with less to compute.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from churnlib.data.rows_at_a_time import evaluation_rows
from churnlib.models.losses import TrainingLoss, cross_entropy
from churnlib.models.module import ChurnModule
from churnlib.models.network import ChurnNetwork
from churnlib.models.stacked import StackedMLP, take_members
from churnlib.training.stacked_data import Rows, Validation, learns


class Stack(nn.Module):
    """The networks' layers, stacked; the input layers side by side, where they have something to learn.

    Args:
        networks: Of one shape; they are copied, and get their best weights back by :meth:`write_back`.
    """

    def __init__(self, networks: Sequence[ChurnNetwork]) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(copy.deepcopy(network.inputs) for network in networks if learns(network.inputs))
        self.body = StackedMLP([network.body for network in networks])  # type: ignore[misc]
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

    @torch.no_grad()
    def keep(self, places: Sequence[int], optimizer: torch.optim.Optimizer) -> None:
        """Go on with the members at these places alone."""
        for tensor in (*self.body.parameters(), *self.body.buffers()):
            state = optimizer.state.get(tensor, {})
            for name, value in state.items():
                if torch.is_tensor(value) and value.shape == tensor.shape:
                    state[name] = take_members(value, places, self.n_members)
            tensor.grad = None
            tensor.data = take_members(tensor.data, places, self.n_members)
        self.inputs = nn.ModuleList(self.inputs[place] for place in places if len(self.inputs))
        self.n_members = len(places)


class StackedModule(ChurnModule):
    """Trains several networks at once; afterwards each has the weights of its best epoch.

    Args:
        networks: Of one shape, with their initial weights.
        losses: One for each.
        patience: Epochs without a lower validation log loss until a member stops; None for never.
        min_delta: Smaller gains do not count.
        keep_best: Whether the weights of the best epoch are kept, or those of the last one.
        **options: Arguments of :class:`~churnlib.models.module.ChurnModule`.

    Attributes:
        epochs: Epochs that each member was trained for.
        log_losses: Validation log losses of each member, epoch by epoch.
    """

    def __init__(
        self,
        networks: Sequence[ChurnNetwork],
        losses: Sequence[TrainingLoss],
        *,
        patience: int | None,
        min_delta: float = 0.0,
        keep_best: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.networks = list(networks)
        self.network = Stack(networks)  # type: ignore[assignment]
        self.losses = nn.ModuleList(losses)
        self.patience = patience
        self.min_delta = min_delta
        self.keep_best = keep_best
        self.active = list(range(len(networks)))
        self.log_losses: list[list[float]] = [[] for _ in networks]
        self._to_beat = [float("inf")] * len(networks)
        self._waited = [0] * len(networks)

    @property
    def epochs(self) -> list[int]:
        """Epochs that each member was trained for."""
        return [len(values) for values in self.log_losses]

    def on_train_epoch_start(self) -> None:
        """Tell the batches who takes part, and start the epoch."""
        self.trainer.train_dataloader.active = self.active  # type: ignore[union-attr]
        super().on_train_epoch_start()

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
        self._loss_sum.add_(each.detach().mean(), alpha=rows)
        self._log_loss_sum.add_(log_loss.mean(), alpha=rows)
        self._rows += rows
        return each.sum()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip each member's gradient by its own norm."""
        limit = self.trainer.gradient_clip_val
        if not limit:
            return
        stack: Any = self.network
        gradients = [parameter.grad.view(stack.n_members, -1) for parameter in stack.body.parameters()]
        norms = [torch.linalg.vector_norm(gradient, dim=1) for gradient in gradients]
        inputs = [[parameter.grad for parameter in one.parameters()] for one in stack.inputs]
        if inputs:
            norms.append(torch.stack([torch.nn.utils.get_total_norm(own) for own in inputs]))
        # The formula of torch.nn.utils.clip_grad_norm_.
        share = (limit / (torch.linalg.vector_norm(torch.stack(norms), dim=0) + 1e-6)).clamp(max=1.0)
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
        staying = [place for place, value in enumerate(values) if not self._is_over(place, value)]
        if not staying:
            self.trainer.should_stop = True
        elif len(staying) < len(self.active):
            stack: Any = self.network
            stack.keep(staying, self.trainer.optimizers[0])
            self.active = [self.active[place] for place in staying]

    def _is_over(self, place: int, value: float) -> bool:
        """Note a member's log loss, and say whether its patience is over."""
        member, stack = self.active[place], cast("Stack", self.network)
        before = self.log_losses[member]
        if not self.keep_best or value < min(before, default=float("inf")):
            stack.write_back(place, self.networks[member])
        before.append(value)
        # As Lightning's EarlyStopping counts.
        if value + self.min_delta < self._to_beat[member]:
            self._to_beat[member], self._waited[member] = value, 0
        else:
            self._waited[member] += 1
        return self.patience is not None and self._waited[member] >= self.patience
