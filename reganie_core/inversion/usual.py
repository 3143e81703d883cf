"""How large a domain's own inversion errors are, so that a picture unlike its training pictures is noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ..images import area_downsample, check_image, clamp, resize

__all__ = ["UsualError", "inversion_error"]

FAR = 1.5  # times the 99th percentile: pictures of the domain, odd ones included, stay below


def inversion_error(image: Tensor, inversion: Tensor) -> Tensor:
    """Mean squared error ``[B]`` of X0 ``[B,3,h,h]`` and X^ ``[B,3,R,R]`` in [-1,1], at X^'s size."""
    image, inversion = clamp(check_image(image)), clamp(check_image(inversion, "inversion"))
    size = inversion.shape[-1]
    image = area_downsample(image, size) if image.shape[-1] >= size else resize(image, size)
    return (image - inversion).square().mean((1, 2, 3))


@dataclass(frozen=True)
class UsualError:
    """Percentiles of :func:`inversion_error` on pictures of a domain that nothing was trained on.

    pictures: what they are, in words that fit "the networks know ... only"; count: how many were measured.
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
            usual = cls(str(found["pictures"])[:80], int(found["count"]), *percentiles)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        return usual if 0 < usual.p99 < 4 and usual.pictures.isprintable() else None

    def to_dict(self) -> dict[str, Any]:
        """For a ``domain.json``."""
        return asdict(self)

    def notice(self, errors: Tensor) -> str | None:
        """One sentence when a picture's error ``[B]`` lies far outside, else None."""
        worst, far = float(errors.max()), int((errors > FAR * self.p99).sum())
        if not far:
            return None
        which = "this picture is" if len(errors) == 1 else f"{far} of {len(errors)} pictures are"
        return (f"These networks know {self.pictures} only; {which} unlike them (inversion error {worst:.2f}, theirs "
                f"up to {self.p99:.2f}). The edit will follow the networks, not the picture: crop it as their training "
                "pictures were, or use networks trained on pictures of its kind.")
