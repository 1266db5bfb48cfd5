"""From a source to a dataset folder: every image decoded once, hashed, and copied unchanged."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lesionlab import __version__, files
from lesionlab.data.archive import open_tree
from lesionlab.data.file_kinds import FORMATS, SUFFIXES
from lesionlab.data.image_check import Checked, at_their_depth, check_image
from lesionlab.data.images import Reading
from lesionlab.data.import_checks import patients_known, refuse_one_class, unread_ages
from lesionlab.data.left_out import LeftOut, grouped
from lesionlab.data.manifest import (
    COLUMNS,
    NUMBER_COLUMNS,
    ORIGINAL,
    Dataset,
    DatasetInfo,
    printable,
    write_dataset,
)
from lesionlab.data.mask_import import MASKS, import_masks
from lesionlab.data.masks import with_masks
from lesionlab.data.patients import offered, with_patients, with_twins
from lesionlab.data.placeholder_ids import known_patients
from lesionlab.data.relabel import regrouped
from lesionlab.data.sources.base import Found, Rejected, Source, checked_options
from lesionlab.data.sources.table import recognised
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput, counted
from lesionlab.platforms import is_device, usable_cpus
from lesionlab.progress import SILENT, Progress

IMAGES = "images"
CONTROL = r"[\x00-\x1f\x7f-\x9f]"
WORKERS = max(2, usable_cpus())


def import_source(
    source: Source | None,
    src: Path | None,
    to: Path,
    *,
    options: Mapping[str, Any] | None = None,
    label_map: Sequence[str] = (),
    masks: Path | None = None,
    patient_from: str = "",
    max_rejected: float = 0.05,
    progress: Progress = SILENT,
) -> Dataset:
    """Make the dataset folder `to` from `src` (a folder or archive; None for synthetic sets).

    `source=None` recognises the data set. `label_map` regroups classes (`old,old=new`); `masks`
    is a folder or archive of lesion masks that carry the images' ids in their names;
    `patient_from` is "folder" or an expression (`data.patients.with_patients`). Every
    image is decoded completely; what cannot be is listed in `info.counts["rejected"]` with its
    reason. Raises `BadInput` where nothing usable is found, where more than the share
    `max_rejected` of the images is refused, or where `to` exists. Nothing half-written stays.
    """
    if not 0 <= max_rejected <= 1:
        raise BadInput(f"max_rejected={max_rejected:g} is not a proportion from 0 to 1")
    to = Path(to)
    if source:
        checked_options(source, options or {})
    files.refuse_existing(to)
    if src is None and (source is None or source.needs_tree):
        name = source.name if source else "auto"
        raise BadInput(
            f"source '{name}' needs a folder or an archive",
            remedy=f"lesionlab import {name} SRC --to {to}",
        )
    with contextlib.ExitStack() as stack:
        tree = Tree("synthetic", {}) if src is None else stack.enter_context(open_tree(src))
        try:
            source, why = (source, "") if source else recognised(tree)
            if why:
                progress.say(f"recognised as {source.name}: {why}")
            tree.was_read.clear()  # what other sources looked at is not taken yet
            found = source.find(tree, checked_options(source, options or {}))
        except BadInput as error:
            raise _with_left_out(error, tree) from None
        found = _with_known_patients(regrouped(found, label_map))
        refuse_one_class(found, source, tree, src)
        found = with_twins(with_patients(found, patient_from))
        if masks is not None:
            found = with_masks(found, stack.enter_context(open_tree(masks)))
        if why:
            found = replace(found, notes=(f"recognised as {source.name}: {why}", *found.notes))
        return _write(source, found, tree, to, max_rejected, progress)


def _with_left_out(error: BadInput, tree: Tree) -> BadInput:
    """The refusal of a tree without any image also says what the tree holds instead."""
    groups = () if tree.images else grouped(_not_taken(tree, ()))
    if not groups:
        return error
    return BadInput(f"{error}; there are {'; '.join(group.line for group in groups[:5])}")


def _not_taken(tree: Tree, rejected: Sequence[Rejected]) -> Iterator[tuple[str, str]]:
    """`(name, reason)` of each file that was passed over, or that the source never read."""
    yield from tree.hidden
    known = {item.path for item in rejected}
    reads_dicom = any(name in tree.was_read for name in tree.dicoms)
    for name in tree.names:
        if name not in tree.was_read and name not in known:
            yield name, _why_not(tree, name, reads_dicom)


def _why_not(tree: Tree, name: str, reads_dicom: bool) -> str:
    if name.lower().endswith(SUFFIXES):
        return "an image that is not named or not selected"
    kind = tree.kind(name)
    if kind.is_picture or (kind.format == "DICOM" and reads_dicom):
        return "an image that is not named or not selected"
    if kind.format == "DICOM":
        return "DICOM: lesionlab import dicom"
    return kind.reason


def _with_known_patients(found: Found) -> Found:
    if "patient_id" not in found.rows:
        return found
    patients, warnings = known_patients(found.rows["patient_id"])
    rows = found.rows.assign(patient_id=patients)
    return replace(found, rows=rows, notes=(*found.notes, *warnings))


def _write(
    source: Source, found: Found, tree: Tree, to: Path, max_rejected: float, progress: Progress
) -> Dataset:
    origin = tree.origin
    if found.rows.empty:
        raise BadInput(
            "no images were found",
            where=origin,
            remedy=found.rejected[0].reason if found.rejected else "check the path",
        )
    table = _with_paths(found.rows, tree)
    with files.stage_folder(to) as aside:
        checked = _copy_images(found, table, aside, progress)
        paths = {name: aside / path for name, path in table[["file", "path"]].to_numpy()}
        checked, reading, notes = at_their_depth(checked, paths)
        table, rejected = _accepted(table, checked)
        if "mask" in table:
            turns = {name: one.orientation for name, one in checked.items()}
            table, unfit, told = import_masks(found.read, table, aside, turns, progress)
            rejected, notes = [*rejected, *unfit], [*notes, *told]
        rejected = [*found.rejected, *rejected]
        _check_share(rejected, len(table), max_rejected, origin)
        left_out = grouped(_not_taken(tree, rejected))
        found = replace(found, notes=(*found.notes, *notes))
        info = _info(source, found, table, rejected, left_out, reading)
        dataset = Dataset(aside, _manifest(table, source.name), info)
        write_dataset(dataset)
    return Dataset(to, dataset.table, info)


def _with_paths(rows: pd.DataFrame, tree: Tree) -> pd.DataFrame:
    """Add `path` (and `mask`) under names of our own; one path for each file."""
    where = tree.origin
    _refuse_control_characters(rows, where)
    twice = rows.loc[rows["image_id"].duplicated(), "image_id"]
    if not twice.empty:
        raise BadInput(f"image_id '{twice.iloc[0]}' is repeated", where=where)
    ids = rows.drop_duplicates("file").set_index("file")["image_id"]
    taken: set[str] = set()
    paths = {name: safe_path(IMAGES, i, _suffix(name, tree), taken) for name, i in ids.items()}
    table = rows.assign(path=rows["file"].map(paths)).reset_index(drop=True)
    if "mask_file" in table:
        masks = {
            row.mask_file: safe_path(MASKS, row.image_id, ".png", taken)
            for row in table.drop_duplicates("mask_file").itertuples()
            if row.mask_file
        }
        table["mask"] = table["mask_file"].map(masks).fillna("")
    return table


def _refuse_control_characters(rows: pd.DataFrame, where: str) -> None:
    """Names that could steer a terminal or forge a line of a log are taken from nobody."""
    for column in ("image_id", "label", "patient_id", "lesion_id"):
        if column in rows:
            odd = rows.loc[rows[column].astype(str).str.contains(CONTROL), column]
            if not odd.empty:
                raise BadInput(
                    f"{column} {str(odd.iloc[0])!r} holds a control character",
                    where=where,
                    remedy="remove it from the table or the folder names of the source",
                )


def _suffix(name: str, tree: Tree) -> str:
    """The image's own suffix, else that of its format; PNG is what sources make of other files."""
    suffix = Path(name).suffix.lower()
    if suffix in SUFFIXES:
        return suffix
    kind = tree.kind(name).format if name in tree.entries else ""
    return FORMATS.get(kind, (".png",))[0]


