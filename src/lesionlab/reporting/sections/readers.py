"""Human readers beside the model: points on the ROC plot and the paired statement."""

from __future__ import annotations

from lesionlab.reporting.content import Block, Json, Paragraph, ReportContent, Section, Table
from lesionlab.reporting.language import Language, measure_text, share

PAIRED = "sensitivity_at_reader_specificity"


def section(content: ReportContent, words: Language) -> Section | None:
    """What each study's pooled readers did, and how the model differs; None without readers."""
    if not content.readers and not content.published:
        return None
    blocks: list[Block] = [Paragraph(words("readers.intro"))]
    blocks += [Paragraph(_statement(r, words)) for r in content.readers]
    blocks.append(_table(content, words))
    return Section("readers", words("readers.title"), tuple(blocks))


def _statement(r: Json, words: Language) -> str:
    """The paired difference in words; no claim where the interval holds zero."""
    name, specificity = r["point"]["name"], share(r["reader"]["specificity"]["value"])
    d = r["difference"][PAIRED]
    if d["value"] is None or d["low"] is None or d["high"] is None:
        return words("readers.too_few", name=name, specificity=specificity)
    held = {"name": name, "specificity": specificity, "images": f"{r['images']:,}",
            "difference": f"{d['value']:+.3f}", "low": f"{d['low']:+.3f}",
            "high": f"{d['high']:+.3f}"}  # fmt: skip
    text = words("readers.differs", **held)
    if d["low"] <= 0 <= d["high"]:
        text += words("sentence.space") + words("readers.not_distinguishable")
    if r["beaten"]:
        below, of = r["beaten"]
        text += words("sentence.space") + words("readers.beaten", below=below, of=of)
    return text


def _table(content: ReportContent, words: Language) -> Table:
    keys = ("name", "images", "sensitivity", "specificity", "same")
    rows = [
        (
            r["point"]["name"],
            f"{r['images']:,}",
            measure_text(r["point"]["sensitivity"]),
            measure_text(r["point"]["specificity"]),
            words("readers.yes" if r["point"]["same_images"] else "readers.part"),
        )
        for r in content.readers
    ]
    rows += [
        (
            p["name"],
            f"{p['sensitivity']['n'] or '–'}",
            measure_text(p["sensitivity"]),
            measure_text(p["specificity"]),
            words("readers.no"),
        )
        for p in content.published
    ]
    columns = tuple(words(f"readers.column_{k}") for k in keys)
    return Table(columns, tuple(rows), words("readers.caption"))


def points(content: ReportContent) -> list[Json]:
    """All reader points for the ROC plot, those of the studies first."""
    return [r["point"] for r in content.readers] + list(content.published)
