"""Whether the network is better than chance on the explained part: else nothing is explained."""

from __future__ import annotations

from typing import Any

from lesionlab.evaluation.evaluate import cases_of, plain
from lesionlab.evaluation.headline import headline
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.measured import measure_cases
from lesionlab.evaluation.metrics import chance_balanced_accuracy
from lesionlab.evaluation.predictions import Predictions

RESAMPLES = 1000


def against_chance(predictions: Predictions, seed: int = 0) -> dict[str, Any]:
    """Balanced accuracy and (macro) AUC of the labelled images, in JSON.

    `chance` is what a network has that predicts one class for every image: one over the number of
    classes that are there, and 0.5. `better_than_chance`: see `better`.
    """
    known = predictions.labelled()
    cases = cases_of(known, (), None)
    measured = measure_cases(cases, resamples=RESAMPLES, seed=seed, bands=False)
    numbers = headline(measured, None)
    chance = {"balanced_accuracy": chance_balanced_accuracy(cases.present), "roc_auc": 0.5}
    found = {key: numbers[key] for key in chance}
    result: dict[str, Any] = plain({**found, "chance": chance})
    return result | {"better_than_chance": better(found, chance)}


def better(measures: dict[str, Measure], chance: dict[str, float]) -> bool | None:
    """True where one interval lies above chance, None where there is no interval to judge by.

    One suffices: a network that predicts the commonest class throughout may still rank well.
    """
    known = {key: m.low for key, m in measures.items() if m.low is not None and chance[key] < 1}
    return any(low > chance[key] for key, low in known.items()) if known else None
