"""The rows that are networks and inversions: random weights from a fixed seed, real sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import reganie_core as rc
from reganie_core import networks
from reganie_core.domains import Domain
from reganie_core.editing import DirectionEditor
from reganie_core.networks.encoders import Encoder4Editing, StyleEncoderConfig
from reganie_core.networks.rectifier import Rectifier, RectifierConfig
from reganie_core.networks.stylegan2 import Generator, GeneratorConfig

from . import public, textbook
from .routes import Case, Route, automatic, quiet, rates, roof_of

WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}  # config-f
SIZES = (256, 512, 1024)


def generator(resolution: int) -> Generator:
    """Config-f with nothing hidden behind a zero, and pictures of the contrast of a photograph."""
    network = Generator(GeneratorConfig(resolution, tuple(w for size, w in WIDTHS.items() if size <= resolution)))
    for block in network.synthesis.blocks:
        block.torgb.weight.data *= 0.2
        for layer in block.layers:
            layer.bias.data.normal_(std=0.1)
            if hasattr(layer, "noise_strength"):
                layer.noise_strength.data.fill_(0.1)
    return network.eval().requires_grad_(False)


def encoder() -> Encoder4Editing:
    """The public e4e's size, 267 million parameters."""
    return Encoder4Editing(StyleEncoderConfig()).eval().requires_grad_(False)


def rectifier(preset: str) -> Rectifier:
    """Widths A or B at 512 px."""
    network = Rectifier(RectifierConfig.preset(preset)).eval().requires_grad_(False)
    network.G_p.to_rgb.weight.data.normal_()
    network.fingerprint = preset  # type: ignore[assignment]
    return network


def psnr(a: Tensor, b: Tensor) -> float:
    """In dB, of pictures in [-1,1]."""
    return 10 * math.log10(4 / float((a - b).square().mean()))


def generator_case(resolution: int) -> Case:
    """One picture from W+ codes with constant noise."""
    network = generator(resolution)
    ws = torch.randn(1, network.num_ws, network.w_dim)
    one = {dtype: quiet(lambda: network.synthesis(ws), dtype) for dtype in ("float32", "bfloat16")}
    routes = {
        "ours": Route(one["float32"], count=True, peak=True),
        "ours bfloat16": Route(one["bfloat16"], dtype="bfloat16", count=True, peak=True),
        "textbook": Route(quiet(lambda: textbook.synthesis(network, ws)), count=True, peak=True),
        "roof": roof_of(lambda: network.synthesis(ws), "float32"),
        "roof bfloat16": roof_of(lambda: network.synthesis(ws), "bfloat16"),
        **public.generator_routes(resolution),
        **rates(),
    }
    return Case(routes, (("ours", "textbook", 1e-4), ("ours bfloat16", "textbook", 0.05)),
                lambda: {"psnr_bfloat16": psnr(one["float32"](), one["bfloat16"]())})


def batch_case(resolution: int) -> Case:
    """Eight pictures at once beside one, in the dtype that is chosen by itself."""
    network = generator(resolution)
    ws = torch.randn(8, network.num_ws, network.w_dim)
    return Case({
        "ours": Route(quiet(lambda: network.synthesis(ws)), 8, automatic(), count=True, peak=True),
        "one": Route(quiet(lambda: network.synthesis(ws[:1])), 1, automatic(), count=True, peak=True),
        "textbook": Route(quiet(lambda: textbook.synthesis(network, ws)), 8),
        **rates(),
    })


def encoder_case() -> Case:
    """256 px pictures to W+ codes."""
    network = encoder()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(2.0)
    images = 2 * torch.rand(8, 3, 256, 256) - 1
    return Case({
        "ours": Route(quiet(lambda: network(images[:1])), count=True, peak=True),
        "ours batch 8": Route(quiet(lambda: network(images)), 8, count=True, peak=True),
        "textbook": Route(quiet(lambda: textbook.encode_e4e(network, images[:1])), count=True, peak=True),
        "roof": roof_of(lambda: network(images[:1]), "float32"),
        **rates(),
    }, (("ours", "textbook", 1e-4),))


def rectifier_case(preset: str) -> Case:
    """E_p, E_d and G_p once: what one edited picture costs."""
    network = rectifier(preset)
    edited, delta = 2 * torch.rand(1, 3, 512, 512) - 1, torch.randn(1, 3, 512, 512) * 0.2
    one = {dtype: quiet(lambda: network(edited, delta), dtype) for dtype in ("float32", "bfloat16")}
    return Case({
        "ours": Route(one["float32"], count=True, peak=True),
        "ours bfloat16": Route(one["bfloat16"], dtype="bfloat16", count=True, peak=True),
        "textbook": Route(quiet(lambda: textbook.rectify(network, edited, delta)), count=True, peak=True),
        "roof": roof_of(lambda: network(edited, delta), "float32"),
        "roof bfloat16": roof_of(lambda: network(edited, delta), "bfloat16"),
        **rates(),
    }, (("ours", "textbook", 1e-4), ("ours bfloat16", "textbook", 0.05)),
        lambda: {"psnr_bfloat16": psnr(one["float32"](), one["bfloat16"]())})


