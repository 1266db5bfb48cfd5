"""Maps of a layer: class activation map, Grad-CAM, attention rollout. Exact algebra, no library.

All return (N, H, W) float32 at the size of the images, signed: positive speaks for the target
class. The figures of a page show the positive part (Grad-CAM's ReLU).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lesionlab.explanation.evidence import evidence, held_still
from lesionlab.explanation.offset import NONE, Offset
from lesionlab.explanation.targets import Target, target_of
from lesionlab.models.classifier import Classifier, OneUnit, TimmPooling


def upsampled(grid: Tensor, images: Tensor, offset: Offset = NONE) -> Tensor:
    """(N, h, w) -> (N, H, W) float32, bilinear; a single place gives a map that is constant.

    The places lie `offset` (down, right; in places) from the middles of equal parts of the side.
    """
    height, width = images.shape[2:]
    if grid.shape[1:] == (1, 1):  # interpolation would leave rounding that looks like a pattern
        return grid.float().expand(len(grid), height, width)
    down, right = (2 * o / n for o, n in zip(offset, grid.shape[1:], strict=True))
    rows, columns = _middles(height, down, grid), _middles(width, right, grid)
    where = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
    large = functional.grid_sample(
        grid[:, None].float(), where.expand(len(grid), -1, -1, -1),
        padding_mode="border", align_corners=False,
    )  # fmt: skip
    return large[:, 0]


def _middles(pixels: int, offset: float, like: Tensor) -> Tensor:
    """The middles of the pixels of a side from -1 to 1, less `offset`."""
    steps = torch.arange(pixels, dtype=torch.float32, device=like.device)
    return (2 * steps + 1) / pixels - 1 - offset


def pooled_linear(network: Classifier) -> nn.Linear | None:
    """The head's only layer where the logits are an average over places; else None.

    True for a body whose last map is averaged, nothing between, then one linear layer.
    """
    layers = [m for m in network.head.modules() if isinstance(m, nn.Linear)]
    plain = (nn.Linear, nn.Dropout, nn.Sequential, OneUnit)
    linear_head = all(isinstance(m, plain) for m in network.head.modules())
    if len(layers) != 1 or not linear_head or not isinstance(network.pooling, TimmPooling):
        return None
    return layers[0] if _only_averages(network.body, layers[0].in_features, network) else None


@torch.no_grad()
def _only_averages(body: nn.Module, width: int, network: Classifier) -> bool:
    """Whether the body's way from its last map to a vector is the plain average: tried once."""
    if target_of(network).layout == "tokens":
        return False
    like = next(network.parameters())
    draw = torch.Generator().manual_seed(0)
    probe = torch.rand((2, width, 3, 3), generator=draw).to(like)
    was_training = body.training
    body.eval()
    try:
        pooled = network.pooling(probe)
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return False  # it does something else with a map
    finally:
        body.train(was_training)
    average = probe.mean((2, 3))
    return pooled.shape == average.shape and bool(torch.allclose(pooled, average, atol=1e-4))


def cam_grid(network: Classifier, images: Tensor, target: Tensor) -> Tensor:
    """(N, h, w): each place's share of the evidence; they sum to it, less the head's bias.

    Zhou et al., CVPR 2016, divided by the number of places, so that the sum is the logit's.
    """
    layer = pooled_linear(network)
    assert layer is not None
    with torch.no_grad():
        features = network.feature_map(images)
    weight = layer.weight.detach()
    if layer.out_features == 1:  # one sigmoid unit: the other logit is always 0
        weight = torch.cat([torch.zeros_like(weight), weight])
    own = weight[target]
    others = (weight.sum(0) - own) / (len(weight) - 1)
    places = features.shape[2] * features.shape[3]
    return torch.einsum("nd,ndhw->nhw", own - others, features) / places


