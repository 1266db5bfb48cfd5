"""Record what the official programs say of small tables, as the fixture of the parity tests.

    python scripts/record_official_scores.py [--isic2024 PrimaryMetric-pAUC.py]

Each table is scored by the released `isic-challenge-scoring`, in an environment of its own (it
calls a pandas method that pandas 3 removed), and by MedMNIST's evaluator. The ISIC 2024 metric is
no package: give the file of github.com/ISIC-Research/Challenge-2024-Metrics, else its recorded
numbers are kept. Needs `uv` and a package index; takes about a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FIXTURE = Path(__file__).parents[1] / "tests" / "evaluation" / "challenge" / "official.json"
UV = ["--python", "3.11", "--with", "pandas<2.1", "--with", "numpy<2"]
VERSION = "5.6.0"
METRIC = {"isic2016": "ap", "isic2017": "auc", "isic2020": "auc"}
COLUMNS = {
    "isic2016": ["malignant"],
    "isic2017": ["melanoma", "seborrheic_keratosis"],
    "isic2018": ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"],
    "isic2019": ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"],
    "isic2020": ["target"],
}


@dataclass(frozen=True)
class Case:
    """A truth and a submission as CSV text, with the official program's own header."""

    name: str
    challenge: str
    truth: str
    prediction: str


def table(
    columns: list[str], ids: list[str], values: Any, extra: dict[str, Any] | None = None
) -> str:
    """CSV text: `image`, the columns, then extra columns."""
    extra = extra or {}
    lines = [",".join(["image", *columns, *extra])]
    for i, name in enumerate(ids):
        cells = [repr(float(v)) for v in values[i]] + [repr(float(v[i])) for v in extra.values()]
        lines.append(",".join([name, *cells]))
    return "\n".join(lines) + "\n"


