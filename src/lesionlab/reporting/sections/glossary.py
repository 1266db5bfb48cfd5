"""The last section: the words that the report uses in a sense of its own."""

from __future__ import annotations

from lesionlab.reporting.content import Paragraph, ReportContent, Section, Table
from lesionlab.reporting.language import Language

# Each has two strings, `glossary.<term>` and `glossary.<term>.text`; docs/glossary.md has them all.
TERMS = (
    *("split", "group", "unit", "duplicate", "leaky", "sealed", "access", "ledger"),
    *("external_validation", "interval", "resample", "effective_groups", "too_few"),
    *("prior", "prior_corrected", "operating_point", "ppv_at", "temperature", "prediction_set"),
    *("decision_curve", "subgroup"),
)


def section(content: ReportContent, words: Language) -> Section:
    """A row a term, the same in every report of a language."""
    rows = tuple((words(f"glossary.{t}"), words(f"glossary.{t}.text")) for t in TERMS)
    columns = (words("glossary.column_term"), words("column.meaning"))
    table = Table(columns, rows, words("glossary.caption"), folded=True)
    return Section("glossary", words("glossary.title"), (Paragraph(words("glossary.intro")), table))
