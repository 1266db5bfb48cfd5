"""lesionlab: from a pile of lesion images to a classifier whose every number can be trusted.

Each verb of the command line is one function here, loaded when it is first asked for, so that
`import lesionlab` costs next to nothing, sets no environment variable and touches no seed:

    import lesionlab

    lesionlab.split("data/ham", test=0.2, valid=0.15)
    run = lesionlab.train("data/ham", preset="ham10000-mobilenetv2-frozen", out="runs/ham")

Research use only: it is not a medical device and gives no advice to a patient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

# verb -> the module that holds the function of this name; the order is the user's path.
_VERBS = {
    "demo": "lesionlab.api.demo",
    "download": "lesionlab.api.download",
    "import_dataset": "lesionlab.api.import_dataset",
    "show": "lesionlab.api.show",
    "audit": "lesionlab.api.audit",
    "split": "lesionlab.api.split",
    "merge": "lesionlab.api.merge",
    "subset": "lesionlab.api.subset",
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
_MODULES = ("stats",)
__all__ = ["__version__", *_VERBS, *_MODULES]

if TYPE_CHECKING:  # the same table for type checkers and editors, which cannot follow it
    from lesionlab import stats as stats
    from lesionlab.api.audit import audit as audit
    from lesionlab.api.augmentations import augmentations as augmentations
    from lesionlab.api.compare import compare as compare
    from lesionlab.api.demo import demo as demo
    from lesionlab.api.download import download as download
    from lesionlab.api.ensemble import ensemble as ensemble
    from lesionlab.api.evaluate import evaluate as evaluate
    from lesionlab.api.explain import explain as explain
    from lesionlab.api.export import export as export
    from lesionlab.api.figures import figures as figures
    from lesionlab.api.import_dataset import import_dataset as import_dataset
    from lesionlab.api.inflation import inflation as inflation
    from lesionlab.api.join import join as join
    from lesionlab.api.lr_find import lr_find as lr_find
    from lesionlab.api.merge import merge as merge
    from lesionlab.api.models import describe_model as describe_model
    from lesionlab.api.models import list_models as list_models
    from lesionlab.api.predict import predict as predict
    from lesionlab.api.presets import presets as presets
    from lesionlab.api.readers import readers as readers
    from lesionlab.api.repeat import repeat as repeat
    from lesionlab.api.reproduce import reproductions as reproductions
    from lesionlab.api.score import score as score
    from lesionlab.api.serve import serve as serve
    from lesionlab.api.show import show as show
    from lesionlab.api.split import split as split
    from lesionlab.api.submit import submit as submit
    from lesionlab.api.subset import subset as subset
    from lesionlab.api.train import resume as resume
    from lesionlab.api.train import train as train
    from lesionlab.api.tune import tune as tune
    from lesionlab.api.verify import verify as verify
else:

    def __getattr__(name: str) -> object:
        import importlib

        if name in _MODULES:
            return importlib.import_module(f"lesionlab.{name}")
        if name not in _VERBS:
            raise AttributeError(f"module 'lesionlab' has no attribute '{name}'")
        from lesionlab import numerics

        numerics.ask_before_loading()
        function = getattr(importlib.import_module(_VERBS[name]), name)
        # The result is the same dictionary, but a notebook shows it as a table.
        return importlib.import_module("lesionlab.reporting.results").as_result(function)


def __dir__() -> list[str]:
    return sorted(__all__)
