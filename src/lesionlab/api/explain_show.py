"""The pictures and cards of the page on explanations. Needs the extra `train`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from lesionlab.api.explain_case import ExplainSession
from lesionlab.api.explain_lesions import card_facts, lesion_of
from lesionlab.deployment.heatmap import file_name, png
from lesionlab.explanation.gallery import Gallery, GalleryCase
from lesionlab.explanation.methods import Float32, Ints, maps_of
from lesionlab.explanation.study import MethodRow
from lesionlab.platforms import case_twins
from lesionlab.reporting.explanations import data_url
from lesionlab.reporting.explanations_content import CaseCard, Picture
from lesionlab.reporting.explanations_marks import marked
from lesionlab.reporting.explanations_pictures import framed, jpeg, outlined, over, plain, sheet
from lesionlab.reporting.language import Language, language

STRIPS = 6  # images shown under every method
SIMILAR = 8  # images shown with their neighbours
SMALL = 118  # pixels of a picture in a strip
Maps = dict[str, dict[int, Float32]]  # method -> row of the predictions -> map


@dataclass(frozen=True)
class Shown:
    """What there is to show; rows of the gallery count in the predictions."""

    case: ExplainSession
    chosen: Gallery
    names: tuple[str, ...]
    rows: list[MethodRow]
    main: str
    lesions: pd.DataFrame | None = None  # the ABCD numbers, a row an image of the part

    @property
    def failed(self) -> frozenset[str]:
        """The methods that failed their randomisation check."""
        return frozenset(r.name for r in self.rows if _passed(r) is False)

    @cached_property
    def twins(self) -> frozenset[str]:
        """The image ids that only case tells from an earlier one."""
        return case_twins(map(str, self.case.evaluated.predictions.image_id))

    def over(self, name: str, row: int, found: Float32) -> Image.Image:
        """The image in a row of the predictions under a method's map; framed where that failed."""
        picture = over(self.view(row), found, self.mask(row))
        return framed(picture) if name in self.failed else picture

    @property
    def words(self) -> Language:
        """The words of the page."""
        return language(self.case.asked.lang)

    def view(self, row: int) -> npt.NDArray[np.uint8]:
        """What the network sees of the image in a row of the predictions."""
        view: npt.NDArray[np.uint8] = self.case.subject.views(self.case.rows[[row]])[0]
        return view

    def mask(self, row: int) -> npt.NDArray[np.bool_] | None:
        """The lesion in that view, where its mask is known."""
        masks, place = self.case.masks, int(self.case.rows[row])
        if masks is None or not masks.known[place]:
            return None
        mask: npt.NDArray[np.bool_] = masks.take(np.array([place]))[0]
        return mask


@dataclass(frozen=True)
class GalleryCards:
    """The gallery's cards, list by list."""

    losses: tuple[CaseCard, ...]
    confident: tuple[tuple[str, tuple[CaseCard, ...]], ...]
    correct: tuple[CaseCard, ...]
    strips: tuple[CaseCard, ...]


def _passed(row: MethodRow) -> bool | None:
    return None if row.sanity is None else row.sanity.passed


def main_method(names: tuple[str, ...], rows: list[MethodRow]) -> str:
    """Whose maps stand beside the cases: the first that passed, else the first that did not fail.

    Where none is left it is the first of `names`; the page says so.
    """
    passed = {r.name: _passed(r) for r in rows}
    for wanted in (True, None):
        found = [name for name in names if passed[name] is wanted]
        if found:
            return found[0]
    return names[0]


def cards(shown: Shown) -> tuple[GalleryCards, dict[str, bytes]]:
    """The cards, and every overlay as PNG by its path below the folder of pictures."""
    strip_rows = _strip_rows(shown)
    maps = {
        name: _maps(shown, name, shown.chosen.rows if name == shown.main else strip_rows)
        for name in shown.names
    }
    pictures = {
        f"{name}/{_png_name(shown, row)}": png(shown.over(name, row, found))
        for name, by_row in maps.items()
        for row, found in by_row.items()
    }
    chosen = shown.chosen

    def several(shots: tuple[GalleryCase, ...]) -> tuple[CaseCard, ...]:
        return tuple(_card(shown, shot, maps[shown.main][shot.row]) for shot in shots)

    found = GalleryCards(
        several(chosen.losses),
        tuple((name, several(shots)) for name, shots in chosen.confident.items()),
        several(chosen.correct),
        tuple(_strip(shown, int(row), maps) for row in strip_rows),
    )
    return found, pictures


def _png_name(shown: Shown, row: int) -> str:
    predictions = shown.case.evaluated.predictions
    called = predictions.classes[int(shown.case.called[row])]
    image_id = str(predictions.image_id[row])
    return file_name(image_id, called, image_id in shown.twins)


