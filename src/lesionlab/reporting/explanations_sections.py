"""The sections of the page on explanations, in the order in which a reader asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lesionlab.reporting.content import Chart, Paragraph, Table
from lesionlab.reporting.explanations_content import (
    CaseList,
    Cloud,
    ExplanationContent,
    Json,
    PageSection,
)
from lesionlab.reporting.explanations_marks import (
    failed_rows,
    legend,
    marked,
    of_the_gallery,
    passed,
    style,
    unpraised,
)
from lesionlab.reporting.explanations_tables import confusion, lesions
from lesionlab.reporting.explanations_verdicts import (
    completeness,
    leave_one_out,
    spread_of_draws,
    verdict_text,
)
from lesionlab.reporting.language import Language, measure_text, share
from lesionlab.reporting.plots import Interval, forest
from lesionlab.reporting.svg import Axis

ALIKE = 0.5  # explanation.randomise.ALIKE: not imported, it would load torch


def sections(content: ExplanationContent, words: Language) -> list[PageSection]:
    """All sections that have something to say."""
    found = [make(content, words) for make in SECTIONS]
    return [s for s in found if s is not None]


def _methods(content: ExplanationContent) -> list[Json]:
    return [row for row in content.study if not row["reference"]]


def _name(row: Json, words: Language) -> str:
    """The method's name, marked where it failed: so it stands wherever it appears."""
    return marked(row["name"], passed(row), words)


def summary(content: ExplanationContent, words: Language) -> PageSection:
    """What was looked at, and which maps can be believed."""
    blocks: list[Any] = [
        Paragraph(
            words(
                "explain.summary",
                n=f"{content.n:,}",
                explained=f"{content.explained:,}",
                checks=content.checks,
            )
        )
    ]
    if content.study:
        blocks += [Paragraph(words("explain.read"), "note"), _verdicts(content, words)]
        blocks += [Paragraph(t, "danger") for t in _failures(content, words)]
    for name, reason in content.refused.items():
        text = words("explain.refused", name=words.name("method", name), reason=_why(reason, words))
        blocks.append(Paragraph(text[:1].upper() + text[1:], "plain"))
    return PageSection("summary", words("explain.title_summary"), tuple(blocks))


def _why(reason: str, words: Language) -> str:
    """A method's refusal in the language of the page; the class of a network is a name."""
    text, of, family = reason.partition(" of class ")
    return words.name("refusal", text) + (f" ({family})" if of else "")


def _failures(content: ExplanationContent, words: Language) -> list[str]:
    failed = [words.name("method", r["name"]) for r in failed_rows(content)]
    names = words("list.comma").join(failed)
    return [words("explain.failed", names=names)] if failed else []


def _verdicts(content: ExplanationContent, words: Language) -> Table:
    pointed = any(r["pointing"] for r in content.study)
    columns = ["method", "verdict", *(["pointing"] if pointed else []), "insertion_gain", "time"]
    rows = []
    for r in content.study:
        cells = [_name(r, words), unpraised(verdict_text(r, words), r, content, words)]
        cells += [measure_text(r["pointing"], 2)] if pointed else []
        cells += [measure_text(r["insertion_gain"], 3), _milliseconds(r)]
        rows.append(tuple(cells))
    names = tuple(words(f"explain.column_{c}") for c in columns)
    return Table(names, tuple(rows), words("explain.verdicts"))


def _milliseconds(row: Json) -> str:
    value = row["milliseconds"]
    return "–" if value is None else f"{value:,.0f} ms"


