"""The sections of the page on explanations that are words and tables: confusions, lesions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lesionlab.reporting.content import Paragraph, Table
from lesionlab.reporting.explanations_content import ExplanationContent, Json, PageSection
from lesionlab.reporting.language import Language, measure_text


def confusion(content: ExplanationContent, words: Language) -> PageSection:
    """Which pairs of classes carry the errors, in sentences."""
    wrong, total = content.errors
    blocks: list[Any] = [Paragraph(words("explain.errors", wrong=f"{wrong:,}", total=f"{total:,}"))]
    blocks += [Paragraph(_sentence(p, words)) for p in content.pairs[:5]]
    if len(content.pairs) > 5:
        blocks.append(_pairs(content.pairs, words))
    return PageSection("confusion", words("explain.title_confusion"), tuple(blocks))


def _sentence(p: Json, words: Language) -> str:
    there, back = p["first_as_second"], p["second_as_first"]
    return words(
        "explain.pair", first=p["first"], second=p["second"], count=p["count"],
        of=f"{there['n']:,}", rate=measure_text(there, 3), back=p["back"],
        back_of=f"{back['n']:,}", back_rate=measure_text(back, 3),
        together=p["count"] + p["back"], share=measure_text(p["of_errors"], 3),
    )  # fmt: skip


def _pairs(pairs: Sequence[Json], words: Language) -> Table:
    columns = tuple(words(f"explain.column_{c}") for c in ("pair", "there", "back", "of_errors"))
    rows = tuple(
        (
            f"{p['first']} / {p['second']}",
            f"{p['count']}  {measure_text(p['first_as_second'], 3)}",
            f"{p['back']}  {measure_text(p['second_as_first'], 3)}",
            measure_text(p["of_errors"], 3),
        )
        for p in pairs
    )
    return Table(columns, rows, words("explain.all_pairs"), folded=True)


def lesions(content: ExplanationContent, words: Language) -> PageSection | None:
    """The ABCD numbers by class, where masks exist."""
    if not content.lesions:
        return None
    keys = [k for k in content.lesions[0] if k not in ("label", "n")]
    columns = (words("explain.column_class"), words("explain.column_n"),
               *(words.name("abcd", k) for k in keys))  # fmt: skip
    rows = tuple(
        (str(r["label"]), f"{r['n']:,}", *(_middle(r[k]) for k in keys)) for r in content.lesions
    )
    blocks = (
        Paragraph(words("explain.abcd_intro")),
        Table(columns, rows, words("explain.abcd")),
    )
    return PageSection("lesions", words("explain.title_abcd"), blocks)


def _middle(values: Sequence[float | None]) -> str:
    """Median and quartiles: "0.12\n(0.08–0.20)"."""
    if values[0] is None:
        return "–"
    low, middle, high = (float(v) for v in values if v is not None)
    digits = 0 if middle >= 100 else 1 if middle >= 3 else 2
    gap = "–" if low >= 0 else " … "
    return f"{middle:,.{digits}f}\n({low:,.{digits}f}{gap}{high:,.{digits}f})"
