"""ReStyle, HFGI, HyperStyle, in real ``.pt`` files, against outputs of the original networks on synthetic weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reganie_core import checkpoints
from reganie_core.checkpoints import loading
from reganie_core.editing.directions import DirectionEditor
from reganie_core.errors import MismatchError, UnsupportedCheckpointError, WrongKindError
from reganie_core.inversion import encode, hyperstyle, load_inverter, restyle
from reganie_core.latents import Latent, render
from reganie_core.networks.hyperstyle import DEFAULT_LAYERS
from tests import checkpoint_files as files

# Convolutions of other shapes (one picture at a time, weights folded) add up in another order than the original's.
WITH_GENERATOR = 3.0


def check(found: Tensor, name: str, of: str, factor: float = 1.0) -> None:
    assert files.error_over_scale(found, files.golden(of), name) <= factor


def picture(name: str) -> Tensor:
    return torch.from_numpy(files.fill.make_image(name, (1, 3, 256, 256)))


def write(path: Path, *names: str, num_ws: int, **options: object) -> Path:
    """A public file's layout around the weights of manifests."""
    tensors = {key: value.contiguous() for name in names for key, value in files.weights(name).items()}
    torch.save({"state_dict": tensors, "latent_avg": files.latent_avg(num_ws, 512), "opts": options}, path)
    return path


# --- ReStyle ----------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def test_restyle_iterations(tmp_path: Path) -> None:
    """ResNet-34 on e4e at 256 px: codes and pictures of five iterations."""
    of = "restyle_e4e_resnet"
    path = write(tmp_path / "restyle.pt", of, num_ws=14, encoder_type="ResNetProgressiveBackboneEncoder",
                 output_size=256, input_nc=6)
    with pytest.raises(WrongKindError, match="load_inverter"):
        checkpoints.load_encoder(path)
    invert, generator = load_inverter(path), checkpoints.load_generator(path)
    assert checkpoints.inspect(path)["contains"] == ["restyle", "generator"]
    path.unlink()
    network = invert.network["restyle"]
    assert type(network).__name__ == "ResNetProgressiveBackboneEncoder" and invert.iterations == 5
    x = picture("restyle_x")
    check(network(x, picture("restyle_y")), "encoder_codes_6ch", of)
    steps = list(restyle.refine(generator, network, x, 5))
    check(steps[0][1], "avg_image", of, WITH_GENERATOR)
    for i, (codes, image) in enumerate(steps[1:]):
        check(codes[0], f"iter{i}_latent", of, WITH_GENERATOR)
        check(image, f"iter{i}_image", of, WITH_GENERATOR)
    invert.iterations = 1       # the loop is the one above; what is looked at here is what it gives out
    found = invert(generator, x)
    assert torch.equal(found.latent.ws, steps[1][0]) and torch.equal(found.inversion, steps[1][1].clamp(-1, 1))


@pytest.mark.soak
@torch.inference_mode()
def test_restyle_at_full_size(tmp_path: Path) -> None:
    """IR-SE-50 on e4e: two iterations of a 1024 px generator."""
    of = "restyle_e4e_ffhq"
    path = write(tmp_path / "restyle.pt", of, num_ws=18, encoder_type="ProgressiveBackboneEncoder")
    invert, generator = load_inverter(path), checkpoints.load_generator(path)
    path.unlink()
    network, x = invert.network["restyle"], picture("restyle_x")
    check(network(x, picture("restyle_y")), "encoder_codes_6ch", of)
    steps = restyle.refine(generator, network, x, 2)
    check(restyle.pooled(next(steps)[1], (256, 256)), "avg_image", of, WITH_GENERATOR)
    for i, (codes, image) in enumerate(steps):
        check(codes[0], f"iter{i}_latent", of, WITH_GENERATOR)
        check(restyle.pooled(image, (256, 256)), f"iter{i}_image", of, WITH_GENERATOR)


@pytest.mark.parametrize(("of", "name"), [("restyle_psp_resnet", "ResNetBackboneEncoder"),
                                          ("restyle_psp_resnetgradual", "ResNetGradualStyleEncoder")])
