"""Any table of images: columns named by the user, or recognised by their usual names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lesionlab.data import tables
from lesionlab.data.file_kinds import stem_of
from lesionlab.data.id_matching import FOLDERS, SUFFIXED, IdMatch, match_ids, plain_id
from lesionlab.data.manifest import COLUMNS, ORIGINAL
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Rejected, Source
from lesionlab.data.sources.folder import malignant_classes
from lesionlab.data.taxonomy import malignant_of
from lesionlab.data.tree import Tree
from lesionlab.errors import BadInput, counted, nearest

# role -> usual names, best first, compared without case and signs
USUAL: dict[str, tuple[str, ...]] = {
    "image": ("image", "imageid", "imagename", "isicid", "imgid", "filename", "file", "filepath",
              "path", "img", "id", "name"),
    "label": ("label", "diagnosis", "dx", "class", "target", "diagnostic", "benignmalignant",
              "pathology", "y"),
    "patient": ("patientid", "patient", "subjectid", "subject"),
    "lesion": ("lesionid", "lesion"),
    "split": ("split", "set", "fold", "partition", "subset"),
    "age": ("age", "ageapprox", "ageapproximate", "patientage"),
    "sex": ("sex", "gender"),
    "site": ("site", "anatomsitegeneral", "localization", "location", "region", "bodysite"),
    "skin_type": ("skintype", "fitzpatrick", "fitzpatrickskintype", "fitspatrick", "fst"),
}  # fmt: skip
TARGETS = {"patient": "patient_id", "lesion": "lesion_id", "split": "official_split"}
ROI = ("roi_x", "roi_y", "roi_size")
# Names that rows have here: of the manifest, and of what import and split add to it.
OURS = (*COLUMNS, ORIGINAL, common.AS_WRITTEN, "file", "image", "label", "mask", "mask_file",
        "twin_group", "official_split", "dropped", "source_label")  # fmt: skip


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """Rows of `table` (or the only table), with the roles of columns given or recognised.

    `image_column` holds paths, file names or ids of the images. Labels such as " Melanoma" and
    "melanoma" are one class, "0.0" and "0" too. Every other column is kept as it is, but those
    in `ignore_column` (comma-separated).
    """
    name = _table_name(tree, options)
    ignored = common.listed(options.get("ignore_column"))
    _refuse_unknown(ignored, tree, name)
    table, notes = tables.read_csv(tree.read(name), name, ignore=ignored)
    table, one_hot = _with_one_hot(table, options)
    roles = _roles(list(table.columns), options, name)
    table, moved = out_of_the_way(table, roles)
    rows = table.rename(columns={c: r for r, c in roles.items() if r in ("image", "label")})
    rows = rows.assign(label=common.one_spelling(tidy_labels(rows["label"])))
    rows, nameless = _named(rows)
    rows, zeros = _with_lost_zeros(rows, tree)
    first = next(iter(rows["image"]), "")
    rows, rejected, extra = _with_images(rows, tree, name)
    _refuse_no_match(rows, first, tree, name)
    rows, unlabelled = _labelled(rows, name)
    columns = {TARGETS.get(r, r): c for r, c in roles.items() if r not in ("image", "label")}
    rows = common.standard(rows, columns, name)
    _refuse_no_age(rows, options.get("age_column"), name)
    if "official_split" in rows:
        rows["official_split"] = rows["official_split"].map(common.part_word).fillna("")
    classes = tuple(sorted(set(rows["label"])))
    given = common.listed(options.get("malignant"))
    return Found(
        rows=rows,
        read=common.picture_reader(tree),
        classes=classes,
        malignant=malignant_classes(classes, given) or malignant_of(classes),
        rejected=tuple(rejected),
        notes=(*notes, *one_hot, *moved, *nameless, *zeros, *extra, *unlabelled, _said(roles)),
    )


def _refuse_unknown(ignored: tuple[str, ...], tree: Tree, name: str) -> None:
    known = tables.header(tree.read(name)) if ignored else ()
    for column in ignored:
        if column not in known:
            raise BadInput(
                f"column '{column}' is missing", where=name, remedy=nearest(column, known)
            )


def _with_one_hot(
    table: pd.DataFrame, options: Mapping[str, Any]
) -> tuple[pd.DataFrame, list[str]]:
    """A table without a column of labels, but with one of 0 and 1 for each class, gets one."""
    if options.get("label_column") or label_column(list(table.columns)):
        return table, []
    flags = table.loc[:, table.isin(["0", "1", "0.0", "1.0"]).all()]
    hits = flags.isin(["1", "1.0"])
    if flags.shape[1] < 2 or not (hits.sum(axis=1) == 1).all() or not hits.any().all():
        return table, []
    label = np.array(flags.columns, object)[hits.to_numpy().argmax(1)]
    note = f"labels from the columns {', '.join(flags.columns)}: one of them is 1 in each row"
    return table.drop(columns=flags.columns).assign(label=label), [note]


def out_of_the_way(
    table: pd.DataFrame, roles: Mapping[str, str], keep: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Other columns of the table must not take the names that rows have here.

    They are kept as `table_<name>`. A column `source` and numbers in `roi_x` mean here what they
    mean there.
    """
    taken = {*OURS, *roles, *(TARGETS.get(role, role) for role in roles)}
    meant = {"source", *keep, *(c for c in ROI if c in table and _all_numbers(table[c]))}
    clash = [c for c in table if c in taken - meant and c not in roles.values()]
    names = {c: f"table_{c}" for c in clash}
    notes = [f"column '{old}' of the table is kept as '{new}'" for old, new in names.items()]
    return table.rename(columns=names), notes


