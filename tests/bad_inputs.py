"""Every node with every kind of bad input a graph can deliver: `python -m tests.bad_inputs --out docs/bad-inputs.md`.

Each row takes a graph that works, spoils one input of one node, and runs the node as ComfyUI does, in inference mode,
with the networks of a tiny domain. It ends in the documented result or in one typed error with a sentence that says
what was found, what was expected and what to do. Anything else, a traceback from inside torch above all, fails.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import re
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.host_stubs import host_modules, load_pack, picture

NAN, INFINITE = float("nan"), float("inf")
LARGE = 8192
SOCKETS = ("IMAGE", "MASK")
LONGEST = 600         # characters of a sentence
NODES = {             # what a working graph says, beside the nodes' own defaults
    "AlignFace": {"find": "aligned", "size": 32},
    "PhotoExample": {"count": 1},
    "DyStyleEdit": {"edits": "yaw=+5, glasses=on"},
    "StyleCLIPEdit": {"target": "", "strength": 1.0},
    "EditSweep": {"steps": 2, "cell": 32},
    "PictureSheet": {"cell": 32},
    "SampleLatent": {"count": 1},
    "InvertImage": {"iterations": 2},
}
POINTS = "10,12 22,12 12,22 20,22"
VARIANTS = {          # the same nodes told to do something else; too slow for every run
    "InvertImage by optimisation": {"method": "w+", "iterations": 2, "encoder_name": "none (start from the average)"},
    "InvertImage by tuning": {"method": "pti", "iterations": 2},
    "AlignFace by points": {"find": "points", "points": POINTS, "size": 32, "smooth": 0.0},
    "Rectify to the edited size": {"output": "edited", "strength": 1.5},
    "EditSweep to values": {"steps": 2, "cell": 32, "mode": "absolute"},
}


@dataclass
class Row:
    """One spoiled input and what came of it; ``error`` holds the traceback of what should not have been raised."""

    node: str
    input: str
    delivered: str
    result: str
    error: str = ""


class World:
    """The nodes beside stand-ins of ComfyUI, wires of a tiny domain, and wires of other domains."""

    def __init__(self, folder: Path) -> None:
        from tests.conftest import write_tiny_domain
        from tests.nodes_fixtures import add_dystyle

        host = host_modules(folder / "comfy")
        self.host, self.folder = host.state, folder
        module = load_pack(host, suffix="_bad_inputs")
        self.nodes: dict[str, type] = module.NODE_CLASS_MAPPINGS
        self.rc = importlib.import_module(f"{module.__name__}.reganie_core")
        self.sub: Callable[[str], Any] = lambda name: importlib.import_module(f"{module.__name__}.nodes.{name}")
        self.rc.domains.PACKAGED["portraits"] = add_mapper(add_dystyle(write_tiny_domain(folder / "tiny")))
        models = folder / "comfy" / "models" / "reganie"
        write_tiny_domain(models / "other", seed=1)
        write_tiny_domain(models / "larger", seed=2, resolution=64)
        self.own, self.other, self.larger = (self._wires(name) for name in ("portraits (packaged)", "other", "larger"))
        self.call("ReGANIE_SaveLatent", latent=self.own.latent)

    def _wires(self, domain: str) -> SimpleNamespace:
        found = dict(zip(self.nodes["LoadReGANIE"].RETURN_NAMES, self.call("LoadReGANIE", domain=domain), strict=True))
        wires = SimpleNamespace(**found, size=found["generator"].value.resolution)
        wires.image = picture(1, wires.size, wires.size)
        inverted = self.call("E4EInvert", generator=wires.generator, image=wires.image, encoder=wires.encoder)
        wires.latent, wires.inversion = inverted[:2]
        wires.delta = self.call("ComputeDelta", image=inverted[2], inversion=inverted[1])[0]
        wires.face = self.call("AlignFace", photo=wires.image, find="aligned", size=wires.size)[1]
        wires.mask = torch.ones(1, wires.size, wires.size)
        mapper = importlib.import_module(f"{self.rc.__name__}.networks.mapper")
        editing = importlib.import_module(f"{self.rc.__name__}.editing.styleclip")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = mapper.StyleSpaceMapper(mapper.StyleSpaceMapperConfig((0, 2), (12, 12)))
        wires.styleclip = self.sub("_models").Model("styleclip", "afro", editing.MapperEditor(network, "afro"))
        return wires

    def call(self, node: str, **inputs: Any) -> Any:
        """Run a node as ComfyUI does."""
        cls = self.nodes[node]
        with torch.inference_mode():
            return getattr(cls(), cls.FUNCTION)(**inputs)

    def wire(self, kind: str, of: SimpleNamespace) -> Any:
        """An honest value for a socket type."""
        for name in kind.split(","):
            if name in SOCKETS:
                return getattr(of, name.lower())
            if name.startswith("REGANIE_"):
                return getattr(of, name.removeprefix("REGANIE_").lower())
        raise KeyError(kind)


def add_mapper(folder: Path) -> Path:
    """Give a tiny domain a text editor: a mapper of random weights."""
    from reganie_core import networks
    from reganie_core.checkpoints import save_checkpoint

    network = networks.build("styleclip", {"type": "LevelsMapper", "w_dim": 16})
    config = {**networks.describe(network), "mode": "mapper", "prompt": "a smiling person", "name": "smiling"}
    save_checkpoint(folder / "styleclip.safetensors", "styleclip", config, network.state_dict(), {"command": "tests"})
    manifest = json.loads((folder / "domain.json").read_text())
    (folder / "domain.json").write_text(json.dumps(manifest | {"styleclip": "styleclip.safetensors"}))
    return folder


def specs(cls: type) -> dict[str, tuple[str, dict[str, Any], bool]]:
    """Every input of a node: type, options, whether it is required."""
    groups = cls.INPUT_TYPES()
    return {key: (*spec, group == "required") for group in ("required", "optional")
            for key, spec in groups.get(group, {}).items()}


def honest(world: World, node: str) -> dict[str, Any]:
    """Inputs that a node works with."""
    found = {}
    for name, (kind, options, _) in specs(world.nodes[node.split()[0]]).items():
        found[name] = options["default"] if "default" in options else world.wire(kind, world.own)
    if "inversion" in found:
        found["inversion"] = world.own.inversion
    return {**found, **NODES.get(node, {}), **VARIANTS.get(node, {})}


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
    size = delta.shape[-1]
    yield "of another size", lambda: world.larger.delta
    yield "half the size", lambda: delta[..., : size // 2, : size // 2]
    yield "not square", lambda: delta[..., : size // 2]
    yield "1x1", lambda: delta[..., :1, :1]
    yield "2 differences", lambda: delta.repeat(2, 1, 1, 1)
    yield "an empty batch", lambda: delta[:0]
    yield "a NaN", lambda: delta * NAN
    yield "an infinity", lambda: delta * INFINITE
    yield "values up to 500", lambda: delta + 500
    yield "1 channel", lambda: delta[:, :1]
    yield "4 channels", lambda: torch.cat([delta, delta[:, :1]], 1)
    yield "a picture", lambda: picture(1, size, size)
    yield "bytes", lambda: delta.byte()
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


def told(world: World, value: Any) -> str:
    """A node's result in words; raises ArithmeticError for pictures and codes that are not finite."""
    if isinstance(value, dict):
        return ", ".join([*(f"{len(items)} {name}" for name, items in value.get("ui", {}).items()),
                          *(told(world, item) for item in value.get("result", ()))])
    if isinstance(value, tuple):
        return ", ".join(told(world, item) for item in value) or "nothing"
    if isinstance(value, Tensor):
        if not bool(value.isfinite().all()):
            raise ArithmeticError("The result holds NaN or infinite values.")
        if value.ndim == 4 and value.shape[1] == 3 and value.shape[-1] != 3:
            return f"{len(value)} difference{'s' * (len(value) != 1)} {value.shape[3]}x{value.shape[2]}"
        what = "mask" if value.ndim == 3 else "picture"
        channels = f" with {value.shape[3]} channels" if value.ndim == 4 and value.shape[3] != 3 else ""
        return f"{len(value)} {what}{'s' * (len(value) != 1)} {value.shape[2]}x{value.shape[1]}{channels}"
    if isinstance(value, world.rc.Latent):
        told(world, value.ws)
        return f"{value.batch} code{'s' * (value.batch != 1)}"
    if isinstance(value, str):
        return "a text"
    return f"a {getattr(value, 'kind', type(value).__name__)}".replace("a e", "an e")


