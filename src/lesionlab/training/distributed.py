"""Several processes (torchrun): each takes whole micro-batches; the curve is that of one.

Rank r computes micro-batches r, r + world, ... of each step. Gradients are summed, batch-norm
statistics of all micro-batches are applied in their order on every rank, so all ranks hold the
same bits; they differ from one process by the rounding of the sums alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeGuard

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lesionlab.array_types import Float32, Rows

PATIENCE = timedelta(minutes=30)  # how long a rank waits for one that hangs


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run. Alone, every method costs nothing."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes the files and speaks to the person."""
        return self.rank == 0

    def deals(self, number: int) -> bool:
        """Whether this one computes micro-batch `number` of a step."""
        return number % self.world == self.rank

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            dist.barrier()

    def total(self, *values: float) -> list[float]:
        """The sums of the values over all ranks, the same bits on each."""
        if self.world == 1:
            return list(values)
        together = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(together)
        return together.tolist()

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Every rank then holds the gradient of the whole step."""
        if self.world == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:  # a rank without a micro-batch in this step
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None])
        dist.all_reduce(flat)
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            # In the parameter's own memory format: fused optimisers walk both alike.
            parameter.grad.copy_(flat[start:end].view_as(parameter))  # type: ignore[union-attr]
            start = end

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Every rank then holds the first one's values."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def mine(self, rows: Rows) -> Rows:
        """The rows that this rank computes; `gathered` puts the results together."""
        return rows[self.rank :: self.world]

    def gathered(self, values: Float32, n: int) -> Float32:
        """(n, ...) from each rank's values for `mine(rows)`, in the order of `rows`."""
        if self.world == 1:
            return values
        parts: list[Float32 | None] = [None] * self.world
        dist.all_gather_object(parts, values)
        whole = np.empty((n, *values.shape[1:]), values.dtype)
        for rank, part in enumerate(parts):
            whole[rank :: self.world] = part
        return whole


ALONE = Ranks()


def join_ranks(device: str) -> Ranks:
    """This process's place, as torchrun tells it by the environment; `ALONE` without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return ALONE
    if not dist.is_initialized():
        backend = "gloo"
        if device.startswith("cuda"):
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            backend = "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, timeout=PATIENCE)
    return Ranks(dist.get_rank(), world)


def leave_ranks(ranks: Ranks) -> None:
    """The end of the group, when all have come to it."""
    if ranks.world > 1 and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def is_lost_peer(error: BaseException) -> bool:
    """Whether an error of a collective says that another process is gone."""
    words = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo")
    return isinstance(error, dist.DistError) or any(w in str(error) for w in words)


class StatisticsInOrder:
    """Batch-norm statistics of one step's micro-batches, applied as one process would."""

    def __init__(self, network: nn.Module, ranks: Ranks) -> None:
        self.ranks = ranks
        self.layers: list[_BatchNorm] = []
        if ranks.world > 1:
            self.layers = [m for m in network.modules() if _gathers(m)]
        self.before = [(m.running_mean.clone(), m.running_var.clone()) for m in self.layers]  # type: ignore[union-attr]
        self.seen: list[Tensor] = []  # of each micro-batch of this rank

    @contextmanager
    def caught(self) -> Iterator[None]:
        """A forward pass after which the running statistics are those of its batch alone."""
        momenta = [m.momentum for m in self.layers]
        for layer in self.layers:
            layer.momentum = 1.0
        try:
            yield
        finally:
            for layer, momentum in zip(self.layers, momenta, strict=True):
                layer.momentum = momentum
        if self.layers:
            pairs = [(m.running_mean, m.running_var) for m in self.layers]
            self.seen.append(torch.cat([t.reshape(-1) for p in pairs for t in p]).cpu())  # type: ignore[union-attr]

    def apply(self, micro_batches: int) -> None:
        """Lay the statistics of all micro-batches over those before the step, in order."""
        if not self.layers:
            return
        every: list[list[Tensor] | None] = [None] * self.ranks.world
        dist.all_gather_object(every, self.seen)
        for number in range(micro_batches):
            seen = every[number % self.ranks.world]
            assert seen is not None
            self._lay(seen[number // self.ranks.world])
        for layer, (mean, variance) in zip(self.layers, self.before, strict=True):
            layer.running_mean.copy_(mean)  # type: ignore[union-attr]
            layer.running_var.copy_(variance)  # type: ignore[union-attr]
            own = len(self.seen)  # what the forward passes of this rank have counted already
            layer.num_batches_tracked.add_(micro_batches - own)  # type: ignore[union-attr]

    def _lay(self, flat: Tensor) -> None:
        start = 0
        for layer, pair in zip(self.layers, self.before, strict=True):
            share = float(layer.momentum or 0)
            for kept in pair:
                end = start + kept.numel()
                kept.mul_(1 - share).add_(flat[start:end].to(kept.device), alpha=share)
                start = end


def _gathers(module: nn.Module) -> TypeGuard[_BatchNorm]:
    """Whether a layer updates running statistics in this step."""
    return (
        isinstance(module, _BatchNorm)
        and module.training
        and module.track_running_stats
        and module.momentum is not None
    )
