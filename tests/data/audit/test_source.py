"""What import saw is in the audit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import pictures
from helpers.audits import by_key
from lesionlab.data.audit import audit_dataset
from lesionlab.data.importing import import_source
from lesionlab.data.sources import ham10000


def ham_like(folder: Path, change: Callable[[str], bytes]) -> Path:
    """A source as HAM10000 is laid out, its table spoilt by `change`."""
    (folder / "HAM10000_images_part_1").mkdir(parents=True)
    lines = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    for n in range(24):
        name = f"ISIC_{n:07d}"
        data = pictures.encoded(pictures.skin(n), "JPEG")
        (folder / "HAM10000_images_part_1" / f"{name}.jpg").write_bytes(data)
        lines.append(f"HAM_{n:07d},{name},{('nv', 'mel')[n % 2]},histo,50.0,male,b\u00e4ck")
    (folder / "HAM10000_metadata.csv").write_bytes(change("\n".join(lines) + "\n"))
    return folder


SPOILT: dict[str, tuple[Callable[[str], bytes], str]] = {
    "oversampled": (lambda t: (t + t.split("\n", 1)[1]).encode(), "oversampled"),
    "an index column": (
        lambda t: "\n".join(
            f"{'' if k == 0 else k - 1},{line}" for k, line in enumerate(t.split("\n")) if line
        ).encode(),
        "row numbers",
    ),
    "suffixes": (
        lambda t: t.replace(",nv", ".jpg,nv").replace(",mel", ".jpg,mel").encode(),
        ".jpg",
    ),
    "semicolons": (lambda t: t.replace(",", ";").encode(), "';'"),
    "BOM": (lambda t: b"\xef\xbb\xbf" + t.encode(), "byte order mark"),
    "Latin-1": (lambda t: t.encode("latin-1"), "Latin-1"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_what_import_saw_is_in_the_audit(fault: str, tmp_path: Path) -> None:
    change, words = SPOILT[fault]
    source = ham_like(tmp_path / "source", change)
    dataset = import_source(ham10000.SOURCE, source, tmp_path / "set")
    notes = by_key(audit_dataset(dataset))["import_notes"].grids[0].rows
    assert any(words in note for (note,) in notes), notes


def test_half_a_jpeg_in_the_source_is_in_the_audit(tmp_path: Path) -> None:
    source = ham_like(tmp_path / "source", lambda t: t.encode())
    path = source / "HAM10000_images_part_1" / "ISIC_0000003.jpg"
    path.write_bytes(path.read_bytes()[:1500])
    dataset = import_source(ham10000.SOURCE, source, tmp_path / "set")
    audit = audit_dataset(dataset)
    assert "ISIC_0000003" in by_key(audit)["rejected"].grids[0].rows[0][0]
    notes = [n for (n,) in by_key(audit)["import_notes"].grids[0].rows]
    assert not any(words in n for _, words in SPOILT.values() for n in notes)
