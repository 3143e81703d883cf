"""Alignment: the closed form, the published padding, the inverse, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from reganie_core import faces
from reganie_core.errors import InputError, NotFoundError, ReganieWarning
from reganie_core.faces.cutout import blur, cut_out
from reganie_core.faces.picture import Picture
from reganie_core.images import from_pil

POINTS = torch.tensor([[150.0, 120.0], [210.0, 125.0], [182.0, 150.0], [158.0, 180.0], [205.0, 184.0]])


def rotated(points: torch.Tensor, degrees: float, about=(180.0, 150.0)) -> torch.Tensor:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    centre = torch.tensor(about, dtype=torch.float64)
    return (points.double() - centre) @ matrix.T + centre


def published_quad(points: np.ndarray) -> np.ndarray:
    """The formula of the FFHQ script, written in its own terms."""
    eye_left, eye_right, _, mouth_left, mouth_right = points.astype(np.float64)
    eye_avg = (eye_left + eye_right) * 0.5
    eye_to_eye = eye_right - eye_left
    eye_to_mouth = (mouth_left + mouth_right) * 0.5 - eye_avg
    x = eye_to_eye - np.flipud(eye_to_mouth) * [-1, 1]
    x /= np.hypot(*x)
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    y = np.flipud(x) * [-1, 1]
    c = eye_avg + eye_to_mouth * 0.1
    return np.stack([c - x - y, c - x + y, c + x + y, c + x - y])


def plane_wave(height: int, width: int) -> torch.Tensor:
    """A smooth picture whose value at any point is known."""
    y, x = torch.meshgrid(torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64),
                          indexing="ij")
    return wave_at(torch.stack([x, y], -1)).permute(2, 0, 1)[None].float()


def wave_at(points: torch.Tensor) -> torch.Tensor:
    x, y = points[..., 0], points[..., 1]
    return torch.stack([torch.sin(x / 17) * 0.8, torch.cos(y / 13) * 0.7, torch.sin((x + 2 * y) / 31) * 0.9], -1)


@pytest.mark.parametrize("angle", [0.0, 30.0, -75.0, 180.0])
def test_the_square_is_the_published_one(angle):
    points = rotated(POINTS, angle)
    expected = published_quad(points.numpy())
    assert np.abs(faces.ffhq_quad(points).numpy() - expected).max() < 1e-9
    face = faces.make_face(points, (400, 300), 128)
    assert np.abs(face.corners.numpy() - expected).max() < 1e-9
    four = faces.make_face(points[[0, 1, 3, 4]], (400, 300), 128)
    assert four.quad == face.quad
    upright = faces.make_face(POINTS, (400, 300), 128)
    turned = (face.angle - upright.angle - angle + 180.0) % 360.0 - 180.0
    assert abs(turned) < 1e-9 and abs(face.side - upright.side) < 1e-9


def test_left_and_right_may_be_given_either_way_and_68_points_work():
    swapped = POINTS[[1, 0, 2, 4, 3]]
    assert faces.make_face(swapped, (400, 300), 64).quad == faces.make_face(POINTS, (400, 300), 64).quad
    many = torch.zeros(68, 2)
    many[36:42], many[42:48], many[30], many[48], many[54] = POINTS
    assert np.allclose(faces.check_points(many), POINTS.double())


def test_forward_and_back_are_inverse():
    face = faces.make_face(rotated(POINTS, 33.0), (400, 300), 256)
    grid = torch.rand(100, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 400 - 50
    assert (face.crop_to_photo(face.photo_to_crop(grid)) - grid).abs().max() < 1e-9
    corners = face.crop_to_photo(torch.tensor([[-0.5, -0.5], [-0.5, 255.5], [255.5, 255.5], [255.5, -0.5]]))
    assert (corners - face.corners).abs().max() < 1e-9
    assert faces.Face.from_json(face.to_json()) == face
    huge = face.to_json().replace("400", "1" + "0" * 400)
    for wrong in ("{}", "[", '{"format_version": 1, "quad": [[0,0]], "size": 4, "photo_size": [4, 4]}', huge,
                  face.to_json().replace("63.", "1e999 "), face.to_json().replace('"size": 256', '"size": true')):
        with pytest.raises(InputError):
            faces.Face.from_json(wrong)


@pytest.mark.parametrize(("size", "angle"), [(96, 0.0), (256, 30.0), (400, -20.0)])
def test_a_crop_samples_the_photo_where_the_square_says(size, angle):
    """Against the picture's own formula: 96 averages, 400 interpolates."""
    photo = plane_wave(300, 400)
    face = faces.make_face((rotated(POINTS, angle) - 150) * 0.6 + 160, (400, 300), size)
    crop = faces.align_faces(photo, face)[0].permute(1, 2, 0).double()
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    exact = wave_at(face.crop_to_photo(torch.stack([x, y], -1)))
    assert (crop - exact).abs().max() < (0.02 if size == 96 else 0.007)  # half a pixel would be 0.03


