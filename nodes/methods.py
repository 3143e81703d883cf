"""Image -> latent by a method of choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .. import reganie_core as rc
from . import _choices, _host, _inputs, _models, _notices, _origins
from ._sockets import ENCODER, GENERATOR, LATENT, check_wire
from .invert import CATEGORY, OUTPUT_TOOLTIPS

NO_ENCODER = "none (start from the average)"
OPTIONAL_ENCODER = ("pti", "w", "w+")
EFFORTS = ("fast", "published")


class InvertImage:
    CATEGORY = CATEGORY
    FUNCTION = "invert"
    DESCRIPTION = (
        "Find the latent code of a portrait by a method of choice: one pass of an encoder (e4e), several (ReStyle), an "
        "encoder with a changed generator (HFGI, HyperStyle), or optimisation (W, W+, pivotal tuning)."
    )
    SEARCH_ALIASES = ["pti", "restyle", "hyperstyle", "hfgi", "projector", "gan inversion", "optimise", "w+", "w space",
                      "pivotal tuning", "reganie"]
    RETURN_TYPES = (LATENT, "IMAGE", "IMAGE")
    RETURN_NAMES = ("latent", "inversion", "image")
    OUTPUT_TOOLTIPS = OUTPUT_TOOLTIPS

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        encoders, networks = [*_choices.files("encoder"), NO_ENCODER], _choices.method_files()
        return {
            "required": {
                "generator": (GENERATOR, {"tooltip": "The generator to invert into."}),
                "image": (
                    "IMAGE",
                    {"tooltip": "One portrait or a batch, cropped as the generator's training pictures were."},
                ),
                **_method(),
                "fit": (
                    "COMBO",
                    {
                        "options": list(rc.images.FIT_MODES),
                        "default": "error",
                        "tooltip": "What happens to a picture that is not square: error refuses it, crop keeps the "
                        "centre, pad repeats the border.",
                    },
                ),
            },
            "optional": {
                "encoder": _inputs.socket(ENCODER, "Load e4e Encoder", "encoder"),
                "encoder_name": (
                    "COMBO",
                    {
                        "options": _inputs.Names(encoders),
                        "default": encoders[0],
                        "tooltip": "The encoder to use when none is connected. w, w+ and pti can do without.",
                    },
                ),
                "network_name": (
                    "COMBO",
                    {
                        "options": _inputs.Names(networks),
                        "default": networks[0],
                        "tooltip": "The method's own file from models/reganie, for restyle, hfgi and hyperstyle.",
                    },
                ),
            },
        }

    @classmethod
    def IS_CHANGED(cls, encoder_name: str = _choices.PACKAGED, network_name: str = "", **_: Any) -> str:
        return f"{_choices.state('encoder', encoder_name)};{_choices.state('method', network_name)}"

    def invert(
        self,
        generator: _models.Model,
        image: Tensor,
        method: str = "e4e",
        iterations: int = 0,
        effort: str = "fast",
        fit: str = "error",
        encoder: _models.Model | None = None,
        encoder_name: str = _choices.PACKAGED,
        network_name: str = _choices.NO_METHOD,
    ) -> tuple[Any, Tensor, Tensor]:
        generator = check_wire(generator, "generator")
        self.networks = self._load(method, encoder, encoder_name, network_name)  # kept: the next run need not load them
        pictures, size = rc.images.from_comfy(image), max(generator.value.resolution, 256)
        chunk, progress = _host.chunk_size(size), _host.Progress(1)
        latents, inversions, prepared, start = [], [], [], 0

        def work(chunk: int) -> Any:
            part = pictures[start : start + chunk]  # a smaller one where memory was short
            needed = [model for model in self.networks.values() if model is not None]
            network, *_ = _models.on_device(_host.activation_bytes(size, len(part)), generator, *needed)
            inverter = _inverter(method, self.networks, int(iterations), effort)

            with _latest(network) as drawn:

                def tick(done: int, total: int) -> None:
                    progress.at((start + len(part) * done / total) / len(pictures), drawn())

                return inverter(network, part.to(_host.device()), fit=fit, chunk=chunk, progress=tick)

        with _notices.show_warnings("Invert Image"):
            while start < len(pictures):
                found, chunk = _host.halving(chunk, work)
                latents.append(found.latent.to(_host.results_device()))
                inversions.append(rc.images.to_comfy(found.inversion).to(_host.results_device()))
                prepared.append(rc.images.to_comfy(found.image).to(_host.results_device()))
                start += max(1, chunk)
        inversion, picture = torch.cat(inversions), torch.cat(prepared)
        encoder = self.networks["encoder"] or self.networks["network"]
        _origins.record(inversion, picture, generator.value, getattr(encoder, "value", None))
        return rc.latents.concatenate(latents), inversion, picture

    def _load(self, method: str, wire: Any, encoder_name: str, network_name: str) -> dict[str, _models.Model | None]:
        """The networks a method takes: its own, and an encoder."""
        network = encoder = None
        if method in rc.inversion.NEEDS_FILE:
            network = _choices.load_method(method, network_name)
        if method != "restyle":
            if wire is not None:
                encoder = check_wire(wire, "encoder")
            elif encoder_name != NO_ENCODER:
                encoder = _choices.load("encoder", encoder_name)
        return {"network": network, "encoder": encoder}


@contextmanager
def _latest(generator: Any) -> Iterator[Callable[[], Tensor | None]]:
    """While a method runs: what its generator drew last, as ``[H,W,3]`` in [0,1], to be shown on the node."""
    last: list[Tensor] = []

    def keep(_: Any, __: Any, picture: Tensor) -> None:
        last[:] = [picture.detach()]

    handle = generator.synthesis.register_forward_hook(keep)
    try:
        yield lambda: rc.images.to_comfy(last[0][:1].float().clamp(-1, 1))[0] if last else None
    finally:
        handle.remove()


def _method() -> dict[str, Any]:
    """Which method, and how long it may take."""
    return {
        "method": (
            "COMBO",
            {
                "options": list(rc.inversion.METHODS),
                "default": "e4e",
                "tooltip": "e4e: fast, edits best. restyle: several passes. hfgi, hyperstyle: closer, with a "
                "generator changed for each picture. w, w+, pti: optimisation, slow; pti is closest. w+ with "
                "an encoder and few iterations refines what the encoder found.",
            },
        ),
        "iterations": (
            "INT",
            {
                "default": 0,
                "min": 0,
                "max": 5000,
                "tooltip": "Passes of restyle and hyperstyle, steps of w, w+ and pti. 0 takes the method's own "
                "number.",
            },
        ),
        "effort": (
            "COMBO",
            {
                "options": list(EFFORTS),
                "default": "fast",
                "tooltip": "For w, w+ and pti: fast takes about 100 steps, published as many as their papers.",
            },
        ),
    }


def _inverter(method: str, models: dict[str, _models.Model | None], iterations: int, effort: str) -> Any:
    """The method with its networks, and settings of its kind."""
    parts = {name: None if model is None else model.value for name, model in models.items()}
    settings: Any = None
    if method in OPTIONAL_ENCODER:
        fast = effort == "fast"
        steps = iterations or (100 if fast else 450)
        settings = rc.inversion.ProjectionSettings(
            steps=steps, lr=0.03 if fast else 0.01, l2_weight=1.0, optimise_noise=method == "pti" and not fast
        )
        if method == "pti":
            tuning = iterations or (80 if fast else 350)
            settings = rc.inversion.PtiSettings(settings, steps=tuning, lr=1e-3 if fast else 3e-4)
    own = iterations if method in ("restyle", "hyperstyle") and iterations else None
    return rc.inversion.make_inverter(method, **parts, iterations=own, settings=settings)


