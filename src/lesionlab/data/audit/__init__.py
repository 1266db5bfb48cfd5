"""What is wrong with a data set: every check, in the order in which a reader should hear of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lesionlab.data.audit.columns import check_artefacts, check_columns, check_counts
from lesionlab.data.audit.files_check import check_images, check_import
from lesionlab.data.audit.findings import SEVERITIES, Finding
from lesionlab.data.audit.inventory import inventory
from lesionlab.data.audit.leaks import check_across, check_split
from lesionlab.data.audit.material import Material
from lesionlab.data.audit.measure import measure
from lesionlab.data.audit.shortcuts import check_shortcuts
from lesionlab.data.audit.twins import check_conflicts, check_duplicates
from lesionlab.data.duplicates import DuplicatePair, duplicate_pairs
from lesionlab.data.duplicates.fingerprints import fingerprints_of
from lesionlab.data.manifest import Dataset
from lesionlab.progress import SILENT, Progress

__all__ = ["DROPPABLE", "LOOKED_FOR", "SEVERITIES", "Audit", "Finding", "Material", "audit_dataset"]

SCHEMA_VERSION = 1

# Each takes the material and yields findings; the order breaks ties of severity.
CHECKS = (
    check_split,
    check_across,
    check_conflicts,
    check_images,
    check_import,
    check_duplicates,
    check_columns,
    check_counts,
    check_artefacts,
)

# What each finding's absence means, in words that end "looked for and not found: ...".
LOOKED_FOR = {
    "leak_test": "images of test groups in other splits",
    "leak_valid": "images of validation groups in training",
    "label_conflict_image": "one image with two labels",
    "label_conflict_lesion": "one lesion with two labels",
    "sex_conflict_patient": "one patient with two sexes",
    "unreadable": "unreadable images",
    "changed": "files changed since import",
    "blank": "blank images",
    "tiny": "tiny images",
    "huge": "huge images",
    "orphans": "files without a row",
    "duplicates_bytes": "byte-identical files",
    "duplicates_pixels": "other files with identical pixels",
    "duplicates_near": "rotated, mirrored, resized, re-encoded or cropped copies",
    "photographed_again": "second photographs of one lesion",
    "post_diagnosis": "columns known only after the diagnosis",
    "index_column": "row-number columns",
    "suffixed_ids": "file suffixes in ids",
    "published_counts": "counts other than the published ones",
    "small_classes": "classes with fewer than ten independent groups",
}
# Findings that name the rows to remove (`--drop KEY`).
DROPPABLE = (
    "unreadable", "blank", "duplicates_bytes", "duplicates_pixels", "label_conflict_image",
    "label_conflict_lesion", "across", "across_labels",
)  # fmt: skip


@dataclass(frozen=True)
class Audit:
    """The findings, the gravest first, with the inventory and what they were made from."""

    material: Material
    findings: tuple[Finding, ...]
    inventory: dict[str, Any]

    @property
    def fails(self) -> bool:
        """Whether a leak or a conflict was found: `--strict` exits with 3."""
        return any(f.fails for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The content of `audit.json`."""
        info, other = self.material.dataset.info, self.material.other
        return {
            "schema_version": SCHEMA_VERSION,
            "name": info.name,
            "source": info.source,
            "against": other.info.name if other is not None else None,
            "fails_strict": self.fails,
            "severities": {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES},
            "findings": [f.to_json() for f in self.findings],
            "inventory": self.inventory,
        }


def audit_dataset(
    dataset: Dataset, against: Dataset | None = None, progress: Progress = SILENT
) -> Audit:
    """Look at every image and row of a data set; with `against`, at what two sets share.

    Nothing is written or changed. Raises `UnreadableImage` for an image of `against` that cannot
    be read.
    """
    measured = measure(dataset, progress)
    pairs = tuple(duplicate_pairs(measured.looks, progress=progress))
    across: tuple[DuplicatePair, ...] = ()
    if against is not None:
        across = tuple(
            duplicate_pairs(measured.looks, fingerprints_of(against, progress), progress)
        )
    material = Material(dataset, measured, pairs, against, across)
    findings = sorted(_findings(material, progress), key=lambda f: SEVERITIES.index(f.severity))
    return Audit(material, tuple(findings), inventory(material))


def _findings(material: Material, progress: Progress) -> Iterator[Finding]:
    for check in CHECKS:
        yield from check(material)
    yield from check_shortcuts(material, progress)
