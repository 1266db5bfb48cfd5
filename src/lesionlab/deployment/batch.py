"""Many images through one predictor: decoded in parallel, answered in order, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.array_types import UInt8
from lesionlab.data.images import UnreadableImage
from lesionlab.deployment.answers import DEFAULT_ABSTENTION, Answer, answers
from lesionlab.deployment.clinical_inputs import encode_clinical, not_understood
from lesionlab.deployment.decode import View, read_view
from lesionlab.deployment.inputs import Item
from lesionlab.deployment.predictor import Predictor
from lesionlab.evaluation.operating_point import OperatingPoint

BATCH = 16
AHEAD = 3 * BATCH  # images decoded before they are needed, at most


@dataclass(frozen=True)
class ImageResult:
    """One image's answer, or the reason why there is none.

    `note` is what a reader must know of the file. `pixels` (size, size, C) uint8 and `cam`
    (K, h, w) are there where heat maps were asked for and the model has them.
    """

    item: Item
    answer: Answer | None
    error: str = ""
    note: str = ""
    pixels: UInt8 | None = None
    cam: npt.NDArray[np.float32] | None = None


# What `predict` says of an image beside its answer, in JSON and in the CSV.
ABOUT_IMAGE: dict[str, Callable[[ImageResult], str | None]] = {
    "image_id": lambda result: result.item.image_id,
    "path": lambda result: result.item.path.as_posix(),
    "error": lambda result: result.error or None,
    "note": lambda result: result.note,
}


def about_image(result: ImageResult) -> dict[str, str | None]:
    """The values of `ABOUT_IMAGE`."""
    return {name: value(result) for name, value in ABOUT_IMAGE.items()}


def as_json(result: ImageResult) -> dict[str, Any]:
    """A JSON object; the fields of the answer are absent where there is none."""
    answer = {} if result.answer is None else result.answer.model_dump()
    return {**about_image(result), **answer}


@dataclass(frozen=True)
class PredictOptions:
    """How the images of a batch are to be answered."""

    point: OperatingPoint | None = None
    abstain: str = DEFAULT_ABSTENTION
    draft: bool = True
    with_cam: bool = False


def predict_items(
    predictor: Predictor,
    items: Iterable[Item],
    options: PredictOptions | None = None,
    *,
    workers: int = 2,
) -> Iterator[ImageResult]:
    """An `ImageResult` for each item, in order; an unreadable image is a result, not the end."""
    options = options or PredictOptions()
    with ThreadPoolExecutor(workers) as pool:
        decoded = _decoded(pool, predictor, items, options.draft)
        while group := list(islice(decoded, BATCH)):
            yield from _answered(predictor, group, options)


def _answered(
    predictor: Predictor, group: list[tuple[Item, View | str]], options: PredictOptions
) -> Iterator[ImageResult]:
    good = [(item, view) for item, view in group if isinstance(view, View)]
    answered: list[Answer] = []
    cams: npt.NDArray[np.float32] | None = None
    coding = predictor.info.facts
    if good:
        pixels = np.stack([view.pixels for _, view in good])
        facts = (
            None if coding is None else encode_clinical([item.clinical for item, _ in good], coding)
        )
        outputs = predictor.predict(pixels, options.with_cam, facts)
        answered, cams = answers(predictor, outputs, options.point, options.abstain), outputs.cam
    row = 0
    for item, view in group:
        if isinstance(view, str):
            yield ImageResult(item, None, view)
            continue
        cam = None if cams is None else cams[row]
        ignored = "" if coding is None else not_understood(item.clinical, coding)
        note = "; ".join(filter(None, (view.note, ignored)))
        yield ImageResult(item, answered[row], note=note, pixels=view.pixels, cam=cam)
        row += 1


def _decoded(
    pool: ThreadPoolExecutor, predictor: Predictor, items: Iterable[Item], draft: bool
) -> Iterator[tuple[Item, View | str]]:
    """Items with what the network sees of them, or why not; at most `AHEAD` wait at any time."""
    waiting: deque[tuple[Item, Future[View | str]]] = deque()
    for item in items:
        waiting.append((item, pool.submit(_decode, predictor, item, draft)))
        if len(waiting) >= AHEAD:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


def _decode(predictor: Predictor, item: Item, draft: bool) -> View | str:
    try:
        return item_view(predictor, item, draft)
    except UnreadableImage as error:
        return error.reason


def item_view(predictor: Predictor, item: Item, draft: bool = True) -> View:
    """The network's view of an image file; `UnreadableImage` where it is none."""
    if item.roi is None and predictor.info.training.regions:
        raise UnreadableImage(
            "no region given (roi_x, roi_y, roi_size), and this model was trained on regions",
            where=item.image_id,
        )
    depth = predictor.info.training.depth
    return read_view(
        item.path, predictor.how, item.roi, name=item.image_id, draft=draft, depth=depth
    )
