"""What stands on a card, and the frame of a map that cannot be believed."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lesionlab.data.abcd import NAMES
from lesionlab.reporting.explanations_cards import ON_CARD, card_facts
from lesionlab.reporting.explanations_pictures import FAILED, framed
from lesionlab.reporting.language import language

LESION = dict.fromkeys(NAMES, 0.25) | {"diameter": 1234.4}


def test_lesion_numbers_on_a_card() -> None:
    facts = card_facts(LESION, language("en"))
    assert [name for name, _ in facts] == [
        "asymmetry", "border irregularity", "colour variegation", "diameter (px)"
    ]  # fmt: skip
    assert [value for _, value in facts] == ["0.25", "0.25", "0.25", "1,234"]
    assert card_facts(None, language("en")) == []
    assert len(card_facts(LESION, language("zh"))) == len(ON_CARD)


def test_the_frame_is_red_and_leaves_the_middle_alone() -> None:
    plain = Image.new("RGB", (80, 80), (10, 20, 30))
    found = np.asarray(framed(plain))
    assert (found[[0, 1, -1]] == FAILED).all()
    assert (found[:, [0, -1]] == FAILED).all()
    assert (found[5:-5, 5:-5] == (10, 20, 30)).all()
    assert plain.getpixel((0, 0)) == (10, 20, 30)
