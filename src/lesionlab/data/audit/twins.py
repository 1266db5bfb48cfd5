"""Checks of pairs: exact and near-duplicates, one picture with two labels, one lesion with two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from lesionlab.data.audit.findings import EXAMPLES, Example, Finding, Grid
from lesionlab.data.audit.material import Material, lesion_keys
from lesionlab.data.duplicates import ORIENTATIONS, DuplicatePair
from lesionlab.errors import counted

CHAIN = 20  # images in one chain of duplicates, beyond which a person should look
PAIRS = "duplicates.csv"


def split_command(material: Material) -> str:
    """The command that deals the set anew with the pairs found here."""
    pairs = f" --pairs {material.where}/{PAIRS}" if material.pairs else ""
    return f"lesionlab split {material.where}{pairs}"


def check_duplicates(material: Material) -> Iterator[Finding]:
    """The same picture in several rows."""
    for key, kind, title, text in (
        ("duplicates_bytes", "bytes", "Byte-identical files", "the same file under another name"),
        (
            "duplicates_pixels",
            "pixels",
            "Identical pixels",
            "different files with the same pixels (also rotated or mirrored)",
        ),
    ):
        pairs = [p for p in material.pairs if p.kind == kind]
        if pairs:
            yield Finding(
                key,
                "warning",
                title,
                f"{counted(len(pairs), 'image is', 'images are')} a copy of an earlier one: "
                f"{text}.",
                len(pairs),
                len(material.table),
                "Across the ISIC challenges, 14,310 training files are copies of others, "
                "12,039 of them byte for byte.",
                f"lesionlab audit {material.where} --drop {key}",
                examples=_examples(material, pairs),
                drop=tuple(p.b for p in pairs),
            )
    for key, kind, title, text in (
        (
            "duplicates_near",
            "near",
            "Near-duplicates",
            "show the same image: rotated, mirrored, resized, re-encoded, lightened or cropped",
        ),
        (
            "photographed_again",
            "again",
            "Photographed again",
            "are two photographs of one lesion that coincide in pores and hairs",
        ),
    ):
        pairs = [p for p in material.pairs if p.kind == kind]
        if pairs:
            yield _near(material, pairs, key, title, text)
    yield from _chains(material)


def _near(
    material: Material, near: Sequence[DuplicatePair], key: str, title: str, text: str
) -> Finding:
    kinds = pd.Series([_relation(material, p) for p in near]).value_counts()
    apart = sum(int(n) for k, n in kinds.items() if not str(k).startswith("same"))
    shown = sorted(near, key=lambda p: (_relation(material, p).startswith("same"), p.correlation))
    return Finding(
        key,
        "warning" if apart else "note",
        title,
        f"{counted(len(near), 'pair')} of images {text}. {apart:,} of them are not known to "
        "belong to one lesion or patient.",
        len(near),
        len(material.table),
        "Byte hashes miss all of them. In HAM10000, 18 such pairs are known to have different "
        "lesion ids, so a split by lesion does not keep them together.",
        split_command(material),
        grids=(Grid(("relation", "pairs"), tuple((str(k), f"{n:,}") for k, n in kinds.items())),),
        examples=_examples(material, shown),
        data={"relations": {str(k): int(n) for k, n in kinds.items()}},
    )


def _relation(material: Material, pair: DuplicatePair) -> str:
    """Whether a pair's ends are known to belong together."""
    a, b = (material.table.iloc[material.row[name]] for name in (pair.a, pair.b))
    if a["lesion_id"] and a["lesion_id"] == b["lesion_id"]:
        return "same lesion"
    if a["patient_id"] and a["patient_id"] == b["patient_id"]:
        return "same patient"
    if a["lesion_id"] and b["lesion_id"]:
        return "other lesion"
    if a["patient_id"] and b["patient_id"]:
        return "other patient"
    return "not known to belong together"


