"""Keras 3.15 on TensorFlow as its guides do it: a cached tf.data set, random layers, fit."""

from __future__ import annotations

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import argparse
import contextlib
import time
from importlib.metadata import version
from typing import Any

import common
import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from safetensors.numpy import load_file


class Ticks(keras.callbacks.Callback):
    """Hands each training step to the clock; ends the fit when it has seen enough."""

    def __init__(self, clock: common.Clock) -> None:
        super().__init__()
        self.clock = clock

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.clock.tick():
            raise common.Enough


class Reached(keras.callbacks.Callback):
    """Elapsed seconds and validation macro AUC at the end of each stage."""

    def __init__(self, data: tf.data.Dataset, y_true: np.ndarray) -> None:
        super().__init__()
        self.data, self.y_true, self.rows = data, y_true, []
        self.began, self.cpu = time.perf_counter(), common.cpu_seconds()

    def on_train_end(self, logs: Any = None) -> None:
        logits = self.model.predict(self.data, verbose=0).astype(np.float64)
        y_prob = np.exp(logits - logits.max(1, keepdims=True))
        auc = common.macro_auc(self.y_true, y_prob / y_prob.sum(1, keepdims=True))
        self.rows.append(common.reached(self.began, self.cpu, auc))


def data_of(trial: dict[str, Any], rows: list[Any], training: bool, seed: int) -> tf.data.Dataset:
    """Decoded and resized once, then cached in memory as uint8."""
    side = (trial["size"], trial["size"])

    def read(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.cast(tf.round(tf.image.resize(image, side, antialias=True)), tf.uint8), label

    data = tf.data.Dataset.from_tensor_slices(([p for p, _ in rows], [c for _, c in rows]))
    data = data.map(read, num_parallel_calls=tf.data.AUTOTUNE).cache()
    if training:
        data = data.shuffle(len(rows), seed=seed)
    return data.batch(common.BATCH, drop_remainder=training).prefetch(tf.data.AUTOTUNE)


def classifier(trial: dict[str, Any]) -> tuple[keras.Model, keras.Model]:
    """The model and its body: flips and lighting, normalisation, MobileNetV2, a linear layer."""
    body = keras.applications.MobileNetV2(
        input_shape=(None, None, 3), include_top=False, weights=None, pooling="avg"
    )
    fit_weights(body, load_file(trial["weights"]))
    images = keras.Input((trial["size"], trial["size"], 3))
    x = layers.RandomFlip("horizontal_and_vertical")(images)
    x = layers.RandomBrightness(common.LIGHTING, value_range=(0, 255))(x)
    x = layers.RandomContrast(common.LIGHTING, value_range=(0, 255))(x)
    x = x / 255.0
    mean, std = np.float32(trial["mean"]), np.float32(trial["std"])
    x = (x - ops.cast(mean, x.dtype)) / ops.cast(std, x.dtype)
    x = body(layers.ZeroPadding2D(1)(x))
    logits = layers.Dense(len(trial["classes"]), dtype="float32")(x)
    return keras.Model(images, logits), body


def fit_weights(body: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    """timm's weights into Keras' layers, with torch's symmetric padding and epsilon."""
    convolutions = [t for k, t in _in_order(tensors) if t.ndim == 4]
    norms = [k.removesuffix(".weight") for k, t in _in_order(tensors) if t.ndim == 1]
    for layer in body.layers:
        if isinstance(layer, layers.ZeroPadding2D):
            layer.padding = ((1, 1), (1, 1))
        elif isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([convolutions.pop(0).transpose(2, 3, 0, 1)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([convolutions.pop(0).transpose(2, 3, 1, 0)])
        elif isinstance(layer, layers.BatchNormalization):
            name, layer.epsilon, layer.momentum = norms.pop(0), 1e-5, 0.9
            keys = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([tensors[f"{name}.{key}"] for key in keys])
    body.get_layer("Conv1").padding = "valid"  # it is given a padded image
    assert not convolutions, "weights are left over"


def _in_order(tensors: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Weights from stem to head, as the network is run."""
    part = {"conv_stem": 0, "bn1": 0, "blocks": 1, "conv_head": 2, "bn2": 2}
    inner = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
    first = ("conv_dw", "bn1", "conv_pw", "bn2")  # of the block without expansion

    def place(name: str) -> tuple[int, ...]:
        words = name.split(".")
        if words[0] != "blocks":
            return (part[words[0]], 0, 0, int(words[0].startswith("bn")))
        order = first if words[1] == "0" else inner
        return (1, int(words[1]), int(words[2]), order.index(words[3]))

    named = [(k, v) for k, v in tensors.items() if k.endswith(".weight")]
    return sorted(named, key=lambda item: place(item[0]))


def check(trial: dict[str, Any], body: keras.Model) -> float:
    """The largest difference of its features from torch's on the trial's probe images."""
    probe = np.load(trial["probe"])
    padded = np.pad(probe["images"], ((0, 0), (1, 1), (1, 1), (0, 0)))
    ours = np.asarray(body(padded, training=False), np.float32)
    return float(np.abs(ours - probe["features"]).max())


def main() -> None:
    """One job."""
    options = common.arguments()
    trial = common.read_trial(options.trial)
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    keras.utils.set_random_seed(options.seed)
    if options.precision == "bfloat16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model, body = classifier(trial)
    apart = check(trial, body)
    assert apart < (1e-2 if options.precision == "float32" else 10), f"another network: {apart}"
    quality = options.job == "quality"
    train = data_of(trial, trial["train"], True, options.seed)
    rows = trial["valid"] if quality else trial["valid"][: 4 * common.BATCH]
    valid = data_of(trial, rows, False, options.seed)
    run = judged if quality else timed
    values = run(options, trial, model, body, train, valid)
    name = "Keras on TensorFlow"
    both = f"{version('keras')} / {version('tensorflow-cpu')}"
    common.write_result(options, name, both, features_apart=apart, **values)


def compiled(options: argparse.Namespace, model: keras.Model, rate: Any) -> None:
    """XLA by `--variant xla` or `plain`; else as Keras chooses."""
    jit = {"xla": True, "plain": False}.get(options.variant, "auto")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01), loss, jit_compile=jit)


def timed(
    options: argparse.Namespace,
    trial: dict[str, Any],
    model: keras.Model,
    body: keras.Model,
    train: tf.data.Dataset,
    valid: tf.data.Dataset,
) -> dict[str, Any]:
    """Steady speed of training, the cache being full, and of the forward pass."""
    body.trainable = options.job == "speed"
    compiled(options, model, 1e-3)
    for _ in train:  # fill the cache
        pass
    clock = common.Clock(options.quiet, trial["steps"])
    with contextlib.suppress(common.Enough):
        model.fit(train, epochs=9, verbose=0, callbacks=[Ticks(clock)])
    n = len(model.predict(valid, verbose=0))
    return {
        **clock.result(),
        "jit": str(model.jit_compile),
        "valid_images_per_second": common.rate(
            options.quiet, n, lambda: model.predict(valid, verbose=0)
        ),
    }


def judged(
    options: argparse.Namespace,
    trial: dict[str, Any],
    model: keras.Model,
    body: keras.Model,
    train: tf.data.Dataset,
    valid: tf.data.Dataset,
) -> dict[str, Any]:
    """The head on the frozen body, then all layers, with cosine rates."""
    y_true = np.array([c for _, c in trial["valid"]])
    reached = Reached(valid, y_true)
    steps = len(trial["train"]) // common.BATCH
    for epochs, peak, all_move in (
        (trial["frozen_epochs"], 3e-3, False),
        (trial["tuned_epochs"], 1e-3, True),
    ):
        body.trainable = all_move
        total = epochs * steps
        rate = keras.optimizers.schedules.CosineDecay(
            peak / 25, total * 3 // 4, warmup_target=peak, warmup_steps=total // 4
        )
        compiled(options, model, rate)
        model.fit(train, epochs=epochs, verbose=0, callbacks=[reached])
    return {"reached": reached.rows}


if __name__ == "__main__":
    main()
