from __future__ import annotations

import dataclasses
from pathlib import Path

from lesionlab.reporting.content import ReportContent
from lesionlab.reporting.explanations_link import link_report, page_name, pages_in
from lesionlab.reporting.report import render


def linked(text: str) -> list[str]:
    return [part for part in ("valid", "test", "train") if f'href="{page_name(part)}"' in text]


def test_every_part_that_was_explained_is_linked_once(
    tmp_path: Path, content: ReportContent
) -> None:
    for part in ("valid", "test"):
        (tmp_path / page_name(part)).touch()
    pages = pages_in(tmp_path, ("train", "test", "valid"))
    assert pages == ("test", "valid")
    text = render(dataclasses.replace(content, explanations=pages))
    assert linked(text) == ["valid", "test"]
    report = tmp_path / "report.html"
    report.write_text(text, encoding="utf-8")
    assert link_report(report, "train")
    assert link_report(report, "test")
    assert linked(report.read_text(encoding="utf-8")) == ["valid", "test", "train"]
    assert report.read_text(encoding="utf-8").count(page_name("test")) == 1


def test_a_report_of_before_gets_one_link_a_part_in_its_language(
    tmp_path: Path, content: ReportContent
) -> None:
    report = tmp_path / "report.html"
    assert not link_report(report, "valid")
    report.write_text(render(content, "zh"), encoding="utf-8")
    assert linked(report.read_text(encoding="utf-8")) == []
    assert link_report(report, "valid", "zh")
    assert link_report(report, "test", "zh")
    text = report.read_text(encoding="utf-8")
    assert linked(text) == ["valid", "test"]
    assert "可信度：测试" in text


def test_a_page_that_has_no_place_for_a_link_is_left_alone(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>another program's</p>")
    assert not link_report(report, "valid")
    assert report.read_text() == "<p>another program's</p>"
