"""The audit's page: what is shown, in which order, and that no name becomes markup."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from helpers.datasets import dataset, row
from lesionlab.data.audit import Audit
from lesionlab.data.audit.findings import Example, Finding, Grid
from lesionlab.data.audit.material import Material
from lesionlab.data.manifest import Dataset
from lesionlab.reporting.audit_page import render

BAD = "<script>alert('x')</script>"
STOCK: dict[str, Any] = {
    "images": 1200, "patients": 30, "lesions": 0, "groups": 1000,
    "classes": {
        "nv": {"images": 1100, "patients": 28, "lesions": 0, "groups": 930},
        "mel": {"images": 100, "patients": 9, "lesions": 0, "groups": 70},
    },
    "by": {}, "sizes": {"600 x 450": 1200}, "aspects": {"0.5": 0, "1.3": 1200},
}  # fmt: skip


def named(key: str, **changes: Any) -> Finding:
    return Finding(**{"key": key, "severity": "note", "title": f"Title of {key}", "text": "Text.",
                      **changes})  # fmt: skip


@pytest.fixture
def audit(tmp_path: Path) -> Callable[..., Audit]:
    """An audit with these findings, of a data set of this name."""

    def make(*findings: Finding, other: Dataset | None = None, **info: Any) -> Audit:
        stock = {**STOCK, **info.pop("stock", {})}
        data = dataset(tmp_path, row("a"), **{"name": "set", "licence": "CC0", **info})
        return Audit(Material(data, cast(Any, None), (), other), findings, stock)

    return make


def nothing(name: str) -> bytes | None:
    return None


def text_of(page: str) -> str:
    """The words of a page, without markup."""
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))


def test_findings_stand_in_the_order_given_each_in_contents_summary_and_full(
    audit: Callable[..., Audit],
) -> None:
    first = named("leak_test", severity="error", count=3, total=1200, fails=True, why="It matters.",
                  remedy="lesionlab split set")  # fmt: skip
    page = render(audit(first, named("orphans", remedy="Delete them.")), nothing)
    assert re.findall(r'<article class="finding" id="(\w+)">', page) == ["leak_test", "orphans"]
    assert re.findall(r'<li class="(\w+)"><a href="#(\w+)">', page) == [
        ("error", "leak_test"), ("note", "orphans"),
    ]  # fmt: skip
    assert page.count("Title of leak_test") == 3
    assert "<td>3&nbsp;of&nbsp;1,200</td>" in page
    assert page.count("<code>lesionlab split set</code>") == 2  # a command looks like one
    assert "<code>Delete" not in page
    assert "1 error, 0 warnings, 1 note." in text_of(page)
    assert "A leak or conflict was found" in page


def test_a_clean_data_set_says_what_was_looked_for(audit: Callable[..., Audit]) -> None:
    page = render(audit(), nothing, clean=("blank images", "tiny images"))
    assert "Checked and not found: blank images; tiny images." in page
    assert "No leak, no conflict found" in page
    assert "0 errors, 0 warnings, 0 notes." in text_of(page)
    assert "Checked and not found" not in render(audit(), nothing)


def test_badges_say_what_the_data_set_is(audit: Callable[..., Audit], tmp_path: Path) -> None:
    plain = render(audit(), nothing)
    for word in ("LEAKY", "Synthetic", "against"):
        assert f">{word}" not in plain
    other = dataset(tmp_path / "other", row("b"), name="old")
    page = render(audit(leaky=True, synthetic=True, other=other), nothing)
    for word in ("LEAKY", "Synthetic", "against old", "1,200 images", "Research use only"):
        assert f">{word}" in page


def test_pictures_are_inside_the_page_or_said_to_be_absent(audit: Callable[..., Audit]) -> None:
    example = Example(("a", "gone"), "a pair", others=("a", "far"))
    pictures = {"a": b"ours"}
    theirs = {"a": b"of the other set"}
    shown = audit(named("across", examples=(example,)))
    page = render(shown, pictures.get, theirs.get)
    sources = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt="(\w+)"', page)
    assert [(base64.b64decode(data), name) for data, name in sources] == [
        (b"ours", "a"), (b"of the other set", "a"),
    ]  # fmt: skip
    captions = re.findall(r"<figcaption>(\w+)</figcaption>", page)
    assert captions == ["a", "gone", "a", "far"]  # our own first
    assert page.count('<span class="no-picture">no image</span>') == 2
    assert render(shown, pictures.get).count("no-picture") >= 3  # without the other set's pictures


def test_shortcuts_are_drawn_the_strongest_first(audit: Callable[..., Audit]) -> None:
    results = [
        {"name": "size", "value": 0.55, "low": 0.5, "high": 0.6},
        {"name": "colour", "value": 0.9, "low": 0.85, "high": 0.95},
        {"name": "site", "value": 0.7, "low": 0.65, "high": 0.75},
    ]
    page = render(audit(named("shortcuts", data={"shortcuts": results}), named("blank")), nothing)
    chart = page[page.index('id="shortcuts-plot') :].partition("</svg>")[0]
    words: list[str] = re.findall(r">([^<>]+)<", chart)
    places = [words.index(name) for name in ("colour", "site", "size")]
    assert places == sorted(places)
    assert "0.90 (0.85 to 0.95)" in words
    article = page[page.index('id="blank"') :].partition("</article>")[0]
    assert "<svg" not in article
    assert "shortcuts-plot" not in render(audit(named("s", data={"shortcuts": []})), nothing)


def test_the_sizes_beyond_the_twelfth_are_summed(audit: Callable[..., Audit]) -> None:
    def rows(n: int) -> list[tuple[str, str]]:
        sizes = {f"{k} x {k}": 2000 - k for k in range(n)}
        page = render(audit(stock={"sizes": sizes}), nothing)
        table = page[page.index("<caption>By size</caption>") :].partition("</table>")[0]
        return re.findall(r'<th scope="row">([^<]+)</th><td>([^<]+)</td>', table)

    assert rows(12)[-1] == ("11 x 11", "1,989")
    assert len(rows(12)) == 12
    assert rows(14)[:12] == rows(12)
    assert rows(14)[12:] == [("2 other sizes", "3,975")]  # 1988 + 1987


def test_counts_of_the_inventory(audit: Callable[..., Audit]) -> None:
    page = render(audit(), nothing)
    assert "1,200 images of 30 patients." in text_of(page)  # no word of lesions that are unknown
    assert "form 1,000 independent groups. Licence: CC0." in text_of(page)
    chart = page[page.index('id="aspects') :].partition("</svg>")[0]
    assert ">1.3<" in chart
    assert ">0.5<" not in chart  # no image of that shape


def test_a_finding_has_its_tables(audit: Callable[..., Audit]) -> None:
    grid = Grid(("image", "why"), (("a", "blank"), ("b", "tiny")), "Which")
    page = render(audit(named("blank", grids=(grid,))), nothing)
    assert "<caption>Which</caption>" in page
    assert '<tr><th scope="row">b</th><td>tiny</td></tr>' in page


def test_no_name_becomes_markup_and_nothing_is_fetched(
    audit: Callable[..., Audit], tmp_path: Path
) -> None:
    grid = Grid((BAD,), ((BAD,),), BAD)
    finding = named(
        "shortcuts", title=BAD, text=BAD, why=BAD, remedy="lesionlab " + BAD, grids=(grid,),
        examples=(Example((BAD,), BAD, (BAD,)),),
        data={"shortcuts": [{"name": BAD, "value": 0.5, "low": 0.4, "high": 0.6}]},
    )  # fmt: skip
    stock = {"classes": {BAD: STOCK["classes"]["nv"]}, "sizes": {BAD: 1}, "aspects": {BAD: 1}}
    other = dataset(tmp_path / "other", row("b"), name=BAD)
    made = audit(finding, other=other, stock=stock, name=BAD, licence=BAD, citation=BAD)
    page = render(made, lambda name: b"x", clean=(BAD,))
    assert "<script" not in page
    assert "alert(" in page  # it is there, as text
    text = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    assert "default-src 'none'" in page
