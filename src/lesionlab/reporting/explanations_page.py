"""The content of the page on explanations, from what `explain` found and its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lesionlab.explanation.lesion_geometry import lesions_by_class
from lesionlab.reporting.explanations_cards import embedding_map, gallery_cards, similar_cards
from lesionlab.reporting.explanations_content import ExplanationContent, Json
from lesionlab.reporting.language import language

if TYPE_CHECKING:  # its module loads torch; what it holds are plain values
    from lesionlab.explanation.summary import Findings


def page_content(found: Findings, numbers: Json, openings: int, lang: str) -> ExplanationContent:
    """The page's content; `numbers` is `found.to_json`, `openings` counts test accesses."""
    words, options = language(lang), found.session.options
    cards, similar = gallery_cards(found, words), similar_cards(found, words)
    points, sprite = embedding_map(found, words)
    classes = found.session.predictions.classes
    return ExplanationContent(
        title=numbers["run"],
        part=numbers["part"],
        classes=classes,
        n=numbers["n"],
        explained=numbers["explained"],
        checks=numbers["checks"],
        main_method=found.main,
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
        cloud=points,
        sprite=sprite,
        projection=options.projection,
        pairs=numbers["confused_pairs"],
        errors=(numbers["errors"]["wrong"], numbers["errors"]["n"]),
        agreement=numbers["neighbours"],
        leave_one_out=numbers["leave_one_out"],
        embedding_leaves_out=numbers["embedding_leaves_out"],
        bank=len(found.similar.bank),
        lesions=lesions_by_class(classes, found.lesions),
        refused={} if options.methods else numbers["refused"],
        synthetic=numbers["synthetic"],
        leaky=numbers["leaky"],
        openings=openings,
        created=numbers["created"],
    )
