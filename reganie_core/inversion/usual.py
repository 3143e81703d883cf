"""How large a domain's own inversion errors are, so that a picture unlike its training pictures is noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..alignment.flow import gaussian
from ..images import area_downsample, check_image, clamp, resize

__all__ = ["UsualError", "inversion_error"]

FAR = 0.4  # of the way from the 99th percentile to 1, which is an inversion without anything of the picture
LOOKED_AT = 128  # pixels
COARSE, FINE = 8.0, 2.0  # px of 128: structure between these widths, eyes and mouths rather than tones and hairs


def inversion_error(image: Tensor, inversion: Tensor) -> Tensor:
    """How much of the structure of X0 its inversion misses: 1 less the correlation of the two, ``[B]`` in [0,2].

    X0 ``[B,3,h,h]`` and X^ ``[B,3,R,R]`` in [-1,1] are compared in a band of widths, at 128 px or X^'s size. Squared
    errors tell a dark cat from a drawn portrait no better than a hat from a bare head; this does.
    """
    size = min(LOOKED_AT, inversion.shape[-1])
    unit = size / LOOKED_AT
    bands = []
    for picture in (clamp(check_image(image)), clamp(check_image(inversion, "inversion"))):
        small = area_downsample(picture, size) if picture.shape[-1] >= size else resize(picture, size)
        bands.append(gaussian(small - gaussian(small, COARSE * unit), FINE * unit).flatten(1))
    return 1 - torch.nn.functional.cosine_similarity(*bands)


@dataclass(frozen=True)
class UsualError:
    """Percentiles of :func:`inversion_error` on pictures of a domain that nothing was trained on.

    ``pictures``: what they are, in words that fit "the networks know ... only"; ``count``: how many were measured.
    """

    pictures: str
    count: int
    p50: float
    p90: float
    p99: float

    @classmethod
    def measured(cls, pictures: str, errors: Tensor) -> UsualError:
        """From errors ``[N]``, rounded to four digits."""
        p50, p90, p99 = (round(float(errors.float().quantile(q)), 4) for q in (0.5, 0.9, 0.99))
        return cls(pictures, len(errors), p50, p90, p99)

    @classmethod
    def from_dict(cls, found: Any) -> UsualError | None:
        """The entry of a ``domain.json``; None when there is none, or none that can be used."""
        if not isinstance(found, Mapping):
            return None
        try:
            percentiles = (float(found[name]) for name in ("p50", "p90", "p99"))
            usual = cls(found["pictures"], int(found["count"]), *percentiles)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        named = isinstance(usual.pictures, str) and usual.pictures.isprintable() and 0 < len(usual.pictures) <= 80
        return usual if named and usual.count > 0 and 0 < usual.p50 <= usual.p90 <= usual.p99 < 1 else None

    def to_dict(self) -> dict[str, Any]:
        """For a ``domain.json``."""
        return asdict(self)

    def notice(self, errors: Tensor) -> str | None:
        """One sentence when a picture's error ``[B]`` lies far outside, else None."""
        worst, far = float(errors.max()), int((errors > self.p99 + FAR * (1 - self.p99)).sum())
        if not far:
            return None
        which = "this picture is" if len(errors) == 1 else f"{far} of {len(errors)} pictures are"
        return (f"These networks know {self.pictures} only; {which} unlike them (the inversion misses {worst:.0%} of "
                f"the structure, of 99 % of theirs at most {self.p99:.0%}). The edit will follow the networks, not the "
                "picture: crop it as their training pictures were, or use networks trained on pictures of its kind.")
