"""Every inversion method on tiny networks: one protocol, identities, batches, later edits, cancelling, refusals."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from reganie_core import networks
from reganie_core.delta import difference
from reganie_core.editing.directions import DirectionEditor
from reganie_core.errors import CorruptCheckpointError, InputError, MismatchError, NotFoundError
from reganie_core.inversion import (
    METHODS,
    InversionCancelledError,
    ProjectionSettings,
    PtiSettings,
    encode,
    invert_with,
    make_inverter,
    optimise,
    pti,
)
from reganie_core.inversion.hyperstyle import paint_each
from reganie_core.latents import Latent, concatenate, load_latent, render, save_latent, synthesize
from reganie_core.networks.lpips import LPIPS, LPIPSConfig
from reganie_core.rectification import rectify

SHORT = ProjectionSettings(steps=6, optimise_noise=False, l2_weight=1.0)
OPTIONS = {"pti": {"settings": PtiSettings(ProjectionSettings(steps=4), steps=5)}, "w": {"settings": SHORT},
           "w+": {"settings": SHORT}, "restyle": {"iterations": 2}, "hyperstyle": {"iterations": 2}}


def make_parts(nets: SimpleNamespace, seed: int = 0) -> dict[str, torch.nn.Module]:
    """Random networks of the three methods for the tiny generator, small enough to change pictures gently."""
    generator = nets.generator
    levels, base = len(generator.config.channels), {"input_resolution": 32}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = {
            "restyle": networks.build("restyle", {
                "type": "LightRestyle", **base, "num_ws": generator.num_ws, "w_dim": 16, "channels": [8] * levels,
                "tap_channels": 8, "features": 16}),
            "hfgi": networks.build("hfgi", {
                "type": "HFGI", **base, "layer": "b8.conv0", "feature_channels": 12, "feature_resolution": 8,
                "channels": [4, 6, 8], "align_channels": [4, 6, 8, 8]}),
            "hyperstyle": networks.build("hyperstyle", {
                "type": "HyperStyle", **base, "channels": [12] * levels, "layers": [0, 1, 2, 3, 5, 6, 7, 8, 9],
                "shared_channels": 12, "hidden": 16, "shared_width": 8, "own_width": 8, "trunk": [8, 8, 12, 16],
                "trunk_blocks": [1, 1, 1, 1]}),
        }
        torch.nn.init.normal_(found["restyle"].base.weight)
    for network in found.values():
        network.eval().requires_grad_(False)
    return found


@pytest.fixture(scope="module")
def parts(tiny_networks: SimpleNamespace) -> dict[str, torch.nn.Module]:
    return make_parts(tiny_networks)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def arguments(method: str, nets: SimpleNamespace, parts: dict[str, torch.nn.Module]) -> dict:
    given = dict(OPTIONS.get(method, {}))
    if method in parts:
        given["network"] = parts[method]
    if method in ("e4e", "hfgi", "hyperstyle"):
        given["encoder"] = nets.encoder
    return given


@pytest.mark.parametrize("method", METHODS)
def test_protocol(method: str, tiny_networks: SimpleNamespace, parts: dict, images: Tensor) -> None:
    """The latent paints the picture; batches equal singles; progress is complete; an edit keeps what was changed."""
    generator, steps = tiny_networks.generator, []
    inverter = make_inverter(method, **arguments(method, tiny_networks, parts))
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    found = invert_with(inverter, generator, images, progress=lambda *now: steps.append(now))
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert inverter.method == method and found.inversion.shape == images.shape and not found.inversion.requires_grad
    assert found.inversion.abs().max() <= 1 and torch.equal(found.image, images)
    assert torch.allclose(synthesize(generator, found.latent), found.inversion, atol=1e-5)
    assert [now for now, _ in steps] == sorted(now for now, _ in steps) and steps[-1][0] == steps[-1][1]
    single = invert_with(inverter, generator, images[1:2])
    assert torch.allclose(single.inversion, found.inversion[1:2], atol=2e-3)
    assert torch.allclose(single.latent.ws, found.latent.ws[1:2], atol=2e-3)

    editor = DirectionEditor({"yaw": 5 * torch.ones(1, 16)})
    edited = found.latent.with_ws(editor.edit(found.latent.ws, {"yaw": 1.0}))
    assert edited.changes.keys() == found.latent.changes.keys()
    assert edited.features.keys() == found.latent.features.keys()
    picture = synthesize(generator, edited)
    assert not torch.allclose(picture, found.inversion, atol=0.01)
    bare = synthesize(generator, Latent(edited.ws))
    assert torch.allclose(bare, picture, atol=1e-6) == (method in ("e4e", "restyle", "w", "w+"))
    delta = difference(found.image, found.inversion)
    assert rectify(tiny_networks.rectifier, picture, delta).shape == images.shape


def test_methods_work_in_inference_mode_and_repeat(tiny_networks: SimpleNamespace, images: Tensor) -> None:
    """Optimising methods need gradients even where the caller has switched them off, and give the same twice."""
    settings = PtiSettings(ProjectionSettings(steps=3), steps=3)
    with torch.inference_mode():
        first, again = (invert_with("pti", tiny_networks.generator, images[:1] * 1.0, settings=settings) for _ in "ab")
    assert torch.equal(first.latent.ws, again.latent.ws) and torch.equal(first.inversion, again.inversion)
    assert all(torch.equal(first.latent.changes[name], again.latent.changes[name]) for name in first.latent.changes)


def test_no_iterations_and_no_offsets_are_the_start(tiny_networks: SimpleNamespace, parts: dict,
                                                    images: Tensor) -> None:
    generator, encoder = tiny_networks.generator, tiny_networks.encoder
    plain = invert_with("e4e", generator, images, encoder=encoder)
    mean = invert_with("restyle", generator, images, network=parts["restyle"], iterations=0)
    assert torch.equal(mean.latent.ws, parts["restyle"].latent_avg.expand_as(mean.latent.ws))
    none = invert_with("hyperstyle", generator, images, network=parts["hyperstyle"], encoder=encoder, iterations=0)
    assert not none.latent.changes and torch.equal(none.inversion, plain.inversion)
    zero = {"b8.conv0": torch.zeros(3, 2, 12, 8, 8)}
    same = render(generator, replace(plain.latent, features=zero))
    assert torch.allclose(same.clamp(-1, 1), plain.inversion, atol=1e-6)
    start = encode(generator, encoder, images).ws
    still = optimise.project(generator, images, space="w+", settings=replace(SHORT, steps=0), start=start)
    assert torch.equal(still, start)
    assert pti.tune(generator, start[:1], images[:1], PtiSettings(steps=0)) == {}


def test_tuning_lowers_the_loss_and_stops_when_good_enough(tiny_networks: SimpleNamespace, images: Tensor) -> None:
    generator, asked = tiny_networks.generator, []

    def distance(a: Tensor, b: Tensor) -> Tensor:
        asked.append(1)
        return (a - b).abs().mean((1, 2, 3))

    pivot = generator.w_avg.expand(1, generator.num_ws, -1)
    settings = PtiSettings(steps=25, lr=0.01, stop_at=None)
    changes = pti.tune(generator, pivot, images[:1], settings, distance)
    before, after = (distance(render(generator, Latent(pivot, changes=c)), images[:1]) for c in ({}, changes))
    assert float(after) < 0.9 * float(before)
    asked.clear()
    assert pti.tune(generator, pivot, images[:1], replace(settings, stop_at=10.0), distance) == {} and len(asked) == 1
    published = pti.PUBLISHED
    assert (published.projection.steps, published.steps, published.lr, published.stop_at) == (450, 350, 3e-4, 0.06)
    # Its bound is one of LPIPS.
    lpips = LPIPS(LPIPSConfig("alex"))
    assert make_inverter("pti", perceptual=lpips.distance).settings == published
    assert make_inverter("pti", perceptual=distance).settings == replace(published, stop_at=None)


def test_projection_lowers_the_loss_in_both_spaces(tiny_networks: SimpleNamespace) -> None:
    generator = tiny_networks.generator
    w = generator.mapping(torch.randn(1, 16, generator=torch.Generator().manual_seed(3)))
    target = synthesize(generator, Latent(w))
    mean = generator.w_avg.expand(1, generator.num_ws, -1)
    before = optimise.pyramid_distance(synthesize(generator, Latent(mean)), target)
    settings = ProjectionSettings(steps=25, lr=0.1, optimise_noise=True)
    for space in ("w", "w+"):
        codes = optimise.project(generator, target, space=space, settings=settings)
        assert torch.equal(codes[:, 0], codes[:, -1]) == (space == "w")
        assert float(optimise.pyramid_distance(synthesize(generator, Latent(codes)), target)) < 0.8 * float(before)
    assert optimise.ramp(0.0) == 0 and optimise.ramp(0.5) == 1 and optimise.ramp(1.0) == pytest.approx(0)


def test_pictures_by_their_own_weights_at_once(tiny_networks: SimpleNamespace, parts: dict, images: Tensor) -> None:
    generator, network = tiny_networks.generator, parts["hyperstyle"]
    latent = encode(generator, tiny_networks.encoder, images)
    deltas = network(images, images.flip(-1))
    changes = network.changes(generator, deltas)
    together = paint_each(generator, latent.ws, changes)
    assert torch.allclose(together, render(generator, replace(latent, changes=changes)), atol=1e-4)
    # The change is relative: weight * (1 + delta), layer by layer.
    weight = generator.synthesis.b8.conv1.weight
    assert torch.allclose(weight + changes["synthesis.b8.conv1.weight"][1], weight * (1 + deltas[3][1]))


def test_injected_features_are_scale_and_shift(tiny_networks: SimpleNamespace) -> None:
    """Against a hook on the layer itself."""
    generator = tiny_networks.generator
    random = torch.Generator().manual_seed(4)
    ws, maps = torch.randn(2, generator.num_ws, 16, generator=random), torch.randn(2, 2, 12, 8, 8, generator=random)
    found = render(generator, Latent(ws, features={"b8.conv0": maps}))
    hook = generator.synthesis.b8.conv0.register_forward_hook(lambda *a: a[2] * (1 + maps[:, 0]) + maps[:, 1])
    expected = render(generator, Latent(ws))
    hook.remove()
    assert torch.allclose(found, expected, atol=1e-5)
    for wrong in ({"b4.conv0": maps}, {"b64.conv0": maps}, {"b8.conv0": maps[:, :, :6]}, {"b8.torgb": maps}):
        with pytest.raises(MismatchError):
            render(generator, Latent(ws, features=wrong))
    with pytest.raises(InputError, match="1 images|images"):
        Latent(ws, features={"b8.conv0": maps[:1]})


def test_features_follow_an_edit_and_live_in_files(tiny_networks: SimpleNamespace, parts: dict, images: Tensor,
                                                   tmp_path: object) -> None:
    generator = tiny_networks.generator
    found = invert_with("hfgi", generator, images, network=parts["hfgi"], encoder=tiny_networks.encoder)
    edited = found.latent.with_ws(found.latent.ws + 1.0)
    network, bare = parts["hfgi"], Latent(edited.ws)
    features = network.features(edited.residual, synthesize(generator, bare))
    assert torch.allclose(synthesize(generator, edited), synthesize(generator, replace(bare, features=features)))
    assert not torch.allclose(features["b8.conv0"], edited.features["b8.conv0"], atol=1e-3)
    joined = concatenate([edited[:1], edited[1:]])
    assert joined.aligner is network and torch.equal(joined.residual, edited.residual)
    mixed = concatenate([edited, bare])
    assert mixed.aligner is None and torch.equal(mixed.features["b8.conv0"][3:], torch.zeros(3, 2, 12, 8, 8))
    save_latent(edited, tmp_path / "latent.safetensors")
    again = load_latent(tmp_path / "latent.safetensors")
    assert torch.equal(again.features["b8.conv0"], edited.features["b8.conv0"]) and again.aligner is None
    assert torch.equal(synthesize(generator, replace(again, aligner=network)), synthesize(generator, edited))


def test_cancelling(tiny_networks: SimpleNamespace, images: Tensor) -> None:
    with pytest.raises(InversionCancelledError):
        invert_with("w", tiny_networks.generator, images, settings=SHORT, progress=lambda done, total: done < 3)
    with pytest.raises(KeyboardInterrupt):
        invert_with("w", tiny_networks.generator, images, settings=SHORT, progress=_interrupt)


def _interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["e4e", "restyle", "hfgi", "hyperstyle"])
def test_another_generator_is_refused(method: str, tiny_networks: SimpleNamespace, parts: dict, make_networks: object,
                                      images: Tensor) -> None:
    given = arguments(method, tiny_networks, parts)
    larger = make_networks(resolution=64)
    with pytest.raises(MismatchError, match="another generator"):
        invert_with(method, larger.generator, torch.zeros(1, 3, 64, 64), **given)
    if method in ("hfgi", "hyperstyle"):      # the encoder fits, the method's own network does not
        narrow = networks.build("generator", {"type": "Generator", "resolution": 32, "channels": [8] * 4, "z_dim": 16,
                                              "w_dim": 16, "mapping_layers": 2})
        with pytest.raises(MismatchError, match="another generator"):
            invert_with(method, narrow, images, **given)


def test_recorded_generator_is_compared(tiny_networks: SimpleNamespace, parts: dict, images: Tensor,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    prints = {"fingerprints": {"generator": "a" * 16, "encoder": "c" * 16}}
    monkeypatch.setattr(parts["hfgi"], "provenance", prints, raising=False)
    monkeypatch.setattr(tiny_networks.generator, "fingerprint", "b" * 16, raising=False)
    inverter = make_inverter("hfgi", network=parts["hfgi"], encoder=tiny_networks.encoder)
    with pytest.raises(MismatchError, match="a{16}.*b{16}"):
        inverter(tiny_networks.generator, images)
    monkeypatch.setattr(tiny_networks.generator, "fingerprint", "a" * 16)
    monkeypatch.setattr(tiny_networks.encoder, "fingerprint", "d" * 16, raising=False)
    with pytest.warns(UserWarning, match="c{16}.*d{16}"):
        inverter(tiny_networks.generator, images)


def test_what_is_missing_or_unknown_is_said(tiny_networks: SimpleNamespace, parts: dict) -> None:
    with pytest.raises(InputError, match="hyperstyle"):
        make_inverter("stylespace")
    with pytest.raises(NotFoundError, match="kind hfgi"):
        make_inverter("hfgi", encoder=tiny_networks.encoder)
    with pytest.raises(NotFoundError, match="encoder"):
        make_inverter("hyperstyle", network=parts["hyperstyle"])
    with pytest.raises(InputError, match="published or fast"):
        make_inverter("pti", settings="slow")
    with pytest.raises(InputError, match="iterations"):
        make_inverter("restyle", network=parts["restyle"], iterations=-1)
    with pytest.raises(CorruptCheckpointError, match="iterations"):
        networks.build("restyle", {"type": "LightRestyle", "iterations": 0})