@torch.inference_mode()
def test_restyle_on_psp(of: str, name: str) -> None:
    config = {"type": name, "num_ws": 14, "w_dim": 512, "input_resolution": 256}
    tensors = {key.removeprefix("encoder."): value for key, value in files.weights(of, "encoder.").items()}
    # Weights are a function of the full key; the prefix goes afterwards.
    network = loading.build("restyle", config, {**tensors, "latent_avg": torch.zeros(14, 512)})
    check(network(picture("restyle_x"), picture("restyle_y")), "encoder_codes_6ch", of)


def small_file(path: Path, name: str, **options: object) -> Path:
    """Names and shapes of a manifest in half precision; all tensors are views of one small storage."""
    entries = files.manifest(name)
    most = max(int(np.prod(shape)) for shape, _ in entries.values())
    base = torch.linspace(0.5, 1.5, most).half()
    tensors = {key: base[: int(np.prod(shape))].reshape(shape) for key, (shape, _) in entries.items()}
    real = {key: entry for key, entry in entries.items() if "int" in entry[1] or key.endswith(".kernel")}
    tensors |= {key: torch.from_numpy(np.array(value)) for key, value in files.fill.fill(real).items()}
    torch.save({"state_dict": tensors, "latent_avg": torch.zeros(512), "opts": options}, path)
    return path


@pytest.mark.parametrize(("name", "kind", "num_ws"), [
    ("restyle_psp_ffhq", "BackboneEncoder", 18), ("restyle_psp_gradual", "GradualStyleEncoder", 14),
    ("restyle_e4e_ffhq", "ProgressiveBackboneEncoder", 18),
])
def test_restyle_files_are_recognised(name: str, kind: str, num_ws: int, tmp_path: Path) -> None:
    """Every public variant by its names; the sizes of its tensors make exactly that network."""
    path = small_file(tmp_path / "restyle.pt", name, encoder_type=kind, dataset_type="cars_encode")
    found = checkpoints.inspect(path)
    assert found["kind"] == "restyle" and found["config"] == {
        "type": kind, "num_ws": num_ws, "w_dim": 512, "input_resolution": 256, "input_height": 192}
    skeleton = loading.skeleton("restyle", found["config"])
    shapes = {key.removeprefix("encoder."): tuple(shape) for key, (shape, _) in files.manifest(name).items()
              if key.startswith("encoder.")}
    assert shapes == {k: tuple(v.shape) for k, v in skeleton.state_dict().items() if k != "latent_avg"}
    assert skeleton.input_size == (192, 256)


def test_restyle_of_unknown_type_asks_for_it(tmp_path: Path) -> None:
    path = small_file(tmp_path / "restyle.pt", "restyle_psp_ffhq")
    with pytest.raises(UnsupportedCheckpointError, match='encoder_type="e4e"'):
        load_inverter(path)
    assert loading.kinds(path)[0] == "restyle"


# --- HFGI -------------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def test_hfgi(tmp_path: Path) -> None:
    """The networks alone, the generator with injected features, and the whole path with an edit, from one file."""
    of = "hfgi_1024"
    path = write(tmp_path / "hfgi.pt", of, num_ws=18, encoder_type="Encoder4Editing", stylegan_size=1024,
                 start_from_latent_avg=True, dataset_type="ffhq_encode")
    invert, generator = load_inverter(path), checkpoints.load_generator(path)
    path.unlink()
    network, encoder = invert.network["hfgi"], invert.network["encoder"]
    residual, edited = picture("hfgi_res") * 0.5, picture("hfgi_edit")
    aligned = network.align(residual, edited)
    check(aligned, "aligned", of)
    maps = network.residue(aligned)
    check(maps[:, 0], "cond_scale", of)
    check(maps[:, 1], "cond_shift", of)
    check(network.residue(residual)[:, 0], "cond_scale_from_res", of)
    ws = files.given("hfgi_w", 1, 18, 512)
    check(generator.synthesis(ws), "gen_plain", of)
    spread = torch.from_numpy(files.golden(of)["cond_scale_std"]).float()
    gentle = 0.1 * maps / spread.view(1, 2, 1, 1, 1)
    check(render(generator, Latent(ws, features={"b64.conv0": gentle})), "gen_cond", of)
    whole_path(invert, encoder, generator, of)


