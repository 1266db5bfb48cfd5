"""Which method stands beside the cases, and which images are shown under all of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("captum", reason="maps need the extra 'train'")

from lesionlab.explanation.gallery import Gallery
from lesionlab.explanation.study import MethodRow
from lesionlab.explanation.summary import STRIPS, main_method, strip_rows


def row(name: str, passed: bool | None) -> MethodRow:
    return MethodRow(name, sanity=SimpleNamespace(passed=passed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdicts", "main"),
    [
        ({"cam": True, "saliency": True}, "cam"),
        ({"cam": False, "saliency": None, "occlusion": True}, "occlusion"),
        ({"cam": False, "saliency": None}, "saliency"),
        ({"cam": False, "saliency": False}, "cam"),
        ({"cam": False}, "cam"),
    ],
)
def test_the_gallery_shows_a_method_that_passed_where_there_is_one(
    verdicts: dict[str, bool | None], main: str
) -> None:
    rows = [MethodRow("centre", reference=True), *(row(k, v) for k, v in verdicts.items())]
    assert main_method(tuple(verdicts), rows) == main


def cases(*rows: int) -> tuple[SimpleNamespace, ...]:
    return tuple(SimpleNamespace(row=r) for r in rows)


def test_half_of_the_strips_are_the_largest_losses_and_none_comes_twice() -> None:
    losses, correct = cases(7, 3, 9, 1), cases(2, 3, 4, 5, 6)
    shown = strip_rows(Gallery(losses, {}, correct))  # type: ignore[arg-type]
    assert shown.tolist() == [7, 3, 9, 2, 4]
    assert len(shown) <= STRIPS
    assert strip_rows(Gallery((), {}, correct)).tolist() == [2, 3, 4, 5, 6]  # type: ignore[arg-type]
    assert strip_rows(Gallery((), {}, ())).dtype == np.int64
