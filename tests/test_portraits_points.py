"""Exact points of rendered portraits, their framing, and scenes: the ground truth itself."""

from __future__ import annotations

import pytest
import torch

from reganie_core import faces, portraits
from reganie_core.errors import InputError
from reganie_core.portraits.landmarks import _features, face_points, fit_portraits_framing
from reganie_core.portraits.look import Look
from reganie_core.portraits.scenes import Scene, sample_scene

BARE = {"glasses": torch.zeros(1), "bangs": torch.full((1,), -1.0), "eye_openness": torch.ones(1)}


def centre_of(change: torch.Tensor, columns: slice) -> torch.Tensor:
    """Centre x, y of a picture of changes [h,w] within some columns."""
    part = change[:, columns]
    y, x = torch.meshgrid(torch.arange(part.shape[0]), torch.arange(part.shape[1]), indexing="ij")
    total = part.sum()
    return torch.stack([(x * part).sum() / total + (columns.start or 0), (y * part).sum() / total])


@pytest.mark.parametrize("pose", [(0.0, 0.0), (28.0, 0.0), (-20.0, 10.0)])
def test_eyes_are_where_the_irises_are_drawn(pose):
    """Another colour of the eyes changes the irises only; the middle of the change is the point."""
    size = 160
    people = portraits.sample(4, 40).replace({**BARE, "yaw": pose[0], "pitch": pose[1], "eye_hue": 0.1})
    other = people.replace({"eye_hue": 0.8})
    change = (portraits.render(people, size) - portraits.render(other, size)).abs().sum(1)
    points = face_points(people, size)
    for own, marks in zip(change, points, strict=True):
        between = int((marks[0, 0] + marks[1, 0]) / 2)
        for row, columns in ((0, slice(0, between)), (1, slice(between, size))):
            # Lids cover a little of the irises, more above than below, and the far one bends away.
            assert float((centre_of(own, columns) - marks[row]).norm()) < 0.012 * size


def test_mouth_corners_and_nose_lie_where_the_picture_says():
    """Lips end at the corners: a longer smile moves them out and up; the nose is between and below the eyes."""
    people = portraits.sample(4, 70).replace({"smile": 0.0, "yaw": 0.0, "pitch": 0.0})
    rest, happy = face_points(people, 200), face_points(portraits.edit(people, {"smile": 0.9}), 200)
    assert (happy[:, 3, 0] < rest[:, 3, 0] - 2).all() and (happy[:, 4, 0] > rest[:, 4, 0] + 2).all()
    assert (happy[:, 3:, 1] < rest[:, 3:, 1] - 3).all()
    assert (rest[:, 0, 1] - rest[:, 1, 1]).abs().max() < 1e-3
    middle = (rest[:, 0] + rest[:, 1]) / 2
    assert (rest[:, 2, 0] - middle[:, 0]).abs().max() < 1e-2 and (rest[:, 2, 1] > middle[:, 1] + 10).all()
    turned = face_points(portraits.edit(people, {"yaw": 20.0}), 200)
    assert (turned[:, 2, 0] - turned[:, :2, 0].mean(1) > 5).all()  # the nose leads


def test_points_are_on_the_surface_in_every_pose():
    """Read back the head coordinates of the surface at each point: they are the feature's."""
    from reganie_core.portraits.canvas import CENTRE_HEIGHT, HALF_VIEW
    from reganie_core.portraits.face import face_shapes
    from reganie_core.portraits.geometry import Window, smooth_union

    people = portraits.sample(400, 5000)
    points = face_points(people, 1000).float()
    look = Look.of(people)
    for (u, v), marks in zip(_features(look), (points[:, i] for i in (0, 1, 3, 4)), strict=True):
        x = ((marks[:, 0] + 0.5) / 500 - 1) * HALF_VIEW
        y = CENTRE_HEIGHT - ((marks[:, 1] + 0.5) / 500 - 1) * HALF_VIEW
        window = Window(slice(None), slice(None), x[:, None, None], y[:, None, None])
        depth, _, hit = smooth_union(face_shapes(look), window, 0.04)
        found = look.head.to_local(window, depth)
        error = torch.hypot(found[0][:, 0, 0] - u, found[1][:, 0, 0] - v)
        assert hit.float().mean() > 0.99 and float(error.quantile(0.98)) < 1e-3


def test_points_scale_mirror_and_refuse():
    people = portraits.sample(5, 9)
    small, large = face_points(people, 100), face_points(people, 400)
    assert torch.allclose((small + 0.5) * 4 - 0.5, large, atol=1e-6)
    flipped = face_points(portraits.mirror(people), 100)[:, [1, 0, 2, 4, 3]]
    assert torch.allclose(99.0 - flipped[..., 0], small[..., 0], atol=1e-3)
    with pytest.raises(InputError):
        face_points(people, 0)


def test_the_domain_s_framing_finds_the_rendered_square():
    """From points alone, on people that were not in the fit: 1 % of the side in the mean; FFHQ's own is another."""
    people = portraits.sample(200, 7_000_000)
    whole = faces.Face.whole((500, 500)).corners
    framing = faces.framing.framing_named("portraits")
    errors = torch.stack([(framing.quad(points) - whole).norm(dim=1).mean() / 500
                          for points in face_points(people, 500)])
    assert float(errors.mean()) < 0.013 and float(errors.quantile(0.95)) < 0.035
    assert (faces.ffhq_quad(face_points(people, 500)) - whole).norm(dim=-1).mean() / 500 > 0.1
    with pytest.raises(InputError, match="nose"):
        framing.quad(face_points(people, 500)[0, [0, 1, 3, 4]])
    with pytest.raises(InputError, match="ffhq, faces, portraits"):
        faces.make_face(face_points(people, 500)[0], (500, 500), 64, "animals")


def test_the_stored_framing_is_the_fitted_one():
    framings = faces.framing.framing_named("portraits"), fit_portraits_framing()
    stored, fitted = (torch.tensor(framing.table) for framing in framings)
    assert stored.shape == (4, 45) and torch.allclose(stored, fitted, rtol=1e-3, atol=1e-4)


def test_scenes_show_the_portraits_where_they_say():
    scene = sample_scene(3, seed=11, width=240, height=200)
    picture = scene.render()
    assert picture.shape == (1, 3, 200, 240) and torch.equal(picture, scene.render()) and picture.abs().max() <= 1.0
    for i, quad in enumerate(scene.quads()):
        face = faces.Face.from_quad(quad, 64, (240, 200))
        crop, own = faces.align_faces(picture, face), portraits.render(scene.people[i], 64)
        inner = slice(8, -8)
        off = (crop - own)[..., inner, inner].abs().mean()
        assert off < 0.03 and off < 0.4 * (crop.roll(1, -1) - own)[..., inner, inner].abs().mean()
        local = face.photo_to_crop(scene.points()[i])
        assert torch.allclose(local, face_points(scene.people[i], 64)[0], atol=1e-6)
    edited = scene.edited({"smile": 1.0, "yaw": 10.0}, who=[2])
    change = (edited.render() - picture).abs().amax(1)[0]
    x0, x1, y0, y1 = faces.Face.from_quad(scene.quads()[2], 64, (240, 200)).bounds()
    assert change[y0:y1, x0:x1].max() > 0.5
    change[y0:y1, x0:x1] = 0.0
    assert change.max() == 0.0


def test_scenes_refuse_what_makes_none():
    with pytest.raises(InputError):
        sample_scene(0, 0)
    with pytest.raises(InputError):
        Scene(portraits.sample(2, 0), ((10.0, 10.0, 5.0, 0.0),), 50, 50)
