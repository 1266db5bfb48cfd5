"""How fast is an evaluation, against a loop over scikit-learn, and up to 400,000 images?

    python bench/evaluation_speed.py            # prints
    python bench/evaluation_speed.py --write    # and writes docs/benchmarks-evaluation.md

Synthetic predictions in the proportions of HAM10000 (7 classes, 1.34 images a lesion). Each size
runs in a process of its own, so that its peak memory can be read. CPU seconds are those of the
process; the wall time depends on what else the machine does and is given beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab import files
from lesionlab.evaluation.bootstrap import Resampling, bootstrap, draw_counts
from lesionlab.evaluation.evaluate import cases_of, evaluate_predictions
from lesionlab.evaluation.operating_point import choose_operating_point
from lesionlab.evaluation.predictions import Predictions
from lesionlab.evaluation.statistics import Statistics

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks-evaluation.md"
CLASSES = ("nv", "mel", "bkl", "bcc", "akiec", "vasc", "df")
MALIGNANT = ("mel", "bcc", "akiec")
PRIOR = np.array([6705, 1113, 1099, 514, 327, 142, 115]) / 10015
SIZES = (10015, 50000, 100000, 400000)
RESAMPLES, LOOPS = 2000, 5


def predictions(n: int, seed: int = 0) -> Predictions:
    """`n` images of `0.746 n` lesions."""
    generator = np.random.default_rng(seed)
    groups = int(n * 0.746)
    code = np.concatenate([np.arange(groups), generator.integers(0, groups, n - groups)])
    y_true = generator.choice(7, groups, p=PRIOR)[code]
    z = generator.normal(size=(groups, 7))[code] + generator.normal(size=(n, 7)) + np.log(PRIOR)
    z[np.arange(n), y_true] += 2.5
    y_prob = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    names = np.array([f"i{i}" for i in range(n)], dtype=object)
    lesions = np.array([f"L{c}" for c in code], dtype=object)
    blank = np.full(n, "", dtype=object)
    return Predictions(names, blank, lesions, CLASSES, y_true.astype(np.int64), y_prob)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def whole(n: int) -> dict[str, float]:
    """One full evaluation: all metrics, curves with bands, an operating point."""
    data = predictions(n)
    point = choose_operating_point(data, score=MALIGNANT, chosen_on="valid")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, wall = timed(
        lambda: evaluate_predictions(
            data,
            malignant=MALIGNANT,
            prior=PRIOR,
            operating_points=[point],
            resampling=Resampling(RESAMPLES),
        )
    )
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"n": n, "cpu": cpu, "wall": wall, "memory": (after - before) / 1024}


def loop(n: int) -> dict[str, float]:
    """The same metrics for all replicates, ours, and replicate by replicate by scikit-learn."""
    cases = cases_of(predictions(n), MALIGNANT, PRIOR)
    statistics = Statistics(cases, bands=False)
    ours, ours_wall = timed(lambda: bootstrap(statistics, cases.n_groups, resamples=RESAMPLES))
    counts = draw_counts(np.random.default_rng(0), LOOPS, cases.n_groups)
    found = statistics(counts)
    for b in range(LOOPS):
        for name, value in by_scikit_learn(cases, counts[b]).items():
            if abs(found[name][b] - value) > 1e-9:
                raise SystemExit(f"{name}: {found[name][b]} is not {value}")
    theirs, theirs_wall = timed(lambda: [by_scikit_learn(cases, row) for row in counts])
    scale = RESAMPLES / LOOPS
    return {
        "n": n,
        "ours": ours,
        "ours_wall": ours_wall,
        "theirs": theirs * scale,
        "theirs_wall": theirs_wall * scale,
        "ratio": theirs * scale / ours,
    }


def by_scikit_learn(c: Any, counts: np.ndarray) -> dict[str, float]:
    """One replicate, its images drawn and measured by scikit-learn's functions."""
    from sklearn import metrics as sk

    rows = np.repeat(np.arange(len(c.codes)), counts[c.codes].astype(int))
    truth, called, prob = c.y_true[rows], c.y_pred[rows], c.y_prob[rows]
    result = {
        "accuracy": sk.accuracy_score(truth, called),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, called),
        "balanced_accuracy_prior_corrected": sk.balanced_accuracy_score(
            truth, c.y_pred_corrected[rows]
        ),
        "mcc": sk.matthews_corrcoef(truth, called),
        "kappa": sk.cohen_kappa_score(truth, called),
        "f1_macro": sk.f1_score(truth, called, average="macro"),
        "nll": sk.log_loss(truth, prob),
        "brier": sk.brier_score_loss(truth, prob),
    }
    for name, (positive, score) in c.scores.items():
        y, s = positive[rows], score[rows]
        result[f"roc_auc:{name}"] = sk.roc_auc_score(y, s)
        result[f"average_precision:{name}"] = sk.average_precision_score(y, s)
        if name in c.full:
            fpr, tpr, _ = sk.roc_curve(y, s)
            scaled = sk.roc_auc_score(~y, -s, max_fpr=0.2)
            result[f"partial_auc_80:{name}"] = 0.02 + 0.18 * (scaled - 0.5) / 0.5
            for at in (80, 90, 95):
                share = at / 100
                result[f"sensitivity_at_specificity_{at}:{name}"] = tpr[fpr <= 1 - share].max()
                result[f"specificity_at_sensitivity_{at}:{name}"] = (
                    1 - fpr[tpr >= share - 1e-12].min()
                )
    return result


