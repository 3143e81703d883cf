"""Algorithm 1 of ReGANIE on one page: inference, and the triplets that the rectifier is trained on.

Networks: G generator, E encoder, Editor; the rectifier is E_p, E_d and G_p (equations 4 to 8: networks/rectifier.py).
The loss of the training half is equation 9 (trainer/losses.py); the loop around it is trainer/stages/rectifier.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .delta import Delta
from .editing.protocol import Editor, EditValue, edit_latent
from .images import clamp, resize
from .inversion.e4e import encode
from .latents import Latent, concatenate, synthesize
from .networks.rectifier_encoders import DeltaCode
from .rectification import Output, encode_differences, rectify

__all__ = ["Algorithm1", "Triplet", "algorithm1", "training_triplet"]


class Algorithm1(NamedTuple):
    """Everything Algorithm 1 computes on the way; images ``[B,3,H,W]`` in [-1,1]."""

    latent: Latent
    edited_latent: Latent
    inversion: Tensor
    edited: Tensor
    delta: Delta
    reconstruction: Tensor | None
    rectified: Tensor | None
    code: DeltaCode | None = None  # E_d(dX)


def algorithm1(generator: nn.Module, encoder: nn.Module, editor: Editor | None, rectifier: nn.Module | None, x0: Tensor,
               edits: Mapping[str, EditValue], strength: float = 1.0, output: Output = "photo") -> Algorithm1:
    """Algorithm 1 of the paper at inference for ``x0 [B,3,h,h]``, h at least the generator's resolution R.

    X^ and Y^ go through G in one batch, and E_d sees each difference once for both pictures it serves. Without a
    rectifier ``reconstruction``, ``rectified`` and ``code`` are None; without edits Y^ = X^ and no editor is needed.
    """
    w = encode(generator, encoder, clamp(resize(x0, generator.resolution)))  # Phase I: w = E(X0)
    w_edit = edit_latent(editor, w, edits)  # Editor(w)
    pictures = synthesize(generator, concatenate([w, w_edit]) if edits else w, chunk=2 * w.batch)
    x_hat, y_hat = pictures.chunk(2) if edits else (pictures, pictures)  # X^ = G(w), Y^ = G(Editor(w))
    delta = Delta(x0, x_hat, getattr(generator, "fingerprint", None), getattr(encoder, "fingerprint", None))
    if rectifier is None:  # Phase II: dX = X0 - X^
        return Algorithm1(w, w_edit, x_hat, y_hat, delta, None, None)
    primary = torch.stack([x_hat, y_hat], 1).flatten(0, 1) if edits else x_hat  # image-major: X^0, Y^0, X^1, Y^1, ...
    code = encode_differences(rectifier, delta) if strength else None
    painted = rectify(rectifier, primary, delta, strength, output, code=code)  # G_p(E_p(.), E_d(dX))
    x_r, y_r = (painted[0::2], painted[1::2]) if edits else (painted, painted)
    return Algorithm1(w, w_edit, x_hat, y_hat, delta, x_r, y_r, code)


class Triplet(NamedTuple):
    """What the rectifier is trained on; pictures ``[B,3,R,R]`` in [-1,1]: G_p(E_p(primary), E_d(delta)) = target."""

    delta: Tensor       # dI: what an inversion lost, in [-2,2]
    primary: Tensor     # I^: the inversion that is repainted
    target: Tensor      # I: its exact answer
    source: Tensor      # the inversion that dI belongs to: delta + source is its picture


def training_triplet(t: int, x: Tensor, y: Tensor, generator: Callable[[Tensor], Tensor],
                     encoder: Callable[[Tensor], Tensor]) -> Triplet:
    """Algorithm 1 of the paper in training, for t = 1, 2 or 3, drawn anew for every batch.

    ``x`` X = G(w) and ``y`` Y = G(Editor(w)) are ``[B,3,R,R]`` in [-1,1]: both are generated, so that the answer to
    the edit is known. ``generator`` takes codes to pictures, ``encoder`` pictures to codes. Triplets 1 and 2 go from
    one picture to the other and back; triplet 3 repaints X itself. Only what t needs is computed.
    """
    if t == 3:
        x_hat = generator(encoder(x))                                           # X^ = G(E(X))
        return Triplet(x - x_hat, x_hat, x, x_hat)                              # dI = X - X^, I^ = X^, I = X
    x_hat, y_hat = generator(encoder(torch.cat([x, y]))).chunk(2)               # X^ = G(E(X)), Y^ = G(E(Y))
    if t == 1:
        return Triplet(y - y_hat, x_hat, x, y_hat)                              # dI = Y - Y^, I^ = X^, I = X
    return Triplet(x - x_hat, y_hat, y, x_hat)                                  # dI = X - X^, I^ = Y^, I = Y
