from __future__ import annotations

import re
from pathlib import Path

import pytest

from lesionlab.errors import BadInput
from lesionlab.reporting import language as module
from lesionlab.reporting.language import LANGUAGES, language, measure_text, share

SOURCES = Path(module.__file__).parent


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", text))


@pytest.mark.parametrize("code", sorted(set(LANGUAGES) - {"en"}))
def test_a_language_has_the_keys_and_placeholders_of_english(code: str) -> None:
    english, other = language("en").strings, language(code).strings
    assert set(english) == set(other)
    for key, text in english.items():
        assert placeholders(text) == placeholders(other[key]), key
    same = [k for k, v in english.items() if other[k] == v and len(v) > 12]
    assert same == []  # left untranslated


def test_every_key_that_the_code_names_exists() -> None:
    named = set()
    for pattern in ("*.py", "sections/*.py", "templates/*"):
        text = "".join(p.read_text(encoding="utf-8") for p in SOURCES.glob(pattern))
        named |= set(re.findall(r'\bwords\(\s*"([a-z_.0-9]+)"[,)]', text))
    assert len(named) > 100
    assert named <= set(language("en").strings)


def test_an_unknown_language_is_refused_and_an_unknown_word_kept() -> None:
    with pytest.raises(BadInput, match="no language 'fr'"):
        language("fr")
    assert language("zh").name("metric", "made_up") == "made_up"
    with pytest.raises(KeyError):
        language("en")("no.such.key")


def test_unknown_numbers_are_dashes() -> None:
    assert share(None) == share(float("nan")) == "–"
    assert measure_text(None) == "–"
    assert measure_text({"value": None, "low": None, "high": None}) == "–"
    assert measure_text({"value": 0.5, "low": None, "high": None}) == "0.500"
    assert measure_text({"value": 0.5, "low": 0.4, "high": 0.6}, 2, "\n") == "0.50\n(0.40–0.60)"
