"""What the page on explanations says: marks of failed methods, networks of chance, the gallery."""

from __future__ import annotations

import dataclasses
import html
from typing import Any

import numpy as np
import pytest

from lesionlab.reporting.explanations import render
from lesionlab.reporting.explanations_content import CaseCard, ExplanationContent, Picture
from lesionlab.reporting.explanations_pictures import for_the_eye
from lesionlab.reporting.explanations_sections import sections
from lesionlab.reporting.language import language

KEYS = ("pointing", "share", "pointing_shuffled", "pointing_gain", "share_gain", "insertion",
        "deletion", "insertion_gain", "stability", "completeness_gap")  # fmt: skip
CHANCE = {"balanced_accuracy": 0.5, "roc_auc": 0.5}


def number(value: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": 40, "method": ""}


def row(name: str, passed: bool | None = None, reference: bool = False) -> dict[str, Any]:
    alike = number(0.1, -0.2, 0.3)
    verdict = {True: "passed", False: "failed", None: "unknown"}[passed]
    sanity = {"parameters": {"all": alike}, "labels": alike, "passed": passed,
              "verdict": verdict, "draws": {"all": [0.0, 0.1, 0.2]}}  # fmt: skip
    return {
        "name": name, "reference": reference, "milliseconds": 3.0, "places": None,
        "sanity": None if reference else sanity, **{k: number(0.4, 0.3, 0.5) for k in KEYS},
    }  # fmt: skip


def network(better: bool | None) -> dict[str, Any]:
    balanced, auc = number(0.51, 0.42, 0.61), number(0.53, 0.44, 0.62)
    return {"balanced_accuracy": balanced, "roc_auc": auc, "chance": CHANCE,
            "better_than_chance": better}  # fmt: skip


def page(
    *rows: dict[str, Any], main: str = "cam", better: bool | None = True
) -> ExplanationContent:
    """Content with the given methods, and one card under the main one."""
    mark = next((r["sanity"]["passed"] is False for r in rows if r["name"] == main), False)
    card = CaseCard((Picture("", "x", "a map", mark),), (("file", "a/b.jpg"),))
    return ExplanationContent(
        "run", "valid", ("nv", "mel"), 40, 20, 12, main, network(better),
        study=(row("centre", reference=True), *rows), masks=40, losses=(card,),
    )  # fmt: skip


def names_of(content: ExplanationContent, lang: str = "en") -> list[str]:
    """The first cells of all tables of methods, and the names in charts."""
    words = language(lang)
    found = []
    for section in sections(content, words):
        for block in section.blocks:
            table = block if block.kind == "table" else getattr(block, "table", None)
            found += [r[0] for r in table.rows] if table is not None else []
    return found


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_failed_method_is_marked_in_every_table_and_chart(lang: str) -> None:
    content = page(row("cam", True), row("saliency", False))
    name, fine = (language(lang)(f"method.{k}") for k in ("saliency", "cam"))
    named = names_of(content, lang)
    assert named.count(f"✗ {name}") == 5  # summary, sanity (two levels), faithful, inside
    assert named.count(fine) == 5
    assert name not in named
    text = html.unescape(render(content, lang))
    assert text.count(f">✗ {name}</text>") == 2  # of both charts
    assert f">{name}</text>" not in text
    assert text.count('<th scope="row" class="failed">✗ ') == 5
    assert text.count(language(lang)("explain.mark")) == 3


def test_no_mark_and_no_legend_where_nothing_failed() -> None:
    text = render(page(row("cam", True), row("saliency", None)))
    assert "✗" not in text
    assert 'class="failed"' not in text


def gallery_of(content: ExplanationContent) -> list[str]:
    found = next(s for s in sections(content, language("en")) if s.key == "gallery")
    return [f"{b.tone}: {b.text}" for b in found.blocks if b.kind == "paragraph"]


def test_the_gallery_says_at_its_head_whether_its_maps_can_be_believed() -> None:
    failed = gallery_of(page(row("cam", False), row("saliency", False)))[0]
    assert failed.startswith(
        "danger: Do not trust these maps. No method passed, and class activation"
    )
    alone = gallery_of(page(row("cam", False)))[0]
    assert "No other method" in alone
    instead = gallery_of(page(row("cam", False), row("saliency", True), main="saliency"))[0]
    assert instead.startswith("note: The maps are those of saliency, which passed")
    assert "✗ class activation map" in instead
    unknown = gallery_of(page(row("cam", None)))[0]
    assert unknown.startswith("note: There are too few images")
    assert len(gallery_of(page(row("cam", True), row("saliency", False)))) == 1


def test_captions_of_failed_overlays_are_red() -> None:
    assert '<span class="under failed">a map' in render(page(row("cam", False)))
    assert '<span class="under">a map' in render(page(row("cam", True)))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_network_of_chance_is_said_before_all_else_and_nothing_is_praised(lang: str) -> None:
    content = page(row("cam", True), row("saliency", False), better=False)
    text = html.unescape(render(content, lang))
    assert text.index('class="alarm danger"') < text.index("<main")
    assert "0.51 (0.42–0.61)" in text
    assert "0.53 (0.44–0.62)" in text
    words = language(lang)
    assert words("explain.verdict_passed") not in text
    assert words("explain.verdict_passed_chance") in text
    assert words("explain.verdict_failed") in text


def test_better_than_chance_raises_no_alarm_and_unknown_is_no_praise() -> None:
    assert 'class="alarm' not in render(page(row("cam", True)))
    assert "passed: depends on what was learned" in render(page(row("cam", True)))
    unknown = page(row("cam", True), better=None)
    assert 'class="alarm warning"' in render(unknown)
    assert "passed: depends on what was learned" not in render(unknown)
    old = dataclasses.replace(unknown, network=None)
    assert 'class="alarm' not in render(old)


def test_a_refusal_is_told_in_the_language_of_the_page() -> None:
    reason = "no target layer is known for networks of class SwinTransformer"
    content = dataclasses.replace(page(row("cam", True)), refused={"gradcam": reason})
    assert "此类网络的目标层未知 (SwinTransformer)" in render(content, "zh")
    assert "Grad-CAM was omitted: no target layer" in render(content)


def test_names_are_escaped_wherever_a_file_can_bring_them() -> None:
    card = CaseCard((), (("file", "<script>alert(1)</script>.jpg"),))
    text = render(dataclasses.replace(page(row("cam", True)), losses=(card,)))
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_a_few_high_pixels_do_not_hide_the_rest_of_a_map() -> None:
    found = np.zeros((100, 100), np.float32)
    found[40:60, 40:60] = 1
    found[5, 5] = 1000
    shown = for_the_eye(found)
    assert shown[45:55, 45:55].min() > 0.4 * shown.max()
    assert shown[80:, 80:].max() == 0
    assert for_the_eye(-found).max() == 0


def test_the_chance_of_parts_is_that_of_the_images_measured() -> None:
    """Three of five classes occur among the images with masks."""
    part = {"part": "whole", "left": 1.0, "chance": 1 / 3, "balanced_accuracy": number(0.6),
            "balanced_accuracy_prior_corrected": number(0.6)}  # fmt: skip
    content = dataclasses.replace(
        page(row("cam", True)), classes=("a", "b", "c", "d", "e"), parts=(part,)
    )
    assert "The line marks chance (0.333)" in html.unescape(render(content, "en"))
