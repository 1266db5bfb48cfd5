"""Training speed beside what people use, measured in one run on one machine.

    python bench/training_speed.py data/ham --weights mobilenetv2.safetensors --work SCRATCH
    python bench/training_speed.py --work SCRATCH --report docs/benchmarks.md

The first command makes an environment for each peer under SCRATCH (a few GB of downloads), then
does the jobs of PIECES, each in a process of its own, only one of which measures at any time. A
job that has its result is not repeated; `--seconds` begins no further job after so long. `--quiet`
counts at real-time priority (Linux, root), so that other work on the machine does not count.
The trial: MobileNetV2, 224 px, batch 64, flips and lighting, the data set's own lesion-grouped
split; all peers see the same 1,280 training images and the same weights.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from lesionlab.numerics import VARIABLES

HERE = Path(__file__).parent / "peers"
SEEDS = (0, 1, 2)
KEPT = Path(__file__).parent / "results" / "training-speed.json"


@dataclass(frozen=True)
class Piece:
    """One process: a peer's script and its job."""

    peer: str
    job: str
    precision: str = "float32"
    variant: str = ""
    seed: int = 0

    @property
    def name(self) -> str:
        """Of its result file."""
        parts = (self.peer, self.job, self.precision, self.variant or "usual", str(self.seed))
        return "_".join(parts)


SCRIPTS = {"ours": "ours.py", "torch": "torch_peer.py", "keras": "keras_peer.py",
           "fastai": "fastai_peer.py"}  # fmt: skip
OWN_ENVIRONMENT = ("keras", "fastai")
PIECES = (
    Piece("ours", "speed", "bfloat16"),
    Piece("keras", "speed"),
    Piece("keras", "frozen-speed"),
    Piece("fastai", "speed"),
    Piece("torch", "speed", "bfloat16"),
    Piece("ours", "frozen-stage", "bfloat16", "some"),  # the trial's images only
    Piece("ours", "frozen-stage", "bfloat16", "cold"),
    Piece("ours", "frozen-stage", "bfloat16", "warm"),
    Piece("fastai", "frozen-speed"),
    Piece("keras", "speed", variant="xla"),
    Piece("keras", "speed", "bfloat16"),
    Piece("keras", "frozen-speed", "bfloat16"),
    Piece("ours", "speed"),
    *(Piece("ours", "quality", "bfloat16", seed=s) for s in SEEDS),
    *(Piece("keras", "quality", seed=s) for s in SEEDS),
    *(Piece("torch", "quality", "bfloat16", seed=s) for s in SEEDS),
    Piece("torch", "frozen-speed", "bfloat16"),
    Piece("torch", "speed", "bfloat16", "compiled"),
    Piece("ours", "speed", "bfloat16", "compiled"),
    *(Piece("fastai", "quality", seed=s) for s in SEEDS),
)


def main() -> None:
    """Make the trial and the environments, do what is not done, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", type=Path, nargs="?", help="HAM10000, split by lesion")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="a scratch folder")
    parser.add_argument("--only", nargs="*", default=[], help="words that a piece's name holds")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--piece-seconds", type=float, default=900, help="a job is given up after")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=1280, help="of the trial's training part")
    parser.add_argument("--tuned-epochs", type=int, default=3, help="after 10 frozen ones")
    parser.add_argument("--steps", type=int, default=17, help="that are counted, of 64 images")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--together", type=int, default=1, help="processes; one measures at a time")
    parser.add_argument("--lock", type=Path, help="a lock file shared with other work")
    parser.add_argument("--report", type=Path, help="put the tables into this page")
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="further scratch folders")
    options = parser.parse_args()
    results = options.work / "results"
    if options.report:
        from training_speed_report import write_page

        keep([options.work, *options.also])
        write_page(KEPT, options.report)
        return
    if options.dataset is None or options.weights is None:
        parser.error("a data set and --weights are needed")
    results.mkdir(parents=True, exist_ok=True)
    trial = make_trial(options)
    ends = time.monotonic() + options.seconds
    wanted = [p for p in PIECES if set(options.only) <= set(p.name.split("_"))]
    for peer in {p.peer for p in wanted}:
        environment(peer, options.work)
    with ThreadPoolExecutor(options.together) as pool:
        list(pool.map(lambda piece: do(piece, trial, ends, options), wanted))


def do(piece: Piece, trial: Path, ends: float, options: argparse.Namespace) -> None:
    """One piece in its own process and environment, unless its result is there."""
    out = options.work / "results" / f"{piece.name}.json"
    if out.is_file() or time.monotonic() > ends:
        return
    python = environment(piece.peer, options.work)
    words = [str(python), str(HERE / SCRIPTS[piece.peer]), "--trial", str(trial)]
    words += ["--job", piece.job, "--precision", piece.precision, "--seed", str(piece.seed)]
    words += ["--threads", str(options.threads), "--out", str(out)]
    words += ["--variant", piece.variant] if piece.variant else []
    words += ["--quiet"] if options.quiet else []
    hidden = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(options.threads)}
    hidden["TRAINING_SPEED_LOCK"] = str(options.lock or options.work / "measuring.lock")
    if piece.peer == "ours":  # as its command line asks before it loads torch
        hidden |= VARIABLES
    began = time.monotonic()
    log = out.with_suffix(".log")
    with log.open("w", encoding="utf-8") as stream:
        said = ended(words, {**os.environ, **hidden}, stream, options.piece_seconds)
    said = said or f"FAILED, see {log}"
    print(f"{piece.name}: {said} in {time.monotonic() - began:.0f} s", flush=True)


def ended(words: list[str], env: dict[str, str], stream: IO[str], seconds: float) -> str:
    """How a job's process ended; empty where it failed."""
    try:
        done = subprocess.run(words, env=env, stdout=stream, stderr=stream, timeout=seconds)
    except subprocess.TimeoutExpired:
        return "GIVEN UP"
    return "" if done.returncode else "done"


