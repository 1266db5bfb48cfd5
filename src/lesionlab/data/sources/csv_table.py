"""Any table of images: columns named by the user, or recognised by their usual names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lesionlab.data import tables
from lesionlab.data.archive import Tree
from lesionlab.data.id_matching import FOLDERS, SUFFIXED, IdMatch, match_ids, plain_id
from lesionlab.data.images import SUFFIXES
from lesionlab.data.sources import common
from lesionlab.data.sources.base import Found, Rejected, Source
from lesionlab.data.sources.folder import malignant_classes
from lesionlab.data.split_names import PARTS
from lesionlab.data.taxonomy import malignant_of
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


def find(tree: Tree, options: Mapping[str, Any]) -> Found:
    """Rows of `table` (or the only CSV file), with the roles of columns given or recognised.

    `image_column` holds paths, file names or ids of the images. Labels such as " Melanoma" and
    "melanoma" are one class, "0.0" and "0" too. Every other column is kept as it is.
    """
    name = _table_name(tree, options.get("table"))
    table, notes = tables.read_csv(tree.read(name), name)
    roles = _roles(list(table.columns), options, name)
    rows = table.rename(columns={c: r for r, c in roles.items() if r in ("image", "label")})
    rows = rows.assign(label=tidy_labels(rows["label"]))
    rows, rejected, extra = _with_images(rows, tree, name)
    rows, unlabelled = _labelled(rows)
    columns = {TARGETS.get(r, r): c for r, c in roles.items() if r not in ("image", "label")}
    rows = common.standard(rows, columns, name)
    if "official_split" in rows:
        rows["official_split"] = rows["official_split"].str.lower().map(PARTS).fillna("")
    classes = tuple(sorted(set(rows["label"])))
    given = tuple(t.strip() for t in str(options.get("malignant") or "").split(",") if t.strip())
    return Found(
        rows=rows,
        read=tree.read,
        classes=classes,
        malignant=malignant_classes(classes, given) or malignant_of(classes),
        rejected=tuple(rejected),
        notes=(*notes, *extra, *unlabelled, _said(roles)),
    )


def _table_name(tree: Tree, given: Any) -> str:
    if given:
        names = [n for n in tree.names if n == given or n.endswith("/" + str(given))]
        if not names:
            hint = nearest(str(given), tree.ending(".csv", ".tsv", ".txt"))
            raise BadInput(f"no table '{given}'", where=tree.origin, remedy=hint)
        return names[0]
    names = tree.ending(".csv", ".tsv", ".tab")
    if len(names) != 1:
        raise BadInput(
            f"{len(names)} tables were found", where=tree.origin, remedy="choose one with --table"
        )
    return names[0]


def _roles(columns: list[str], options: Mapping[str, Any], where: str) -> dict[str, str]:
    """`{role: column}`: those given by the user, else those with a usual name."""
    plain = {"".join(ch for ch in c.lower() if ch.isalnum()): c for c in reversed(columns)}
    roles: dict[str, str] = {}
    for role, usual in USUAL.items():
        given = options.get(f"{role}_column")
        if given:
            if given not in columns:
                raise BadInput(f"column '{given}' is missing", where=where,
                               remedy=nearest(given, columns))  # fmt: skip
            roles[role] = str(given)
        else:
            found = [plain[u] for u in usual if u in plain and plain[u] not in roles.values()]
            if found:
                roles[role] = found[0]
    for role in ("image", "label"):
        if role not in roles:
            raise BadInput(
                f"the column of the {role}s was not recognised",
                where=where,
                remedy=f"name it with --{role}-column; the columns are {', '.join(columns[:12])}",
            )
    return roles


def tidy_labels(labels: pd.Series) -> pd.Series:
    """Labels without blanks, "1.0" as "1", and one spelling where only the case differs.

    >>> list(tidy_labels(pd.Series([" Melanoma", "melanoma", "melanoma", "0.0"])))
    ['melanoma', 'melanoma', 'melanoma', '0']
    """
    text = labels.astype(str).str.strip().str.replace(r"^(\d+)\.0+$", r"\1", regex=True)
    most = text.groupby(text.str.lower()).agg(lambda s: s.value_counts().index[0])
    return text.str.lower().map(most)


def _with_images(
    rows: pd.DataFrame, tree: Tree, where: str
) -> tuple[pd.DataFrame, list[Rejected], list[str]]:
    """Find each row's image: by its path, the end of its path, or its id (`match_ids`)."""
    names, paths = tree.ending(*SUFFIXES), rows["image"].str.strip()
    match = match_ids(paths.tolist(), names)
    files = pd.Series([names[p] if p >= 0 else None for p in match.places], rows.index, object)
    files = files.where(files.notna(), paths.map(_of_copies(match, tree, where)))
    known = files.notna()
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


def _labelled(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    known = rows["label"].str.lower().map(lambda t: t not in tables.ABSENT - {"unk", "unknown"})
    lost = int((~known).sum())
    return rows[known].reset_index(drop=True), [f"{counted(lost, 'row')} without a label left out"][
        :lost
    ]


def _said(roles: Mapping[str, str]) -> str:
    return "columns: " + ", ".join(f"{role} = {column}" for role, column in roles.items())


def recognise(tree: Tree) -> str:
    """Why a tree is a table with images, or ""."""
    if not tree.ending(*SUFFIXES):
        return ""
    for name in tree.headers:
        try:
            roles = _roles(list(tree.headers[name]), {}, name)
        except BadInput:
            continue
        return f"{name} has the columns {roles['image']} and {roles['label']}"
    return ""


SOURCE = Source(
    name="csv",
    title="a table of images",
    find=find,
    recognise=recognise,
    modality="unknown",
    options={"table": None, "malignant": None, **{f"{role}_column": None for role in USUAL}},
)
