"""Train by a preset, and go on with an interrupted run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlab import extras, files
from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress

if TYPE_CHECKING:
    from lesionlab.config import Settings
    from lesionlab.run_folder import Run
    from lesionlab.training.device import Machine


def train(
    dataset: Path | str,
    preset: str | Settings,
    out: Path | str,
    *,
    overrides: Sequence[str] = (),
    weights: Path | str | None = None,
    start: str | None = None,
    epochs: int | None = None,
    lr: float | str | None = None,
    seed: int | None = None,
    device: str = "auto",
    threads: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train on a split data set into a new run folder.

    `preset` is a name, the path of a TOML file, or `Settings`; `overrides` are
    `key.sub=value` assignments; `weights` is a weights file (.safetensors, .pth, .onnx), a folder
    of such, or "auto" (an installed package, a cache folder, the hub), the default where the
    preset asks for pre-trained weights; `start` is `RUN` or `RUN@STAGE`; `epochs` caps every
    stage; `lr` is the rate of every stage, or "auto": found by a range test at its start.
    Returns `{run, best_epoch, epochs, monitor, best_value, valid: {metric: {value, low, high}},
    images_per_second, notes, ...}`; `best_epoch` counts from 0 over all stages, as `history.csv`
    does, and `best_value` is the monitor there, before the temperature was fitted. A note says
    where the run is not bit-exact, and why.
    Raises `BadInput` for what the user can mend.
    """
    refuse_two_starts(weights, start)
    extras.need_torch("train")
    from lesionlab.config import with_max_epochs, with_overrides
    from lesionlab.experiments.presets import load_preset
    from lesionlab.training.device import choose_machine
    from lesionlab.training.train import train as run_training

    settings = load_preset(preset) if isinstance(preset, str) else preset
    settings = with_overrides(settings, overrides)
    if seed is not None:
        settings = settings.model_copy(update={"seed": seed})
    if epochs is not None:
        settings = with_max_epochs(settings, epochs)
    if lr is not None:
        rates = [f"stages.{n}.max_lr={lr}" for n in range(len(settings.stages))]
        settings = with_overrides(settings, rates, "--lr")
    machine = choose_machine(device, settings.precision, threads)
    began = stage_weights(start) if start else None
    run = run_training(
        Path(dataset),
        settings,
        Path(out),
        weights=weights,
        start=began,
        machine=machine,
        progress=progress,
    )
    return _answer(run, machine, progress)


def resume(
    run: Path | str,
    *,
    data: Path | str | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Go on with an interrupted run, exactly where it stopped; the same result as `train`.

    `data` is the dataset folder, where it has moved. Another `device` or number of `threads`
    than the run began with is said to be "not bit-exact", and why.
    """
    extras.need_torch("resume")
    from lesionlab.run_folder import read_run
    from lesionlab.training.device import choose_machine
    from lesionlab.training.train import resume as resume_training

    config = read_run(Path(run)).config
    machine = choose_machine(
        device or config.device,
        config.settings.precision if device else config.precision,
        config.threads if threads is None else threads,
    )
    folder = None if data is None else Path(data)
    finished = resume_training(Path(run), dataset_folder=folder, machine=machine, progress=progress)
    return _answer(finished, machine, progress)


def _answer(run: Run, machine: Machine, progress: Progress) -> dict[str, Any]:
    """The result; nothing from the other processes of several."""
    from lesionlab.training.distributed import leave_ranks

    leave_ranks(machine.ranks)
    return result_of(run, progress) if machine.ranks.first else {}


def refuse_two_starts(weights: Path | str | None, start: str | None) -> None:
    """`BadInput` where both a weights file and another run are to give the first weights."""
    if start is not None and weights is not None:
        raise BadInput(
            "weights of another run and weights of a file cannot be combined",
            where=f"--weights {weights} --from {start}",
            remedy="give one of the two",
        )


def stage_weights(start: str) -> Path:
    """The weights file of `RUN` (its best) or `RUN@STAGE` (at the end of that stage)."""
    from lesionlab.errors import nearest
    from lesionlab.run_folder import BEST

    if (Path(start) / BEST).is_file():  # a folder may have an @ in its name
        return Path(start) / BEST
    if Path(start).is_file():
        raise BadInput("is a file, not a run", where=f"--from {start}", remedy=_instead(start))
    folder, sign, stage = start.rpartition("@")
    folder = folder if sign else start
    stages = {p.stem: p for p in sorted(Path(folder).glob("stages/*.safetensors"))}
    if not sign or stage not in stages:
        hint = nearest(stage if sign else "", stages) if stages else "give RUN or RUN@STAGE"
        raise BadInput("no such stage or run", where=f"--from {start}", remedy=hint)
    return stages[stage]


def _instead(start: str) -> str:
    """What to type for a file: the stage of the run that it lies in, or `--weights`."""
    from lesionlab.run_folder import BEST, STAGES

    file = Path(start)
    run = file.parent.parent
    if file.suffix == ".safetensors" and file.parent.name == STAGES and (run / BEST).is_file():
        return f"give --from {run}@{file.stem}"
    if file.name == BEST:
        return f"give --from {file.parent}"
    return f"give --weights {start}, or --from RUN"


def result_of(run: Run, progress: Progress) -> dict[str, Any]:
    """Measure a finished run on validation, with intervals, and keep `metrics-valid.json`."""
    from lesionlab.evaluation.bootstrap import Resampling
    from lesionlab.evaluation.evaluate import evaluate_predictions
    from lesionlab.evaluation.predictions import read_predictions
    from lesionlab.run_folder import SUMMARY, read_history
    from lesionlab.training.run_calibration import read_calibration

    predictions = read_predictions(run.predictions_path("valid"))
    calibration = read_calibration(run)
    evaluation = evaluate_predictions(
        predictions,
        malignant=run.config.dataset.malignant,
        prior=calibration.prior,
        resampling=Resampling(progress=progress),
    ).to_json()
    summary = files.read_json(run.folder / SUMMARY)
    return {
        "run": str(run.folder),
        "best_epoch": summary["best_epoch"],
        "epochs": len(read_history(run.folder)),
        "monitor": summary["monitor"],
        "best_value": summary["best_value"],
        "valid": evaluation["metrics"],
        "n": evaluation["n"],
        "resampled": evaluation["resampled"],
        "images_per_second": summary["images_per_second"],
        "leaky": run.config.dataset.leaky,
        "notes": [*summary["notes"], *calibration.notes],
    }
