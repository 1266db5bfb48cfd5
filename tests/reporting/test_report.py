from __future__ import annotations

import dataclasses
import html.parser
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lesionlab.errors import BadInput
from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.evaluation.evaluate import evaluate_predictions
from lesionlab.evaluation.predictions import Predictions
from lesionlab.reporting.content import Part, ReportContent
from lesionlab.reporting.environment import safe_json
from lesionlab.reporting.language import language
from lesionlab.reporting.report import charts, render, sections, write_report

VOID = {"meta", "link", "img", "input", "br"}


class Page(html.parser.HTMLParser):
    """What a browser would see: tags in balance, text, attributes, scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.islands: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href"):
                self.sources.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.islands.append(data)
        elif self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def page(content: ReportContent) -> Page:
    return Page(render(content))


def test_the_page_is_well_formed_and_ids_are_unique(page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("h1") == 1


def test_nothing_is_fetched(content: ReportContent, page: Page) -> None:
    assert all(s.startswith(("data:", "#")) for s in page.sources)
    text = render(content).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_sections_stand_in_the_order_of_the_readers_questions(content: ReportContent) -> None:
    keys = [s.key for s in sections(content, language("en"))]
    assert keys == [
        "data", "headline", "explorer", "confusion", "curves", "calibration", "decision",
        "errors", "history", "provenance", "checklist", "glossary",
    ]  # fmt: skip


def test_hostile_names_stay_text(hostile: ReportContent) -> None:
    page = Page(render(hostile))
    assert page.open == []
    assert page.handlers == []
    assert "img" not in page.tags  # thumbnails are off in this content
    assert page.tags.count("script") == 2  # the data of the explorer and the page's own script
    assert "</script><script>alert(2)</script>" in page.text
    assert '<img src=x onerror="alert(1)">' in page.text


def test_every_chart_has_a_title_and_a_table_or_stands_beside_one(content: ReportContent) -> None:
    found = {c.key: c for c in charts(content, language("en"))}
    assert len(found) >= 12
    without = {key for key, c in found.items() if c.table is None}
    beside = {"flow", "explorer-linear", "explorer-logit", "explorer-roc", "explorer-mirror"}
    assert {k for k in without - beside if not k.startswith(("history", "roc-class"))} == set()


def test_leaky_and_synthetic_are_said_plainly(content: ReportContent) -> None:
    assert content.data is not None
    facts = dataclasses.replace(content.data, leaky=True, leak_reason="by image", synthetic=True)
    text = render(dataclasses.replace(content, data=facts))
    assert '<span class="badge danger">LEAKY</span>' in text
    assert "SYNTHETIC" in Page(text).text
    assert '<span class="badge danger">' not in render(content)


def test_the_seal_is_told_in_each_state(content: ReportContent) -> None:
    assert "nobody has accessed it" in Page(render(content)).text
    once = {"when": "2026", "who": "me", "run": "a", "hash": "ff" * 32}
    opened = dataclasses.replace(content, openings=[once, once | {"run": "b"}])
    assert "accessed 2 time(s), by 2 model(s)" in Page(render(opened)).text
    assert "no ledger" in Page(render(dataclasses.replace(content, openings=None))).text


def test_accuracy_stands_beside_the_majority_class(content: ReportContent, page: Page) -> None:
    e = content.focus.evaluation
    assert f"Always predicting “{e['majority_class']}”" in page.text
    assert f"{e['metrics']['majority_accuracy']['value']:.3f}" in page.text


def test_research_use_and_unknown_topics_are_said(page: Page) -> None:
    assert "Research use only" in page.text
    assert page.text.count("NOT PROVIDED") > 10


def test_the_same_content_gives_the_same_bytes(content: ReportContent) -> None:
    assert render(content) == render(content)


def test_chinese(content: ReportContent) -> None:
    text = render(content, "zh")
    assert '<html lang="zh-Hans">' in text
    assert "阈值探索" in text
    assert "Threshold explorer" not in text
    with pytest.raises(BadInput, match="no language"):
        render(content, "xx")


def test_a_table_from_anybody_gives_a_report(
    drawn: Callable[..., Predictions], measured: Callable[..., dict[str, Any]]
) -> None:
    p = drawn(("a", "b", "c"))
    bare = ReportContent("mine", (Part("predictions", p, measured(p, None, 0)),))
    text = Page(render(bare)).text
    assert "--malignant" in text  # how to get the threshold explorer
    assert "no ledger" in text


def test_one_class_only_gives_a_report(
    drawn: Callable[..., Predictions], measured: Callable[..., dict[str, Any]]
) -> None:
    p = drawn(("a", "b", "c"))
    p = p.take(np.flatnonzero(p.y_true == 2))
    one = ReportContent("one", (Part("predictions", p, measured(p, None, 2)),), p.classes[:2])
    assert "nothing to distinguish" in Page(render(one)).text


def test_thumbnails_are_embedded_and_limited(content: ReportContent) -> None:
    shown = dataclasses.replace(content, thumbnail=lambda name: b"\xff\xd8" + name.encode())
    page = Page(render(shown))
    pictures = [s for s in page.sources if s.startswith("data:image/jpeg;base64,")]
    assert 0 < len(pictures) <= 60
    missing = dataclasses.replace(content, thumbnail=lambda name: None)
    assert "no image" in Page(render(missing)).text


def test_json_in_the_page_cannot_end_its_script() -> None:
    value = {"a": "</script><!-- <b> & é \u2028", "b": [1.5, None]}
    text = str(safe_json(value))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_the_report_is_written_whole(content: ReportContent, tmp_path: Any) -> None:
    write_report(tmp_path / "report.html", content)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.rstrip().endswith("</html>")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]
    assert len(text) < 400_000


def test_the_twin_holds_what_the_page_shows(content: ReportContent, tmp_path: Any) -> None:
    odd = dataclasses.replace(content, history=[{"epoch": 1, "train_loss": float("nan")}])
    write_report(tmp_path / "report.html", odd)
    twin = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert twin["schema_version"] == 1
    assert (twin["focus"], list(twin["parts"])) == ("valid", ["valid", "train"])
    assert twin["parts"]["valid"] == json.loads(json.dumps(content.focus.evaluation))
    assert twin["history"] == [{"epoch": 1, "train_loss": None}]
    assert twin["data"]["parts"]["train"]["images"] == 180
    assert twin["openings"] == []


@pytest.mark.slow
def test_ten_thousand_images_of_seven_classes_stay_below_two_megabytes() -> None:
    rng = np.random.default_rng(0)
    n, classes = 10_000, ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    prior = np.array([0.03, 0.05, 0.11, 0.01, 0.11, 0.67, 0.02])
    truth = rng.choice(7, n, p=prior)
    z = rng.normal(0, 1, (n, 7)) + np.log(prior)
    z[np.arange(n), truth] += 2
    prob = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    ids = np.array([f"ISIC_{i:07d}" for i in range(n)], object)
    none = np.array([""] * n, object)
    p = Predictions(ids, none, none, classes, truth, prob)
    malignant = ("akiec", "bcc", "mel")
    e = evaluate_predictions(
        p, malignant=malignant, prior=prior, resampling=Resampling(100)
    ).to_json()
    large = ReportContent(
        "large", (Part("valid", p, e),), malignant, thumbnail=lambda name: b"x" * 4096
    )
    text = render(large)
    assert text.count("data:image/jpeg") == 60
    assert len(text.encode("utf-8")) < 2_000_000
