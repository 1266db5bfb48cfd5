"""Maps of the input, by Captum: saliency, SmoothGrad, integrated gradients, occlusion.

All explain the evidence (`evidence.py`) and return (N, H, W) float32. The baseline is the grey
or colour that normalisation maps to zero: the mean colour of the pre-training images.
"""

from __future__ import annotations

import torch
from captum.attr import IntegratedGradients, Occlusion, Saliency
from torch import Tensor

from lesionlab.explanation.evidence import held_still, scorer
from lesionlab.models.classifier import Classifier

STEPS = 24  # of integrated gradients, Gauss-Legendre
NOISY = 8  # noisy copies of SmoothGrad
NOISE = 0.15  # their standard deviation, as a share of the image's range (Smilkov et al. 2017)
PATCHES = 7  # occluding squares a side
AT_ONCE = 16  # images in one pass, whatever a method asks for: 64 took 9 GB at 224 px


def saliency(
    network: Classifier, images: Tensor, target: Tensor, facts: Tensor | None = None
) -> Tensor:
    """The gradient's largest size over the channels (Simonyan et al. 2014); never negative."""
    with held_still(network):
        found = Saliency(scorer(network)).attribute(
            images.clone().requires_grad_(True), abs=True, additional_forward_args=(target, facts)
        )
    return _plain(found.amax(1))


def smoothgrad(
    network: Classifier, images: Tensor, target: Tensor, facts: Tensor | None = None
) -> Tensor:
    """The size of the gradient's mean over noisy copies (Smilkov et al. 2017); never negative.

    Every image gets the same noise, at each call, so a map does not depend on its batch.
    """
    flat = images.flatten(1)
    spread = (NOISE * (flat.amax(1) - flat.amin(1)))[:, None, None, None]
    draw = torch.Generator().manual_seed(0)
    total = torch.zeros_like(images)
    with held_still(network):
        for _ in range(NOISY):
            noise = torch.randn(images.shape[1:], generator=draw).to(images.device)
            total += Saliency(scorer(network)).attribute(
                (images + spread * noise).requires_grad_(True),
                abs=False,
                additional_forward_args=(target, facts),
            )
    return _plain((total / NOISY).abs().amax(1))


def integrated(
    network: Classifier,
    images: Tensor,
    target: Tensor,
    facts: Tensor | None = None,
    steps: int = STEPS,
) -> tuple[Tensor, Tensor]:
    """(N, C, H, W) integrated gradients (Sundararajan et al., ICML 2017) and (N,) their gap.

    They should sum to the evidence of the image less that of the baseline; the gap is the sum
    less that difference.
    """
    with held_still(network):
        found, gap = IntegratedGradients(scorer(network)).attribute(
            images.clone(),
            torch.zeros_like(images),
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=AT_ONCE,
            return_convergence_delta=True,
            additional_forward_args=(target, facts),
        )
    return found.detach(), gap.detach()


def integrated_gradients(
    network: Classifier,
    images: Tensor,
    target: Tensor,
    facts: Tensor | None = None,
    steps: int = STEPS,
) -> Tensor:
    """Integrated gradients, summed over the channels; signed."""
    return _plain(integrated(network, images, target, facts, steps)[0].sum(1))


def occlusion(
    network: Classifier, images: Tensor, target: Tensor, facts: Tensor | None = None
) -> Tensor:
    """How much the evidence falls where a square is covered (Zeiler and Fergus 2014); signed."""
    size = tuple(max(1, -(-side // PATCHES)) for side in images.shape[2:])
    window = (images.shape[1], *size)
    with held_still(network), torch.no_grad():
        found = Occlusion(scorer(network)).attribute(
            images,
            window,
            strides=window,
            baselines=0,
            perturbations_per_eval=max(1, AT_ONCE // len(images)),
            additional_forward_args=(target, facts),
        )
    return _plain(found.mean(1))


def _plain(found: Tensor) -> Tensor:
    return found.detach().float()