def _all_numbers(values: pd.Series) -> bool:
    return bool(
        pd.to_numeric(values.replace("", "nan"), errors="coerce").notna().eq(values != "").all()
    )


def _named(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    bare = rows["image"] == ""
    lost = int(bare.sum())
    note = f"{counted(lost, 'row')} without the name of an image left out"
    return rows[~bare].reset_index(drop=True), [note] * (lost > 0)


def _with_lost_zeros(rows: pd.DataFrame, tree: Tree) -> tuple[pd.DataFrame, list[str]]:
    """Ids that a spreadsheet took for numbers ("1", "1.0") as their only image writes them."""
    rounded = rows["image"].str.fullmatch(r"\d(\.\d+)?E\+\d+", case=False)
    if rounded.any():
        raise BadInput(
            f"'{rows.loc[rounded, 'image'].iloc[0]}' is a number that a spreadsheet shortened: the "
            "id is lost",
            where=tree.origin,
            remedy="export the table again with the ids as text",
        )
    stems = [stem_of(n) for n in tree.pictures]
    by_number: dict[int, set[str]] = {}
    for stem in stems:
        if stem.isascii() and stem.isdecimal():
            by_number.setdefault(int(stem), set()).add(stem)
    lost = rows["image"].str.fullmatch(r"[0-9]+(\.0+)?") & ~rows["image"].isin(stems)
    meant = [by_number.get(int(float(i)), set()) if hit else set()
             for i, hit in zip(rows["image"], lost, strict=True)]  # fmt: skip
    names = [next(iter(m)) if len(m) == 1 else i for m, i in zip(meant, rows["image"], strict=True)]
    changed = rows.loc[rows["image"] != names, "image"]
    if changed.empty:
        return rows, []
    note = f"{counted(len(changed), 'id')} without zeros in front matched ('{changed.iloc[0]}' is "
    note += f"'{names[changed.index[0]]}'): a spreadsheet took them for numbers"
    return rows.assign(image=names), [note]


def _refuse_no_match(rows: pd.DataFrame, name: str, tree: Tree, where: str) -> None:
    if not rows.empty:
        return
    images = tree.pictures
    there = f"there is '{images[0]}'" if images else "there are no images"
    raise BadInput(
        f"no row names an image of the source: the first names '{name}', but {there}",
        where=where,
        remedy="name the column of file names or ids with --image-column",
    )


def _refuse_no_age(rows: pd.DataFrame, given: Any, where: str) -> None:
    """An age column that was recognised by its name may hold anything; one that was named not."""
    if given and rows["age"].isna().all() and common.AS_WRITTEN in rows:
        text = next(t for t in rows[common.AS_WRITTEN] if t)
        raise BadInput(
            f"column '{given}' holds no ages, but for example '{text}'",
            where=where,
            remedy="name another with --age-column",
        )


def _table_name(tree: Tree, options: Mapping[str, Any]) -> str:
    """The table that was named, else the only one, or the only one with the columns needed."""
    if given := options.get("table"):
        names = [n for n in tree.names if n == given or n.endswith("/" + str(given))]
        if not names:
            hint = nearest(str(given), [*tree.tables, *tree.ending(".txt")])
            raise BadInput(f"no table '{given}'", where=tree.origin, remedy=hint)
        return names[0]
    names = tree.tables
    if not names:
        raise BadInput(
            "no table was found",
            where=tree.origin,
            remedy="a .csv, .tsv, .tab or .xlsx file is expected; name another with --table",
        )
    if len(names) > 1:
        fit = [n for n in names if n in tree.headers and _has_roles(tree.headers[n], options, n)]
        if len(fit) == 1:
            return fit[0]
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise BadInput(
            f"{len(names)} tables were found ({shown})",
            where=tree.origin,
            remedy=f"choose one: --table '{names[0]}'",
        )
    return names[0]


def usual_roles(columns: list[str]) -> dict[str, str]:
    """`{role: column}` by usual names; a column has one role."""
    plain = {"".join(ch for ch in c.lower() if ch.isalnum()): c for c in reversed(columns)}
    roles: dict[str, str] = {}
    for role, usual in USUAL.items():
        found = [plain[u] for u in usual if u in plain and plain[u] not in roles.values()]
        if found:
            roles[role] = found[0]
    return roles


def label_column(columns: list[str]) -> str:
    """The column of labels by its usual name, "" where there is none.

    >>> label_column(["file_name", "Diagnosis"])
    'Diagnosis'
    """
    return usual_roles(columns).get("label", "")


def _has_roles(columns: tuple[str, ...], options: Mapping[str, Any], where: str) -> bool:
    try:
        return bool(_roles(list(columns), options, where))
    except BadInput:
        return False


def _roles(columns: list[str], options: Mapping[str, Any], where: str) -> dict[str, str]:
    """`{role: column}`: those given by the user, else those with a usual name."""
    roles: dict[str, str] = {}
    named = {str(options[f"{r}_column"]) for r in USUAL if options.get(f"{r}_column")}
    guessed = usual_roles([c for c in columns if c not in named])
    for role in USUAL:
        given = options.get(f"{role}_column")
        if given:
            if given not in columns:
                raise BadInput(f"column '{given}' is missing", where=where,
                               remedy=nearest(given, columns))  # fmt: skip
            roles[role] = str(given)
        elif role in guessed:
            roles[role] = guessed[role]
    for role in ("image", "label"):
        if role not in roles:
            raise BadInput(
                f"the column of the {role}s was not recognised",
                where=where,
                remedy=f"name it with --{role}-column; the columns are {', '.join(columns[:12])}",
            )
    return roles


def tidy_labels(labels: pd.Series) -> pd.Series:
    """Labels without blanks at the ends, and "1.0" as "1".

    >>> list(tidy_labels(pd.Series([" Melanoma", "0.0"])))
    ['Melanoma', '0']
    """
    return labels.astype(str).str.strip().str.replace(r"^(\d+)\.0+$", r"\1", regex=True)


def _with_images(
    rows: pd.DataFrame, tree: Tree, where: str
) -> tuple[pd.DataFrame, list[Rejected], list[str]]:
    """Find each row's image: by its path, the end of its path, or its id (`match_ids`)."""
    names, paths = tree.pictures, rows["image"].str.strip()
    match = match_ids(paths.tolist(), names)
    files = pd.Series([names[p] if p >= 0 else None for p in match.places], rows.index, object)
    files = files.where(files.notna(), paths.map(_of_copies(match, tree, where)))
    known = files.notna()
    if not known.any():
        ids = rows.assign(image_id=tables.clean_ids(paths, where)[0]).drop(columns="image")
        return _by_beginning(common.without_repeats(ids, where)[0], names)
    rejected = [Rejected(p, f"named in {where} but there is no such image") for p in paths[~known]]
    ids, suffixed = tables.clean_ids(paths.str.replace("\\", "/"), where)
    if ids[known].groupby(files[known].to_numpy(object)).first().duplicated().any():
        ids = paths.map(lambda path: plain_id(path).replace("/", "-"))  # repeats across folders
    rows = rows.assign(image_id=ids, file=files)[known].drop(columns="image")
    left_out = len(names) - rows["file"].nunique()
    note = f"{counted(left_out, 'image is', 'images are')} not named in {where} and left out"
    rows, repeats = common.without_repeats(rows.reset_index(drop=True), where)
    notes = [*suffixed, *match.notes((SUFFIXED, FOLDERS)), *repeats, *[note] * (left_out > 0)]
    return rows, rejected, notes


def _by_beginning(
    rows: pd.DataFrame, names: Sequence[str]
) -> tuple[pd.DataFrame, list[Rejected], list[str]]:
    """Images whose names only begin with an id (`22678622_..._CC_ANON.dcm`), one for each."""
    begun: dict[str, list[str]] = {}
    for name in names:
        begun.setdefault(stem_of(name).split("_")[0], []).append(name)
    only = {i: files[0] for i, files in begun.items() if len(files) == 1}
    files = rows["image_id"].map(only)
    lost = [Rejected(str(i), "there is no such image") for i in rows.loc[files.isna(), "image_id"]]
    found = rows.assign(file=files)[files.notna()].reset_index(drop=True)
    note = "ids are the beginnings of file names, up to the first '_'"
    return found, lost, [note] * (not found.empty)


def _of_copies(match: IdMatch, tree: Tree, where: str) -> dict[str, str]:
    """The file of an id that several files have, where they are copies of one picture."""
    for wanted, files in match.candidates.items():
        for other in files[1:]:
            if not common.is_same_picture(tree, files[0], other):
                raise BadInput(
                    f"'{wanted}' of {where} is '{files[0]}' or '{other}', which are different "
                    "files",
                    where=tree.origin,
                    remedy="write the folder into the table too, or keep only one of the folders",
                )
    return {wanted: files[0] for wanted, files in match.candidates.items()}


def _labelled(rows: pd.DataFrame, where: str) -> tuple[pd.DataFrame, list[str]]:
    absent = rows["label"].str.lower().isin(tables.ABSENT - {"unk", "unknown"})
    lost = int(absent.sum())
    if lost == len(rows):
        raise BadInput(
            "no row has a label", where=where, remedy="name the column with --label-column"
        )
    note = f"{counted(lost, 'row')} without a label left out"
    return rows[~absent].reset_index(drop=True), [note] * (lost > 0)


def _said(roles: Mapping[str, str]) -> str:
    return "columns: " + ", ".join(f"{role} = {column}" for role, column in roles.items())


def recognise(tree: Tree) -> str:
    """Why a tree is a table with images, or ""."""
    if not (tree.images or tree.dicoms):
        return ""
    for name, columns in tree.headers.items():
        if _has_roles(columns, {}, name):
            roles = _roles(list(columns), {}, name)
            return f"{name} has the columns {roles['image']} and {roles['label']}"
    return ""


SOURCE = Source(
    name="csv",
    title="a table of images",
    find=find,
    recognise=recognise,
    modality="unknown",
    options={
        "table": None,
        "malignant": None,
        "ignore_column": None,
        **{f"{role}_column": None for role in USUAL},
    },
)
