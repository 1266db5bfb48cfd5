"""What failed attempts teach the next one: batches to skip, smaller micro-batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.training.checkpoint import State
from lesionlab.training.step import NonFiniteStep

MAX_RETRIES = 3  # after a loss or gradient that is not finite


@dataclass
class RecoveryState:
    """What failed attempts have taught the next one."""

    skipped: list[list[int]] = field(default_factory=list)  # [stage, epoch, step]
    micro_batches: dict[str, int] = field(default_factory=dict)  # by stage
    notes: list[str] = field(default_factory=list)

    def apply(self, state: State) -> None:
        """Lay them over the state that the next attempt begins with."""
        state.skipped += [place for place in self.skipped if place not in state.skipped]
        state.micro_batches |= self.micro_batches
        for line in self.notes:
            state.note(line)

    def skip(self, error: NonFiniteStep, folder: Path) -> str:
        """Leave out the batch whose step was not finite; `BadInput` after `MAX_RETRIES`."""
        where = "stage {}, epoch {}, step {}".format(*error.place)
        self.skipped.append(list(error.place))
        if len(self.skipped) > MAX_RETRIES:
            raise BadInput(
                f"the {error.what} was not finite {len(self.skipped)} times, last at {where}",
                where=str(folder),
                remedy="lower the learning rate (--set stages.0.max_lr=...) or clip gradients",
            ) from None
        self.notes.append(f"the {error.what} was not finite at {where}: that batch was skipped")
        return f"{self.notes[-1]}; continuing from the last checkpoint"

    def halve(self, settings: Settings, images: int, state: State, folder: Path) -> str:
        """Halve the micro-batch after memory ran out; the batch of a step stays the same.

        `images` are those of the training part.
        """
        stage = settings.stages[state.stage]
        _, planned = settings.batches(stage, images)
        now_at = state.micro_batches.get(stage.name, planned)
        if now_at < 4:
            raise BadInput(
                f"not enough memory even for micro-batches of {now_at}",
                where=str(folder),
                remedy="choose a smaller network or input size",
            ) from None
        self.micro_batches[stage.name] = now_at // 2
        self.notes.append(
            f"memory ran out in stage {stage.name}: micro-batches of {now_at // 2} instead of "
            f"{now_at} (batch norm sees fewer images)"
        )
        return self.notes[-1]