def test_downsampling_is_antialiased():
    """A checkerboard of single pixels becomes grey, not moire."""
    board = ((torch.arange(800)[:, None] + torch.arange(800)) % 2).float() * 2 - 1
    face = faces.Face.whole((800, 800), 90)
    turned = faces.Face.from_quad(rotated(face.corners, 10.0, (400.0, 400.0)), 90, (800, 800))
    for which in (face, turned):
        crop = faces.align_faces(board[None, None].expand(1, 3, 800, 800), which)
        assert crop[..., 10:-10, 10:-10].abs().max() < 0.12


def test_the_whole_picture_is_itself():
    photo = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = faces.align_photos(photo, 64, aligned=True)
    assert (found.crops - photo).abs().max() < 1e-5


def published_padding(image: np.ndarray, quad: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Crop and pad as the FFHQ script does (without its shrinking), with a plain Gaussian; image [H,W,3]."""
    reach = np.hypot(*(quad[3] - quad[0]))
    border = max(int(np.rint(reach * 0.1)), 3)
    box = [int(np.floor(quad[:, 0].min())), int(np.floor(quad[:, 1].min())), int(np.ceil(quad[:, 0].max())),
           int(np.ceil(quad[:, 1].max()))]
    box = [max(box[0] - border, 0), max(box[1] - border, 0), min(box[2] + border, image.shape[1]),
           min(box[3] + border, image.shape[0])]
    image, quad = image[box[1]:box[3], box[0]:box[2]], quad - box[:2]
    pad = [int(np.floor(quad[:, 0].min())), int(np.floor(quad[:, 1].min())), int(np.ceil(quad[:, 0].max())),
           int(np.ceil(quad[:, 1].max()))]
    pad = [max(-pad[0] + border, 0), max(-pad[1] + border, 0), max(pad[2] - image.shape[1] + border, 0),
           max(pad[3] - image.shape[0] + border, 0)]
    if max(pad) <= border - 4:
        return image, quad
    pad = np.maximum(pad, int(np.rint(reach * 0.3)))
    image = np.pad(image, ((pad[1], pad[3]), (pad[0], pad[2]), (0, 0)), "reflect")
    h, w, _ = image.shape
    y, x, _ = np.ogrid[:h, :w, :1]
    mask = np.maximum(1 - np.minimum(np.float64(x) / pad[0], np.float64(w - 1 - x) / pad[2]),
                      1 - np.minimum(np.float64(y) / pad[1], np.float64(h - 1 - y) / pad[3]))
    sigma = reach * 0.02
    ticks = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    kernel = np.exp(-0.5 * (ticks / sigma) ** 2)
    kernel /= kernel.sum()
    soft = image
    for axis in (0, 1):
        soft = np.apply_along_axis(
            lambda line: np.convolve(np.pad(line, len(ticks) // 2, "symmetric"), kernel, "valid"), axis, soft)
    image = image + (soft - image) * np.clip(mask * 3 + 1, 0, 1)
    image = image + (np.median(image, axis=(0, 1)) - image) * np.clip(mask, 0, 1)
    return image, quad + pad[:2]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (-70.0, -40.0), (110.0, 60.0)])
def test_padding_is_the_published_one(shift):
    photo = plane_wave(200, 260)
    points = (POINTS.double() - torch.tensor([60.0, 50.0])) * 0.8 + torch.tensor(shift)
    quad = faces.ffhq_quad(points)
    region, square = cut_out(Picture(photo[0]), quad, 256)
    expected, expected_quad = published_padding(photo[0].permute(1, 2, 0).double().numpy(), quad.numpy(), 256)
    assert region.shape[2:] == expected.shape[:2] and np.abs(square.numpy() - expected_quad).max() < 1e-6
    assert np.abs(region[0].permute(1, 2, 0).double().numpy() - expected).max() < 0.02


def test_wide_blurs_on_a_smaller_copy_are_the_same_blur():
    picture = torch.rand(1, 3, 210, 250, generator=torch.Generator().manual_seed(0))
    exact = gaussian_filter(picture.numpy(), (0, 0, 15, 15), mode="mirror")
    assert np.abs(blur(picture, 15.0).numpy() - exact).max() < 0.01
    assert (blur(picture, 15.0) - picture).abs().max() > 0.3


def test_text_points():
    text = "# two faces\n150,120 210,125 182,150 158,180 205,184\n(1, 2), (3, 2); [1.5 4] [2.5 4]\n"
    first, second = faces.parse_points(text)
    assert torch.equal(first, POINTS.double()) and second.shape == (4, 2)
    again = faces.parse_points(faces.format_points([first, second]))
    assert torch.equal(again[0], first) and torch.equal(again[1], second)
    apart = "\n".join(f"{x} {y}" for x, y in POINTS.tolist())
    assert torch.equal(faces.parse_points(apart + "\n\n" + apart)[1], POINTS.double())
    for wrong in ("", "1 2 3", "a,b", "nan,1 2,3 4,5 6,7", "1e999,1 2,3 4,5 6,7", "1,1 1,1 1,1 1,1"):
        with pytest.raises(InputError):
            faces.parse_points(wrong)


def test_choosing_among_several():
    shifts = {"left": (0, 40), "top": (200, 0), "right": (420, 90)}
    everybody = [faces.Found.at(POINTS * (1.4 if name == "right" else 1.0) + torch.tensor(shift), score)
                 for (name, shift), score in zip(shifts.items(), (0.7, 0.9, 0.8), strict=True)]
    size = (900, 400)

    def chosen(which):
        return [everybody.index(face) for face in faces.choose(everybody[::-1], which, size)]

    assert chosen("left") == [0] and chosen("right") == [2] == chosen("largest") and chosen("top") == [1]
    assert chosen("best") == [1] and chosen("all") == [0, 1, 2] and chosen("2,0") == [2, 0] and chosen(1) == [1]
    assert chosen("@ 160, 190") == [0] and chosen("center") == [1]
    for wrong in ("nobody", "-1", "@3", ""):
        with pytest.raises(InputError, match="largest"):
            faces.choose(everybody, wrong, size)
    with pytest.raises(NotFoundError, match="no face 3 in crowd"):
        faces.choose(everybody, 3, size, "crowd")


def test_batches_name_the_photo_without_a_face_or_skip_it():
    photos = plane_wave(300, 400).repeat(3, 1, 1, 1)
    points = [POINTS, None, POINTS * 0.05]
    with pytest.raises(NotFoundError, match="beach.jpg"):
        faces.align_photos(photos, 64, points=points, names=["a.jpg", "beach.jpg", "c.jpg"])
    with pytest.raises(InputError, match="c.jpg.*tiny"):
        faces.align_photos(photos[[0, 2]], 64, points=[POINTS, points[2]], names=["a.jpg", "c.jpg"])
    found = faces.align_photos(photos, 64, points=points, missing="skip")
    assert found.crops.shape == (1, 3, 64, 64) and found.found.tolist() == [True, False, False]
    assert "No face" in found.reasons[1] and "tiny" in found.reasons[2] and found.reasons[0] is None
    nobody = faces.align_photos(photos, 64, points=[None] * 3, missing="skip")
    assert nobody.crops.shape == (0, 3, 64, 64) and not nobody.found.any()
    assert torch.equal(faces.paste_faces(photos, nobody.crops, nobody.faces).photos, photos)


def test_a_face_from_the_side_or_outside_is_refused():
    photo = plane_wave(300, 400)
    side = POINTS.clone()
    side[:2, 0] = torch.tensor([180.0, 190.0])
    with pytest.raises(InputError, match="from the side"):
        faces.align_photos(photo, 64, points=side)
    with pytest.raises(InputError, match="inside the photo"):
        faces.align_photos(photo, 64, points=POINTS + 240)
    with pytest.raises(InputError, match="points, a detector"):
        faces.align_photos(photo, 64)


def test_a_picture_that_only_claims_to_be_aligned_is_warned_of():
    photo = plane_wave(300, 300)
    with pytest.warns(ReganieWarning, match=r"photo 0 was given as aligned.*turned by \+2 degrees"):
        faces.align_photos(photo, 64, points=POINTS - 60, aligned=True)
    face = faces.make_face(POINTS, (400, 300), 256)
    crop = faces.align_faces(plane_wave(300, 400), face)
    misfit = faces.measure_misfit(face.photo_to_crop(face.landmarks), (256, 256))
    assert misfit.shift < 1e-6 and abs(misfit.scale - 1) < 1e-6 and abs(misfit.angle) < 1e-6 and not misfit.large
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        faces.align_photos(crop, 256, points=face.photo_to_crop(face.landmarks), aligned=True)


def test_pil_photos_of_many_modes_give_the_same_crop_as_tensors():
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8))
    expected = faces.align_photos(from_pil(rgb), 64, points=POINTS).crops
    rgba = rgb.copy()
    rgba.putalpha(128)
    for photo in (rgb, rgba):
        assert torch.equal(faces.align_photos(photo, 64, points=POINTS).crops, expected)
    grey = rgb.convert("L")
    for photo in (grey, grey.convert("LA"), Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)):
        crop = faces.align_photos(photo, 64, points=POINTS).crops
        assert torch.allclose(crop, faces.align_photos(from_pil(grey), 64, points=POINTS).crops, atol=1e-5)
    sideways = rgb.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    import io

    buffer = io.BytesIO()
    sideways.save(buffer, "PNG", exif=exif)
    upright = Image.open(io.BytesIO(buffer.getvalue()))
    assert torch.equal(faces.align_photos(upright, 64, points=POINTS).crops, expected)
    with pytest.raises(InputError, match="float"):
        faces.align_photos(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), 64, aligned=True)
