"""Presets: recipes by name, one TOML file each, with source, expected result and time.

A file may begin with `extends = "NAME"` and then says only what differs. Its stages, if it
names any, are the stages of the recipe, in its order; what a stage leaves unsaid is taken from
the extended recipe's stage of the same name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lesionlab.config import Settings, parse
from lesionlab.errors import BadInput, nearest

FOLDER = Path(__file__).parent / "presets"
EXTENDS = "extends"


def preset_names() -> list[str]:
    """The names of all presets, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_preset(name: str) -> Settings:
    """A preset by name, or a recipe of the user's own by its path (ends in .toml).

    Raises `BadInput` for an unknown name (with the nearest one) and for a file that is no recipe.

    >>> load_preset("melanoma-baseline").model.name
    'melanoma_baseline'
    """
    path = _path_of(name, "--preset")
    return parse(Settings, _resolved(path, ()), str(path))


def _path_of(name: str, where: str) -> Path:
    if name.endswith(".toml"):
        return Path(name)
    if name not in preset_names():
        raise BadInput(
            f"unknown preset '{name}'", where=where, remedy=nearest(name, preset_names())
        )
    return FOLDER / f"{name}.toml"


def _resolved(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The values of a file, laid over those of the recipe that it extends."""
    if path in seen:
        raise BadInput(f"'{path.stem}' extends itself", where=str(seen[-1]))
    values = _read(path)
    base = values.pop(EXTENDS, None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise BadInput(f"'{EXTENDS}' is the name of a preset, not {base!r}", where=str(path))
    return _laid_over(_resolved(_path_of(base, str(path)), (*seen, path)), values, path)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadInput("no such file", where=str(path)) from None
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        if path.is_dir():
            what = "is a folder, not a recipe"
        raise BadInput(what, where=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"not valid TOML ({error})", where=str(path)) from None


def _laid_over(base: dict[str, Any], values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Tables are merged key by key; stages by their names; anything else is replaced."""
    merged = dict(base)
    for key, value in values.items():
        if key == "stages" and isinstance(value, list):
            merged[key] = [_stage(base.get(key, []), stage, path) for stage in value]
        elif isinstance(value, Mapping) and isinstance(base.get(key), dict):
            merged[key] = _laid_over(base[key], value, path)
        else:
            merged[key] = value
    return merged


def _stage(known: list[dict[str, Any]], stage: dict[str, Any], path: Path) -> dict[str, Any]:
    name = stage.get("name")
    same = [s for s in known if s.get("name") == name]
    return _laid_over(same[0], stage, path) if same else stage
