"""What each challenge's files look like, as one table: columns, keys, who judges, by what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lesionlab.errors import BadInput, nearest

Primary = Literal["average_precision", "roc_auc", "balanced_accuracy", "partial_auc_80"]
Judge = Literal["isic-challenge-scoring", "Kaggle", "Udacity", "MedMNIST"]
WEIGHTS = ("score_weight", "validation_weight")


@dataclass(frozen=True)
class Format:
    """The files of one challenge.

    `columns` are the scores of a submission, in its order; `keys` the id columns that a file may
    have (the first is the official one). `header` is False where the official files have none.
    `positional`: the judge pairs the rows by place, so their order matters. `exclusive`: a truth
    row marks exactly one class. `remainder`: diagnoses of the taxonomy without a column: what is
    left over. `malignant`: the class whose confusion matrix is shown.
    """

    name: str
    title: str
    judge: Judge
    primary: Primary
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    malignant: str
    header: bool = True
    truth_columns: tuple[str, ...] = ()
    exclusive: bool = False
    positional: bool = False
    remainder: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The id column of a submission."""
        return self.keys[0]

    @property
    def strict(self) -> bool:
        """Whether the judge is the official package, with its refusals."""
        return self.judge == "isic-challenge-scoring"

    @property
    def of_isic(self) -> bool:
        """Whether ids may end in `.jpg`, and the official package's table is shown."""
        return self.judge != "Udacity"

    @property
    def truth(self) -> tuple[str, ...]:
        """The truth's columns, in the order of `columns`."""
        return self.truth_columns or self.columns


_ISIC2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_ISIC2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format(
            "isic2016",
            "ISIC 2016 part 3, melanoma",
            "isic-challenge-scoring",
            "average_precision",
            ("image", "image_id", "id"),
            ("malignant",),
            "malignant",
            header=False,
        ),
        Format(
            "isic2017",
            "ISIC 2017 part 3, melanoma and seborrheic keratosis",
            "isic-challenge-scoring",
            "roc_auc",
            ("image_id", "image"),
            ("melanoma", "seborrheic_keratosis"),
            "melanoma",
            remainder=("NV",),
        ),
        Format(
            "udacity",
            "Dermatologist AI (ISIC 2017 part 3)",
            "Udacity",
            "roc_auc",
            ("Id",),
            ("task_1", "task_2"),
            "task_1",
            positional=True,
            remainder=("NV",),
        ),
        Format(
            "isic2018",
            "ISIC 2018 task 3, seven classes",
            "isic-challenge-scoring",
            "balanced_accuracy",
            ("image", "lesion_id"),
            _ISIC2018,
            "MEL",
            exclusive=True,
        ),
        Format(
            "isic2019",
            "ISIC 2019, eight classes and unknown",
            "isic-challenge-scoring",
            "balanced_accuracy",
            ("image", "lesion_id"),
            _ISIC2019,
            "MEL",
            exclusive=True,
        ),
        Format(
            "isic2020",
            "ISIC 2020, melanoma",
            "Kaggle",
            "roc_auc",
            ("image_name", "image"),
            ("target",),
            "target",
        ),
        Format(
            "isic2024",
            "ISIC 2024, malignant lesions in 3D total body photographs",
            "Kaggle",
            "partial_auc_80",
            ("isic_id",),
            ("target",),
            "target",
            truth_columns=("malignant",),
        ),
    )
}
CHALLENGES = (*FORMATS, "medmnist")


def format_of(name: str) -> Format:
    """The format by its name; `BadInput` names the nearest one.

    >>> format_of("isic2018").key
    'image'
    """
    if name not in FORMATS:
        raise BadInput(f"no challenge format '{name}'", remedy=nearest(name, FORMATS))
    return FORMATS[name]