def _strip_rows(shown: Shown) -> Ints:
    """Half of them the largest losses, half drawn from the correct ones."""
    worst = [c.row for c in shown.chosen.losses[: STRIPS // 2]]
    right = [c.row for c in shown.chosen.correct[: STRIPS - len(worst)]]
    return np.array(list(dict.fromkeys([*worst, *right])), np.int64)


def _maps(shown: Shown, name: str, rows: Ints) -> dict[int, Float32]:
    case = shown.case
    found = maps_of(case.subject, name, case.rows[rows], case.called[rows],
                    progress=case.progress, title=f"{name}, cases")  # fmt: skip
    return {int(row): found[i] for i, row in enumerate(rows)}


def _card(shown: Shown, shot: GalleryCase, found: Float32) -> CaseCard:
    words, view, mask = shown.words, shown.view(shot.row), shown.mask(shot.row)
    method, mark = words.name("method", shown.main), shown.main in shown.failed
    left = plain(view) if mask is None else outlined(plain(view).resize((448, 448)), mask)
    pictures = (
        Picture(data_url(jpeg(left)), shot.image_id, words("explain.picture")),
        Picture(
            data_url(jpeg(shown.over(shown.main, shot.row, found))),
            words("explain.map_of", method=method, name=shot.image_id),
            marked(shown.main, not mark, words),
            mark,
        ),
    )
    facts = [
        (words("explain.true"), f"{shot.true} ({_percent(shot.prob_true)})"),
        (words("explain.called"), f"{shot.predicted} ({_percent(shot.prob_predicted)})"),
        (words("explain.loss"), f"{shot.loss:.3f}"),
        (words("explain.file"), shot.file),
        (words("explain.patient"), shot.patient_id or "–"),
        *([(words("explain.lesion"), shot.lesion_id)] if shot.lesion_id else []),
        *card_facts(lesion_of(shown.lesions, shot.row), words),
    ]
    return CaseCard(pictures, tuple(facts), wrong=shot.true != shot.predicted)


def _percent(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def _strip(shown: Shown, row: int, maps: Maps) -> CaseCard:
    words, predictions = shown.words, shown.case.evaluated.predictions
    name = str(predictions.image_id[row])
    view = jpeg(plain(shown.view(row)), SMALL * 2)
    pictures = [Picture(data_url(view), name, words("explain.picture"))]
    for method in shown.names:
        text = words.name("method", method)
        picture = jpeg(shown.over(method, row, maps[method][row]), SMALL * 2)
        alt, mark = words("explain.map_of", method=text, name=name), method in shown.failed
        pictures.append(Picture(data_url(picture), alt, marked(method, not mark, words), mark))
    true = predictions.classes[int(predictions.y_true[row])]
    called = predictions.classes[int(shown.case.called[row])]
    title = f"{name}: {words('explain.true')} {true}, {words('explain.called')} {called}"
    return CaseCard(tuple(pictures), (), title, wrong=true != called)


def similar(shown: Shown, bank: Ints, near: Ints, cosine: Float32) -> tuple[CaseCard, ...]:
    """Cases with their nearest training images of other patients."""
    words, case = shown.words, shown.case
    table, predictions = case.dataset.table, case.evaluated.predictions
    found = []
    for row in _similar_rows(shown):
        name = str(predictions.image_id[row])
        true = predictions.classes[int(predictions.y_true[row])]
        called = predictions.classes[int(case.called[row])]
        pictures = [Picture(data_url(jpeg(plain(shown.view(row)), SMALL * 2)), name,
                            words("explain.this"))]  # fmt: skip
        for place, value in zip(near[row], cosine[row], strict=True):
            if place < 0:
                continue
            other = int(bank[place])
            view = case.subject.views(np.array([other]))[0]
            text = f"{table['label'].iloc[other]} · {value:.2f} · {table['image_id'].iloc[other]}"
            pictures.append(Picture(data_url(jpeg(plain(view), SMALL * 2)), text, text))
        title = f"{name}: {words('explain.true')} {true}, {words('explain.called')} {called}"
        found.append(CaseCard(tuple(pictures), (), title, wrong=true != called))
    return tuple(found)


def _similar_rows(shown: Shown) -> list[int]:
    worst = [c.row for c in shown.chosen.losses[: SIMILAR // 2]]
    return [*worst, *(c.row for c in shown.chosen.correct[: SIMILAR - len(worst)])]


def cloud(shown: Shown, spots: pd.DataFrame) -> tuple[dict[str, Any], str]:
    """The data of the embedding map, and its sheet of thumbnails as a data URL."""
    case, words = shown.case, shown.words
    table = case.dataset.table.iloc[case.rows].reset_index(drop=True)
    rows = pd.Series(table.index, index=table["image_id"])[spots["image_id"]].to_numpy(np.int64)
    picture, columns, side = sheet(lambda i: case.subject.views(case.rows[rows[i]]), len(rows))
    predictions = case.evaluated.predictions
    classes = list(predictions.classes)
    wrong = (case.called != predictions.y_true).astype(int)[rows].tolist()
    colours = [
        _colour(words("colour.label"), classes, predictions.y_true[rows].tolist()),
        _colour(words("colour.predicted"), classes, case.called[rows].tolist()),
        _colour(words("colour.error"), [words("cloud.right"), words("cloud.wrong")], wrong),
    ]
    for column in ("source", "sex"):
        values = table[column].iloc[rows].replace("", words("cloud.unknown"))
        names = sorted(set(values))
        codes = [names.index(v) for v in values]
        colours.append(_colour(words(f"colour.{column}"), names, codes))
    data = {
        "x": (1000 * spots["x"]).round().astype(int).tolist(),
        "y": (1000 * spots["y"]).round().astype(int).tolist(),
        "ids": spots["image_id"].tolist(),
        "colours": colours,
        "columns": columns,
        "thumb": side,
    }
    return data, data_url(picture)


def _colour(name: str, names: list[str], codes: list[int]) -> dict[str, Any]:
    return {"name": name, "names": names, "codes": codes}
