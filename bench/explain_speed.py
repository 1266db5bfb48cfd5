"""Grad-CAM against a forward and a backward pass: MobileNetV2, 224 px, random weights.

    python bench/explain_speed.py [--images 1000] [--threads 2] [--out speed.json]

Prints seconds of both, their ratio (goal: at most 1.5) and the peak memory, as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import torch

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.data.images import Preprocessing
from lesionlab.explanation.evidence import evidence
from lesionlab.explanation.methods import BATCH, ExplainedNetwork, maps_of
from lesionlab.models.classifier import build


class Drawn:
    """Random pictures, made when they are asked for: they take no memory."""

    def __len__(self) -> int:
        return 1 << 20

    def take(self, rows: np.ndarray) -> np.ndarray:
        draw = np.random.default_rng(int(rows[0]))
        return draw.integers(0, 255, (len(rows), 224, 224, 3), np.uint8)


def passes(subject: ExplainedNetwork, rows: np.ndarray, target: np.ndarray) -> None:
    """A forward pass and a backward pass to the input and all weights."""
    for i in range(0, len(rows), BATCH):
        images = subject.images(subject.views(rows[i : i + BATCH])).requires_grad_(True)
        classes = torch.from_numpy(target[i : i + BATCH])
        subject.network.zero_grad(set_to_none=True)
        evidence(subject.network(images), classes).sum().backward()


def maps(subject: ExplainedNetwork, rows: np.ndarray, target: np.ndarray) -> None:
    """Grad-CAM, a chunk at a time, as `explain` does it: nothing grows with the images."""
    for i in range(0, len(rows), 64):
        maps_of(subject, "gradcam", rows[i : i + 64], target[i : i + 64])


def main() -> None:
    """Both in turn, three times; the fastest of each counts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a JSON file for bench/explanation_tables.py")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    settings = ModelSettings(name="mobilenetv2", pretrained=False)
    network = build(settings, InputSettings(size=224), 7).eval()
    subject = ExplainedNetwork(network, Drawn(), Preprocessing())
    rows = np.arange(options.images)
    target = rows % 7
    seconds: dict[str, list[float]] = {"passes": [], "gradcam": []}
    for _ in range(3):
        for name, work in (("passes", passes), ("gradcam", maps)):
            start = time.perf_counter()
            work(subject, rows, target)
            seconds[name].append(time.perf_counter() - start)
    best = {name: min(values) for name, values in seconds.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {
        "images": options.images,
        "threads": options.threads,
        "seconds": seconds,
        "ratio": best["gradcam"] / best["passes"],
        "peak_mib": round(peak),
    }
    print(json.dumps(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
