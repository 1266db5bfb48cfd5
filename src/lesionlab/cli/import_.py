"""`lesionlab import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lesionlab.cli.common import Bar, answer, json_option, path_option
from lesionlab.errors import counted

EPILOG = """\b
Examples:
  lesionlab import auto archive.zip --to data/ham
  lesionlab import folder photos/ --to data/photos --malignant melanoma,bcc
  lesionlab import folder slides/ --to data/slides --patient-from folder
  lesionlab import isic2017 isic2017.zip --to data/bm \\
      --map nevus,seborrheic_keratosis=benign melanoma=malignant
  lesionlab import mini-mias mias.zip --to data/mias --roi fixed --roi-size 96
  lesionlab import synthetic --to data/demo --lesions 150 --seed 0
"""

# option -> (sources that take it, type, help)
OPTIONS: dict[str, tuple[str, Any, str]] = {
    "classes": ("folder", str, "import only these class folders (comma-separated)"),
    "malignant": (
        "folder, csv, dicom, layouts",
        str,
        "which classes are malignant (comma-separated)",
    ),
    "valid-last": (
        "folder",
        float,
        "proportion of each training class, from its end, as validation split",
    ),
    "lesions": ("synthetic", int, "number of lesions"),
    "seed": ("synthetic, mini-mias", click.IntRange(0), "random seed"),
    "roi": ("mini-mias", click.Choice(("fixed", "radius")), "field of view"),
    "roi-size": ("mini-mias", int, "side of a fixed field of view in pixels (96)"),
    "normals": (
        "mini-mias",
        click.Choice(("inside", "centre", "none")),
        "where patches of normal films are taken",
    ),
    "abnormality": ("mini-mias", click.Choice(("all", "calc", "mass")), "abnormalities to import"),
    "protocol": (
        "mini-mias",
        click.Choice(("regions", "tutorial")),
        "one region each, or the 12 patches of the tutorial",
    ),
    "view": ("cbis-ddsm", click.Choice(("crop", "film")), "cropped images or whole films"),
    "table": ("csv", str, "which table, if there are several"),
    "ignore-column": ("csv", str, "columns to leave out (comma-separated)"),
    **{
        f"{role}-column": ("csv", str, f"the column that holds the {role}")
        for role in ("image", "label", "patient", "lesion", "split", "age", "sex", "site")
    },
    "label-column": (
        "csv, isic-archive, fitzpatrick17k, imagefolder",
        str,
        "the column that holds the label",
    ),
    "skin-type-column": ("csv", str, "the column that holds the skin type"),
}

# Named here and not taken from the table of sources, which is slow to load (a test compares).
SOURCE_NAMES = (
    "ham10000", "isic2016", "isic2017", "isic2018", "isic2019", "isic2020", "isic2024", "milk10k",
    "bcn20000", "isic-archive", "ph2", "pad-ufes-20", "ddi", "fitzpatrick17k", "derm7pt",
    "mini-mias", "cbis-ddsm", "inbreast", "vindr-mammo", "rsna-mammo", "medmnist", "dicom",
    "roboflow", "coco", "fiftyone", "imagefolder", "csv", "folder", "synthetic",
)  # fmt: skip
HELP = f"""Import SRC, a folder or an archive, as a dataset folder.

SOURCE is the kind of data set: auto (recognised by its headers and layout) or one of
{", ".join(SOURCE_NAMES)}. Every image is decoded once. Images that cannot be used are listed with
the reason.
"""


def _source_options(function: Any) -> Any:
    for name, (sources, kind, text) in reversed(OPTIONS.items()):
        function = click.option(f"--{name}", type=kind, help=f"{sources}: {text}.")(function)
    return function


@click.command("import", help=HELP, epilog=EPILOG)
@click.argument("source")
@click.argument("words", nargs=-1, metavar="[SRC]")
@path_option("--to", required=True, help="The new dataset folder.")
@click.option(
    "--map",
    "label_map",
    multiple=True,
    metavar="OLD,OLD=NEW ...",
    help="Regroup classes. NEW - excludes them.",
)
@path_option("--masks", help="A folder or archive of lesion masks, named by image id.")
@click.option(
    "--patient-from",
    default="",
    metavar="folder|REGEX",
    help="Patients from the paths: their folders, or the first group of an expression.",
)
@_source_options
@click.option(
    "--max-rejected",
    type=float,
    default=0.05,
    show_default=True,
    help="Maximum proportion of unusable images; the import fails above it.",
)
@json_option
def command(
    source: str,
    words: tuple[str, ...],
    to: Path,
    label_map: tuple[str, ...],
    masks: Path | None,
    patient_from: str,
    max_rejected: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Parse, call, print (the help text is HELP)."""
    from lesionlab.api.import_dataset import import_dataset

    given = {name: value for name, value in options.items() if value is not None}
    src, rules = _words(words, label_map)
    result = import_dataset(
        source,
        src,
        to,
        label_map=rules,
        masks=masks,
        patient_from=patient_from,
        max_rejected=max_rejected,
        progress=Bar(),
        **given,
    )
    answer(result, as_json, lambda: _show(result))


def _words(words: tuple[str, ...], rules: tuple[str, ...]) -> tuple[Path | None, list[str]]:
    """SRC, and the further rules of `--map a=b c=d`, which the shell hands over as words."""
    more = [w for w in words if rules and "=" in w and not Path(w).exists()]
    rest = [w for w in words if w not in more]
    if len(rest) > 1:
        raise click.UsageError(f"one SRC is expected, not {' '.join(rest)}")
    return Path(rest[0]) if rest else None, [*rules, *more]


def _show(result: dict[str, Any]) -> None:
    from lesionlab.data.left_out import LeftOut, grouped

    console = Console()
    regions = result["rows"] != result["images"]
    told = f"{counted(result['rows'], 'region')} of {counted(result['images'], 'image')}"
    title = told if regions else counted(result["images"], "image")
    table = Table(title=escape(f"{result['name']}: {title}"))
    table.add_column("class")
    table.add_column("regions" if regions else "images", justify="right")
    for name, n in result["classes"].items():
        mark = " (malignant)" if name in result["malignant"] else ""
        table.add_row(escape(name + mark), f"{n:,}")
    console.print(table)
    console.print(f"patients {result['patients']:,}, lesions {result['lesions']:,} (0 = not given)")
    for note in result["notes"]:
        console.print(f"note: {note}", markup=False)
    excluded = result["rejected"]
    if len(excluded) <= 10:
        for item in excluded:
            console.print(f"excluded: {item['path']}: {item['reason']}", markup=False)
    else:
        for group in grouped((item["path"], item["reason"]) for item in excluded):
            console.print(f"excluded: {group.line}", markup=False, soft_wrap=True)
    for found in result["left_out"]:
        console.print(f"left out: {LeftOut(**found).line}", markup=False, soft_wrap=True)
    console.print(f"licence: {result['licence']}", markup=False)
    console.print(f"next: lesionlab split {result['dataset']}", markup=False)
