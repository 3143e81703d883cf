"""Rays, ellipsoids and rotations: everything the portrait renderer knows about shape.

The camera is orthographic and looks along -z of *view space* (x right, y up, z towards the viewer), so a
pixel is a pair (x, y) and a surface is a depth z(x, y). An ellipsoid {p : (p-c)^T M (p-c) = 1} with
M = R diag(1/r^2) R^T is met at the larger root of a quadratic in z whose discriminant is itself a quadratic
form in (x, y): one square root per pixel and no loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: Depth given to a ray that misses; every real depth of the scene is far above it.
MISS = -9.0

Scalar = float | Tensor
Vector = tuple[Tensor, Tensor, Tensor]


def smoothstep(low: Scalar, high: Scalar, value: Tensor) -> Tensor:
    """Cubic step from 0 at `low` to 1 at `high` (`low > high` gives a falling step)."""
    ramp = ((value - low) / (high - low)).clamp_(0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def bump(value: Tensor, width: Scalar) -> Tensor:
    """Gaussian bump exp(-(value / width)^2)."""
    scaled = value / width
    return torch.exp(-(scaled * scaled))


def rotation(yaw: Tensor, pitch: Tensor) -> Tensor:
    """Rotation matrices [n,3,3] from head to view space; degrees.

    Positive yaw turns the face towards +x (the right side of the picture), positive pitch turns it up.
    """
    a, b = yaw * (math.pi / 180.0), pitch * (math.pi / 180.0)
    ca, sa, cb, sb = a.cos(), a.sin(), b.cos(), b.sin()
    zero = torch.zeros_like(a)
    rows = [ca, -sa * sb, sa * cb, zero, cb, sb, -sa, -ca * sb, ca * cb]
    return torch.stack(rows, -1).view(-1, 3, 3)


def spin(angle: Tensor) -> Tensor:
    """Rotation matrices [n,3,3] in the picture plane; radians, anticlockwise."""
    c, s = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    return torch.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).view(-1, 3, 3)


def columns(values: tuple[Scalar, Scalar, Scalar], like: Tensor) -> Tensor:
    """Stack three numbers or [n] tensors into [n,3]."""
    return torch.stack([torch.zeros_like(like) + value for value in values], -1)


@dataclass(frozen=True)
class Window:
    """A rectangle of the picture: `rows`/`cols` slice a canvas, `x` [1,1,w] and `y` [1,h,1] are view coordinates."""

    rows: slice
    cols: slice
    x: Tensor
    y: Tensor

    @property
    def empty(self) -> bool:
        return self.x.numel() == 0 or self.y.numel() == 0

    def of(self, canvas: Tensor) -> Tensor:
        """The part of a canvas tensor [n,H,W] inside the rectangle (a view)."""
        return canvas[:, self.rows, self.cols]


@dataclass(frozen=True)
class Frame:
    """A rigid frame: `matrix` [n,3,3] turns local into view coordinates about the point `pivot` (3 floats)."""

    matrix: Tensor
    pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def to_view(self, point: Tensor) -> Tensor:
        """Local points [n,3] in view space."""
        pivot = point.new_tensor(self.pivot)
        return (self.matrix @ (point - pivot)[..., None])[..., 0] + pivot

    def to_local(self, window: Window, depth: Tensor) -> Vector:
        """Local coordinates of the view points (x, y, depth [n,h,w])."""
        px, py, pz = self.pivot
        m = self.matrix[:, :, :, None, None]
        out = []
        for i, offset in enumerate(self.pivot):
            plane = m[:, 0, i] * (window.x - px) + (m[:, 1, i] * (window.y - py) + (offset - m[:, 2, i] * pz))
            out.append(torch.addcmul(plane, m[:, 2, i].expand_as(depth), depth))
        return out[0], out[1], out[2]

    def direction_to_local(self, direction: Tensor) -> Tensor:
        """View-space directions [n,3] in local coordinates."""
        return (self.matrix.transpose(1, 2) @ direction[..., None])[..., 0]


@dataclass(frozen=True)
class Ellipsoid:
    """n ellipsoids in view space: `centre` [n,3], quadratic form `form` [n,3,3], half extents `extent` [n,3]."""

    centre: Tensor
    form: Tensor
    extent: Tensor

    @classmethod
    def placed(cls, frame: Frame, centre: tuple[Scalar, Scalar, Scalar], radii: tuple[Scalar, Scalar, Scalar],
               turn: Tensor | None = None) -> Ellipsoid:
        """An axis-aligned ellipsoid of `frame`; `turn` [n,3,3] rotates it about its own centre first."""
        like = frame.matrix[:, 0, 0]
        axes = frame.matrix if turn is None else frame.matrix @ turn
        radius = columns(radii, like)
        form = axes @ ((1.0 / (radius * radius))[..., None] * axes.transpose(1, 2))
        extent = ((axes * radius[:, None, :]) ** 2).sum(-1).sqrt()
        return cls(frame.to_view(columns(centre, like)), form, extent)

    def bounds(self) -> tuple[float, float, float, float]:
        """x0, x1, y0, y1 of the smallest rectangle that holds all n outlines."""
        low, high = (self.centre - self.extent).amin(0), (self.centre + self.extent).amax(0)
        x0, y0, x1, y1 = torch.cat([low[:2], high[:2]]).tolist()
        return x0, x1, y0, y1

    def intersect(self, window: Window) -> tuple[Tensor, Tensor]:
        """First hit of every ray: depth [n,h,w] (MISS outside) and the hit mask (bool)."""
        c, m = self.centre[:, :, None, None], self.form[:, :, :, None, None]
        dx, dy = window.x - c[:, 0], window.y - c[:, 1]
        m22 = m[:, 2, 2]
        # (m22 s + b)^2 = m22 - (alpha dx^2 + 2 beta dx dy + gamma dy^2) with s = z - c_z, b = m02 dx + m12 dy
        alpha = m[:, 0, 0] * m22 - m[:, 0, 2] ** 2
        beta = m[:, 0, 1] * m22 - m[:, 0, 2] * m[:, 1, 2]
        gamma = m[:, 1, 1] * m22 - m[:, 1, 2] ** 2
        inside = (m22 - alpha * dx * dx) - (2.0 * beta * dy) * dx - gamma * dy * dy
        hit = inside > 0.0
        depth = inside.clamp_min_(0.0).sqrt_()
        depth -= m[:, 0, 2] * dx
        depth -= m[:, 1, 2] * dy
        depth = depth.div_(m22).add_(c[:, 2])
        return torch.where(hit, depth, MISS), hit

    def normal(self, window: Window, depth: Tensor) -> Vector:
        """Unit outward normals, view space, at the view points (x, y, depth); meaningless where the ray missed."""
        c, m = self.centre[:, :, None, None], self.form[:, :, :, None, None]
        dx, dy, s = window.x - c[:, 0], window.y - c[:, 1], depth - c[:, 2]
        parts = tuple(torch.addcmul(m[:, i, 0] * dx + m[:, i, 1] * dy, m[:, i, 2].expand_as(s), s) for i in range(3))
        return normalise(parts)


def normalise(vector: Vector) -> Vector:
    """Scale three component tensors to unit length."""
    a, b, c = vector
    scale = torch.rsqrt(a * a + b * b + c * c + 1e-9)
    return a * scale, b * scale, c * scale


def merge_bounds(shapes: list[Ellipsoid]) -> tuple[float, float, float, float]:
    """The rectangle that holds several shapes."""
    rows = [shape.bounds() for shape in shapes]
    return (min(r[0] for r in rows), max(r[1] for r in rows), min(r[2] for r in rows), max(r[3] for r in rows))


def smooth_union(shapes: list[Ellipsoid], window: Window, blend: float) -> tuple[Tensor, Vector, Tensor]:
    """Surface over several ellipsoids without creases: depth, unit normals and hit mask.

    Depths and normals are averaged with weights exp(z_i / blend) that fade where a shape is seen edge-on, so that
    no outline of a buried shape shows. `blend` is a length: surfaces closer in depth than it melt together.
    """
    depths = [shape.intersect(window)[0] for shape in shapes]
    top = depths[0]
    for depth in depths[1:]:
        top = torch.maximum(top, depth)
    total, mean = torch.zeros_like(top), torch.zeros_like(top)
    normal = [torch.zeros_like(top) for _ in range(3)]
    for shape, depth in zip(shapes, depths, strict=True):
        parts = shape.normal(window, depth)
        facing = parts[2] * parts[2]
        weight = ((depth - top) * (1.0 / blend)).exp_().mul_((facing * facing).clamp_min_(1e-4))
        total += weight
        mean.addcmul_(weight, depth)
        for sum_, part in zip(normal, parts, strict=True):
            sum_.addcmul_(weight, part)
    hit = top > MISS + 1.0
    depth = torch.where(hit, mean / total, MISS)
    return depth, normalise((normal[0], normal[1], normal[2])), hit
