"""Hair: a cap cut by a hairline, a curtain behind the head, two side locks, sometimes a bun; and the body below."""

from __future__ import annotations

import torch
from torch import Tensor

from .canvas import Canvas
from .geometry import Ellipsoid, Vector, Window, bump, normalise, smoothstep
from .look import Colour, Look, blend, hsv, scale, split


def hairline(look: Look, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Height above which a head point in direction (x, z) is covered by hair; all [n,h,w], head coordinates.

    `bangs` > 0 brings a fringe down to the brows, < 0 combs the hair back; `part` slants the line to one side;
    short hair recedes with age.
    """
    p = look.p
    angle = torch.atan2(x, z)
    away = angle.abs()
    fringe, back = p["bangs"].clamp_min(0.0), (-p["bangs"]).clamp_min(0.0)
    short = smoothstep(0.45, 0.05, p["hair_length"])
    line = 0.315 + 0.075 * look.old * short + 0.055 * back - 0.125 * fringe
    line = line - 0.40 * (away - 0.30).clamp_min(0.0) * (1.0 - 0.25 * fringe)
    # Parted hair rises beside the parting and sweeps down to the other side.
    slant = (angle - 0.45 * p["part"]) * torch.sign(p["part"])
    sweep = p["part"].abs() * (1.0 - 0.5 * fringe) * smoothstep(1.1, 0.5, away)
    line = line + sweep * (0.055 * bump(slant, 0.24) + 0.10 * slant.clamp(-0.9, 0.35))
    # Receding temples of old, short hair.
    line = line + 0.06 * look.old * short * bump(away - 0.55, 0.22)
    wave = 0.012 * torch.cos(angle * 15.0) * fringe
    line = line + wave
    # Over the ear and behind it the cap reaches down to the sideburn, and further for longer hair.
    floor = -0.02 - 0.16 * smoothstep(1.45, 1.8, away) - 0.22 * p["hair_length"] * smoothstep(1.25, 1.7, away)
    return torch.maximum(line - 0.9 * (away - 1.15).clamp_min(0.0), floor)


def _strands(look: Look, x: Tensor, y: Tensor, z: Tensor, amount: float) -> tuple[Tensor, Tensor]:
    """Albedo factor and tangential normal tilt of strands running down from the crown; curls wave them."""
    curl = look.p["hair_curl"]
    across = x - 0.08 * look.p["part"]
    away = across.abs() + 0.02
    phase = torch.atan2(away, z + 0.42) * 17.0 + 3.0 * y
    phase = phase + curl * curl * 1.7 * torch.cos(y * 24.0)
    fine = torch.cos(phase)
    return 0.94 + amount * fine * (0.8 + 0.5 * curl), torch.sin(phase) * (across / away)


def _hair(look: Look, window: Window, shape: Ellipsoid, depth: Tensor, point: Vector, shade: float
          ) -> tuple[Vector, Colour]:
    """Normals tilted along strands, and the hair colour with a shiny band round the head."""
    normal = shape.normal(window, depth)
    factor, tilt = _strands(look, *point, 0.13)
    normal = normalise((normal[0] + 0.16 * tilt, normal[1], normal[2]))
    # Anisotropic sheen, strongest on straight hair.
    sheen = bump(point[1] - 0.36 - 0.10 * look.light[:, 1, None, None], 0.085) * (1.0 - 0.65 * look.p["hair_curl"])
    colour = tuple(c * (factor * shade) for c in look.hair)
    lift = (0.30 * sheen) * factor * factor
    return normal, tuple(c + lift * (0.25 * c + 0.16) for c in colour)


def _end(look: Look, point: Vector) -> Tensor:
    """1 above the lower end of the hair, 0 below, with a soft and slightly wavy edge."""
    wave = 0.014 * torch.cos(24.0 * point[0]) * (0.4 + look.p["hair_curl"])
    return smoothstep(-0.014, 0.014, point[1] - look.hair_end - wave)


def draw_body(canvas: Canvas, look: Look) -> None:
    """Shoulders in a garment with a neckline, and the neck with the shadow of the chin."""
    child = look.flat("child")
    small = 1.0 - 0.26 * child
    skin = look.skin
    trunk = Ellipsoid.placed(look.body, (0.0, -1.14 - 0.05 * child, -0.14), (0.76 * small, 0.48, 0.34))
    window = canvas.around(trunk)
    depth, hit = trunk.intersect(window)
    x, y, _ = look.body.to_local(window, depth)
    low = look.p["neckline"]
    ring = (x / (0.25 + 0.02 * low)) ** 2 + ((y + 0.64 + 0.05 * look.child) / (0.07 + 0.13 * low)) ** 2
    cloth = split(hsv(look.flat("cloth_hue"), look.flat("cloth_saturation"), look.flat("cloth_value")))
    cloth = scale(cloth, 0.72, smoothstep(1.30, 1.18, ring))
    colour = blend(tuple(c.expand_as(x) for c in cloth), skin, smoothstep(1.0, 0.90, ring))
    under = bump(x, 0.34) * smoothstep(-1.0, -0.60, y)
    canvas.put(window, depth, trunk.normal(window, depth), scale(colour, (0.62, 0.58, 0.58), 0.7 * under),
               hit.float(), gloss=0.03)
    wide = 0.165 * (1.0 + 0.05 * look.flat("face_width")) * (1.0 - 0.32 * child)
    neck = Ellipsoid.placed(look.body, (0.0, -0.62, -0.13), (wide, 0.62, 0.17))
    window = canvas.around(neck)
    depth, hit = neck.intersect(window)
    _, y, _ = look.body.to_local(window, depth)
    shadow = smoothstep(-0.74, -0.46, y)
    canvas.put(window, depth, neck.normal(window, depth), scale(skin, (0.50, 0.43, 0.43), shadow * 0.9), hit.float(),
               gloss=0.05)


def draw_ears(canvas: Canvas, look: Look) -> None:
    """Two ears with a darker inside."""
    for side in (-1.0, 1.0):
        x0 = side * 0.388 * look.flat("width")
        shape = Ellipsoid.placed(look.head, (x0, -0.02, -0.05), (0.062, 0.118, 0.075))
        window = canvas.around(shape)
        depth, hit = shape.intersect(window)
        u, v, _ = look.head.to_local(window, depth)
        inner = smoothstep(1.1, 0.2, ((v + 0.015) / 0.080) ** 2 + ((u - 1.06 * x0[:, None, None]) / 0.040) ** 2)
        colour = scale(tuple(c.expand_as(u) for c in look.skin), (0.70, 0.52, 0.50), inner)
        canvas.put(window, depth, shape.normal(window, depth), colour, hit.float())


def draw_back_hair(canvas: Canvas, look: Look) -> None:
    """The hair behind head and neck; its lower end follows hair_length. A bun sits above it."""
    volume, end = look.flat("hair_volume"), look.flat("hair_end")
    length = look.flat("hair_length")
    top = 0.50
    wide = 0.385 * look.flat("width") + 0.9 * look.flat("hair_thickness") + 0.05 * length
    # The curtain is an ellipsoid cut straight across at its end, which gives a full, blunt edge.
    tall = 0.64 * (top - end)
    shape = Ellipsoid.placed(look.head, (0.0, top - tall, -0.22), (wide, tall, 0.26 + 0.05 * volume))
    window = canvas.around(shape)
    depth, hit = shape.intersect(window)
    point = look.head.to_local(window, depth)
    # Below the chin the curtain stays behind the neck.
    pushed = torch.where(hit, depth - 0.30 * smoothstep(-0.22, -0.42, point[1]), depth)
    normal, colour = _hair(look, window, shape, depth, point, 0.72)
    canvas.put(window, pushed, normal, colour, hit * _end(look, point), gloss=0.25)
    if bool((look.p["bun"] > 0).any()):
        lift = 1.0 - look.flat("hat")
        bun = Ellipsoid.placed(look.head, (0.0, 0.36 + 0.21 * lift, -0.20), (0.15, 0.14, 0.15))
        window = canvas.around(bun)
        depth, hit = bun.intersect(window)
        normal, colour = _hair(look, window, bun, depth, look.head.to_local(window, depth), 0.9)
        canvas.put(window, depth, normal, colour, hit * look.p["bun"], gloss=0.3)


def draw_front_hair(canvas: Canvas, look: Look) -> None:
    """The cap above the hairline, with a soft edge, and the side locks."""
    volume, end = look.flat("hair_volume"), look.flat("hair_end")
    length, wide = look.flat("hair_length"), look.flat("width")
    grow = look.flat("hair_thickness")
    cap = Ellipsoid.placed(look.head, (0.0, 0.13, -0.055),
                           (0.397 * wide + 0.85 * grow, 0.45 * look.flat("length") + grow, 0.432 + 0.75 * grow))
    window = canvas.around(cap)
    depth, hit = cap.intersect(window)
    point = look.head.to_local(window, depth)
    above = point[1] - hairline(look, *point)
    normal, colour = _hair(look, window, cap, depth, point, 1.0)
    colour = scale(colour, 0.70, smoothstep(0.07, 0.0, above))
    canvas.put(window, depth, normal, colour, hit * smoothstep(-0.012, 0.016, above), gloss=0.35)
    # Locks lie behind the ears while the hair is short and come forward over them as it grows.
    forward = smoothstep(0.42, 0.70, length)
    top = 0.22
    tall = 0.60 * (top - end)
    for side in (-1.0, 1.0):
        lock = Ellipsoid.placed(
            look.head, (side * ((0.365 + 0.01 * forward) * wide + 0.035 * volume), top - tall,
                        -0.20 + 0.18 * forward),
            (0.072 + 0.035 * volume + 0.012 * length, tall, 0.14 + 0.02 * volume))
        window = canvas.around(lock)
        depth, hit = lock.intersect(window)
        point = look.head.to_local(window, depth)
        normal, colour = _hair(look, window, lock, depth, point, 0.95)
        canvas.put(window, depth, normal, colour, hit * _end(look, point), gloss=0.3)