def attempt(world: World, node: str, inputs: dict[str, Any]) -> tuple[str, str]:
    """(result in words, traceback if it should not have been raised)."""
    try:
        result = world.call(node.split()[0], **inputs)
        return f"works: {told(world, result)}", ""
    except world.rc.ReganieError as error:
        text = re.sub(r"\s+", " ", str(error)).replace(str(world.folder / "comfy" / "models"), "models")
        text = text.replace(str(world.folder), "...")
        wrong = "" if text.endswith((".", "?")) and len(text) <= LONGEST else f"This is no clear sentence: {text}"
        return f"*{type(error).__name__}*: {text}", wrong
    except Exception as error:
        return f"**{type(error).__name__}**", "".join(traceback.format_exception(error))


def rows(world: World, nodes: list[str], large: bool = False) -> Iterator[Row]:
    """Every node, every input, everything that may be wrong with it."""
    for node in nodes:
        good = honest(world, node)
        result, error = attempt(world, node, good)
        yield Row(node, "-", "all as it should be", result, error or ("" if result.startswith("works") else result))
        for name, (kind, options, required) in specs(world.nodes[node.split()[0]]).items():
            if not required:
                result, error = attempt(world, node, {key: value for key, value in good.items() if key != name})
                yield Row(node, name, "left out", result, error)
            for what, make in spoilers(world, kind, options, large and node not in VARIANTS):
                if what == "nothing" and not required and kind not in ("INT", "FLOAT", "STRING", "COMBO", "BOOLEAN"):
                    continue    # the same as left out
                result, error = attempt(world, node, {**good, name: make()})
                yield Row(node, name, what, result, error)
                if what.startswith(str(LARGE)):
                    gc.collect()