def cam(
    network: Classifier,
    images: Tensor,
    target: Tensor,
    facts: Tensor | None = None,
    offset: Offset = NONE,
) -> Tensor:
    """Class activation map (`cam_grid`), at the size of the images."""
    with held_still(network):
        return upsampled(cam_grid(network, images, target), images, offset)


def _record(
    target: Target, network: Classifier, images: Tensor, facts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The target layer's output as the start of the graph, and the logits that follow from it."""
    kept: list[Tensor] = []

    def start_here(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_(True))
        return kept[-1]

    hook = target.module.register_forward_hook(start_here)
    try:
        logits = network(images, facts)
    finally:
        hook.remove()
    return kept[-1], logits


def places(network: Classifier, images: Tensor, facts: Tensor | None = None) -> tuple[int, int]:
    """(h, w): the places of the target layer's map, from which CAM and Grad-CAM are enlarged."""
    target = target_of(network)
    with held_still(network):
        output, _ = _record(target, network, images, facts)
    height, width = target.to_map(output.detach()).shape[2:]
    return height, width


def gradcam_grid(
    network: Classifier, images: Tensor, classes: Tensor, facts: Tensor | None = None
) -> Tensor:
    """(N, h, w): the target layer's channels, weighted by their mean gradient; before the ReLU.

    Selvaraju et al., ICCV 2017. Nothing below the target layer is differentiated, so the cost is
    a forward pass and the tail's backward pass.
    """
    target = target_of(network)
    with held_still(network):
        output, logits = _record(target, network, images, facts)
        (gradient,) = torch.autograd.grad(evidence(logits, classes).sum(), output)
    features, slopes = target.to_map(output.detach()), target.to_map(gradient)
    return torch.einsum("nd,ndhw->nhw", slopes.mean((2, 3)), features)


def gradcam(
    network: Classifier,
    images: Tensor,
    target: Tensor,
    facts: Tensor | None = None,
    offset: Offset = NONE,
) -> Tensor:
    """Grad-CAM (`gradcam_grid`), at the size of the images."""
    return upsampled(gradcam_grid(network, images, target, facts), images, offset)


def rollout(attention: list[Tensor]) -> Tensor:
    """(N, heads, T, T) of each block -> (N, T, T): how much each token came from each other one.

    Abnar and Zuidema, ACL 2020: heads averaged, half the weight for the way around (residual),
    blocks multiplied.

    >>> half = torch.full((1, 1, 2, 2), 0.5)
    >>> rollout([half])[0].tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    tokens = attention[0].shape[-1]
    same = torch.eye(tokens, device=attention[0].device)
    flow = same.expand(len(attention[0]), tokens, tokens)
    for block in attention:
        flow = (0.5 * block.mean(1) + 0.5 * same) @ flow
    return flow


@torch.no_grad()
def attentions(network: Classifier, images: Tensor) -> list[Tensor]:
    """(N, heads, T, T) of each block of a vision transformer, after the softmax."""
    found: list[Tensor] = []
    layers = [block.attn for block in network.body.blocks]  # type: ignore[union-attr]
    hooks = [
        layer.attn_drop.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0]))
        for layer in layers
    ]
    fused = [layer.fused_attn for layer in layers]
    try:
        for layer in layers:
            layer.fused_attn = False  # the fused kernel never holds the matrix
        network.feature_map(images)
    finally:
        for layer, was, hook in zip(layers, fused, hooks, strict=True):
            layer.fused_attn = was
            hook.remove()
    return found


def attention_rollout(
    network: Classifier, images: Tensor, target: Tensor, facts: Tensor | None = None
) -> Tensor:
    """Where the class token's content came from; the same for every class.

    A network that averages its patches instead of reading a class token: the mean over patches.
    """
    place = target_of(network)
    with held_still(network):
        flow = rollout(attentions(network, images))
    from_token = getattr(network.body, "global_pool", "token") == "token"
    row = flow[:, 0] if from_token else flow[:, place.prefix :].mean(1)
    return upsampled(place.to_map(row[:, :, None])[:, 0], images)
