"""Which runs an ensemble is made of, and which ensembles are one network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from helpers.datasets import begun_run, dataset, row
from lesionlab import files
from lesionlab.config import Settings
from lesionlab.errors import BadInput
from lesionlab.models.classifier import Classifier
from lesionlab.models.mean import Member
from lesionlab.run_folder import FactsCoding, Run
from lesionlab.training.members import is_ensemble, mean_network, member_runs, read_record

Recipe = Callable[..., Settings]
RUN = {"name": "m", "kind": "run"}


def a_run(folder: Path, settings: Settings, **changes: Any) -> dict[str, str]:
    """A run folder with weights that nobody reads, as an ensemble names it."""
    begun_run(folder, settings, dataset(folder, row("a"), row("b", "valid", "mel")), **changes)
    (folder / "best.safetensors").write_bytes(folder.name.encode())
    return {"folder": str(folder), "sha256": files.sha256_file(folder / "best.safetensors")}


def an_ensemble(folder: Path, *members: dict[str, Any], **record: Any) -> Path:
    folder.mkdir(exist_ok=True)
    content = {"method": "mean", "members": list(members), **record}
    files.write_json(folder / "ensemble.json", content)
    return folder


def as_member(run: Run) -> Member:
    """A network that answers with the length of the run's name as its first logit."""
    head = nn.Linear(3, 2)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([float(len(run.folder.name)), 0.0]))
    body = nn.Identity()
    body.forward_features = lambda images: images  # type: ignore[assignment]
    return Member(
        Classifier(body, nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.Flatten(), head), ""),
        1.0,
        torch.zeros(2),
    )


def test_only_a_folder_with_a_record_is_an_ensemble(tmp_path: Path, tiny: Recipe) -> None:
    one = a_run(tmp_path / "one", tiny())
    assert not is_ensemble(tmp_path / "one")
    assert is_ensemble(an_ensemble(tmp_path / "e", {**RUN, "runs": [one]}))
    assert not is_ensemble(tmp_path / "absent")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"views": 9}, "views"),
        ({"views": 0}, "views"),
        ({"method": "vote"}, "method"),
        ({"members": []}, "members"),
        ({"weights": [1]}, "weights"),
    ],
)
def test_a_record_that_is_none_is_named(tmp_path: Path, record: dict[str, Any], words: str) -> None:
    folder = an_ensemble(tmp_path / "e", RUN, **record)
    with pytest.raises(BadInput, match=words) as error:
        read_record(folder)
    assert "ensemble.json" in str(error.value)


def test_the_runs_of_all_members_come_in_the_order_of_the_record(
    tmp_path: Path, tiny: Recipe
) -> None:
    runs = [a_run(tmp_path / name, tiny()) for name in ("z", "a", "m")]
    members = ({"name": "seed-0", "kind": "repeat", "runs": runs[:2]}, {**RUN, "runs": runs[2:]})
    record = read_record(an_ensemble(tmp_path / "e", *members))
    assert [run.folder.name for run in member_runs(record)] == ["z", "a", "m"]


def test_a_member_that_was_trained_again_or_is_gone_is_named(tmp_path: Path, tiny: Recipe) -> None:
    runs = [a_run(tmp_path / name, tiny()) for name in ("one", "two")]
    record = read_record(an_ensemble(tmp_path / "e", {**RUN, "runs": runs}))
    (tmp_path / "two" / "best.safetensors").write_bytes(b"trained again")
    with pytest.raises(BadInput, match="weights have changed since the ensemble was made") as error:
        member_runs(record)
    assert str(tmp_path / "two") in str(error.value)
    (tmp_path / "one" / "config.json").unlink()
    with pytest.raises(BadInput, match="not a run folder"):
        member_runs(record)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"method": "rank"}, "ranks are relative to the validation images: it cannot be exported"),
        ({"method": "stack"}, "a stack ends in boosted trees"),
        ({"members": [RUN, {"name": "h", "kind": "handmade"}]}, "handcrafted features are not a"),
        ({"out_of_fold": True}, "fold runs have seen every image"),
    ],
)
def test_what_cannot_be_one_network_says_why(
    tmp_path: Path, record: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        mean_network(an_ensemble(tmp_path / "e", RUN, **record), as_member)


def test_the_network_averages_every_run_over_the_views(tmp_path: Path, tiny: Recipe) -> None:
    """Logits (1, 0) and (3, 0): the mean of two sigmoids."""
    runs = [a_run(tmp_path / name, tiny()) for name in ("a", "abc")]
    members = [{**RUN, "name": run["folder"], "runs": [run]} for run in runs]
    network = mean_network(an_ensemble(tmp_path / "e", *members, views=4), as_member)
    assert (network.views, network.training, len(network.networks)) == (4, False, 2)
    with torch.no_grad():
        y_prob = torch.softmax(network(torch.zeros(1, 3, 4, 4)), 1)
    wanted = torch.sigmoid(torch.tensor([1.0, 3.0])).mean()
    assert float(y_prob[0, 0]) == pytest.approx(float(wanted), abs=1e-6)


def test_members_that_prepare_images_otherwise_are_named(tmp_path: Path, tiny: Recipe) -> None:
    other = {**tiny().input.model_dump(), "crop": 0.9}
    runs = [a_run(tmp_path / "one", tiny()), a_run(tmp_path / "two", tiny(input=other))]
    folder = an_ensemble(tmp_path / "e", {**RUN, "runs": runs})
    with pytest.raises(BadInput, match="'two' and 'one' prepare images differently"):
        mean_network(folder, as_member)


def test_members_that_read_other_facts_are_named(tmp_path: Path, tiny: Recipe) -> None:
    coding = FactsCoding(columns=("age",), age_mean=50.0)
    older = FactsCoding(columns=("age",), age_mean=51.0)
    runs = [
        a_run(tmp_path / "one", tiny(), facts=coding),
        a_run(tmp_path / "two", tiny(), facts=older),
    ]
    folder = an_ensemble(tmp_path / "e", {**RUN, "runs": runs})
    with pytest.raises(BadInput, match="'two' and 'one' use different clinical metadata"):
        mean_network(folder, as_member)
