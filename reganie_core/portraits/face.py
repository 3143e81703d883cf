"""The face: its solid, and everything painted on it in head coordinates (so it turns and foreshortens for free)."""

from __future__ import annotations

import torch
from torch import Tensor

from .canvas import Canvas
from .geometry import Ellipsoid, bump, smooth_union, smoothstep
from .hair import hairline
from .items import face_paint, worn
from .look import Colour, Look, blend, scale
from .skin import Skin

#: Height of the mouth in head coordinates.
MOUTH_HEIGHT = -0.305


def face_shapes(look: Look) -> list[Ellipsoid]:
    """The ellipsoids whose smooth union is the face: skull, jaw, cheeks, nose bridge, nose tip, chin."""
    wide, length, jaw = (look.flat(name) for name in ("width", "length", "jaw"))
    child, old, happy = look.flat("child"), look.flat("old"), look.flat("happy")
    nose, beard = look.flat("nose_size"), look.flat("beard")
    cheek = (0.185 + 0.012 * child, 0.175 + 0.01 * child, 0.155 + 0.022 * happy - 0.015 * old)
    small = 1.0 - 0.22 * child
    rows = [
        ((0.0, 0.11, -0.03), (0.395 * wide, 0.45 * length, 0.43)),
        ((0.0, -0.20 * length, 0.06), (0.285 * wide * jaw + 0.045 * child, 0.335 * length + 0.02 * beard, 0.31)),
        ((0.13 * wide, -0.115 + 0.015 * happy, 0.17), cheek),
        ((-0.13 * wide, -0.115 + 0.015 * happy, 0.17), cheek),
        ((0.0, -0.04, 0.40), (0.046, 0.15, 0.075)),
        ((0.0, -0.115, 0.45), ((0.072 + 0.034 * nose) * small + 0.005 * old, (0.060 + 0.016 * nose) * small,
                               (0.085 + 0.042 * nose) * small + 0.018 * old)),
        ((0.0, -0.415 * length, 0.19), (0.125 * jaw + 0.03 * beard, 0.095 + 0.02 * beard, 0.125 + 0.05 * beard)),
    ]
    return [Ellipsoid.placed(look.head, centre, radii) for centre, radii in rows]


def draw_face(canvas: Canvas, look: Look) -> None:
    """Put the face with its skin, features, beard and face paint on the canvas."""
    shapes = face_shapes(look)
    window = canvas.around(*shapes)
    depth, normal, hit = smooth_union(shapes, window, 0.04)
    u, v, w = look.head.to_local(window, depth)
    skin = Skin(window, look, u, v, w, u.abs(), smoothstep(-0.02, 0.08, w))
    colour: Colour = tuple(c.expand_as(u) for c in look.skin)
    colour = _tint(skin, colour)
    colour = _wrinkles(skin, colour)
    colour = _beard(skin, colour)
    colour = _mouth(skin, colour)
    if worn(look, "paint"):
        colour, skin.painted = face_paint(skin, colour)
    colour = _eyes(skin, colour)
    colour = _brows(skin, colour)
    colour = _hair_shadow(skin, colour)
    weight = canvas.put(window, depth, normal, colour, hit.float(), gloss=0.16)
    if skin.painted is not None:
        canvas.mark("paint", window, skin.painted * weight)


def eye_frame(look: Look) -> tuple[Tensor, Tensor, Tensor]:
    """Centre distance from the middle, half width and full height of the eyes, each [n,1,1]."""
    size = 1.0 + 0.09 * look.p["eye_size"] + 0.34 * look.child - 0.15 * look.old
    return 0.160 + 0.014 * look.child, 0.104 * size, 0.165 * size


def mouth_frame(look: Look) -> tuple[Tensor, Tensor, Tensor]:
    """Half width of the mouth, height of its middle and by how much its corners are above that, each [n,1,1]."""
    half = (0.138 + 0.044 * look.happy + 0.012 * look.sad) * (1.0 - 0.22 * look.child)
    bend = 0.096 * look.happy - 0.145 * look.sad
    return half, MOUTH_HEIGHT * look.length - 0.32 * bend, bend


