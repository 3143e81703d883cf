"""Photos to crops and back, and the other inversion methods, as nodes."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.host_stubs import Interrupted, call, picture

pytest_plugins = ["tests.nodes_fixtures"]

PACKAGED = "portraits (packaged)"
POINTS = "60,50 100,50 64,95 96,95"


@pytest.fixture
def wires(pack: SimpleNamespace) -> SimpleNamespace:
    names = pack.nodes["LoadReGANIE"].RETURN_NAMES
    return SimpleNamespace(**dict(zip(names, call(pack, "LoadReGANIE", domain=PACKAGED), strict=True)))


def _align(pack, photo, **more):
    return call(pack, "AlignFace", photo=photo, **{"find": "points", "points": POINTS, "size": 64, **more})


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_unchanged_crop_leaves_the_photo_and_what_lies_outside_is_the_same_bits(pack, channels):
    photo = picture(1, 160, 220, channels, seed=1)
    aligned, face, found = _align(pack, photo)
    assert aligned.shape == (1, 64, 64, 3) and found.shape == (1, 160, 220) and bool((found == 1).all())
    same, mask = call(pack, "PasteFace", edited=aligned, face=face)
    colours = photo if channels != 1 else photo.expand(1, 160, 220, 3)
    assert same.shape == colours.shape and mask.shape == (1, 160, 220)
    torch.testing.assert_close(same, colours, atol=2e-3, rtol=0)
    changed, mask = call(pack, "PasteFace", edited=1 - aligned, face=face, mode="replace", match_tone=False)
    outside = mask[..., None] == 0
    assert 0.2 < outside.float().mean() < 0.9 and torch.equal(*(x[outside.expand_as(x)] for x in (changed, colours)))
    assert (changed - colours)[..., :3].abs().max() > 0.3
    if channels == 4:
        assert torch.equal(changed[..., 3], photo[..., 3])
    assert torch.equal(call(pack, "PasteFace", edited=1 - aligned, face=face, strength=0.0)[0], colours)


def test_frames_keep_their_order_and_skipped_ones_stay(pack, monkeypatch):
    photos = picture(3, 160, 160)
    lines = "\n".join([POINTS, "70,60 110,60 74,105 106,105", POINTS])
    aligned, face, _ = _align(pack, photos, points=lines)
    alone = _align(pack, photos[1:2], points=lines.splitlines()[1])[0]
    assert torch.equal(aligned[1:2], alone)
    real = pack.rc.faces.align_photos

    def second_is_empty(pictures, size, **options):
        if options["names"] == ["photo 1"]:
            options["points"] = []
        return real(pictures, size, **options)

    monkeypatch.setattr(pack.rc.faces, "align_photos", second_is_empty)
    aligned, face, found = _align(pack, photos, points=lines, missing="skip")
    assert len(aligned) == 2 and found.mean((1, 2)).tolist() == [1.0, 0.0, 1.0]
    assert "Skipped photos: 1" in pack.host.state.notices[-1][1]["text"]
    pasted, mask = call(pack, "PasteFace", edited=1 - aligned, face=face)
    assert torch.equal(pasted[1], photos[1]) and mask[1].max() == 0 and not torch.equal(pasted[2], photos[2])
    with pytest.raises(pack.rc.ReganieError, match="photo 1"):
        _align(pack, photos, points=lines)
    with pytest.raises(pack.rc.ReganieError, match="2 edited crops for 3|3 edited crops for 2"):
        call(pack, "PasteFace", edited=photos[:, :64, :64], face=face)


def test_bad_photos_and_points_are_one_sentence(pack):
    photo = picture(1, 160, 160)
    for inputs, words in (
        ({"find": "points", "points": ""}, "no points"), ({"find": "points", "points": "60,50 here"}, "no number"),
        ({"find": "detector", "detector_name": "mine.pth"}, "no face detector 'mine.pth'"),
        ({"find": "detector", "detector_name": "first found in models/reganie"}, "No face was found"),
        ({"find": "detector", "detector_name": "../../x.pth"}, "leaves its folder"),
        ({"find": "aligned", "which": "0," * 200}, "at most 200"),
    ):
        with pytest.raises(pack.rc.ReganieError, match=words):
            call(pack, "AlignFace", photo=photo, **inputs)
    with pytest.raises(pack.rc.ReganieError, match="Points of 1 faces for 2 photos"):
        _align(pack, picture(2, 160, 160))
    with pytest.raises(pack.rc.ReganieError, match="Cannot choose the face"):
        _align(pack, picture(1, 160, 160), which="the tall one")
    with pytest.raises(pack.rc.errors.MismatchError, match="takes one face"):
        call(pack, "PasteFace", edited=picture(), face=call(pack, "LoadStyleGAN", file=PACKAGED)[0])
    pack.host.state.cancel = True
    with pytest.raises(Interrupted):
        _align(pack, picture(1, 160, 160))


def test_an_aligned_picture_goes_straight_through(pack, wires):
    aligned, face, _ = _align(pack, picture(1, 32, 48), find="aligned", points="", size=32)
    assert aligned.shape == (1, 32, 32, 3)
    torch.testing.assert_close(aligned[0], picture(1, 32, 48)[0, :, 8:40], atol=0.02, rtol=0)


def test_e4e_by_method_is_e4e_invert(pack, wires):
    image = picture(3)
    plain = call(pack, "E4EInvert", generator=wires.generator, image=image, encoder=wires.encoder)
    found = call(pack, "InvertImage", generator=wires.generator, image=image, method="e4e", encoder=wires.encoder)
    assert torch.equal(found[0].ws, plain[0].ws)
    torch.testing.assert_close(found[1], plain[1])
    assert torch.equal(found[2], plain[2])


@pytest.mark.parametrize("method", ["w", "w+", "pti"])
def test_optimising_methods_run_inside_inference_mode(pack, wires, method, monkeypatch):
    monkeypatch.setattr(pack.sub("_host"), "chunk_size", lambda resolution: 1)
    image = picture(2)
    start = call(pack, "E4EInvert", generator=wires.generator, image=image, encoder=wires.encoder)[1]
    latent, inversion, prepared = call(pack, "InvertImage", generator=wires.generator, image=image, method=method,
                                       iterations=4, encoder=wires.encoder)
    assert latent.batch == 2 and inversion.shape == prepared.shape == (2, 32, 32, 3)
    assert not torch.equal(inversion, start)
    assert bool(latent.changes) == (method == "pti")
    again = call(pack, "Synthesize", generator=wires.generator, latent=latent)[0]
    torch.testing.assert_close(again, inversion, atol=1e-4, rtol=0)
    edited = call(pack, "DirectionEdit", generator=wires.generator, latent=latent, direction="yaw", strength=5.0,
                  editor=wires.directions)[0]
    assert edited.changes.keys() == latent.changes.keys()


def test_an_optimisation_shows_its_picture_meanwhile(pack, wires, monkeypatch):
    """A refinement in a few steps: the node shows what the generator draws now, and leaves no hook behind."""
    monkeypatch.setattr(pack.sub("_host"), "PREVIEW_SECONDS", -1.0)
    pack.host.state.previews.clear()
    synthesis = wires.generator.value.synthesis
    hooks = len(synthesis._forward_hooks)
    call(pack, "InvertImage", generator=wires.generator, image=picture(), method="w+", iterations=3,
         encoder=wires.encoder)
    shown = [np.asarray(preview[1]) for preview in pack.host.state.previews]
    assert len(shown) == 3 and all(one.shape == (32, 32, 3) for one in shown)
    assert not np.array_equal(shown[0], shown[2]) and len(synthesis._forward_hooks) == hooks


def test_cancel_stops_an_optimisation_within_a_step(pack, wires, monkeypatch):
    real, seen = pack.sub("_host").Progress.at, []

    def press(self, share, picture=None):
        seen.append(share)
        pack.host.state.cancel = len(seen) >= 3
        real(self, share, picture)

    monkeypatch.setattr(pack.sub("_host").Progress, "at", press)
    with pytest.raises(Interrupted):
        call(pack, "InvertImage", generator=wires.generator, image=picture(), method="w+", iterations=50,
             encoder_name="none (start from the average)")
    assert len(seen) == 3


def test_methods_with_networks_of_their_own_ask_for_the_file(pack, wires):
    inputs = {"generator": wires.generator, "image": picture()}
    for method in ("restyle", "hfgi", "hyperstyle"):
        with pytest.raises(pack.rc.ReganieError, match="needs its own network.*reganie"):
            call(pack, "InvertImage", **inputs, method=method)
        with pytest.raises(pack.rc.ReganieError, match="leaves its folder"):
            call(pack, "InvertImage", **inputs, method=method, network_name="../../x.pt")
    with pytest.raises(pack.rc.ReganieError, match="method is one of"):
        call(pack, "InvertImage", **inputs, method="magic")


def test_before_and_after_pairs_pictures(pack):
    before, after = picture(2), picture(4, seed=1)
    ui = call(pack, "BeforeAfter", before=before, after=after)["ui"]
    temp = pack.base / "temp"
    names = [[item["filename"] for item in ui[key]] for key in ("reganie_before", "reganie_after")]
    assert len(names[0]) == len(names[1]) == 4 and all((temp / name).is_file() for part in names for name in part)
    shown = pack.rc.images.load_image(temp / names[0][2])
    torch.testing.assert_close(shown[0], before[1].permute(2, 0, 1) * 2 - 1, atol=0.01, rtol=0)
    with pytest.raises(pack.rc.ReganieError, match="2 pictures before and 3 after"):
        call(pack, "BeforeAfter", before=before, after=after[:3])


def test_frames_are_cut_steadily(pack, monkeypatch):
    """Points that jitter by two pixels: the squares move far less with smoothing."""
    jitter = torch.randint(-2, 3, (8, 2), generator=torch.Generator().manual_seed(0)).tolist()
    corners = [(60, 50), (100, 50), (64, 95), (96, 95)]
    lines = "\n".join(" ".join(f"{x + a},{y + b}" for x, y in corners) for a, b in jitter)
    photos = picture(1, 160, 160).repeat(8, 1, 1, 1)

    def motion(smooth: float) -> float:
        crops, face, _ = _align(pack, photos, points=lines, smooth=smooth)
        assert len(crops) == len(face.faces) == 8
        centres = torch.stack([one.corners.mean(0) for one in face.faces])
        return float(centres.diff(dim=0).norm(dim=1).mean())

    assert motion(3.0) < 0.4 * motion(0.0)


def test_the_drawn_photo_is_cut_by_its_points(pack):
    photo, points = call(pack, "PhotoExample", kind="clip", count=2, people=1)
    assert photo.shape == (2, 240, 320, 3) and len(points.splitlines()) == 2
    aligned, face, _ = _align(pack, photo, points=points, framing="portraits")
    assert len(aligned) == 2 and [one.index for one in face.faces] == [0, 1]


def test_codes_of_a_clip_are_smoothed(pack, wires):
    """Noise on a steady code is averaged away, a single code and 0 stay as they are, the picture is of the result."""
    latent = call(pack, "SampleLatent", generator=wires.generator, seed=1, count=1)[0]
    noise = torch.randn(24, *latent.ws.shape[1:], generator=torch.Generator().manual_seed(0)) * 0.2
    shaky = dataclasses.replace(latent, ws=latent.ws + noise)
    steady, pictures = call(pack, "SmoothLatents", generator=wires.generator, latent=shaky, smooth=2.0)
    assert steady.batch == len(pictures) == 24 and steady.generator == latent.generator
    assert float((steady.ws - latent.ws).std()) < 0.5 * float(noise.std())
    torch.testing.assert_close(pictures, call(pack, "Synthesize", generator=wires.generator, latent=steady)[0])
    assert torch.equal(call(pack, "SmoothLatents", generator=wires.generator, latent=shaky, smooth=0.0)[0].ws, shaky.ws)
    alone = call(pack, "SmoothLatents", generator=wires.generator, latent=latent, smooth=3.0)[0]
    torch.testing.assert_close(alone.ws, latent.ws)


def test_flicker_is_told(pack):
    """A steady ramp has none; a frame that is brighter by 25.5 levels has a third of four times that, over the two."""
    ramp = torch.linspace(0.2, 0.6, 5)[:, None, None, None].expand(5, 16, 20, 3).contiguous()
    report, value = call(pack, "MeasureFlicker", frames=ramp)
    assert value == pytest.approx(0.0, abs=1e-3) and report.startswith("Flicker 0.00")
    odd = ramp.clone()
    odd[2] += 0.1
    report, value = call(pack, "MeasureFlicker", frames=odd, before=ramp)
    assert value == pytest.approx(25.5 * (1 + 2 + 1) / 3, rel=1e-3) and "0.00 before, 34.00 after" in report
    with pytest.raises(pack.rc.ReganieError, match="5 frames before and 4 after"):
        call(pack, "MeasureFlicker", frames=odd[:4], before=ramp)
    with pytest.raises(pack.rc.ReganieError, match="three frames"):
        call(pack, "MeasureFlicker", frames=odd[:2])
