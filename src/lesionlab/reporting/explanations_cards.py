"""The cards and pictures of the page on explanations, from what `explain` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from lesionlab.deployment.heatmap import file_name, png
from lesionlab.explanation.gallery import GalleryCase
from lesionlab.explanation.lesion_geometry import lesion_of
from lesionlab.platforms import case_twins
from lesionlab.reporting.explanations import data_url
from lesionlab.reporting.explanations_content import CaseCard, Picture
from lesionlab.reporting.explanations_marks import marked
from lesionlab.reporting.explanations_pictures import framed, jpeg, outlined, over, plain, sheet
from lesionlab.reporting.language import Language

if TYPE_CHECKING:  # its module loads torch; what it holds are plain values
    from lesionlab.explanation.summary import Findings

SIMILAR = 8  # images shown with their neighbours
SMALL = 118  # pixels of a picture in a strip
ON_CARD = ("asymmetry", "border_irregularity", "colour_variegation", "diameter")


@dataclass(frozen=True)
class GalleryCards:
    """The gallery's cards, list by list."""

    losses: tuple[CaseCard, ...]
    confident: tuple[tuple[str, tuple[CaseCard, ...]], ...]
    correct: tuple[CaseCard, ...]
    strips: tuple[CaseCard, ...]


def overlays(found: Findings) -> dict[str, bytes]:
    """Every map over its image, as PNG by its path below the folder of pictures."""
    predictions, predicted = found.session.predictions, found.session.predicted
    twins = case_twins(map(str, predictions.image_id))

    def name(row: int) -> str:
        image_id = str(predictions.image_id[row])
        return file_name(image_id, predictions.classes[int(predicted[row])], image_id in twins)

    return {
        f"{method}/{name(row)}": png(_over(found, method, row))
        for method, by_row in found.maps.items()
        for row in by_row
    }


def gallery_cards(found: Findings, words: Language) -> GalleryCards:
    """The cards of the gallery."""
    chosen = found.gallery

    def cards(cases: tuple[GalleryCase, ...]) -> tuple[CaseCard, ...]:
        return tuple(_card(found, case, words) for case in cases)

    return GalleryCards(
        cards(chosen.losses),
        tuple((name, cards(cases)) for name, cases in chosen.confident.items()),
        cards(chosen.correct),
        tuple(_strip(found, int(row), words) for row in found.strips),
    )


