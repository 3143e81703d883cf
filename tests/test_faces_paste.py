"""Putting back: what must not change does not, what must change does, against scenes with exact answers."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from PIL import Image

from reganie_core import faces
from reganie_core.errors import InputError, MismatchError
from reganie_core.portraits.scenes import Scene, sample_scene


@pytest.fixture(scope="module")
def crowd() -> tuple[Scene, torch.Tensor, torch.Tensor]:
    """Three turned people, the picture, and the exact answer to an edit of the first two."""
    scene = sample_scene(3, seed=5, width=420, height=300)
    return scene, scene.render(), scene.edited({"yaw": 15.0, "smile": 0.8}, who=[0, 1]).render()


def noise_photo(width: int = 400, height: int = 300, channels: int = 3) -> torch.Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def psnr(a: torch.Tensor, b: torch.Tensor, where: torch.Tensor | None = None) -> float:
    """For a range of 2."""
    squares = (a - b) ** 2 / 4.0
    mean = squares.mean() if where is None else squares[where.expand_as(squares)].mean()
    return float(-10.0 * torch.log10(mean + 1e-20))


POINTS = torch.tensor([[150.0, 120.0], [210.0, 125.0], [182.0, 150.0], [158.0, 180.0], [205.0, 184.0]])
PLACES = {"inside": (0, 0), "left border": (-110, 0), "corner": (170, 90), "top": (20, -90)}


@pytest.mark.parametrize("mode", faces.PASTE_MODES)
@pytest.mark.parametrize("place", PLACES)
def test_outside_is_bit_identical_and_an_unchanged_crop_changes_nothing(place, mode):
    photo = noise_photo()
    found = faces.align_photos(photo, 256, points=POINTS + torch.tensor(PLACES[place]))
    changed = faces.paste_faces(photo, -found.crops, found.faces, mode=mode, match_tone=False)
    outside = (changed.mask == 0).expand_as(photo)
    assert torch.equal(changed.photos[outside], photo[outside]) and 0.1 < float(outside.float().mean()) < 0.95
    assert psnr(changed.photos, photo, changed.mask > 0.5) < 15
    same = faces.paste_faces(photo, found.crops, found.faces, mode=mode)
    assert torch.equal(same.photos[outside], photo[outside])
    if mode != "replace":
        assert psnr(same.photos, photo) > 100
    # The mask covers the square: everything further inside than the soft edge is covered in full.
    face = found.faces[0]
    y, x = torch.meshgrid(torch.arange(300), torch.arange(400), indexing="ij")
    local = face.photo_to_crop(torch.stack([x, y], -1)) / 256
    inner = ((local > 0.1) & (local < 0.9)).all(-1)
    outer = ((local < -0.01) | (local > 1.01)).any(-1)
    assert (changed.mask[0, 0][inner] == 1).all() and (changed.mask[0, 0][outer] == 0).all()


def pil_photos() -> dict[str, Image.Image]:
    rng = np.random.default_rng(0)
    rgba = Image.fromarray(rng.integers(0, 256, (300, 400, 4), dtype=np.uint8))
    grey16 = Image.fromarray(rng.integers(0, 65536, (300, 400), dtype=np.uint16))
    floats = Image.fromarray(rng.random((300, 400), dtype=np.float32))
    return {"RGB": rgba.convert("RGB"), "RGBA": rgba, "L": rgba.convert("L"), "LA": rgba.convert("LA"),
            "I;16": grey16, "F": floats}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "I;16", "F"])
def test_pil_photos_keep_mode_alpha_and_everything_outside(mode):
    photo = pil_photos()[mode]
    assert photo.mode == mode
    photo.info["icc_profile"] = b"profile"
    found = faces.align_photos(photo, 200, points=POINTS)
    same = faces.paste_faces(photo, found.crops, found.faces).photos
    before = np.asarray(photo).astype(np.float64)
    assert same.mode == mode and same.size == photo.size and same.info["icc_profile"] == b"profile"
    assert np.abs(np.asarray(same) - before).max() <= (1e-6 if mode == "F" else 0)
    result = faces.paste_faces(photo, -found.crops, found.faces)
    after = np.asarray(result.photos).astype(np.float64)
    outside = result.mask[0, 0].numpy() == 0
    assert np.array_equal(after[outside], before[outside])
    if mode in ("RGBA", "LA"):
        assert np.array_equal(after[..., -1], before[..., -1])
    assert (after[~outside] != before[~outside]).mean() > 0.4  # alpha is half of LA
    assert np.array_equal(np.asarray(photo), before)  # the given photo is not written to


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tensor_photos_keep_channels_and_batches(channels):
    photos = noise_photo(channels=channels).repeat(3, 1, 1, 1)
    points = [None, POINTS, torch.stack([POINTS * 0.5, POINTS * 0.5 + torch.tensor([160.0, 0.0])])]
    found = faces.align_photos(photos, 96, points=points, which="all", missing="skip")
    assert [face.index for face in found.faces] == [1, 2, 2]
    result = faces.paste_faces(photos, -found.crops, found.faces)
    assert torch.equal(result.photos[0], photos[0]) and not torch.equal(result.photos[2], photos[2])
    assert result.mask.shape == (3, 1, 300, 400) and torch.equal(result.photos[:, 3:], photos[:, 3:])
    mixed = [photos[0], pil_photos()["L"], photos[1:2]]
    found = faces.align_photos(mixed, 64, points=[POINTS] * 3)
    back = faces.paste_faces(mixed, found.crops, found.faces).photos
    assert back[0].shape == photos[0].shape and back[1].mode == "L" and back[2].shape == photos[1:2].shape


@pytest.mark.parametrize("size", [120, 240, 400])
def test_zero_edit_through_eight_bit_crops_of_a_turned_face(crowd, size):
    """The crop is saved as a PNG in between: its rounding is all that is left, at any size."""
    from reganie_core.images import from_uint8, to_uint8

    scene, photo, _ = crowd
    found = faces.align_photos(photo, size, points=scene.points(), which="all", framing="portraits")
    stored = from_uint8(to_uint8(found.crops))
    result = faces.paste_faces(photo, stored, found.faces)
    assert psnr(result.photos, photo, result.mask > 0) > 50


@pytest.mark.parametrize(("size", "least"), [(320, 45.0), (160, 42.0), (96, 36.0)])
def test_an_exact_edit_gives_the_exact_scene(crowd, size, least):
    """Aligned out of the exact answer, pasted into the photo: larger, equal and smaller than the squares."""
    scene, photo, exact = crowd
    found = faces.align_photos(photo, size, points=scene.points(), which="all", framing="portraits")
    edited = faces.align_faces(exact, found.faces)
    scores = {}
    for mode in faces.PASTE_MODES:
        result = faces.paste_faces(photo, edited, found.faces, mode=mode)
        scores[mode] = psnr(result.photos, exact, result.mask > 0.5)
    assert scores["auto"] > least and scores["auto"] > scores["residual"] + 1 and scores["auto"] > scores["replace"]
    assert psnr(photo, exact, result.mask > 0.5) < 30


def test_crops_of_another_size_than_aligned(crowd):
    scene, photo, exact = crowd
    found = faces.align_photos(photo, 200, points=scene.points(), which="all", framing="portraits")
    for size in (120, 333):
        edited = faces.align_faces(exact, [face.resized(size) for face in found.faces])
        result = faces.paste_faces(photo, edited, found.faces)
        assert psnr(result.photos, exact, result.mask > 0.5) > (37 if size == 120 else 41)


def test_points_off_by_up_to_three_percent_degrade_gracefully(crowd):
    """The same edit through squares cut from wrong points: the paste stays consistent with where it was cut."""
    scene, photo, exact = crowd
    draws = torch.randn(scene.points().shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sides = torch.tensor([place[2] for place in scene.places])[:, None, None]
    scores = []
    for share in (0.0, 0.03):  # of the face, half the portrait's side
        points = scene.points() + draws * share * 0.5 * sides / 2**0.5
        found = faces.align_photos(photo, 160, points=points, which="all", framing="portraits")
        result = faces.paste_faces(photo, faces.align_faces(exact, found.faces), found.faces)
        scores.append(psnr(result.photos, exact))
    assert min(scores) > 35 and scores[0] > 42


def test_a_shift_of_tone_leaves_no_seam():
    photo = noise_photo() * 0.3
    found = faces.align_photos(photo, 256, points=POINTS)
    edited = found.crops + torch.tensor([0.1, -0.08, 0.05])[None, :, None, None]
    edited[..., 100:160, 100:160] += 0.5
    kept = faces.paste_faces(photo, edited, found.faces)
    left = faces.paste_faces(photo, edited, found.faces, match_tone=False)
    face = found.faces[0]
    spot = [int(v) for v in face.crop_to_photo(torch.tensor([130.0, 130.0]))]
    corner = [int(v) for v in face.crop_to_photo(torch.tensor([50.0, 200.0]))]
    change = kept.photos - photo
    assert change[0, :, corner[1], corner[0]].abs().max() < 0.01
    around = (left.photos - photo)[0, 0, corner[1] - 8 : corner[1] + 8, corner[0] - 8 : corner[0] + 8]
    assert float(around.mean()) > 0.05
    middle = change[0, :, spot[1] - 5 : spot[1] + 5, spot[0] - 5 : spot[0] + 5]
    assert float(middle.mean()) == pytest.approx(0.5, abs=0.1)


def test_with_a_reference_only_the_edit_itself_comes_into_the_photo(crowd):
    """Networks that blur everything: without an edit the photo stays, with one only its own place changes."""
    from reganie_core.faces.cutout import blur

    scene, photo, _ = crowd
    found = faces.align_photos(photo, 128, points=scene.points(), which="all", framing="portraits")
    drawn = blur(found.crops, 2.0)
    same = faces.paste_faces(photo, drawn, found.faces, reference=drawn)
    assert psnr(same.photos, photo) > 100 > 40 > psnr(faces.paste_faces(photo, drawn, found.faces).photos, photo)
    edited = drawn.clone()
    edited[:, 0, 40:70, 40:70] = 0.9
    result = faces.paste_faces(photo, edited, found.faces, reference=drawn)
    face = found.faces[0]
    inside, beside = (face.crop_to_photo(torch.tensor([[55.0, 55.0], [95.0, 95.0]]))).round().long().tolist()
    assert float(result.photos[0, 0, inside[1], inside[0]]) == pytest.approx(0.9, abs=0.1)
    assert torch.allclose(result.photos[0, :, beside[1], beside[0]], photo[0, :, beside[1], beside[0]], atol=1e-3)
    with pytest.raises(MismatchError, match="reference"):
        faces.paste_faces(photo, edited, found.faces, reference=drawn[:1])


def test_masks_strength_and_feather():
    photo = noise_photo()
    found = faces.align_photos(photo, 128, points=POINTS)
    half = torch.zeros(1, 1, 64, 64)
    half[..., :32] = 1.0
    result = faces.paste_faces(photo, -found.crops, found.faces, mask=half)
    face = found.faces[0]
    for u, expected in ((30.0, 1.0), (100.0, 0.0)):
        x, y = (int(v) for v in face.crop_to_photo(torch.tensor([u, 64.0])).round())
        assert result.mask[0, 0, y, x] == expected
    untouched = (result.mask == 0).expand_as(photo)
    assert torch.equal(result.photos[untouched], photo[untouched])
    assert torch.equal(faces.paste_faces(photo, -found.crops, found.faces, strength=0.0).photos, photo)
    hard = faces.paste_faces(photo, -found.crops, found.faces, feather=0.0)
    assert set(hard.mask.unique().tolist()) == {0.0, 1.0}
    area = float(hard.mask.sum()) / face.side**2
    assert area == pytest.approx(1.0, abs=0.02)


def test_neighbours_share_the_ground_between_them():
    """Two squares overlap; each face's own middle is its own, and the weights never exceed one."""
    photo = torch.zeros(1, 3, 200, 400)
    left, right = POINTS * 0.6, POINTS * 0.6 + torch.tensor([70.0, 0.0])
    found = faces.align_photos(photo, 128, points=torch.stack([left, right]), which="all")
    edited = torch.stack([torch.full((3, 128, 128), 0.9), torch.full((3, 128, 128), -0.9)])
    result = faces.paste_faces(photo, edited, found.faces, mode="replace", match_tone=False)
    assert result.mask.max() <= 1.0
    middles = [tuple(round(v) for v in face.centre) for face in found.faces]
    values = [float(result.photos[0, 0, y, x]) for x, y in middles]
    assert values[0] > 0.8 and values[1] < -0.8 and result.photos.abs().max() <= 0.9 + 1e-5