def _tint(s: Skin, colour: Colour) -> Colour:
    """Blush, eye sockets, nostrils, shadow under nose and of the nose, temples; old skin is paler and duller."""
    look, u, v, au = s.look, s.u, s.v, s.au
    centre, _, _ = eye_frame(look)
    blush = bump(au - 0.225, 0.10) * bump(v + 0.135, 0.08) * s.front
    colour = scale(colour, (1.0, 0.74, 0.74), blush * (0.30 + 0.35 * look.happy + 0.60 * look.child - 0.15 * look.old))
    socket = bump(au - centre, 0.125) * bump(v - look.eye_level - 0.02, 0.09) * s.front
    colour = scale(colour, (0.84, 0.74, 0.74), socket * (0.5 + 0.3 * look.old))
    nostril = bump(au - 0.036, 0.021) * bump(v + 0.155, 0.016) * s.front
    colour = scale(colour, (0.42, 0.30, 0.29), nostril)
    under = bump(u, 0.095) * bump(v + 0.183, 0.024) * s.front
    colour = scale(colour, (0.74, 0.64, 0.62), 0.6 * under)
    # The nose shades the cheek away from the light.
    lx = look.light_in_head[:, 0, None, None]
    cast = bump(u + 0.085 * torch.sign(lx), 0.045) * bump(v + 0.06, 0.13) * s.front * lx.abs()
    colour = scale(colour, (0.72, 0.62, 0.60), cast.clamp_max(1.0) * 0.7)
    colour = scale(colour, (0.80, 0.74, 0.72), smoothstep(0.30, 0.40, au) * 0.35)
    chin = smoothstep(-0.40, -0.56, v)
    colour = scale(colour, (0.66, 0.60, 0.60), chin * 0.8)
    return tuple(c * (1.0 - 0.07 * look.old) + 0.035 * look.old for c in colour)


def _wrinkles(s: Skin, colour: Colour) -> Colour:
    """Forehead lines, crow's feet, eye bags, folds from nose to mouth, marionette lines."""
    look, u, v, au = s.look, s.u, s.v, s.au
    centre, half, height = eye_frame(look)
    lines = torch.zeros_like(u)
    inner = smoothstep(0.27, 0.17, au)
    for row, level in enumerate((0.265, 0.315, 0.365)):
        wave = 0.007 * torch.cos(au * 24.0 + row * 2.0)
        lines += bump(v - level + 0.25 * u * u - wave, 0.0115) * inner * 0.85
    fold = bump(au - (0.112 + 0.26 * (-0.13 - v)), 0.018) * smoothstep(-0.10, -0.15, v) * smoothstep(-0.37, -0.29, v)
    marionette = bump(au - 0.150, 0.014) * smoothstep(-0.315, -0.35, v) * smoothstep(-0.46, -0.41, v)
    offset = au - centre
    bag = bump(v - (look.eye_level - 0.62 * height + 3.0 * offset * offset), 0.014)
    bag = bag * smoothstep(0.11, 0.05, offset.abs())
    crow = torch.zeros_like(u)
    for slope in (-0.6, 0.0, 0.6):
        crow += bump(v - look.eye_level + 0.012 - slope * (offset - half), 0.010)
    crow = crow * smoothstep(half * 1.02, half * 1.25, offset) * smoothstep(half * 1.02 + 0.10, half + 0.06, offset)
    aged = lines * 0.9 + fold + marionette * 0.5 + bag * 0.9 + crow * 0.8
    amount = (look.old * aged + (0.42 - 0.3 * look.child) * look.happy * fold).clamp(0.0, 1.0) * s.front
    return scale(colour, (0.52, 0.40, 0.37), amount * 0.9)


