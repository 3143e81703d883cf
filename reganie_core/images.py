"""Where ranges, layouts and resizing change; nowhere else.

Inside the library an image is a float32 tensor ``[B,3,H,W]`` in [-1,1], RGB. At the ComfyUI edge it is ``[B,H,W,C]``
in [0,1]. Files hold 8 or 16 bits.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from .errors import InputError, MismatchError, NotFoundError
from .paths import is_file
from .picture_files import FORMATS, LARGEST_FILE, LARGEST_PICTURE, LARGEST_SIDE, check_target, decode, deep_grey
from .picture_files import to_rgb as pil_to_rgb
from .picture_files import write as write_picture

__all__ = [
    "FIT_MODES",
    "FORMATS",
    "LARGEST_FILE",
    "LARGEST_PICTURE",
    "LARGEST_SIDE",
    "area_downsample",
    "check_image",
    "check_target",
    "clamp",
    "fit",
    "fit_photo",
    "from_comfy",
    "from_pil",
    "from_uint8",
    "load_image",
    "open_picture",
    "resize",
    "save_image",
    "square",
    "to_comfy",
    "to_pil",
    "to_uint8",
]

Fit = Literal["error", "crop", "pad"]
FIT_MODES: tuple[str, ...] = ("error", "crop", "pad")
SMALLEST_SIDE = 16
LARGEST_PHOTO = 2048  # pixels on a side that edits work at; more would take gigabytes


def clamp(images: Tensor) -> Tensor:
    """Limit to [-1,1]: done wherever an image leaves the generator, so that an IMAGE wire changes nothing."""
    return images.clamp(-1.0, 1.0)


def check_image(images: Tensor, what: str = "image", limit: float = 1.5) -> Tensor:
    """Return ``images`` as float32 ``[B,3,H,W]``, or say what is wrong with it.

    Args:
        images: tensor ``[B,3,H,W]`` or ``[3,H,W]``.
        what: name used in messages.
        limit: largest magnitude that can still be an image in [-1,1] (an unclamped generator overshoots a little).

    Raises:
        InputError: not a float tensor, another shape, empty, NaN or infinite, or in another range.
    """
    if not isinstance(images, Tensor):
        raise InputError(f"The {what} must be a tensor [B,3,H,W] in [-1,1], found {type(images).__name__}.")
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise InputError(f"The {what} must have the shape [B,3,H,W], found {list(images.shape)}.")
    if not images.is_floating_point():
        raise InputError(
            f"The {what} has the type {images.dtype}; pass floats in [-1,1] (images.from_uint8 converts "
            "bytes)."
        )
    images = images.float()
    low, high = (float(v) for v in torch.aminmax(images))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"The {what} contains NaN or infinite values; look at the step that made it.")
    if max(-low, high) > limit:
        raise InputError(
            f"The {what} has values from {low:.3g} to {high:.3g}; expected "
            f"[-{int(limit)},{int(limit)}]. Divide 0..255 data first."
        )
    return images


def from_uint8(pixels: Tensor | np.ndarray) -> Tensor:
    """Bytes ``[B,H,W,3]`` or ``[H,W,3]`` -> float ``[B,3,H,W]`` in [-1,1] (x / 127.5 - 1)."""
    tensor = torch.as_tensor(np.ascontiguousarray(pixels)) if isinstance(pixels, np.ndarray) else pixels
    if tensor.dtype != torch.uint8:
        raise InputError(f"Expected bytes (uint8), found {tensor.dtype}.")
    if tensor.ndim == 3:
        tensor = tensor[None]
    if tensor.ndim != 4 or tensor.shape[-1] != 3:
        raise InputError(f"Expected the shape [B,H,W,3], found {list(tensor.shape)}.")
    return tensor.permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1.0)  # in place: photos are large


def to_uint8(images: Tensor) -> Tensor:
    """Float ``[B,3,H,W]`` in [-1,1] -> bytes ``[B,H,W,3]``; clamped and rounded to the nearest."""
    scaled = (clamp(images.detach().float()) + 1.0) * 127.5
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()


def from_comfy(images: Tensor, what: str = "image") -> Tensor:
    """ComfyUI's IMAGE ``[B,H,W,C]`` in [0,1], C = 1, 3 or 4 -> ``[B,3,H,W]`` in [-1,1].

    Grey is repeated; a fourth channel (alpha) is dropped, as ComfyUI's own LoadImage does. A slight overshoot of a
    resampling filter is clamped; another range is refused.

    Raises:
        InputError: another shape or type, an empty batch, NaN, 0..255 floats or [-1,1] floats.
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in images.shape:
        found = list(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise InputError(f"The {what} must be an IMAGE [B,H,W,C] with 1, 3 or 4 channels, found {found}.")
    if not images.is_floating_point():
        raise InputError(f"The {what} has the type {images.dtype}; an IMAGE holds floats in [0,1].")
    images = images.float()
    images = images.expand(*images.shape[:3], 3) if images.shape[-1] == 1 else images[..., :3]
    low, high = (float(v) for v in torch.aminmax(images))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"The {what} contains NaN or infinite values; look at the node that made it.")
    if high > 2.0 or low < -0.75:
        raise InputError(f"The {what} has values from {low:.3g} to {high:.3g}; an IMAGE holds [0,1]. Rescale it first.")
    return (images.clamp(0.0, 1.0) * 2.0 - 1.0).permute(0, 3, 1, 2).contiguous()


