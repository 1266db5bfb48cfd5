"""The marks of methods that failed, and what must be said of a network that learned nothing."""

from __future__ import annotations

from collections.abc import Sequence

from lesionlab.reporting.content import Paragraph
from lesionlab.reporting.explanations_content import ExplanationContent, Json
from lesionlab.reporting.language import Language, measure_text, share

MARK = "✗ "  # before the name of a method that failed its randomisation check
PLAIN, FAILED, REFERENCE = 0, 1, 2  # styles of a chart


def passed(row: Json) -> bool | None:
    """Whether a method passed its randomisation check; None: too few to say, or a reference."""
    sanity = row.get("sanity")
    return None if sanity is None else sanity["passed"]


def marked(method: str, verdict: bool | None, words: Language) -> str:
    """A method's name, behind a mark where `verdict` is False."""
    name = words.name("method", method)
    return MARK + name if verdict is False else name


def style(row: Json) -> int:
    """Of a row's intervals in a chart."""
    if row["reference"]:
        return REFERENCE
    return FAILED if passed(row) is False else PLAIN


def failed_rows(content: ExplanationContent) -> list[Json]:
    """The methods that failed."""
    return [row for row in content.study if passed(row) is False]


def legend(content: ExplanationContent, words: Language) -> list[Paragraph]:
    """What the mark means; [] where no method bears it."""
    return [Paragraph(words("explain.mark"), "mark")] if failed_rows(content) else []


def unpraised(text: str, row: Json, content: ExplanationContent, words: Language) -> str:
    """The verdict `text`, but no praise for following weights that have learned nothing."""
    if content.network is None or not passed(row) or content.network["better_than_chance"]:
        return text
    known = content.network["better_than_chance"] is False
    return words("explain.verdict_passed_chance" if known else "explain.verdict_passed_unknown")


def alarms(content: ExplanationContent, words: Language) -> list[Paragraph]:
    """What must be read before the page: a network of chance has nothing to explain."""
    told = content.network
    if told is None or told["better_than_chance"]:
        return []
    key, tone = ("chance", "danger") if told["better_than_chance"] is False else ("few", "warning")
    text = words(
        f"explain.network_{key}",
        balanced=measure_text(told["balanced_accuracy"], 2),
        auc=measure_text(told["roc_auc"], 2),
        chance=share(told["chance"]["balanced_accuracy"], 2),
        n=f"{told['balanced_accuracy']['n']:,}",
    )
    return [Paragraph(text, tone)]


def of_the_gallery(content: ExplanationContent, words: Language) -> list[Paragraph]:
    """Whether the maps beside the cases can be believed, and what was passed over for them."""
    rows = [row for row in content.study if not row["reference"]]
    main = next((row for row in rows if row["name"] == content.main_method), None)
    if main is None:
        return []
    name = words.name("method", main["name"])
    if passed(main) is False:
        key = "explain.gallery_failed_alone" if len(rows) == 1 else "explain.gallery_failed"
        return [Paragraph(words(key, name=name), "danger")]
    if passed(main) is None:
        return [Paragraph(words("explain.gallery_unknown", name=name), "note")]
    return _passed_over(rows[: rows.index(main)], name, words)


def _passed_over(before: Sequence[Json], name: str, words: Language) -> list[Paragraph]:
    if not before:
        return []
    names = words("list.comma").join(marked(r["name"], passed(r), words) for r in before)
    return [Paragraph(words("explain.gallery_instead", names=names, name=name), "note")]