def test_what_does_not_fit_is_refused():
    photo = noise_photo()
    found = faces.align_photos(photo, 64, points=POINTS)
    with pytest.raises(MismatchError, match="one square crop for each face"):
        faces.paste_faces(photo, found.crops.repeat(2, 1, 1, 1), found.faces)
    with pytest.raises(InputError, match="photo that was aligned"):
        faces.paste_faces(photo[..., :200], found.crops, found.faces)
    with pytest.raises(InputError, match="auto, residual, replace"):
        faces.paste_faces(photo, found.crops, found.faces, mode="over")
    with pytest.raises(InputError, match="feather"):
        faces.paste_faces(photo, found.crops, found.faces, feather=0.7)
    with pytest.raises(InputError, match="mask"):
        faces.paste_faces(photo, found.crops, found.faces, mask=torch.full((1, 1, 8, 8), 3.0))


def test_large_photos_cost_what_the_face_costs():
    """A face of 300 pixels in a photo of 4000: no full-size temporaries in floating point."""
    photo = Image.new("RGB", (4000, 3000), (90, 120, 150))
    points = POINTS + torch.tensor([3600.0, 2650.0])  # at the corner: with the padding's blur
    start = time.process_time()
    found = faces.align_photos(photo, 512, points=points)
    result = faces.paste_faces(photo, (found.crops + 0.3).clamp(-1, 1), found.faces, match_tone=False)
    assert time.process_time() - start < 6.0
    assert result.photos.size == (4000, 3000) and result.mask.shape == (1, 1, 3000, 4000)
    assert np.asarray(result.photos)[0, 0].tolist() == [90, 120, 150]
    x, y = (round(v) for v in found.faces[0].centre)
    assert np.asarray(result.photos)[y, x, 0] > 110
