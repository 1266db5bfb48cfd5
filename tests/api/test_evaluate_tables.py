"""Tables as other software writes them: the numbers, the mapping, and commands that work."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lesionlab
from lesionlab.cli.main import run
from lesionlab.errors import BadInput

N = 60
RNG = np.random.default_rng(7)
CLASSES = ("bcc", "bkl", "mel", "nv")
Y = RNG.integers(0, 4, N)
Z = RNG.normal(0, 1, (N, 4)) + 1.5 * np.eye(4)[Y]
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
ACCURACY = float((P.argmax(axis=1) == Y).mean())
MALIGNANT = np.isin(Y, (0, 2))
P_MALIGNANT = P[:, 0] + P[:, 2]
IDS = [f"ISIC_{k:07d}" for k in range(N)]
WORDS = {"bcc": "basal cell carcinoma", "bkl": "seborrheic keratosis", "mel": "Melanoma",
         "nv": "nevus"}  # fmt: skip
DX = [CLASSES[k] for k in Y]
FAST = {"resamples": 100, "images": False}


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """By its definition: the share of pairs that are ranked right."""
    pairs = score[positive][:, None] - score[~positive][None, :]
    return float((pairs > 0).mean() + (pairs == 0).mean() / 2)


def save(path: Path, **columns: object) -> str:
    pd.DataFrame(columns).to_csv(path, index=False)
    return str(path)


@pytest.fixture
def truth(tmp_path: Path) -> str:
    return save(tmp_path / "truth.csv", image_id=IDS, dx=[WORDS[d] for d in DX])


def commands(error: BadInput) -> list[list[str]]:
    """The commands that a refusal prints, as a shell would pass them."""
    found = str(error).split("lesionlab ")[1:]
    return [shlex.split(c.split(";")[0]) for c in found]


def table(tmp_path: Path, names: tuple[str, ...] = CLASSES, values: np.ndarray = P) -> str:
    scores = {name: values[:, k] for k, name in enumerate(names)}
    return save(tmp_path / "p.csv", filename=[f"{d}/{i}.jpg" for d, i in zip(DX, IDS, strict=True)],
                **scores)  # fmt: skip


@pytest.mark.parametrize(
    "names", [CLASSES, ("BCC", "BKL", "MEL", "NV"), tuple(f"p_{c}" for c in CLASSES)]
)
def test_class_folders_and_words_of_the_diagnosis(
    tmp_path: Path, truth: str, names: tuple[str, ...]
) -> None:
    result = lesionlab.evaluate(table(tmp_path, names), truth=truth, **FAST)
    assert result["metrics"]["accuracy"]["value"] == pytest.approx(ACCURACY)
    assert result["mapping"][:2] == ["truth: truth.csv:dx", "image: filename"]
    assert f"probability of {names[0].removeprefix('p_')}: {names[0]}" in result["mapping"]


def test_the_refusal_of_numbered_columns_prints_a_command_that_works(
    tmp_path: Path, truth: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = save(Path(truth), image_id=IDS, dx=DX)
    with pytest.raises(BadInput) as caught:
        lesionlab.evaluate(table(tmp_path, ("0", "1", "2", "3")), truth=words, **FAST)
    (arguments,) = commands(caught.value)
    assert run([*arguments, "--resamples", "100", "--no-images"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Read as: truth: truth.csv:dx; image: filename; probability of bcc: 0")
    assert run([*arguments, "--resamples", "100", "--no-images", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["metrics"]["accuracy"]["value"] == pytest.approx(ACCURACY)


def test_both_commands_of_an_answer_with_its_confidence_work(tmp_path: Path) -> None:
    called = np.where(P_MALIGNANT >= 0.5, "malignant", "benign")
    confidence = np.maximum(P_MALIGNANT, 1 - P_MALIGNANT)
    path = save(tmp_path / "p.csv", image=IDS, label=called, score=confidence)
    with pytest.raises(BadInput, match="top-1") as caught:
        lesionlab.evaluate(path, **FAST)
    answers, labelled = commands(caught.value)
    assert run([*labelled, "--resamples", "100"]) == 0  # the user's word is taken
    words = np.where(MALIGNANT, "malignant", "benign")
    answers[answers.index("truth.csv")] = save(tmp_path / "t.csv", image=IDS, label=words)
    assert run([*answers, "--resamples", "100", "--out", str(tmp_path / "o")]) == 0
    metrics = json.loads((tmp_path / "o" / "metrics.json").read_text())["metrics"]
    assert metrics["roc_auc"]["value"] == pytest.approx(auc(MALIGNANT, P_MALIGNANT))
    assert metrics["accuracy"]["value"] == pytest.approx(((P_MALIGNANT >= 0.5) == MALIGNANT).mean())


def test_a_submission_beside_the_truth_of_its_challenge(tmp_path: Path) -> None:
    owners = [f"IP_{k // 2}" for k in range(N)]
    path = save(tmp_path / "s.csv", image_name=IDS, target=P_MALIGNANT)
    truth = save(
        tmp_path / "t.csv", image_name=IDS, patient_id=owners, age_approx=50, diagnosis="unknown",
        benign_malignant=np.where(MALIGNANT, "malignant", "benign"), target=MALIGNANT.astype(int),
    )  # fmt: skip
    result = lesionlab.evaluate(path, truth=truth, **FAST)
    assert result["metrics"]["roc_auc"]["value"] == pytest.approx(auc(MALIGNANT, P_MALIGNANT))
    assert (result["resampled"], result["groups"]) == ("patient", N // 2)


def test_logits_are_measured_as_their_softmax(tmp_path: Path, truth: str) -> None:
    for names in (CLASSES, tuple(f"logit_{c}" for c in CLASSES)):
        result = lesionlab.evaluate(table(tmp_path, names, Z), truth=truth, **FAST)
        assert result["metrics"]["accuracy"]["value"] == pytest.approx(ACCURACY)
        assert result["metrics"]["nll"]["value"] == pytest.approx(
            float(-np.log(P[np.arange(N), Y]).mean())
        )
        assert any("softmax" in note for note in result["notes"])


def test_a_truth_of_more_images_prints_its_command(tmp_path: Path) -> None:
    more = save(tmp_path / "t.csv", image_id=[*IDS, "ISIC_9"], dx=[*DX, "nv"])
    with pytest.raises(BadInput, match="1 row has no prediction") as caught:
        lesionlab.evaluate(table(tmp_path), truth=more, **FAST)
    (arguments,) = commands(caught.value)
    assert run([*arguments, "--resamples", "100"]) == 0
    result = lesionlab.evaluate(table(tmp_path), truth=more, matching_only=True, **FAST)
    assert result["n"] == N
    assert any("1 row has no prediction" in note for note in result["notes"])


def test_columns_are_named_in_python(tmp_path: Path) -> None:
    path = save(
        tmp_path / "p.csv", nr=range(N), scan=IDS, finding=DX, risk_a=P[:, 2], risk_b=P[:, 3]
    )
    named = {"id_column": "scan", "label_column": "finding", "score_column": "risk_a"}
    result = lesionlab.evaluate(path, **named, positive="mel", **FAST)
    assert result["metrics"]["roc_auc"]["value"] == pytest.approx(auc(Y == 2, P[:, 2]))
    assert result["mapping"] == ["image: scan", "truth: finding", "probability of mel: risk_a"]
    with pytest.raises(BadInput, match="column 'findings' is missing; did you mean 'finding'"):
        lesionlab.evaluate(path, label_column="findings", **FAST)


def test_swapped_columns_are_asked_about_beside_the_numbers(tmp_path: Path, truth: str) -> None:
    result = lesionlab.evaluate(table(tmp_path, CLASSES, P[:, [1, 2, 3, 0]]), truth=truth, **FAST)
    asked = [note for note in result["notes"] if "are columns or classes swapped?" in note]
    assert any("another assignment" in note for note in asked)
    arrays = lesionlab.evaluate(y_true=Y, y_prob=P[:, [1, 2, 3, 0]], resamples=100)
    assert any("another assignment" in note for note in arrays.notes)


def test_compare_reads_both_tables_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = save(
        tmp_path / "a.csv", image_id=IDS, dx=DX, **{c: P[:, k] for k, c in enumerate(CLASSES)}
    )
    order = np.arange(N)[::-1]
    two = save(
        tmp_path / "b.csv", file=[f"{IDS[k].lower()}.PNG" for k in order],
        truth=[WORDS[DX[k]] for k in order],
        **{f"logit_{c.upper()}": Z[order, k] for k, c in enumerate(CLASSES)},
    )  # fmt: skip
    result = lesionlab.compare([one, two], resamples=100)
    first, second = (m["measure"]["value"] for m in result["models"])
    assert first == pytest.approx(second)
    assert result["mapping"]["b"][0] == "image: file"
    assert any("60 ids matched without regard to" in note for note in result["notes"])
    fewer = save(
        tmp_path / "c.csv",
        image_id=IDS[5:],
        dx=DX[5:],
        **{c: P[5:, k] for k, c in enumerate(CLASSES)},
    )
    with pytest.raises(BadInput, match="--matching-only"):
        lesionlab.compare([one, fewer], resamples=100)
    assert lesionlab.compare([one, fewer], resamples=100, matching_only=True)["n"] == N - 5
    assert run(["compare", one, fewer, "--matching-only", "--resamples", "100"]) == 0
    assert "a read as: image: image_id; truth: dx" in capsys.readouterr().out
