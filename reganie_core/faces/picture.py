"""Photos as they come (tensors or PIL, grey, RGB, with alpha, 8 or 16 bits): read and written in rectangles.

Only rectangles are converted, so a large photo costs what its faces cost, and what is not written stays bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..colours import profile_of, to_srgb
from ..errors import InputError

__all__ = ["Photo", "Photos", "Picture", "open_photos"]

Photo = Tensor | Image.Image
Photos = Tensor | Image.Image | Sequence[Photo]
Bounds = tuple[int, int, int, int]

#: What PIL itself uses for grey (ITU-R 601-2).
LUMA = (0.299, 0.587, 0.114)
_UNCHANGED_MODES = ("L", "LA", "RGB", "RGBA", "I;16", "F")


class Picture:
    """One photo: ``read`` gives RGB in [-1,1], ``write`` changes chosen pixels of a private copy.

    ``pixels`` is [C,H,W] (a tensor) or [H,W,C] (an array of a PIL image); a fourth (or second) channel is alpha and
    is never touched.
    """

    def __init__(self, photo: Photo, name: str = "", copy: bool = False) -> None:
        self.name = name
        self.info: dict[Any, Any] = {}
        self.mode = ""
        if isinstance(photo, Tensor):
            self.pixels: Tensor = _check_tensor(photo, name)
            self.pixels = self.pixels.clone() if copy else self.pixels
        elif isinstance(photo, Image.Image):
            image = ImageOps.exif_transpose(photo)
            image = _in_pasted_mode(image)
            self.mode, self.info = image.mode, dict(image.info)
            array = np.array(image)
            array = array[..., None] if array.ndim == 2 else array
            self.pixels = torch.from_numpy(array.astype(np.int32) if array.dtype == np.uint16 else array)
            self.pixels = self.pixels.permute(2, 0, 1)
        else:
            raise InputError(f"A photo is a PIL image or a tensor [C,H,W] in [-1,1], found {type(photo).__name__}.")
        self.scale = {"I;16": 65535.0, "F": 1.0}.get(self.mode, 255.0) if self.mode else 0.0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.pixels.shape[2], self.pixels.shape[1]

    @property
    def colours(self) -> int:
        """1 for grey, 3 for RGB."""
        return 1 if self.pixels.shape[0] < 3 else 3

    def read(self, bounds: Bounds | None = None, step: int = 1) -> Tensor:
        """RGB ``[1,3,h,w]``, float32 in [-1,1], of x0, x1, y0, y1 (None: everything; ``step`` > 1: every nth pixel)."""
        x0, x1, y0, y1 = bounds or (0, self.size[0], 0, self.size[1])
        part = self.pixels[: self.colours, y0:y1:step, x0:x1:step].float()
        if self.mode:
            part = part / (self.scale / 2.0) - 1.0
        return part[None].expand(1, 3, *part.shape[1:]) if self.colours == 1 else part[None]

    def write(self, bounds: Bounds, rgb: Tensor, where: Tensor) -> None:
        """Set the pixels of a rectangle to ``rgb`` [1,3,h,w] where ``where`` [h,w] is true; alpha stays."""
        x0, x1, y0, y1 = bounds
        new = rgb[0].clamp(-1.0, 1.0)
        if self.colours == 1:
            new = (new * new.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
        if self.mode:
            new = (new + 1.0) * (self.scale / 2.0)
            new = new if self.mode == "F" else new.round()
        part = self.pixels[: self.colours, y0:y1, x0:x1]
        part.copy_(torch.where(where, new.to(part.dtype), part))

    def done(self) -> Photo:
        """The photo in the form it came."""
        if not self.mode:
            return self.pixels
        array = self.pixels.permute(1, 2, 0).numpy()
        if self.mode == "I;16":
            array = array.astype(np.uint16)
        image = Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))
        image.info.update(self.info)
        return image


def pasted_mode(image: Image.Image) -> str:
    """The mode in which a photo comes back from pasting."""
    if image.mode.startswith("I"):
        return "I;16"
    clear = "transparency" in image.info
    if image.mode in _UNCHANGED_MODES and not clear:
        return image.mode
    if image.mode == "1" and not clear:
        return "L"
    return "RGBA" if clear or image.mode in ("LA", "PA", "La", "RGBa", "RGBA") else "RGB"


def _in_pasted_mode(image: Image.Image) -> Image.Image:
    """The image in a mode whose pixels and profile can be kept; palettes become RGB, print colours sRGB."""
    mode = pasted_mode(image)
    if image.mode == mode:
        return image
    try:
        if mode != "I;16":
            return to_srgb(image) if mode != "L" and profile_of(image, "RGB") is None else image.convert(mode)
    except (ValueError, OSError) as error:
        raise InputError(f"The photo's mode {image.mode} cannot be converted to RGB: {error}.") from error
    values = np.array(image)
    if values.min() < 0 or values.max() > 65535:
        raise InputError(f"A photo of mode {image.mode} must hold 0..65535; convert it to 8 or 16 bits first.")
    deep = Image.fromarray(values.astype(np.uint16))
    deep.info.update(image.info)
    return deep


def _check_tensor(photo: Tensor, name: str) -> Tensor:
    what = f"photo {name}".strip()
    photo = photo[0] if photo.ndim == 4 and photo.shape[0] == 1 else photo
    if photo.ndim != 3 or photo.shape[0] not in (1, 3, 4) or 0 in photo.shape:
        raise InputError(f"The {what} must be [C,H,W] with 1, 3 or 4 channels, found {list(photo.shape)}.")
    if not photo.is_floating_point():
        raise InputError(f"The {what} has the type {photo.dtype}; pass floats in [-1,1], or a PIL image.")
    low, high = (float(v) for v in torch.aminmax(photo.detach()))
    if not (-1.5 <= low and high <= 1.5):  # also false for NaN
        raise InputError(f"The {what} has values from {low:.3g} to {high:.3g}; expected finite numbers in [-1,1].")
    return photo.detach()


def open_photos(photos: Photos, names: Sequence[str] | None = None, copy: bool = False) -> list[Picture]:
    """One :class:`Picture` for each photo of a tensor ``[B,C,H,W]``, a PIL image, or a list of either (mixed sizes).

    Args:
        names: for messages; default: "photo 0", "photo 1", ...
        copy: whether tensors will be written to.

    Raises:
        InputError: nothing there, another type or shape, or a wrong number of names.
    """
    if isinstance(photos, Image.Image) or (isinstance(photos, Tensor) and photos.ndim == 3):
        photos = [photos]
    count = len(photos)
    if not count:
        raise InputError("There is no photo; give at least one.")
    if names is not None and len(names) != count:
        raise InputError(f"There are {len(names)} names for {count} photos; give one for each.")
    return [Picture(photo, str(names[i]) if names else f"photo {i}", copy) for i, photo in enumerate(photos)]
