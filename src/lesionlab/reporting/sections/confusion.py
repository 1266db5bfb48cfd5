"""The K x K confusion matrices and the table of the classes."""

from __future__ import annotations

from lesionlab.reporting.content import (
    Block,
    Chart,
    Json,
    Paragraph,
    ReportContent,
    Row,
    Section,
    Table,
)
from lesionlab.reporting.language import Language, measure_text, share
from lesionlab.reporting.plots import confusion


def section(content: ReportContent, words: Language) -> Section:
    """Argmax as the probabilities stand, and (where the prior is known) prior-corrected."""
    e = content.focus.evaluation
    charts = [_matrix("confusion", "confusion-matrix", e["confusion"], words)]
    corrected = e["confusion_prior_corrected"]
    if corrected:
        charts.append(_matrix("confusion_corrected", "confusion-corrected", corrected, words))
    blocks: list[Block] = [Paragraph(words("confusion.intro")), Row(tuple(charts))]
    blocks.append(_classes(e, words))
    if e["malignant_v_benign"]:
        blocks.append(_malignant(e["malignant_v_benign"], words))
    return Section("confusion", words("confusion.title"), tuple(blocks))


def _matrix(kind: str, key: str, matrix: Json, words: Language) -> Chart:
    title = words(f"{kind}.chart")
    svg = confusion(
        key, title, words("confusion.description"), matrix["classes"], matrix["counts"],
        words("axis.truth"), words("axis.called"), words("confusion.total"),
    )  # fmt: skip
    rows = tuple(
        (
            name,
            *(f"{share(r)} ({n:,})" for r, n in zip(shares, counts, strict=True)),
            f"{sum(counts):,}",
        )
        for name, shares, counts in zip(
            matrix["classes"], matrix["rows"], matrix["counts"], strict=True
        )
    )
    columns = (words("axis.truth"), *matrix["classes"], words("confusion.total"))
    return Chart(key, title, words(f"{kind}.caption"), svg, Table(columns, rows))


def _classes(e: Json, words: Language) -> Table:
    keys = ("sensitivity", "specificity", "ppv", "npv", "f1", "roc_auc", "average_precision")
    columns = (words("column.class"), words("column.n"), *(words(f"metric.{k}") for k in keys))
    rows = tuple(
        (
            name,
            f"{e['class_counts'][name]['images']:,}",
            *(measure_text(m[k], gap="\n") for k in keys),
        )
        for name, m in e["per_class"].items()
    )
    return Table(columns, rows, words("confusion.classes"))


def _malignant(measures: Json, words: Language) -> Table:
    rows = tuple(
        (words.name("metric", name), measure_text(m), f"{m['n']:,}") for name, m in measures.items()
    )
    columns = (words("column.metric"), words("column.estimate"), words("column.n"))
    return Table(columns, rows, words("confusion.malignant"))
