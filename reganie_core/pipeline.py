"""A portrait in, an accurate edit out: one call over one or many pictures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor, nn

from .algorithm1 import Algorithm1, algorithm1
from .batches import pictures_at_once
from .delta import Delta, paste
from .domains import Domain, load_domain
from .editing import EditValue, parse_edits
from .editing.protocol import Editor, check_edits, edit_latent
from .errors import InputError, ReganieWarning
from .images import LARGEST_PHOTO, Fit, check_image, clamp, from_pil, load_image, resize, square
from .inversion.usual import inversion_error
from .latents import Latent, concatenate, synthesize
from .networks.rectifier_encoders import DeltaCode
from .rectification import OUTPUTS, Output, encode_differences, name_of
from .rectification import rectify as paint_back

__all__ = ["EditResult", "Picture", "edit", "invert", "prepare"]

Picture = str | os.PathLike[str] | Image.Image | Tensor


@dataclass(frozen=True, eq=False)
class EditResult:
    """Everything one edit computes; images ``[B,3,H,W]`` in [-1,1], delta in [-2,2].

    X0, dX, X_r and Y_r have the picture's own size where that is larger than the generator's (output "photo").

    Attributes:
        inversion: X^ = G(E(X0)).
        edited: Y^ = G(Editor(E(X0))), the edit before rectifying.
        delta: dX = X0 - X^, at the size of X0.
        reconstruction: X_r, the rectified inversion; None with rectify=False.
        rectified: Y_r, the result; None with rectify=False.
        latent: codes of the inversion.
        edited_latent: codes of the edit.
        image: X0, the prepared square picture.
        code: E_d(dX), which the next edit of the same picture needs again; rectifier: fingerprint of whose it is.
        used: the rectifier that made Y_r, in words; None with rectify=False.
        generator, encoder: fingerprints of the networks that made X^.
        made: rectifier, strength and output of X_r, which the next edit of the same picture takes over.
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
    used: str | None = None
    generator: str | None = None
    encoder: str | None = None
    made: tuple[str | None, float, str] | None = None

    @property
    def lost(self) -> Delta:
        """dX with the pictures that it is the difference of, as :func:`reganie_core.rectify` takes it."""
        return Delta(self.image, self.inversion, self.generator, self.encoder)

    @property
    def pasted(self) -> Tensor:
        """The trivial baseline Y^ + dX, clamped, at the size of X0."""
        return paste(resize(self.edited, self.delta.shape[-1]), self.delta)

    @property
    def result(self) -> Tensor:
        """The picture to keep: Y_r, or Y^ without rectifying."""
        return self.edited if self.rectified is None else self.rectified


def prepare(image: Picture | Sequence[Picture], size: int, fit: Fit = "error", largest: int | None = None) -> Tensor:
    """Square pictures ``[B,3,s,s]`` in [-1,1] from paths, PIL images or tensors ``[3,H,W]`` / ``[B,3,H,W]``.

    s is ``size``; with ``largest``, larger pictures keep their own size up to so many pixels (of several the largest).
    """
    items = list(image) if isinstance(image, list | tuple) else [image]
    if not items:
        raise InputError("There is no picture to edit; give at least one.")
    pictures = []
    for item in items:
        if isinstance(item, Tensor):
            picture = check_image(item)
        elif isinstance(item, Image.Image):
            picture = from_pil(item)
        elif isinstance(item, str | os.PathLike):
            picture = load_image(item)
        else:
            raise InputError(f"A picture is a path, a PIL image or a tensor [3,H,W], found {type(item).__name__}.")
        pictures.append(square(picture, fit))
    side = max(size, min(largest or size, max(picture.shape[-1] for picture in pictures)))
    return torch.cat([clamp(resize(picture, side)).to("cpu" if len(items) > 1 else picture.device)
                      for picture in pictures])


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


def _join(parts: list[Algorithm1], image: Tensor, rectifier: nn.Module | None, strength: float,
          output: Output) -> EditResult:
    def cat(name: str) -> Tensor | None:
        pictures = [getattr(part, name) for part in parts]
        return None if pictures[0] is None else torch.cat(pictures)

    codes = [part.code for part in parts if part.code is not None]
    lost = Delta.cat([part.delta for part in parts])
    return EditResult(
        inversion=lost.inversion, edited=cat("edited"), delta=lost.pixels, reconstruction=cat("reconstruction"),
        rectified=cat("rectified"), latent=concatenate([part.latent for part in parts]),
        edited_latent=concatenate([part.edited_latent for part in parts]), image=image,
        code=DeltaCode.cat(codes) if codes else None, generator=lost.generator, encoder=lost.encoder,
        rectifier=getattr(rectifier, "fingerprint", None), used=None if rectifier is None else name_of(rectifier),
        made=None if rectifier is None else (getattr(rectifier, "fingerprint", None), float(strength), output))


