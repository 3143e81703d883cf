"""Where the eyes, the nose's tip and the mouth's corners of a portrait are: exact, from the head's geometry.

The features are painted on the head in head coordinates (u, v), so a point is found by following the surface to the
pixel whose head coordinates are the feature's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from ..faces.framing import Framing, in_frame, shape_features
from ..faces.points import ffhq_quad
from .canvas import CENTRE_HEIGHT, HALF_VIEW
from .face import eye_frame, face_shapes, mouth_frame
from .geometry import Ellipsoid, Window, smooth_union
from .look import Look
from .parameters import Portraits, sample

__all__ = ["POINT_NAMES", "face_points", "fit_framing", "fit_portraits_framing", "to_pixels"]

POINT_NAMES: tuple[str, ...] = ("eye_left", "eye_right", "nose", "mouth_left", "mouth_right")
BLEND = 0.04  # as the renderer melts the face's shapes together
STEPS = 24
#: Edges of a picture of 1000 pixels, and standard deviation of the points' errors there, while fitting.
WHOLE = torch.tensor([[-0.5, -0.5], [-0.5, 999.5], [999.5, 999.5], [999.5, -0.5]], dtype=torch.float64)
JITTER = 2.8


def face_points(portraits: Portraits, size: int) -> Tensor:
    """The five points ``[n,5,2]`` of n portraits rendered with ``size`` pixels on a side; float64.

    Pixels (x right, y down) with centres at whole numbers. The eyes are the middles of the irises, open or not; left
    and right are those of the picture. A point that is turned out of sight lies where it would be seen through the
    head. Raises InputError for a size that is not positive.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"The size of a portrait is a positive number of pixels, got {size!r}.")
    with torch.inference_mode():
        look = Look.of(portraits)
        shapes = face_shapes(look)
        u, v = (torch.stack(values, 1) for values in zip(*_features(look), strict=True))
        painted, tip = _on_surface(look, shapes, u, v), _tip(look, shapes)
        view = torch.cat([painted[:, :2], tip[:, None], painted[:, 2:]], 1).double().cpu()
    return to_pixels(view, size).clone()


def to_pixels(view: Tensor, size: int) -> Tensor:
    """View coordinates ``[...,2]`` (x right, y up, scene units) in pixels of a picture of ``size``."""
    x = view[..., 0] / HALF_VIEW
    y = (CENTRE_HEIGHT - view[..., 1]) / HALF_VIEW
    return (torch.stack([x, y], -1) + 1.0) * (size / 2.0) - 0.5


def _features(look: Look) -> list[tuple[Tensor, Tensor]]:
    """Head coordinates u, v, each [n], of both eyes and both mouth corners."""
    centre, _, _ = eye_frame(look)
    eye, level = (centre - 0.006)[:, 0, 0], (look.eye_level + 0.008)[:, 0, 0]
    half, middle, bend = mouth_frame(look)
    mouth, corner = (middle + bend)[:, 0, 0], half[:, 0, 0]
    return [(-eye, level), (eye, level), (-corner, mouth), (corner, mouth)]


def _tip(look: Look, shapes: list[Ellipsoid]) -> Tensor:
    """View coordinates [n,2] of the foremost point of the nose's tip."""
    local = look.head.direction_to_local(shapes[5].centre - look.head.to_view(torch.zeros_like(shapes[5].centre)))
    front = torch.zeros_like(local)
    # Half extent of the axis-aligned (in head space) ellipsoid along the head's z: 1 / sqrt(z^T M z).
    axis = look.head.matrix[:, :, 2]
    reach = torch.rsqrt((axis[:, None] @ shapes[5].form @ axis[..., None])[:, 0, 0])
    front[:, 2] = reach
    return look.head.to_view(local + front)[:, :2]


def _on_surface(look: Look, shapes: list[Ellipsoid], u: Tensor, v: Tensor) -> Tensor:
    """View coordinates [n,k,2] of the pixels where the face's surface has the head coordinates u, v, each [n,k]."""
    w = torch.full_like(u, 0.35)
    pivot = u.new_tensor(look.head.pivot)
    for step in range(STEPS + 1):
        view = (torch.stack([u, v, w], -1) - pivot) @ look.head.matrix.transpose(1, 2) + pivot
        if step == STEPS:
            break
        window = Window(slice(None), slice(None), view[:, None, :, 0], view[:, None, :, 1])
        depth, _, hit = smooth_union(shapes, window, BLEND)
        found = look.head.to_local(window, depth)[2][:, 0]
        # Damped: at the face's edge the surface is steep and plain iteration would swing.
        w = torch.where(hit[:, 0], w + 0.5 * (found - w), w - 0.05)
    return view[..., :2]


def fit_framing(points: Tensor) -> Tensor:
    """The table of :class:`Framing` ``[4,45]`` that leads from FFHQ's square to the rendered one, by least squares.

    ``points``: ``[n,5,2]`` of portraits rendered with 1000 pixels on a side.
    """
    squares = ffhq_quad(points)
    local = in_frame(WHOLE.expand(len(points), 4, 2), squares)
    x = (local[:, 3] - local[:, 0]) / 2.0
    turn = torch.atan2(x[:, 1], x[:, 0])
    wanted = torch.cat([local.mean(1), x.norm(dim=1).log()[:, None], turn[:, None]], 1)
    features = shape_features(in_frame(points, squares))
    # FFHQ's frame ties the coordinates to each other: a little ridge chooses among equal tables.
    gram = features.T @ features + 1e-5 * torch.eye(features.shape[1], dtype=torch.float64)
    return torch.linalg.solve(gram, features.T @ wanted).T


def fit_portraits_framing() -> Framing:
    """The square that the renderer draws, from five points: fitted to 2000 portraits (seeds from 0).

    Its table is stored in ``faces/portraits_framing.json``; renew the file when the renderer's geometry changes.

    With exact points its corners are off by 1 % of the side in the mean (the points do not tell everything). The fit
    sees points off by 0.4 % as well, because one to exact points alone would double the error of found ones.
    """
    points = face_points(sample(2000, 0), 1000)
    noise = torch.randn(3, *points.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    table = fit_framing((points + JITTER * noise).flatten(0, 1))
    return Framing("portraits", tuple(tuple(row) for row in table.tolist()))
