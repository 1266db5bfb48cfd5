"""People read the field's words: no dialect in reports, help texts and documents.

Code is not prose: what stands in backticks, code blocks, links and options is left out.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

import lesionlab
from lesionlab.cli import main

ROOT = Path(__file__).parent.parent
STRINGS = Path(lesionlab.__file__).parent / "reporting" / "strings"

# A pattern of English prose, and what to write in its place.
ENGLISH = {
    r"mend(s|ed|ing)?": "fix",
    r"dear(er)?": "expensive",
    r"kin": "same group",
    r"twins?": "duplicate",
    r"siblings?": "images of the same group",
    r"hand-?made": "handcrafted",
    r"fewest": "minimum",
    r"rooms?": "package",
    r"deal|deals|dealt|dealing": "split, assign",
    r"told apart": "distinguishable",
    r"of ours": "of lesionlab",
    r"outside data": "external validation data",
    r"shares? of": "proportion of",
    r"(train|training|valid|validation|test|calibration|sealed|official) parts?": "split",
    r"called (class|malignant|benign|positive|negative|wrongly)": "predicted",
    r"(has|have|had) been opened|opens (the )?(sealed )?test": "test-set access",
    r"who is worried": "if you are worried",
}
CHINESE = {
    "读者": "阅片者",
    "偏好": "偏乐观",
    "真实价值": "真实性能",
    "这不是什么": "使用限制",
    "阈值浏览器": "阈值探索",
    "此处": "本报告",
    "账本": "访问台账",
    "敏感度": "灵敏度",
    "特异性": "特异度",
}

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def dialect(text: str) -> list[str]:
    """What should be said otherwise, and how."""
    found = []
    for pattern, better in ENGLISH.items():
        for hit in re.finditer(rf"(?<![-\w])({pattern})(?![-\w])", text, re.IGNORECASE):
            found.append(f"'{hit[0]}' (say: {better}) in '{_around(text, hit)}'")
    return found


def _around(text: str, hit: re.Match[str]) -> str:
    return " ".join(text[max(0, hit.start() - 30) : hit.end() + 30].split())


def prose(markdown: str) -> str:
    """A page without its code, link targets and comments."""
    text = re.sub(r"^```.*?^```$|^ {4}[^\n]*$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->", "", text, flags=re.DOTALL)


def test_the_list_finds_dialect_and_leaves_code_alone() -> None:
    assert dialect("Mend it: a share of the test part.") != []
    assert len(dialect("a share of the test part")) == 2
    assert dialect("They share a group; an ideal deadline for kinds of rooms-like-names") == []
    assert dialect(prose("run `split --deal`\n\n```\nmend the twin\n```\n[x](twins.md)")) == []


@pytest.mark.parametrize("name", ["en", "en.explanations"])
def test_english_strings(name: str) -> None:
    strings = json.loads((STRINGS / f"{name}.json").read_text(encoding="utf-8"))
    told = [re.sub(r"{\w+}", "", text) for text in strings.values()]
    assert [hit for text in told for hit in dialect(text)] == []


@pytest.mark.parametrize("name", ["zh", "zh.explanations"])
def test_chinese_strings(name: str) -> None:
    text = (STRINGS / f"{name}.json").read_text(encoding="utf-8")
    assert {word: better for word, better in CHINESE.items() if word in text} == {}


@pytest.mark.parametrize("verb", main.VERBS)
def test_help(verb: str) -> None:
    command = main.app.get_command(click.Context(main.app), verb)
    assert command is not None
    told = [main.VERBS[verb][1], command.help or ""]
    told += [str(getattr(p, "help", "") or "") for p in command.params]
    assert [hit for text in told for hit in dialect(text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_documents(page: Path) -> None:
    assert dialect(prose(page.read_text(encoding="utf-8"))) == []


def test_the_glossary_is_alphabetical() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = [w.lower().replace("-", " ") for w in re.findall(r"^\*\*(.+?)\.\*\*", text, re.M)]
    assert len(words) >= 40
    assert words == sorted(words)
