"""The section that holds the threshold explorer."""

from __future__ import annotations

from lesionlab.reporting.content import Block, Paragraph, ReportContent, Section
from lesionlab.reporting.explorer import explorer
from lesionlab.reporting.language import Language


def section(content: ReportContent, words: Language) -> Section:
    """The explorer, or why there is none."""
    found = explorer(content, words)
    if found is None:
        key = "explorer.one_side" if content.malignant else "explorer.no_malignant"
        return Section("explorer", words("explorer.title"), (Paragraph(words(key), "note"),))
    on = "explorer.on_test" if found.on_test else "explorer.on_other"
    part = words.name("part", content.focus.name)
    blocks: tuple[Block, ...] = (
        Paragraph(words("explorer.intro")),
        Paragraph(words(on, part=part), "danger" if found.on_test else "note"),
        found,
    )
    return Section("explorer", words("explorer.title"), blocks)
