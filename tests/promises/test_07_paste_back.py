"""Promise 7: pasting back is exact.

With AlignFace and PasteFace, pixels outside the face's square are the photo's own bits, whatever was edited; an
unedited crop goes out and back at 40 dB or more inside the square; size, alpha and the order of a batch stay. Not
promised: that an edited crop shows no seam where the edit itself reaches the edge of the square.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from reganie_core.portraits.scenes import sample_scene
from tests.host_stubs import call, picture

pytest_plugins = ["tests.nodes_fixtures"]

LEAST_DB = 40.0
MODES = ("auto", "residual", "replace")
PLACES = {  # a face in the middle, touching borders, turned, upside down
    "middle": "60,50 100,50 64,95 96,95", "left border": "4,50 44,50 8,95 40,95",
    "corner": "160,110 200,110 164,155 196,155", "turned": "92,44 118,74 58,82 79,106",
    "upside down": "130,110 90,110 126,65 94,65",
}


def _db(a: Tensor, b: Tensor, where: Tensor) -> float:
    """Peak signal to noise of pictures in [0,1] over some pixels."""
    return float(-10 * torch.log10(((a - b) ** 2)[where].mean() + 1e-12))


def _align(pack: SimpleNamespace, photo: Tensor, points: str, **more: object) -> tuple:
    return call(pack, "AlignFace", photo=photo, find="points", points=points, **{"size": 256, **more})


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", MODES)
def test_outside_the_square_every_bit_is_the_photos(pack: SimpleNamespace, place: str, mode: str) -> None:
    photo = picture(1, 160, 210, seed=2)
    aligned, face, _ = _align(pack, photo, PLACES[place])
    changed, mask = call(pack, "PasteFace", edited=1 - aligned, face=face, mode=mode, match_tone=False)
    outside = (mask[..., None] == 0).expand_as(photo)
    assert changed.shape == photo.shape and 0.05 < outside.float().mean() < 0.95
    assert torch.equal(changed[outside], photo[outside])
    assert (changed - photo)[~outside].abs().max() > 0.2, "nothing was pasted at all"
    back, mask = call(pack, "PasteFace", edited=aligned, face=face, mode=mode)
    assert _db(back, photo, (mask[..., None] > 0).expand_as(photo)) >= LEAST_DB


def test_several_turned_faces_of_a_drawn_scene(pack: SimpleNamespace) -> None:
    """Fine detail instead of smooth colours: three people, turned, their squares overlapping the border."""
    scene = sample_scene(3, seed=5, width=420, height=300)
    photo = (scene.render().permute(0, 2, 3, 1) + 1) / 2
    lines = "\n".join(" ".join(f"{x},{y}" for x, y in face.tolist()) for face in scene.points())
    aligned, face, _ = _align(pack, photo, lines, framing="portraits", which="all")
    assert len(aligned) == 3
    back, mask = call(pack, "PasteFace", edited=aligned, face=face)
    inside = (mask[..., None] > 0).expand_as(photo)
    assert _db(back, photo, inside) >= LEAST_DB and torch.equal(back[~inside], photo[~inside])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_size_alpha_and_order_stay(pack: SimpleNamespace, channels: int) -> None:
    photos = torch.cat([picture(1, 160, 210, channels, seed=s) for s in range(3)])
    lines = "\n".join([PLACES["middle"], PLACES["turned"], PLACES["left border"]])
    aligned, face, _ = _align(pack, photos, lines)
    back, mask = call(pack, "PasteFace", edited=1 - aligned, face=face)
    colours = photos if channels != 1 else photos.expand(3, 160, 210, 3)
    assert back.shape == colours.shape and mask.shape == (3, 160, 210)
    if channels == 4:
        assert torch.equal(back[..., 3], photos[..., 3])
    for index, line in enumerate(lines.splitlines()):
        alone, own, _ = _align(pack, photos[index : index + 1], line)
        assert torch.equal(alone, aligned[index : index + 1])
        assert torch.equal(call(pack, "PasteFace", edited=1 - alone, face=own)[0], back[index : index + 1])


def test_no_strength_is_the_photo(pack: SimpleNamespace) -> None:
    photo = picture(1, 160, 210, seed=2)
    aligned, face, _ = _align(pack, photo, PLACES["middle"])
    assert torch.equal(call(pack, "PasteFace", edited=1 - aligned, face=face, strength=0.0)[0], photo)