def safe_path(folder: str, image_id: str, suffix: str, taken: set[str]) -> str:
    """A safe path that no other image has, even on a disk that ignores case."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", image_id).strip("._")[:100] or "image"
    stem = f"_{stem}" if is_device(stem) else stem
    path = f"{folder}/{stem}{suffix}"
    if path.casefold() in taken:
        digest = hashlib.sha256(image_id.encode()).hexdigest()[:8]
        path = f"{folder}/{stem}-{digest}{suffix}"
    taken.add(path.casefold())
    return path


def _copy_images(
    found: Found, table: pd.DataFrame, folder: Path, progress: Progress
) -> dict[str, Checked]:
    """Copy and check each file in parallel (Pillow decodes without the GIL)."""
    (folder / IMAGES).mkdir()
    pairs = list(table[["file", "path"]].drop_duplicates().itertuples(index=False, name=None))
    work = _copier(found.read, folder)
    with ThreadPoolExecutor(WORKERS) as pool:
        results = pool.map(work, pairs)
        checked = dict(
            zip(
                (name for name, _ in pairs),
                progress(results, "importing images", len(pairs)),
                strict=True,
            )
        )
    return checked


def _copier(read: Callable[[str], bytes], folder: Path) -> Callable[[tuple[str, str]], Checked]:
    def copy(pair: tuple[str, str]) -> Checked:
        name, path = pair
        try:
            data = read(name)
        except BadInput as error:
            return Checked(reason=getattr(error, "advice", str(error)))
        checked = check_image(data, name)
        if not checked.reason:
            (folder / path).write_bytes(data)
        return checked

    return copy


def _accepted(
    table: pd.DataFrame, checked: Mapping[str, Checked]
) -> tuple[pd.DataFrame, list[Rejected]]:
    bad = [Rejected(name, c.reason) for name, c in checked.items() if c.reason]
    table = table[[checked[name].reason == "" for name in table["file"]]]
    for column in ("width", "height", "sha256", "phash"):
        table = table.assign(**{column: [getattr(checked[n], column) for n in table["file"]]})
    return table.reset_index(drop=True), bad


def _check_share(
    rejected: Sequence[Rejected], accepted: int, max_rejected: float, where: str
) -> None:
    total = accepted + len(rejected)
    if not accepted or len(rejected) > max_rejected * total:
        first = rejected[0]
        raise BadInput(
            f"{len(rejected)} of {counted(total, 'image')} cannot be used, the first is "
            f"'{first.path}' "
            f"({first.reason})",
            where=where,
            remedy="fix them, or allow a larger proportion with --max-rejected",
        )


def _manifest(table: pd.DataFrame, source: str) -> pd.DataFrame:
    table = table.assign(**{c: "" for c in COLUMNS if c not in table.columns})
    table["source"] = table["source"].where(table["source"] != "", source)
    if ORIGINAL not in table:
        table[ORIGINAL] = table["file"].map(printable)
    for column in (*NUMBER_COLUMNS,):
        table[column] = pd.to_numeric(table[column].replace("", None)).astype("float64")
    own = [c for c in table.columns if c not in (*COLUMNS, "file", "mask_file")]
    return table[[*COLUMNS, *own]]


def _info(
    source: Source,
    found: Found,
    table: pd.DataFrame,
    rejected: Sequence[Rejected],
    left_out: Sequence[LeftOut],
    reading: Reading,
) -> DatasetInfo:
    counts = count(table, found.classes)
    expected = found.expected if found.expected is not None else source.expected
    known = [c for c in (*source.forbidden, *found.forbidden) if c in table.columns]
    return DatasetInfo(
        name=source.title,
        source=source.name,
        licence=source.licence,
        citation=source.citation,
        classes=found.classes,
        malignant=found.malignant,
        **asdict(reading),
        modality=found.modality or source.modality,
        synthetic=source.synthetic,
        forbidden_inputs=tuple(known),
        counts={
            **counts,
            "expected": dict(expected),
            "rejected": [{"path": r.path, "reason": r.reason} for r in rejected],
            "left_out": [group.to_json() for group in left_out],
        },
        notes=(
            *found.notes,
            *differences(counts, expected),
            *_twins(table),
            *spelt_apart(table),
            *unread_ages(table),
            *patients_known(table),
            *offered(found),
        ),
        lesionlab_version=__version__,
    )


def spelt_apart(table: pd.DataFrame) -> list[str]:
    """One line where group ids differ only by case, spaces or ".0": they may be one, and cross."""
    lines = []
    for column in ("patient_id", "lesion_id"):
        ids = pd.Series(table[column].astype(str).unique()) if column in table else pd.Series()
        ids = ids[ids != ""]
        plain = ids.astype(str).str.strip().str.casefold().str.removesuffix(".0")
        twice = ids[plain.duplicated(keep=False)]
        if len(twice):
            few = ", ".join(f"'{i}'" for i in sorted(twice)[:4])
            lines.append(
                f"{len(twice)} values of {column} differ from another only by case, spaces or '.0' "
                f"({few}): they count as different values; correct the source if they mean the same"
            )
    return lines


def count(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """`{images, rows, patients, lesions, classes: {name: n}}`; an absent id counts for nothing."""
    per_class = table["label"].value_counts()

    def distinct(column: str) -> int:
        return int(table.loc[table[column] != "", column].nunique()) if column in table else 0

    return {
        "images": distinct("path"),
        "rows": len(table),
        "patients": distinct("patient_id"),
        "lesions": distinct("lesion_id"),
        "classes": {c: int(per_class.get(c, 0)) for c in classes},
    }


def differences(counts: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """One line for each count that differs from the published one."""
    lines = [
        f"{counts[k]} {k} instead of the published {expected[k]}"
        for k in ("images", "rows", "patients", "lesions")
        if k in expected and counts[k] != expected[k]
    ]
    for name, n in expected.get("classes", {}).items():
        if counts["classes"].get(name, 0) != n:
            found = counts["classes"].get(name, 0)
            lines.append(f"{counted(found, 'image')} of class {name} instead of the published {n}")
    return lines


def _twins(table: pd.DataFrame) -> list[str]:
    one_each = table.drop_duplicates("path")
    twins = int(one_each["sha256"].duplicated().sum())
    return [
        counted(twins, "image is a byte-identical copy", "images are byte-identical copies")
        + " of others; split keeps them together"
    ] * (twins > 0)
