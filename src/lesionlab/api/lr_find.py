"""`lesionlab.lr_find`: the learning-rate range test of a stage, with suggestions and a figure."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlab import extras, files
from lesionlab.errors import BadInput, nearest
from lesionlab.progress import SILENT, Progress

if TYPE_CHECKING:
    from lesionlab.config import Settings
    from lesionlab.training.lr_finder import RateCurve


def lr_find(
    dataset: Path | str,
    preset: str | Settings,
    out: Path | str,
    *,
    stage: str | None = None,
    overrides: Sequence[str] = (),
    weights: Path | str | None = None,
    start: str | None = None,
    device: str = "auto",
    threads: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Raise the rate from far too low to far too high and see what the loss does.

    `stage` is a stage of the preset (the first one); `start` (`RUN` or `RUN@STAGE`) the weights
    that it begins with. Writes `lr-find.svg` and `lr-find.csv` into the folder `out` and returns
    `{stage, suggestions: {steepest, minimum_10, valley, plateau}, auto, steps, figure, table}`.
    Judge the figure by eye: no rule is right for every curve.
    """
    from lesionlab.api.train import refuse_two_starts, stage_weights
    from lesionlab.reporting.rates import rate_figure

    refuse_two_starts(weights, start)
    extras.need_torch("lr_find")
    from lesionlab.config import with_overrides
    from lesionlab.experiments.presets import load_preset
    from lesionlab.training.device import choose_machine

    settings = load_preset(preset) if isinstance(preset, str) else preset
    settings = with_overrides(settings, overrides)
    names = [s.name for s in settings.stages]
    if stage is not None and stage not in names:
        raise BadInput(f"no stage '{stage}'", where="--stage", remedy=nearest(stage, names))
    number = 0 if stage is None else names.index(stage)
    machine = choose_machine(device, settings.precision, threads)
    began = stage_weights(start) if start else None
    folder = Path(out)
    files.refuse_existing(folder)
    curve = _curve(Path(dataset), settings, number, weights, began, machine, progress)
    if not len(curve.rates):
        raise BadInput(curve.fault, where=f"stages.{number}", remedy="start from other weights")
    title = f"{settings.name}, stage {names[number]}"
    with files.stage_folder(folder) as aside:
        figure = rate_figure(curve.rates, curve.losses, curve.suggestions, title)
        files.write_text(aside / "lr-find.svg", figure)
        files.write_text(aside / "lr-find.csv", _table(curve))
    return {
        "schema_version": 1,
        "stage": names[number],
        "suggestions": curve.suggestions,
        "auto": curve.suggestions["valley"] or curve.suggestions["minimum_10"],
        "steps": len(curve.rates),
        "figure": str(folder / "lr-find.svg"),
        "table": str(folder / "lr-find.csv"),
    }


def _curve(
    dataset: Path,
    settings: Settings,
    number: int,
    weights: Path | str | None,
    start: Path | None,
    machine: Any,
    progress: Progress,
) -> RateCurve:
    import torch

    from lesionlab.data.clinical_metadata import fit_coding
    from lesionlab.training.begin import (
        decide_input,
        initial_network,
        refuse_impossible,
        starts_from,
    )
    from lesionlab.training.checkpoint import State
    from lesionlab.training.prepared_stage import StageResources, batches, rate_curve, stage_inputs
    from lesionlab.training.setup import open_parts

    parts = open_parts(dataset)
    refuse_impossible(settings, parts)
    settings, chosen, lines = decide_input(settings, weights, start, progress)
    facts = settings.model.metadata
    coding = fit_coding(parts.dataset.table.iloc[parts.train], facts) if facts else None
    network, _, said = initial_network(settings, parts, coding, chosen, start)
    for line in (starts_from(settings, chosen, start), *lines, *said):
        progress.say(line)
    network.to(machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with tempfile.TemporaryDirectory() as folder:
        resources = StageResources(
            Path(folder), settings, parts, coding, network, machine, progress
        )
        state = State()
        inputs = stage_inputs(resources, number, state)
        batch, micro = batches(resources, settings.stages[number], state)
        return rate_curve(resources, number, inputs, batch, micro)


def _table(curve: RateCurve) -> str:
    buffer = io.StringIO()
    buffer.write("rate,smoothed_loss\n")
    for rate, loss in zip(curve.rates, curve.losses, strict=True):
        buffer.write(f"{rate:.6e},{loss:.6f}\n")
    return buffer.getvalue()