def truth_of(challenge: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """A random truth in which every class occurs; in the binary challenges most rows are 0."""
    k = len(COLUMNS[challenge])
    exclusive = challenge in ("isic2018", "isic2019")
    labels = np.concatenate([np.arange(k + (not exclusive)), rng.integers(0, k + 2, n)])[:n]
    labels = np.where(labels > k - exclusive, 0 if exclusive else k, labels)
    one_hot: np.ndarray = np.eye(k + 1)[rng.permutation(labels)][:, :k]
    return one_hot


def scores(kind: str, truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A submission of the given kind."""
    noise = rng.random(truth.shape)
    if kind == "perfect":
        return np.where(truth == 1, 1.0, 0.25)
    if kind == "constant":
        return np.full(truth.shape, 0.5)
    if kind == "tied":
        return np.round(0.6 * noise + 0.3 * truth, 1)
    if kind == "inverted":
        return np.where(truth == 1, 0.0, 0.75)
    mixed = np.exp(3 * noise + 1.5 * truth)
    probable = mixed / (mixed.sum(axis=1, keepdims=True) + 1)
    return probable if kind == "probable" else np.round(noise, 3)


def scored_cases() -> Iterator[Case]:
    """Tables that the official program scores."""
    kinds = ("random", "probable", "tied", "perfect", "constant", "inverted")
    for challenge, columns in COLUMNS.items():
        for number, kind in enumerate((*kinds, "weighted", "zero-weights", "shuffled")):
            rng = np.random.default_rng([number, len(columns)])
            n = 60 if kind in ("random", "weighted") else 30
            ids = [f"ISIC_{i:07d}" for i in range(n)]
            truth = truth_of(challenge, n, rng)
            score = scores(kind, truth, rng)
            weights: dict[str, Any] = {}
            if kind == "weighted":
                weights = {"score_weight": rng.random(n), "validation_weight": rng.random(n)}
            if kind == "zero-weights":
                kept = np.arange(n) >= n // 3
                kept[[int(np.argmax(truth[:, k])) for k in range(truth.shape[1])]] = True
                weights = {"score_weight": kept, "validation_weight": rng.random(n)}
            order = rng.permutation(n) if kind == "shuffled" else np.arange(n)
            turned = list(reversed(range(len(columns)))) if kind == "shuffled" else None
            suffix = ".JPG" if kind == "shuffled" else ""
            prediction = table(
                [columns[k] for k in turned] if turned else columns,
                [ids[i] + suffix for i in order],
                score[order][:, turned] if turned else score[order],
            )
            yield Case(
                f"{challenge}-{kind}", challenge, table(columns, ids, truth, weights), prediction
            )
    yield from weightless_cases()


def weightless_cases() -> Iterator[Case]:
    """The image of 2018 that counts for nothing; a truth whose weights the program misplaces."""
    columns, rng = COLUMNS["isic2018"], np.random.default_rng(5)
    ids = [f"ISIC_{35050 + i:07d}" for i in range(30)]
    truth = truth_of("isic2018", 30, rng)
    score = scores("probable", truth, rng)
    yield Case(
        "isic2018-weightless", "isic2018", table(columns, ids, truth), table(columns, ids, score)
    )
    weights = {"score_weight": rng.random(30), "validation_weight": rng.random(30)}
    backward = {k: v[::-1] for k, v in weights.items()}
    prediction = table(columns, ids, score)
    reverse = table(columns, ids[::-1], truth[::-1], backward)
    yield Case(
        "isic2018-sorted-weights", "isic2018", table(columns, ids, truth, weights), prediction
    )
    yield Case("isic2018-unsorted-weights", "isic2018", reverse, prediction)


def refused_cases() -> Iterator[Case]:
    """Tables that the official program refuses, or on which it stops."""
    columns, rng = COLUMNS["isic2018"], np.random.default_rng(9)
    ids = [f"ISIC_{i:07d}" for i in range(9)]
    values = truth_of("isic2018", 9, rng)
    truth = table(columns, ids, values)
    good = table(columns, ids, scores("probable", values, rng))
    lines = good.splitlines()

    def edited(*changed: tuple[int, int, str]) -> str:
        cells = [line.split(",") for line in lines]
        for row, column, text in changed:
            cells[row][column] = text
        return "\n".join(",".join(row) for row in cells) + "\n"

    whole = "\n".join(
        [
            lines[0],
            *(
                ",".join([i, "0", *line.split(",")[2:]])
                for i, line in zip(ids, lines[1:], strict=True)
            ),
        ]
    )
    refused = {
        "key": good.replace("image,", "image_id,", 1),
        "duplicate": edited((2, 0, ids[0])),
        "duplicate-by-suffix": edited((2, 0, ids[0] + ".jpg")),
        "missing-column": edited((0, 3, "FOO")),
        "extra-column": "\n".join(
            f"{line},{'X' if i == 0 else 0.5}" for i, line in enumerate(lines)
        ),
        "missing-value": edited((3, 2, "")),
        "short-row": good.replace("," + lines[4].split(",")[-1] + "\n", "\n", 1),
        "word": edited((3, 2, "high")),
        "true": edited(*((row, 2, "True") for row in range(1, 10))),
        "nan": edited((3, 2, "nan")),
        "infinite": edited((3, 2, "inf")),
        "whole-numbers": whole + "\n",
        "above-one": edited((3, 2, "1.01")),
        "negative": edited((3, 2, "-0.001")),
        "decimal-comma": edited((3, 2, '"0,5"')),
        "long-row": edited((3, 2, "0,5")),
        "semicolons": good.replace(",", ";"),
        "missing-image": "\n".join(lines[:-1]) + "\n",
        "extra-image": good + lines[-1].replace(ids[-1], "ISIC_0099999") + "\n",
        "empty": "",
        "header-only": lines[0] + "\n",
    }
    for name, prediction in refused.items():
        yield Case(f"refused-{name}", "isic2018", truth, prediction)
    absent = values.copy()
    absent[absent[:, -1] == 1] = absent[np.argmax(absent[:, 0])]
    yield Case("stops-class-absent", "isic2018", table(columns, ids, absent), good)


# Runs in an environment of its own: the official command line, called in one process.
OFFICIAL = """
import json, pathlib, sys
from click.testing import CliRunner
from isic_challenge_scoring.__main__ import cli
folder, answers = pathlib.Path(sys.argv[1]), []
for case in json.loads((folder / "cases.json").read_text()):
    for name in ("truth", "prediction"):
        (folder / f"{name}.csv").write_text(case[name], encoding="utf-8")
    files = [str(folder / "truth.csv"), str(folder / "prediction.csv")]
    result = CliRunner().invoke(
        cli, ["-o", "json", "classification", *files, "-m", case["metric"]]
    )
    if result.exit_code == 0:
        answers.append({"score": json.loads(result.stdout)})
    elif isinstance(result.exception, SystemExit):
        answers.append({"refusal": result.output.strip().removeprefix("Error: ")})
    else:
        answers.append({"traceback": repr(result.exception)})
print(json.dumps(answers))
"""


def official(folder: Path) -> list[dict[str, Any]]:
    """Every case with what the program prints: a score, a refusal, or its traceback's end."""
    cases = [vars(case) for case in (*scored_cases(), *refused_cases())]
    asked = [c | {"metric": METRIC.get(c["challenge"], "balanced_accuracy")} for c in cases]
    (folder / "cases.json").write_text(json.dumps(asked), encoding="utf-8")
    own = ["uv", "run", "--no-project", *UV, "--with", f"isic-challenge-scoring=={VERSION}"]
    result = subprocess.run(
        [*own, "python", "-W", "ignore", "-c", OFFICIAL, str(folder)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return [c | a for c, a in zip(cases, json.loads(result.stdout), strict=True)]


# Runs in an environment of its own: the evaluator is loaded without its package, which needs torch.
MEDMNIST = """
import importlib.util, json, sys, types
package = types.ModuleType("medmnist"); package.__path__ = [sys.argv[1] + "/medmnist"]
sys.modules["medmnist"] = package
spec = importlib.util.spec_from_file_location("evaluator", sys.argv[1] + "/medmnist/evaluator.py")
evaluator = importlib.util.module_from_spec(spec); spec.loader.exec_module(evaluator)
import numpy as np
answers = []
for case in json.load(open(sys.argv[2])):
    truth, score = np.array(case["truth"]), np.array(case["score"])
    answers.append([evaluator.getAUC(truth, score, case["task"]),
                    evaluator.getACC(truth, score, case["task"])])
print(json.dumps(answers))
"""


def medmnist_cases() -> list[dict[str, Any]]:
    """Labels and scores of each task, with ties, and at the threshold itself."""
    rng = np.random.default_rng(3)
    binary = rng.integers(0, 2, (30, 1))
    several = np.concatenate([np.arange(4), rng.integers(0, 4, 26)])[:, None]
    many = rng.integers(0, 2, (30, 5))
    two = np.round(rng.random((30, 1)), 1)
    return [
        {
            "name": "binary-two",
            "task": "binary-class",
            "truth": binary,
            "score": np.c_[1 - two, two],
        },
        {
            "name": "binary-one",
            "task": "binary-class",
            "truth": binary,
            "score": rng.random((30, 1)),
        },
        {"name": "several", "task": "multi-class", "truth": several, "score": rng.random((30, 4))},
        {
            "name": "several-tied",
            "task": "multi-class",
            "truth": several,
            "score": np.round(rng.random((30, 4)), 1),
        },
        {
            "name": "many",
            "task": "multi-label, binary-class",
            "truth": many,
            "score": np.round(rng.random((30, 5)), 1),
        },
    ]


def medmnist(folder: Path) -> list[dict[str, Any]]:
    """The cases with what MedMNIST's evaluator says of them."""
    cases = [
        {**c, "truth": c["truth"].tolist(), "score": c["score"].tolist()} for c in medmnist_cases()
    ]
    asked = folder / "cases.json"
    asked.write_text(json.dumps(cases), encoding="utf-8")
    target = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), "medmnist"]
    subprocess.run(target, check=True)
    program = ["uv", "run", "--no-project", "--python", "3.11", "--with", "scikit-learn", "--with"]
    result = subprocess.run(
        [*program, "pandas", "python", "-c", MEDMNIST, str(folder), str(asked)],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    answers = json.loads(result.stdout)
    return [c | {"auc": a, "accuracy": b} for c, (a, b) in zip(cases, answers, strict=True)]


def isic2024(program: Path) -> list[dict[str, Any]]:
    """Random, tied, perfect, constant and inverted tables with their partial AUC."""
    space: dict[str, Any] = {}
    exec(compile(program.read_text(encoding="utf-8"), str(program), "exec"), space)
    cases = []
    for number, kind in enumerate(
        ("random", "probable", "tied", "perfect", "constant", "inverted")
    ):
        rng = np.random.default_rng([24, number])
        truth = truth_of("isic2020", 50, rng)
        score = scores(kind, truth, rng)
        value = space["p_auc_tpr"](truth[:, 0], score[:, 0], min_tpr=0.8)
        cases.append(
            {
                "name": kind,
                "truth": truth[:, 0].tolist(),
                "score": score[:, 0].tolist(),
                "partial_auc": float(value),
            }
        )
    return cases


def main() -> None:
    """Run every case and write the fixture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isic2024", type=Path, help="PrimaryMetric-pAUC.py of the organisers")
    options = parser.parse_args()
    before = json.loads(FIXTURE.read_text(encoding="utf-8")) if FIXTURE.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fixture = {
            "isic-challenge-scoring": VERSION,
            "package": official(folder),
            "medmnist": medmnist(folder),
            "isic2024": isic2024(options.isic2024) if options.isic2024 else before.get("isic2024"),
        }
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    FIXTURE.write_text(json.dumps(fixture, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
