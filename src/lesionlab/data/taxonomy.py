"""One taxonomy of diagnoses over all data sets: what a label means, and whether it is malignant.

Every set has words of its own: AK, akiec, "actinic keratosis". Here each word leads to one
`Diagnosis`, each diagnosis to a family (the classes of ISIC 2018, widened), and each family to
benign or malignant. Actinic keratosis and carcinoma in situ form the family AKIEC and count as
malignant, as in ISIC 2018 and in Tschandl et al. (Lancet Oncol 2019), because some sets do not
part them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lesionlab.errors import BadInput


@dataclass(frozen=True)
class Diagnosis:
    """A node: `code`, its family's code (its own for a family), and words that name it."""

    code: str
    family: str
    malignant: bool | None  # None: the word does not say
    words: tuple[str, ...]


# code, family, malignant, words (compared in lower case, without signs; the code is one too)
_TABLE: tuple[tuple[str, str, bool | None, str], ...] = (
    ("MEL", "MEL", True, "melanoma; mel; invasive melanoma; malignant melanoma; mm; "
     "melanoma invasive; melanoma metastasis; metastatic melanoma; nodular melanoma; "
     "superficial spreading melanoma; acral lentiginous melanoma; amelanotic melanoma"),
    ("MIS", "MEL", True, "melanoma in situ; lentigo maligna; lentigo maligna melanoma"),
    ("NV", "NV", False, "nevus; naevus; nv; nev; melanocytic nevus; melanocytic nevi; "
     "common nevus; blue nevus; congenital nevus; compound nevus; dermal nevus; "
     "junctional nevus; mole; spitz nevus; reed or spitz nevus; combined nevus; clark nevus; "
     "recurrent nevus"),
    ("DN", "NV", False, "atypical nevus; dysplastic nevus"),
    ("BCC", "BCC", True, "basal cell carcinoma; bcc; basalioma; basal cell cancer"),
    ("AKIEC", "AKIEC", True, "akiec; actinic keratosis intraepithelial carcinoma; "
     "actinic keratosis bowens disease; actinic keratoses and intraepithelial carcinoma"),
    ("AK", "AKIEC", True, "ak; ack; actinic keratosis; actinic keratoses; solar keratosis; "
     "solar or actinic keratosis"),
    ("SCCIS", "AKIEC", True, "squamous cell carcinoma in situ; scc in situ; bowens disease; "
     "bowen disease; bowen; intraepidermal carcinoma; intraepithelial carcinoma"),
    ("SCC", "SCC", True, "squamous cell carcinoma; scc; sccka; invasive scc; "
     "squamous cell carcinoma invasive; squamous cell carcinoma nos; "
     "squamous cell carcinoma keratoacanthoma"),
    ("KA", "SCC", True, "keratoacanthoma"),
    ("BKL", "BKL", False, "bkl; benign keratosis; benign keratosis like lesion; "
     "benign keratosis like lesions; pigmented benign keratosis"),
    ("SK", "BKL", False, "seborrheic keratosis; seborrhoeic keratosis; sk; sek; bkl sk"),
    ("SL", "BKL", False, "solar lentigo; lentigo; lentigo nos; lentigo simplex; "
     "ink spot lentigo; senile lentigo"),
    ("LPLK", "BKL", False, "lichen planus like keratosis; lichenoid keratosis; lplk"),
    ("DF", "DF", False, "dermatofibroma; df; fibrous histiocytoma"),
    ("VASC", "VASC", False, "vasc; vascular lesion; vascular lesions; vascular"),
    ("ANG", "VASC", False, "angioma; hemangioma; haemangioma; cherry angioma; hemangioma nos"),
    ("AKT", "VASC", False, "angiokeratoma"),
    ("PG", "VASC", False, "pyogenic granuloma"),
    ("INF", "INF", False, "inf; inflammatory; infectious; inflammatory and infectious"),
    ("BEN_OTH", "BEN_OTH", False, "ben oth; other benign; scar; neurofibroma; fibrous papule; "
     "sebaceous hyperplasia; trichilemmal cyst; acrochordon; wart; verruca; lichen planus"),
    ("MAL_OTH", "MAL_OTH", True, "mal oth; other malignant; merkel cell carcinoma; "
     "kaposi sarcoma; angiosarcoma; atypical fibroxanthoma"),
    ("UNK", "UNK", None, "unk; unknown; other; indeterminate; none of the others; "
     "atypical melanocytic proliferation"),
    ("BENIGN", "BENIGN", False, "benign; ben; negative; benign without callback; non melanoma; "
     "non malignant; noncancer"),
    ("MALIGNANT", "MALIGNANT", True, "malignant; malign; mal; cancer; carcinoma; positive"),
    ("NORMAL", "NORMAL", False, "normal; norm; healthy; no finding"),
)  # fmt: skip


