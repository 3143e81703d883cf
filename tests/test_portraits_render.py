"""The renderer: geometry against closed forms, exact symmetries, item masks, and the frozen training domain."""

from __future__ import annotations

import math

import pytest
import torch

from reganie_core import portraits
from reganie_core.errors import InputError
from reganie_core.portraits.canvas import Canvas
from reganie_core.portraits.geometry import MISS, Ellipsoid, Frame, rotation, smooth_union

SIZE = 48


@pytest.fixture(scope="module")
def people() -> portraits.Portraits:
    return portraits.sample(10, 10**9 + 50)


@pytest.fixture(scope="module")
def pictures(people: portraits.Portraits) -> torch.Tensor:
    return portraits.render(people, SIZE)


def test_range_type_and_batch_independence(people: portraits.Portraits, pictures: torch.Tensor) -> None:
    assert pictures.shape == (10, 3, SIZE, SIZE) and pictures.dtype == torch.float32
    assert pictures.min() >= -1 and pictures.max() <= 1 and torch.isfinite(pictures).all()
    assert not pictures.is_inference() and not pictures.requires_grad
    assert torch.equal(portraits.render(people, SIZE), pictures)
    alone = torch.cat([portraits.render(person, SIZE) for person in people])
    assert (alone - pictures).abs().max() < 1e-5
    # A neighbour with every item and the largest outline leaves the others as they were.
    mixed = portraits.concat([portraits.sample(1, 7, items=portraits.ITEMS), people[:3]])
    assert (portraits.render(mixed, SIZE)[1:] - pictures[:3]).abs().max() < 1e-5


def test_mirrored_parameters_give_the_mirrored_picture() -> None:
    people = portraits.concat([portraits.sample(4, 30), portraits.sample(3, 60, items=portraits.ITEMS)])
    flipped = portraits.render(portraits.mirror(people), SIZE).flip(-1)
    error = (flipped - portraits.render(people, SIZE)).abs().amax(1)
    # Rounding may move single samples across an outline; nothing else may differ.
    assert (error > 1e-3).float().mean() < 1e-3


@pytest.mark.parametrize("yaw, pitch", [(0.0, 0.0), (33.0, -12.0), (-38.0, 14.0)])
def test_ray_meets_ellipsoid_on_its_surface(yaw: float, pitch: float) -> None:
    """Every reported hit satisfies |diag(1/r) R^T (p - c)| = 1, faces the viewer, and its normal is the gradient."""
    frame = Frame(rotation(torch.tensor([yaw]).double(), torch.tensor([pitch]).double()), (0.0, -0.3, -0.1))
    centre, radii = (0.1, 0.05, -0.2), (0.4, 0.25, 0.3)
    shape = Ellipsoid.placed(frame, centre, radii)
    window = Canvas(1, 80, torch.device("cpu")).window()
    depth, hit = shape.intersect(window)
    p = frame.to_local(window, depth)
    q = torch.stack([(p[i] - centre[i]) / radii[i] for i in range(3)], -1)
    assert ((q.norm(dim=-1) - 1).abs()[hit] < 1e-6).all() and (depth[~hit] == MISS).all()
    gradient = torch.stack([q[..., i] / radii[i] for i in range(3)], -1) @ frame.matrix[0].T
    gradient = gradient / gradient.norm(dim=-1, keepdim=True)
    normal = torch.stack(shape.normal(window, depth), -1)
    assert ((normal - gradient).abs().amax(-1)[hit] < 1e-6).all()
    assert (normal[..., 2][hit] >= 0).all()
    # The hit area is the projected ellipse: pi sqrt(det of the projected R diag(r^2) R^T).
    covariance = (frame.matrix[0] * torch.tensor(radii) ** 2) @ frame.matrix[0].T
    area = math.pi * math.sqrt(float(torch.det(covariance[:2, :2])))
    step = float(window.x[0, 0, 1] - window.x[0, 0, 0])
    assert abs(hit.sum().item() * step**2 / area - 1) < 0.02
    x0, x1, y0, y1 = shape.bounds()
    outside = (window.x < x0) | (window.x > x1) | (window.y < y0) | (window.y > y1)
    assert not (hit & outside).any()


