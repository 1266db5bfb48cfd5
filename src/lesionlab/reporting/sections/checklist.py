"""The reporting checklists CLAIM (2024) and TRIPOD+AI (2024): what is known, and what is not.

Topics in our own words; the numbers point to the published items. What the tool cannot know says
"NOT PROVIDED", for a person to fill in.
"""

from __future__ import annotations

from collections.abc import Callable

from lesionlab.reporting.content import Json, Paragraph, ReportContent, Section, Table
from lesionlab.reporting.language import Language, measure_text

Fill = Callable[[ReportContent, Language], str]


def section(content: ReportContent, words: Language) -> Section:
    """One row a topic, with what the tool knows of it."""
    missing = words("checklist.missing")
    rows = []
    for claim, tripod, topic, fill in TOPICS:
        known = fill(content, words) if fill else ""
        rows.append((words(f"checklist.{topic}"), claim or "–", tripod or "–", known or missing))
    columns = tuple(words(f"checklist.column_{c}") for c in ("topic", "claim", "tripod", "here"))
    done = sum(row[3] != missing for row in rows)
    note = Paragraph(words("checklist.intro", done=done, n=len(rows)))
    return Section("checklist", words("checklist.title"), (note, Table(columns, tuple(rows))))


def _title(c: ReportContent, words: Language) -> str:
    return words("checklist.fill_title", model=_model(c) or "–") if c.config else ""


def _model(c: ReportContent) -> str:
    return str((c.config or {}).get("settings", {}).get("model", {}).get("name", ""))


def _settings(c: ReportContent) -> Json:
    found: Json = (c.config or {}).get("settings", {})
    return found


def _source(c: ReportContent, words: Language) -> str:
    return (
        "; ".join(t for t in (c.data.name, c.data.source, c.data.citation) if t) if c.data else ""
    )


def _preparation(c: ReportContent, words: Language) -> str:
    given = _settings(c).get("input")
    return ", ".join(f"{k} {v}" for k, v in given.items()) if given else ""


def _excluded(c: ReportContent, words: Language) -> str:
    n = c.focus.evaluation.get("unlabelled", 0)
    return words("checklist.fill_missing", n=n)


def _partitions(c: ReportContent, words: Language) -> str:
    if c.data is None or not c.data.parts:
        return ""
    return "; ".join(
        f"{words.name('part', name)} {p['images']:,} / {p['groups']:,}"
        for name, p in c.data.parts.items()
    )


def _level(c: ReportContent, words: Language) -> str:
    if c.data is None or not c.data.parts:
        return ""
    if c.data.leaky:
        return words("checklist.fill_leaky")
    return words("checklist.fill_level", group=words.name("group", c.focus.evaluation["resampled"]))


def _size(c: ReportContent, words: Language) -> str:
    e = c.focus.evaluation
    return words("checklist.fill_size", n=f"{e['n']:,}", groups=f"{e['groups']:,}")


def _network(c: ReportContent, words: Language) -> str:
    model = _settings(c).get("model")
    return (
        ", ".join(f"{k} {v}" for k, v in model.items() if v not in ("", [], None)) if model else ""
    )


def _software(c: ReportContent, words: Language) -> str:
    return ", ".join(f"{k} {v}" for k, v in (c.config or {}).get("environment", {}).items())


def _initial(c: ReportContent, words: Language) -> str:
    return ", ".join(str(k) for k in (c.config or {}).get("weights", {}))


def _training(c: ReportContent, words: Language) -> str:
    stages = _settings(c).get("stages", [])
    return words("checklist.fill_training", n=len(c.history), stages=len(stages)) if stages else ""


def _selection(c: ReportContent, words: Language) -> str:
    return words("checklist.fill_selection") if c.history else ""


def _metrics(c: ReportContent, words: Language) -> str:
    return ", ".join(words.name("metric", k) for k in c.focus.evaluation["metrics"])


def _uncertainty(c: ReportContent, words: Language) -> str:
    e = c.focus.evaluation
    group = words.name("group", e["resampled"])
    return words("checklist.fill_uncertainty", group=group, b=f"{e.get('resamples', 0):,}")


