"""Does it work alike for everybody? Counts, metric, calibration and interval by subgroup."""

from __future__ import annotations

from collections.abc import Iterator

from lesionlab.reporting.content import (
    Block,
    Chart,
    Json,
    Paragraph,
    ReportContent,
    Section,
    Table,
)
from lesionlab.reporting.language import Language, measure_text, share
from lesionlab.reporting.plots import Interval, forest
from lesionlab.reporting.svg import Axis, nice_ticks

TOO_FEW = "too few to say"


def section(content: ReportContent, words: Language) -> Section | None:
    """One forest plot with its table an attribute; None where nothing is known of the cases."""
    if not content.subgroups:
        return None
    fewest = content.subgroups[0]["fewest"]
    blocks: list[Block] = [Paragraph(words("subgroups.intro", fewest=fewest))]
    blocks += [_chart(attribute, words) for attribute in content.subgroups]
    return Section("subgroups", words("subgroups.title"), tuple(blocks))


def _chart(attribute: Json, words: Language) -> Chart:
    name = words.name("subgroup", attribute["name"])
    title = words("subgroups.of", name=name)
    metric = words.name("metric", attribute["metric"])
    everybody = attribute["everybody"]["metric"]["value"]
    rows = [_interval(row, words) for row in _rows(attribute)]
    svg = forest(
        f"subgroup-{attribute['name']}", title, words("subgroups.description"), rows,
        _axis(metric, attribute), reference=everybody,
    )  # fmt: skip
    caption = words("subgroups.caption", metric=metric)
    return Chart(f"subgroup-{attribute['name']}", title, caption, svg, _table(attribute, words))


def _rows(attribute: Json) -> Iterator[Json]:
    yield attribute["everybody"]
    yield from attribute["levels"]


def _axis(metric: str, attribute: Json) -> Axis:
    """From just below the lowest limit to 1: subgroups differ in the second digit."""
    lows = [
        bound
        for row in _rows(attribute)
        for bound in (row["metric"]["low"], row["metric"]["value"])
        if bound is not None
    ]
    low = max(0.0, min([0.9, *lows]) - 0.05)
    low = float(int(low * 10)) / 10
    return Axis(metric, low, 1, ticks=tuple(t for t in nice_ticks(low, 1) if t <= 1))


def _interval(row: Json, words: Language) -> Interval:
    m = row["metric"]
    few = f" ({words('subgroups.few')})" if row["note"] == TOO_FEW else ""
    text = measure_text(m) + few
    name = words.name("subgroup_level", row["level"])
    return Interval(f"{name} ({row['n']:,})", m["value"], m["low"], m["high"], text)


def _table(attribute: Json, words: Language) -> Table:
    keys = ("group", "n", "groups", "malignant", "metric", "predicted", "observed", "calibration")
    with_point = any(row["sensitivity"] for row in _rows(attribute))
    columns = [words(f"subgroups.column_{k}") for k in keys]
    if with_point:
        columns += [words("metric.sensitivity"), words("metric.specificity")]
    rows = []
    for row in _rows(attribute):
        cells = [
            words.name("subgroup_level", row["level"]),
            f"{row['n']:,}",
            f"{row['groups']:,}",
            f"{row['positives']:,}",
            measure_text(row["metric"]),
            share(row["predicted"]),
            share(row["observed"]),
            measure_text(row["calibration"]),
        ]
        if with_point:
            cells += [measure_text(row["sensitivity"], 2), measure_text(row["specificity"], 2)]
        rows.append(tuple(cells))
    return Table(tuple(columns), tuple(rows))
