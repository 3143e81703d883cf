"""Everything bad that a wire or a converted widget can deliver, by the type of the input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tests.host_stubs import picture

if TYPE_CHECKING:
    from tests.bad_inputs import World

NAN, INFINITE = float("nan"), float("inf")
LARGE = 8192


def bad_pictures(size: int, large: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What may come over an IMAGE wire."""
    def spoiled(value: float) -> Tensor:
        image = picture(1, size, size)
        image[0, 1, 2, 0] = value
        return image

    yield "an empty batch", lambda: torch.zeros(0, size, size, 3)
    yield "3 pictures", lambda: picture(3, size, size)
    yield "5 pictures", lambda: picture(5, size, size)
    yield "1x1", lambda: picture(1, 1, 1)
    yield "8x8", lambda: picture(1, 8, 8)
    yield f"{size // 2}x{size // 2}", lambda: picture(1, size // 2, size // 2)
    yield f"{4 * size}x{4 * size}", lambda: picture(1, 4 * size, 4 * size)
    yield f"{3 * size}x{size}", lambda: picture(1, size, 3 * size)
    if large:
        yield f"{LARGE}x{LARGE}", lambda: torch.rand(1, 64, 64, 3).repeat_interleave(128, 1).repeat_interleave(128, 2)
    yield "a NaN pixel", lambda: spoiled(NAN)
    yield "an infinite pixel", lambda: spoiled(INFINITE)
    for channels in (1, 2, 4):
        yield f"{channels} channel{'s' * (channels > 1)}", partial(picture, 1, size, size, channels)
    yield "floats from 0 to 255", lambda: picture(1, size, size) * 255
    yield "floats from -1 to 1", lambda: torch.linspace(-1, 1, 3 * size * size).view(1, size, size, 3)
    yield "bytes", lambda: (picture(1, size, size) * 255).byte()
    yield "half precision", lambda: picture(1, size, size).half()
    yield "double precision", lambda: picture(1, size, size).double()
    yield "no batch axis", lambda: picture(1, size, size)[0]
    yield "channels first", lambda: picture(1, size, size).permute(0, 3, 1, 2)
    yield "nothing", lambda: None
    yield "a text", lambda: "image"
    yield "a dictionary", lambda: {"samples": torch.zeros(1, 4, 8, 8)}


def bad_masks(size: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What may come over a MASK wire."""
    yield "an empty batch", lambda: torch.zeros(0, size, size)
    yield "3 masks", lambda: torch.ones(3, size, size)
    yield "another size", lambda: torch.ones(1, 7, 100)
    yield "no batch axis", lambda: torch.ones(size, size)
    yield "a picture", lambda: picture(1, size, size)
    yield "a NaN pixel", lambda: torch.full((1, size, size), NAN)
    yield "values from 0 to 255", lambda: torch.full((1, size, size), 255.0)
    yield "bytes", lambda: torch.ones(1, size, size, dtype=torch.uint8)
    yield "nothing", lambda: None


def bad_latents(world: World) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What may come over a latent wire."""
    latent = world.own.latent

    def spoiled(value: float) -> Any:
        ws = latent.ws.clone()
        ws[0, 0, 0] = value
        return latent.with_ws(ws)

    yield "of another generator", lambda: world.other.latent
    yield "of a generator of another size", lambda: world.larger.latent
    yield "3 codes", lambda: latent.repeat_interleave(3)
    yield "a NaN", lambda: spoiled(NAN)
    yield "an infinity", lambda: spoiled(INFINITE)
    yield "huge values", lambda: latent.with_ws(latent.ws * 1e30)
    yield "with changes of another network", lambda: world.rc.Latent(latent.ws, changes={"x": torch.zeros(1, 2)})
    yield "with offsets that do not fit", lambda: world.rc.Latent(latent.ws, offsets={0: torch.zeros(1, 999)})
    yield "ComfyUI's own LATENT", lambda: {"samples": torch.zeros(1, 4, 8, 8)}
    yield "a tensor", lambda: latent.ws
    yield "nothing", lambda: None


def bad_deltas(world: World) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What may come over a difference's wire."""
    delta = world.own.delta
    size = delta.inversion.shape[-1]

    def both(change: Callable[[Tensor], Tensor]) -> Callable[[], Any]:
        """A difference of changed pictures; what refuses to be one is delivered as the two pictures."""
        def make() -> Any:
            pictures = change(delta.image), change(delta.inversion)
            try:
                return replace(delta, image=pictures[0], inversion=pictures[1])
            except world.rc.ReganieError:
                return pictures
        return make

    yield "of another size", lambda: world.larger.delta
    yield "half the size", both(lambda x: x[..., : size // 2, : size // 2])
    yield "not square", both(lambda x: x[..., : size // 2])
    yield "1x1", both(lambda x: x[..., :1, :1])
    yield "2 differences", both(lambda x: x.repeat(2, 1, 1, 1))
    yield "an empty batch", both(lambda x: x[:0])
    yield "a NaN", both(lambda x: x * NAN)
    yield "an infinity", both(lambda x: x * INFINITE)
    yield "values up to 500", both(lambda x: x + 500)
    yield "1 channel", both(lambda x: x[:, :1])
    yield "a tensor", lambda: delta.pixels
    yield "a picture", lambda: picture(1, size, size)
    yield "nothing", lambda: None


def bad_models(world: World, kind: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What may come over a network's wire."""
    name = kind.split(",")[0].removeprefix("REGANIE_").lower()
    for other in ("generator", "encoder", "rectifier"):
        if other != name:
            yield f"a {other} of this pack".replace("a e", "an e"), partial(getattr, world.own, other)
    if name in ("generator", "encoder", "rectifier", "directions"):
        yield "of another domain", lambda: getattr(world.other, name)
        yield "of a domain of another size", lambda: getattr(world.larger, name)
    if name != "face":
        missing = world.sub("_sockets").Missing
        yield "of a domain that has none", lambda: missing(name, "tiny")
    yield "another pack's object", lambda: object()
    yield "a picture", lambda: world.own.image
    yield "nothing", lambda: None


def bad_faces(world: World) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What may come over a face's wire."""
    yield "of two photos", lambda: world.call("AlignFace", photo=picture(2, 32, 32), find="aligned", size=32)[1]
    yield from bad_models(world, "REGANIE_FACE")


def bad_values(kind: str, options: dict[str, Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What a converted widget may get over a wire, where ComfyUI checks no limits."""
    if kind in ("INT", "FLOAT"):
        yield "below its least value", lambda: options["min"] - 1
        yield "above its largest value", lambda: options["max"] * 1000 + 1
        yield "nothing", lambda: None
        yield "a text", lambda: "three"
    if kind == "FLOAT":
        yield "NaN", lambda: NAN
        yield "infinity", lambda: INFINITE
    if kind == "STRING":
        yield "an empty text", lambda: ""
        yield "a text of a million characters", lambda: "x" * 10**6
        yield "odd characters", lambda: "\x00\ud800 ../..; =@"
        yield "nothing", lambda: None
        yield "a number", lambda: 5
    if kind == "COMBO":
        yield "not on the list", lambda: "something else"
        yield "a name that leaves its folder", lambda: "../../secret.safetensors"
        yield "nothing", lambda: None
        yield "a number", lambda: 5
    if kind == "BOOLEAN":
        yield "nothing", lambda: None


def spoilers(world: World, kind: str, options: dict[str, Any], large: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Everything bad for an input of this type."""
    if kind == "IMAGE":
        yield from bad_pictures(world.own.size, large)
    elif kind == "MASK":
        yield from bad_masks(world.own.size)
    elif kind == "REGANIE_LATENT":
        yield from bad_latents(world)
    elif kind == "REGANIE_DELTA":
        yield from bad_deltas(world)
    elif kind == "REGANIE_FACE":
        yield from bad_faces(world)
    elif kind.startswith("REGANIE_"):
        yield from bad_models(world, kind)
    else:
        yield from bad_values(kind, options)
