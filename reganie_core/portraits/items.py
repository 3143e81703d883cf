"""Glasses (an attribute) and the long-tail items: hat, earrings, face paint, hand, patterned background.

Hat, earrings and paint belong to the head and turn with it; hand and pattern stay where they are in the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .canvas import Canvas
from .geometry import Ellipsoid, Frame, bump, smooth_union, smoothstep, spin
from .look import Colour, Look, blend, hsv, scale, split
from .skin import Skin


def worn(look: Look, item: str) -> bool:
    """Whether any portrait of the batch wears the item."""
    return bool((look.p[item] > 0).any())


def _colour(look: Look, prefix: str, shift: str | None = None) -> Colour:
    hue = look.flat(f"{prefix}_hue") + (look.flat(shift) if shift else 0.0)
    return split(hsv(hue, look.flat(f"{prefix}_saturation"), look.flat(f"{prefix}_value")))


def draw_glasses(canvas: Canvas, look: Look) -> None:
    """Bold frames on a shell in front of the face, so they shift against it when the head turns."""
    if not worn(look, "glasses"):
        return
    wide = look.flat("width")
    shell = Ellipsoid.placed(look.head, (0.0, 0.02, 0.02), (0.455 * wide, 0.42, 0.49))
    window = canvas.around(shell)
    depth, hit = shell.intersect(window)
    u, v, w = look.head.to_local(window, depth)
    on = look.p["glasses"] * hit * smoothstep(-0.16, -0.10, w)
    au = u.abs()
    a, b = (au - 0.178) / 0.138, (v - look.eye_level + 0.005) / 0.118
    a2, b2 = a * a, b * b
    box = ((a2 * a2 + b2 * b2).sqrt() + 1e-6).sqrt()
    r = torch.lerp(box, (a2 + b2 + 1e-6).sqrt(), look.p["glasses_roundness"])
    rim = smoothstep(0.19, 0.12, (r - 1.0).abs()) * (w > 0)
    bridge = smoothstep(0.024, 0.014, (v - look.eye_level - 0.020).abs()) * (au < 0.050) * (w > 0)
    arm = smoothstep(0.030, 0.019, (v - look.eye_level - 0.015).abs()) * (au > 0.305)
    frame = torch.maximum(torch.maximum(rim, bridge), arm) * on
    # Lenses: a light tint and a slanted glare that lies on the side of the light.
    lens = smoothstep(1.0, 0.9, r) * on * (w > 0) * (depth > window.of(canvas.depth))
    away = torch.sign(look.light_in_head[:, 0, None, None])
    slant = (u - torch.sign(u) * 0.178) * away - (v - look.eye_level - 0.015) * 0.8 - 0.02
    glare = smoothstep(0.040, 0.015, slant.abs())
    tint = lens * (0.09 + 0.26 * glare)
    for channel, target in zip(canvas.rgb, (0.92, 0.97, 1.0), strict=True):
        view = window.of(channel)
        view.add_((target - view) * tint)
    canvas.put(window, depth, shell.normal(window, depth), tuple(c.expand_as(u) for c in look.glasses), frame,
               gloss=0.55)


def draw_hat(canvas: Canvas, look: Look) -> None:
    """A knitted beanie with a pompom, or a hat with a wide brim (hat_brim > 0.5)."""
    if not worn(look, "hat"):
        return
    wide, brim = look.flat("width"), (look.flat("hat_brim") > 0.5).float()
    volume = look.flat("hair_volume")
    main, band_colour = _colour(look, "hat"), _colour(look, "hat", "hat_band_shift")
    tall = 0.45 * look.flat("length") + 0.075 - 0.01 * brim
    crown = Ellipsoid.placed(look.head, (0.0, 0.17, -0.055), (0.455 * wide + 0.03 * volume, tall, 0.51))
    window = canvas.around(crown)
    depth, hit = crown.intersect(window)
    x, y, z = look.head.to_local(window, depth)
    knit = 0.90 + 0.14 * torch.cos(torch.atan2(x, z) * 26.0) * (1.0 - brim[:, None, None])
    band = smoothstep(0.375, 0.365, y)
    colour = blend(tuple(c * knit for c in main), band_colour, band)
    colour = scale(colour, 0.72, smoothstep(0.05, 0.0, (y - 0.375).abs()) * 0.5)
    on = look.p["hat"] * hit * smoothstep(0.225, 0.24, y)
    canvas.put(window, depth, crown.normal(window, depth), colour, on, gloss=0.05, item="hat")
    for shape, share, paint in (
        (Ellipsoid.placed(look.head, (0.0, 0.25, 0.03), (0.66 * wide, 0.042, 0.66)), brim, scale(main, 0.9)),
        (Ellipsoid.placed(look.head, (0.0, 0.20 + tall, -0.06), (0.115, 0.115, 0.115)), 1.0 - brim, band_colour),
    ):
        window = canvas.around(shape)
        depth, hit = shape.intersect(window)
        canvas.put(window, depth, shape.normal(window, depth), paint, hit * look.p["hat"] * share[:, None, None],
                   gloss=0.05, item="hat")


def draw_earrings(canvas: Canvas, look: Look) -> None:
    """A bead under each ear lobe, with a longer drop for some."""
    if not worn(look, "earrings"):
        return
    size, drop = look.flat("earring_size"), (look.flat("earring_drop") > 0.5).float()
    gold = torch.tensor([0.96, 0.78, 0.24], device=size.device)
    bright = hsv(look.flat("earring_hue"), size * 0.0 + 0.75, size * 0.0 + 0.92)
    colour = split(torch.where((look.flat("earring_gold") < 0.5)[:, None], gold, bright))
    for side in (-1.0, 1.0):
        x = side * 0.415 * look.flat("width")
        beads = [Ellipsoid.placed(look.head, (x, -0.125 - size * 0.85, -0.02), (size * 0.8, size, size * 0.8)),
                 Ellipsoid.placed(look.head, (x, -0.125 - size * 2.3, -0.02), (size * 0.95, size * 0.95, size * 0.95))]
        for bead, share in zip(beads, (torch.ones_like(drop), drop), strict=True):
            window = canvas.around(bead)
            depth, hit = bead.intersect(window)
            on = hit * look.p["earrings"] * share[:, None, None]
            # In front of a neighbouring lock, behind the face when the head turns away.
            canvas.put(window, depth, bead.normal(window, depth), colour, on, gloss=1.2, item="earrings")


def face_paint(skin: Skin, colour: Colour) -> tuple[Colour, Tensor]:
    """Cheek stripes, a star and a dot, or half a mask; returns the painted colour and its coverage."""
    look, v, au = skin.look, skin.v, skin.au
    kind = look.p["paint_kind"].floor()
    u = skin.u * torch.sign(look.p["paint_side"])
    first, second = (split(hsv(look.flat("paint_hue") + shift, 0.85 + 0.0 * look.flat("paint_hue"),
                               0.90 + 0.0 * look.flat("paint_hue"))) for shift in (0.0, look.flat("paint_shift")))
    ends = smoothstep(0.10, 0.12, au) * smoothstep(0.35, 0.32, au)
    slope = v + 0.12 * (au - 0.2)
    bars = [smoothstep(0.028, 0.020, (slope + at).abs()) * ends for at in (0.095, 0.165)]
    du, dv = u - 0.215, v + 0.13
    star = smoothstep(-0.008, 0.010, 0.078 + 0.034 * torch.cos(5.0 * (torch.atan2(dv, du) - 1.5708))
                      - (du * du + dv * dv).sqrt())
    dot = smoothstep(0.062, 0.052, ((u + 0.215) ** 2 + dv * dv).sqrt())
    half = smoothstep(-0.010, 0.010, u) * smoothstep(0.31, 0.28, v)
    one = ((kind == 0) * bars[0] + (kind == 1) * star + (kind == 2) * half * 0.88) * skin.front * look.p["paint"]
    two = ((kind == 0) * bars[1] + (kind == 1) * dot) * skin.front * look.p["paint"]
    colour = blend(blend(colour, first, one * 0.94), second, two * 0.94)
    return colour, torch.maximum(one, two)


def draw_background(canvas: Canvas, look: Look) -> None:
    """A smooth two-colour gradient with a vignette; as a long-tail item stripes, checks, dots or a grid on it."""
    window = canvas.window()
    top = split(hsv(look.flat("background_hue"), look.flat("background_saturation"), look.flat("background_value")))
    fall = look.flat("background_value") * look.flat("background_fall")
    bottom = split(hsv(look.flat("background_hue"), look.flat("background_saturation"), fall))
    # Normalised picture coordinates.
    x, y = window.x / 0.8, (window.y + 0.02) / 0.8
    mix = (0.5 + 0.42 * y + 0.22 * look.p["background_tilt"] * x).clamp(0.0, 1.0)
    vignette = 1.0 - 0.15 * (x * x + y * y)
    cover = None
    if worn(look, "pattern"):
        cover = _pattern(look, x, y)
        ink = _colour(look, "pattern")
    for i, canvas_channel in enumerate(canvas.rgb):
        value = bottom[i] + (top[i] - bottom[i]) * mix
        if cover is not None:
            value = value + (ink[i] - value) * (cover * 0.88)
        canvas_channel.copy_(value * vignette)
    if cover is not None:
        canvas.mark("pattern", window, cover)


def _pattern(look: Look, x: Tensor, y: Tensor) -> Tensor:
    p = look.p
    c, s = torch.cos(p["pattern_angle"]), torch.sin(p["pattern_angle"])
    a, b = (x * c + y * s) * p["pattern_scale"], (y * c - x * s) * p["pattern_scale"]
    # Distances from cell centres, in cells.
    a, b = torch.remainder(a, 1.0) - 0.5, torch.remainder(b, 1.0) - 0.5
    soft = 0.03
    stripes = smoothstep(0.25 + soft, 0.25 - soft, a.abs())
    checks = smoothstep(-soft, soft, a.abs() - 0.25) - smoothstep(-soft, soft, b.abs() - 0.25)
    dots = smoothstep(0.31 + soft, 0.31 - soft, (a * a + b * b).sqrt())
    grid = smoothstep(0.11 + soft, 0.11 - soft, torch.minimum(a.abs(), b.abs()))
    kind = p["pattern_kind"].floor()
    drawn = (kind == 0) * stripes + (kind == 1) * checks.abs() + (kind == 2) * dots + (kind == 3) * grid
    return drawn * p["pattern"]


def _hand_shapes(look: Look) -> list[Ellipsoid]:
    """Palm, wrist, four fingers, thumb; view space, the thumb towards the middle of the face."""
    side = torch.where(look.flat("hand_side") < 0, -1.0, 1.0)
    turn = spin(side * look.flat("hand_turn"))
    x, y = side * look.flat("hand_x"), look.flat("hand_y")
    # The hand's own frame: its origin is the middle of the palm, 0.6 in front of the head's centre.
    origin = torch.stack([x, y, torch.full_like(x, 0.6)], -1)

    def part(cx: float, cy: float, cz: float, radii: tuple[float, float, float], lean: float = 0.0) -> Ellipsoid:
        centre = torch.stack([side * cx, torch.full_like(x, cy), torch.full_like(x, cz)], -1)
        where = origin + (turn @ centre[..., None])[..., 0]
        frame = Frame(turn @ spin(side * lean))
        placed = Ellipsoid.placed(frame, (0.0, 0.0, 0.0), radii)
        return Ellipsoid(where, placed.form, placed.extent)

    shapes = [part(0.0, -0.17, 0.0, (0.145, 0.165, 0.08)), part(0.0, -0.62, -0.06, (0.105, 0.45, 0.09))]
    for offset, length, lean in ((-0.112, 0.125, 0.14), (-0.040, 0.16, 0.05), (0.036, 0.155, -0.04),
                                 (0.108, 0.12, -0.15)):
        shapes.append(part(offset * 1.1, -0.02 + 0.62 * length, 0.03, (0.038, length, 0.045), lean))
    shapes.append(part(-0.155, -0.14, 0.03, (0.042, 0.125, 0.05), 0.75))
    return shapes


def draw_hand(canvas: Canvas, look: Look) -> None:
    """A palm with four fingers, a thumb and a wrist before the face, with a soft shadow on what is behind."""
    if not worn(look, "hand"):
        return
    shapes = _hand_shapes(look)
    on = look.p["hand"]
    _hand_shadow(canvas, look, shapes)
    window = canvas.around(*shapes)
    depth, normal, hit = smooth_union(shapes, window, 0.012)
    colour = tuple((c * 0.98).expand_as(depth) for c in look.skin)
    # Fingers are rosier than the palm; their rounded sides are darker, which separates them.
    crowd = torch.zeros_like(depth)
    for shape in shapes[2:6]:
        tip = shape.centre[:, :, None, None]
        crowd = crowd + bump(window.x - tip[:, 0], 0.05) * bump(window.y - tip[:, 1], 0.10)
    colour = scale(colour, (1.0, 0.90, 0.88), crowd.clamp_max(1.0) * 0.6)
    edge = smoothstep(0.75, 0.25, normal[2])
    colour = scale(colour, (0.62, 0.48, 0.46), edge * 0.6)
    canvas.put(window, depth, normal, colour, hit * on, gloss=0.12, item="hand")


def _hand_shadow(canvas: Canvas, look: Look, shapes: list[Ellipsoid]) -> None:
    """Darken solid samples near the hand's outline, shifted away from the light."""
    window = canvas.around(*shapes)
    shade = torch.zeros_like(window.of(canvas.depth))
    for shape in shapes:
        c = shape.centre[:, :, None, None]
        shift = look.light[:, :2, None, None] * -0.05
        wide, high = 1.25 * shape.extent[:, 0, None, None], 1.2 * shape.extent[:, 1, None, None]
        d = ((window.x - c[:, 0] - shift[:, 0]) / wide) ** 2 + ((window.y - c[:, 1] - shift[:, 1]) / high) ** 2
        shade = torch.maximum(shade, smoothstep(1.0, 0.4, d))
    factor = 1.0 - 0.38 * shade * look.p["hand"] * window.of(canvas.solid)
    for channel in canvas.rgb:
        window.of(channel).mul_(factor)
