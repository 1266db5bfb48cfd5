"""`lesionlab.augmentations`: a picture of what the network sees in training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlab import extras, files
from lesionlab.errors import BadInput, nearest

if TYPE_CHECKING:
    from lesionlab.config import Settings, Stage


def augmentations(
    dataset: Path | str,
    preset: str | Settings,
    out: Path | str = "augmentations.png",
    *,
    folder: Path | str | None = None,
    stage: str | None = None,
    overrides: Sequence[str] = (),
    images: int = 5,
    views: int = 7,
    seed: int = 0,
) -> dict[str, Any]:
    """Write a sheet of training images as the preset augments them: the plain one first.

    `stage` is the preset's stage (the last one that augments); with `folder` each view is also a
    file of its own there. Returns `{out, folder, stage, images: [image_id], views}`. Raises
    `BadInput` where the data set is not split or `out` is not a .png.
    """

    extras.need_torch("augmentations")
    from lesionlab.config import with_overrides
    from lesionlab.data.manifest import read_dataset
    from lesionlab.experiments.presets import load_preset
    from lesionlab.models.weights import usual_input
    from lesionlab.training.views import picture, sheet, training_views

    settings = load_preset(preset) if isinstance(preset, str) else preset
    settings = with_overrides(settings, overrides)
    settings = settings.with_input(settings.input.resolved(usual_input(settings.model)))
    chosen = _stage(settings, stage)
    path, single = Path(out), None if folder is None else Path(folder)
    if path.suffix.lower() != ".png":
        raise BadInput(
            "the contact sheet must be a PNG file",
            where=str(path),
            remedy="give a file name that ends in .png",
        )
    if not path.parent.is_dir():
        raise BadInput("no such folder", where=str(path.parent))
    data = read_dataset(Path(dataset))
    names, pixels = training_views(data, settings, chosen, images, views, seed)
    try:
        if single is not None:
            with files.stage_folder(single) as aside:
                for name, row in zip(names, pixels, strict=True):
                    for number, view in enumerate(row):
                        files.write_bytes(aside / f"{name}-{number}.png", _png(picture(view)))
        files.write_bytes(path, _png(sheet(pixels)))
    except OSError as error:
        raise BadInput(f"cannot be written ({error.strerror})", where=str(path)) from None
    return {
        "schema_version": 1,
        "out": str(path),
        "folder": None if single is None else str(single),
        "stage": chosen.name,
        "images": names,
        "views": views,
    }


def _stage(settings: Settings, name: str | None) -> Stage:
    """The stage of that name; without one the last that augments, else the last."""
    from lesionlab.config import AugmentSettings

    stages = {s.name: s for s in settings.stages}
    if name is not None:
        if name not in stages:
            raise BadInput(f"no stage '{name}'", where="--stage", remedy=nearest(name, stages))
        return stages[name]
    augmenting = [s for s in settings.stages if s.augment != AugmentSettings()]
    return (augmenting or settings.stages)[-1]


def _png(image: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
