"""Compare models on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlab.errors import BadInput
from lesionlab.progress import SILENT, Progress

if TYPE_CHECKING:
    from lesionlab.api._inputs import PredictionSource


def compare(
    sources: Sequence[Path | str],
    *,
    primary: str = "roc_auc",
    split: str = "valid",
    malignant: Sequence[str] = (),
    unit: str = "image",
    resamples: int = 2000,
    seed: int = 0,
    margin: float | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    score_column: str | None = None,
    positive: str | None = None,
    classes: Sequence[str] = (),
    logits: bool = False,
    matching_only: bool = False,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Compare run folders and predictions CSVs that hold the same images, paired.

    `primary` is the one metric, declared beforehand: accuracy, balanced_accuracy, roc_auc,
    average_precision, nll, brier, or malignant_roc_auc, malignant_average_precision,
    malignant_partial_auc_80. Of a run the stored predictions of `split` are taken. With a `margin`
    (above 0, in units of the metric) every other model is tested for being non-inferior to the
    first. `id_column`, `label_column`, `score_column`, `positive`, `classes` and `logits` say what
    the columns of the tables are, as for `evaluate`; `matching_only` compares the images that all
    tables have.
    Returns `{primary, models: [{name, measure}], pairs: [{first, second, difference,
    p_value, p_holm, test, verdict, mcnemar}], noninferiority: [{new, reference, margin, difference,
    limit, confidence, p_value, noninferior, verdict}], statement, notes, mapping,
    ...}`. Raises `BadInput` where the tables do not belong together.
    """
    from lesionlab.api._inputs import open_source
    from lesionlab.evaluation.compare import compare_predictions
    from lesionlab.evaluation.plausibility import SWAPPED
    from lesionlab.evaluation.table_reading import TableReading, refuse_absent_columns

    paths = [Path(s) for s in sources]
    how = TableReading(
        id_column, label_column, score_column, positive, tuple(classes), logits,
        matching_only=matching_only, verb="compare", sources=tuple(map(str, paths)),
    )  # fmt: skip
    refuse_absent_columns(how, [path for path in paths if not path.is_dir()])
    found = [open_source(path, split, how) for path in paths]
    names = _names([f.name for f in found], paths)
    comparison = compare_predictions(
        [(name, f.predictions) for name, f in zip(names, found, strict=True)],
        primary=primary,
        malignant=_malignant(found, tuple(malignant)),
        unit=unit,  # type: ignore[arg-type]
        resamples=resamples,
        seed=seed,
        margin=margin,
        matching_only=matching_only,
        progress=progress,
    )
    result = comparison.to_json()
    said = [*_notes(found, names), *(note for f in found for note in f.notes), *result["notes"]]
    said += [
        f"{m['name']}: the whole interval of the AUC lies below 0.5: {SWAPPED}"
        for m in result["models"]
        if comparison.primary.endswith("roc_auc") and (m["measure"]["high"] or 1) < 0.5
    ]
    mapping = {name: list(f.mapping) for name, f in zip(names, found, strict=True) if f.mapping}
    return result | {"notes": said, "mapping": mapping}


def _names(names: list[str], paths: list[Path]) -> list[str]:
    """Short names where they tell the models apart, else the paths as given."""
    return names if len(set(names)) == len(names) else [str(p) for p in paths]


def _malignant(found: list[PredictionSource], given: tuple[str, ...]) -> tuple[str, ...]:
    known = {frozenset(f.malignant): f.malignant for f in found if f.malignant}
    if given or not known:
        return given
    if len(known) > 1:
        raise BadInput(
            "the runs differ in which classes are malignant", remedy="name them with --malignant"
        )
    return next(iter(known.values()))


def _notes(found: list[PredictionSource], names: list[str]) -> list[str]:
    notes = []
    for source, name in zip(found, names, strict=True):
        if source.leaky:
            notes.append(f"LEAKY: {name} was trained on data that overlap with its test set")
        if source.part == "train":
            notes.append(
                f"{name}: predictions of its own training images say nothing about new images"
            )
        if source.part == "test":
            notes.append(
                f"{name}: selecting the best of several models by their test results is a choice "
                "on the test set"
            )
        if source.synthetic:
            notes.append(f"{name} was trained on synthetic images only")
    return notes
