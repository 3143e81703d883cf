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
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.bad_inputs_values import LARGE, spoilers
from tests.host_stubs import host_modules, load_pack, picture
from tests.schema_files import former

SOCKETS = ("IMAGE", "MASK")
LONGEST = 600         # characters of a sentence
NODES = {             # what a working graph says, beside the nodes' own defaults
    "ReGANIE_AlignFace": {"find": "aligned", "size": 32},
    "ReGANIE_PhotoExample": {"count": 1},
    "DyStyleEdit": {"edits": "yaw=+5, glasses=on"},
    "StyleCLIPEdit": {"target": "", "strength": 1.0},
    "ReGANIE_EditSweep": {"steps": 2, "cell": 32},
    "ReGANIE_PictureSheet": {"cell": 32},
    "ReGANIE_SampleLatent": {"count": 1},
    "ReGANIE_InvertImage": {"iterations": 2},
    "ReGANIE_MeasureFlicker": {"frames": picture(3), "before": picture(3, seed=1)},
}
POINTS = "10,12 22,12 12,22 20,22"
VARIANTS = {          # the same nodes told to do something else; too slow for every run
    "ReGANIE_InvertImage by optimisation": {"method": "w+", "iterations": 2,
                                            "encoder_name": "none (start from the average)"},
    "ReGANIE_InvertImage by tuning": {"method": "pti", "iterations": 2},
    "ReGANIE_AlignFace by points": {"find": "points", "points": POINTS, "size": 32, "smooth": 0.0},
    "Rectify to the edited size": {"output": "edited", "strength": 1.5},
    "ReGANIE_EditSweep to values": {"steps": 2, "cell": 32, "mode": "absolute"},
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
        what = "mask" if value.ndim == 3 else "picture"
        channels = f" with {value.shape[3]} channels" if value.ndim == 4 and value.shape[3] != 3 else ""
        return f"{len(value)} {what}{'s' * (len(value) != 1)} {value.shape[2]}x{value.shape[1]}{channels}"
    if isinstance(value, world.rc.Delta):
        told(world, value.pixels)
        return f"{len(value)} difference{'s' * (len(value) != 1)} {value.pixels.shape[3]}x{value.pixels.shape[2]}"
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
    """One id for each class: the former one without the prefix is a class of its own that does the same."""
    return [name for name in world.nodes if name not in former(world.nodes)]


def outcome(row: Row) -> str:
    """"works", the name of the typed error, or "anything else"."""
    return "anything else" if row.error else row.result.split(":")[0].strip("*")


def count(found: list[Row]) -> str:
    """One sentence: how many cases, and how they end."""
    ends = Counter(outcome(row) for row in found)
    refused = len(found) - ends["works"] - ends["anything else"]
    return (f"{len(found)} cases: {ends['works']} work as documented, {refused} end in one typed sentence, "
            f"{ends['anything else']} in anything else.")


def markdown(found: list[Row]) -> str:
    """A line for each node: how many inputs work, and how many are refused with which error."""
    of_node: dict[str, Counter[str]] = {}
    for row in found:
        of_node.setdefault(row.node.split()[0], Counter())[outcome(row)] += 1
    total = sum(of_node.values(), Counter())
    kinds = ["works", *sorted(set(total) - {"works", "anything else"}), "anything else"]

    def line(name: str, ends: Counter[str]) -> str:
        return " | ".join([f"| {name}", str(ends.total()), *(str(ends[kind] or "") for kind in kinds)]) + " |"

    return "\n".join([
        "# Nodes and bad inputs", "",
        "Written by `python -m tests.bad_inputs --out docs/bad-inputs.md`. Each case takes a graph that works and",
        "spoils one input of one node. The node works as documented, or ends in one typed error: a sentence that says",
        "what was found, what was expected and what to do. `--cases` prints every case with its sentence.", "",
        count(found), "",
        " | ".join(["| node", "cases", *kinds]) + " |", "| --- |" + " ---: |" * (len(kinds) + 1),
        *(line(name, ends) for name, ends in of_node.items()), line("all", total), ""])


def listing(found: list[Row]) -> str:
    """Every case on a line of its own."""
    return "\n".join(f"{row.node} . {row.input} = {row.delivered}: {row.result}" for row in found)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, help="write the table here; printed otherwise")
    p.add_argument("--node", action="append", help="only this one; may be given again")
    p.add_argument("--cases", action="store_true", help="print every case with its sentence")
    p.add_argument("--quick", action="store_true", help=f"leave out the pictures of {LARGE}x{LARGE}")
    args = p.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        nodes = args.node or [*all_nodes(world), *(() if args.quick else VARIANTS)]
        found = list(rows(world, nodes, not args.quick))
    if args.cases:
        print(listing(found))
    if args.out:
        args.out.write_text(markdown(found), encoding="utf-8")
    elif not args.cases:
        print(markdown(found))
    wrong = [row for row in found if row.error]
    for row in wrong:
        print(f"\n{row.node}.{row.input}: {row.delivered}\n{row.error}")
    print(f"{len(found)} cases, {len(wrong)} of them end in something else than a result or a typed sentence")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
