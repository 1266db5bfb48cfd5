"""`lesionlab.evaluate`: every number of a run, of a predictions table, or of arrays."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

from lesionlab.api.evaluate_arrays import CalibratingArrays, Part, Prior, evaluate_arrays
from lesionlab.api.evaluate_stored import Source, evaluate_stored
from lesionlab.errors import BadInput
from lesionlab.evaluation.arrays import Array
from lesionlab.evaluation.from_arrays import Groups, Label
from lesionlab.evaluation.policies import DEFAULT_ALPHA
from lesionlab.evaluation.units import Unit
from lesionlab.progress import SILENT, Progress
from lesionlab.reporting.array_evaluation import ArrayEvaluation


@overload
def evaluate(
    source: Source,
    *,
    truth: Path | str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    score_column: str | None = None,
    positive: str | None = None,
    classes: Sequence[str] = (),
    logits: bool = False,
    matching_only: bool = False,
    split: str | None = None,
    malignant: Sequence[str] = (),
    unit: Unit = "image",
    ordered: bool = False,
    policy: str | None = None,
    target: float | None = None,
    threshold: float | None = None,
    point: bool = False,
    calib: Path | str | None = None,
    calibration: str | None = None,
    sets: str | None = None,
    alpha: float = DEFAULT_ALPHA,
    rare: Literal["refuse", "include"] = "refuse",
    prevalences: Sequence[float] = (),
    data: Path | str | None = None,
    out: Path | str | None = None,
    lang: str = "en",
    images: bool = True,
    readers: Sequence[Path | str] = (),
    published: bool = False,
    on: Path | str | None = None,
    resamples: int = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]: ...


@overload
def evaluate(
    *,
    y_true: Array,
    y_prob: Array,
    classes: Sequence[Label] | None = None,
    groups: Groups | None = None,
    positive: Label | Sequence[Label] | None = None,
    image_ids: Array | None = None,
    prior: Prior | None = None,
    split: Part | None = None,
    unit: Unit = "image",
    ordered: bool = False,
    policy: str | None = None,
    target: float | None = None,
    threshold: float | None = None,
    calib: CalibratingArrays | None = None,
    calibration: str | None = None,
    sets: str | None = None,
    alpha: float = DEFAULT_ALPHA,
    rare: Literal["refuse", "include"] = "refuse",
    prevalences: Sequence[float] = (),
    title: str = "arrays",
    resamples: int = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> ArrayEvaluation: ...


def evaluate(source: Source | None = None, **options: Any) -> dict[str, Any] | ArrayEvaluation:
    """Measure a run, a predictions CSV, or labels and probabilities in arrays, with intervals.

    `evaluate(source)` measures a run folder or a predictions CSV, writes `report.html` and the
    metrics, and returns a dictionary; `api.evaluate_stored` has its options.
    `evaluate(y_true=..., y_prob=...)` measures arrays, writes nothing, and returns an object.
    Both run through the same code: the same data give the same numbers.

    Parameters
    ----------
    y_true : (N,) labels
        Names, numbers or booleans; NumPy, pandas, polars, torch (any device), or a list. Missing
        (None, NaN, "") means not known: such cases are left out and counted. With `classes` given
        by name, whole numbers are class numbers from 0.
    y_prob : (N,) or (N, K) probabilities in [0, 1]
        (N,): of `positive`. (N, K): rows sum to 1; the columns of a table are read by name, as
        `classes` or `prob_<class>`, not by position.
    classes : K names, optional
        In the order of the columns. Default: the table's columns; else the sorted labels, as in
        scikit-learn.
    groups : (N,) ids, or a mapping or table with `patient_id` and `lesion_id`, optional
        A plain column holds patients, unless it is named `lesion_id`. Intervals resample whole
        groups. A case without an id is a group of its own; without `groups` every case is.
    positive : a class, or several, optional
        Whose probabilities are summed: the malignant classes. Default: by the taxonomy where it
        knows all classes; of two numbered classes the greater; it must be given where y_prob is
        one column and neither says.
    image_ids : (N,) ids, optional
        By which the report names a case. Default: row numbers.
    prior : K shares that sum to 1, or a mapping by class, optional
        The prevalence at which the probabilities hold; for the prior-corrected decision.
    split : "valid", "calib", "test" or "train", optional
        Which part the cases are. A threshold is chosen on "valid" or "calib" only.
    unit : "image", "lesion" or "patient"
        What one case is.
    ordered : bool
        Whether the classes are grades, in the order of `classes`; for quadratic weighted kappa.
    policy, target, threshold : optional
        The operating point, as on the command line (docs/evaluation.md).
    calib : mapping of `y_true`, `y_prob`, `groups`, `image_ids`, optional
        Other cases: a threshold is chosen, `calibration` fitted ("temperature", "platt",
        "isotonic", "dirichlet") and `sets` ("lac", "aps", "raps", "none") calibrated on them.
        An isotonic or Dirichlet map is fitted on half of their groups; the other half is left for
        threshold and sets.
    alpha, rare : the share that sets may miss; "refuse" or "include" classes with few groups
    prevalences : further prevalences in (0, 1) for PPV and NPV
    title : the name in the report
    resamples, seed : of the clustered bootstrap

    Returns
    -------
    ArrayEvaluation
        `found.roc_auc.value`, `.low`, `.high` (95 %), `.n`, `.method`; `metrics`, `per_class`,
        `to_frame()`, `to_json()`, `report(path)`.

    Raises
    ------
    BadInput
        For arrays of other lengths or pandas indexes, values that are no probabilities (logits),
        rows that do not sum to 1, labels of no class, and what the command refuses.

    Sources
    -------
    docs/evaluation.md and docs/coverage.md: each interval, its paper, and its simulated coverage.

    Examples
    --------
    >>> import numpy as np, lesionlab
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 200)
    >>> p = np.clip(0.5 + 0.2 * (2 * y - 1) + rng.normal(0, 0.2, 200), 0, 1)
    >>> found = lesionlab.evaluate(y_true=y, y_prob=p, groups=np.arange(200) // 2, resamples=200)
    >>> found.resampled, found.groups, found.n
    ('patient', 100, 200)
    >>> found.roc_auc.low < found.roc_auc.value < found.roc_auc.high
    True
    """
    if source is not None:
        _refuse_arrays(source, options)
        return evaluate_stored(source, **options)
    missing = [name for name in ("y_true", "y_prob") if options.get(name) is None]
    if missing:
        raise BadInput(
            f"{missing[0]} is missing",
            where="evaluate",
            remedy="give a run folder, a predictions CSV, or the arrays y_true= and y_prob=",
        )
    return evaluate_arrays(**options)


def _refuse_arrays(source: object, options: dict[str, Any]) -> None:
    paths = [source] if isinstance(source, str | Path) else source
    if "y_true" in options or "y_prob" in options:
        raise BadInput(
            "both a source and arrays were given", where="evaluate", remedy="give one of the two"
        )
    if not isinstance(paths, list | tuple) or not all(isinstance(p, str | Path) for p in paths):
        raise BadInput(
            f"a source is a path, not a {type(source).__name__}",
            where="evaluate",
            remedy="name the arrays: evaluate(y_true=..., y_prob=...)",
        )


def _options(*functions: Any) -> inspect.Signature:
    """The options of both, for `help` and notebooks; which belong together, the overloads say."""
    found: dict[str, inspect.Parameter] = {}
    for function in functions:
        for name, p in inspect.signature(function).parameters.items():
            absent = p.replace(kind=p.KEYWORD_ONLY, default=None) if p.default is p.empty else p
            found.setdefault(name, absent)
    source = found.pop("source").replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Signature([source, *found.values()])


evaluate.__signature__ = _options(evaluate_stored, evaluate_arrays)  # type: ignore[attr-defined]