def _internal(c: ReportContent, words: Language) -> str:
    return words("checklist.fill_part", part=words.name("part", c.focus.name))


def _external(c: ReportContent, words: Language) -> str:
    outside = c.part("outside")
    return words("checklist.fill_part", part=words("part.outside")) if outside else ""


def _subgroups(c: ReportContent, words: Language) -> str:
    return ", ".join(words.name("subgroup", s["name"]) for s in c.subgroups)


def _performance(c: ReportContent, words: Language) -> str:
    metrics = c.focus.evaluation["metrics"]
    names = [k for k in ("balanced_accuracy", "roc_auc") if metrics.get(k)]
    return "; ".join(f"{words.name('metric', k)} {measure_text(metrics[k])}" for k in names)


def _operating(c: ReportContent, words: Language) -> str:
    return "; ".join(
        words(
            "checklist.fill_operating",
            threshold=f"{p['threshold']:.4g}",
            sensitivity=measure_text(p["sensitivity"]),
            specificity=measure_text(p["specificity"]),
        )
        for p in c.focus.evaluation["operating_points"]
    )


def _failures(c: ReportContent, words: Language) -> str:
    return words("checklist.fill_failures")


def _licence(c: ReportContent, words: Language) -> str:
    return (
        words("checklist.fill_licence", licence=c.data.licence) if c.data and c.data.licence else ""
    )


def _imbalance(c: ReportContent, words: Language) -> str:
    s = _settings(c)
    if not s:
        return ""
    return f"class_weights {s['loss']['class_weights']}, sampling {s['sampling']}"


def _output(c: ReportContent, words: Language) -> str:
    return words("checklist.fill_output", k=len(c.focus.evaluation["classes"]))


# (CLAIM 2024 items, TRIPOD+AI items, key of the topic, what fills it in)
TOPICS: tuple[tuple[str, str, str, Fill | None], ...] = (
    ("1", "1", "title_item", _title),
    ("2", "2", "abstract", None),
    ("3", "3a, 3b", "background", None),
    ("", "3c", "inequalities", None),
    ("4, 6", "4", "objectives", None),
    ("5", "5b, 6a", "design", None),
    ("7", "5a", "sources", _source),
    ("8, 10", "6b", "eligibility", None),
    ("9", "7", "preparation", _preparation),
    ("11", "", "identity", None),
    ("12", "11", "missing_data", _excluded),
    ("13", "9a", "acquisition", None),
    ("14, 15, 16, 17", "8a, 8b", "reference", None),
    ("18", "8b", "raters", None),
    ("19", "12a", "partitions", _partitions),
    ("20", "12a", "level", _level),
    ("21", "10", "sample_size", _size),
    ("22", "12c, 22", "network", _network),
    ("23", "12c", "software", _software),
    ("24", "12c", "initial", _initial),
    ("25", "12c, 21", "training", _training),
    ("26, 27", "12c", "selection", _selection),
    ("", "13", "imbalance", _imbalance),
    ("28", "12e", "metrics", _metrics),
    ("29", "12e", "uncertainty", _uncertainty),
    ("30", "12d, 14", "robustness", _subgroups),
    ("31", "", "explained", None),
    ("32", "16", "internal", _internal),
    ("33", "12f", "external", _external),
    ("", "15", "output", _output),
    ("34, 42", "18c, 18d", "registration", None),
    ("35", "20a", "flow", _partitions),
    ("36", "20b, 20c", "demographics", None),
    ("37", "23a", "performance", _performance),
    ("38", "23a", "operating", _operating),
    ("", "23b", "heterogeneity", _subgroups),
    ("39", "", "failures", _failures),
    ("40", "25, 26", "limitations", None),
    ("41", "27a, 27b, 27c", "practice", None),
    ("43", "18e, 18f", "availability", _licence),
    ("44", "18a, 18b", "funding", None),
    ("11", "17", "ethics", None),
    ("", "19", "public", None),
)
