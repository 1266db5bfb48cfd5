"""Does it work alike for everybody? Counts, metric and interval by subgroup."""

from __future__ import annotations

from lesionlab.reporting.content import ReportContent, Section
from lesionlab.reporting.language import Language


def section(content: ReportContent, words: Language) -> Section | None:
    """One forest plot and one table an attribute; None where nothing is known of the cases."""
    return None
