"""Widths of networks for resolutions that their defaults were not made for.

The rectifier's defaults are the paper's at 512 px, where four downsamplings lead to a code of 32 px. Smaller pictures
keep a code of that size: they leave out the last downsamplings, and what follows gets as narrow as the code that they
end with. Widths that somebody has chosen are never changed.
"""

from __future__ import annotations

from typing import Any

from reganie_core.networks.rectifier import RectifierConfig

__all__ = ["rectifier_widths"]

CODE_RESOLUTION = 32
DEFAULT = RectifierConfig()
WIDTHS = ("encoder_channels", "body_channels", "decoder_channels", "gl_channels", "gl_dim")


def rectifier_widths(resolution: int, **options: Any) -> RectifierConfig:
    """The configuration with these options, default widths fitted to a resolution below 512."""
    chosen = any(options.get(name, getattr(DEFAULT, name)) != getattr(DEFAULT, name) for name in WIDTHS)
    if not chosen and resolution < DEFAULT.resolution:
        halvings = max(1, (resolution // CODE_RESOLUTION).bit_length() - 1)
        widths = DEFAULT.encoder_channels[:halvings + 1]
        share = DEFAULT.body_channels // widths[-1]
        options |= {"encoder_channels": widths, "body_channels": widths[-1],
                    "decoder_channels": DEFAULT.decoder_channels[-halvings:],
                    "gl_channels": tuple(c // share for c in DEFAULT.gl_channels), "gl_dim": DEFAULT.gl_dim // share}
    return RectifierConfig(resolution, **options)
