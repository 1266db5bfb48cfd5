"""`lesionlab.figures`: every chart of the report as a file for a paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lesionlab import extras, files
from lesionlab.api._inputs import is_current, of_run, of_table, report_content
from lesionlab.data import ledger
from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.bootstrap import Resampling
from lesionlab.evaluation.evaluate import evaluate_predictions
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.subject import Subject
from lesionlab.evaluation.table_reading import TableReading
from lesionlab.platforms import safe_name
from lesionlab.progress import SILENT, Progress
from lesionlab.reporting.figures import standalone, table_csv
from lesionlab.reporting.language import language
from lesionlab.reporting.report import charts
from lesionlab.run_folder import read_run

FORMATS = ("svg", "png", "pdf")
PNG_SCALE = 4  # 288 dots an inch at the natural size of 72


def figures(
    source: Path | str,
    to: Path | str,
    *,
    formats: Sequence[str] = ("svg",),
    tables: bool = False,
    split: str | None = None,
    malignant: Sequence[str] = (),
    data: Path | str | None = None,
    lang: str = "en",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write the charts of an evaluated run, or of a predictions CSV, into a new folder.

    `formats`: svg, png, pdf (the last two need the extra `figures`). `tables` adds the table
    behind each chart as CSV. Nothing is evaluated anew for a run: its part must have been
    evaluated, so that figures never open the test set. Returns `{to, figures: [{key, title,
    files}]}`.
    """
    words = language(lang)
    converters = _converters(formats)
    folder = None if data is None else Path(data)
    subject, parts = _evaluated(Path(source), split, tuple(malignant), folder, progress)
    openings = None if subject.dataset is None else ledger.openings(subject.dataset.folder)
    content = report_content(subject, parts, openings, images=False)
    written = []
    with files.stage_folder(Path(to)) as aside:
        for chart in progress(list(charts(content, words)), "figures"):
            svg, names, key = standalone(chart), [], safe_name(chart.key)
            for name, convert in converters.items():
                (aside / f"{key}.{name}").write_bytes(convert(svg))
                names.append(f"{key}.{name}")
            if tables and chart.table is not None:
                text = table_csv(chart.table)
                (aside / f"{key}.csv").write_text(text, encoding="utf-8")
                names.append(f"{key}.csv")
            written.append({"key": chart.key, "title": chart.title, "files": names})
    return {"schema_version": 1, "part": subject.part, "to": str(to), "figures": written}


Evaluated = list[tuple[str, Predictions, dict[str, Any]]]


def _evaluated(
    source: Path, split: str | None, malignant: tuple[str, ...], data: Path | None,
    progress: Progress,
) -> tuple[Subject, Evaluated]:  # fmt: skip
    if not source.is_dir():
        subject = of_table(source, TableReading(), split, malignant, data, None)
        measured = evaluate_predictions(
            subject.predictions,
            malignant=subject.malignant,
            resampling=Resampling(progress=progress),
        )
        return subject, [(subject.part, subject.predictions, measured.to_json())]
    run, part = read_run(source), split or "valid"
    if not run.metrics_path(part).is_file() or not is_current(run, part):
        option = f" --split {part}" if part != "valid" else ""
        raise BadInput(
            f"split '{part}' has not been evaluated",
            where=str(source),
            remedy=f"run: lesionlab evaluate {source}{option}",
        )
    subject = of_run(source, part, data, None, progress)
    names = [part, *(n for n, _ in subject.beside if run.metrics_path(n).is_file())]
    known = {part: subject.predictions, **dict(subject.beside)}
    return subject, [(n, known[n], files.read_json(run.metrics_path(n))) for n in names]


def _converters(formats: Sequence[str]) -> dict[str, Callable[[str], bytes]]:
    unknown = [f for f in formats if f not in FORMATS]
    if unknown or not formats:
        name = unknown[0] if unknown else ""
        raise BadInput(f"no format '{name}'", where="--format", remedy=nearest(name, FORMATS))
    if set(formats) == {"svg"}:
        return {"svg": _svg}
    extras.need("figures", "PNG or PDF", "--format", "SVG needs no extra")
    import vl_convert

    known: dict[str, Callable[[str], bytes]] = {
        "svg": _svg,
        "png": lambda svg: bytes(vl_convert.svg_to_png(svg, scale=PNG_SCALE)),
        "pdf": lambda svg: bytes(vl_convert.svg_to_pdf(svg)),
    }
    return {name: known[name] for name in dict.fromkeys(formats)}


def _svg(svg: str) -> bytes:
    return svg.encode("utf-8")