def edit_case(dtype: str) -> Case:
    """A picture of 1024 px through Algorithm 1 with a rectifier of 512 px (widths A), and every part by itself."""
    G, E, R = generator(1024), encoder(), rectifier("A")
    E.latent_avg.normal_()
    editor = DirectionEditor({"age": torch.randn(18, 512) * 0.1})
    domain = Domain(generator=G, encoder=E, directions=editor, rectifier=R)
    x0 = (2 * torch.rand(1, 3, 1024, 1024) - 1) * 0.9
    with torch.inference_mode():
        ws = torch.randn(1, 18, 512)
        small = 2 * torch.rand(1, 3, 512, 512) - 1
        primary, code = quiet(lambda: R.encode_primary(small), dtype)(), quiet(lambda: R.encode_delta(small), dtype)()
        first = quiet(lambda: rc.edit(x0, {"age": 1.0}, domain=domain), dtype)()
    name = automatic() if dtype == "auto" else dtype

    def route(run: Callable[[], Any], **more: Any) -> Route:
        return Route(quiet(run, dtype), dtype=name, **more)

    routes = {
        "E": route(lambda: E(x0)), "G": route(lambda: G.synthesis(ws)), "R": route(lambda: R(small, small)),
        "editor": route(lambda: rc.editing.edit_latent(editor, first.latent, {"age": 0.5})),
        "E_p": route(lambda: R.encode_primary(small)), "E_d": route(lambda: R.encode_delta(small)),
        "G_p": route(lambda: R.decode(primary, code)),
        "ours": route(lambda: rc.edit(x0, {"age": 1.0}, domain=domain), count=True, peak=dtype == "auto"),
        "slider": route(lambda: rc.edit(first, {"age": 0.7}, domain=domain), count=True, peak=dtype == "auto"),
        **rates(),
    }
    if dtype == "float32":
        routes["textbook E"] = Route(quiet(lambda: textbook.encode_e4e(E, rc.images.area_downsample(x0, 256))))
        routes["textbook G"] = Route(quiet(lambda: textbook.synthesis(G, ws)))
    return Case(routes)


def portraits_case() -> Case:
    """The packaged domain: one picture, cold and as a slider move."""
    domain = rc.load_domain("portraits")
    photo = rc.portraits.render(rc.portraits.sample(1, 7), domain.generator.resolution)
    first = rc.edit(photo, {"age": 0.5}, domain=domain)
    return Case({
        "ours": Route(quiet(lambda: rc.edit(photo, {"age": 0.5}, domain=domain)), count=True, peak=True),
        "slider": Route(quiet(lambda: rc.edit(first, {"age": 0.7}, domain=domain)), count=True),
        **rates(),
    })


def method_case(method: str) -> Case:
    """One 1024 px picture through a compared inversion method with its published number of iterations."""
    G, images = generator(1024), 2 * torch.rand(1, 3, 1024, 1024) - 1
    if method == "restyle":
        kind = {"type": "ProgressiveBackboneEncoder", "num_ws": 18, "w_dim": 512, "input_resolution": 256}
        inverter = rc.inversion.make_inverter("restyle", network=networks.build("restyle", kind))
    elif method == "hfgi":
        inverter = rc.inversion.make_inverter("hfgi", network=networks.build("hfgi", {"type": "HFGI"}),
                                              encoder=encoder())
    else:
        network = networks.build("hyperstyle", {"type": "HyperStyle"})
        network.start_at_identity()
        inverter = rc.inversion.make_inverter("hyperstyle", network=network, encoder=encoder())
    for network in inverter.network.values():  # type: ignore[union-attr]
        if network is not None:
            network.eval().requires_grad_(False)
    run = quiet(lambda: inverter(G, images))
    return Case({"ours": Route(run, dtype=automatic(), count=True, peak=True), **rates()})


def pti_case() -> Case:
    """One tuning step of pivotal tuning at 1024 px with LPIPS."""
    from reganie_core.inversion.optimise import ProjectionSettings
    from reganie_core.inversion.pti import PtiSettings, tune
    from reganie_core.networks.lpips import LPIPS, LPIPSConfig

    G, image = generator(1024), 2 * torch.rand(1, 3, 1024, 1024) - 1
    pivot, distance = torch.randn(1, 18, 512), LPIPS(LPIPSConfig()).eval().requires_grad_(False)
    settings = PtiSettings(ProjectionSettings(), steps=1)
    return Case({"ours": Route(lambda: tune(G, pivot, image, settings, distance), peak=True), **rates()})


def training_case(stage: str) -> Case:
    """One step of a training stage at a size that takes milliseconds (the networks of the tests)."""
    import tempfile
    import warnings

    from tests import soak_stages
    from trainer.loop import config
    from trainer.stages import stage_class

    folder = tempfile.TemporaryDirectory()
    root, state = Path(folder.name), {"seen": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        soak_stages.prepare(root, [stage])
        cls = stage_class(stage)
        work = cls(config.build(cls.config_class, None, soak_stages.options(stage, root, root / "run")))
    work.folder = folder  # lives as long as the stage

    def step() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            work.step(state["seen"])
        state["seen"] += work.config.batch

    return Case({"ours": Route(step, images=work.config.batch)})


STAGES = ("generator", "attributes", "identity", "encoder", "directions", "editor", "rectifier", "restyle", "hfgi",
          "hyperstyle", "styleclip", "text")
BUILDERS: dict[str, Callable[[], Case]] = {
    **{f"generator-{size}": lambda size=size: generator_case(size) for size in SIZES},
    **{f"generator-{size}-batch8": lambda size=size: batch_case(size) for size in SIZES},
    "e4e": encoder_case,
    "rectifier-A": lambda: rectifier_case("A"),
    "rectifier-B": lambda: rectifier_case("B"),
    "edit": lambda: edit_case("auto"),
    "edit-float32": lambda: edit_case("float32"),
    "portraits": portraits_case,
    **{f"train-{stage}": lambda stage=stage: training_case(stage) for stage in STAGES},
    "restyle": lambda: method_case("restyle"),
    "hfgi": lambda: method_case("hfgi"),
    "hyperstyle": lambda: method_case("hyperstyle"),
    "pti-step": pti_case,
}


def make_case(name: str) -> Case:
    """The row of that name; the same weights every time."""
    torch.manual_seed(0)
    return BUILDERS[name]()