def test_windows_hold_their_shapes() -> None:
    """Cropping to the outline changes nothing: same hits as on the whole canvas."""
    canvas = Canvas(2, 50, torch.device("cpu"))
    frame = Frame(rotation(torch.tensor([20.0, -30.0]), torch.tensor([5.0, 0.0])))
    shape = Ellipsoid.placed(frame, (0.7, -0.6, 0.1), (0.3, 0.4, 0.2))
    window = canvas.around(shape)
    whole = shape.intersect(canvas.window())[1]
    inside = torch.zeros_like(whole)
    window.of(inside).copy_(shape.intersect(window)[1])
    assert whole.any() and torch.equal(whole, inside)


def test_smooth_union_of_a_shape_with_itself_is_the_shape() -> None:
    canvas = Canvas(1, 40, torch.device("cpu"))
    shape = Ellipsoid.placed(Frame(torch.eye(3)[None]), (0.0, 0.0, 0.0), (0.5, 0.4, 0.3))
    depth, hit = shape.intersect(canvas.window())
    joined, normal, joined_hit = smooth_union([shape, shape], canvas.window(), 0.05)
    assert torch.equal(hit, joined_hit) and torch.allclose(joined, depth, atol=1e-5)
    single = torch.stack(shape.normal(canvas.window(), depth))
    facing = hit & (single[2] > 0.2)  # where it is seen edge-on the weights, and the normal's length, fade
    assert facing.sum() > 0.9 * hit.sum()
    assert torch.allclose(torch.stack(normal)[:, facing], single[:, facing], atol=1e-4)


def test_yaw_and_pitch_turn_the_face_as_documented() -> None:
    nose = torch.tensor([[0.0, -0.3, 0.4]])
    right = Frame(rotation(torch.tensor([20.0]), torch.tensor([0.0])), (0.0, -0.3, -0.1)).to_view(nose)
    up = Frame(rotation(torch.tensor([0.0]), torch.tensor([10.0])), (0.0, -0.3, -0.1)).to_view(nose)
    assert torch.allclose(right[0], torch.tensor([0.5 * math.sin(math.radians(20)), -0.3,
                                                  0.5 * math.cos(math.radians(20)) - 0.1]), atol=1e-6)
    assert abs(up[0, 1] - (-0.3 + 0.5 * math.sin(math.radians(10)))) < 1e-6


@pytest.mark.parametrize("name, amount, least", [
    ("yaw", 15.0, 300), ("pitch", 8.0, 250), ("smile", 1.0, 40), ("age", 1.0, 300), ("glasses", 1.0, 150),
    ("eye_openness", 0.6, 40), ("beard", 0.9, 150), ("hair_length", 0.6, 300), ("hair_lightness", 0.5, 300),
    ("skin_tone", 0.5, 300), ("light_azimuth", 40.0, 500), ("light_elevation", 30.0, 300),
])
def test_every_attribute_is_plainly_visible(name: str, amount: float, least: int) -> None:
    """At 64 px an edit changes at least so many pixels by more than 1/20 of the range (median of 8 people)."""
    people = portraits.sample(8, 200)
    middle = {c.name: c.default for c in portraits.CONTROLS}[name]
    people = people.replace({name: torch.tensor(min(middle, 0.3) if name != "glasses" else 0.0)})
    change = portraits.render(portraits.edit(people, {name: amount}), 64) - portraits.render(people, 64)
    assert (change.abs().amax(1) > 0.1).sum((1, 2)).median() >= least


def test_masks_of_every_item(people: portraits.Portraits, pictures: torch.Tensor) -> None:
    images, none = portraits.render(people, SIZE, masks=True)
    assert torch.equal(images, pictures) and set(none) == set(portraits.ITEMS)
    assert all(not mask.any() and mask.shape == (10, 1, SIZE, SIZE) for mask in none.values())
    for item in portraits.ITEMS:
        dressed = portraits.sample(6, 10**9 + 50, items=(item,))
        images, masks = portraits.render(dressed, SIZE, masks=True)
        assert all(bool(masks[other].any()) == (other == item) for other in portraits.ITEMS)
        cover = masks[item]
        assert cover.min() >= 0 and cover.max() <= 1
        assert (cover.amax((1, 2, 3)) > 0.5).all() and (cover.mean((1, 2, 3)) < 0.6).all()
        # The picture under a mask differs from the one without the item.
        bare = portraits.render(dressed.replace({item: torch.zeros(6)}), SIZE)
        change = (images - bare).abs().amax(1, keepdim=True)
        assert (change[cover > 0.9] > 0.02).float().mean() > 0.6
        if item in ("pattern", "paint", "earrings"):
            # These cast no shadow: outside their masks nothing changes at all.
            assert not change[cover == 0].any()