def _examples(material: Material, pairs: Sequence[DuplicatePair]) -> tuple[Example, ...]:
    return tuple(Example((p.a, p.b), _caption(material, p)) for p in list(pairs)[:EXAMPLES])


def _caption(material: Material, pair: DuplicatePair) -> str:
    if pair.kind in ("bytes", "pixels"):
        return _relation(material, pair)
    return f"{_relation(material, pair)}; {ORIENTATIONS[pair.orientation]}; {pair.correlation:.2f}"


def _chains(material: Material) -> Iterator[Finding]:
    sizes = pd.Series(material.twins).value_counts()
    long = sizes[sizes > CHAIN]
    if len(long):
        names = [tuple(material.table["image_id"][material.twins == k][:4]) for k in long.index[:4]]
        yield Finding(
            "duplicate_chains",
            "warning",
            "Long chains of duplicates",
            f"{counted(len(long), 'chain')} of more than {CHAIN} images; the longest has "
            f"{int(long.max())}.",
            int(long.sum()),
            len(material.table),
            "So many copies of one image mean an oversampled set, or images that are similar "
            "but not the same (blank frames, colour charts). `split` asks before it unites them.",
            f"{split_command(material)} --max-duplicates {int(long.max())}",
            examples=tuple(Example(n) for n in names),
        )


def check_conflicts(material: Material) -> Iterator[Finding]:
    """One thing, two labels."""
    pairs = [p for p in material.pairs if material.label(p.a) != material.label(p.b)]
    if pairs:
        names = tuple(sorted({n for p in pairs for n in (p.a, p.b)}))
        yield Finding(
            "label_conflict_image",
            "error",
            "One image, two labels",
            f"{counted(len(pairs), 'pair')} of duplicates (or second photographs) disagree on the "
            "label.",
            len(pairs),
            len(material.table),
            "At least one label is wrong, and no model can be correct on both.",
            f"lesionlab audit {material.where} --drop label_conflict_image",
            fails=True,
            examples=tuple(
                Example((p.a, p.b), f"{material.label(p.a)} / {material.label(p.b)}")
                for p in pairs[:EXAMPLES]
            ),
            drop=names,
        )
    yield from _two_values(
        material,
        lesion_keys(material.table),
        "label",
        "label_conflict_lesion",
        "One lesion, two labels",
        "A lesion has one diagnosis. Either the ids are wrong, and a split by lesion leaks, or the "
        "labels are wrong.",
    )
    yield from _two_values(
        material,
        material.table["patient_id"].astype(str),
        "sex",
        "sex_conflict_patient",
        "One patient, two sexes",
        "Patient ids that are used twice make wrong groups. Check how they were assigned.",
    )


def _two_values(
    material: Material, keys: pd.Series, column: str, key: str, title: str, why: str
) -> Iterator[Finding]:
    """Groups (by `keys`, "" for none) whose rows disagree on a column; absent ones do not."""
    table = material.table
    known = (keys != "") & (table[column] != "")
    values = table[known].groupby(keys[known])[column]
    mixed = values.nunique()
    names = list(mixed.index[mixed > 1])
    if not names:
        return
    rows = known & keys.isin(names)
    shown = tuple(
        (str(name), ", ".join(sorted(set(table[column][known & (keys == name)]))))
        for name in names[:EXAMPLES]
    )
    label = column == "label"
    yield Finding(
        key,
        "error" if label else "warning",
        title,
        f"{counted(len(names), 'group')} of images ({int(rows.sum()):,} images) with more than "
        f"one {column}.",
        len(names),
        int(keys[keys != ""].nunique()),
        why,
        f"lesionlab audit {material.where} --drop {key}" if label else "",
        fails=label,
        grids=(Grid(("id", column), shown),),
        examples=tuple(
            Example(tuple(table["image_id"][known & (keys == name)][:4]), str(name))
            for name in names[:6]
        ),
        drop=tuple(table["image_id"][rows]) if label else (),
    )
