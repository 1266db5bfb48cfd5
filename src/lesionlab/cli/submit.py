"""`lesionlab submit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import answer, json_option, path_argument, path_option
from lesionlab.errors import counted
from lesionlab.evaluation.challenge.formats import FORMATS

EXAMPLE = """\b
Examples:
  lesionlab submit predictions.csv --format isic2018 -o submission.csv --sample sample.csv
  lesionlab submit submission.csv --format isic2018 --check --sample sample.csv
"""


@click.command(epilog=EXAMPLE)
@path_argument("source")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), required=True,
              help="The challenge.")  # fmt: skip
@path_option("-o", "--out", help="The submission to write.")
@path_option("--sample", help="Sample file of the challenge; gives the images and their order.")
@click.option("--split", default="valid", show_default=True, help="Split of a run.")
@click.option("--malignant", default="", help="Classes summed into the one column: mel,bcc,...")
@click.option(
    "--balanced", is_flag=True, help="Divide by the prior of the run, for balanced accuracy."
)
@click.option(
    "--check", is_flag=True, help="Write nothing; list what the challenge site would refuse."
)
@json_option
def command(
    source: Path,
    form: str,
    out: Path | None,
    sample: Path | None,
    split: str,
    malignant: str,
    balanced: bool,
    check: bool,
    as_json: bool,
) -> None:
    """Write SOURCE (a run or a predictions CSV) as a submission, or --check a submission."""
    from lesionlab.api.submit import check_submission_file, submit

    if check:
        result = check_submission_file(source, format=form, sample=sample)
        answer(result, as_json, lambda: _show_check(result))
        if result["problems"]:
            click.get_current_context().exit(2)
        return
    if out is None:
        raise click.UsageError(
            "give the file to write with -o, or check an existing file with --check"
        )
    result = submit(
        source,
        format=form,
        out=out,
        sample=sample,
        split=split,
        malignant=[c.strip() for c in malignant.split(",") if c.strip()],
        balanced=balanced,
    )
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    print(f"{counted(result['rows'], 'image')}, {result['format']}: {result['out']}")
    for line in (*result["notes"], *result["warnings"]):
        print(f"note: {line}")
    if result["leaky"]:
        print("LEAKY: the training data of this model overlap with its test set")


def _show_check(result: dict[str, Any]) -> None:
    for line in result["problems"]:
        print(f"refused: {line}")
    for line in result["warnings"]:
        print(f"note: {line}")
    if not result["problems"]:
        print(f"{counted(result['rows'], 'row')}; {result['judge']} would accept them")
