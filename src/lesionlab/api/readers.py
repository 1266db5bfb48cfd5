"""Human readers beside a model, on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lesionlab.errors import BadInput, counted
from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.progress import SILENT, Progress

if TYPE_CHECKING:
    from lesionlab.api._inputs import PredictionSource
    from lesionlab.evaluation.predictions import Predictions


def readers(
    source: Path | str,
    votes: Path | str,
    *,
    name: str | None = None,
    split: str = "valid",
    malignant: Sequence[str] = (),
    threshold: float | None = None,
    weight: Literal["image", "read"] = "image",
    held_out: bool = False,
    resamples: int = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Compare a run folder or predictions CSV with a reader study's votes, paired by image.

    Votes on training images may only meet predictions that training did not see: a run's
    validation, calibration or test part, or a CSV of which `held_out` says so. `threshold` adds
    the model's operating point (a run's stored one where not given). Each image counts once;
    `weight="read"`: by its votes. Returns `{point, reader, model, difference, statement,
    individuals, beaten, published, ...}`. Raises `BadInput` where the two do not belong together.
    """
    from lesionlab.api._inputs import open_source
    from lesionlab.evaluation.readers import compare_with_readers, published_points
    from lesionlab.evaluation.votes import read_votes

    found = open_source(Path(source), split)
    if found.part == "train":
        raise BadInput(
            "these are predictions of training images",
            where=str(source),
            remedy="compare with --split valid or test",
        )
    classes = tuple(malignant) or found.malignant or _known(found.predictions)
    if threshold is None:
        threshold = _stored_threshold(Path(source), found, classes)
    study = read_votes(Path(votes))
    progress.say(f"{counted(len(study.image_id), 'image')} with votes")
    result = compare_with_readers(
        found.predictions,
        study,
        malignant=classes,
        held_out=held_out or found.part is not None,
        name=name or Path(votes).stem,
        threshold=threshold,
        weight=weight,
        resampling=Resampling(resamples, seed),
    ).to_json()
    published = [p.to_json() for p in published_points()]
    return result | {
        "source": found.name,
        "malignant": list(classes),
        "threshold": threshold,
        "published": published,
        "leaky": found.leaky,
    }


def _known(predictions: Predictions) -> tuple[str, ...]:
    """The malignant classes by the taxonomy, for a CSV."""
    from lesionlab.data.taxonomy import malignant_of

    return malignant_of(predictions.classes)


def _stored_threshold(
    folder: Path, found: PredictionSource, malignant: tuple[str, ...]
) -> float | None:
    """The run's locked operating point, where it is one of the same score."""
    from lesionlab.evaluation.locked_points import stored_points

    for point in [] if found.part is None else stored_points(folder) or []:
        if set(point.score) == set(malignant):
            return point.threshold
    return None
