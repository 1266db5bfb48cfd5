"""Presets: recipes by name, one TOML file each, with source, expected result and time."""

from __future__ import annotations

from pathlib import Path

from lesionlab.config import Settings, read_settings
from lesionlab.errors import BadInput, nearest

FOLDER = Path(__file__).parent / "presets"


def preset_names() -> list[str]:
    """The names of all presets, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_preset(name: str) -> Settings:
    """A preset by name, or a recipe of the user's own by its path (ends in .toml)."""
    if name.endswith(".toml"):
        return read_settings(Path(name))
    if name not in preset_names():
        raise BadInput(
            f"unknown preset '{name}'", where="--preset", remedy=nearest(name, preset_names())
        )
    return read_settings(FOLDER / f"{name}.toml")
