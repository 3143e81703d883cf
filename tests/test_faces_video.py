"""Frames in a row: smoothing without lag, gaps, memory that stays flat, and a steadier clip."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import torch
from PIL import Image

from reganie_core import faces
from reganie_core.errors import InputError, NotFoundError
from reganie_core.portraits.clips import clip_scenes, points_of, turning_head

POINTS = torch.tensor([[50.0, 40.0], [80.0, 40.0], [65.0, 55.0], [53.0, 70.0], [77.0, 70.0]])


def test_smoothing_is_a_gaussian_without_lag():
    spike = torch.zeros(21, 2)
    spike[10] = 1.0
    out = faces.smooth(spike, 2.0)
    ticks = torch.arange(-10.0, 11.0)
    kernel = torch.exp(-0.5 * (ticks / 2.0) ** 2)
    assert torch.allclose(out[6:15, 0], (kernel / kernel.sum())[6:15], atol=1e-4)  # normalised at the ends
    assert torch.allclose(out, out.flip(0), atol=1e-6)
    steady = torch.full((1300, 3, 4), 2.5)
    assert torch.allclose(faces.smooth(steady, 5.0), steady)
    ramp = torch.arange(1300.0)[:, None]
    assert torch.allclose(faces.smooth(ramp, 3.0)[20:-20], ramp[20:-20], atol=1e-3)
    assert torch.equal(faces.smooth(ramp, 0.0), ramp)
    for wrong in (-1.0, math.nan):
        with pytest.raises(InputError):
            faces.smooth(ramp, wrong)


def test_missing_frames_come_from_their_neighbours():
    values = torch.tensor([9.0, 1.0, 9.0, 9.0, 4.0, 9.0])[:, None]
    valid = torch.tensor([False, True, False, False, True, False])
    assert faces.smooth(values, 0.0, valid)[:, 0].tolist() == [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]
    with pytest.raises(InputError):
        faces.smooth(values, 0.0, torch.zeros(6, dtype=torch.bool))


def test_frames_without_a_face_follow_the_policy():
    points = [POINTS, POINTS + 1, None, POINTS + 3, None, None, None, POINTS * 0.05]
    track = faces.track_faces(points, (130, 110), 32, sigma=0.0)
    assert [face is not None for face in track.faces] == [True, True, False, True, False, False, False, False]
    assert "tiny" in track.reasons[7] and track.reasons[2] == "no face was found"
    held = faces.track_faces(points, (130, 110), 32, sigma=0.0, missing="hold", longest_gap=2)
    assert [face is not None for face in held.faces] == [True] * 4 + [False] * 4
    assert torch.allclose(held.faces[2].landmarks, POINTS.double() + 2) and not held.found[2]
    assert all(faces.track_faces(points, (130, 110), 32, missing="hold", longest_gap=9).faces)
    with pytest.raises(NotFoundError, match="Frame 2"):
        faces.track_faces(points, (130, 110), 32, missing="error")
    for missing in ("skip", "hold"):
        nobody = faces.track_faces([None, None], (130, 110), 32, missing=missing)
        assert nobody.faces == (None, None) and not nobody.found.any()


class Scripted:
    """A detector that knows the answers."""

    def __init__(self, answers):
        self.answers = iter(answers)

    def detect(self, images):
        return [[faces.Found.at(points) for points in next(self.answers)]]


def test_one_person_is_followed_among_others():
    other = POINTS * 1.5 + torch.tensor([150.0, 0.0])
    answers = [[], [POINTS, other], [other + 2, POINTS + 2], [other], [POINTS + 3]]
    frames = [torch.zeros(3, 120, 300)] * 5
    points, reasons = faces.follow(frames, Scripted(answers), "left")
    assert [p is not None for p in points] == [False, True, True, False, True]
    assert torch.equal(points[2], POINTS.double() + 2) and "out of sight" in reasons[3]


def test_smoothed_squares_flicker_less_than_found_ones():
    people = turning_head(10, 3)
    assert people.items == ("earrings",) and float(people.values["yaw"].max()) > 20
    scenes = clip_scenes(people, 80, 70, side=56.0, drift=6.0)
    frames, exact = torch.cat([scene.render() for scene in scenes]), points_of(scenes)
    found = exact + 0.8 * torch.randn(exact.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flicker = {}
    for name, points, sigma in (("exact", exact, 0.0), ("found", found, 0.0), ("smoothed", found, 1.2)):
        track = faces.track_faces(list(points), (80, 70), 40, sigma=sigma)
        flicker[name] = float(faces.flicker(faces.align_faces(frames, list(track.faces))))
    assert flicker["smoothed"] < 0.75 * flicker["found"] and flicker["exact"] < flicker["found"]
    assert float(faces.flicker(torch.zeros(5, 3, 4, 4))) == 0.0
    with pytest.raises(InputError):
        faces.flicker(frames[:2])


def test_frames_are_edited_in_chunks_and_let_go():
    """300 frames from a generator: never more than a chunk (and the one being handed over) is alive."""
    alive: list[weakref.ref] = []
    most = []

    def frames():
        for t in range(300):
            frame = torch.full((3, 110, 130), t / 300.0)
            alive.append(weakref.ref(frame))
            yield frame

    def count() -> int:
        gc.collect(0)
        return sum(ref() is not None for ref in alive)

    sizes = []

    def change(crops):
        sizes.append(len(crops))
        most.append(count())
        crops = crops.clone()
        crops[..., 4:12, 4:12] -= 0.8
        return crops

    track = faces.track_faces([POINTS if t % 10 else None for t in range(300)], (130, 110), 16)
    done = 0
    for t, frame in enumerate(faces.edit_frames(frames(), track.faces, change, chunk=8)):
        done += 1
        assert (abs(float(frame[0, 55, 65]) - t / 300.0) < 1e-6) == (t % 10 == 0)
        assert float(frame[0, 0, 0]) == pytest.approx(t / 300.0)
        del frame
    assert done == 300 and max(most) <= 2 * 8 + 1 and max(sizes) <= 8 and sum(sizes) == 270


def test_stopping_early_reads_no_further_and_counts_must_agree():
    read = []

    def frames():
        for t in range(100):
            read.append(t)
            yield Image.new("RGB", (130, 110))

    face = faces.make_face(POINTS, (130, 110), 16)
    stream = faces.edit_frames(frames(), [face] * 100, lambda crops: crops, chunk=4)
    assert next(stream).size == (130, 110) and len(read) == 4
    stream.close()
    pair = faces.edit_frames([torch.zeros(3, 110, 130)], [face], lambda crops: (crops + 0.4, crops + 0.4))
    assert float(next(pair).abs().max()) < 1e-6
    with pytest.raises(InputError, match="as many faces as frames"):
        list(faces.edit_frames(frames(), [face] * 3, lambda crops: crops, chunk=4))
    with pytest.raises(InputError, match="keeps their number"):
        list(faces.edit_frames(frames(), [face] * 100, lambda crops: crops[:1], chunk=4))
