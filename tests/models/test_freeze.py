"""Freezing by block group, alike over all architectures (timm's tiny test networks)."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from lesionlab.config import InputSettings, ModelSettings
from lesionlab.models.classifier import Classifier, build
from lesionlab.models.freeze import freeze, groups, set_mode, trainable_groups

FAMILIES = ("resnet", "efficientnet", "convnext", "vit", "nfnet", "byobnet", "mambaout")


def network(name: str, head: str = "linear") -> Classifier:
    size = 160 if name.startswith("test_vit") else 64
    model = ModelSettings.model_validate({"name": name, "head": head, "pretrained": False})
    return build(model, InputSettings(size=size), 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_groups_hold_every_parameter_once_from_stem_to_head(family: str) -> None:
    made = network(f"test_{family}")
    found = groups(made)
    names = [n for group in found for n in group.parameters]
    assert sorted(names) == sorted(n for n, _ in made.named_parameters())
    assert len(names) == len(set(names))
    assert found[-1].name == "head"
    assert len(found) >= 4
    first = next(n for n, _ in made.body.named_parameters())
    assert f"body.{first}" in found[0].parameters


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("vit_tiny_patch16_224", "blocks.11"),
        ("mobilenetv2_100", "blocks.6"),
        ("vgg11", "features.18"),
        ("test_mambaout", "stages.3"),
        ("rdnet_tiny", "dense_stages"),
    ],
)
def test_the_last_block_is_named_and_is_no_head_of_the_body(name: str, last: str) -> None:
    with torch.device("meta"):
        body = timm.create_model(name, pretrained=False, num_classes=0)
        made = Classifier(body, nn.Identity(), nn.Linear(2, 2), "linear")
    found = groups(made)
    assert [g.name for g in found][-2:] == [last, "head"]
    assert len({g.name for g in found}) == len(found)
    names = sorted(n for g in found for n in g.parameters)
    assert names == sorted(n for n, _ in made.named_parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_head_last_block_and_all_move_what_they_say(family: str) -> None:
    made = network(f"test_{family}")
    shapes = dict(made.named_parameters())
    head, last, every = (freeze(made, w) for w in ("head", "last_block", "all"))
    assert all(n.startswith("head.") for n in head)
    assert set(head) < set(last) < set(every)
    block = set(last) - set(head)
    assert any(shapes[n].ndim > 1 for n in block)  # a layer, not a lonely norm
    assert set(every) == set(shapes)
    freeze(made, "last_block")
    assert {n for n, p in made.named_parameters() if p.requires_grad} == set(last)


@pytest.mark.parametrize("family", ["resnet", "efficientnet"])
def test_frozen_norms_keep_their_statistics(family: str) -> None:
    made = network(f"test_{family}")
    freeze(made, "last_block")
    set_mode(made, "last_block", "eval")
    before = {k: v.clone() for k, v in made.named_buffers()}
    made(torch.randn(4, 3, 64, 64)).sum().backward()
    moving = {n.rsplit(".", 1)[0] for n, p in made.named_parameters() if p.requires_grad}
    for name, value in made.named_buffers():
        moved = not torch.equal(value, before[name])
        assert moved == (name.rsplit(".", 1)[0] in moving), name


def test_a_frozen_body_gets_no_gradient_and_no_dropout() -> None:
    made = network("test_efficientnet")
    freeze(made, "head")
    set_mode(made, "head", "eval")
    assert not made.body.training
    assert made.head.training
    made(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all((p.grad is None) == (not n.startswith("head.")) for n, p in made.named_parameters())


def test_norms_of_a_frozen_body_can_move_as_fastai_lets_them() -> None:
    made = network("test_resnet", "concat_pool")
    names = freeze(made, "head", norms=True)
    set_mode(made, "head", "train")
    body = [n for n in names if n.startswith("body.")]
    modules = dict(made.named_modules())
    assert body
    assert all(isinstance(modules[n.rsplit(".", 1)[0]], nn.BatchNorm2d) for n in body)
    assert made.body.training
    found = trainable_groups(made, "head", norms=True)
    assert [g.name for g in found][-1] == "head"
    assert len(found) == len(groups(made))
