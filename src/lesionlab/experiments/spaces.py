"""Search spaces of `tune`: one TOML file beside the presets, KEY of --set -> what to try."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from lesionlab.config import Settings, Strict, parse, with_overrides
from lesionlab.errors import BadInput

FOLDER = Path(__file__).parent / "spaces"


class Range(Strict):
    """Either `choices`, or numbers from `low` to `high`: whole where both are, else real."""

    choices: tuple[bool | int | float | str, ...] = ()
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if bool(self.choices) == (self.low is not None and self.high is not None):
            raise ValueError("give either choices, or low and high")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError("low must be below high")
        if self.log and not (self.low or 0) > 0:
            raise ValueError("a log scale needs a low above 0")
        return self

    def suggest(self, trial: Any, key: str) -> Any:
        """A value of this key for an Optuna trial."""
        if self.choices:
            return trial.suggest_categorical(key, list(self.choices))
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        if self.choices:
            return value in self.choices
        if self.low is None or self.high is None or not isinstance(value, int | float):
            return False
        on_step = self.step is None or (value - self.low) % self.step == 0
        return self.low <= value <= self.high and on_step


def load_space(preset: str, path: Path | None = None) -> dict[str, Range]:
    """The space of a preset: `path`, else the file of its name, else the default."""
    own = FOLDER / f"{preset}.toml"
    chosen = path or (own if own.is_file() else FOLDER / "default.toml")
    try:
        raw = tomllib.loads(chosen.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput("no such file", where=str(chosen)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"not valid TOML ({error})", where=str(chosen)) from None
    if not raw:
        raise BadInput("the space is empty", where=str(chosen))
    return {key: parse(Range, value, f"{chosen}: {key}") for key, value in raw.items()}


def check_space(space: dict[str, Range], settings: Settings) -> None:
    """`BadInput` for a key that the recipe does not have, or an end that it does not take."""
    for key, values in space.items():
        for end in values.choices or (values.low, values.high):
            with_overrides(settings, [assignment(key, end)])


def assignment(key: str, value: Any) -> str:
    """`key=value` as `--set` takes it.

    >>> assignment("optim.name", "sgd"), assignment("model.dropout", 0.5)
    ('optim.name=sgd', 'model.dropout=0.5')
    """
    return f"{key}={str(value).lower() if isinstance(value, bool) else value}"


def value_of(settings: Settings, key: str) -> Any:
    """What a recipe has at a key."""
    found: Any = settings.model_dump(mode="json")
    for part in key.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    return found


def to_toml(settings: Settings) -> str:
    """A recipe as a TOML file that `--preset` reads."""
    values = settings.model_dump(mode="json", exclude_none=True)
    plain = {k: v for k, v in values.items() if not isinstance(v, dict) and k != "stages"}
    lines = [f"{k} = {_toml(v)}" for k, v in plain.items()]
    for name, table in values.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *[f"{k} = {_toml(v)}" for k, v in table.items()]]
    for stage in values["stages"]:
        lines += ["", "[[stages]]", *[f"{k} = {_toml(v)}" for k, v in stage.items()]]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
