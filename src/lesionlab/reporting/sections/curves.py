"""ROC and precision-recall curves with bands, of every part that is known."""

from __future__ import annotations

from lesionlab.reporting.content import (
    Block,
    Chart,
    Json,
    Paragraph,
    Part,
    ReportContent,
    Row,
    Section,
    Table,
)
from lesionlab.reporting.language import Language, measure_text, share
from lesionlab.reporting.plots import Curve, Point, curve_plot
from lesionlab.reporting.sections.readers import points
from lesionlab.reporting.svg import Axis, Frame

MALIGNANT = "malignant"
STYLES = {"valid": 0, "test": 1, "train": 2, "calib": 3, "outside": 4}
MOST_CLASSES = 12  # small plots; a table holds the rest
TABLE_ROWS = 21


def section(content: ReportContent, words: Language) -> Section | None:
    """Malignant v benign large, then each class small; None where nothing can be ranked."""
    curves = content.focus.evaluation["curves"]
    if not curves:
        return None
    blocks: list[Block] = []
    main = main_score(content.focus.evaluation)
    if main:
        name = words("curves.malignant") if main == MALIGNANT else main
        charts = (_roc(content, main, name, words), _pr(content, main, name, words))
        blocks.append(Row(charts))
    classes = [c for c in content.focus.evaluation["classes"] if c in curves and c != main]
    if len(content.focus.evaluation["classes"]) > 2 and classes:
        blocks.append(Paragraph(words("curves.classes")))
        blocks.append(Row(tuple(_small(content, c, words) for c in classes[:MOST_CLASSES]), True))
    if len(classes) > MOST_CLASSES:
        blocks.append(Paragraph(words("curves.more", n=len(classes) - MOST_CLASSES), "note"))
    return Section("curves", words("curves.title"), tuple(blocks))


def main_score(e: Json) -> str | None:
    """The score of the large plots: malignant, else the positive one of two classes."""
    for name in (MALIGNANT, e.get("positive")):
        if name and name in e["curves"]:
            return str(name)
    return None


def _auc(part: Part, score: str, metric: str) -> Json | None:
    """The measured area that belongs to a curve."""
    e = part.evaluation
    if score == MALIGNANT and e["malignant_v_benign"]:
        found: Json | None = e["malignant_v_benign"].get(metric)
        return found
    measured: Json | None = e["per_class"].get(score, {}).get(metric)
    return measured


def _curves(content: ReportContent, score: str, kind: str, words: Language) -> list[Curve]:
    x, y, metric, short = (
        ("fpr", "tpr", "roc_auc", words("curves.auc"))
        if kind == "roc"
        else ("recall", "precision", "average_precision", words("curves.ap"))
    )
    found = []
    for part in content.parts:
        curve = part.evaluation["curves"].get(score, {}).get(kind)
        if not curve:
            continue
        area = measure_text(_auc(part, score, metric))
        name = f"{words.name('part', part.name)}: {short} {area}"
        style = STYLES.get(part.name, 0)
        found.append(Curve(name, curve[x], curve[y], style=style))
        if curve["band"] and part.name != "train":
            found.append(_only_band(curve["band"], x, style))
    return found


def _only_band(band: Json, axis: str, style: int) -> Curve:
    return Curve("", band[axis], [float("nan")] * len(band[axis]), band["low"], band["high"], style)


def _roc(content: ReportContent, score: str, name: str, words: Language) -> Chart:
    frame = Frame(Axis(words("axis.fpr"), 0, 1), Axis(words("axis.tpr"), 0, 1), 300, 300)
    title = words("curves.roc", name=name)
    marks = _locked(content, score, words) + readers(content)
    svg = curve_plot(
        "roc-main", title, words("curves.roc_description"), frame,
        _curves(content, score, "roc", words), reference=([0, 1], [0, 1]), points=marks,
    )  # fmt: skip
    table = _table(
        content.focus.evaluation["curves"][score]["roc"], ("fpr", "tpr", "threshold"), words
    )
    return Chart("roc-main", title, words("curves.roc_caption"), svg, table)


def _pr(content: ReportContent, score: str, name: str, words: Language) -> Chart:
    frame = Frame(Axis(words("axis.recall"), 0, 1), Axis(words("axis.precision"), 0, 1), 300, 300)
    title = words("curves.pr", name=name)
    level = _prevalence(content.focus.evaluation, score)
    svg = curve_plot(
        "pr-main", title, words("curves.pr_description"), frame,
        _curves(content, score, "pr", words), reference=([0, 1], [level, level]),
    )  # fmt: skip
    table = _table(
        content.focus.evaluation["curves"][score]["pr"], ("recall", "precision", "threshold"), words
    )
    return Chart("pr-main", title, words("curves.pr_caption", prevalence=share(level)), svg, table)


def _prevalence(e: Json, score: str) -> float:
    names = e["malignant"] if score == MALIGNANT and e["malignant"] else [score]
    return float(sum(e["prevalence"].get(n, 0.0) for n in names))


def _locked(content: ReportContent, score: str, words: Language) -> list[Point]:
    """The stored points where they fall on the part in focus, with both intervals."""
    if score != MALIGNANT:
        return []
    found = []
    for p in content.focus.evaluation["operating_points"]:
        se, sp = p["sensitivity"], p["specificity"]
        if set(p["chosen"]["score"]) != set(content.malignant) or None in (
            se["value"],
            sp["value"],
        ):
            continue
        name = words("curves.locked", threshold=f"{p['threshold']:.3g}")
        x_range = None if sp["low"] is None else (1 - sp["high"], 1 - sp["low"])
        y_range = None if se["low"] is None else (se["low"], se["high"])
        found.append(Point(name, 1 - sp["value"], se["value"], x_range, y_range, 1, True, 5))
    return found


def readers(content: ReportContent) -> list[Point]:
    """Readers: solid where they saw the same images, hollow where they did not."""
    found = []
    for r in points(content):
        name = str(r["name"])
        se, sp = r["sensitivity"], r["specificity"]
        x_range = None if sp.get("low") is None else (1 - sp["high"], 1 - sp["low"])
        y_range = None if se.get("low") is None else (se["low"], se["high"])
        found.append(
            Point(name, 1 - sp["value"], se["value"], x_range, y_range, 3, bool(r["same_images"]))
        )
    return found


def _small(content: ReportContent, score: str, words: Language) -> Chart:
    ticks = (0.0, 0.5, 1.0)
    axes = (
        Axis(words("axis.fpr_short"), 0, 1, ticks=ticks),
        Axis(words("axis.tpr_short"), 0, 1, ticks=ticks),
    )
    frame = Frame(axes[0], axes[1], 130, 130, 44, 6)
    key = f"roc-class-{content.focus.evaluation['classes'].index(score)}"
    svg = curve_plot(
        key, words("curves.roc", name=score), words("curves.roc_description"), frame,
        _curves(content, score, "roc", words), reference=([0, 1], [0, 1]), legend=False,
    )  # fmt: skip
    caption = f"{words('curves.auc')} {measure_text(_auc(content.focus, score, 'roc_auc'))}"
    return Chart(key, score, caption, svg)


def _table(curve: Json, columns: tuple[str, ...], words: Language) -> Table:
    """Rows evenly from the curve: enough to copy from, few enough to read."""
    n = len(curve[columns[0]])
    rows = sorted({round(i * (n - 1) / (TABLE_ROWS - 1)) for i in range(TABLE_ROWS)})
    cells = tuple(tuple(share(curve[c][i], 4) for c in columns) for i in rows)
    return Table(tuple(words(f"axis.{c}") for c in columns), cells, words("curves.table", n=n))
