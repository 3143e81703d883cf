"""Promise 8: input without a usable face is reported, not swallowed.

A photo without a face, with a tiny face, one from the side or outside the picture is an error that names the photo, or
a black frame in the mask, as was chosen; never is the whole picture taken in its place. A picture that is no aligned
square is refused by the inversion. Not promised: that a face detector, which is a file of yours, finds every face or
only faces.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reganie_core import faces
from reganie_core.errors import ReganieError, ReganieWarning
from reganie_core.faces.choose import as_found
from tests.host_stubs import call, picture
from tests.promises.helpers import wires_of

pytest_plugins = ["tests.nodes_fixtures"]

FACE = torch.tensor([[60.0, 50.0], [100.0, 50.0], [64.0, 95.0], [96.0, 95.0]])
USELESS = {  # what is wrong -> (points, a word of the sentence)
    "nobody": (None, "No face"),
    "tiny": (FACE * 0.05, "tiny"),
    "from the side": (torch.tensor([[78.0, 50.0], [84.0, 50.0], [64.0, 95.0], [70.0, 95.0]]), "side"),
    "outside": (FACE + 220, "inside"),
}


class Finder:
    """A detector that finds what it is told to, photo by photo."""

    def __init__(self, *points: torch.Tensor | None) -> None:
        self.points = iter(points)

    def detect(self, photos: torch.Tensor) -> list[list[Any]]:
        found = next(self.points)
        return [as_found(None if found is None else found[None])]


def _photos(count: int) -> torch.Tensor:
    return picture(count, 160, 160).permute(0, 3, 1, 2) * 2 - 1


@pytest.mark.parametrize("case", USELESS)
def test_the_photo_is_named_or_skipped_as_chosen(case: str) -> None:
    points, word = USELESS[case]
    photos, known, names = _photos(3), [FACE, points, FACE], ["a.jpg", "beach.jpg", "c.jpg"]
    with pytest.raises(ReganieError, match=rf"beach\.jpg.*{word}|{word}.*beach\.jpg"):
        faces.align_photos(photos, 64, points=known, names=names)
    found = faces.align_photos(photos, 64, points=known, names=names, missing="skip")
    assert found.found.tolist() == [True, False, True] and word in found.reasons[1]
    assert [face.index for face in found.faces] == [0, 2] and len(found.crops) == 2, "never the whole picture"
    pasted = faces.paste_faces(photos, -found.crops, found.faces)
    assert torch.equal(pasted.photos[1], photos[1]) and not torch.equal(pasted.photos[2], photos[2])


def test_the_node_says_it_on_the_page(pack: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    models, choices = pack.sub("_models"), pack.sub("_choices")
    monkeypatch.setattr(choices, "detector_path", lambda name: None)
    detector = SimpleNamespace(value=None)
    monkeypatch.setattr(models, "load", lambda *_: detector)
    photos = picture(3, 160, 160)
    detector.value = Finder(FACE, None, FACE)
    with pytest.raises(pack.rc.ReganieError, match="photo 1"):
        call(pack, "AlignFace", photo=photos, size=64)
    detector.value = Finder(FACE, None, FACE)
    aligned, face, found = call(pack, "AlignFace", photo=photos, size=64, missing="skip")
    assert len(aligned) == len(face.faces) == 2 and found.mean((1, 2)).tolist() == [1.0, 0.0, 1.0]
    assert "Skipped photos: 1" in pack.host.state.notices[-1][1]["text"]
    detector.value = Finder(None, None, None)
    with pytest.raises(pack.rc.ReganieError, match="No photo has a usable face"):
        call(pack, "AlignFace", photo=photos, size=64, missing="skip")


def test_without_a_detector_file_the_packaged_one_looks_and_names_the_photo(pack: SimpleNamespace) -> None:
    with pytest.raises(pack.rc.ReganieError, match="No face was found in photo 0"):
        call(pack, "AlignFace", photo=picture(1, 160, 160), size=64)


def test_what_is_no_aligned_square_is_not_inverted_silently(pack: SimpleNamespace) -> None:
    on = wires_of(pack)
    with pytest.raises(pack.rc.ReganieError, match="64x48, not square"):
        call(pack, "E4EInvert", generator=on.generator, image=picture(2, 48, 64), encoder=on.encoder)
    with pytest.warns(ReganieWarning, match="given as aligned"):
        faces.align_photos(_photos(1), 64, points=FACE * 0.5, aligned=True)
