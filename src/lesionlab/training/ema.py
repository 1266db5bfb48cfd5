"""Exponential moving average of the weights: what is validated, kept and deployed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The average of a network's weights and statistics; without `decay` the network itself.

    The decay warms up: min(decay, (1 + t) / (10 + t)) after t steps, so that the random start is
    soon forgotten.
    """

    def __init__(
        self, network: nn.Module, decay: float | None, saved: Mapping[str, Tensor] | None = None
    ) -> None:
        self.decay = decay
        self.own = dict(network.state_dict())  # shares memory with the network, and so stays true
        start = saved or self.own
        self.kept = (
            {k: torch.empty_like(v).copy_(start[k]) for k, v in self.own.items()} if decay else {}
        )

    def update(self, steps_done: int, names: tuple[str, ...] | None = None) -> None:
        """One step; `names` are those that can have moved (default: all)."""
        if self.decay is None:
            return
        keep = min(self.decay, (1 + steps_done) / (10 + steps_done))
        chosen = self.own if names is None else names
        floats = [n for n in chosen if self.own[n].is_floating_point()]
        torch._foreach_lerp_(
            [self.kept[n] for n in floats], [self.own[n].detach() for n in floats], 1 - keep
        )
        for name in set(chosen) - set(floats):
            self.kept[name].copy_(self.own[name])

    @contextmanager
    def shown(self) -> Iterator[None]:
        """A context in which the network holds the average."""
        if self.decay is None:
            yield
            return
        aside = {k: v.clone() for k, v in self.own.items()}
        self._fill(self.kept)
        try:
            yield
        finally:
            self._fill(aside)

    def take(self, prefix: str) -> None:
        """The network's own values for the names that begin with `prefix`."""
        for name, value in self.kept.items():
            if name.startswith(prefix):
                value.copy_(self.own[name])

    def restart(self) -> None:
        """Begin again from the network as it is."""
        for name, value in self.kept.items():
            value.copy_(self.own[name])

    def mend(self) -> bool:
        """Restart where the average holds NaN and the network does not; whether it did."""
        broken = not all_finite(self.kept) and all_finite(self.own)
        if broken:
            self.restart()
        return broken

    def _fill(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in self.own.items():
                value.copy_(values[name])


def all_finite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether no tensor holds NaN or infinity."""
    return all(bool(t.isfinite().all()) for t in tensors.values() if t.is_floating_point())
