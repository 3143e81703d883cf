"""A portrait in, an accurate edit out: one call over one or many pictures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from .domains import Domain, load_domain
from .editing import EditValue, parse_edits
from .editing.protocol import Editor, check_edits, edit_latent
from .errors import InputError, ReganieWarning
from .images import Fit, check_image, from_pil, load_image
from .images import fit as fit_square
from .latents import Latent, concatenate, synthesize
from .networks.rectifier_encoders import DeltaCode
from .rectify import Algorithm1, Output, algorithm1, paste
from .rectify import rectify as paint_back

__all__ = ["EditResult", "Picture", "edit", "prepare"]

Picture = str | os.PathLike[str] | Image.Image | Tensor


@dataclass(frozen=True)
class EditResult:
    """Everything one edit computes; images ``[B,3,H,W]`` in [-1,1], delta in [-2,2].

    Attributes:
        inversion: X^ = G(E(X0)).
        edited: Y^ = G(Editor(E(X0))), the edit before rectifying.
        delta: dX = X0 - X^.
        reconstruction: X_r, the rectified inversion; None with rectify=False.
        rectified: Y_r, the result; None with rectify=False.
        latent: codes of the inversion.
        edited_latent: codes of the edit.
        image: X0, the prepared square picture.
        code: E_d(dX), which the next edit of the same picture needs again; rectifier: fingerprint of whose it is.
    """

    inversion: Tensor
    edited: Tensor
    delta: Tensor
    reconstruction: Tensor | None
    rectified: Tensor | None
    latent: Latent
    edited_latent: Latent
    image: Tensor
    code: DeltaCode | None = None
    rectifier: str | None = None

    @property
    def pasted(self) -> Tensor:
        """The trivial baseline Y^ + dX, clamped."""
        return paste(self.edited, self.delta)

    @property
    def result(self) -> Tensor:
        """The picture to keep: Y_r, or Y^ without rectifying."""
        return self.edited if self.rectified is None else self.rectified


def prepare(image: Picture | Sequence[Picture], size: int, fit: Fit = "error") -> Tensor:
    """Paths, PIL images or tensors ``[3,H,W]`` / ``[B,3,H,W]`` in [-1,1], one or a list -> ``[B,3,size,size]``."""
    items = list(image) if isinstance(image, list | tuple) else [image]
    if not items:
        raise InputError("There is no picture to edit; give at least one.")
    prepared = []
    for item in items:
        if isinstance(item, Tensor):
            picture = check_image(item)
        elif isinstance(item, Image.Image):
            picture = from_pil(item)
        elif isinstance(item, str | os.PathLike):
            picture = load_image(item)
        else:
            raise InputError(f"A picture is a path, a PIL image or a tensor [3,H,W], found {type(item).__name__}.")
        prepared.append(fit_square(picture, size, fit).to("cpu" if len(items) > 1 else picture.device))
    return torch.cat(prepared)


def _rows(edits: Mapping[str, EditValue], rows: slice, batch: int) -> dict[str, EditValue]:
    """The part of per-image edits that belongs to a chunk."""
    def pick(value: EditValue) -> EditValue:
        inner = getattr(value, "value", value)
        if not isinstance(inner, Tensor) or inner.ndim == 0 or inner.shape[0] == 1:
            return value
        if inner.shape[0] != batch:
            raise InputError(f"There are {inner.shape[0]} values for {batch} pictures; give one, or one for each.")
        return inner[rows] if inner is value else type(value)(inner[rows])

    return {name: pick(value) for name, value in edits.items()}


def _join(parts: list[Algorithm1], image: Tensor, rectifier: str | None) -> EditResult:
    def cat(name: str) -> Tensor | None:
        pictures = [getattr(part, name) for part in parts]
        return None if pictures[0] is None else torch.cat(pictures)

    return EditResult(
        inversion=cat("inversion"), edited=cat("edited"), delta=cat("delta"), reconstruction=cat("reconstruction"),
        rectified=cat("rectified"), latent=concatenate([part.latent for part in parts]),
        edited_latent=concatenate([part.edited_latent for part in parts]), image=image, rectifier=rectifier,
        code=None if parts[0].code is None else DeltaCode(*(
            None if column[0] is None else torch.cat(column)
            for column in zip(*(part.code for part in parts), strict=True)
        )),
    )


def _again(previous: EditResult, domain: Domain, editor: Editor | None, changes: Mapping[str, EditValue],
           rectify: bool, strength: float, output: Output, step: int) -> EditResult:
    """Another edit of pictures that were inverted before: editor, G, E_p and G_p; neither E nor E_d."""
    w_edit = edit_latent(editor, previous.latent, changes)
    edited = synthesize(domain.generator, w_edit, chunk=step) if changes else previous.inversion
    if not rectify:
        return replace(previous, edited=edited, edited_latent=w_edit, rectified=None)
    known = previous.rectifier is not None and previous.rectifier == getattr(domain.rectifier, "fingerprint", None)
    code = previous.code if known else None
    painted = paint_back(domain.rectifier, edited, previous.delta, strength, output, step, code, previous.inversion)
    return replace(previous, edited=edited, edited_latent=w_edit, rectified=painted)


def edit(image: Picture | Sequence[Picture] | EditResult, edits: Mapping[str, EditValue] | str = "", *,
         domain: Domain | str | os.PathLike[str] = "portraits", rectify: bool = True, strength: float = 1.0,
         output: Output = "rectifier", fit: Fit = "error", device: torch.device | str | None = None,
         chunk: int | None = None) -> EditResult:
    """Invert, edit and rectify pictures (ReGANIE, Algorithm 1 at inference).

    Args:
        image: path, PIL image, tensor ``[3,H,W]`` / ``[B,3,H,W]`` in [-1,1], or a list of these; or the result of an
            edit of the same domain: its pictures are edited from the start, but not inverted again (a slider move).
        edits: ``{"age": 1.0, "yaw": rc.Target(-15.0)}`` or ``"age=+1, yaw=@-15"``; floats are changes. Empty: no edit.
        domain: a loaded :class:`Domain`, a packaged name or a folder. Load once and pass it for many calls.
        rectify: False stops after Y^; a domain without a rectifier then suffices.
        strength: 0 gives Y^, 1 the rectified picture.
        output: size of the result: ``"rectifier"`` (its resolution) or ``"edited"`` (the generator's).
        fit: "error", "crop" or "pad" for pictures that are not square.
        device: where to compute; default: where the domain is.
        chunk: pictures at a time; by default 8, and 1 on a CPU, where a batch then gives its singles' bits: sums in
            another order for another number of pictures change the last ones, and where two motions explain an edit
            equally well, the flow that the rectifier follows makes more of that. 8 are a little faster up to 128 px.

    Raises:
        InputError, MismatchError, NotFoundError: see the message; nothing is half done.
    """
    if not isinstance(domain, Domain):
        domain = load_domain(domain, device or "cpu")
    elif device is not None:
        domain.to(device)
    changes = parse_edits(edits) if isinstance(edits, str) else dict(edits)
    domain.require("generator", "encoder", *(("rectifier",) if rectify else ()))
    editor = domain.editor_for(changes) if changes else None
    if editor is not None:
        check_edits(editor, changes)
    where = next(domain.generator.parameters()).device
    step = max(1, chunk) if chunk is not None else 1 if where.type == "cpu" else 8
    if isinstance(image, EditResult):
        with torch.inference_mode():
            return _again(image, domain, editor, changes, rectify, strength, output, step)
    with torch.inference_mode():
        pictures = prepare(image, domain.generator.resolution, fit)
        pictures = pictures.to(where)
        parts = []
        for start in range(0, pictures.shape[0], step):
            rows = slice(start, start + step)
            parts.append(algorithm1(domain.generator, domain.encoder, editor, domain.rectifier if rectify else None,
                                    pictures[rows], _rows(changes, rows, pictures.shape[0]), strength, output))
        result = _join(parts, pictures, getattr(domain.rectifier, "fingerprint", None) if rectify else None)
    if float(result.delta.abs().mean()) > 0.6:
        warnings.warn("The inversion hardly resembles the picture; it is probably not of this domain, or not aligned.",
                      ReganieWarning, stacklevel=2)
    return result
