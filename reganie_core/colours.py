"""Colour profiles (ICC) of pictures: when one belongs to the pixels, and how pixels come into sRGB.

The networks and every file without a profile mean sRGB. A profile tells only what the numbers of its own colour space
mean, so it may stay with pixels of that space and with no others.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from PIL import ImageCms

__all__ = ["LARGEST_PROFILE", "profile_of", "to_srgb"]

LARGEST_PROFILE = 16 << 20  # bytes; printers' profiles have a few
_SPACES = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}
_COLOURS = {"1": "L", "L": "L", "LA": "L", "La": "L", "F": "L", "I": "L", "P": "RGB", "PA": "RGB", "RGBX": "RGB",
            "RGBA": "RGB", "RGBa": "RGB"}
_STEPS = (0, 51, 102, 153, 204, 255)


def _colours(mode: str) -> str:
    """The colour space of a PIL mode: L, RGB, CMYK, or another one's own name."""
    return "L" if mode.startswith("I") else _COLOURS.get(mode, mode)


def profile_of(image: Image.Image, mode: str = "") -> bytes | None:
    """The ICC profile stored with ``image``, if it describes pixels of ``mode`` (default: the image's own)."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not 128 <= len(profile) <= LARGEST_PROFILE:
        return None
    return profile if _SPACES.get(profile[16:20]) == _colours(mode or image.mode) else None


def to_srgb(image: Image.Image) -> Image.Image:
    """An 8-bit picture of any mode as RGB (RGBA where it has alpha) in sRGB, without a profile.

    Without a profile of its own colour space, or with a damaged one, PIL's plain conversion has to do. A picture that
    is sRGB already, to within one step of 255, keeps its pixels.

    Raises:
        ValueError, OSError: PIL cannot turn the mode into RGB.
    """
    clear = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    plain = image.convert("RGBA" if clear else "RGB")
    profile = profile_of(image)
    if profile is not None:
        source = plain.convert("RGB") if _colours(image.mode) == "RGB" else image.convert(_colours(image.mode))
        converted = _converted(source, profile)
        if converted is not None and clear:
            converted.putalpha(plain.getchannel("A"))
        plain = converted or plain
    plain.info.pop("icc_profile", None)
    return plain


def _converted(image: Image.Image, profile: bytes) -> Image.Image | None:
    """L, RGB or CMYK -> RGB in sRGB; None when nothing has to be done, or the profile is damaged."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), image.mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION)
        if image.mode != "CMYK" and _is_identity(transform, image.mode):
            return None
        return ImageCms.applyTransform(image, transform)
    except Exception:  # a damaged profile: PyCMSError, OSError, ValueError ...; the picture is good without it
        return None


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform moves no colour of a coarse grid by more than one step of 255."""
    from PIL import ImageCms

    if mode == "L":
        probe = Image.frombytes("L", (256, 1), bytes(range(256)))
    else:
        triples = bytes(v for r in _STEPS for g in _STEPS for b in _STEPS for v in (r, g, b))
        probe = Image.frombytes("RGB", (len(_STEPS) ** 3, 1), triples)
    changed = ImageCms.applyTransform(probe, transform)
    if changed is None:  # only where it works in place
        return False
    before, after = probe.convert("RGB").tobytes(), changed.tobytes()
    return max(abs(a - b) for a, b in zip(before, after, strict=True)) <= 1
