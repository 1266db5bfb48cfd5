"""The user's mistakes are said in one line that no name can forge."""

from __future__ import annotations

import pytest

from lesionlab.errors import BadInput, Interrupted, nearest, one_line


def test_what_where_and_remedy_in_this_order() -> None:
    assert str(BadInput("not a number")) == "not a number"
    assert str(BadInput("not a number", where="a.csv")) == "a.csv: not a number"
    assert str(BadInput("not a number", remedy="write one")) == "not a number; write one"
    whole = BadInput("not a number", where="a.csv, row 2", remedy="write one")
    assert str(whole) == "a.csv, row 2: not a number; write one"


def test_a_mistake_of_the_user_is_no_stop_on_request() -> None:
    assert not issubclass(BadInput, Interrupted)
    assert not issubclass(Interrupted, BadInput)


@pytest.mark.parametrize(
    "sign", ["\n", "\r", "\x85", "\u2028", "\x1b[2J", "\x00", "\u202e", "\udcff", "\t"]
)
def test_no_part_breaks_the_line(sign: str) -> None:
    said = str(BadInput(f"a{sign}b", where=f"c{sign}d", remedy=f"e{sign}f"))
    assert said.isprintable()
    assert len(said.splitlines()) == 1
    said.encode("utf-8")  # a lone surrogate, of a file name, could not be printed
    escaped = one_line(sign)
    assert said == f"c{escaped}d: a{escaped}b; e{escaped}f"


def test_what_can_be_printed_stays_as_it_is() -> None:
    assert one_line("Müller, 黒子, 50 %, it's \\n") == "Müller, 黒子, 50 %, it's \\n"


def test_the_nearest_word_is_offered() -> None:
    assert nearest("melanom", ["nevus", "melanoma"]) == "did you mean 'melanoma'?"
    assert nearest("melanom", (w for w in ("nevus", "melanoma"))) == "did you mean 'melanoma'?"


def test_words_are_listed_where_none_is_near() -> None:
    words = [f"word{n}" for n in range(13)]
    assert nearest("zzz", words[:12]) == "known: " + ", ".join(words[:12])
    assert nearest("zzz", words) == "known: " + ", ".join(words[:12]) + ", ..."
    assert nearest("zzz", []) == "known: "