def sanity(content: ExplanationContent, words: Language) -> PageSection | None:
    """The randomisation checks: how alike the maps stay."""
    rows = [r for r in _methods(content) if r["sanity"]]
    if not rows:
        return None
    intervals, cells = [], []
    for r in rows:
        intervals.append(Interval(_name(r, words), None, heading=True))
        found = [(words.name("level", k), m) for k, m in r["sanity"]["parameters"].items()]
        if r["sanity"]["labels"]:
            found.append((words("explain.labels"), r["sanity"]["labels"]))
        spread = spread_of_draws(r["sanity"]["draws"], words)
        for name, m in found:
            intervals.append(
                Interval(
                    f"  {name}", m["value"], m["low"], m["high"], measure_text(m, 2), style=style(r)
                )
            )
            between = spread.get(name, "–")
            cells.append((_name(r, words), name, measure_text(m, 2), between, str(m["n"])))
    axis = Axis(words("explain.axis_alike"), -1.0, 1.0)
    title = words("explain.alike")
    svg = forest("alike", title, title, intervals, axis, reference=(-ALIKE, ALIKE))
    columns = tuple(
        words(f"explain.column_{c}") for c in ("method", "level", "alike", "spread", "n")
    )
    chart = Chart("alike", title, words("explain.alike_caption", limit=ALIKE), svg,
                  Table(columns, tuple(cells)))  # fmt: skip
    blocks: list[Any] = [Paragraph(words("explain.sanity_intro")), *legend(content, words), chart]
    return PageSection("sanity", words("explain.title_sanity"), tuple(blocks))


def faithful(content: ExplanationContent, words: Language) -> PageSection | None:
    """Insertion, deletion, shifts, completeness."""
    if not content.study:
        return None
    keys = ("insertion", "deletion", "stability")
    columns = tuple(words(f"explain.column_{c}") for c in ("method", *keys, "completeness_gap"))
    rows = tuple(
        (_name(r, words), *(measure_text(r[k], 3) for k in keys), completeness(r, words))
        for r in content.study
    )
    blocks: list[Any] = [
        Paragraph(words("explain.faithful_intro")),
        *legend(content, words),
        Table(columns, rows, words("explain.faithful", n=content.checks)),
    ]
    return PageSection("faithful", words("explain.title_faithful"), tuple(blocks))


def inside(content: ExplanationContent, words: Language) -> PageSection:
    """Against the lesion masks: pointing, shares, and parts of the picture."""
    title = words("explain.title_inside")
    if not content.masks:
        return PageSection("inside", title, (Paragraph(words("explain.no_masks"), "note"),))
    keys = ("pointing", "share", "pointing_shuffled", "pointing_gain", "share_gain")
    columns = tuple(words(f"explain.column_{c}") for c in ("method", *keys))
    rows = tuple(
        (_name(r, words), *(measure_text(r[k], 2, "\n") for k in keys)) for r in content.study
    )
    intervals = [
        Interval(_name(r, words), m["value"], m["low"], m["high"], measure_text(m, 2),
                 style=style(r))
        for r in content.study
        if (m := r["pointing"])
    ]  # fmt: skip
    name = words("explain.column_pointing")
    svg = forest("pointing", name, name, intervals, Axis(name, 0.0, 1.0))
    blocks: list[Any] = [
        Paragraph(
            words("explain.inside_intro", masks=f"{content.masks:,}",
                  area=measure_text(content.mask_area, 2))
        ),
        *legend(content, words),
        Chart("pointing", name, words("explain.pointing_caption", n=f"{content.explained:,}"), svg,
              Table(columns, rows, words("explain.inside", n=content.checks))),
    ]  # fmt: skip
    for row in content.study:
        if row["places"] and row["pointing"] is None:
            height, width = row["places"]
            text = words("explain.coarse", name=_name(row, words), places=f"{height} x {width}")
            blocks.append(Paragraph(text[:1].upper() + text[1:], "plain"))
    if content.parts:
        blocks += _parts(content, words)
    return PageSection("inside", title, tuple(blocks))


