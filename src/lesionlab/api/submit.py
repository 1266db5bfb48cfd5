"""Write a challenge's submission, or say beforehand what would be refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lesionlab.errors import BadInput


def submit(
    source: Path | str,
    *,
    format: str,
    out: Path | str,
    sample: Path | str | None = None,
    split: str = "valid",
    malignant: Sequence[str] = (),
    balanced: bool = False,
) -> dict[str, Any]:
    """Write the predictions of a run folder or CSV as a submission, in the sample's order.

    `malignant` names the classes of the one column of isic2016, isic2020 and isic2024 (a run
    knows its own). `balanced` divides the run's prior out of its probabilities: the decision
    that balanced accuracy rewards. Returns `{out, format, rows, columns, notes, warnings}`.
    Raises `BadInput` where the predictions do not fit the format.
    """
    from lesionlab.api._inputs import open_source
    from lesionlab.evaluation.submission import (
        check_submission,
        make_submission,
        write_submission,
    )

    found, path = open_source(Path(source), split), Path(out)
    if balanced and found.prior is None:
        raise BadInput("the prior of these probabilities is not known", where=str(source))
    listed = None if sample is None else Path(sample)
    submission = make_submission(
        found.predictions,
        format,
        sample=listed,
        malignant=tuple(malignant) or _own_malignant(found.malignant, format),
        prior=found.prior if balanced else None,
    )
    write_submission(path, submission)
    check = check_submission(path, format, sample=listed)
    return {
        "schema_version": 1,
        "out": str(path),
        "format": submission.format,
        "rows": submission.rows,
        "columns": {column: list(group) for column, group in submission.columns.items()},
        "notes": list(submission.notes),
        "warnings": list(check.warnings),
        "leaky": found.leaky,
    }


def _own_malignant(malignant: tuple[str, ...], format_name: str) -> tuple[str, ...]:
    """A run's malignant classes, for 2024; 2016 and 2020 ask for melanoma, found by its name."""
    return malignant if format_name == "isic2024" else ()


def check_submission_file(
    path: Path | str,
    *,
    format: str,
    sample: Path | str | None = None,
) -> dict[str, Any]:
    """What the judge of `format` would refuse in a file: `{problems, warnings, rows, judge}`."""
    from lesionlab.evaluation.submission import check_submission

    check = check_submission(Path(path), format, sample=None if sample is None else Path(sample))
    return {"schema_version": 1, "path": str(path), **check.to_json()}