def to_comfy(images: Tensor) -> Tensor:
    """``[B,3,H,W]`` in [-1,1] -> ComfyUI's IMAGE ``[B,H,W,3]``, float32 in [0,1], clamped."""
    return ((clamp(images.float()) + 1.0) * 0.5).permute(0, 2, 3, 1).contiguous()


def from_pil(image: Image.Image) -> Tensor:
    """A PIL image of any mode -> ``[1,3,H,W]`` in [-1,1].

    The EXIF orientation and a colour profile are applied; 16-bit grey keeps its precision; palettes are expanded; alpha
    is dropped (the stored colours count, as in ComfyUI's LoadImage), not composited.

    Raises:
        InputError: a float image outside [0,1], or a mode PIL cannot turn into RGB.
    """
    image = ImageOps.exif_transpose(image)
    grey = deep_grey(image)
    if grey is not None:
        return torch.from_numpy(grey * 2.0 - 1.0)[None, None].repeat(1, 3, 1, 1)
    return from_uint8(np.array(pil_to_rgb(image)))


def to_pil(images: Tensor) -> list[Image.Image]:
    """``[B,3,H,W]`` in [-1,1] -> one 8-bit RGB PIL image each."""
    return [Image.fromarray(array) for array in to_uint8(images).numpy()]


def load_image(path: str | os.PathLike[str]) -> Tensor:
    """Read a picture file -> ``[1,3,H,W]`` in [-1,1]; see :func:`from_pil` for modes. Only the first frame is read.

    Raises:
        NotFoundError, InputError: see :func:`open_picture`.
    """
    return from_pil(open_picture(path))


def open_picture(path: str | os.PathLike[str]) -> Image.Image:
    """Read a picture file as it is stored: mode, alpha and metadata are kept. Only the first frame is read.

    Raises:
        NotFoundError: there is no such file.
        InputError: a folder, not a picture, truncated, larger than 16384 pixels on a side, than 50 million pixels in
            all, or than 512 MiB as a file.
    """
    source = Path(path)
    if os.path.isdir(source):
        raise InputError(f"{source} is a folder; give one picture, or several: {source}/*.jpg.")
    if not is_file(source):
        raise NotFoundError(f"There is no picture at {source}.")
    try:
        if source.stat().st_size > LARGEST_FILE:
            raise InputError(f"{source.name} is larger than {LARGEST_FILE >> 20} MiB; give a smaller picture.")
        data = source.read_bytes()
    except OSError as error:
        raise InputError(f"{source.name} cannot be read: {error.strerror}.") from error
    return decode(data, source.name)


