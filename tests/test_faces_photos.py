"""Photos with exact answers, from points to the pasted edit."""

from __future__ import annotations

import pytest
import torch

import reganie_core as rc
from benchmarks import frames, photos, round_trip
from reganie_core.portraits.scenes import Scene, sample_scene

SITUATIONS = {name: (scene, form) for name, scene, form in round_trip.situations(large=1000)}


@pytest.fixture(scope="module")
def domain() -> rc.Domain:
    """The packaged networks: bounds here hold whatever their quality."""
    return rc.load_domain("portraits")


@pytest.mark.parametrize("name", SITUATIONS)
def test_nothing_edited_gives_the_photo_back(domain, name):
    """Faces at borders, turned, several; large, with alpha, grey: unchanged crops, and inverted ones with no edit."""
    scene, form = SITUATIONS[name]
    photo = form(scene.render())
    rows = round_trip.round_trip(photo, scene, 1.0, domain)
    assert all(row["outside_identical"] for row in rows.values())
    assert rows["auto"]["db"] >= 100 and rows["chain"]["db"] >= 100
    # The published padding blurs what lies at the photo's border, so covering the photo costs more there.
    at_the_border = any(word in name for word in ("border", "corner", "top"))
    assert rows["replace"]["db"] >= (30 if at_the_border else 40)


@pytest.fixture(scope="module")
def pair() -> tuple[Scene, torch.Tensor, torch.Tensor]:
    """Two people, the picture and the exact answer to an edit of both."""
    scene = sample_scene(2, photos.FIRST_SEED + 40, 300, 170)
    return scene, scene.render(), scene.edited({"yaw": 12.0, "smile": 0.6}).render()


def test_points_that_are_off_cost_little_and_ever_more_smoothly(pair):
    """Errors of the geometry alone at 0 to 3 % of a face, over several draws: no cliff, and little at the end."""
    scene, photo, exact = pair
    curve = []
    for offset in photos.OFFSETS:
        found = [photos.found_faces(photo, scene, offset, 64, seed) for seed in range(2)]
        tries = [photos.true_crop(photo, exact, faces) for faces in found]
        curve.append(sum(float((one - exact).abs().mean()) for one in tries) / len(tries) * photos.LEVELS)
    nothing = float((photo - exact).abs().mean()) * photos.LEVELS
    assert curve[0] < 0.08 * nothing and curve[-1] < 0.2 * nothing
    steps = [b - a for a, b in zip(curve, curve[1:], strict=False)]
    assert max(steps) < 0.08 * nothing, "a cliff between two steps of half a percent"


OFF = (0.0, 0.01, 0.02, 0.03)


@pytest.fixture(scope="module")
def errors(domain, pair) -> list[float]:
    """Of the whole chain with the packaged networks, points off by OFF of a face."""
    scene, photo, exact = pair
    found = []
    for offset in OFF:
        faces = photos.found_faces(photo, scene, offset, domain.generator.resolution, 1)
        assert len(faces) == 2
        found.append(float((photos.chain(photo, faces, {"yaw": 12.0, "smile": 0.6}, domain) - exact).abs().mean()))
    return found


def test_the_networks_stand_points_that_are_a_little_off(errors, pair):
    """At 1 %, at most a quarter more than with exact points; at 3 %, still much closer than the photo as it was."""
    _, photo, exact = pair
    assert errors[1] <= 1.25 * errors[0] and min(errors) > 0
    assert errors[-1] < 0.65 * float((photo - exact).abs().mean())


@pytest.mark.xfail(strict=True, reason="at 3 % this scene's error grows by half (docs/photos.md: 29 % on average), and "
                                        "training encoder and rectifier with `crop_error` has not changed that: the "
                                        "edit still happens in the well framed inversion, beside the face")
def test_the_networks_stand_points_that_are_off(errors):
    """The error at 3 % is at most a quarter above that of exact points."""
    assert max(errors) <= 1.25 * errors[0]


def test_frames_are_counted_and_those_without_a_face_left_alone(domain):
    found = frames.measure(domain, 11, 5, 4, minutes=10, distinct=3)
    assert (found["frames"], found["skipped"]) == (11, 1) and found["mib_most_later"] > 100
    assert [mark["frames"] for mark in found["marks"]] == [5, 10, 11]
