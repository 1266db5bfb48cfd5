from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from lesionlab.cli.evaluate import command
from lesionlab.errors import BadInput
from lesionlab.evaluation.table_reading import TableReading, refuse_absent_columns

EVERYTHING = TableReading(
    "my id", "dx", "p", "mel", ("a", "b c"), True, Path("the truth.csv"), True
)  # fmt: skip


def test_the_command_line_knows_every_option_that_a_command_names() -> None:
    words = shlex.split(EVERYTHING.command("x.csv"))
    options = {name for parameter in command.params for name in parameter.opts}
    assert words[:3] == ["lesionlab", "evaluate", "x.csv"]
    assert {w for w in words if w.startswith("--")} <= options
    assert "a,b c" in words
    assert "no such file" in str(CliRunner().invoke(command, words[2:]).exception)


def test_a_command_keeps_what_was_said_and_changes_what_is_asked() -> None:
    how = TableReading(id_column="name", truth=Path("t.csv"))
    assert how.command("p.csv", matching_only=True) == (
        "lesionlab evaluate p.csv --id-column name --truth t.csv --matching-only"
    )
    assert how.command("p.csv", id_column=None) == "lesionlab evaluate p.csv --truth t.csv"
    several = TableReading(verb="compare", sources=("a.csv", "b.csv"))
    assert several.command("a.csv", logits=True) == "lesionlab compare a.csv b.csv --logits"


def test_a_column_that_no_table_has(tmp_path: Path) -> None:
    one, two = tmp_path / "a.csv", tmp_path / "b.csv"
    one.write_text("id,p_mel\n1,2\n")
    two.write_text("id,dx\n1,2\n")
    refuse_absent_columns(TableReading(label_column="dx", score_column="p_mel"), [one, two])
    with pytest.raises(BadInput, match="column 'dxx' is missing; did you mean 'dx'"):
        refuse_absent_columns(TableReading(label_column="dxx"), [one, two])
