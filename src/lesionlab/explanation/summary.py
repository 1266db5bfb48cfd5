"""Everything that `explain` finds out about a run, as plain values, before a byte is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.array_types import Float32, Ints
from lesionlab.data.manifest import original_files
from lesionlab.data.randomness import philox
from lesionlab.evaluation.evaluate import cases_of, plain
from lesionlab.evaluation.headline import headline
from lesionlab.evaluation.measured import measure_cases
from lesionlab.evaluation.metrics import chance_balanced_accuracy
from lesionlab.explanation import faithfulness, localisation
from lesionlab.explanation.chance_check import RESAMPLES, against_chance
from lesionlab.explanation.confusions import confused_pairs, errors
from lesionlab.explanation.embedding import MOST, embed, left_out, plane
from lesionlab.explanation.gallery import Gallery, GalleryCase, gallery
from lesionlab.explanation.lesion_geometry import lesion_of, lesion_table
from lesionlab.explanation.methods import METHODS, chosen_methods, maps_of
from lesionlab.explanation.neighbours import Agreement, agreement, leave_one_out, nearest
from lesionlab.explanation.session import ExplainSession
from lesionlab.explanation.statistics import SHARE, mean_measure
from lesionlab.explanation.study import MethodRow, Question, prepared, study
from lesionlab.run_folder import now
from lesionlab.training.run_calibration import predictions_of, read_calibration

REFIT = 1000  # training images of the check with permuted labels
BANK = 20_000  # training images among which similar ones are sought
EMPTY = 0.05  # proportion of the picture below which nothing is left to see
STRIPS = 6  # images shown under every method
ACCURACIES = ("balanced_accuracy", "balanced_accuracy_prior_corrected", "roc_auc")
Maps = dict[str, dict[int, Float32]]  # method -> row of the predictions -> map


@dataclass(frozen=True)
class Similar:
    """The nearest training images of other groups, and how far labels agree with them."""

    bank: Ints  # rows of the table of the training images that were searched
    nearest: Ints  # (n, k) places in `bank`, -1 where there are too few
    cosine: Float32  # (n, k)
    agreement: Agreement
    leave_one_out: Agreement  # among the training images


@dataclass(frozen=True)
class Findings:
    """What the steps found. `gallery`, `strips` and `maps` count rows of the predictions."""

    session: ExplainSession
    methods: tuple[str, ...]
    question: Question
    study: list[MethodRow]
    parts: list[dict[str, Any]]  # accuracies where only a part of each picture is left
    gallery: Gallery
    main: str  # the method whose maps stand beside the cases
    strips: Ints  # rows that are shown under every method
    maps: Maps  # of the main method for all rows of the gallery, of the others for the strips
    similar: Similar
    cloud: pd.DataFrame  # image_id, x, y
    lesions: pd.DataFrame | None  # ABCD numbers, a row a prediction
    masks: dict[str, Any]
    chance: dict[str, Any]

    @property
    def failed(self) -> frozenset[str]:
        """The methods that failed their randomisation check."""
        return frozenset(row.name for row in self.study if _passed(row) is False)

    @property
    def refused(self) -> dict[str, str]:
        """The methods that do not apply to this network, with the reason."""
        network = self.session.subject.network
        return {n: r for n, m in METHODS.items() if (r := m.refusal(network))}

    def tables(self, part: str) -> dict[str, str]:
        """CSV files by name."""
        found = {f"embedding-{part}.csv": self.cloud.to_csv(index=False)}
        if self.lesions is not None:
            found[f"abcd-{part}.csv"] = self.lesions.to_csv(index=False)
        return found

    def to_json(self, title: str, part: str) -> dict[str, Any]:
        """The numbers of the explained run `title` on the split `part`."""
        session, question = self.session, self.question
        predictions, trained = session.predictions, session.run.config.dataset
        wrong, total = errors(predictions)
        result: dict[str, Any] = plain(
            {
                "run": title,
                "part": part,
                "n": len(predictions),
                "explained": len(question.rows),
                "checks": question.checks,
                "draws": question.draws,
                "methods": self.methods,
                "refused": self.refused,
                "explains": "logit of the predicted class minus the mean of the others",
                "study": [row.to_json() for row in self.study],
                "masks": self.masks,
                "parts": self.parts,
                "errors": {"wrong": wrong, "n": total},
                "confused_pairs": [vars(p) for p in confused_pairs(predictions)],
                "neighbours": vars(self.similar.agreement),
                "leave_one_out": vars(self.similar.leave_one_out),
                "embedding_leaves_out": left_out(session.subject.network),
                "synthetic": trained.synthetic,
                "leaky": trained.leaky,
                "created": now(),
            }
        )
        cases = _gallery_json(self.gallery, self.main, self.lesions)
        return {**result, "network": self.chance, "gallery": cases}


def explained(session: ExplainSession) -> Findings:
    """Run every step."""
    options, predictions = session.options, session.predictions
    methods = chosen_methods(options.methods, session.subject.network)
    similar, embedded = _similar(session)
    question = _question(session, sampled(session), similar.bank)
    subject = prepared(session.subject, methods, question, session.progress)
    session = replace(session, subject=subject)
    rows = study(subject, methods, question, session.progress)
    parts = accuracies_of_parts(session)
    table = session.dataset.table.iloc[session.rows]
    chosen = gallery(predictions, original_files(table), list(table["path"]), options.seed)
    cloud = _cloud(session, embedded)
    main, strips = main_method(methods, rows), strip_rows(chosen)
    return Findings(
        session=session,
        methods=methods,
        question=question,
        study=rows,
        parts=parts,
        gallery=chosen,
        main=main,
        similar=similar,
        cloud=cloud,
        lesions=lesion_table(session.dataset, session.rows, session.masks, session.progress),
        strips=strips,
        maps={n: _maps(session, n, chosen.rows if n == main else strips) for n in methods},
        masks=_mask_facts(session),
        chance=against_chance(predictions, options.seed),
    )


def sampled(session: ExplainSession) -> Ints:
    """Places in the predictions whose maps are measured: images with a mask, drawn at random.

    Each patient (lesion, image) comes once before any comes again: the first are independent.
    """
    there = np.arange(len(session.rows))
    if session.masks is not None:
        there = there[session.masks.known[session.rows]]
    draw = philox(session.options.seed, "explain").permutation(there)
    groups = pd.Series(session.groups[session.rows[draw]])
    again = groups.groupby(groups).cumcount().to_numpy()
    first = draw[np.argsort(again, kind="stable")][: session.options.limit]
    return np.asarray(first, np.int64)


def main_method(names: tuple[str, ...], rows: Sequence[MethodRow]) -> str:
    """Whose maps stand beside the cases: the first that passed, else the first that did not fail.

    Where none is left it is the first of `names`; the page says so.
    """
    passed = {row.name: _passed(row) for row in rows}
    for wanted in (True, None):
        suitable = [name for name in names if passed[name] is wanted]
        if suitable:
            return suitable[0]
    return names[0]


def strip_rows(chosen: Gallery) -> Ints:
    """Rows shown under every method: half the largest losses, half drawn from the correct ones."""
    worst = [c.row for c in chosen.losses[: STRIPS // 2]]
    right = [c.row for c in chosen.correct[: STRIPS - len(worst)]]
    return np.array(list(dict.fromkeys([*worst, *right])), np.int64)


def accuracies_of_parts(session: ExplainSession) -> list[dict[str, Any]]:
    """Balanced accuracy where only a part of each picture is left; [] without masks."""
    if session.masks is None:
        return []
    return [_part_accuracy(session, part, session.masked_rows) for part in localisation.PARTS]


def _part_accuracy(session: ExplainSession, part: str, rows: Ints) -> dict[str, Any]:
    masks = session.masks
    assert masks is not None

    def change(views: npt.NDArray[np.uint8], some: Ints) -> npt.NDArray[np.uint8]:
        return localisation.only(part, views, masks.take(some))

    logits = faithfulness.logits_of(session.subject, rows, change, session.progress, part)
    predictions = predictions_of(session.dataset, rows, logits, read_calibration(session.run))
    cases = cases_of(predictions, session.run.config.dataset.malignant, session.prior)
    measured = measure_cases(cases, resamples=RESAMPLES, seed=session.options.seed, bands=False)
    numbers = headline(measured, None)
    left = float(_left_over(session, part, rows).mean())
    accuracies: dict[str, Any] = plain({k: numbers[k] for k in ACCURACIES})
    chance = chance_balanced_accuracy(cases.present)  # of the labels measured, not of all classes
    return {"part": part, "left": left, "chance": chance} | accuracies


def _left_over(session: ExplainSession, part: str, rows: Ints) -> Float32:
    """(n,) proportion of each picture that a part leaves."""
    assert session.masks is not None
    blocks = [session.masks.take(rows[i : i + 256]) for i in range(0, len(rows), 256)]
    return np.concatenate([localisation.left_over(part, block) for block in blocks])


def _passed(row: MethodRow) -> bool | None:
    return None if row.sanity is None else row.sanity.passed


def _similar(session: ExplainSession) -> tuple[Similar, Float32]:
    """The nearest training images, and (n, D) the embedding of the explained ones."""
    y, seed = session.y, session.options.seed
    bank = session.dataset.rows_of("train")
    if len(bank) > BANK:
        bank = np.sort(philox(seed, "bank").permutation(bank)[:BANK])
    known = embed(session.subject, bank, session.progress, "embedding training")
    mine = embed(session.subject, session.rows, session.progress, "embedding the part")
    groups, theirs = session.groups[session.rows], session.groups[bank]
    near, cosine = nearest(mine, groups, known, theirs)
    classes = session.predictions.classes
    agreed = agreement(near, y[session.rows], y[bank], groups, classes, theirs)
    among = leave_one_out(known, theirs, y[bank], classes, seed)
    return Similar(bank, near, cosine, agreed, among), mine


def _question(session: ExplainSession, some: Ints, bank: Ints) -> Question:
    options = session.options
    draw = philox(options.seed, "refit").permutation(bank)[:REFIT]
    seen = embed(session.subject, draw, session.progress, "embedding for labels", places=True)
    return Question(
        rows=session.rows[some],
        target=session.predicted[some],
        groups=session.groups[session.rows[some]],
        classes=len(session.predictions.classes),
        masks=session.masks,
        checks=min(options.checks, len(some)),
        known=(seen, session.y[draw]),
        seed=options.seed,
        draws=options.draws,
    )


def _maps(session: ExplainSession, name: str, places: Ints) -> dict[int, Float32]:
    maps = maps_of(
        session.subject,
        name,
        session.rows[places],
        session.predicted[places],
        progress=session.progress,
        title=f"{name}, cases",
    )
    return {int(place): maps[i] for i, place in enumerate(places)}


def _mask_facts(session: ExplainSession) -> dict[str, Any]:
    """How many masks, how large the lesions are, and how many leave no background."""
    if session.masks is None:
        return {"images": 0, "area": None, "empty_background": 0}
    rows = session.masked_rows
    blocks = [rows[i : i + 256] for i in range(0, len(rows), 256)]
    areas = np.concatenate([session.masks.take(block).mean((1, 2)) for block in blocks])
    area = mean_measure(areas, session.groups[rows], SHARE)
    empty = int((_left_over(session, "background_only", rows) < EMPTY).sum())
    return {"images": len(rows), "area": plain(area), "empty_background": empty}


def _cloud(session: ExplainSession, embedded: Float32) -> pd.DataFrame:
    """`image_id, x, y` of the embedding map; at most `MOST` images, drawn at random."""
    places, options = np.arange(len(embedded)), session.options
    if len(places) > MOST:
        places = np.sort(philox(options.seed, "cloud").permutation(places)[:MOST])
    session.progress.say(f"projecting {len(places):,} images ({options.projection})")
    xy = plane(embedded[places], options.seed, options.projection)
    ids = session.dataset.table["image_id"].iloc[session.rows[places]].to_numpy()
    return pd.DataFrame({"image_id": ids, "x": xy[:, 0].round(5), "y": xy[:, 1].round(5)})


def _gallery_json(chosen: Gallery, method: str, lesions: pd.DataFrame | None) -> dict[str, Any]:
    """The cases, each with its lesion's numbers, and whose maps stand beside them."""

    def cases(some: Sequence[GalleryCase]) -> list[dict[str, Any]]:
        return [{**vars(case), "abcd": lesion_of(lesions, case.row)} for case in some]

    result: dict[str, Any] = plain(
        {
            "method": method,
            "losses": cases(chosen.losses),
            "confident": {name: cases(some) for name, some in chosen.confident.items()},
            "correct": cases(chosen.correct),
        }
    )
    return result
