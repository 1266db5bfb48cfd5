"""`lesionlab.demo`: the whole path on synthetic lesions, so that a person sees it work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lesionlab import extras, files
from lesionlab.progress import SILENT, Progress

LESIONS = 600
STAGES = ("import", "audit", "split", "train", "evaluate", "export", "predict")


def demo(
    out: Path | str = "lesionlab-demo", *, seed: int = 0, progress: Progress = SILENT
) -> dict[str, Any]:
    """Draw a synthetic data set, then audit, split, train, evaluate, export and predict.

    Everything lies under `out`, which must not exist. Returns `{out, synthetic, seconds:
    {stage: s}, test: {n, unit, resampled, metrics}, prediction, paths: {data, audit, report,
    bundle, prediction}}`. Raises `BadInput` without the extra `train`. The images are drawn by a
    program: no figure here says anything about skin.
    """
    from lesionlab.api.audit import audit
    from lesionlab.api.evaluate import evaluate
    from lesionlab.api.export import export
    from lesionlab.api.import_dataset import import_dataset
    from lesionlab.api.predict import predict
    from lesionlab.api.split import split
    from lesionlab.api.train import train

    extras.need_torch("demo")
    out = Path(out)
    files.refuse_existing(out)
    data, run, bundle, answer = out / "data", out / "run", out / "bundle", out / "prediction.json"
    clock = Clock(progress)
    progress.say("A program draws the lesions of this demo. The numbers say nothing about skin.")
    with clock.stage("import"):
        import_dataset("synthetic", None, data, lesions=LESIONS, seed=seed, progress=progress)
    with clock.stage("audit"):
        page = audit(data, progress=progress)["html"]
    with clock.stage("split"):
        split(data, test=0.2, valid=0.2, seed=seed)
    with clock.stage("train"):
        # Pictures of 64 pixels are too small to be shared out over threads.
        train(data, "demo", run, seed=seed, threads=1, progress=progress)
    with clock.stage("evaluate"):
        measured = evaluate(run, split="test", progress=progress)
    with clock.stage("export"):
        export(run, bundle, progress=progress)
    with clock.stage("predict"):
        prediction = predict(bundle, one_image(data), progress=progress)
        files.write_json(answer, prediction)
    return {
        "schema_version": 1,
        "out": str(out),
        "synthetic": True,
        "seconds": clock.seconds,
        "test": {key: measured[key] for key in ("n", "unit", "resampled", "metrics")},
        "prediction": prediction["predictions"][0],
        "paths": {
            "data": str(data / "manifest.csv"),
            "audit": page,
            "report": str(run / "report.html"),
            "bundle": str(bundle / "MODEL_CARD.md"),
            "prediction": str(answer),
        },
    }


class Clock:
    """Says which stage begins, and keeps how long each took."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage."""
        self.progress.say(f"[{STAGES.index(name) + 1}/{len(STAGES)}] {name}")
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 1)


def one_image(data: Path) -> Path:
    """The first image of the test part: one that the network has not seen."""
    from lesionlab.data.manifest import read_dataset

    dataset = read_dataset(data)
    return dataset.image_path(str(dataset.part("test")["path"].iloc[0]))