def _again(previous: EditResult, domain: Domain, editor: Editor | None, changes: Mapping[str, EditValue],
           rectifier: nn.Module | None, strength: float, output: Output, step: int) -> EditResult:
    """Another edit of pictures that were inverted before: editor, G, E_p and G_p; neither E nor E_d."""
    w_edit = edit_latent(editor, previous.latent, changes)
    edited = synthesize(domain.generator, w_edit, chunk=step) if changes else previous.inversion
    if rectifier is None:
        return replace(previous, edited=edited, edited_latent=w_edit, reconstruction=None, rectified=None, used=None)
    own = getattr(rectifier, "fingerprint", None)
    code = previous.code if own is not None and previous.rectifier == own else None
    if code is None and strength:
        code = encode_differences(rectifier, previous.lost)
    painted = paint_back(rectifier, edited, previous.lost, strength, output, step, code)
    made = (own, float(strength), output)
    plain = previous.reconstruction if own is not None and previous.made == made else paint_back(
        rectifier, previous.inversion, previous.lost, strength, output, step, code)
    return replace(previous, edited=edited, edited_latent=w_edit, rectified=painted, reconstruction=plain, code=code,
                   rectifier=own, used=name_of(rectifier), made=made)


def edit(image: Picture | Sequence[Picture] | EditResult, edits: Mapping[str, EditValue] | str = "", *,
         domain: Domain | str | os.PathLike[str] = "portraits", rectify: bool = True, strength: float = 1.0,
         output: Output = "photo", fit: Fit = "error", device: torch.device | str | None = None,
         chunk: int | None = None, rectifier: str | os.PathLike[str] | nn.Module = "auto") -> EditResult:
    """Invert, edit and rectify pictures (ReGANIE, Algorithm 1 at inference).

    Args:
        image: path, PIL image, tensor ``[3,H,W]`` / ``[B,3,H,W]`` in [-1,1], or a list of these; or the result of an
            edit of the same domain: its pictures are edited from the start, but not inverted again (a slider move).
        edits: ``{"age": 1.0, "yaw": rc.Target(-15.0)}`` or ``"age=+1, yaw=@-15"``; floats are changes. Empty: no edit.
        domain: a loaded :class:`Domain`, a packaged name or a folder. Load once and pass it for many calls.
        rectify: False stops after Y^.
        strength: 0 gives Y^, 1 the rectified picture.
        output: size of the result: ``"photo"`` (the picture's own, at least the generator's and at most 2048 px),
            ``"rectifier"`` (the network's resolution) or ``"edited"`` (the generator's).
        fit: "error", "crop" or "pad" for pictures that are not square.
        device: where to compute; default: where the domain is.
        chunk: pictures at a time; by default 8, and 1 on a CPU, where a batch then gives its singles' bits: sums in
            another order for another number of pictures change the last ones, and where two motions explain an edit
            equally well, the flow that the rectifier follows makes more of that. 8 are a little faster up to 128 px.
        rectifier: ``"auto"`` (the domain's own where it has one and nothing better is known, else carry),
            ``"own"``, ``"carry"`` (no network, any generator), a path, or a loaded rectifier. ``used`` says which.

    Raises:
        InputError, MismatchError, NotFoundError: see the message; nothing is half done.
    """
    if not isinstance(domain, Domain):
        domain = load_domain(domain, device or "cpu")
    elif device is not None:
        domain.to(device)
    changes = parse_edits(edits) if isinstance(edits, str) else dict(edits)
    domain.require("generator", "encoder")
    if output not in OUTPUTS:
        raise InputError(f"output must be one of {', '.join(OUTPUTS)}; found {output!r}.")
    chosen = domain.choose_rectifier(rectifier) if rectify else None
    editor = domain.editor_for(changes) if changes else None
    if editor is not None:
        check_edits(editor, changes)
    where = next(domain.generator.parameters()).device
    step = pictures_at_once(domain.generator.resolution, where) if chunk is None else max(1, chunk)
    if isinstance(image, EditResult):
        with torch.inference_mode():
            return _again(image, domain, editor, changes, chosen, strength, output, step)
    with torch.inference_mode():
        pictures = prepare(image, domain.generator.resolution, fit, LARGEST_PHOTO if output == "photo" else None)
        pictures = pictures.to(where)
        parts = []
        for start in range(0, pictures.shape[0], step):
            rows = slice(start, start + step)
            parts.append(algorithm1(domain.generator, domain.encoder, editor, chosen, pictures[rows],
                                    _rows(changes, rows, pictures.shape[0]), strength, output))
        result = _join(parts, pictures, chosen, strength, output)
        unlike = unlike_the_domain(result, domain)
    if unlike:
        warnings.warn(unlike, ReganieWarning, stacklevel=2)
    return result


def unlike_the_domain(result: EditResult, domain: Domain) -> str | None:
    """A sentence when the inversion is far worse than the domain's usually are, else None."""
    errors = inversion_error(result.image, result.inversion)
    if domain.usual_error is not None:
        return domain.usual_error.notice(errors)
    if float(result.delta.abs().mean((1, 2, 3)).max()) > 0.6:
        return "The inversion hardly resembles the picture; it is probably not of this domain, or not aligned."
    return None


def invert(image: Picture | Sequence[Picture], *, domain: Domain | str | os.PathLike[str] = "portraits",
           fit: Fit = "error", device: torch.device | str | None = None, chunk: int | None = None) -> EditResult:
    """Invert pictures without an edit: X^, dX and the codes; ``edit(result, ...)`` goes on from there.

    Arguments and errors as in :func:`edit`.
    """
    return edit(image, domain=domain, rectify=False, fit=fit, device=device, chunk=chunk)
