"""Every reader of files and of texts that come from elsewhere."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import reganie_core as rc
from reganie_core.checkpoints import inspect, load_directions, load_encoder, load_generator, load_rectifier
from reganie_core.checkpoints.loading import load_method, load_text_image
from reganie_core.checkpoints.ours import read_checkpoint
from reganie_core.editing.styleclip.files import read_public_tables
from reganie_core.faces.choose import Found, choose
from tests.fuzz import mutate, seeds
from tests.fuzz.engine import Target

SIZES = (8, 16)


@cache
def scratch() -> Path:
    """A folder for the files of this process, in memory where the system has that."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    holder = tempfile.TemporaryDirectory(prefix="fuzz", dir=place)
    scratch.holder = holder  # type: ignore[attr-defined]  (removed with the process)
    return Path(holder.name)


def put(name: str, data: bytes) -> Path:
    """``data`` as a file of that name."""
    path = scratch() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


LOADERS: dict[str, Callable[[Path], Any]] = {
    "generator": load_generator, "encoder": load_encoder, "rectifier": load_rectifier, "directions": rc.load_editor,
    "dystyle": rc.load_editor, "styleclip": rc.load_editor, "restyle": load_method, "text_image": load_text_image,
    "discriminator": rc.checkpoints.load_discriminator,
}


