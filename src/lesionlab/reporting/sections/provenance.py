"""Where the numbers come from: run, settings, weights, versions, files and their hashes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lesionlab.reporting.content import Block, Json, Paragraph, ReportContent, Section, Table
from lesionlab.reporting.language import Language


def section(content: ReportContent, words: Language) -> Section:
    """Everything needed to make the report again, and how each number was decided."""
    blocks: list[Block] = [_facts(content, words), _methods(content.focus.evaluation, words)]
    if content.config:
        blocks.append(_settings(content.config, words))
        blocks.append(_environment(content.config, words))
    else:
        blocks.append(Paragraph(words("provenance.no_run"), "note"))
    return Section("provenance", words("provenance.title"), tuple(blocks))


def _facts(content: ReportContent, words: Language) -> Table:
    rows = [(words("provenance.created"), content.created)]
    rows += [(words.name("provenance", k), v) for k, v in content.provenance.items()]
    config = content.config or {}
    if config:
        settings = config.get("settings", {})
        rows += [
            (words("provenance.preset"), str(settings.get("name", ""))),
            (words("provenance.model"), str(settings.get("model", {}).get("name", ""))),
            (words("provenance.weights"), _pairs(config.get("weights", {}))),
            (words("provenance.seed"), str(settings.get("seed", ""))),
            (words("provenance.device"), _device(config)),
            (words("provenance.trained"), str(config.get("created", ""))),
            (
                words("provenance.fingerprint"),
                str(config.get("dataset", {}).get("fingerprint", "")),
            ),
        ]
    if content.calibration:
        temperature = content.calibration.get("temperature")
        rows.append((words("provenance.temperature"), f"{temperature:.4g}" if temperature else ""))
    columns = (words("column.fact"), words("column.value"))
    return Table(columns, tuple((a, b) for a, b in rows if b), words("provenance.caption"))


def _device(config: Json) -> str:
    parts = [config.get("device"), config.get("precision")]
    return ", ".join(str(p) for p in parts if p)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in values.items())


def _methods(e: Json, words: Language) -> Table:
    """How each kind of number was made, in the evaluation's own words."""
    rows = [
        (words.name("decision_text", key), _says(key, text, e, words))
        for key, text in e.get("decisions", {}).items()
    ]
    by_method: dict[str, list[str]] = {}
    for name, m in e["metrics"].items():
        by_method.setdefault(m["method"].split(",")[0], []).append(words.name("metric", name))
    rows += [
        (words("provenance.interval"), f"{method}: {words('list.semicolon').join(names)}")
        for method, names in by_method.items()
    ]
    undefined = {k: v for k, v in e.get("undefined_replicates", {}).items() if v}
    if undefined:
        rows.append((words("provenance.undefined"), _pairs(undefined)))
    rows += [(words("about.note"), note) for note in e.get("notes", ())]
    columns = (words("column.fact"), words("column.value"))
    return Table(columns, tuple(rows), words("provenance.methods"))


def _says(key: str, text: str, e: Json, words: Language) -> str:
    """The evaluation's sentence, in the report's language where it is one of the known ones."""
    name = f"decision_says.{key}" if key != "unit" else f"decision_says.unit_{e['unit']}"
    known = words.strings.get(name, text)
    named = e["classes"] if key == "ordered" else e["malignant"]
    return known.replace("{classes}", words("list.comma").join(named))


def _settings(config: Json, words: Language) -> Table:
    rows = tuple(_flattened(config.get("settings", {})))
    return Table(
        (words("column.setting"), words("column.value")), rows, words("provenance.settings"), True
    )


def _flattened(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        pairs: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        pairs = list(enumerate(value))
    else:
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        return [(prefix, text)] if value not in ("", None, [], {}) else []
    inner = [_flattened(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in pairs]
    return [row for rows in inner for row in rows]


def _environment(config: Json, words: Language) -> Table:
    rows = tuple((k, str(v)) for k, v in config.get("environment", {}).items())
    return Table(
        (words("column.fact"), words("column.value")), rows, words("provenance.environment"), True
    )
