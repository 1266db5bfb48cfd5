"""Many images through one predictor: decoded in parallel, answered in order, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from lesionlab.data.images import UInt8, UnreadableImage
from lesionlab.deployment.answers import DEFAULT_ABSTENTION, Answer, answers
from lesionlab.deployment.decode import read_pixels
from lesionlab.deployment.inputs import Item
from lesionlab.deployment.predictor import Predictor
from lesionlab.deployment.schema import OperatingPoint

BATCH = 16
AHEAD = 3 * BATCH  # images decoded before they are needed, at most

Decoded = tuple[UInt8 | None, str]  # pixels, or the reason why there are none


@dataclass(frozen=True)
class Result:
    """One image's answer, or the reason why there is none."""

    item: Item
    answer: Answer | None
    error: str = ""


def predict_items(
    predictor: Predictor,
    items: Iterable[Item],
    *,
    point: OperatingPoint | None = None,
    abstain: str = DEFAULT_ABSTENTION,
    draft: bool = True,
    workers: int = 2,
) -> Iterator[Result]:
    """A `Result` for each item, in order; an unreadable image is a result, not the end."""
    with ThreadPoolExecutor(workers) as pool:
        decoded = _decoded(pool, predictor, items, draft)
        while group := list(islice(decoded, BATCH)):
            good = [pixels for _, (pixels, _) in group if pixels is not None]
            said: Iterator[Answer] = iter(())
            if good:
                said = iter(answers(predictor, predictor.predict(np.stack(good)), point, abstain))
            for item, (pixels, error) in group:
                yield Result(item, None if pixels is None else next(said), error)


def _decoded(
    pool: ThreadPoolExecutor, predictor: Predictor, items: Iterable[Item], draft: bool
) -> Iterator[tuple[Item, Decoded]]:
    """Items with their pixels, in order; at most `AHEAD` wait at any time."""
    waiting: deque[tuple[Item, Future[Decoded]]] = deque()
    for item in items:
        waiting.append((item, pool.submit(_decode, predictor, item, draft)))
        if len(waiting) >= AHEAD:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


def _decode(predictor: Predictor, item: Item, draft: bool) -> Decoded:
    try:
        return item_pixels(predictor, item, draft), ""
    except UnreadableImage as error:
        return None, error.reason


def item_pixels(predictor: Predictor, item: Item, draft: bool = True) -> UInt8:
    """The network's view of an image file; `UnreadableImage` where it is none."""
    if item.roi is None and predictor.info.training.regions:
        raise UnreadableImage(
            "no region given (roi_x, roi_y, roi_size), and this model has learnt from regions",
            where=item.image_id,
        )
    return read_pixels(item.path, predictor.how, item.roi, name=item.image_id, draft=draft)