def all_nodes(world: World) -> list[str]:
    """One id for each class."""
    known: dict[type, str] = {}
    for name, cls in world.nodes.items():
        known.setdefault(cls, name)
    return list(known.values())


def cell(text: str) -> str:
    """Text for a Markdown table."""
    return text.replace("|", "\\|").encode("ascii", "backslashreplace").decode()


def markdown(found: list[Row]) -> str:
    """The table: inputs with the same outcome share a line."""
    lines = ["# Nodes and bad inputs", "",
             "Written by `python -m tests.bad_inputs --out docs/bad-inputs.md`, with a generator of 32 px and networks "
             "of random weights, so sizes and names of files are those of this toy. *Left out* is an optional input "
             "that nothing is connected to.", "",
             f"{len(found)} cases: {sum(r.result.startswith('works') for r in found)} work as documented, "
             f"{sum(not r.result.startswith('works') and not r.error for r in found)} end in one typed sentence, "
             f"{sum(bool(r.error) for r in found)} in anything else.", ""]
    for node in dict.fromkeys(row.node for row in found):
        lines += [f"## {node}", "", "| input | what is delivered | result |", "| --- | --- | --- |"]
        merged: dict[tuple[str, str], list[str]] = {}
        for row in found:
            if row.node == node:
                merged.setdefault((row.input, row.result), []).append(row.delivered)
        lines += [f"| {name} | {'; '.join(whats)} | {cell(result)} |" for (name, result), whats in merged.items()]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, help="write the table here; printed otherwise")
    p.add_argument("--node", action="append", help="only this one; may be given again")
    p.add_argument("--quick", action="store_true", help=f"leave out the pictures of {LARGE}x{LARGE}")
    args = p.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        nodes = args.node or [*all_nodes(world), *(() if args.quick else VARIANTS)]
        found = list(rows(world, nodes, not args.quick))
    text = markdown(found)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    else:
        print(text)
    wrong = [row for row in found if row.error]
    for row in wrong:
        print(f"\n{row.node}.{row.input}: {row.delivered}\n{row.error}")
    print(f"{len(found)} cases, {len(wrong)} of them end in something else than a result or a typed sentence")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
