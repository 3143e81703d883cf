"""Picture files as PIL images: one way to read them, what each format can hold, one way to write them.

Inference and training read with the same functions, so that a network sees in use what it saw in training.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from .colours import profile_of, to_srgb
from .errors import InputError
from .paths import atomic_write

__all__ = ["check_target", "decode", "deep_grey", "to_rgb", "without_addresses", "write"]

LARGEST_SIDE = 16384
LARGEST_FILE = 512 << 20  # bytes
LARGEST_PICTURE = 50_000_000  # pixels; reading one takes about 1 GB
LARGEST_PROFILE = 16 << 20  # bytes
PNG = b"\x89PNG\r\n\x1a\n"
# What is read, by content. Everything else stays with its own programs (PIL would start one for PostScript).
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")


@dataclass(frozen=True)
class Format:
    """What files of a suffix can hold: `modes` of pixels, at most `side` pixels, a colour profile or none."""

    modes: tuple[str, ...]
    side: int
    profile: bool = True


_JPEG, _TIFF = Format(("L", "RGB"), 65535), Format(("1", "L", "LA", "RGB", "RGBA", "I;16", "F"), 1 << 30)
WRITTEN = {
    ".png": Format(("1", "L", "LA", "RGB", "RGBA", "I;16"), 1 << 30),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": Format(("RGB", "RGBA"), 16383),
    ".bmp": Format(("1", "L", "RGB"), 1 << 30, profile=False),
    ".tif": _TIFF,
    ".tiff": _TIFF,
}
_OPTIONS = {".jpg": {"quality": 95, "subsampling": 0}, ".webp": {"quality": 95, "exact": True},
            ".tif": {"compression": "raw"}}     # else PIL would take the compression of the file that was read
_OPTIONS |= {".jpeg": _OPTIONS[".jpg"], ".tiff": _OPTIONS[".tif"]}
_SAID = {"I;16": "16-bit grey", "F": "grey of floats", "LA": "grey with alpha", "RGBA": "alpha"}


def without_addresses(error: object) -> str:
    """An error's text without Python objects' addresses, which say nothing and differ every time."""
    return re.sub(r"<[^<>]*\bat 0x[0-9a-fA-F]+>", "the data", str(error))


def decode(data: bytes, name: str, about: int = 0) -> Image.Image:
    """An encoded picture as it is stored: mode, alpha, orientation and metadata are kept. Only the first frame is read.

    Args:
        name: for messages.
        about: read a JPEG at a fraction of its size that leaves at least this many pixels on each side; 0: whole.

    Raises:
        InputError: not a picture, truncated, larger than 16384 pixels on a side or than 50 million pixels in all.
    """
    too_large = (f"at most {LARGEST_SIDE} pixels on a side and {LARGEST_PICTURE // 1_000_000} million in all are read. "
                 "Crop it around the face.")
    try:
        # From memory, because a decoder asks a file for as many bytes as its header claims to have.
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if max(image.size) > LARGEST_SIDE or image.width * image.height > LARGEST_PICTURE:
                raise InputError(f"{name} is {image.width}x{image.height}; {too_large}")
            if about:
                image.draft(None, (about, about))
            image.load()
            return image
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not a picture that can be read; use PNG, JPEG, WebP, TIFF or BMP.") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} has too many pixels: {too_large}") from error
    except InputError:
        raise
    except ValueError as error:
        plain, profile = _without_extras(data)
        if len(plain) == len(data):
            raise _damaged(name, error) from error
        image = decode(plain, name, about)
        if profile:
            image.info["icc_profile"] = profile
        return image
    except Exception as error:  # decoders of damaged files raise anything from EOFError to struct.error
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(f"{name} cannot be read as a picture ({without_addresses(error)}); it may be truncated or "
                      "damaged.")


def _without_extras(data: bytes) -> tuple[bytes, bytes]:
    """A PNG without what PIL refuses above 1 MB, and the colour profile it had; other data as they are.

    Texts (prompts, workflows) are not wanted here; a screen's measured profile is, so it is unpacked.
    """
    if not data.startswith(PNG):
        return data, b""
    kept, profile, at = [PNG], b"", len(PNG)
    while at + 12 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        content = data[at + 8 : at + 8 + size]
        if kind == b"iCCP":
            packed = content[content.find(b"\0") + 2 :]             # a name, the method (0), the profile
            with contextlib.suppress(zlib.error):
                profile = zlib.decompressobj().decompress(packed, LARGEST_PROFILE)
        elif kind not in (b"tEXt", b"zTXt", b"iTXt"):
            kept.append(data[at : at + 12 + size])
        at += 12 + size
    return b"".join(kept), profile


def deep_grey(image: Image.Image) -> np.ndarray | None:
    """Float32 [H,W] in [0,1] of a grey picture of 16 bits, 32 bits (0..65535) or floats (0..1); None for other modes.

    Raises:
        InputError: values outside that range, NaN or infinite.
    """
    if not image.mode.startswith("I") and image.mode != "F":
        return None
    values = np.asarray(image).astype(np.float32)
    scale = 1.0 if image.mode == "F" else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > scale:
        raise InputError(f"A picture of mode {image.mode} must hold 0..{scale:g}, found {values.min():g}.."
                         f"{values.max():g}. Convert it to 8 or 16 bits first.")
    return values / scale


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as 8-bit RGB in sRGB: palettes are expanded, colour profiles applied, 16 bits and floats
    rounded; alpha is dropped (the stored colours count), not composited.

    Raises:
        InputError: see :func:`deep_grey`, or a mode that PIL cannot turn into RGB.
    """
    grey = deep_grey(image)
    if grey is not None:
        return Image.fromarray((grey * 255.0).round().astype(np.uint8)).convert("RGB")
    try:
        plain = to_srgb(image)
        return plain if plain.mode == "RGB" else plain.convert("RGB")
    except (ValueError, OSError) as error:
        raise InputError(f"The picture's mode {image.mode} cannot be converted to RGB: {error}.") from error


