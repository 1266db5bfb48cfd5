"""The table of other cases that `--calib` names: it is read, and refused where it overlaps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lesionlab.data.id_matching import match_ids
from lesionlab.errors import BadInput
from lesionlab.evaluation.class_words import in_classes
from lesionlab.evaluation.foreign import read_any
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.same_rows import same_rows
from lesionlab.evaluation.table_reading import TableReading
from lesionlab.run_folder import CONFIG


def read_calibrating(
    path: Path, measured: Predictions, how: TableReading
) -> tuple[Predictions, tuple[str, ...]]:
    """The labelled predictions of a calibration table, read as the measured one; and how."""
    refuse_opened_test(path)
    read = read_any(path, replace(how, truth=None, matching_only=False))
    kept, said = calibrating_rows(read.predictions, measured, str(path))
    return kept, (*how_read(path, read.notes), *said)


def calibrating_rows(
    found: Predictions, measured: Predictions, where: str
) -> tuple[Predictions, tuple[str, ...]]:
    """The labelled rows of data that calibrate, in the classes' order of `measured`; and notes.

    Raises `BadInput` where its classes are others, no row has a label, an image or a group
    (patient, lesion) stands in both tables, or they hold the same rows by other names.
    """
    kept = in_classes(found.labelled(), measured.classes)
    if kept is None:
        raise BadInput(
            f"its classes are {', '.join(found.classes)}, not {', '.join(measured.classes)}",
            where=where,
        )
    if not len(kept):
        raise BadInput("no row has a label", where=where, remedy="add a column 'label'")
    images = match_ids(kept.image_id.tolist(), measured.image_id.tolist())
    for what, both in (
        ("image", sorted(kept.image_id[images.found])),
        ("group", sorted(set(measured.groups) & set(kept.groups))),
    ):
        if both:
            raise BadInput(
                f"{len(both)} {what}(s) are in both tables, the first is '{both[0]}'",
                where=where,
                remedy="calibrate on patients that are not evaluated",
            )
    return kept, _about_same_rows(kept, measured, where)


def _about_same_rows(kept: Predictions, measured: Predictions, where: str) -> tuple[str, ...]:
    """Ids tell nothing where none were given; label and probabilities still do."""
    overlap = same_rows(kept, measured)
    if overlap.all:
        raise BadInput(
            "it holds the rows that are measured: what is fitted on them looks better than it is",
            where=where,
            remedy="calibrate on other cases",
        )
    if not overlap.notable:
        return ()
    return (
        f"{overlap.rows} of {overlap.of} measured rows occur in the data that calibrate too, with "
        "the same label and probabilities: what is measured on them looks better than it is",
    )


def how_read(path: Path, notes: tuple[str, ...]) -> tuple[str, ...]:
    """One note for all that was said on reading a table."""
    plain = [n.removeprefix(f"{path}: ") for n in notes]
    return (f"{path.name}: {'; '.join(plain)}",) if plain else ()


def refuse_opened_test(path: Path) -> None:
    """`BadInput` where nothing may be chosen on a table: it is the test part of a run."""
    if path.name == "predictions-test.csv" and (path.parent / CONFIG).is_file():
        raise BadInput(
            "nothing may be chosen on the test split",
            where=str(path),
            remedy="choose on predictions-valid.csv",
        )
