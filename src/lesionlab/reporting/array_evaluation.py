"""What `lesionlab.evaluate` returns for arrays: every number by its name, as table, JSON, page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lesionlab.errors import BadInput, nearest
from lesionlab.evaluation.evaluate import Evaluation
from lesionlab.evaluation.intervals import Measure
from lesionlab.evaluation.metric_table import HeadlineMeasures
from lesionlab.evaluation.sections import PointResult
from lesionlab.reporting.content import ReportContent
from lesionlab.reporting.language import language
from lesionlab.reporting.report import write_report
from lesionlab.reporting.results import Result

COLUMNS = ("value", "low", "high", "n", "method")
ONLY_FOR_TWO = "given for two classes only; for more classes see `malignant_v_benign`"


@dataclass(frozen=True, repr=False, eq=False)
class ArrayEvaluation(HeadlineMeasures):
    """Everything measured on arrays; each measure has `value`, `low`, `high`, `n` and `method`.

    A metric of `metrics` is an attribute too: `found.roc_auc.low`. `evaluation` holds the whole
    (docs/evaluation.md), `conformal` the measured sets (None without data that calibrate them),
    `notes` what to know before believing the numbers, `content` what the report shows.
    """

    evaluation: Evaluation
    conformal: dict[str, Any] | None
    notes: tuple[str, ...]
    content: ReportContent

    if not TYPE_CHECKING:  # type checkers know the names of `HeadlineMeasures` and no other

        def __getattr__(self, name: str) -> Measure:
            if name.startswith("_") or name in (f.name for f in fields(ArrayEvaluation)):
                raise AttributeError(name)  # while it is being copied or unpickled
            if name in self.metrics:
                return self.metrics[name]
            known = [*self.metrics, *(n for n in dir(type(self)) if not n.startswith("_"))]
            hint = (
                ONLY_FOR_TWO if name in HeadlineMeasures.__annotations__ else nearest(name, known)
            )
            raise AttributeError(f"no metric '{name}'; {hint}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.metrics})

    @property
    def n(self) -> int:
        """Labelled cases."""
        return self.evaluation.n

    @property
    def groups(self) -> int:
        """How many groups were resampled; of which kind is in `resampled`."""
        return self.evaluation.groups

    @property
    def resampled(self) -> str:
        """The unit that was resampled: patient, lesion, image, or mixed."""
        return self.evaluation.resampled

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the columns of probabilities."""
        return self.evaluation.classes

    @property
    def metrics(self) -> Mapping[str, Measure]:
        """The headline, by name."""
        return self.evaluation.metrics

    @property
    def per_class(self) -> Mapping[str, Mapping[str, Measure]]:
        """Class -> metric -> measure, each class against the rest."""
        return self.evaluation.per_class

    @property
    def malignant_v_benign(self) -> Mapping[str, Measure] | None:
        """The positive classes' summed score against the other classes; None without any."""
        return self.evaluation.malignant_v_benign

    @property
    def operating_points(self) -> list[PointResult]:
        """Each locked point: as chosen, and what it shows here."""
        return self.evaluation.operating_points

    def to_frame(self, *, per_class: bool = False) -> pd.DataFrame:
        """One row a metric with `value`, `low`, `high`, `n`, `method`; NaN where there is none.

        `per_class`: one row a class and metric instead.
        """
        rows: dict[Any, Measure] = dict(self.metrics)
        if per_class:
            rows = {(c, k): m for c, found in self.per_class.items() for k, m in found.items()}
        cells = [[getattr(m, column) for column in COLUMNS] for m in rows.values()]
        names = ["class", "metric"] if per_class else ["metric"]
        index = pd.MultiIndex.from_tuples(rows) if per_class else pd.Index(list(rows))
        frame = pd.DataFrame(cells, index=index.set_names(names), columns=list(COLUMNS))
        return frame.astype({"value": float, "low": float, "high": float})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: what the command writes into `metrics.json`."""
        return {**self.evaluation.to_json(), "conformal": self.conformal}

    def report(self, path: Path | str, lang: str = "en") -> Path:
        """Write the HTML report, and beside it its JSON twin; returns the path of the page.

        A folder gets a `report.html`. `lang` is en or zh.
        """
        if not isinstance(lang, str):
            raise BadInput("it is no text", where="lang", remedy="give 'en' or 'zh'")
        language(lang)  # before anything is written
        try:
            page = _page(path)
            page.parent.mkdir(parents=True, exist_ok=True)
            write_report(page, self.content, lang)
        except OSError as error:
            raise BadInput(
                f"cannot be written ({error.strerror})", where=str(path), remedy="choose another"
            ) from None
        return page

    def __repr__(self) -> str:
        lines = [
            f"ArrayEvaluation of {self.n} cases, {self.groups} groups ({self.resampled}), "
            f"{len(self.classes)} classes; 95 % confidence intervals"
        ]
        lines += [f"  {name}: {_said(m)}" for name, m in self.metrics.items()]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        shown = {"n": self.n, "resampled": self.resampled, "groups": self.groups}
        metrics = {name: m.to_json() for name, m in self.metrics.items()}
        return Result({**shown, **metrics, "notes": list(self.notes)})._repr_html_()


def _page(path: object) -> Path:
    """Where a report goes: an .html file, or a folder, which gets a report.html."""
    if not isinstance(path, str | Path) or not str(path) or "\0" in str(path):
        raise BadInput(
            f"a {type(path).__name__} is no place for a report",
            where="report",
            remedy="give a file such as 'report.html', or a folder",
        )
    page = Path(path)
    if page.is_dir() or not page.suffix:
        return page / "report.html"
    if page.suffix.lower() not in (".html", ".htm"):
        raise BadInput(
            f"a report is a page of HTML, not '{page.suffix}'",
            where=str(path),
            remedy=f"name it {page.with_suffix('.html').name}; a browser prints it as PDF",
        )
    return page


def _said(m: Measure) -> str:
    if m.value is None:
        return m.method
    if m.low is None or m.high is None:
        return f"{m.value:.3f} ({m.method})"
    return f"{m.value:.3f} ({m.low:.3f} to {m.high:.3f})"