def check_target(path: str | os.PathLike[str], mode: str = "RGB", size: tuple[int, int] = (1, 1)) -> None:
    """Raise :class:`InputError` unless a file named ``path`` can hold a picture of this PIL mode and (width, height).

    Callers ask before they compute; :func:`write` asks again. Print colours, palettes and the like become RGB.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in WRITTEN:
        raise InputError(f"Cannot write a picture named {target.name}; end it in .png, .jpg, .webp, .bmp or .tif.")
    if not _holds(suffix, mode):
        others = [s for s in (".png", ".webp", ".tif") if _holds(s, mode)]
        what = _SAID.get(mode, f"pixels of mode {mode}")
        raise InputError(f"A {suffix} file such as {target.name} cannot hold {what}; end the name in "
                         f"{' or '.join(others) or '.tif'}.")
    if max(size) > WRITTEN[suffix].side:
        raise InputError(f"{target.name} cannot hold {size[0]}x{size[1]} pixels; a {suffix} file has at most "
                         f"{WRITTEN[suffix].side} on a side. End the name in .png or .tif.")


def _holds(suffix: str, mode: str) -> bool:
    """Whether nothing of such pixels gets lost but the number of their channels."""
    modes = WRITTEN[suffix].modes
    if mode in ("I;16", "F") or mode.startswith("I"):
        return mode in modes
    return "RGBA" in modes if mode in ("LA", "La", "PA", "RGBA", "RGBa") else True


def write(image: Image.Image, path: str | os.PathLike[str]) -> Path:
    """Write a PIL image by the suffix of ``path``, atomically, with its colour profile.

    A profile that the format or the pixels written cannot keep is applied instead: the picture becomes sRGB.

    Raises:
        InputError: see :func:`check_target`; or a folder that cannot be written.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    clear = "transparency" in image.info
    check_target(target, "RGBA" if clear and not image.mode.startswith("I") else image.mode, image.size)
    image = _as_written(image, WRITTEN[suffix], clear)
    try:
        with atomic_write(target) as temporary:
            image.save(temporary, icc_profile=profile_of(image), **_OPTIONS.get(suffix, {}))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"Cannot write {target.name}: {without_addresses(error)}. Choose another format or "
                         "place.") from error
    return target


def _as_written(image: Image.Image, form: Format, clear: bool) -> Image.Image:
    """The image in a mode of this format, without a profile that does not describe it."""
    fits = image.mode in form.modes and not (clear and image.mode != "I;16")
    profile = profile_of(image)
    if not fits and profile is None and image.mode == "1":
        image = image.convert("L" if "L" in form.modes else "RGB")
    elif not fits or (profile is not None and not form.profile):
        image = to_srgb(image)
    if profile_of(image) is None and "icc_profile" in image.info:
        image = image.copy()
        del image.info["icc_profile"]
    return image
