"""Votes: column orders differ, reads can be told apart, and bad tables are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.votes import read_votes

COUNTS = """"","isic_id","AKIEC","BCC","BKL","MEL","NV","VASC","DF","image_diag_id"
"1","ISIC_1",1,0,0,0,8,0,0,"NV"
"2","ISIC_2.jpg",0,2,0,3,0,0,5,"MEL"
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_counts_follow_the_header_not_the_position(tmp_path: Path) -> None:
    votes = read_votes(write(tmp_path / "v.csv", COUNTS))
    assert votes.classes[-2:] == ("VASC", "DF")
    assert votes.image_id.tolist() == ["ISIC_1", "ISIC_2"]
    assert votes.counts[1, votes.classes.index("DF")] == 5
    assert [votes.classes[k] for k in votes.y_true] == ["NV", "MEL"]
    lines = COUNTS.replace('"VASC","DF"', '"DF","VASC"').replace("0,0,5", "0,5,0")
    turned = read_votes(write(tmp_path / "w.csv", lines))
    assert turned.counts[1, turned.classes.index("DF")] == 5


def test_reads_are_pooled_and_kept_apart(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.csv",
        "image_id,reader,answer,truth\na,anna,mel,mel\na,bo,nv,mel\nb,anna,nv,nv\n",
    )
    votes = read_votes(path)
    assert votes.classes == ("mel", "nv")
    assert votes.counts.tolist() == [[1, 1], [0, 1]]
    assert votes.y_true.tolist() == [0, 1]
    assert sorted(votes.readers) == ["anna", "bo"]
    assert votes.readers["bo"].image_id.tolist() == ["a"]
    assert votes.readers["bo"].counts.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "readable|no rows"),
        ("isic_id,MEL,NV\n", "no rows"),
        ("picture,MEL,NV\na,1,2\n", "column 'image_id' is missing"),
        ("isic_id,MEL,NV\na,1,2\na,1,2\n", "image 'a' is repeated"),
        ("isic_id,MEL,NV\na,1,x\n", "NV 'x' in row 2"),
        ("isic_id,MEL,NV\na,1,-1\n", "NV '-1' in row 2"),
        ('isic_id,MEL,NV\na,1,"0,5"\n', "NV '0,5' in row 2"),
        ("isic_id,MEL,NV\na,0,0\n", "row 2 holds no vote"),
        ("isic_id,MEL,FOO\na,1,0\n", "'FOO' is no class"),
        ("isic_id,MEL\na,1\n", "fewer than two classes"),
        ("isic_id,MEL,NV,truth\na,1,0,BCC\n", "truth 'BCC' in row 2"),
        ("image_id,reader,answer\na,x,mel\na,x,nv\n", "reader 'x' read 'a' twice"),
        ("image_id,reader,answer\na,x,blue\n", "'blue' is no class"),
        ("image_id,reader,answer,truth\na,x,mel,mel\na,y,mel,nv\n", "two truths"),
    ],
)
def test_refusals(text: str, shown: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=shown) as refusal:
        read_votes(write(tmp_path / "v.csv", text))
    assert "v.csv" in str(refusal.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_votes(tmp_path / "absent.csv")


@pytest.mark.real
def test_the_reader_study_of_isic_2018(shared: Path) -> None:
    """Pooled accuracy over all reads, as a plain count of the file gives it."""
    folder = shared / "data" / "reader-study-isic2018"
    wanted = {"": (10013, 0.6216), "_derms": (9734, 0.6440), "_exp": (3531, 0.7016)}
    for suffix, (images, accuracy) in wanted.items():
        votes = read_votes(folder / f"training_set_isic{suffix}.csv")
        hits = votes.counts[np.arange(len(votes.y_true)), votes.y_true].sum()
        assert len(votes.image_id) == images
        assert hits / votes.counts.sum() == pytest.approx(accuracy, abs=1e-4)
