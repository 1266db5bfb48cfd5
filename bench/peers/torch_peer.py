"""A bare torch loop: decoded once into memory, channels_last, bf16, micro-batches of 16.

A reference, not a library that people use: what a careful person writes by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import common
import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

MICRO = 16


class Classifier(nn.Module):
    """MobileNetV2 and a linear head."""

    def __init__(self, trial: dict[str, Any]) -> None:
        super().__init__()
        self.body = timm.create_model("mobilenetv2_100", num_classes=0)
        self.body.load_state_dict(load_file(trial["weights"]), strict=False)
        self.head = nn.Linear(self.body.num_features, len(trial["classes"]))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits


def decoded(trial: dict[str, Any], rows: list[Any]) -> tuple[Tensor, Tensor]:
    """(N, 3, S, S) uint8 and (N,) classes."""
    side = (trial["size"], trial["size"])

    def read(path: str) -> np.ndarray:
        return np.asarray(Image.open(path).convert("RGB").resize(side, Image.Resampling.BILINEAR))

    with ThreadPoolExecutor(2) as pool:
        pixels = np.stack(list(pool.map(read, (p for p, _ in rows))))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.tensor([c for _, c in rows])


def shown(pixels: Tensor, trial: dict[str, Any], augment: bool) -> Tensor:
    """Normalised, channels last; flips and lighting drawn for each image."""
    images = pixels.float().div_(255)
    if augment:
        n = len(images)
        for dimension in (2, 3):
            rows = torch.rand(n) < 0.5
            images[rows] = images[rows].flip(dimension)
        draws = 1 + common.LIGHTING * (2 * torch.rand(2, n, 1, 1, 1) - 1)
        images = ((images * draws[0] - 0.5) * draws[1] + 0.5).clamp_(0, 1)
    mean, std = (torch.tensor(trial[k])[:, None, None] for k in ("mean", "std"))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def train(
    options: argparse.Namespace,
    trial: dict[str, Any],
    network: Classifier,
    data: tuple[Tensor, Tensor],
    epochs: int,
    peak: float,
    after_step: Any,
) -> None:
    """One-cycle over `epochs`; the whole network moves, or its head where the body is frozen."""
    moving = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=peak, weight_decay=0.01, fused=True)
    steps = len(data[0]) // common.BATCH
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, epochs * steps, pct_start=0.25)
    forward = torch.compile(network) if options.variant == "compiled" else network
    reduced = options.precision == "bfloat16"
    for _ in range(epochs):
        network.train()
        if not moving or not network.body.conv_stem.weight.requires_grad:
            network.body.eval()
        order = torch.randperm(len(data[0]))
        for step in range(steps):
            rows = order[step * common.BATCH : (step + 1) * common.BATCH]
            for part in rows.split(MICRO):
                images = shown(data[0][part], trial, True)
                with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
                    logits = forward(images)
                loss = functional.cross_entropy(logits.float(), data[1][part], reduction="sum")
                (loss / common.BATCH).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            cycle.step()
            after_step()


@torch.inference_mode()
def predict(network: Classifier, pixels: Tensor, trial: dict[str, Any]) -> np.ndarray:
    """(N, K) probabilities, float32."""
    network.eval()
    some = [network(shown(part, trial, False)).softmax(1) for part in pixels.split(32)]
    return torch.cat(some).numpy().astype(np.float64)


def main() -> None:
    """One job."""
    options = common.arguments()
    trial = common.read_trial(options.trial)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    network = Classifier(trial).to(memory_format=torch.channels_last)
    data = decoded(trial, trial["train"])
    clock = common.Clock(options.quiet, trial["steps"])

    def tick() -> None:
        if clock.tick():
            raise common.Enough

    if options.job == "quality":
        values: dict[str, Any] = {"reached": judged(options, trial, network, data)}
    else:
        network.body.requires_grad_(options.job == "speed")
        with contextlib.suppress(common.Enough):
            train(options, trial, network, data, 9, 1e-3, tick)
        values = clock.result()
        values["valid_images_per_second"] = common.rate(
            options.quiet, 256, lambda: predict(network, data[0][:256], trial)
        )
    common.write_result(options, "bare torch loop", torch.__version__, **values)


def judged(
    options: argparse.Namespace,
    trial: dict[str, Any],
    network: Classifier,
    data: tuple[Tensor, Tensor],
) -> list[list[float]]:
    """The head on the frozen body, then all layers; seconds and macro AUC after each."""
    pixels, labels = decoded(trial, trial["valid"])
    reached = []
    began, cpu = time.perf_counter(), common.cpu_seconds()
    for epochs, peak, moves in (
        (trial["frozen_epochs"], 3e-3, False),
        (trial["tuned_epochs"], 1e-3, True),
    ):
        network.body.requires_grad_(moves)
        train(options, trial, network, data, epochs, peak, lambda: None)
        auc = common.macro_auc(labels.numpy(), predict(network, pixels, trial))
        reached.append(common.reached(began, cpu, auc))
    return reached


if __name__ == "__main__":
    main()
