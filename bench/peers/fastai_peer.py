"""fastai 2.8 as its documentation does it: from files, batch transforms, one-cycle."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

import common
import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback, CancelFitException, CancelValidException
from fastai.vision.all import (
    CrossEntropyLossFlat,
    ImageDataLoaders,
    Learner,
    Normalize,
    Resize,
    ResizeMethod,
    aug_transforms,
    set_seed,
    vision_learner,
)
from safetensors.torch import load_file


class Ticks(Callback):
    """Hands each training step to the clock; ends the fit when it has seen enough."""

    def __init__(self, clock: common.Clock) -> None:
        self.clock = clock

    def after_batch(self) -> None:
        if self.training and self.clock.tick():
            raise CancelFitException


class Reached(Callback):
    """Elapsed seconds and validation macro AUC at the end of each stage (else no validation)."""

    order = 60

    def __init__(self, y_true: np.ndarray) -> None:
        self.y_true, self.rows = y_true, []
        self.began, self.cpu = time.perf_counter(), common.cpu_seconds()

    def before_validate(self) -> None:
        self.some: list[torch.Tensor] = []
        if self.epoch + 1 < self.n_epoch:
            raise CancelValidException

    def after_batch(self) -> None:
        if not self.training:
            self.some.append(self.pred.detach().float().softmax(1))

    def after_fit(self) -> None:
        auc = common.macro_auc(self.y_true, torch.cat(self.some).numpy())
        self.rows.append(common.reached(self.began, self.cpu, auc))


def loaders(trial: dict[str, Any], valid: list[Any]) -> ImageDataLoaders:
    """Images from their files in each epoch, as fastai reads them (it offers no cache)."""
    rows = [(p, trial["classes"][c], False) for p, c in trial["train"]]
    rows += [(p, trial["classes"][c], True) for p, c in valid]
    return ImageDataLoaders.from_df(
        pd.DataFrame(rows, columns=["name", "label", "is_valid"]),
        path="/",
        valid_col="is_valid",
        item_tfms=Resize(trial["size"], method=ResizeMethod.Squish),
        batch_tfms=[
            *aug_transforms(
                flip_vert=True, max_rotate=0, max_zoom=1, max_warp=0, max_lighting=common.LIGHTING
            ),
            Normalize.from_stats(trial["mean"], trial["std"]),
        ],
        bs=common.BATCH,
        num_workers=2,
        device=torch.device("cpu"),
    )


def learner(trial: dict[str, Any], dls: ImageDataLoaders) -> Learner:
    """fastai's own head on timm's body, with the trial's weights."""
    learn = vision_learner(
        dls, "mobilenetv2_100", pretrained=False, normalize=False, loss_func=CrossEntropyLossFlat()
    )
    body = learn.model[0].model
    own = body.state_dict()
    weights = {k: v for k, v in load_file(trial["weights"]).items() if k in own}
    assert len(weights) >= 0.99 * len(own), "the weights do not fit"
    body.load_state_dict(weights, strict=False)
    return learn


def main() -> None:
    """One job."""
    options = common.arguments()
    trial = common.read_trial(options.trial)
    torch.set_num_threads(options.threads)
    set_seed(options.seed)
    y_true = np.array([c for _, c in trial["valid"]])
    quality = options.job == "quality"
    dls = loaders(trial, trial["valid"] if quality else trial["valid"][: 2 * common.BATCH])
    learn = learner(trial, dls)
    if quality:
        reached = Reached(y_true)
        learn.freeze()
        learn.fit_one_cycle(trial["frozen_epochs"], 3e-3, cbs=[reached])
        learn.unfreeze()
        learn.fit_one_cycle(trial["tuned_epochs"], slice(1e-4, 1e-3), cbs=[reached])
        values: dict[str, Any] = {"reached": reached.rows}
    else:
        learn.freeze() if options.job == "frozen-speed" else learn.unfreeze()
        clock = common.Clock(options.quiet, trial["steps"])
        learn.fit(9, 1e-3, cbs=[Ticks(clock)])
        values = clock.result()
        values["valid_images_per_second"] = predict_speed(learn, options.quiet)
    common.write_result(options, "fastai", version("fastai"), **values)


def predict_speed(learn: Learner, quiet: bool) -> float:
    """Images per second of the forward pass in validation, decoding included."""
    valid = learn.dls.valid
    return common.rate(quiet, len(valid.dataset), lambda: learn.get_preds(dl=valid))


if __name__ == "__main__":
    main()
