"""Phase II: what the inversion lost, and the rectifier that brings it back."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import reganie_core as rc
from . import _choices, _host, _models, _origins, _rectifiers
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
                    {
                        "tooltip": "The picture that was inverted: E4E Invert's image output, not the photo. It may be "
                        "larger than the inversion; its detail is kept."
                    },
                ),
                "inversion": ("IMAGE", {"tooltip": "E4E Invert's inversion output."}),
            }
        }

    def compute(self, image: Tensor, inversion: Tensor) -> tuple[rc.Delta, Tensor]:
        origin = _origins.of(inversion)
        picture, inverted = rc.images.from_comfy(image), rc.images.from_comfy(inversion, "inversion")
        known = (None, None) if origin is None else (origin.generator, origin.encoder)
        delta = rc.Delta(picture, inverted, *known).to(_host.results_device())
        doubt = (rc.delta.misfit(picture, inverted) if origin is None or origin.picture() is None
                 else origin.other_picture(image))
        if doubt:
            _host.notice("Compute Delta", doubt)
        return delta, rc.images.to_comfy(rc.sheets.difference_picture(delta.pixels))


class _Codes:
    """E_d(dX) of a node's last difference, kept so that moving a slider runs the editor, G, E_p and G_p only.

    A difference that comes out of ComfyUI's cache is the same object, which is what is compared.
    """

    MOST_BYTES = 1 << 29

    def __init__(self) -> None:
        self._of: tuple[weakref.ref, ...] = ()
        self._rows: dict[int, Any] = {}
        self._bytes = 0

    def use(self, delta: rc.Delta, rectifier: _models.Model) -> _Codes:
        """These codes, emptied unless they belong to this difference and this rectifier."""
        if not (self._of and self._of[0]() is delta and self._of[1]() is rectifier):
            self._of, self._rows, self._bytes = (weakref.ref(delta), weakref.ref(rectifier)), {}, 0
        return self

    def get(self, rows: list[int], device: torch.device, encode: Callable[[list[int]], Any]) -> Any:
        """The codes of some differences; ``encode(rows)`` makes those not known, or gives None without an E_d."""
        found = {i: self._rows[i] for i in rows if i in self._rows}
        new = [i for i in dict.fromkeys(rows) if i not in found]
        if new:
            codes = encode(new)
            if codes is None:
                return None
            for k, i in enumerate(new):
                found[i] = codes.rows(slice(k, k + 1))
                size = sum(part.numel() * part.element_size() for part in found[i] if part is not None)
                if self._bytes + size <= self.MOST_BYTES:
                    self._bytes += size
                    self._rows[i] = found[i].to(_host.results_device())
        return type(found[rows[0]]).cat([found[i].to(device) for i in rows])


class Rectify:
    CATEGORY = CATEGORY
    FUNCTION = "rectify"
    DESCRIPTION = (
        "Bring what the inversion lost (hat, earrings, hand, background) back into the edit, where it belongs now. "
        "Works with every StyleGAN: without a rectifier for yours the detail is carried without a network."
    )
    SEARCH_ALIASES = ["reganie", "restore details", "rectifying network", "paint back", "phase 2", "carry"]
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("image", "doubt")
    OUTPUT_TOOLTIPS = (
        "The rectified edit.",
        "White where the result may well be wrong: the edit changed something that the photo has detail of, or a turn "
        "uncovered what nobody has seen. For an inpainting, or to look at.",
    )

    def __init__(self) -> None:
        self.codes = _Codes()  # ComfyUI keeps a node's object between runs

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        rectifiers = _rectifiers.names()
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
                        "options": list(rc.rectification.OUTPUTS),
                        "default": "photo",
                        "tooltip": "photo: the size of the picture that was inverted, with all of its detail. "
                        "rectifier: the resolution of the rectifying network. edited: the generator's.",
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
                        "tooltip": "What to use when no rectifier is connected. auto: the one that was trained for "
                        "this generator where there is one, else carry. carry: no network, any generator.",
                    },
                ),
            },
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, rectifier_name: str = _rectifiers.AUTO) -> bool | str:
        return _choices.name_problem("rectifier", rectifier_name)

    @classmethod
    def IS_CHANGED(cls, rectifier_name: str = _rectifiers.AUTO, **_: Any) -> str:
        return _rectifiers.state(rectifier_name)

    def rectify(
        self,
        edited: Tensor,
        delta: rc.Delta,
        strength: float = 1.0,
        output: rc.rectification.Output = "photo",
        rectifier: _models.Model | None = None,
        rectifier_name: str = _rectifiers.AUTO,
        unique_id: str | None = None,
    ) -> tuple[Tensor, Tensor]:
        rectifier = self.model = _rectifiers.choose(rectifier, rectifier_name, delta)
        pictures = rc.images.from_comfy(edited, "edited picture")
        repeats = rc.rectification.repeats_of(pictures, delta)
        size = max(pictures.shape[-1], delta.image.shape[-1], rectifier.value.resolution or 0)
        codes = self.codes.use(delta, rectifier)

        def work(rows: slice, chunk: int) -> tuple[Tensor, Tensor]:
            (network,) = _models.on_device(_host.activation_bytes(size, chunk), rectifier)
            where, wanted = _host.device(), range(rows.start, rows.stop)
            own = [i // repeats for i in wanted]
            code = None
            if strength:
                code = codes.get(own, where, lambda new: rc.rectification.encode_differences(
                    network, delta[new].to(where), chunk))
            found = rc.rectification.rectify_with_doubt(
                network, pictures[rows].to(where), delta[own].to(where), float(strength), output, chunk, code)
            return rc.images.to_comfy(found.picture), found.doubt[:, 0]

        picture, doubt = _host.in_chunks(len(pictures), _host.chunk_size(size), work)
        _host.show_text(unique_id, f"used: {rectifier.label}")
        return picture, doubt