def _parts(content: ExplanationContent, words: Language) -> list[Any]:
    columns = ("part", "left", "balanced", "corrected", "n")
    rows = tuple(
        (
            words(f"explain.part_{p['part']}"),
            share(p["left"], 2),
            measure_text(p["balanced_accuracy"], 3),
            measure_text(p["balanced_accuracy_prior_corrected"], 3),
            f"{p['balanced_accuracy']['n']:,}",
        )
        for p in content.parts
    )
    names = tuple(words(f"explain.column_{c}") for c in columns)
    chance = content.parts[0]["chance"]  # every part is measured on the same images
    intervals = [
        Interval(words(f"explain.part_{p['part']}"), m["value"], m["low"], m["high"],
                 measure_text(m, 2))
        for p in content.parts
        if (m := p["balanced_accuracy"])
    ]  # fmt: skip
    title = words("explain.parts")
    svg = forest("parts", title, title, intervals, Axis(words("explain.column_balanced"), 0.0, 1.0),
                 reference=chance)  # fmt: skip
    caption = words("explain.parts_caption", chance=share(chance), empty=content.empty_background)
    return [Chart("parts", title, caption, svg, Table(names, rows))]


def gallery(content: ExplanationContent, words: Language) -> PageSection:
    """The largest losses, the surest errors by called class, and random correct images."""
    method = words.name("method", content.main_method)
    note = words("explain.gallery_note", method=method)
    blocks: list[Any] = [
        *of_the_gallery(content, words),
        Paragraph(note),
        CaseList(words("explain.losses", n=len(content.losses)), tuple(content.losses)),
    ]
    for name, cards in content.confident:
        blocks.append(CaseList(words("explain.confident", name=name), tuple(cards)))
    blocks.append(CaseList(words("explain.correct"), tuple(content.correct)))
    return PageSection("gallery", words("explain.title_gallery"), tuple(blocks))


def strips(content: ExplanationContent, words: Language) -> PageSection | None:
    """A few images under every method."""
    if not content.strips:
        return None
    cards = CaseList("", tuple(content.strips), words("explain.strips_note"), wide=True)
    return PageSection("strips", words("explain.title_strips"), (cards,))


def cloud(content: ExplanationContent, words: Language) -> PageSection | None:
    """The embedding map."""
    if content.cloud is None:
        return None
    kind = {"tsne": "t-SNE", "umap": "UMAP"}[content.projection]
    what = words("explain.features")
    for left in content.embedding_leaves_out:
        what += words(f"explain.features_{left}")
    text = words("explain.cloud_intro", kind=kind, n=f"{len(content.cloud['x']):,}", what=what)
    block = Cloud(content.cloud, content.sprite, words("explain.cloud_caption", kind=kind),
                  words("explain.cloud_colour"))  # fmt: skip
    return PageSection("embedding", words("explain.title_cloud"), (Paragraph(text), block))


def similar(content: ExplanationContent, words: Language) -> PageSection | None:
    """Nearest training images of other patients, and how often they agree."""
    if content.agreement is None:
        return None
    a = content.agreement
    text = words(
        "explain.agreement", k=a["k"], value=measure_text(a["share"], 3),
        chance=share(a["chance"]), balanced=measure_text(a["balanced"], 3),
        chance_balanced=share(a["chance_balanced"]), n=f"{content.bank:,}",
    )  # fmt: skip
    columns = tuple(words(f"explain.column_{c}") for c in ("class", "agreement", "n"))
    rows = tuple((k, measure_text(m, 2), str(m["n"])) for k, m in a["by_class"].items())
    blocks: list[Any] = [
        Paragraph(text), Table(columns, rows, words("explain.agreement_by_class"))
    ]  # fmt: skip
    if content.leave_one_out is not None:
        blocks.append(Paragraph(leave_one_out(content.leave_one_out, words)))
    if content.similar:
        blocks.append(
            CaseList(words("explain.similar"), tuple(content.similar),
                     words("explain.similar_note"), wide=True)
        )  # fmt: skip
    return PageSection("similar", words("explain.title_similar"), tuple(blocks))


SECTIONS: tuple[Callable[[ExplanationContent, Language], PageSection | None], ...] = (
    summary,
    sanity,
    faithful,
    inside,
    gallery,
    strips,
    confusion,
    cloud,
    similar,
    lesions,
)
