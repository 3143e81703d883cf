"""What the editor stage compares: readings of pictures before and after, and the multi-attribute contrast."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reganie_core.networks.dystyle import GroupedLinear
from reganie_core.networks.layers import EqualLinear


def target_loss(logits: Tensor, goal: Tensor, binary: Tensor, active: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Mean loss of the asked attributes: smooth L1 for numeric ones, cross-entropy for binary ones.

    logits, goal [B,K]: standardised values; binary ones as logits and as 0 or 1; weight [K] of each attribute. The
    smooth L1 is almost an L1, whose pull does not fade near the goal, so that the preserving terms cannot shorten every
    edit a little.
    """
    numeric = F.smooth_l1_loss(logits, goal, reduction="none", beta=0.1)
    crossed = F.binary_cross_entropy_with_logits(logits, goal.clamp(0, 1), reduction="none")
    loss = torch.where(binary, crossed, numeric) * active * weight
    return loss.sum() / active.sum().clamp_min(1)


def preservation_loss(after: Tensor, before: Tensor, binary: Tensor, others: Tensor) -> Tensor:
    """Mean change of the attributes that nobody asked to change: smooth L1, and the divergence of probabilities.

    after, before [B,A]: logits of the two pictures; others: bool [B,A], those attributes.
    """
    numeric = F.smooth_l1_loss(after, before, reduction="none", beta=0.1)
    p = torch.sigmoid(before)
    crossed = F.binary_cross_entropy_with_logits(after, p, reduction="none")
    floor = F.binary_cross_entropy_with_logits(before, p, reduction="none")
    loss = torch.where(binary, crossed - floor, numeric) * others
    return loss.sum() / others.sum().clamp_min(1)


def reader_loss(logits: Tensor, shown: Tensor, binary: Tensor) -> Tensor:
    """How well the editor's head reads from codes what the attribute network reads in pictures; logits [B,K]."""
    numeric = F.smooth_l1_loss(logits, shown, reduction="none", beta=0.5)
    crossed = F.binary_cross_entropy_with_logits(logits, torch.sigmoid(shown), reduction="none")
    return torch.where(binary, crossed, numeric).mean()


class Contrastor(nn.Module):
    """Dynamic multi-attribute contrastor (DyStyle, version 3 of the paper): one projection per attribute, of pictures
    and of latent codes; only those of the edited attributes take part in a sample's loss.

    The paper says what it is for (same targets attract, different ones repel, in the picture and in the latent
    space); sizes, temperature and the soft notion of "same" for numeric targets are ours.
    """

    def __init__(self, attributes: int, embedding: int, code: int, width: int = 128, dim: int = 32,
                 temperature: float = 0.2, tolerance: float = 0.1) -> None:
        super().__init__()
        self.attributes, self.temperature, self.tolerance = attributes, temperature, tolerance
        self.of_code = EqualLinear(code, width, activation=True)
        self.code = GroupedLinear(attributes, width, dim)
        self.picture = GroupedLinear(attributes, embedding, dim)

    def forward(self, embedding: Tensor, codes: Tensor, targets: Tensor, active: Tensor) -> Tensor:
        """embedding [B,H] of edited pictures, codes [B,N] edited and standardised, targets [B,K] in 0..1 of the range,
        active bool [B,K] -> mean of both losses."""
        expand = (-1, self.attributes, -1)
        pictures = self.picture(embedding[:, None].expand(expand))
        latents = self.code(self.of_code(codes)[:, None].expand(expand))
        return 0.5 * (self.contrast(pictures, targets, active) + self.contrast(latents, targets, active))

    def contrast(self, z: Tensor, targets: Tensor, active: Tensor) -> Tensor:
        """Cross-entropy between "how close are the targets" and "how close are the projections", per attribute."""
        z = F.normalize(z.transpose(0, 1), dim=2)                                    # [K,B,dim]
        t, a = targets.t(), active.t()
        pairs = a[:, :, None] & a[:, None, :] & ~torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
        near = -((t[:, :, None] - t[:, None, :]) / self.tolerance).square() / 2
        # -1e4 instead of -inf: rows without a pair stay finite and are then left out.
        wanted = torch.softmax(near.masked_fill(~pairs, -1e4), dim=2)
        found = torch.log_softmax((z @ z.transpose(1, 2) / self.temperature).masked_fill(~pairs, -1e4), dim=2)
        rows = pairs.any(dim=2)
        # Less the entropy of what is wanted, so that 0 is a perfect match.
        loss = (wanted * (wanted.clamp_min(1e-12).log() - found)).masked_fill(~pairs, 0.0).sum(dim=2)
        return (loss * rows).sum() / rows.sum().clamp_min(1)