def _plain(word: str) -> str:
    text = word.lower().replace("'", "").replace("’", "")
    return " ".join(re.split(r"[^a-z0-9]+", text)).strip()


def _nodes() -> dict[str, Diagnosis]:
    nodes = {}
    for code, family, malignant, words in _TABLE:
        names = tuple(w.strip() for w in words.split(";"))
        nodes[code] = Diagnosis(code, family, malignant, names)
    return nodes


DIAGNOSES: Mapping[str, Diagnosis] = _nodes()
_WORDS = {_plain(w): d for d in DIAGNOSES.values() for w in (d.code, *d.words)}


def diagnosis(label: str) -> Diagnosis | None:
    """The diagnosis that a data set's word names, or None where the taxonomy has no such word.

    >>> diagnosis("actinic keratosis").family, diagnosis("NV").malignant
    ('AKIEC', False)
    """
    return _WORDS.get(_plain(label))


def malignant_of(classes: Iterable[str]) -> tuple[str, ...]:
    """Those of `classes` that the taxonomy knows to be malignant, in order.

    >>> malignant_of(["nevus", "melanoma", "seborrheic_keratosis"])
    ('melanoma',)
    """
    return tuple(c for c in classes if (known := diagnosis(c)) is not None and known.malignant)


def malignant_if_all_known(classes: Sequence[str]) -> tuple[str, ...]:
    """The malignant classes where the taxonomy knows every class; else none: no half guess.

    >>> malignant_if_all_known(["nv", "mel"]), malignant_if_all_known(["nv", "mel", "rash"])
    (('mel',), ())
    """
    known = [diagnosis(c) for c in classes]
    if any(d is None or d.malignant is None for d in known):
        return ()
    found = malignant_of(classes)
    return found if 0 < len(found) < len(classes) else ()


def counterparts(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str | None]:
    """For each of `ours` the class of `theirs` that means the same or includes it; else None.

    In order: the same word, the same diagnosis, the diagnosis's family, the only class of its
    family (akiec -> AK where the other set has no closer one), and, where `theirs` only parts
    benign from malignant, that.

    >>> counterparts(["AK", "SCC"], ["akiec", "bcc", "nv"])
    {'AK': 'akiec', 'SCC': None}
    >>> counterparts(["mel", "nv"], ["benign", "malignant"])
    {'mel': 'malignant', 'nv': 'benign'}
    """
    known = {name: diagnosis(name) for name in theirs}
    return {name: _counterpart(name, known) for name in ours}


def _counterpart(name: str, known: Mapping[str, Diagnosis | None]) -> str | None:
    if name in known:
        return name
    node = diagnosis(name)
    if node is None:
        return None
    for code in (node.code, node.family):
        for other, its in known.items():
            if its is not None and its.code == code:
                return other
    family = [other for other, its in known.items() if its and its.family == node.family]
    if len(family) == 1:
        return family[0]
    codes = {its.code: other for other, its in known.items() if its is not None}
    if set(codes) <= {"BENIGN", "MALIGNANT", "NORMAL"} and node.malignant is not None:
        return codes.get("MALIGNANT" if node.malignant else "BENIGN")
    return None


def common_labels(classes: Sequence[str], level: str) -> dict[str, str]:
    """Each class's word at a level on which sets can meet: `family` or `malignancy`.

    Raises `BadInput` for a class that the taxonomy does not know, or of unknown malignancy.

    >>> common_labels(["nevus", "melanoma"], "family")
    {'nevus': 'NV', 'melanoma': 'MEL'}
    """
    result = {}
    for name in classes:
        node = diagnosis(name)
        if node is None or (level == "malignancy" and node.malignant is None):
            raise BadInput(
                f"the taxonomy does not know what class '{name}' means",
                remedy=f"name it with --map '{name}=...' when importing",
            )
        if level == "malignancy":
            result[name] = "malignant" if node.malignant else "benign"
        else:
            result[name] = node.family
    return result
