"""Phase II: the difference, and the network that paints it back."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .. import reganie_core as rc
from . import _choices, _host, _models
from ._sockets import DELTA, RECTIFIER

CATEGORY = "ReGANIE/4 Rectify"


class ComputeDelta:
    CATEGORY = CATEGORY
    FUNCTION = "compute"
    DESCRIPTION = "Take what the inversion lost: the difference between the inverted picture and its inversion."
    SEARCH_ALIASES = ["difference", "residual", "lost details", "delta image", "reganie"]
    RETURN_TYPES = (DELTA, "IMAGE")
    RETURN_NAMES = ("delta", "preview")
    OUTPUT_TOOLTIPS = (
        "The difference, for Rectify.",
        "The difference as a picture: mid grey means that nothing was lost.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "image": (
                    "IMAGE",
                    {"tooltip": "The picture that was inverted: E4E Invert's image output, not the photo."},
                ),
                "inversion": ("IMAGE", {"tooltip": "E4E Invert's inversion output. It sets the size."}),
            }
        }

    def compute(self, image: Tensor, inversion: Tensor) -> tuple[Tensor, Tensor]:
        picture, inverted = rc.images.from_comfy(image), rc.images.from_comfy(inversion, "inversion")
        delta = rc.rectify.difference(picture, inverted)
        doubt = rc.rectify.misfit(picture, inverted)
        if doubt:
            _host.notice("Compute Delta", doubt)
        delta = delta.to(_host.results_device())
        delta.inversion = inverted.to(_host.results_device())  # see `_sockets.DELTA`
        return delta, rc.images.to_comfy(rc.sheets.difference_picture(delta))


class _Codes:
    """E_d(dX) of a node's last difference, kept so that moving a slider runs the editor, G, E_p and G_p only.

    A difference that comes out of ComfyUI's cache is the same object, which is what is compared. Rows that were encoded
    in other groups (less memory, another number of edits) are simply encoded again.
    """

    MOST_BYTES = 1 << 29

    def __init__(self) -> None:
        self._of: tuple[weakref.ref, ...] = ()
        self._parts: dict[tuple[int, int], Any] = {}
        self._bytes = 0

    def use(self, delta: Tensor, rectifier: _models.Model) -> _Codes:
        """These codes, emptied unless they belong to this difference and this rectifier."""
        if not (self._of and self._of[0]() is delta and self._of[1]() is rectifier):
            self._of, self._parts, self._bytes = (weakref.ref(delta), weakref.ref(rectifier)), {}, 0
        return self

    def get(self, start: int, small: Tensor, encode: Callable[[Tensor], Any]) -> Any:
        """The code of the rows from ``start`` on, on ``small``'s device; ``encode`` makes it when it is not known."""
        code = self._parts.get((start, len(small)))
        if code is None:
            code = encode(small)
            size = sum(part.numel() * part.element_size() for part in code if part is not None)
            if self._bytes + size <= self.MOST_BYTES:
                self._bytes += size
                self._parts[start, len(small)] = _moved(code, _host.results_device())
        return _moved(code, small.device)


def _moved(code: Any, device: torch.device) -> Any:
    return type(code)(*(None if part is None else part.to(device) for part in code))


class _Watched:
    """A rectifier whose every pass moves the progress bar and looks for Cancel; rectify() sees no difference."""

    def __init__(self, network: Any, progress: _host.Progress, codes: _Codes, start: int) -> None:
        self._network, self._progress, self._codes, self._start = network, progress, codes, start
        self.resolution, self.carries = network.resolution, network.carries

    def encode_delta(self, delta: Tensor) -> Any:
        start, self._start = self._start, self._start + len(delta)
        return self._codes.get(start, delta, self._network.encode_delta)

    def render(self, edited: Tensor, code: Any, strength: float, flow: Tensor | None = None) -> Tensor:
        painted = self._network.render(edited, code, strength, flow)
        self._progress.step(len(painted))
        return painted


class Rectify:
    CATEGORY = CATEGORY
    FUNCTION = "rectify"
    DESCRIPTION = (
        "Paint what the inversion lost (hat, earrings, hand, background) back into the edit, where it belongs now."
    )
    SEARCH_ALIASES = ["reganie", "restore details", "rectifying network", "paint back", "phase 2"]
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The rectified edit.",)

    def __init__(self) -> None:
        self.codes = _Codes()  # ComfyUI keeps a node's object between runs

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        rectifiers = _choices.files("rectifier")
        return {
            "required": {
                "edited": (
                    "IMAGE",
                    {
                        "tooltip": "The edited picture from an edit node: one for each difference, or K for each, "
                        "ordered by picture. At least as large as the rectifier's resolution."
                    },
                ),
                "delta": (DELTA, {"tooltip": "The difference from Compute Delta."}),
                "strength": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 2.0,
                        "step": 0.05,
                        "display": "slider",
                        "tooltip": "0 gives the edited picture unchanged, 1 the rectified one, linear in "
                        "between; above 1 exaggerates.",
                    },
                ),
                "output": (
                    "COMBO",
                    {
                        "options": list(rc.rectify.OUTPUTS),
                        "default": "rectifier",
                        "tooltip": "rectifier: a picture of the rectifier's resolution. edited: the edited "
                        "picture's own size, with the rectifier's change enlarged and added.",
                    },
                ),
            },
            "optional": {
                "rectifier": (
                    RECTIFIER,
                    {"tooltip": "A rectifier from Load Rectifier. When connected, rectifier_name is not used."},
                ),
                "rectifier_name": (
                    "COMBO",
                    {
                        "options": rectifiers,
                        "default": rectifiers[0],
                        "tooltip": "The rectifier to use when none is connected.",
                    },
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, rectifier_name: str = _choices.PACKAGED) -> bool | str:
        return _choices.name_problem("rectifier", rectifier_name)

    @classmethod
    def IS_CHANGED(cls, rectifier_name: str = _choices.PACKAGED, **_: Any) -> str:
        return _choices.state("rectifier", rectifier_name)

    def rectify(
        self,
        edited: Tensor,
        delta: Tensor,
        strength: float = 1.0,
        output: str = "rectifier",
        rectifier: _models.Model | None = None,
        rectifier_name: str = _choices.PACKAGED,
    ) -> tuple[Tensor]:
        rectifier = _choices.chosen(self, "rectifier", rectifier, rectifier_name)
        pictures = rc.images.from_comfy(edited, "edited picture")
        size = rectifier.value.resolution
        inversion = getattr(delta, "inversion", None)
        repeats, uneven = divmod(len(pictures), len(delta))
        progress, chunk = _host.Progress(len(pictures)), _host.chunk_size(size)
        codes = self.codes.use(delta, rectifier)
        # Whole differences at a time, each with all its pictures; batches that do not pair are the library's to refuse.
        step = len(delta) if uneven or not repeats else max(1, chunk // repeats)

        def work(start: int, chunk: int) -> Tensor:
            (network,) = _models.on_device(_host.activation_bytes(size, chunk), rectifier)
            where = _host.device()
            edits = pictures if step == len(delta) else pictures[start * repeats : (start + step) * repeats]
            painted = rc.rectify.rectify(
                _Watched(network, progress, codes, start),
                edits.to(where),
                delta[start : start + step].to(where),
                float(strength),
                output,
                chunk,
                inversion=None if inversion is None else inversion[start : start + step].to(where),
            )
            return rc.images.to_comfy(painted).to(_host.results_device())

        parts = []
        for start in range(0, len(delta), step):
            part, chunk = _host.halving(chunk, partial(work, start))
            parts.append(part)
        return (torch.cat(parts),)