def save_image(image: Tensor | Image.Image, path: str | os.PathLike[str]) -> Path:
    """Write one picture (``[3,H,W]``, ``[1,3,H,W]`` in [-1,1], or PIL) by the suffix of ``path``, atomically.

    A PIL image keeps its alpha, its 16 bits and its colour profile; see :mod:`.picture_files`.

    Raises:
        InputError: more than one image, an unknown suffix, one that cannot hold the picture (:func:`check_target`), or
            a folder that cannot be written.
    """
    if isinstance(image, Tensor):
        checked = check_image(image, "picture to save")
        if checked.shape[0] != 1:
            raise InputError(f"One file holds one picture, found a batch of {checked.shape[0]}.")
        image = to_pil(checked)[0]
    return write_picture(image, path)


def area_downsample(images: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Average over equal blocks when the factor is a whole number, antialiased bilinear otherwise; any value range.

    Raises:
        MismatchError: ``size`` is larger than the images (upsampling invents nothing here).
    """
    height, width = (size, size) if isinstance(size, int) else size
    h, w = images.shape[-2:]
    if (h, w) == (height, width):
        return images
    if h < height or w < width:
        raise MismatchError(f"Images of {w}x{h} are smaller than the {width}x{height} needed; use a larger picture.")
    if h % height == 0 and w % width == 0:
        return F.avg_pool2d(images, (h // height, w // width))
    return resize(images, (height, width), "bilinear")


def resize(images: Tensor, size: int | tuple[int, int], mode: Literal["bilinear", "bicubic"] = "bicubic") -> Tensor:
    """Antialiased resampling of ``[B,C,H,W]`` to ``size`` = side or (H, W); the values may overshoot with bicubic.

    Shrinking by a whole factor averages blocks, which is the exact area filter. The same size is returned untouched.
    """
    height, width = (size, size) if isinstance(size, int) else size
    h, w = images.shape[-2:]
    if (h, w) == (height, width):
        return images
    if h % height == 0 and w % width == 0:
        return F.avg_pool2d(images, (h // height, w // width))
    return F.interpolate(images, (height, width), mode=mode, align_corners=False, antialias=True)


def fit(images: Tensor, size: int, mode: Fit = "error") -> Tensor:
    """Make ``[B,3,H,W]`` in [-1,1] square with ``size`` pixels on a side; see :func:`square`."""
    return clamp(resize(square(images, mode), size))


def fit_photo(images: Tensor, size: int, mode: Fit = "error") -> tuple[Tensor, Tensor]:
    """(photo, picture) of ``[B,3,H,W]``: square at its own resolution, and at ``size`` for a network.

    The photo ``[B,3,h,h]`` has h of at least ``size`` and at most :data:`LARGEST_PHOTO` pixels.
    """
    images = square(images, mode)
    side = max(size, min(LARGEST_PHOTO, images.shape[-1]))
    return clamp(resize(images, side)), clamp(resize(images, size))


def square(images: Tensor, mode: Fit = "error") -> Tensor:
    """Make ``[B,3,H,W]`` in [-1,1] square at its own resolution.

    Args:
        mode: what happens to a picture that is not square: ``"error"`` refuses it, ``"crop"`` keeps the centre,
            ``"pad"`` repeats the border pixels.

    Raises:
        InputError: an unknown mode, a side below 16 or above 16384 pixels, or not square with mode "error".
    """
    if mode not in FIT_MODES:
        raise InputError(f"fit must be one of {', '.join(FIT_MODES)}; found {mode!r}.")
    images = check_image(images)
    h, w = images.shape[-2:]
    if min(h, w) < SMALLEST_SIDE or max(h, w) > LARGEST_SIDE:
        raise InputError(
            f"The picture is {w}x{h}; its sides must lie between {SMALLEST_SIDE} and {LARGEST_SIDE} "
            "pixels."
        )
    if h != w and mode == "error":
        raise InputError(f"The picture is {w}x{h}, not square; crop it around the face, or choose fit = crop or pad.")
    if h != w and mode == "crop":
        side = min(h, w)
        top, left = (h - side) // 2, (w - side) // 2
        images = images[..., top : top + side, left : left + side]
    if h != w and mode == "pad":
        side = max(h, w)
        top, left = (side - h) // 2, (side - w) // 2
        images = F.pad(images, (left, side - w - left, top, side - h - top), mode="replicate")
    return images