def apart(job: str, n: int) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, __file__, "--job", job, "--n", str(n)],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env=environment,
    )
    return json.loads(done.stdout)


def page(grown: list[dict[str, float]], ratio: dict[str, float], load: float) -> str:
    """The Markdown of docs/benchmarks-evaluation.md."""
    rows = "\n".join(
        f"| {r['n']:,.0f} | {r['cpu']:.1f} | {r['wall']:.1f} | {r['memory']:.0f} |" for r in grown
    )
    cores = os.cpu_count()
    return f"""# How fast an evaluation is

Written by `python bench/evaluation_speed.py --write` on {platform.machine()} with {cores} cores,
numpy {np.__version__}, while other work loaded the machine (1-minute load {load:.1f}), so that
CPU seconds say more than wall seconds. Synthetic predictions, 7 classes, 1.34 images a lesion.

## The whole of `evaluate_predictions`
All metrics, of every class and of malignant v benign, {RESAMPLES:,} resamples of the lesions,
all curves with bands, one operating point.

| images | CPU s | wall s | memory above the start, MB |
|---:|---:|---:|---:|
{rows}

## Against a loop over scikit-learn
The same metrics of {ratio["n"]:,.0f} images for {RESAMPLES:,} replicates (accuracy, balanced
accuracy twice, MCC, kappa, macro F1, log loss, Brier, AUC and average precision of 8 scores,
partial AUC, three sensitivities at a specificity and the reverse). The loop ran {LOOPS} replicates
and is scaled up; its values were checked against ours to 1e-9.

| | CPU s | wall s |
|---|---:|---:|
| ours | {ratio["ours"]:.2f} | {ratio["ours_wall"]:.2f} |
| scikit-learn, one replicate after the other | {ratio["theirs"]:.0f} | {ratio["theirs_wall"]:.0f} |

**{ratio["ratio"]:.0f} times** less CPU time.
"""


def main() -> None:
    """Measure, print, and write the page on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks-evaluation.md")
    parser.add_argument("--job", choices=("whole", "loop"), help=argparse.SUPPRESS)
    parser.add_argument("--n", type=int, default=SIZES[0], help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    if options.job:
        print(json.dumps({"whole": whole, "loop": loop}[options.job](options.n)))
        return
    load = os.getloadavg()[0]
    grown = [apart("whole", n) for n in SIZES]
    text = page(grown, apart("loop", SIZES[0]), load)
    print(text)
    if options.write:
        files.write_text(PAGE, text)


if __name__ == "__main__":
    main()
