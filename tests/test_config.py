"""Settings: what is refused, in words that name the user's own keys."""

from __future__ import annotations

from typing import Any

import pytest

from lesionlab.config import InputSettings, ModelSettings, Settings, Stage, parse, with_overrides
from lesionlab.errors import BadInput

BASE = Settings(stages=(Stage(name="head", trainable="head", epochs=3),))

INPUT = "size, fit, channels, mean, std, interpolation, crop"


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("stages.0.max_lr=0", "--set: stages.0.max_lr: Input should be greater than 0 (given: 0)"),
        ("stages.0.max_lr=inf", "--set: stages.0.max_lr: Input should be a finite number"),
        ("stages.0.max_lr=[1e-4,nan]", "--set: stages.0.max_lr.1: Input should be a finite number"),
        (
            "stages.0.max_lr=fast",
            "--set: stages.0.max_lr must be a number, a list in brackets or 'auto' (given: 'fast')",
        ),
        ("optim.weight_decay=inf", "--set: optim.weight_decay: Input should be a finite number"),
        ("input.std=[0,0,0]", "--set: input.std.0: Input should be greater than 0"),
        ("input.mean=[0,nan,0]", "--set: input.mean.1: Input should be a finite number"),
        (
            "input.interpolation=nearest",
            "--set: input.interpolation must be 'bilinear', 'bicubic' or 'auto' (given",
        ),
        ("input.crop=0", "--set: input.crop: Input should be greater than 0 (given: 0)"),
        ("input.crop=1.1", "--set: input.crop: Input should be less than or equal to 1"),
        ("tracking=wandb", "--set: tracking must be 'tensorboard' or 'mlflow' (given: 'wandb')"),
        ("input=automatic", f"--set: input must be 'auto' or a table of {INPUT} (given: 'auto"),
        (
            "input=3",
            f"--set: input must be 'auto' or a table of {INPUT} (given: 3); to set one of ",
        ),
        ("model=abc", "--set: model must be a table of name, pretrained, fallback, head, head_hid"),
        ("stages.0=abc", "--set: stages.0 must be a table of name, trainable, epochs, max_lr, sch"),
        ("stages.0.augment=true", "--set: stages.0.augment must be a table of flips, rotation, "),
        ("stages=3", "--set: stages must be a list in brackets (given: 3)"),
        ("stages=[]", "--set: stages must be a list of at least 1 (given: [])"),
        ("stages.0.max_lr=[1,2,3]", "--set: stages.0.max_lr must be a list of at most 2 (given: "),
        ("stages.0.max_lr={a=1}", "--set: stages.0.max_lr must be a number, a list in brackets or"),
        ("input.mean=3", "--set: input.mean must be a list in brackets or 'auto' (given: 3)"),
        ("input.size=big", "--set: input.size must be a whole number or 'auto' (given: 'big')"),
        ("stages.0.epochs=1.5", "--set: stages.0.epochs must be a whole number (given: 1.5)"),
        ("prior_bias=abc", "--set: prior_bias must be true or false (given: 'abc')"),
        ("model.name=3", "--set: model.name must be text (given: 3)"),
    ],
)
def test_a_wrong_value_is_named_by_the_users_own_key(assignment: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        with_overrides(BASE, [assignment])
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("stages.1.epochs=2", "'stages.1.epochs': stages is a list of 1, numbered from 0"),
        ("stages.head.epochs=2", "'stages.head.epochs': stages is a list of 1, numbered from 0"),
        ("stages.1=2", "'stages.1': stages is a list of 1, numbered from 0"),
        ("stages.-1.epochs=2", "'stages.-1.epochs': stages is a list of 1, numbered from 0"),
        ("stages.\u00b2.epochs=2", "stages is a list of 1, numbered from 0"),  # superscript two
        ("input.mean.3=0.5", "'input.mean.3': input.mean is a list of 3, numbered from 0"),
        ("input.std.red=0.5", "'input.std.red': input.std is a list of 3, numbered from 0"),
        ("model.metadata.0=age", "'model.metadata.0': model.metadata is an empty list"),
    ],
)
def test_what_is_not_in_a_list_names_the_list(assignment: str, words: str) -> None:
    shown = InputSettings(size=64, mean=(0.1, 0.2, 0.3), std=(0.1, 0.2, 0.3))
    with pytest.raises(BadInput) as caught:
        with_overrides(BASE.with_input(shown), [assignment])
    assert words in str(caught.value)


SECTIONS = ["input", "model", "loss", "optim", "stages.0", "stages.0.augment"]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("value", ["3", "abc", "[1]", "true", "1.5"])
def test_no_name_of_a_type_of_ours_is_said(section: str, value: str) -> None:
    with pytest.raises(BadInput) as caught:
        with_overrides(BASE, [f"{section}={value}"])
    line = str(caught.value)
    for word in ("Settings", "Requested", "dictionary", "instance", "tuple", "model_type"):
        assert word not in line
    example = line.rpartition("to set one of them: ")[2]
    key = example.removesuffix("=VALUE").removeprefix(f"{section}.")
    assert f" {key}," in line


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
