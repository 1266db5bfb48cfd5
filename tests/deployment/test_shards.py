from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lesionlab.deployment.batch import PredictOptions
from lesionlab.deployment.inputs import Item
from lesionlab.deployment.shards import Shard, cut, errors_in, join, predict_in_shards
from lesionlab.deployment.table import TablePlan
from lesionlab.errors import BadInput
from lesionlab.experiments.engine import Outcome

PLAN = TablePlan("id", ("image_id", "path", "error"), {"abstain": "ood"})
ASKED = Shard("b", PLAN, PredictOptions(), 1)


def items(n: int) -> list[Item]:
    return [Item(f"i{k}", Path(f"{k}.png")) for k in range(n)]


def test_shards_hold_every_image_once_and_join_in_order(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    shards = cut(items(7), 3, out, ASKED)
    assert [len(s.items) for _, s in shards] == [3, 3, 1]
    assert [i.image_id for _, s in shards for i in s.items] == [f"i{k}" for k in range(7)]
    for _, shard in shards:
        rows = "".join(f"{i.image_id},x\n" for i in shard.items)
        Path(shard.csv).write_text("image_id,y\n" + rows)
    join(shards, out)
    lines = out.read_text().splitlines()
    assert lines == ["image_id,y", *[f"i{k},x" for k in range(7)]]
    assert not (tmp_path / "out.csv.shards").exists()


def test_another_request_does_not_go_on_with_these_shards(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    first = cut(items(7), 3, out, ASKED)
    assert cut(items(7), 3, out, ASKED) == first
    for changed in ((items(8), 3, ASKED), (items(7), 2, ASKED)):
        with pytest.raises(BadInput, match="belongs to other images"):
            cut(changed[0], changed[1], out, changed[2])
    out.write_text("")
    with pytest.raises(BadInput, match="exists"):
        cut(items(7), 3, out, ASKED)


def test_errors_of_finished_shards_count(tmp_path: Path) -> None:
    shards = cut(items(4), 2, tmp_path / "out.csv", ASKED)
    Path(shards[0][1].csv).write_text('image_id,error\ni0,\ni1,"no, image"\n')
    Path(shards[1][1].csv).write_text("image_id,error\ni2,no image\ni3,no image\n")
    assert errors_in(shards) == 3


def test_shards_that_are_there_are_not_done_again(tmp_path: Path) -> None:
    out, tried = tmp_path / "out.csv", []

    def run(jobs: list[tuple[str, Shard]], work: Callable[..., Any]) -> Iterator[Outcome]:
        for name, shard in jobs:
            tried.append(name)
            if name == "shard-000001" and len(tried) == 2:
                yield Outcome(name, None, "lost its worker")
                continue
            rows = "".join(f"{i.image_id},,\n" for i in shard.items)
            Path(shard.csv).write_text("image_id,path,error\n" + rows)
            yield Outcome(name, {"resumed": 0}, "")

    with pytest.raises(BadInput, match="1 of 3 shards failed; shard-000001: lost its worker"):
        predict_in_shards(items(5), ASKED, out, 2, run)
    assert predict_in_shards(items(5), ASKED, out, 2, run) == (0, 4 - 1)
    assert tried == ["shard-000000", "shard-000001", "shard-000002", "shard-000001"]
    assert len(out.read_text().splitlines()) == 6
