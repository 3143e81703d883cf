"""``rc.edit`` and ``rc.invert``: prepare the pictures, run Algorithm 1, put the result together.

The file is not called edit.py: a module of that name would replace the function ``rc.edit`` on first import.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor, nn

from . import rectification
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
        code: E_d(dX).
        used: the rectifier that made Y_r, in words; None with rectify=False.
        generator, encoder: fingerprints of the networks that made X^.
        settings: fingerprint of the rectifier, strength and output that made X_r and ``code``. Another edit of the
            same pictures takes over what was made with the same settings.
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
    used: str | None = None
    generator: str | None = None
    encoder: str | None = None
    settings: tuple[str | None, float, str] | None = None

    @property
    def difference(self) -> Delta:
        """dX with X0 and X^, as :func:`reganie_core.rectify` takes it."""
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


def _values_of(edits: Mapping[str, EditValue], rows: slice, batch: int) -> dict[str, EditValue]:
    """The edits of some of ``batch`` pictures: a tensor with one value for each picture is cut to the rows."""
    def pick(value: EditValue) -> EditValue:
        inner = getattr(value, "value", value)
        if not isinstance(inner, Tensor) or inner.ndim == 0 or inner.shape[0] == 1:
            return value
        if inner.shape[0] != batch:
            raise InputError(f"There are {inner.shape[0]} values for {batch} pictures; give one, or one for each.")
        return inner[rows] if inner is value else type(value)(inner[rows])

    return {name: pick(value) for name, value in edits.items()}


def _settings(rectifier: nn.Module | None, strength: float, output: Output) -> tuple[str | None, float, str] | None:
    return None if rectifier is None else (getattr(rectifier, "fingerprint", None), float(strength), output)


def _join(parts: list[Algorithm1], image: Tensor, rectifier: nn.Module | None, strength: float,
          output: Output) -> EditResult:
    """One result from those of the chunks."""
    def cat(name: str) -> Tensor | None:
        pictures = [getattr(part, name) for part in parts]
        return None if pictures[0] is None else torch.cat(pictures)

    codes = [part.code for part in parts if part.code is not None]
    delta = Delta.cat([part.delta for part in parts])
    return EditResult(
        inversion=delta.inversion, edited=torch.cat([part.edited for part in parts]), delta=delta.pixels,
        reconstruction=cat("reconstruction"), rectified=cat("rectified"),
        latent=concatenate([part.latent for part in parts]),
        edited_latent=concatenate([part.edited_latent for part in parts]), image=image,
        code=DeltaCode.cat(codes) if codes else None, used=None if rectifier is None else name_of(rectifier),
        generator=delta.generator, encoder=delta.encoder, settings=_settings(rectifier, strength, output))


def _edit_again(previous: EditResult, domain: Domain, editor: Editor | None, changes: Mapping[str, EditValue],
                rectifier: nn.Module | None, strength: float, output: Output, chunk: int) -> EditResult:
    """Another edit of inverted pictures: the editor, G, E_p and G_p run; E and E_d do not run again."""
    w_edit = edit_latent(editor, previous.latent, changes)
    edited = synthesize(domain.generator, w_edit, chunk=chunk) if changes else previous.inversion
    if rectifier is None:
        return replace(previous, edited=edited, edited_latent=w_edit, reconstruction=None, rectified=None, used=None)
    settings = _settings(rectifier, strength, output)
    known = previous.settings is not None and settings[0] is not None and previous.settings[0] == settings[0]
    code = previous.code if known else None
    if code is None and strength:
        code = encode_differences(rectifier, previous.difference)

    def rectify(picture: Tensor) -> Tensor:
        return rectification.rectify(rectifier, picture, previous.difference, strength, output, chunk, code)

    reconstruction = previous.reconstruction if known and previous.settings == settings else None
    return replace(previous, edited=edited, edited_latent=w_edit, rectified=rectify(edited), code=code,
                   reconstruction=rectify(previous.inversion) if reconstruction is None else reconstruction,
                   used=name_of(rectifier), settings=settings)


def edit(image: Picture | Sequence[Picture] | EditResult, edits: Mapping[str, EditValue] | str = "", *,
         domain: Domain | str | os.PathLike[str] = "portraits", rectify: bool = True, strength: float = 1.0,
         output: Output = "photo", fit: Fit = "error", device: torch.device | str | None = None,
         chunk: int | None = None, rectifier: str | os.PathLike[str] | nn.Module = "auto") -> EditResult:
    """Invert, edit and rectify pictures (ReGANIE, Algorithm 1 at inference).

    Args:
        image: path, PIL image, tensor ``[3,H,W]`` / ``[B,3,H,W]`` in [-1,1], or a list of these. Or the result of an
            earlier call with the same domain: its pictures are not inverted again, which makes a slider fast.
        edits: ``{"age": 1.0, "yaw": rc.Target(-15.0)}`` or ``"age=+1, yaw=@-15"``; floats are changes. Empty: no edit.
        domain: a loaded :class:`Domain`, a packaged name or a folder. Load once and pass it for many calls.
        rectify: False stops after Y^.
        strength: 0 gives Y^, 1 the rectified picture.
        output: size of the result: ``"photo"`` (the picture's own, at least the generator's and at most 2048 px),
            ``"rectifier"`` (the network's resolution) or ``"edited"`` (the generator's).
        fit: "error", "crop" or "pad" for pictures that are not square.
        device: where to compute; default: where the domain is.
        chunk: pictures at a time. Default: by resolution, and 1 on a CPU, so that a picture does not depend on the
            others in its batch: another batch size rounds the last bits differently, and the flow can enlarge that.
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
    chunk = pictures_at_once(domain.generator.resolution, where) if chunk is None else max(1, chunk)
    if isinstance(image, EditResult):
        with torch.inference_mode():
            return _edit_again(image, domain, editor, changes, chosen, strength, output, chunk)
    with torch.inference_mode():
        pictures = prepare(image, domain.generator.resolution, fit, LARGEST_PHOTO if output == "photo" else None)
        pictures = pictures.to(where)
        count = len(pictures)
        parts = [algorithm1(domain.generator, domain.encoder, editor, chosen, pictures[rows],
                            _values_of(changes, rows, count), strength, output)
                 for rows in (slice(start, start + chunk) for start in range(0, count, chunk))]
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