def environment(peer: str, work: Path) -> Path:
    """The peer's python; its environment is made from its list of requirements once."""
    if peer not in OWN_ENVIRONMENT:
        return Path(sys.executable)
    folder = work / "environments" / peer
    python = folder / "bin" / "python"
    if not python.is_file():
        if shutil.which("uv") is None:
            raise SystemExit("the peers' environments are made with uv, which is not here")
        subprocess.run(["uv", "venv", "-q", "--python", sys.executable, str(folder)], check=True)
        needed = ["-r", str(HERE / f"{peer}.txt")]
        subprocess.run(["uv", "pip", "install", "-q", "--python", python, *needed], check=True)
    return python


def make_trial(options: argparse.Namespace) -> Path:
    """`trial.json` and two data set folders: the trial's rows, and all of train and valid."""
    work, weights = options.work, options.weights
    path: Path = work / "trial.json"
    if path.is_file():
        return path
    from lesionlab.data.manifest import read_dataset

    dataset = read_dataset(options.dataset)
    table = dataset.table.sort_values("image_id").reset_index(drop=True)
    train = np.flatnonzero(table["split"] == "train")
    valid = np.flatnonzero(table["split"] == "valid")
    some = np.sort(np.random.default_rng(0).permutation(train)[: options.images])
    classes = sorted(dataset.info.classes)
    rows = {"train": some, "valid": valid}
    trial = {
        "classes": classes,
        "size": 224,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "weights": str(weights.resolve()),
        "steps": options.steps,
        "frozen_epochs": 10,
        "tuned_epochs": options.tuned_epochs,
        "dataset": part_of(dataset, np.concatenate([some, valid]), work / "some"),
        "whole": part_of(dataset, np.concatenate([train, valid]), work / "whole"),
        "whole_images": {"train": len(train), "valid": len(valid)},
        "probe": str(work / "probe.npz"),
    }
    for name, chosen in rows.items():
        trial[name] = [
            [str(dataset.image_path(p).resolve()), classes.index(label)]
            for p, label in table.iloc[chosen][["path", "label"]].itertuples(index=False)
        ]
    write_probe(trial)
    path.write_text(json.dumps(trial), encoding="utf-8")
    return path


def part_of(dataset: object, rows: np.ndarray, folder: Path) -> str:
    """A data set folder of some rows; its images are a link to the real ones."""
    from lesionlab.data.manifest import Dataset, write_dataset

    assert isinstance(dataset, Dataset)
    table = dataset.table.sort_values("image_id").reset_index(drop=True)
    folder.mkdir(parents=True)
    (folder / "images").symlink_to((dataset.folder / "images").resolve())
    write_dataset(Dataset(folder, table.iloc[np.sort(rows)].reset_index(drop=True), dataset.info))
    return str(folder)


def write_probe(trial: dict[str, object]) -> None:
    """A few normalised images and torch's features of them: every peer must agree."""
    import timm
    import torch
    from PIL import Image
    from safetensors.torch import load_file

    body = timm.create_model("mobilenetv2_100", num_classes=0).eval()
    body.load_state_dict(load_file(str(trial["weights"])), strict=False)
    paths = [p for p, _ in trial["train"][:4]]  # type: ignore[index]
    pixels = np.stack([np.asarray(Image.open(p).resize((224, 224)), np.float32) for p in paths])
    images = (pixels / 255 - np.float32(trial["mean"])) / np.float32(trial["std"])
    with torch.inference_mode():
        features = body(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    np.savez(str(trial["probe"]), images=images, features=features)


def keep(folders: list[Path]) -> None:
    """All results of scratch folders in one file, without anything of this machine's paths."""
    rows = []
    for folder in folders:
        trial = json.loads((folder / "trial.json").read_text(encoding="utf-8"))
        about = {k: trial[k] for k in ("size", "frozen_epochs", "tuned_epochs", "whole_images")}
        about |= {"train_images": len(trial["train"]), "valid_images": len(trial["valid"])}
        found = sorted((folder / "results").glob("*.json"))
        rows += [{**json.loads(path.read_text(encoding="utf-8")), "trial": about} for path in found]
    if rows:
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(
            json.dumps({"schema_version": 1, "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