def model_file(name: str) -> Callable[[bytes], None]:
    """Describe the file, then load what it says it is; one time in sixteen also as something it may not be."""
    def read(data: bytes) -> None:
        path = put(name, data)
        kinds = inspect(path)["contains"]
        for kind in kinds or ["directions"]:
            LOADERS.get(kind, read_checkpoint)(path)
        mark = zlib.crc32(data)
        if mark % 16 == 0:
            list(LOADERS.values())[mark // 16 % len(LOADERS)](path)

    return read


def read_and_use(data: bytes) -> None:
    """One of our files, loaded and then used as a node would: what loads must work or say why it does not."""
    use(put("used.safetensors", data))


def convert_and_use(data: bytes) -> None:
    """A public file made one of ours, which then must load and work."""
    source, target = put("source", data), scratch() / "converted.safetensors"
    target.unlink(missing_ok=True)
    rc.checkpoints.convert(source, target)
    use(target)


def use(path: Path) -> None:
    """Load a file as what it says it is, and run it once."""
    kind = inspect(path)["kind"]
    network = LOADERS.get(kind, read_checkpoint)(path)
    with torch.inference_mode():
        if kind == "generator":
            network.synthesis(network.mapping(torch.zeros(1, network.z_dim)))
        elif kind == "encoder":
            network(torch.zeros(1, 3, seeds.SIDE, seeds.SIDE))
        elif kind == "rectifier":
            picture = torch.zeros(1, 3, network.resolution, network.resolution)
            rc.rectify(network, picture, picture)
        elif kind in ("directions", "dystyle", "styleclip"):
            latent = rc.Latent(torch.zeros(1, 6, 16 if kind == "directions" else 8))
            if getattr(network, "in_stylespace", False):
                return  # needs a generator
            edits = {control.name: 0.5 for control in network.controls[:3] if control.kind == "numeric"}
            rc.editing.check_edits(network, edits)
            rc.editing.edit_latent(network, latent, edits)


def read_array(data: bytes) -> None:
    """An array as directions."""
    path = put("array.npy", data)
    inspect(path)
    load_directions(path)


def read_latent(data: bytes) -> None:
    """A saved latent, and what a node asks of it."""
    latent = rc.latents.load_latent(put("latent.safetensors", data))
    rc.latents.concatenate([latent, latent[0]])


def read_tables(data: bytes) -> None:
    """StyleCLIP's folder of tables."""
    size = int.from_bytes(data[:4], "little")
    put("tables/fs3.npy", data[4:4 + size])
    read_public_tables(put("tables/S_mean_std", data[4 + size:]).parent)


def read_config(data: bytes) -> None:
    """A stage's JSON configuration, and the same text as `key=value` pairs."""
    from trainer.loop.config import build
    from trainer.stages.editor import EditorStageConfig
    from trainer.stages.rectifier import RectifierStageConfig

    path = put("config.json", data)
    build(EditorStageConfig if b"controls" in data else RectifierStageConfig, path, ["device=cpu"])


def read_overrides(data: bytes) -> None:
    """`key=value` pairs, one a line."""
    from trainer.loop.config import build
    from trainer.stages.editor import EditorStageConfig

    build(EditorStageConfig, None, ["device=cpu", *data.decode("utf-8", "replace").split("\n")])


def read_chain(data: bytes) -> None:
    """A chain of jobs."""
    from trainer.chain import read_chain as read

    read(put("chain/chain.json", data).parent, [])


def read_manifest(data: bytes) -> None:
    """A domain's manifest."""
    folder = put("domain/domain.json", data).parent
    (folder / "generator.safetensors").touch()
    rc.domains.load_manifest(folder)


@cache
def _controls() -> Any:
    known = [rc.Control(**{k: v for k, v in item.items()}) for item in seeds.TINY_CONTROLS]
    text = rc.Control("text", "text", 0.0, 1.0)
    return SimpleNamespace(controls=[*known, text], accepts_targets=True)


def read_edits(data: bytes) -> None:
    """Edits as text, for an editor; layers as text."""
    text = data.decode("utf-8", "surrogateescape")
    edits = rc.parse_edits(text)
    rc.parse_edits(rc.editing.format_edits(edits))
    rc.editing.check_edits(_controls(), edits)


def read_layers(data: bytes) -> None:
    """Layers as text."""
    rc.editing.parse_layers(data.decode("utf-8", "replace"), 10)


def read_points(data: bytes) -> None:
    """Landmarks as text: the faces they make, and their text again."""
    faces = rc.faces.parse_points(data.decode("utf-8", "surrogateescape"))
    rc.faces.parse_points(rc.faces.format_points(faces))
    for points in faces:
        rc.faces.align_faces  # noqa: B018  (the module is loaded)
        Found.at(points)


def read_choice(data: bytes) -> None:
    """Which of several faces."""
    points = [[10.0, 10.0], [20.0, 10.0], [11.0, 22.0], [19.0, 22.0]]
    faces = [Found.at([[x + 30 * i, y] for x, y in points]) for i in range(2)]
    choose(faces, data.decode("utf-8", "replace"), (100, 100))


def read_face(data: bytes) -> None:
    """A face that was cut out, as JSON."""
    face = rc.faces.Face.from_json(data.decode("utf-8", "replace"))
    rc.faces.Face.from_json(face.to_json())


def read_picture(data: bytes) -> None:
    """One picture."""
    rc.images.load_image(put("picture.png", data))


def read_folder(data: bytes) -> None:
    """A folder of training pictures that holds this one."""
    from trainer.data.sources import FolderPictures

    put("pictures/a.png", data)
    FolderPictures(scratch() / "pictures", seeds.SIDE).check(1)


def read_archive(data: bytes) -> None:
    """A zip file or a tar shard of training pictures."""
    from trainer.data.sources import TarPictures, ZipPictures

    if data[:2] == b"PK":
        ZipPictures(put("pictures.zip", data), seeds.SIDE).check(3)
        return
    source = TarPictures([put("pictures.tar", data)], seeds.SIDE)
    try:
        len(source)
        source.check(3)
    finally:
        for descriptor, _ in source._tables.values():
            os.close(descriptor)


def read_counts(data: bytes) -> None:
    """What is remembered of tar shards."""
    from trainer.data.sources import TarPictures

    shard = scratch() / "counted.tar"
    if not shard.exists():
        put("counted.tar", seeds.picture_archives()[1])
    put("counts/shards_0_of_1.json", data.replace(b"SHARD", json.dumps(str(shard))[1:-1].encode()))
    len(TarPictures([shard], seeds.SIDE, cache=scratch() / "counts"))


@cache
def pack() -> SimpleNamespace:
    """The nodes, loaded beside stand-ins of their host, with a tiny domain as the packaged one."""
    from tests.conftest import write_tiny_domain
    from tests.host_stubs import host_modules, load_pack

    module = load_pack(host_modules(scratch() / "host"), suffix="_fuzz")
    core = importlib.import_module(f"{module.__name__}.reganie_core")
    core.domains.PACKAGED["portraits"] = write_tiny_domain(scratch() / "packaged")
    return SimpleNamespace(nodes=module.NODE_CLASS_MAPPINGS, error=core.ReganieError)


PLAIN: dict[str, Callable[[Any], Any]] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def widgets_of(cls: type) -> dict[str, Any]:
    """A node's widgets and their values in a fresh graph."""
    groups = cls.INPUT_TYPES()
    specs = {key: spec for group in groups.values() for key, spec in group.items()}
    return {key: spec[1].get("default") for key, spec in specs.items() if spec[0] in (*PLAIN, "COMBO")}


@cache
def _types(name: str) -> dict[str, str]:
    groups = pack().nodes[name].INPUT_TYPES()
    return {key: spec[0] for group in groups.values() for key, spec in group.items()}


def graphs() -> list[bytes]:
    """One node a graph, in the API's form."""
    found = []
    for name, cls in pack().nodes.items():
        if hasattr(cls, "VALIDATE_INPUTS") or hasattr(cls, "IS_CHANGED"):
            found.append(json.dumps({"class_type": name, "inputs": widgets_of(cls)}).encode())
    return found


def read_graph(data: bytes) -> None:
    """A node's widgets out of a saved graph: converted as ComfyUI converts them, then shown to the node's checks."""
    try:
        node = json.loads(data)
        name, inputs = node["class_type"], dict(node["inputs"])
        cls, types = pack().nodes[name], _types(name)
        inputs = {key: PLAIN[types[key]](value) if types.get(key) in PLAIN else value for key, value in inputs.items()
                  if key in types}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return  # ComfyUI itself refuses these
    for method in ("VALIDATE_INPUTS", "IS_CHANGED"):
        check = getattr(cls, method, None)
        if check is None:
            continue
        code = check.__func__.__code__
        wants = code.co_varnames[1:code.co_argcount]
        given = inputs if code.co_flags & 0x08 else {key: inputs[key] for key in wants if key in inputs}
        required = wants[:len(wants) - len(check.__func__.__defaults__ or ())]
        if any(key not in given for key in required):
            return  # a missing required input never gets here
        try:
            answer = check(**given)
        except pack().error as error:
            raise rc.ReganieError(str(error)) from error
        if not (answer is True or isinstance(answer, str)):
            raise TypeError(f"{name}.{method} answers {answer!r}")
        if method == "VALIDATE_INPUTS" and answer is not True:
            raise rc.ReganieError(answer)


def texts(*examples: str) -> Callable[[], list[bytes]]:
    """Seeds that are texts."""
    return lambda: [example.encode() for example in examples]


def as_json(*examples: Any) -> Callable[[], list[bytes]]:
    """Seeds that are JSON."""
    return lambda: [json.dumps(example).encode() for example in examples]


def _config_seeds() -> list[bytes]:
    from trainer.loop.config import to_dict
    from trainer.stages.editor import EditorStageConfig
    from trainer.stages.rectifier import RectifierStageConfig

    editor = {**to_dict(EditorStageConfig()), "control_weights": {"yaw": 10.0}, "controls": ["yaw", "age"]}
    return [json.dumps(config).encode() for config in (editor, to_dict(RectifierStageConfig()))]


_FACE = {"format_version": 1, "quad": [[0, 0], [0, 9], [9, 9], [9, 0]], "size": 32, "photo_size": [40, 40],
         "points": [[2, 3], [7, 3], [3, 7], [6, 7]], "index": 0, "name": "a", "score": 0.5}
_JOBS = {"options": ["generator={out}/g"], "jobs": [{"name": "generator", "stage": "generator", "after": []},
                                                    {"name": "table", "evaluate": "editing", "after": ["generator"]}]}
_MANIFEST = {"format_version": "1", "name": "tiny", "resolution": 32, "generator": "generator.safetensors",
             "examples": ["examples/one.png"], "sha256": {"generator.safetensors": "0" * 64}}
_POINTS = ("100,120 160,118 110,190 150,191", "1 2 3 4 5 6 7 8 9 10\n\n11 12 13 14 15 16 17 18",
           "# two\n[(1,2),(30,2),(5,40),(25,41)]\n", " ".join(f"{i % 17 * 3},{i // 17 * 9}" for i in range(68)))

TARGETS: dict[str, Target] = {target.name: target for target in (
    Target("safetensors", seeds.own_files, model_file("ours.safetensors"), mutate.safetensors, 0.15),
    Target("used", seeds.own_files, read_and_use, mutate.safetensors, 0.015),
    Target("convert", lambda: [*seeds.archives(), *seeds.pickles()[:2], seeds.arrays()[0]], convert_and_use,
           mutate.either(mutate.flip, mutate.inside_zip(mutate.flip)), 0.015),
    Target("pickle", seeds.pickles, model_file("foreign.pkl"), mutate.flip, 0.10),
    Target("zip", seeds.archives, model_file("foreign.pt"), mutate.inside_zip(mutate.flip), 0.08),
    Target("legacy", lambda: seeds.archives(True), model_file("foreign.pth"), mutate.flip, 0.08),
    Target("array", seeds.arrays, read_array, mutate.either(mutate.flip, mutate.inside_zip(mutate.flip)), 0.06),
    Target("tables", seeds.tables, read_tables, mutate.flip, 0.03),
    Target("latent", seeds.latents, read_latent, mutate.safetensors, 0.06),
    Target("config", _config_seeds, read_config, mutate.json_bytes, 0.05),
    Target("overrides", texts("batch=8\nlr=0.5", "controls=yaw,age\ndata=", 'control_weights={"yaw": 1}\ncompile=true'),
           read_overrides, mutate.flip, 0.03),
    Target("chain", as_json(_JOBS, _JOBS["jobs"]), read_chain, mutate.json_bytes, 0.03),
    Target("manifest", as_json(_MANIFEST), read_manifest, mutate.json_bytes, 0.05),
    Target("edits", texts("", "yaw=+10, age=-0.5", "yaw=@-15; glasses=on", "smile = 1e-3\nyaw=0", "text=1"),
           read_edits, mutate.flip, 0.06),
    Target("layers", texts("all", "0-7", "0-3,6", ""), read_layers, mutate.flip, 0.02),
    Target("points", texts(*_POINTS), read_points, mutate.flip, 0.05),
    Target("choice", texts("largest", "0,1", "@50,10", "all"), read_choice, mutate.flip, 0.02),
    Target("face", as_json(_FACE), read_face, mutate.json_bytes, 0.03),
    Target("graph", graphs, read_graph, mutate.json_bytes, 0.05),
    Target("picture", seeds.pictures, read_picture, mutate.flip, 0.02),
    Target("folder", seeds.pictures, read_folder, mutate.flip, 0.01),
    Target("archive", seeds.picture_archives, read_archive,
           mutate.either(mutate.flip, mutate.inside_zip(mutate.flip)), 0.015),
    Target("counts", as_json({"SHARD": [10240, 1, 2]}), read_counts, mutate.json_bytes, 0.005),
)}