def _beard(s: Skin, colour: Colour) -> Colour:
    """Jaw, chin, moustache and sideburns; density follows the attribute."""
    look, v, au = s.look, s.v, s.au
    amount = look.p["beard"]
    top = -0.235 - 0.10 * bump(au, 0.11) + 0.95 * (au - 0.17).clamp_min(0.0)
    cheek = smoothstep(-0.025, 0.025, top + 0.05 * amount - v)
    lip = bump(v + 0.222 + 0.30 * au * au, 0.026) * smoothstep(0.185, 0.13, au)
    side = smoothstep(0.285, 0.325, au) * smoothstep(0.06, -0.06, v)
    region = torch.maximum(torch.maximum(cheek, (1.4 * lip).clamp_max(1.0)), side) * s.front
    grain = 0.94 + 0.08 * torch.cos(au * 70.0 + v * 18.0)
    hair = tuple((c * 0.60 + 0.010) * grain for c in look.hair)
    return blend(colour, hair, region * (amount * 1.05).clamp_max(0.97))


def _mouth(s: Skin, colour: Colour) -> Colour:
    """Lips on a parabola whose corners follow the smile; a smile opens to teeth and tongue."""
    look, v, happy = s.look, s.v, s.look.happy
    half, level, bend = mouth_frame(look)
    q = s.u / half
    q2 = (q * q).clamp_max(1.6)
    inside = smoothstep(1.08, 0.92, q2) * s.front
    arch = (1.0 - q2).clamp_min(0.0)
    root = arch.sqrt()
    middle = level + bend * q2
    thick = 0.042 * root * (1.0 - 0.30 * look.old) + 0.005
    gape = 0.138 * (happy - 0.08).clamp_min(0.0) * root
    top, bottom = middle + 0.75 * thick, middle - gape - thick
    lip_colour = blend(scale(look.skin, 0.85), (0.86, 0.20, 0.25), 0.80 - 0.20 * look.old)
    lip_colour = tuple(c.expand_as(v) for c in lip_colour)
    lips = smoothstep(0.0, 0.010, top - v) * smoothstep(0.0, 0.010, v - bottom) * inside
    colour = blend(colour, lip_colour, lips)
    closed = smoothstep(0.022, 0.004, gape)
    colour = scale(colour, (0.36, 0.22, 0.22), bump(v - middle, 0.0095) * inside * closed)
    opening = smoothstep(0.0, 0.007, middle - v) * smoothstep(0.0, 0.007, v - (middle - gape)) * inside * (1.0 - closed)
    colour = blend(colour, (0.26, 0.05, 0.07), opening)
    tongue = bump(s.u, 0.06) * smoothstep(0.25, 0.0, (v - (middle - gape)) / (gape + 1e-3))
    colour = blend(colour, (0.80, 0.32, 0.34), opening * tongue * 0.8)
    teeth = smoothstep(0.0, 0.008, v - (middle - 0.60 * gape))
    colour = blend(colour, (0.98, 0.97, 0.94), opening * teeth)
    corner = bump(s.au - half - 0.006, 0.017) * bump(v - level - 1.04 * bend, 0.022) * s.front
    colour = scale(colour, (0.52, 0.38, 0.36), corner * (0.45 + 0.3 * look.p["smile"].abs()))
    below = bump(s.u, 0.10) * bump(v - bottom + 0.030, 0.020) * s.front
    return scale(colour, (0.80, 0.72, 0.70), below * 0.6)


