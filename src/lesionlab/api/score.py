"""Score a submission as its challenge does."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def score(
    challenge: str,
    truth: Path | str,
    prediction: Path | str,
    *,
    threshold: float | None = None,
    figures: Path | str | None = None,
) -> dict[str, Any]:
    """What the judge of `challenge` says of `prediction` against `truth`.

    `challenge` is isic2016, isic2017, udacity, isic2018, isic2019, isic2020, isic2024 or
    medmnist; both files are in its own form (docs/scorers.md). `threshold` moves the confusion
    matrix of the malignant class (0.5; positive at >=), never an official number. `figures`:
    a folder for the ROC curves and that matrix, SVG and PNG.

    Returns `{challenge, judge, metric, value, validation, n, parts, per_class, macro, positive,
    threshold, confusion, notes, figures}`. Raises `BadInput` for whatever the judge refuses.
    """
    from lesionlab.evaluation.challenge.scorers import judge

    judged = judge(challenge, Path(truth), Path(prediction), threshold)
    result = judged.score.to_json()
    if figures is not None:
        from lesionlab.reporting.challenge_figures import draw_score

        result["figures"] = [str(path) for path in draw_score(judged, Path(figures))]
    return result
