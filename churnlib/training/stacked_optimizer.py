"""One optimizer for stacked networks that learn with settings of their own.

An optimizer reads its settings (learning rate, decay, momentum, ...) group by group. So members with other settings
need parameters of their own: views of their part of the stack's, which a step moves with them. Neighbours with equal
settings have theirs together, a *portion*; folds and seeds of one configuration are one portion, and cost what a single
network costs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from churnlib.models.parameter_groups import parameter_groups, scaled
from churnlib.models.stacked import take_members

OptimizerFactory = Callable[[Any], torch.optim.Optimizer]


class Portions:
    """The parameters of stacked members as an optimizer gets them.

    Args:
        shared: Parameters whose first axis holds the members, or the members' columns one after the other.
        settings: Of each member; equal ones for equal settings.
    """

    def __init__(self, shared: Sequence[nn.Parameter], settings: Sequence[Hashable]) -> None:
        self.sizes = [len(list(equal)) for _, equal in groupby(settings)]
        self.views = {parameter: list(map(nn.Parameter, self._split(parameter.data))) for parameter in shared}

    def _split(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Return each portion's part, ``(members, numbers)``, as a view."""
        return tensor.view(sum(self.sizes), -1).split(self.sizes)

    def optimizer(
        self, network: nn.Module, own: Sequence[nn.Module], factories: Sequence[OptimizerFactory]
    ) -> torch.optim.Optimizer:
        """Return one optimizer of one class, in which each portion has its groups.

        Args:
            network: Of which all parameters are.
            own: A module of each member with parameters that are its alone; empty if no member has any.
            factories: From parameter groups to an optimizer, of each member.
        """
        groups = parameter_groups(network)
        starts = [sum(self.sizes[:place]) for place in range(len(self.sizes))]
        found = []
        for place, (start, size) in enumerate(zip(starts, self.sizes, strict=True)):
            mine = {parameter for module in own[start : start + size] for parameter in module.parameters()}
            parts = [{**group, "params": self._of_portion(group["params"], place, mine)} for group in groups]
            found.append(scaled(factories[start]([part for part in parts if part["params"]])))
        optimizer = found[0]
        for other in found[1:]:
            for group in other.param_groups:
                optimizer.add_param_group(group)
        return optimizer

    def _of_portion(self, parameters: Sequence[nn.Parameter], place: int, own: set[nn.Parameter]) -> list[nn.Parameter]:
        shared = [self.views[one][place] for one in parameters if one in self.views]
        return shared + [one for one in parameters if one in own]

    def rate(self, member: int, optimizer: torch.optim.Optimizer) -> float:
        """Return the learning rate that a member has at present."""
        portion = [place for place, size in enumerate(self.sizes) for _ in range(size)][member]
        view = next(iter(self.views.values()))[portion]
        return next(float(group["lr"]) for group in optimizer.param_groups if view in set(group["params"]))

    def hand_over(self) -> None:
        """Give the views the gradients of what they are part of; the next backward pass starts from none."""
        for parameter, views in self.views.items():
            assert parameter.grad is not None
            for view, gradient in zip(views, self._split(parameter.grad), strict=True):
                view.grad = gradient
            parameter.grad = None

    def keep(self, places: Sequence[int], optimizer: torch.optim.Optimizer) -> None:
        """Go on with the members at these places alone, whose parameters have been made smaller already."""
        before, starts = self.sizes, [sum(self.sizes[:place]) for place in range(len(self.sizes))]
        chosen = [
            [place - start for place in places if start <= place < start + size]
            for start, size in zip(starts, before, strict=True)
        ]
        self.sizes = [len(own) for own in chosen if own]
        gone: set[nn.Parameter] = set()
        for parameter, views in self.views.items():
            gone |= {view for view, own in zip(views, chosen, strict=True) if not own}
            for view, own, size in zip(views, chosen, before, strict=True):
                state = optimizer.state.get(view, {})
                for name, value in state.items():
                    if torch.is_tensor(value) and value.shape == view.shape:
                        state[name] = take_members(value, own, size)
            self.views[parameter] = [view for view in views if view not in gone]
            for view, part in zip(self.views[parameter], self._split(parameter.data), strict=True):
                view.data, view.grad = part, None
        for group in optimizer.param_groups:
            # An empty group stays: schedules count groups.
            group["params"] = [parameter for parameter in group["params"] if parameter not in gone]
        for parameter in gone:
            optimizer.state.pop(parameter, None)
