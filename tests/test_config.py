"""Settings: what is refused, in words that name the user's own keys."""

from __future__ import annotations

from typing import Any

import pytest

from lesionlab.config import InputSettings, ModelSettings, Settings, Stage, parse, with_overrides
from lesionlab.errors import BadInput

BASE = Settings(stages=(Stage(name="head", trainable="head", epochs=3),))


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("stages.0.max_lr=0", "--set: stages.0.max_lr: Input should be greater than 0 (given: 0)"),
        ("stages.0.max_lr=inf", "--set: stages.0.max_lr: Input should be a finite number"),
        ("stages.0.max_lr=[1e-4,nan]", "--set: stages.0.max_lr.1: Input should be a finite number"),
        ("stages.0.max_lr=fast", "--set: stages.0.max_lr: Input should be a valid number"),
        ("optim.weight_decay=inf", "--set: optim.weight_decay: Input should be a finite number"),
        ("input.std=[0,0,0]", "--set: input.std.0: Input should be greater than 0"),
        ("input.mean=[0,nan,0]", "--set: input.mean.1: Input should be a finite number"),
        ("input.interpolation=nearest", "--set: input.interpolation: Input should be 'bilinear'"),
        ("input.crop=0", "--set: input.crop: Input should be greater than 0 (given: 0)"),
        ("input.crop=1.1", "--set: input.crop: Input should be less than or equal to 1"),
        ("tracking=wandb", "--set: tracking: Input should be 'tensorboard' or 'mlflow'"),
    ],
)
def test_a_wrong_value_is_named_by_the_users_own_key(assignment: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        with_overrides(BASE, [assignment])
    assert str(caught.value).startswith(words)


def test_the_option_that_was_given_is_named() -> None:
    with pytest.raises(BadInput, match=r"^--lr: stages\.0\.max_lr: "):
        with_overrides(BASE, ["stages.0.max_lr=0"], "--lr")


def test_an_input_of_0_1_0_is_bilinear_and_whole() -> None:
    stored = {"size": 224, "fit": "crop", "channels": 1, "mean": [0.5], "std": [0.2]}
    shown = parse(InputSettings, stored)
    assert (shown.interpolation, shown.crop) == ("bilinear", 1.0)


def test_a_bare_word_is_a_list_of_one() -> None:
    changed = with_overrides(BASE, ["tracking=tensorboard", "model.metadata=age"])
    assert changed.tracking == ("tensorboard",)
    assert changed.model.metadata == ("age",)


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (ModelSettings, {"metadata": ["age", "age"]}, "metadata names a column twice"),
        (
            Stage,
            {"name": "a", "trainable": "head", "epochs": 1, "cached_views": 1, "size": 64},
            "cached_views has no size",
        ),
        (InputSettings, {"std": [-1, 1, 1]}, "std.0: Input should be greater than 0"),
    ],
)
def test_settings_that_contradict_each_other(kind: Any, values: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        parse(kind, values)