def similar_cards(found: Findings, words: Language) -> tuple[CaseCard, ...]:
    """Cases with their nearest training images of other patients."""
    chosen = found.gallery
    worst = [c.row for c in chosen.losses[: SIMILAR // 2]]
    rows = [*worst, *(c.row for c in chosen.correct[: SIMILAR - len(worst)])]
    return tuple(_similar(found, row, words) for row in rows)


def embedding_map(found: Findings, words: Language) -> tuple[dict[str, Any], str]:
    """The data of the embedding map, and its sheet of thumbnails as a data URL."""
    session, points = found.session, found.cloud
    table = session.dataset.table.iloc[session.rows].reset_index(drop=True)
    rows = pd.Series(table.index, index=table["image_id"])[points["image_id"]].to_numpy(np.int64)
    picture, columns, side = sheet(lambda i: session.views(rows[i]), len(rows))
    data = {
        "x": (1000 * points["x"]).round().astype(int).tolist(),
        "y": (1000 * points["y"]).round().astype(int).tolist(),
        "ids": points["image_id"].tolist(),
        "colours": _colours(found, table.iloc[rows], rows, words),
        "columns": columns,
        "thumb": side,
    }
    return data, data_url(picture)


def card_facts(lesion: dict[str, float] | None, words: Language) -> list[tuple[str, str]]:
    """Name and value of the numbers that stand on a case's card; [] without a mask."""
    if lesion is None:
        return []
    names = [words.name("abcd", k) for k in ON_CARD]
    # The other names on a card begin small.
    return [(n[:1].lower() + n[1:], _text(lesion[k])) for n, k in zip(names, ON_CARD, strict=True)]


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 3 else f"{value:.2f}"


def _view(found: Findings, row: int) -> npt.NDArray[np.uint8]:
    """What the network sees of the image in a row of the predictions."""
    view: npt.NDArray[np.uint8] = found.session.views(np.array([row]))[0]
    return view


def _over(found: Findings, method: str, row: int) -> Image.Image:
    """The image in a row of the predictions under a method's map; framed where that failed."""
    picture = over(_view(found, row), found.maps[method][row], found.session.mask(row))
    return framed(picture) if method in found.failed else picture


def _card(found: Findings, case: GalleryCase, words: Language) -> CaseCard:
    view, mask = _view(found, case.row), found.session.mask(case.row)
    method, failed = words.name("method", found.main), found.main in found.failed
    left = plain(view) if mask is None else outlined(plain(view).resize((448, 448)), mask)
    pictures = (
        Picture(data_url(jpeg(left)), case.image_id, words("explain.picture")),
        Picture(
            data_url(jpeg(_over(found, found.main, case.row))),
            words("explain.map_of", method=method, name=case.image_id),
            marked(found.main, not failed, words),
            failed,
        ),
    )
    facts = [
        (words("explain.true"), f"{case.true} ({_percent(case.prob_true)})"),
        (words("explain.called"), f"{case.predicted} ({_percent(case.prob_predicted)})"),
        (words("explain.loss"), f"{case.loss:.3f}"),
        (words("explain.file"), case.file),
        (words("explain.patient"), case.patient_id or "–"),
        *([(words("explain.lesion"), case.lesion_id)] if case.lesion_id else []),
        *card_facts(lesion_of(found.lesions, case.row), words),
    ]
    return CaseCard(pictures, tuple(facts), wrong=case.true != case.predicted)


def _percent(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def _named(found: Findings, row: int, pictures: list[Picture], words: Language) -> CaseCard:
    """A card of many pictures, under the image's name with its true and predicted class."""
    predictions = found.session.predictions
    true = predictions.classes[int(predictions.y_true[row])]
    predicted = predictions.classes[int(found.session.predicted[row])]
    name = str(predictions.image_id[row])
    title = f"{name}: {words('explain.true')} {true}, {words('explain.called')} {predicted}"
    return CaseCard(tuple(pictures), (), title, wrong=true != predicted)


def _strip(found: Findings, row: int, words: Language) -> CaseCard:
    name = str(found.session.predictions.image_id[row])
    pictures = [Picture(_small(_view(found, row)), name, words("explain.picture"))]
    for method in found.methods:
        picture = data_url(jpeg(_over(found, method, row), SMALL * 2))
        alt = words("explain.map_of", method=words.name("method", method), name=name)
        failed = method in found.failed
        pictures.append(Picture(picture, alt, marked(method, not failed, words), failed))
    return _named(found, row, pictures, words)


def _similar(found: Findings, row: int, words: Language) -> CaseCard:
    session, similar = found.session, found.similar
    name, table = str(session.predictions.image_id[row]), session.dataset.table
    pictures = [Picture(_small(_view(found, row)), name, words("explain.this"))]
    for place, cosine in zip(similar.nearest[row], similar.cosine[row], strict=True):
        if place < 0:
            continue
        other = int(similar.bank[place])
        view = session.subject.views(np.array([other]))[0]
        text = f"{table['label'].iloc[other]} · {cosine:.2f} · {table['image_id'].iloc[other]}"
        pictures.append(Picture(_small(view), text, text))
    return _named(found, row, pictures, words)


def _small(view: npt.NDArray[np.uint8]) -> str:
    return data_url(jpeg(plain(view), SMALL * 2))


def _colours(
    found: Findings, table: pd.DataFrame, rows: npt.NDArray[np.int64], words: Language
) -> list[dict[str, Any]]:
    """What the points can be coloured by; `table` has their rows."""
    predictions, predicted = found.session.predictions, found.session.predicted
    classes = list(predictions.classes)
    wrong = (predicted != predictions.y_true).astype(int)[rows].tolist()
    colours = [
        _colour(words("colour.label"), classes, predictions.y_true[rows].tolist()),
        _colour(words("colour.predicted"), classes, predicted[rows].tolist()),
        _colour(words("colour.error"), [words("cloud.right"), words("cloud.wrong")], wrong),
    ]
    for column in ("source", "sex"):
        values = table[column].replace("", words("cloud.unknown"))
        names = sorted(set(values))
        codes = [names.index(v) for v in values]
        colours.append(_colour(words(f"colour.{column}"), names, codes))
    return colours


def _colour(name: str, names: list[str], codes: list[int]) -> dict[str, Any]:
    return {"name": name, "names": names, "codes": codes}
