from __future__ import annotations

import pytest

from lesionlab.data.sources.cbis_ddsm import LABELS as CBIS
from lesionlab.data.sources.isic_archive import MILK_CLASSES
from lesionlab.data.sources.isic_challenges import CLASSES_2018, CLASSES_2019
from lesionlab.data.sources.mini_mias import LABELS as MIAS
from lesionlab.data.sources.pad_ufes import CLASSES as PAD
from lesionlab.data.sources.ph2 import LABELS as PH2
from lesionlab.data.sources.table import SOURCES
from lesionlab.data.taxonomy import (
    DIAGNOSES,
    common_labels,
    counterparts,
    diagnosis,
    malignant_of,
)
from lesionlab.errors import BadInput

HAM = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
EVERY = (HAM, CLASSES_2018, CLASSES_2019, MILK_CLASSES, PAD, tuple(PH2.values()),
         tuple(MIAS.values()), tuple(CBIS.values()),
         ("melanoma", "nevus", "seborrheic_keratosis"))  # fmt: skip


@pytest.mark.parametrize("classes", EVERY)
def test_every_class_of_every_set_is_known(classes: tuple[str, ...]) -> None:
    assert [c for c in classes if diagnosis(c) is None] == []


def test_words_of_one_diagnosis_agree() -> None:
    same = [
        ("AK", "ACK", "actinic keratosis", "Solar or actinic keratosis"),
        ("NV", "NEV", "nevus", "melanocytic nevus", "Naevus"),
        ("SEK", "seborrheic_keratosis", "SK"),
        ("SCC in situ", "Bowen's disease", "squamous cell carcinoma in situ"),
    ]
    for words in same:
        assert len({diagnosis(w) for w in words}) == 1
        assert diagnosis(words[0]) is not None


def test_families_are_nodes_and_words_are_unambiguous() -> None:
    assert all(DIAGNOSES[d.family].malignant == d.malignant for d in DIAGNOSES.values())
    seen: dict[str, str] = {}
    for node in DIAGNOSES.values():
        for word in node.words:
            assert seen.setdefault(word, node.code) == node.code


def test_the_sets_own_lists_of_malignant_classes_agree_with_the_taxonomy() -> None:
    assert malignant_of(HAM) == ("akiec", "bcc", "mel")
    assert set(malignant_of(CLASSES_2019)) == {"MEL", "BCC", "AK", "SCC"}
    assert malignant_of(MIAS.values()) == ("malignant",)


def test_counterparts_between_sets() -> None:
    assert counterparts(PAD, HAM) == {"ACK": "akiec", "BCC": "bcc", "MEL": "mel", "NEV": "nv",
                                      "SCC": None, "SEK": "bkl"}  # fmt: skip
    assert counterparts(HAM, CLASSES_2019)["akiec"] == "AK"
    assert counterparts(CLASSES_2019, ("benign", "malignant"))["UNK"] is None
    assert counterparts(("SCC", "VASC"), ("benign", "malignant")) == {
        "SCC": "malignant", "VASC": "benign"}  # fmt: skip
    assert counterparts(("bkl",), ("nevus", "melanoma", "seborrheic_keratosis")) == {
        "bkl": "seborrheic_keratosis"}  # fmt: skip
    assert counterparts(("foo",), HAM) == {"foo": None}


def test_common_levels() -> None:
    assert common_labels(["AK", "DN"], "family") == {"AK": "AKIEC", "DN": "NV"}
    assert common_labels(["AK", "nv"], "malignancy") == {"AK": "malignant", "nv": "benign"}
    with pytest.raises(BadInput, match=r"'foo'.*--map"):
        common_labels(["foo"], "family")
    with pytest.raises(BadInput, match="'UNK'"):
        common_labels(["UNK"], "malignancy")


def test_sources_do_not_contradict_the_taxonomy() -> None:
    for source in SOURCES.values():
        assert all(diagnosis(c) for c in source.expected.get("classes", {}))
