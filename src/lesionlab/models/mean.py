"""Several classifiers, or several views through one, as one network that averages probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lesionlab.models.classifier import Classifier


@dataclass(frozen=True)
class Member:
    """A classifier with its temperature and `shift` (K,) = log prior - log train_prior."""

    network: Classifier
    temperature: float
    shift: Tensor


class MeanNetwork(nn.Module):
    """The log of the members' mean calibrated probability, over `views` fixed views of each image.

    `softmax` of its logits is that mean. It has the parts of a `Classifier` that evaluation and
    export look at: the "feature map" is (N, sum of D, views, 1), every member's embedding of
    every view, whose mean over the views is the embedding of a bundle.
    """

    kind = "flatten_dense"  # the map is averaged for the embedding, and no activation map exists

    def __init__(self, members: Sequence[Member], views: int = 1) -> None:
        super().__init__()
        self.networks = nn.ModuleList(m.network for m in members)
        self.head = nn.ModuleList(m.network.head for m in members)
        self.temperatures = tuple(m.temperature for m in members)
        self.views = views
        self.widths: tuple[int, ...] = ()
        for number, member in enumerate(members):
            self.register_buffer(f"shift{number}", member.shift.float(), persistent=False)

    def feature_map(self, images: Tensor) -> Tensor:
        """(N, sum of D, views, 1)."""
        members = []
        for network in self.networks:
            seen = [network.embed(turned(images, view)) for view in range(self.views)]  # type: ignore[operator]
            members.append(torch.stack(seen, 2))
        self.widths = tuple(m.shape[1] for m in members)
        return torch.cat(members, 1)[..., None]

    def pool(self, features: Tensor) -> Tensor:
        """As they are: each view is classified on its own."""
        return features

    def classify(self, embedded: Tensor, facts: Tensor | None = None) -> Tensor:
        """(N, K) log mean probability."""
        found = []
        for number, part in enumerate(torch.split(embedded[..., 0], list(self.widths), 1)):
            shift: Tensor = getattr(self, f"shift{number}")
            for view in range(self.views):
                logits = self.networks[number].classify(part[:, :, view], facts)  # type: ignore[operator]
                found.append(torch.softmax(logits / self.temperatures[number] + shift, 1))
        return torch.log(torch.stack(found).mean(0).clamp_min(1e-12))

    def forward(self, images: Tensor, facts: Tensor | None = None) -> Tensor:
        """(N, K) log mean probability."""
        return self.classify(self.feature_map(images), facts)


def turned(images: Tensor, view: int) -> Tensor:
    """(N, C, S, S) in fixed view 0 to 7: mirrored left-right from 4 on, then quarter turns.

    The same as `data.augment.fixed_views`, in operations that every runtime has.
    """
    if view >= 4:
        images = images.flip(3)
    quarter = view % 4
    if quarter == 1:
        return images.transpose(2, 3).flip(2)
    if quarter == 2:
        return images.flip((2, 3))
    return images.transpose(2, 3).flip(3) if quarter == 3 else images
