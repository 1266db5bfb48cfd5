"""lesionlab: from a pile of lesion images to a classifier whose every number can be trusted.

Each verb of the command line is one function here, loaded when it is first asked for, so that
`import lesionlab` costs next to nothing:

    import lesionlab

    lesionlab.split("data/ham", test=0.2, valid=0.15)
    run = lesionlab.train("data/ham", preset="ham10000-mobilenetv2-frozen", out="runs/ham")

Research use only: it is not a medical device and gives no advice to a patient.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.1.0"

# MKL takes other instructions for an array at an odd address, so that two equal runs could differ
# in the last bit. Asked for before anything loads it: docs/decisions/0082.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

# Large arrays on large pages, which torch asks for only where this is set: docs/decisions/0084.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# verb -> the module that holds the function of this name; the order is the user's path.
_VERBS = {
    "demo": "lesionlab.api.demo",
    "download": "lesionlab.api.download",
    "import_dataset": "lesionlab.api.import_dataset",
    "show": "lesionlab.api.show",
    "audit": "lesionlab.api.audit",
    "split": "lesionlab.api.split",
    "merge": "lesionlab.api.merge",
    "join": "lesionlab.api.join",
    "list_models": "lesionlab.api.models",
    "presets": "lesionlab.api.presets",
    "inflation": "lesionlab.api.inflation",
    "train": "lesionlab.api.train",
    "resume": "lesionlab.api.train",
    "repeat": "lesionlab.api.repeat",
    "tune": "lesionlab.api.tune",
    "ensemble": "lesionlab.api.ensemble",
    "reproductions": "lesionlab.api.reproduce",
    "describe_model": "lesionlab.api.models",
    "lr_find": "lesionlab.api.lr_find",
    "augmentations": "lesionlab.api.augmentations",
    "evaluate": "lesionlab.api.evaluate",
    "explain": "lesionlab.api.explain",
    "figures": "lesionlab.api.figures",
    "compare": "lesionlab.api.compare",
    "readers": "lesionlab.api.readers",
    "score": "lesionlab.api.score",
    "submit": "lesionlab.api.submit",
    "export": "lesionlab.api.export",
    "predict": "lesionlab.api.predict",
    "serve": "lesionlab.api.serve",
    "verify": "lesionlab.api.verify",
}
__all__ = ["__version__", *_VERBS]


def __getattr__(name: str) -> Any:
    if name not in _VERBS:
        raise AttributeError(f"module 'lesionlab' has no attribute '{name}'")
    function = getattr(importlib.import_module(_VERBS[name]), name)
    # The result is the same dictionary, but a notebook shows it as a table.
    return importlib.import_module("lesionlab.reporting.results").as_result(function)


def __dir__() -> list[str]:
    return sorted(__all__)