def test_hat_turns_with_the_head_and_hand_and_pattern_stay() -> None:
    people = portraits.sample(2, 5, items=("hat", "hand", "pattern")).replace({"yaw": torch.tensor(-15.0)})
    _, before = portraits.render(people, SIZE, masks=True)
    _, after = portraits.render(portraits.edit(people, {"yaw": 30.0}), SIZE, masks=True)
    ramp = torch.linspace(-1, 1, SIZE)

    def middle(mask: torch.Tensor) -> torch.Tensor:
        return (mask * ramp).sum((1, 2, 3)) / mask.sum((1, 2, 3))

    assert ((after["hand"] - before["hand"]).abs().max()) < 1e-6
    assert not torch.equal(after["hat"], before["hat"])
    ears = portraits.sample(3, 5, items=("earrings",)).replace({"yaw": torch.tensor(0.0)})
    near = portraits.render(portraits.edit(ears, {"yaw": -25.0}), SIZE, masks=True)[1]["earrings"]
    far = portraits.render(portraits.edit(ears, {"yaw": 25.0}), SIZE, masks=True)[1]["earrings"]
    assert (middle(near) * middle(far) < 0).all()
    same = (before["pattern"] > 0) & (after["pattern"] > 0)
    assert torch.allclose(before["pattern"][same & (after["pattern"] == 1)].float().mean(), torch.tensor(1.0), atol=0.1)


def test_toon_is_another_style_of_the_same_scene(people: portraits.Portraits, pictures: torch.Tensor) -> None:
    toon = portraits.Portraits(people.values, "toon")
    images, masks = portraits.render(toon, SIZE, masks=True)
    assert images.min() >= -1 and images.max() <= 1 and not any(m.any() for m in masks.values())
    assert ((images - pictures) ** 2).mean() > 0.01


@pytest.mark.parametrize("size", [1, 7, 33, 130])
def test_any_size(size: int) -> None:
    image = portraits.render(portraits.sample(1, 1), size)
    assert image.shape == (1, 3, size, size) and torch.isfinite(image).all()


def test_sizes_agree() -> None:
    people = portraits.sample(3, 1)
    small = portraits.render(people, 40)
    large = torch.nn.functional.avg_pool2d(portraits.render(people, 160), 4)
    assert (small - large).abs().mean() < 0.02


@pytest.mark.parametrize("size", [0, -4, 2.5, True])
def test_sizes_that_make_no_sense(size: object) -> None:
    with pytest.raises(InputError, match="positive"):
        portraits.render(portraits.sample(1, 0), size)  # type: ignore[arg-type]
    assert portraits.render(portraits.sample(0, 0), 16).shape == (0, 3, 16, 16)


def test_training_domain_is_frozen() -> None:
    """Trained weights belong to exactly these pictures: a visible change of the domain must fail here."""
    images = portraits.render(portraits.sample(6, 2024), 64)
    means = torch.tensor(GOLDEN_MEANS)
    assert torch.allclose(images.mean((2, 3)), means, atol=1e-3)
    assert torch.allclose(images.std((1, 2, 3)), torch.tensor(GOLDEN_DEVIATIONS), atol=1e-3)
    ramp = torch.linspace(-1, 1, 64)
    assert torch.allclose((images * ramp).mean((1, 2, 3)), torch.tensor(GOLDEN_ACROSS), atol=1e-3)
    assert torch.allclose((images * ramp[:, None]).mean((1, 2, 3)), torch.tensor(GOLDEN_DOWN), atol=1e-3)
    face = images[:, :, 20:48, 20:44]
    detail = (face[..., 1:] - face[..., :-1]).abs().mean((1, 2, 3))
    assert torch.allclose(detail, torch.tensor(GOLDEN_DETAIL), atol=1e-3)


GOLDEN_MEANS = [
    [0.0945, -0.1617, -0.2777],
    [-0.1506, -0.4399, -0.3661],
    [-0.2005, -0.5307, -0.404],
    [-0.0406, -0.2605, -0.3776],
    [-0.2934, -0.2127, -0.4974],
    [-0.3122, -0.3267, -0.3639],
]
GOLDEN_DEVIATIONS = [0.3578, 0.374, 0.3367, 0.3325, 0.2823, 0.2978]
GOLDEN_ACROSS = [0.0089, 0.0259, 0.0185, 0.0046, -0.0057, 0.0246]
GOLDEN_DOWN = [-0.0335, -0.0564, 0.0097, -0.0536, -0.0594, -0.0673]
GOLDEN_DETAIL = [0.1229, 0.0807, 0.1164, 0.0669, 0.1254, 0.056]
