"""`lesionlab.presets`: the recipes that have a name, or all of one."""

from __future__ import annotations

from typing import Any

from lesionlab.experiments.presets import load_preset, preset_names


def presets(name: str | None = None) -> dict[str, Any]:
    """The presets, or one of them (or a TOML file of your own) with every setting.

    Returns `{presets: [{name, network, size, stages, source}]}`, or `{description, source,
    expected, settings}`. Raises `BadInput` for an unknown name and for a file that is no recipe.

    >>> presets("melanoma-baseline")["settings"]["model"]["name"]
    'melanoma_baseline'
    """
    if name is None:
        return {"schema_version": 1, "presets": [_row(n) for n in preset_names()]}
    settings = load_preset(name).model_dump(mode="json")
    told = {key: settings.pop(key) for key in ("name", "description", "source", "expected")}
    return {"schema_version": 1, **told, "settings": settings}


def _row(name: str) -> dict[str, Any]:
    settings = load_preset(name)
    return {
        "name": name,
        "network": settings.model.name,
        "size": settings.input.size,
        "stages": [f"{s.name} {s.epochs}" for s in settings.stages],
        "source": settings.source,
    }
