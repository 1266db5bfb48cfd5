"""Maps of a layer against algebra done by hand: CAM, Grad-CAM, attention rollout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from helpers import toys
from helpers.toys import CLASS_0, SIDE, network
from lesionlab.explanation import cam
from lesionlab.explanation.evidence import evidence


def test_class_activation_map_is_weights_times_the_map(image: torch.Tensor) -> None:
    by_hand = torch.einsum("d,dhw->hw", toys.OWN_LESS_OTHER, image[0])
    found = cam.cam(toys.averaging(), image, CLASS_0)
    assert torch.allclose(found[0], by_hand / SIDE**2, atol=1e-6)


def test_class_activation_map_sums_to_the_evidence_less_the_bias(image: torch.Tensor) -> None:
    toy = toys.averaging().eval()
    total = cam.cam_grid(toy, image, CLASS_0).sum()
    score = evidence(toy(image), CLASS_0) - (toys.BIAS[0] - toys.BIAS[1])
    assert torch.allclose(total, score[0].detach(), atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2", "swin_tiny_patch4_window7_224"])
def test_class_activation_map_equals_grad_cam(name: str) -> None:
    size = 224 if name.startswith("swin") else 64
    model = network(name, size)
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 2])
    nn.init.normal_(model.head[-1].weight)
    exact = cam.cam_grid(model, images, classes)
    assert torch.allclose(exact, cam.gradcam_grid(model, images, classes), rtol=1e-3, atol=1e-5)
    assert float(exact.std()) > 0


def test_grad_cam_of_a_squaring_network(image: torch.Tensor) -> None:
    one = image[:, :1]
    # The layer holds x^2; its mean gradient is 1 / places.
    found = cam.gradcam(toys.squaring(), one, CLASS_0)
    assert torch.allclose(found[0], one[0, 0] ** 2 / SIDE**2, atol=1e-7)


def test_rollout_by_hand() -> None:
    first = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])  # every token looks at the other one
    second = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]])
    by_hand = torch.tensor(
        [[[0.5, 0.5], [0.5, 0.5]]]
    )  # [[1, 0], [.25, .75]] @ [[.5, .5], [.5, .5]]
    assert torch.allclose(cam.rollout([first, second]), by_hand)


def test_attention_rollout_finds_the_patch_that_is_looked_at() -> None:
    """Keys that only one patch has: all look there; positions are switched off."""
    model = network("vit_tiny_patch16_224", 64)
    body: Any = model.body
    with torch.no_grad():
        body.pos_embed.zero_()
        for block in body.blocks:
            block.attn.proj.weight.zero_()
            block.attn.proj.bias.zero_()
            block.mlp.fc2.weight.zero_()
            block.mlp.fc2.bias.zero_()
            width = block.attn.qkv.in_features
            block.attn.qkv.weight.zero_()
            block.attn.qkv.weight[width : 2 * width] = 4 * torch.eye(width)  # keys: the token
            block.attn.qkv.bias.zero_()
            block.attn.qkv.bias[:width] = 1.0  # queries: the same for all
        body.patch_embed.proj.weight.fill_(0.0)
        body.patch_embed.proj.weight[: width // 2, 0] = 1 / 256
        body.patch_embed.proj.bias.zero_()
        body.cls_token.zero_()
        for block in body.blocks:
            block.norm1.weight.fill_(1.0)
            block.norm1.bias.zero_()
            block.norm1.bias[: width // 2] = -1  # of a lit patch both halves speak, of others less
    images = torch.zeros(1, 3, 64, 64)
    images[0, 0, 16:32, 32:48] = 1  # row 1, column 2 of 4 x 4 patches
    flow = cam.rollout(cam.attentions(model, images))[0, 0, 1:].reshape(4, 4)
    others = flow.flatten()[torch.arange(16) != 6]
    assert torch.allclose(others, others[:1].expand(15), atol=1e-6)
    assert not torch.allclose(flow[1, 2], others[0], rtol=1e-2)


def test_attention_rollout_of_uniform_attention_is_uniform() -> None:
    model = network("vit_tiny_patch16_224", 64)
    with torch.no_grad():
        for block in model.body.blocks:  # type: ignore[union-attr]
            block.attn.qkv.weight.zero_()
            block.attn.qkv.bias.zero_()
    found = cam.attention_rollout(model, torch.rand(1, 3, 64, 64), CLASS_0)
    tokens = 17
    kept = 0.5 ** len(model.body.blocks)  # type: ignore[arg-type]
    assert torch.allclose(found, torch.full_like(found, (1 - kept) / tokens), rtol=1e-4)
    assert all(block.attn.fused_attn for block in model.body.blocks)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "size"), [("vit_tiny_patch16_224", 64), ("vit_small_patch14_dinov2", 56)]
)
def test_grad_cam_of_a_transformer_has_a_gradient_and_a_place_for_each_patch(
    name: str, size: int
) -> None:
    model = network(name, size)
    nn.init.normal_(model.head[-1].weight)
    grid = cam.gradcam_grid(model, torch.rand(1, 3, size, size), CLASS_0)
    assert grid.shape == (1, 4, 4)
    assert float(grid.abs().max()) > 0


def test_an_enlarged_grid_is_the_bilinear_one_and_a_single_place_is_constant() -> None:
    grid = torch.rand((2, 3, 4), generator=torch.Generator().manual_seed(2))
    images = torch.zeros(2, 1, 12, 20)
    by_torch = nn.functional.interpolate(grid[:, None], (12, 20), mode="bilinear")[:, 0]
    assert torch.allclose(cam.upsampled(grid, images), by_torch, atol=1e-5)
    one = cam.upsampled(torch.tensor([[[0.1]], [[0.7]]]), images, (0.4, 0.4))
    assert one.shape == (2, 12, 20)
    assert one.flatten(1).std(1).tolist() == [0, 0]


def test_an_offset_of_one_place_moves_the_map_down_or_right_by_its_pixels() -> None:
    grid = torch.rand((1, 4, 4), generator=torch.Generator().manual_seed(3))
    images = torch.zeros(1, 1, 16, 16)  # four pixels a place
    plain = cam.upsampled(grid, images)
    down, right = (cam.upsampled(grid, images, way) for way in ((1.0, 0.0), (0.0, 1.0)))
    assert torch.allclose(down[:, 4:], plain[:, :-4], atol=1e-5)
    assert torch.allclose(right[:, :, 4:], plain[:, :, :-4], atol=1e-5)


def test_of_three_classes_a_map_sums_to_the_logit_less_the_mean_of_the_others() -> None:
    weights = torch.tensor([[1.0, 2.0], [-3.0, 0.5], [0.0, 4.0]])
    images = torch.rand((1, 2, 6, 6), generator=torch.Generator().manual_seed(4))
    logits = weights @ images[0].mean((1, 2))
    for k in range(3):
        others = (logits.sum() - logits[k]) / 2
        found = cam.cam_grid(toys.averaging(weights, torch.zeros(3)), images, torch.tensor([k]))
        assert float(found.sum()) == pytest.approx(float(logits[k] - others), abs=1e-5)


def test_only_an_average_before_one_linear_layer_has_class_activation_maps() -> None:
    toy = toys.averaging().train()
    assert cam.pooled_linear(toy) is toy.head[1]
    assert toy.body.training
    assert cam.pooled_linear(toys.flattening(4, torch.ones(4, 4))) is None
    toy.head = nn.Sequential(toy.head[1], nn.ReLU())
    assert cam.pooled_linear(toy) is None
    toy.head = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert cam.pooled_linear(toy) is None


def test_the_largest_place_is_no_average() -> None:
    model = network("test_resnet", 64)
    assert cam.pooled_linear(model) is not None
    model.body.reset_classifier(0, global_pool="max")  # type: ignore[operator]
    assert cam.pooled_linear(model) is None


def test_rollout_of_any_attention_gives_each_token_shares_that_sum_to_one() -> None:
    draw = torch.Generator().manual_seed(5)
    blocks = [torch.randn((2, 3, 5, 5), generator=draw).softmax(-1) for _ in range(4)]
    flow = cam.rollout(blocks)
    assert flow.shape == (2, 5, 5)
    assert torch.allclose(flow.sum(-1), torch.ones(2, 5), atol=1e-5)
    assert float(flow.min()) >= 0
    # Rows are where it came to, columns where from: the last block is multiplied from the left.
    assert not torch.allclose(flow, cam.rollout(blocks[::-1]), atol=1e-3)


def test_places_counts_those_of_the_target_layer_and_leaves_the_network_alone() -> None:
    toy = toys.averaging().train()
    assert cam.places(toy, torch.rand(1, 2, 6, 10)) == (6, 10)
    assert toy.training
    assert all(p.grad is None and p.requires_grad for p in toy.parameters())
