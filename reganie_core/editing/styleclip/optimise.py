"""StyleCLIP's first mode: move the codes of one picture until the text encoder finds the text in it (section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...images import resize
from ...latents import Latent, synthesize
from ...text import TextImageEncoder, text_embedding

__all__ = ["learning_rate", "optimise"]


def learning_rate(done: float, lr: float) -> float:
    """The published schedule: rises over the first 5 %, falls as a cosine over the last 25 %. ``done`` in 0..1."""
    fall = 0.5 - 0.5 * math.cos(min(1.0, (1.0 - done) / 0.25) * math.pi)
    return lr * fall * min(1.0, done / 0.05)


def optimise(generator: nn.Module, latent: Latent, encoder: TextImageEncoder, text: str, *, steps: int = 300,
             lr: float = 0.1, l2: float = 0.008, identity: nn.Module | None = None, identity_weight: float = 0.005,
             progress: Callable[[int, int], None] | None = None) -> Latent:
    """Codes whose picture matches ``text``, near the codes given.

    Loss for each picture: 1 - cos(picture, text) + l2 |w - w0|^2 + identity_weight (1 - cos(identity, identity0)).

    Args:
        latent: where to start; its offsets and changes stay.
        steps, lr, l2: as published.
        identity: a network ``[B,3,R,R]`` -> unit vectors, for example reganie_core's IdentityNet; pictures are
            brought to its ``resolution``.
        progress: called with (steps done, steps) after each step; an exception from it stops the work.

    Raises:
        InputError: an empty text or no step.
        MismatchError: the latent is of another generator.
    """
    if steps < 1 or not lr > 0:
        raise InputError(f"Needs at least one step and a positive learning rate, found {steps} and {lr:g}.")
    latent.check(generator)
    goal = text_embedding(encoder, text)
    start = latent.ws.detach()
    with torch.enable_grad(), torch.inference_mode(False):
        start = start.clone()
        fixed = latent._map(lambda tensor: tensor.detach().clone())
        goal, ws = goal.clone(), start.clone().requires_grad_(True)
        who = None if identity is None else _identity(identity, synthesize(generator, fixed)).detach()
        optimizer = torch.optim.Adam([ws], lr=lr)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = learning_rate(step / steps, lr)
            pictures = synthesize(generator, fixed.with_ws(ws))
            loss = 1.0 - _similarity(encoder, pictures, goal) + l2 * (ws - start).square().sum(dim=(1, 2))
            if identity is not None:
                loss = loss + identity_weight * (1.0 - (_identity(identity, pictures) * who).sum(dim=1))
            (ws.grad,) = torch.autograd.grad(loss.sum(), [ws])
            optimizer.step()
            if progress is not None:
                progress(step + 1, steps)
    return latent.with_ws(ws.detach())


def _similarity(encoder: TextImageEncoder, pictures: Tensor, goal: Tensor) -> Tensor:
    """Cosine of pictures and text, [B]; CLIP sees pictures as StyleCLIP showed them to it."""
    published = getattr(encoder, "encode_published", None)
    seen = encoder.encode_image(pictures) if published is None else published(pictures)
    return seen @ goal


def _identity(net: nn.Module, pictures: Tensor) -> Tensor:
    return net(resize(pictures, net.resolution, "bilinear"))
