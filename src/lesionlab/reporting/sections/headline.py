"""The numbers that stand at the top, never without interval, n and what chance would give."""

from __future__ import annotations

from lesionlab.evaluation.metric_table import highlighted
from lesionlab.evaluation.metrics import chance_balanced_accuracy
from lesionlab.reporting.content import (
    Block,
    Card,
    Cards,
    Chart,
    Json,
    Paragraph,
    ReportContent,
    Section,
    Table,
)
from lesionlab.reporting.language import Language, measure_text, share
from lesionlab.reporting.plots import Interval, forest
from lesionlab.reporting.sections.curves import STYLES
from lesionlab.reporting.svg import Axis


def section(content: ReportContent, words: Language) -> Section:
    """Cards, a forest plot, the full table, and the locked operating points."""
    e = content.focus.evaluation
    blocks: list[Block] = [Cards(_cards(e, words)), _majority(e, words), _forest(content, words)]
    points = e["operating_points"]
    if points:
        blocks.append(_points(e, words))
        if any(p["chosen"]["chosen_on"] == content.focus.name for p in points):
            blocks.append(Paragraph(words("points.same_part"), "note"))
        blocks.append(_at_prevalence(e, words))
    else:
        blocks.append(Paragraph(words("points.none"), "note"))
    return Section("headline", words("headline.title"), tuple(blocks))


def _cards(e: Json, words: Language) -> tuple[Card, ...]:
    metrics = e["metrics"]
    first = "balanced_accuracy_prior_corrected"
    if metrics[first]["value"] is None:
        first = "balanced_accuracy"
    counts = [e["class_counts"][name]["images"] for name in e["classes"]]
    chance = words("headline.chance", value=share(chance_balanced_accuracy(counts)))
    coin = words("headline.chance", value="0.500")
    majority = words(
        "headline.majority",
        name=e["majority_class"],
        value=share(metrics["majority_accuracy"]["value"]),
    )
    cards = [
        _card(words(f"metric.{first}"), metrics[first], chance, words),
        _card(words("metric.roc_auc"), metrics["roc_auc"], coin, words),
        _card(words("metric.accuracy"), metrics["accuracy"], majority, words),
    ]
    for point in e["operating_points"][:1]:
        at = words("headline.at_point", threshold=f"{point['threshold']:.3g}")
        cards.append(_card(words("metric.sensitivity_malignant"), point["sensitivity"], at, words))
        cards.append(_card(words("metric.specificity_malignant"), point["specificity"], at, words))
    return tuple(cards)


def _card(name: str, m: Json, note: str, words: Language) -> Card:
    if m["value"] is None:
        return Card(name, "–", words("headline.unknown"), note)
    if m["low"] is None:
        interval = words("headline.no_interval", n=f"{m['n']:,}")
    else:
        interval = words(
            "headline.interval", low=share(m["low"]), high=share(m["high"]), n=f"{m['n']:,}"
        )
    return Card(name, share(m["value"]), interval, note)


def _majority(e: Json, words: Language) -> Paragraph:
    accuracy, majority = (e["metrics"][k] for k in ("accuracy", "majority_accuracy"))
    better = (accuracy["value"] or 0) - (majority["value"] or 0)
    key = "headline.above_majority" if better > 0 else "headline.not_above_majority"
    return Paragraph(
        words(key, accuracy=measure_text(accuracy), majority=measure_text(majority),
              name=e["majority_class"])
    )  # fmt: skip


def _forest(content: ReportContent, words: Language) -> Chart:
    rows = []
    several = len(content.parts) > 1
    for name in highlighted():  # the rest (losses, ECE) stand in the table alone
        for i, part in enumerate(content.parts):
            m = part.evaluation["metrics"].get(name)
            if m is None or m["value"] is None:
                continue
            text = words.name("metric", name)
            if several:
                text = (
                    f"{text}, {words.name('part', part.name)}"
                    if i == 0
                    else words.name("part", part.name)
                )
            rows.append(
                Interval(
                    text, m["value"], m["low"], m["high"], measure_text(m), STYLES.get(part.name, 0)
                )
            )
    title = words("headline.forest")
    svg = forest("headline-forest", title, words("headline.forest_description"), rows,
                 Axis(words("axis.value"), 0, 1))  # fmt: skip
    return Chart(
        "headline-forest", title, words("headline.forest_caption"), svg, _table(content, words)
    )


def _table(content: ReportContent, words: Language) -> Table:
    names = list(content.focus.evaluation["metrics"])
    columns = (words("column.metric"), *(words.name("part", p.name) for p in content.parts))
    rows = tuple(
        (
            words.name("metric", name),
            *(measure_text(p.evaluation["metrics"].get(name)) for p in content.parts),
        )
        for name in names
    )
    return Table(columns, rows, words("headline.table"))


def _points(e: Json, words: Language) -> Table:
    keys = ("sensitivity", "specificity", "ppv", "npv")
    columns = (
        words("column.point"), words("column.threshold"),
        *(words(f"metric.{k}") for k in keys), words("column.counts"),
    )  # fmt: skip
    rows = []
    for p in e["operating_points"]:
        c = p["counts"]
        counts = words("points.counts", tp=c["tp"], fn=c["fn"], fp=c["fp"], tn=c["tn"])
        cells = (measure_text(p[k], gap="\n") for k in keys)
        rows.append((policy_text(p["chosen"], words), f"{p['threshold']:.4g}", *cells, counts))
    return Table(columns, tuple(rows), words("points.caption"))


def policy_text(chosen: Json, words: Language) -> str:
    """How a point was chosen, on which part, and from how many positive groups."""
    return words(
        "points.policy",
        policy=words.name("policy", chosen["policy"]),
        target="" if chosen["target"] is None else f" {chosen['target']:g}",
        part=words.name("part", chosen["chosen_on"]),
        groups=chosen["positive_groups"],
    )


def _at_prevalence(e: Json, words: Language) -> Table:
    columns = tuple(words(f"column.{k}") for k in ("point", "prevalence", "ppv", "npv"))
    rows = []
    for p in e["operating_points"]:
        for at in p["at_prevalence"]:
            own = p["prevalence"] is not None and abs(at["prevalence"] - p["prevalence"]) < 1e-12
            mark = words("points.own") if own else ""
            prevalence = f"{100 * at['prevalence']:.3g}%{mark}"
            threshold = f"{p['threshold']:.4g}"
            values = (measure_text(at[k], 4) for k in ("ppv", "npv"))
            rows.append((threshold, prevalence, *values))
    return Table(columns, tuple(rows), words("points.prevalence_caption"))
