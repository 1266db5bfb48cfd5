"""Search spaces: what may be tried, what a preset takes, and recipes as TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lesionlab.config import Settings, parse, with_overrides
from lesionlab.errors import BadInput
from lesionlab.experiments.presets import load_preset, preset_names
from lesionlab.experiments.spaces import (
    FOLDER,
    Range,
    assignment,
    check_space,
    load_space,
    to_toml,
    value_of,
)

Tiny = Callable[..., Settings]


@pytest.mark.parametrize("name", sorted(p.stem for p in FOLDER.glob("*.toml")))
def test_every_space_fits_its_preset(name: str) -> None:
    assert name == "default" or name in preset_names()
    for preset in preset_names() if name == "default" else [name]:
        check_space(load_space(name), load_preset(preset))


def test_a_recipe_survives_toml(tmp_path: Path) -> None:
    for name in preset_names():
        settings = load_preset(name)
        again = parse(Settings, tomllib.loads(to_toml(settings)), "toml")
        assert again == settings, name


def test_bad_spaces(tmp_path: Path, tiny: Tiny) -> None:
    with pytest.raises(BadInput, match="give either choices, or low and high"):
        parse(Range, {"low": 1}, "s")
    with pytest.raises(BadInput, match="log scale"):
        parse(Range, {"low": 0.0, "high": 1.0, "log": True}, "s")
    with pytest.raises(BadInput, match="low must be below high"):
        parse(Range, {"low": 2, "high": 1}, "s")
    with pytest.raises(BadInput, match=r"unknown setting 'optim\.max_lrr'"):
        check_space({"optim.max_lrr": Range(low=0.1, high=0.2)}, tiny())
    with pytest.raises(BadInput, match=r"model\.dropout"):
        check_space({"model.dropout": Range(low=0.1, high=1.5)}, tiny())
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(BadInput, match="the space is empty"):
        load_space("x", tmp_path / "empty.toml")


def test_files_that_are_no_space(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        load_space("x", tmp_path / "absent.toml")
    path = tmp_path / "s.toml"
    for content in (b"a = ", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(BadInput, match="not valid TOML"):
            load_space("x", path)
    path.write_text('["model.dropout"]\nlow = 0.0\nhihg = 0.5\n', encoding="utf-8")
    with pytest.raises(BadInput, match=r"model\.dropout") as refused:
        load_space("x", path)
    assert "hihg" in str(refused.value)


def test_a_preset_without_a_space_of_its_own_gets_the_default() -> None:
    assert load_space("no-preset-of-this-name") == load_space("default")
    own = sorted({p.stem for p in FOLDER.glob("*.toml")} - {"default"})
    assert all(load_space(name) != load_space("default") for name in own)


class Trial:
    """Notes what a range asks of Optuna, and answers with the low end or the last choice."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def suggest_int(self, key: str, low: int, high: int, step: int, log: bool) -> int:
        self.asked.append(("int", key, low, high, step, log))
        return low

    def suggest_float(self, key: str, low: float, high: float, log: bool) -> float:
        self.asked.append(("float", key, low, high, log))
        return low

    def suggest_categorical(self, key: str, choices: list[Any]) -> Any:
        self.asked.append(("choice", key, choices))
        return choices[-1]


def test_whole_ends_ask_for_whole_numbers() -> None:
    trial = Trial()
    for found in (
        Range(low=1, high=9, step=4),
        Range(low=1, high=8, log=True),
        Range(low=1, high=2.5),
        Range(low=1e-4, high=0.1, log=True),
        Range(choices=("sgd", "adamw", False)),
    ):
        assert found.holds(found.suggest(trial, "k"))
    assert trial.asked == [
        ("int", "k", 1, 9, 4, False),
        ("int", "k", 1, 8, 1, True),
        ("float", "k", 1, 2.5, False),
        ("float", "k", 1e-4, 0.1, True),
        ("choice", "k", ["sgd", "adamw", False]),
    ]


@pytest.mark.parametrize(
    ("values", "value", "inside"),
    [
        (Range(low=0.0, high=0.5), 0.0, True),
        (Range(low=0.0, high=0.5), 0.5, True),
        (Range(low=0.0, high=0.5), 0.5000001, False),
        (Range(low=0.0, high=0.5), float("nan"), False),
        (Range(low=0.0, high=0.5), None, False),
        (Range(low=0.0, high=0.5), "0.3", False),
        (Range(low=1, high=9, step=4), 5, True),
        (Range(low=1, high=9, step=4), 6, False),
        (Range(choices=("a", "b")), "b", True),
        (Range(choices=("a", "b")), "c", False),
        (Range(choices=(0.0, 0.3)), 0, True),
    ],
)
def test_what_lies_in_a_range(values: Range, value: Any, inside: bool) -> None:
    assert values.holds(value) is inside


def test_ranges_that_are_both_or_neither_or_empty_are_refused() -> None:
    for raw in ({}, {"choices": [1], "low": 0, "high": 1}, {"high": 1}, {"choices": []}):
        with pytest.raises(BadInput, match="give either choices, or low and high"):
            parse(Range, raw, "s")
    with pytest.raises(BadInput, match="low must be below high"):
        parse(Range, {"low": 1, "high": 1}, "s")


def test_a_value_is_found_where_an_assignment_put_it(tiny: Tiny) -> None:
    changes = {"model.dropout": 0.25, "stages.0.epochs": 7, "optim.name": "sgd"}
    settings = with_overrides(tiny(), [assignment(k, v) for k, v in changes.items()])
    assert {k: value_of(settings, k) for k in changes} == changes
    assert value_of(tiny(), "stages.0.epochs") == 3


@pytest.mark.parametrize(
    "name", ['a "b" c', "back\\slash", "two\nlines", "\r\t\x00\x1f\x7f", "Größe 皮膚"]
)
def test_any_text_survives_toml(tiny: Tiny, name: str) -> None:
    settings = tiny().model_copy(update={"name": name})
    assert tomllib.loads(to_toml(settings))["name"] == name
