"""Everything that `explain` finds out, before a byte is written. Needs the extra `train`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesionlab.api import explain_show
from lesionlab.api.explain_case import Asked, Case, opened
from lesionlab.api.explain_lesions import lesion_numbers, lesion_of, lesions_by_class
from lesionlab.api.explain_network import RESAMPLES, facts_of
from lesionlab.api.subject import Subject as Evaluated
from lesionlab.data.archive import Tree
from lesionlab.data.manifest import original_files
from lesionlab.data.randomness import philox
from lesionlab.evaluation.evaluate import cases_of, plain
from lesionlab.evaluation.headline import headline
from lesionlab.evaluation.measured import measure_cases
from lesionlab.explanation import faithfulness, localisation
from lesionlab.explanation.confusions import confused_pairs, errors
from lesionlab.explanation.embedding import MOST, embed, left_out, plane
from lesionlab.explanation.gallery import Case as Shot
from lesionlab.explanation.gallery import Gallery, gallery
from lesionlab.explanation.methods import METHODS, Float32, Ints, chosen_methods
from lesionlab.explanation.neighbours import Agreement, agreement, leave_one_out, nearest
from lesionlab.explanation.statistics import SHARE, mean_measure
from lesionlab.explanation.study import Question, Row, prepared, study
from lesionlab.progress import Progress
from lesionlab.reporting.explanations_content import ExplanationContent
from lesionlab.run import now
from lesionlab.training.predict import predictions_of, read_calibration

REFIT = 1000  # training images of the check with permuted labels
BANK = 20_000  # training images among which similar ones are sought
EMPTY = 0.05  # share of the picture below which nothing is left to see


@dataclass(frozen=True)
class Found:
    """`numbers` (JSON), `pictures` and `tables` by file name, and the page but for the ledger."""

    numbers: dict[str, Any]
    pictures: dict[str, bytes]
    tables: dict[str, str]
    content: Callable[[int], ExplanationContent]


def gathered(evaluated: Evaluated, asked: Asked, tree: Tree | None, progress: Progress) -> Found:
    """Run every step."""
    case = opened(evaluated, asked, tree, progress)
    names = chosen_methods(asked.methods, case.subject.network)
    some = sampled(case)
    bank = case.dataset.table.index[case.dataset.table["split"] == "train"].to_numpy(np.int64)
    if len(bank) > BANK:
        bank = np.sort(philox(asked.seed, "bank").permutation(bank)[:BANK])
    known = embed(case.subject, bank, progress, "embedding training")
    mine = embed(case.subject, case.rows, progress, "embedding the part")
    question = _question(case, some, bank)
    case = replace(case, subject=prepared(case.subject, names, question, progress))
    rows = study(case.subject, names, question, progress)
    parts = parts_of_pictures(case)
    predictions = case.evaluated.predictions
    table = case.dataset.table.iloc[case.rows]
    chosen = gallery(predictions, original_files(table), list(table["path"]), asked.seed)
    near, cosine = nearest(mine, case.groups[case.rows], known, case.groups[bank])
    agreed = agreement(near, case.y[case.rows], case.y[bank], case.groups[case.rows],
                       predictions.classes, case.groups[bank])  # fmt: skip
    among = leave_one_out(known, case.groups[bank], case.y[bank], predictions.classes, asked.seed)
    spots = _cloud(case, mine)
    lesions = lesion_numbers(case)
    main = explain_show.main_method(names, rows)
    shown = explain_show.Shown(case, chosen, names, rows, main, lesions)
    cards, pictures = explain_show.cards(shown)
    similar = explain_show.similar(shown, bank, near, cosine)
    numbers = {
        **_numbers(case, names, question, rows, parts, agreed, among),
        "network": facts_of(predictions, asked.seed),
        "gallery": _gallery(chosen, main, lesions),
    }
    tables = {f"embedding-{case.evaluated.part}.csv": spots.to_csv(index=False)}
    if lesions is not None:
        tables[f"abcd-{case.evaluated.part}.csv"] = lesions.to_csv(index=False)

    def content(openings: int) -> ExplanationContent:
        data, sprite = explain_show.cloud(shown, spots)
        return ExplanationContent(
            title=case.evaluated.title,
            part=case.evaluated.part,
            classes=predictions.classes,
            n=len(predictions),
            explained=len(some),
            checks=min(asked.checks, len(some)),
            main_method=main,
            network=numbers["network"],
            study=numbers["study"],
            parts=numbers["parts"],
            masks=numbers["masks"]["images"],
            mask_area=numbers["masks"]["area"],
            empty_background=numbers["masks"]["empty_background"],
            losses=cards.losses,
            confident=cards.confident,
            correct=cards.correct,
            strips=cards.strips,
            similar=similar,
            cloud=data,
            sprite=sprite,
            projection=asked.projection,
            pairs=numbers["confused_pairs"],
            errors=errors(predictions),
            agreement=numbers["neighbours"],
            leave_one_out=numbers["leave_one_out"],
            embedding_leaves_out=numbers["embedding_leaves_out"],
            bank=len(bank),
            lesions=lesions_by_class(predictions.classes, lesions),
            refused=numbers["refused"] if not asked.methods else {},
            synthetic=case.run.config.dataset.synthetic,
            leaky=case.run.config.dataset.leaky,
            openings=openings,
            created=now(),
        )

    return Found(numbers, pictures, tables, content)


def sampled(case: Case) -> Ints:
    """Places among `case.rows` of the images whose maps are measured: with a mask, at random.

    Each patient (lesion, image) comes once before any comes again: the first are independent.
    """
    there = np.arange(len(case.rows))
    if case.masks is not None and case.masks.known[case.rows].any():
        there = there[case.masks.known[case.rows]]
    draw = philox(case.asked.seed, "explain").permutation(there)
    groups = pd.Series(case.groups[case.rows[draw]])
    again = groups.groupby(groups).cumcount().to_numpy()
    return np.asarray(draw[np.argsort(again, kind="stable")][: case.asked.limit], np.int64)


def _question(case: Case, some: Ints, bank: Ints) -> Question:
    draw = philox(case.asked.seed, "refit").permutation(bank)[:REFIT]
    seen = embed(case.subject, draw, case.progress, "embedding for labels", places=True)
    return Question(
        rows=case.rows[some],
        target=case.called[some],
        groups=case.groups[case.rows[some]],
        classes=len(case.evaluated.predictions.classes),
        masks=case.masks,
        checks=min(case.asked.checks, len(some)),
        known=(seen, case.y[draw]),
        seed=case.asked.seed,
        draws=case.asked.draws,
    )


def parts_of_pictures(case: Case) -> list[dict[str, Any]]:
    """Balanced accuracy where only a part of each picture is left; [] without masks."""
    masks = case.masks
    if masks is None:
        return []
    where = case.rows[masks.known[case.rows]]
    calibration, found = read_calibration(case.run), []
    for part in localisation.PARTS:

        def change(
            views: npt.NDArray[np.uint8], rows: Ints, part: str = part
        ) -> npt.NDArray[np.uint8]:
            return localisation.only(part, views, masks.take(rows))

        logits = faithfulness.logits_of(case.subject, where, change, case.progress, part)
        predictions = predictions_of(case.dataset, where, logits, calibration)
        malignant = case.run.config.dataset.malignant
        cases = cases_of(predictions, malignant, case.evaluated.prior)
        measured = measure_cases(cases, resamples=RESAMPLES, seed=case.asked.seed, bands=False)
        numbers = headline(measured, None)
        keys = ("balanced_accuracy", "balanced_accuracy_prior_corrected", "roc_auc")
        found.append({"part": part, "left": _left(case, part, where)} | plain(
            {k: numbers[k] for k in keys}
        ))  # fmt: skip
    return found


def _left(case: Case, part: str, rows: Ints) -> float:
    assert case.masks is not None
    shares = [
        localisation.left_over(part, case.masks.take(rows[i : i + 256]))
        for i in range(0, len(rows), 256)
    ]
    return float(np.concatenate(shares).mean())


def _mask_facts(case: Case) -> dict[str, Any]:
    """How many masks, how large the lesions are, and how many leave no background."""
    if case.masks is None:
        return {"images": 0, "area": None, "empty_background": 0}
    rows = case.rows[case.masks.known[case.rows]]
    areas, left = [], []
    for i in range(0, len(rows), 256):
        some = case.masks.take(rows[i : i + 256])
        areas.append(some.mean((1, 2)))
        left.append(localisation.left_over("background_only", some))
    area = mean_measure(np.concatenate(areas), case.groups[rows], SHARE)
    empty = int((np.concatenate(left) < EMPTY).sum())
    return {"images": len(rows), "area": plain(area), "empty_background": empty}


def _cloud(case: Case, mine: Float32) -> pd.DataFrame:
    """`image_id, x, y` of the embedding map; at most `MOST` images, drawn at random."""
    places = np.arange(len(mine))
    if len(places) > MOST:
        places = np.sort(philox(case.asked.seed, "cloud").permutation(places)[:MOST])
    case.progress.say(f"projecting {len(places):,} images ({case.asked.projection})")
    xy = plane(mine[places], case.asked.seed, case.asked.projection)
    ids = case.dataset.table["image_id"].iloc[case.rows[places]].to_numpy()
    return pd.DataFrame({"image_id": ids, "x": xy[:, 0].round(5), "y": xy[:, 1].round(5)})


def _numbers(
    case: Case,
    names: tuple[str, ...],
    question: Question,
    rows: list[Row],
    parts: list[dict[str, Any]],
    agreed: Agreement,
    among: Agreement,
) -> dict[str, Any]:
    predictions = case.evaluated.predictions
    wrong, total = errors(predictions)
    network = case.subject.network
    result: dict[str, Any] = plain(
        {
            "run": case.evaluated.title,
            "part": case.evaluated.part,
            "n": len(predictions),
            "explained": len(question.rows),
            "checks": question.checks,
            "draws": question.draws,
            "methods": names,
            "refused": {n: r for n, m in METHODS.items() if (r := m.refusal(network))},
            "explains": "logit of the predicted class minus the mean of the others",
            "study": [row.to_json() for row in rows],
            "masks": _mask_facts(case),
            "parts": parts,
            "errors": {"wrong": wrong, "n": total},
            "confused_pairs": [vars(p) for p in confused_pairs(predictions)],
            "neighbours": vars(agreed),
            "leave_one_out": vars(among),
            "embedding_leaves_out": left_out(network),
            "synthetic": case.run.config.dataset.synthetic,
            "leaky": case.run.config.dataset.leaky,
            "created": now(),
        }
    )
    return result


def _gallery(chosen: Gallery, method: str, lesions: pd.DataFrame | None) -> dict[str, Any]:
    """The cases, each with its lesion's numbers, and whose maps stand beside them."""

    def told(shots: Sequence[Shot]) -> list[dict[str, Any]]:
        return [{**vars(s), "abcd": lesion_of(lesions, s.row)} for s in shots]

    found: dict[str, Any] = plain(
        {
            "method": method,
            "losses": told(chosen.losses),
            "confident": {name: told(shots) for name, shots in chosen.confident.items()},
            "correct": told(chosen.correct),
        }
    )
    return found
