"""What was asked of which data: counts, flow, seal, leaks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lesionlab.reporting.content import (
    Block,
    Chart,
    DataFacts,
    Json,
    Paragraph,
    ReportContent,
    Row,
    Section,
    Table,
)
from lesionlab.reporting.language import Language
from lesionlab.reporting.plots import bars, flow

ORDER = ("train", "valid", "calib", "test")


def section(content: ReportContent, words: Language) -> Section:
    """The first section: what was asked of which data."""
    blocks: list[Block] = [_question(content, words), *_warnings(content, words)]
    blocks += _seal(content, words)
    data = content.data
    if data is not None and data.parts:
        flow_chart = _flow(data, content.focus.name, words)
        blocks.append(Row((flow_chart, _classes_by_part(data, content.malignant, words))))
    else:
        blocks.append(_classes(content, words))
    if data is not None:
        blocks.append(_about(data, words))
    blocks += [Paragraph(note, "note") for note in content.notes]
    return Section("data", words("data.title"), tuple(blocks))


def _question(content: ReportContent, words: Language) -> Paragraph:
    e = content.focus.evaluation
    asked = words(
        "data.question",
        k=len(e["classes"]),
        n=f"{e['n']:,}",
        unit=words(f"unit.{e['unit']}"),
        groups=f"{e['groups']:,}",
        group=words.name("group", e["resampled"]),
        part=words.name("part", content.focus.name),
    )
    if content.malignant:
        names = words("list.comma").join(content.malignant)
        asked += words("sentence.space") + words("data.malignant", classes=names)
    return Paragraph(asked)


def _warnings(content: ReportContent, words: Language) -> list[Paragraph]:
    data, found = content.data, []
    if data is not None and data.leaky:
        found.append(Paragraph(words("data.leaky", reason=data.leak_reason or "–"), "danger"))
    if data is not None and data.synthetic:
        found.append(Paragraph(words("data.synthetic"), "warning"))
    if data is not None and data.patients_unknown:
        n, of = f"{data.patients_unknown:,}", f"{data.images:,}"
        found.append(Paragraph(words("data.no_patients", n=n, of=of), "warning"))
    if data is not None and _near_duplicates(data).get("from") == "not searched":
        found.append(Paragraph(words("data.not_searched"), "warning"))
    unlabelled = content.focus.evaluation.get("unlabelled", 0)
    if unlabelled:
        found.append(Paragraph(words("data.unlabelled", n=f"{unlabelled:,}"), "note"))
    if content.focus.name == "train":
        found.append(Paragraph(words("data.on_train"), "warning"))
    if content.focus.name == "valid" and content.config is not None:
        found.append(Paragraph(words("data.on_valid"), "note"))
    return found


def _near_duplicates(data: DataFacts) -> Json:
    known = (data.split_policy or {}).get("near_duplicates")
    return known if isinstance(known, dict) else {}


def _seal(content: ReportContent, words: Language) -> list[Block]:
    if content.focus.name == "outside":
        return [Paragraph(words("data.outside"), "note")]
    if content.openings is None:
        return [Paragraph(words("data.no_ledger"), "note")]
    if not content.openings:
        return [Paragraph(words("data.sealed"), "good")]
    runs = {str(entry.get("model") or entry.get("run")) for entry in content.openings}
    text = words("data.opened", n=len(content.openings), models=len(runs))
    tone = "note" if len(content.openings) == 1 else "warning"
    return [Paragraph(text, tone), _ledger(content.openings, words)]


def _ledger(openings: Sequence[Json], words: Language) -> Table:
    keys = ("when", "who", "run", "hash")
    rows = tuple(
        tuple(str(entry.get(k) or "–")[: 60 if k != "hash" else 12] for k in keys)
        for entry in openings
    )
    return Table(tuple(words(f"ledger.{k}") for k in keys), rows, words("ledger.caption"))


def _flow(data: DataFacts, focus: str, words: Language) -> Chart:
    root = (
        data.name,
        words("flow.images", n=f"{data.images:,}"),
        words("flow.groups", n=f"{data.groups:,}"),
    )
    leaves = [
        (
            (
                words(f"part.{name}"),
                words("flow.images", n=f"{data.parts[name]['images']:,}"),
                words("flow.groups", n=f"{data.parts[name]['groups']:,}"),
            ),
            name == focus,
        )
        for name in ORDER
        if name in data.parts
    ]
    title = words("flow.title")
    svg = flow("flow", title, words("flow.description"), root, leaves)
    return Chart("flow", title, words("flow.caption"), svg)


def _classes_by_part(data: DataFacts, malignant: tuple[str, ...], words: Language) -> Chart:
    parts = [p for p in ORDER if p in data.parts]
    first = data.parts[parts[0]]["classes"]
    total = {c: sum(data.parts[p]["classes"].get(c, 0) for p in parts) for c in first}
    classes = sorted(total, key=lambda c: -total[c])
    styles = {"train": 2, "valid": 0, "calib": 3, "test": 1}
    series = [
        (words(f"part.{p}"), [data.parts[p]["classes"].get(c, 0) for c in classes], styles[p])
        for p in parts
    ]
    names = [_marked(c, malignant, words) for c in classes]
    title = words("classes.title")
    svg = bars(
        "class-counts", title, words("classes.description"), names, series, words("axis.images")
    )
    rows = tuple(
        (
            name,
            *(f"{values[i]:,.0f} ({_percent(values[i], sum(values))})" for _, values, _ in series),
        )
        for i, name in enumerate(names)
    )
    table = Table((words("column.class"), *(name for name, _, _ in series)), rows)
    return Chart("class-counts", title, words("classes.caption"), svg, table)


def _classes(content: ReportContent, words: Language) -> Chart:
    e = content.focus.evaluation
    classes = sorted(e["classes"], key=lambda c: -e["class_counts"][c]["images"])
    counts = [e["class_counts"][c]["images"] for c in classes]
    names = [_marked(c, content.malignant, words) for c in classes]
    title = words("classes.title")
    series = [(words.name("part", content.focus.name), counts, 0)]
    svg = bars(
        "class-counts", title, words("classes.description"), names, series, words("axis.images")
    )
    rows = tuple(
        (name, f"{n:,} ({_percent(n, sum(counts))})", f"{e['class_counts'][c]['groups']:,}")
        for name, c, n in zip(names, classes, counts, strict=True)
    )
    columns = (words("column.class"), words("column.images"), words("column.groups"))
    return Chart("class-counts", title, words("classes.caption"), svg, Table(columns, rows))


def _marked(name: str, malignant: tuple[str, ...], words: Language) -> str:
    return f"{name} {words('classes.malignant_mark')}" if name in malignant else name


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "–"


def _about(data: DataFacts, words: Language) -> Table:
    rows = [
        (words("about.source"), data.source),
        (words("about.modality"), data.modality),
        (words("about.licence"), data.licence),
        (words("about.citation"), data.citation),
    ]
    if data.split_policy:
        policy = words("list.semicolon").join(
            f"{k}: {_flat(v)}" for k, v in data.split_policy.items() if v is not None
        )
        rows.append((words("about.split"), policy))
    rows += [(words("about.note"), note) for note in data.notes]
    kept = tuple((a, b) for a, b in rows if b)
    return Table((words("column.fact"), words("column.value")), kept, words("about.caption"))


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_flat(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, list | tuple):
        return ", ".join(_flat(v) for v in value)
    if isinstance(value, float | np.floating):
        return f"{value:g}"
    return str(value)
