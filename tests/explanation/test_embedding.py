"""What the embedding holds, for every kind of head, and what the head reads besides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.data.cache import CachedPixels
from lesionlab.data.images import Preprocessing
from lesionlab.explanation import methods
from lesionlab.explanation.embedding import embed, left_out, plane
from lesionlab.models.classifier import Classifier, build

SIDE, ROWS = 48, np.arange(3)


def network(head: str, *, facts: bool = False, name: str = "test_resnet") -> Classifier:
    torch.manual_seed(0)
    settings = ModelSettings(name=name, pretrained=False, head=head)  # type: ignore[arg-type]
    unknown = np.zeros(4, np.float32) if facts else None
    return build(settings, InputSettings(size=SIDE), 3, unknown_facts=unknown).eval()


def asked(model: Classifier, facts: np.ndarray | None = None) -> methods.ExplainedNetwork:
    array = np.random.default_rng(0).integers(0, 255, (3, SIDE, SIDE, 3)).astype(np.uint8)
    return methods.ExplainedNetwork(
        model, CachedPixels(array), Preprocessing(size=SIDE), facts=facts
    )


def read_by_the_head(subject: methods.ExplainedNetwork) -> torch.Tensor:
    """(n, D): what truly enters the head's first layer with weights."""
    kept: list[torch.Tensor] = []
    layer = next(m for m in subject.network.head.modules() if isinstance(m, torch.nn.Linear))
    hook = layer.register_forward_pre_hook(lambda m, given: kept.append(given[0]))
    with torch.no_grad():
        subject.network(subject.images(subject.views(ROWS)), subject.known(ROWS))
    hook.remove()
    return kept[0]


def test_of_an_average_it_is_what_the_head_reads() -> None:
    subject = asked(network("linear"))
    assert left_out(subject.network) == ()
    assert np.allclose(embed(subject, ROWS), read_by_the_head(subject).numpy(), atol=1e-5)


@pytest.mark.parametrize(("head", "name"), [("flatten_dense", "test_resnet"),
                                            ("own", "mias_tutorial")])  # fmt: skip
def test_of_a_flattened_map_it_is_the_average_and_says_so(head: str, name: str) -> None:
    subject = asked(network(head, name=name))
    assert left_out(subject.network) == ("places",)
    read, found = read_by_the_head(subject), embed(subject, ROWS)
    assert np.allclose(embed(subject, ROWS, places=True), read.numpy(), atol=1e-5)
    depth = found.shape[1]
    assert found.size < read.numel()
    by_hand = read.reshape(3, depth, -1).mean(2).numpy()
    assert np.allclose(found, by_hand, atol=1e-5)


@pytest.mark.parametrize(("head", "left"), [("linear", ("facts",)),
                                            ("flatten_dense", ("places", "facts"))])  # fmt: skip
def test_facts_change_the_logits_and_not_the_embedding(head: str, left: tuple[str, ...]) -> None:
    model = network(head, facts=True)
    old, young = (asked(model, np.full((3, 4), v, np.float32)) for v in (1.0, -1.0))
    assert left_out(model) == left
    assert (embed(old, ROWS) == embed(young, ROWS)).all()
    images = old.images(old.views(ROWS))
    with torch.no_grad():
        told = [model(images, s.known(ROWS)) for s in (old, young)]
    assert not torch.allclose(*told)


def test_the_plane_keeps_groups_apart_and_is_repeatable() -> None:
    draw = np.random.default_rng(0)
    far = np.concatenate([draw.normal(size=(15, 6)), draw.normal(size=(15, 6)) + 40])
    found = plane(far.astype(np.float32))
    assert found.min() == 0
    assert found.max() == 1
    centres = found[:15].mean(0), found[15:].mean(0)
    spread = max(found[:15].std(), found[15:].std())
    assert np.linalg.norm(centres[0] - centres[1]) > spread
    assert (found == plane(far.astype(np.float32))).all()
    assert plane(far[:3].astype(np.float32)).shape == (3, 2)
