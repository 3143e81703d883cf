"""Carry: a rectifier without weights. The photo moves as its inversion moved, and is repainted where that was.

With f the flow from X^ to Y^ and D = Y^ - warp(X^, f), what the edit changed beside moving things,

    moved      warp(X0, f) + g * D                            the photo, and the change as far as it is trusted
    repainted  Y^ + low(warp(dX, f))                          the edit, with the photo's broad colours
    Y_r        (1 - m) * moved + m * repainted

- **Trust in the photo**, in g: a change of looks counts only where the inversion had seen what is there. A hat that
  X^ does not show keeps its colour when its wearer's hair turns grey. Changes too small to be meant count less.
- **Trust in the edit**, m: where an edge appeared or went (a mouth opened), Y^ wins, or closed lips stay under a smile.

All widths are shares of the picture, written in pixels of 128. The decisions are made at 128 px or below; the pictures
are combined at the photo's own size, so that a small generator edits a large photograph that stays sharp. Ours, beyond
the paper; no network, so it serves every generator. The constants were chosen on rendered portraits (seeds below 10^9)
and on training photographs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError, MismatchError
from ..images import area_downsample, check_image, clamp, resize
from .flow import estimate_flow, gaussian, warp

__all__ = ["Carried", "Carry"]

WORKING = 128          # pixels: the decisions are made at this size or below
SEEN, SEEN_SCALE = 6.0, 0.3    # px, |dX|: an inversion that misses by more than the scale has not seen what is there
USUAL = 2.5            # a picture whose inversion misses everywhere is measured against what is usual in it
SMALL, SMALL_SCALE = 1.5, 0.05  # px, |D|: changes below the scale are what editors change by the way
EDGE, BLUR = 12.0, 2.5  # px: an edge is what differs from its surroundings of this width, averaged over the second
GROWN, SOFT = 2, 2.0   # px: a repainted place reaches a little further, with a soft rim
# An inversion that misses even where it is best is soft all over: its edges say less and move less exactly, so the edit
# is believed sooner. From the first to the second of each, as the best tenth of |dX| goes from BEST's first to second.
BEST = (0.045, 0.06)
REPAINTED = (0.15, 0.04)  # |D| of edges at which half of the edit is taken
TRUST = (4.0, 2.0)     # power of what the inversion had seen: nothing is repainted over what it had not
COLOURS = (2.0, 6.0)   # px: what is wider than this in the carried difference are the photo's colours
DETAIL, DOUBT_SCALE = 2.0, 0.004  # px, |D| times contrast: a change over detail of the photo may well be misplaced


class Carried(NamedTuple):
    """``picture [B,3,h,w]`` in [-1,1]; ``doubt [B,1,h,w]`` in [0,1]: where it may well be wrong."""

    picture: Tensor
    doubt: Tensor


class Decisions(NamedTuple):
    """At the working size s. flow ``[B,2,s,s]`` in its pixels; moved (g), repainted (m), doubt ``[B,1,s,s]`` in [0,1];
    colours ``[B,3,s,s]``: the broad colours of the carried difference."""

    flow: Tensor
    moved: Tensor
    repainted: Tensor
    colours: Tensor
    doubt: Tensor


class Carry(nn.Module):
    """``R(edited, delta, strength=1.0, inversion=X^)`` for any generator and any size; nothing is learned.

    Attributes:
        resolution: None: it works at whatever size the difference has.
        fingerprint: "carry"; there are no weights to tell apart.
    """

    resolution: int | None = None
    needs_inversion = True
    fingerprint = "carry"
    label = "carry (no network)"

    def forward(self, edited: Tensor, delta: Tensor, strength: float = 1.0, inversion: Tensor | None = None) -> Tensor:
        """The picture alone, at the larger size of ``edited`` and ``delta``; see :meth:`carried`."""
        if not 0.0 <= strength <= 2.0:
            raise InputError(f"strength must be a number from 0 to 2, found {strength!r}.")
        edited, delta = check_image(edited, "edited picture"), check_image(delta, "difference", limit=2.5)
        size = max(edited.shape[-1], delta.shape[-1])
        up = clamp(resize(clamp(edited), size))
        return up if strength == 0 else clamp(torch.lerp(up, self.carried(edited, delta, inversion).picture, strength))

    @torch.no_grad()
    def carried(self, edited: Tensor, delta: Tensor, inversion: Tensor | None) -> Carried:
        """Carry the difference to where it belongs in Y^.

        Args:
            edited: Y^ ``[B,3,R,R]`` in [-1,1].
            delta: dX = X0 - X^ ``[B,3,h,h]`` in [-2,2], at the photo's size: h may be larger than R.
            inversion: X^ ``[B,3,R,R]`` in [-1,1].

        Raises:
            MismatchError: X^ is missing, or the batches differ.
        """
        if inversion is None:
            raise MismatchError("Carrying needs X^ beside the difference: it follows what moved between X^ and Y^. "
                                "Give inversion=X^, or call reganie_core.rectify with a Delta, which holds it.")
        edited, inversion = clamp(check_image(edited, "edited picture")), clamp(check_image(inversion, "inversion"))
        delta = check_image(delta, "difference", limit=2.5)
        if not len(edited) == len(inversion) == len(delta) or edited.shape != inversion.shape:
            raise MismatchError(f"Y^ {list(edited.shape)}, X^ {list(inversion.shape)} and dX {list(delta.shape)} do "
                                "not belong together: give as many of each, Y^ and X^ of one size.")
        size = max(edited.shape[-1], delta.shape[-1])
        delta = resize(delta, size)
        d = decide(edited, inversion, delta)
        y_hat, x_hat = clamp(resize(edited, size)), clamp(resize(inversion, size))
        moved = warp(torch.cat([x_hat, delta], 1), d.flow)
        change = y_hat - moved[:, :3]                                   # D
        trusted, repainted = _up(d.moved, size), _up(d.repainted, size)
        picture = moved[:, :3] + moved[:, 3:] + trusted * change        # warp(X0, f) + g D
        picture = torch.lerp(picture, y_hat + _up(d.colours, size), repainted)
        return Carried(clamp(picture), _up(d.doubt, size))


def _up(x: Tensor, size: int) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False) if x.shape[-1] != size else x


def decide(edited: Tensor, inversion: Tensor, delta: Tensor) -> Decisions:
    """What moved, what to trust, what was repainted, from Y^, X^ ``[B,3,R,R]`` and dX ``[B,3,h,h]``, h >= R."""
    s = min(WORKING, edited.shape[-1])
    unit = s / WORKING                                                  # the widths above, in pixels of this size
    y_hat, x_hat = area_downsample(edited, s), area_downsample(inversion, s)
    lost, size_of_lost = area_downsample(delta, s), area_downsample(delta.abs().mean(1, keepdim=True), s)
    flow = estimate_flow(x_hat, y_hat)
    change = y_hat - warp(x_hat, flow)

    missed = gaussian(size_of_lost, SEEN * unit)
    usual = missed.flatten(1).median(dim=1).values.view(-1, 1, 1, 1)
    seen = warp(torch.exp(-(missed / (USUAL * usual).clamp_min(SEEN_SCALE)).square()), flow)
    meant = gaussian(change.abs().mean(1, keepdim=True), SMALL * unit).square()
    meant = meant / (meant + SMALL_SCALE**2)

    best = missed.flatten(1).quantile(0.1, dim=1).view(-1, 1, 1, 1)
    softness = ((best - BEST[0]) / (BEST[1] - BEST[0])).clamp(0, 1)
    threshold, power = (torch.lerp(torch.full_like(softness, a), torch.full_like(softness, b), softness)
                        for a, b in (REPAINTED, TRUST))
    edges = change - gaussian(change, EDGE * unit)
    edges = gaussian(edges.abs().mean(1, keepdim=True), BLUR * unit)
    grown = max(1, round(GROWN * unit))
    repainted = F.max_pool2d((edges / threshold - 0.5).clamp(0, 1), 2 * grown + 1, 1, grown)
    repainted = gaussian(repainted, SOFT * unit) * seen**power
    carried = warp(lost, flow)
    colours = torch.lerp(*(gaussian(carried, width * unit) for width in COLOURS), softness)

    photo = warp(x_hat + lost, flow)
    detail = gaussian((photo - gaussian(photo, DETAIL * unit)).abs().mean(1, keepdim=True), SMALL * unit)
    doubt = (gaussian(change.abs().mean(1, keepdim=True), SMALL * unit) * detail).square()
    doubt = doubt / (doubt + DOUBT_SCALE**2)
    return Decisions(flow, seen * meant, repainted, colours, doubt)
