"""The CSV of `predict`: cells that do no harm, and rows that are picked up where they stopped."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lesionlab import platforms
from lesionlab.deployment.batch import ImageResult, PredictOptions
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.clinical_inputs import ClinicalInputs
from lesionlab.deployment.inputs import Item
from lesionlab.deployment.table import (
    SYNC_ROWS,
    PredictionsTable,
    TablePlan,
    cell,
    plan_table,
    safe_cell,
    whole_rows,
)
from lesionlab.errors import BadInput
from lesionlab.run_folder import FactsCoding

PLAN = TablePlan("identity", ("image_id", "path", "error", "note"), {"abstain": "ood"})
# Ids that a table of images, or a file system, can hold.
ODD = ("plain", "=1+1", "two\nlines", "two\r\nlines", "a\rb", 'quo"ted', "a,b", 'x"\n"y', "\udcff")


def item(image_id: str) -> Item:
    return Item(image_id, Path("folder") / f"{image_id}.png")


ITEMS = [item(name) for name in ODD]


class Stopped(Exception):
    """A crash between two rows."""


def write(path: Path, items: list[Item], plan: TablePlan = PLAN, stop: bool = False) -> None:
    """Add the rows of `items` that are left; with `stop` the last row is never written."""
    table = PredictionsTable(path, plan)
    left = table.left(items)
    with table:
        for one in left:
            table.add(ImageResult(one, None, f"why, of {one.image_id}"))
        if stop:
            raise Stopped


def interrupted(path: Path, items: list[Item], cut: int = 0) -> Path:
    """The partial file of a call that crashed after these rows; `cut` bytes of it are lost."""
    with pytest.raises(Stopped):
        write(path, items, stop=True)
    partial = path.with_name(path.name + ".partial")
    os.truncate(partial, partial.stat().st_size - cut)
    return partial


def test_what_is_written_is_read_back_by_any_reader(tmp_path: Path) -> None:
    write(tmp_path / "out.csv", ITEMS)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    assert header == list(PLAN.columns)
    shown = {"=1+1": "'=1+1", "\udcff": "\\udcff"}
    assert [r[0] for r in rows] == [shown.get(name, name) for name in ODD]
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_a_table_that_stopped_at_any_byte_becomes_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also within a quoted cell that holds a line break."""
    monkeypatch.setattr(platforms, "sync_file", lambda _: None)  # hundreds of them are slow
    items = [item(name) for name in ("two\nlines", "a\rb", 'x"\n"y')]
    write(tmp_path / "whole.csv", items)
    wanted = (tmp_path / "whole.csv").read_bytes()
    for cut in range(len(wanted)):
        path = tmp_path / f"{cut}.csv"
        interrupted(path, items, cut)
        write(path, items)
        assert path.read_bytes() == wanted, wanted[: len(wanted) - cut]


def test_only_what_has_no_row_is_left(tmp_path: Path) -> None:
    interrupted(tmp_path / "out.csv", ITEMS[:4], cut=1)
    table = PredictionsTable(tmp_path / "out.csv", PLAN)
    assert table.left(ITEMS) == ITEMS[3:]
    moved = replace(ITEMS[0], path=Path("elsewhere") / "plain.png")  # the same id, another file
    assert table.left([moved, ITEMS[1]]) == [moved]


def test_whole_rows_end_outside_of_quotes() -> None:
    """Against the csv module: the rows of every beginning are the first rows of the whole."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[name, "x"] for name in ODD[:-1]])
    data = text.getvalue().encode()
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    for end in range(len(data) + 1):
        found = whole_rows(data[:end])
        assert data.startswith(found)
        kept = list(csv.reader(io.StringIO(found.decode(), newline="")))
        assert kept == rows[: len(kept)]
    assert whole_rows(data) == data
    assert whole_rows(b"") == whole_rows(b"torn") == whole_rows(b'"torn\n') == b""


def test_rows_of_another_plan_are_refused(tmp_path: Path) -> None:
    interrupted(tmp_path / "out.csv", ITEMS[:2])
    for other in (
        replace(PLAN, bundle="other"),
        replace(PLAN, columns=PLAN.columns[:3]),
        replace(PLAN, settings={"abstain": "none"}),
    ):
        with pytest.raises(BadInput, match=r"out\.csv\.partial: belongs to another bundle"):
            PredictionsTable(tmp_path / "out.csv", other)


def test_a_partial_file_without_its_note_or_header_is_begun_again(tmp_path: Path) -> None:
    partial = interrupted(tmp_path / "out.csv", ITEMS[:2])
    partial.write_bytes(b"another,header\n1,2\n")
    assert PredictionsTable(tmp_path / "out.csv", PLAN).left(ITEMS) == ITEMS
    (tmp_path / "out.csv.partial.json").unlink()
    write(tmp_path / "out.csv", ITEMS[:1])
    assert (tmp_path / "out.csv").read_text().startswith("image_id,path,error,note\nplain,")


def test_rows_reach_the_disk_now_and_then(tmp_path: Path) -> None:
    """A power cut loses `SYNC_ROWS` rows at most; the header is one of them."""
    table = PredictionsTable(tmp_path / "out.csv", PLAN)
    with table:
        for n in range(SYNC_ROWS - 1):
            table.add(ImageResult(item(f"i{n}"), None, "why"))
        assert table.partial.read_bytes().count(b"\n") == SYNC_ROWS


def test_a_table_that_exists_or_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(BadInput, match="exists already; choose another --csv"):
        PredictionsTable(tmp_path / "out.csv", PLAN)
    with pytest.raises(BadInput, match="cannot be written"):
        write(tmp_path / "out.csv" / "inner.csv", ITEMS)


def test_the_plan_holds_all_that_changes_a_row(bundle_folder: Path) -> None:
    info = read_bundle(bundle_folder).info
    point = info.operating_points[0]
    coded = info.model_copy(update={"facts": FactsCoding(columns=("sex",))})
    male = [replace(ITEMS[0], clinical=ClinicalInputs(sex="male"))]
    plans = [
        plan_table(info, "b", ITEMS[:1], PredictOptions(point)),
        plan_table(info, "c", ITEMS[:1], PredictOptions(point)),
        plan_table(info, "b", ITEMS[:1], PredictOptions()),
        plan_table(info, "b", ITEMS[:1], PredictOptions(point, draft=False)),
        plan_table(info, "b", ITEMS[:1], PredictOptions(point, abstain="none")),
        plan_table(coded, "b", ITEMS[:1], PredictOptions(point)),
        plan_table(coded, "b", male, PredictOptions(point)),
    ]
    assert len({plan.digest() for plan in plans}) == len(plans)
    # A model of pictures alone: other images, or a sex that it does not read, change no row.
    assert plan_table(info, "b", male, PredictOptions(point)).digest() == plans[0].digest()
    heat = PredictOptions(point, with_cam=True)
    assert plan_table(info, "b", ITEMS, heat).digest() == plans[0].digest()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_56_cells_that_a_spreadsheet_would_run(text: str) -> None:
    assert safe_cell(text) == "'" + text
    assert safe_cell("1=1") == "1=1"


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (True, "1"), (0.1, "0.1"), (["=a", "b"], "'=a b"), ("-", "'-")]
)
def test_a_cell(value: object, text: str) -> None:
    assert cell(value) == text