def whole_path(invert: object, encoder: nn.Module, generator: nn.Module, of: str) -> None:
    x = picture("hfgi_x")
    codes = encoder(x)
    check(codes, "codes", of)
    plain = generator.synthesis(codes)
    check(plain, "initial_inversion", of)
    network = invert.network["hfgi"]
    residual = network.residual(x, plain)
    check(residual, "distortion", of)
    age = files.given("dir_age", 1, 512)
    w_edit = DirectionEditor({"age": age / age.norm()}).edit(codes, {"age": 3.0})
    check(network.align(residual, generator.synthesis(w_edit)), "res_align", of)
    latent = Latent(codes, residual=residual, aligner=network, features=network.features(residual, plain))
    edited = render(generator, latent.with_ws(w_edit))
    check(edited, "edited_1024", of, WITH_GENERATOR)
    check(F.interpolate(edited, size=(256, 256), mode="bilinear"), "edited_256", of, WITH_GENERATOR)
    still = render(generator, replace(latent.with_ws(w_edit), aligner=None))
    assert (still - edited).abs().mean() > 0.01 * edited.abs().mean()       # the detail follows the edit


# --- HyperStyle -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hyper_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A 256 px file whose heads list the shared tensors again, as the published ones do (the same storages)."""
    path = tmp_path_factory.mktemp("hyperstyle") / "hyperstyle.pt"
    entries = files.manifest("hyperstyle_256")
    once = {key: entry for key, entry in entries.items() if ".hypernet." not in key}
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in files.fill.fill(once).items()}
    shared = {name: tensors[f"hypernet.shared_weight_hypernet.{name}"] for name in ("w1", "b1", "w2", "b2")}
    tensors |= {key: shared[key.rsplit(".", 1)[1]] for key in entries if key not in once}
    options = {"output_size": 256, "layers_to_tune": ",".join(map(str, DEFAULT_LAYERS)), "n_hypernet_outputs": 26}
    torch.save({"state_dict": tensors, "latent_avg": files.latent_avg(14, 512), "opts": options}, path)
    yield path
    path.unlink(missing_ok=True)


@torch.inference_mode()
def test_hyperstyle(hyper_path: Path, tmp_path: Path) -> None:
    """Changes of the weights, the generator with them, and a whole inversion, from both published files."""
    of = "hyperstyle_256"
    w_path = write(tmp_path / "w.pt", "hyperstyle_w_encoder_256", num_ws=14, encoder_type="WEncoder", output_size=256)
    invert = load_inverter(hyper_path, encoder=w_path)
    generator = checkpoints.load_generator(hyper_path)
    w_path.unlink()
    network, stored = invert.network["hyperstyle"], files.golden(of)
    assert sum(p.numel() for p in network.parameters()) < 340e6             # the shared weights once
    pair = torch.cat([picture("hyper_x"), picture("hyper_y")], 1)
    body = network.trunk(pair).double()
    assert (body.mean().item(), body.std(correction=0).item()) == pytest.approx(tuple(stored["body.stats"]), abs=1e-5)
    deltas = network.deltas(pair)
    assert list(deltas) == [0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]
    for i, delta in deltas.items():
        check(delta[0, :8, :8].reshape(8, 8, 9), f"delta{i:02d}.head", of)
        d, stats = delta.double(), stored[f"delta{i:02d}.stats"]
        assert (d.mean().item(), d.std(correction=0).item()) == pytest.approx(tuple(stats[:2]), abs=2e-5)
        assert tuple(delta.shape) == tuple(stored[f"delta{i:02d}.shape"])
    scale = stored["delta_scale"]
    changes = network.changes(generator, {i: delta * float(scale[i]) for i, delta in deltas.items()})
    ws = files.given("hyper_w", 1, 14, 512)
    check(render(generator, Latent(ws, changes=changes)), "gen_with_deltas", of)
    both = {name: change.repeat(2, 1, 1, 1, 1) for name, change in changes.items()}
    check(hyperstyle.paint_each(generator, ws.repeat(2, 1, 1), both)[1:], "gen_with_deltas", of)

    check((invert.network["encoder"](picture("hyper_x")) - invert.network["encoder"].latent_avg)[:, 0],
          "w_encoder_codes", of)
    latent = encode(generator, invert.network["encoder"], picture("hyper_x"))
    check(latent.ws, "inversion_codes", of)
    *_, (total, image) = hyperstyle.refine(generator, network, picture("hyper_x"), latent, invert.iterations)
    check(image, "inversion_image", of, WITH_GENERATOR)
    assert invert.iterations == int(stored["inversion_iters"])
    for i in (0, 2, 14):
        d = total[i].double()
        expected = pytest.approx(tuple(stored[f"inversion_delta{i:02d}.stats"]), rel=1e-3, abs=1e-3)
        assert (d.mean().item(), d.std(correction=0).item()) == expected


