"""What is evaluated: predictions, and all that is known of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lesionlab.array_types import Floats
from lesionlab.data.manifest import Dataset
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.wording import Wording, option
from lesionlab.run_folder import Run


@dataclass(frozen=True)
class Subject:
    """A split of a run, or a table of predictions, with everything known about it."""

    title: str
    part: str
    predictions: Predictions
    out: Path
    malignant: tuple[str, ...] = ()
    prior: Floats | None = None
    dataset: Dataset | None = None
    run: Run | None = None
    beside: tuple[tuple[str, Predictions], ...] = ()
    chooser: tuple[str, Predictions] | None = None  # the part on which a threshold may be chosen
    advice: str = ""  # what else to do where the chooser holds too few groups
    provenance: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    mapping: tuple[str, ...] = ()  # of a table: which column was taken for what
    wording: Wording = option  # how messages call an option: as its caller writes it