def _eyes(s: Skin, colour: Colour) -> Colour:
    """Sclera, iris, pupil, highlight, lids, lashes. The upper lid comes down to the lower one as the eye closes."""
    look, u, v, au = s.look, s.u, s.v, s.au
    centre, half, height = eye_frame(look)
    open_ = 0.04 + 0.96 * look.p["eye_openness"]
    q = (au - centre) / half
    q2 = q * q
    arch = (1.0 - q2).clamp_min(0.0)
    arch = arch * (0.45 + 0.55 * torch.rsqrt(arch + 0.02))
    low = look.eye_level - 0.44 * height * arch * (1.0 - 0.18 * look.happy) + 0.02 * height * q
    crease = look.eye_level + 0.56 * height * arch + 0.02 * height * q
    up = low + (crease - low) * open_
    inside = smoothstep(1.10, 0.98, q2) * s.front
    lid = smoothstep(-0.004, 0.008, crease + 0.012 - v) * smoothstep(-0.004, 0.008, v - low) * inside
    colour = blend(colour, tuple(c * f for c, f in zip(look.skin, (0.86, 0.72, 0.70), strict=True)), lid * 0.85)
    eye = smoothstep(-0.004, 0.008, up - v) * smoothstep(-0.004, 0.008, v - low) * inside
    colour = blend(colour, (0.98, 0.98, 0.97), eye)
    if s.painted is not None:
        s.painted = s.painted * (1.0 - 0.85 * lid) * (1.0 - eye)
    gu, gv = u - torch.sign(u) * (centre - 0.006), v - look.eye_level - 0.008
    size = half / 0.104
    r = (gu * gu + gv * gv).sqrt() / size
    shade = 1.25 - 0.65 * (r * (1.0 / 0.062)).clamp_max(1.0)
    colour = blend(colour, tuple(c * shade for c in look.iris), eye * smoothstep(0.064, 0.054, r))
    ring = bump(r - 0.061, 0.007)
    colour = scale(colour, (0.35, 0.35, 0.35), eye * ring * 0.8)
    colour = blend(colour, (0.02, 0.02, 0.03), eye * smoothstep(0.036, 0.027, r))
    colour = scale(colour, (0.60, 0.57, 0.60), eye * smoothstep(0.035, 0.0, up - v) * 0.6)
    side = 0.020 * torch.sign(look.light_in_head[:, 0, None, None])
    spark = ((gu - side) ** 2 + (gv - 0.024) ** 2).sqrt() / size
    colour = blend(colour, (1.7, 1.7, 1.7), eye * smoothstep(0.022, 0.012, spark))
    lash = bump(v - up, 0.0145) * smoothstep(1.25, 1.05, q2) * s.front
    colour = blend(colour, (0.07, 0.04, 0.04), lash * 0.95)
    colour = scale(colour, (0.55, 0.42, 0.42), bump(v - low, 0.0095) * inside * 0.55)
    return scale(colour, (0.58, 0.46, 0.44), bump(v - crease - 0.014, 0.010) * inside * (0.55 + 0.3 * look.old))


def _brows(s: Skin, colour: Colour) -> Colour:
    """Eyebrows in the hair's colour; sadness raises their inner ends, a smile lifts them."""
    look, v = s.look, s.v
    centre, half, height = eye_frame(look)
    q = (s.au - centre) / 0.115
    level = look.eye_level + 0.60 * height + 0.062 + 0.014 * look.happy - 0.026 * q * q - 0.050 * look.sad * q
    thick = (0.012 + 0.024 * look.p["brow_weight"]) * (1.15 - 0.45 * q) * (1.0 - 0.40 * look.child)
    weight = smoothstep(1.15, 0.45, (v - level).abs() / thick) * smoothstep(1.08, 0.88, q.abs()) * s.front
    hair = tuple(c * 0.62 for c in look.hair)
    return blend(colour, hair, weight * 0.94)


def _hair_shadow(s: Skin, colour: Colour) -> Colour:
    """Soft contact shadow of the hair (or the hat) on the forehead and the sides of the face."""
    look = s.look
    line = hairline(look, s.u, s.v, s.w)
    shadow = smoothstep(0.10, -0.01, line - s.v)
    if worn(look, "hat"):
        shadow = torch.maximum(shadow, smoothstep(0.10, 0.24, s.v) * look.p["hat"])
    return scale(colour, (0.62, 0.53, 0.52), shadow * 0.8)