def test_hyperstyle_shared_weights_exist_once(hyper_path: Path) -> None:
    found = checkpoints.inspect(hyper_path)
    assert found["contains"] == ["hyperstyle", "generator"]
    part = next(p for p in loading.recognise(loading.open_source(hyper_path)) if p.kind == "hyperstyle")
    names = [name for name in part.tensors if name.endswith((".w1", ".w2"))]
    assert names == ["shared_weight_hypernet.w1", "shared_weight_hypernet.w2"]
    size = sum(m.record.numel * 4 for m in part.tensors.values())
    assert size < 1.3e9 < 4 * sum(int(np.prod(shape)) for shape, _ in files.manifest("hyperstyle_256").values())


def test_hyperstyle_at_full_size_is_recognised(tmp_path: Path) -> None:
    """Names and sizes of the 1024 px file; a generator of another size is refused."""
    path = small_file(tmp_path / "hyperstyle.pt", "hyperstyle_1024", output_size=1024)
    config = checkpoints.inspect(path)["config"]
    assert config["layers"] == list(DEFAULT_LAYERS) and config["channels"] == [512] * 5 + [256, 128, 64, 32]
    network = loading.skeleton("hyperstyle", config)
    expected = {key.removeprefix("hypernet."): tuple(shape) for key, (shape, _) in
                files.manifest("hyperstyle_1024").items() if key.startswith("hypernet.") and ".hypernet." not in key}
    assert expected == {k: tuple(v.shape) for k, v in network.state_dict().items()}
    smaller = loading.skeleton("generator", {"type": "Generator", "resolution": 64, "channels": [64] * 5})
    with pytest.raises(MismatchError, match="another generator"):
        network.check(smaller)


def test_hyperstyle_copies_that_differ_are_refused(tmp_path: Path) -> None:
    """A re-save without sharing is read when the copies agree, and refused when they do not."""
    from reganie_core.networks import build

    generator = build("generator", {"type": "Generator", "resolution": 32, "channels": [8] * 4, "z_dim": 8, "w_dim": 8,
                                    "mapping_layers": 2})
    network = build("hyperstyle", {"type": "HyperStyle", "channels": [8] * 4, "layers": [0, 2, 4], "hidden": 8,
                                   "input_resolution": 256, "shared_channels": 8, "shared_width": 4, "own_width": 4,
                                   "trunk": [4, 6, 8, 8], "trunk_blocks": [1, 1, 1, 1]})
    state = {f"hypernet.{key}": value for key, value in network.state_dict().items()}
    state |= {f"decoder.{key}": value for key, value in files.to_rosinality(generator.state_dict()).items()}
    for name in ("w1", "b1", "w2", "b2"):
        state[f"hypernet.refinement_blocks.0.hypernet.{name}"] = getattr(network.shared_weight_hypernet, name).clone()
    path, state = tmp_path / "hyperstyle.pt", {key: value.detach() for key, value in state.items()}
    torch.save({"state_dict": state, "latent_avg": torch.zeros(8), "opts": {}}, path)
    kind, again = loading.load_method(path)
    assert kind == "hyperstyle"
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    written = checkpoints.convert(path, tmp_path / "ours.safetensors")
    assert written["kind"] == "hyperstyle" and written["fingerprint"] == again.fingerprint
    assert loading.load_method(tmp_path / "ours.safetensors")[1].fingerprint == again.fingerprint
    state["hypernet.refinement_blocks.0.hypernet.b1"] += 1
    torch.save({"state_dict": state, "latent_avg": torch.zeros(8), "opts": {}}, path)
    with pytest.raises(UnsupportedCheckpointError, match="do not share"):
        loading.load_method(path)
