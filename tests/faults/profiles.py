"""Small ICC profiles (ICC.1:2001-04), built byte by byte: what a camera, a scanner or a printer might store."""

from __future__ import annotations

import struct

# sRGB's red, green and blue in the profiles' D50 XYZ.
RED, GREEN, BLUE = (0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
WHITE = (0.9642, 1.0, 0.8249)


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def _gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256)) + b"\0\0"


def _profile(kind: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    start, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    header = struct.pack(">I4sI4s4s4s12s4s", start + len(body), b"\0\0\0\0", 0x02100000, kind, space, pcs, b"\0" * 12,
                         b"acsp")
    header += b"\0" * 28 + b"".join(struct.pack(">i", round(v * 65536)) for v in WHITE)
    return header + b"\0" * (128 - len(header)) + struct.pack(">I", len(tags)) + table + body


def swapped() -> bytes:
    """RGB whose red and green have changed places: a picture without it looks altogether wrong."""
    return _profile(b"mntr", b"RGB ", b"XYZ ", {
        b"wtpt": _xyz(WHITE), b"rXYZ": _xyz(GREEN), b"gXYZ": _xyz(RED), b"bXYZ": _xyz(BLUE),
        b"rTRC": _gamma(2.2), b"gTRC": _gamma(2.2), b"bTRC": _gamma(2.2)})


def linear_grey() -> bytes:
    """Grey whose numbers are proportional to light."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(WHITE), b"kTRC": _gamma(1.0)})


def print_colours() -> bytes:
    """CMYK: each ink darkens, cyan to Lab (60, -30, -40), magenta to (50, 60, 0), yellow to (90, 0, 80)."""
    inks = ((-40, -30, -40), (-50, 60, 0), (-10, 0, 80), (-100, 0, 0))
    nodes = b""
    for c in (0, 1):
        for m in (0, 1):
            for y in (0, 1):
                for k in (0, 1):
                    light, a, b = (sum(on * ink[i] for on, ink in zip((c, m, y, k), inks, strict=True))
                                   for i in range(3))
                    light = max(0, 100 + light)
                    a, b = (max(-128, min(127, v)) if light else 0 for v in (a, b))
                    nodes += bytes((round(light * 2.55), a + 128, b + 128))
    line = bytes(range(256))
    identity = b"".join(struct.pack(">i", 65536 * (i % 4 == 0)) for i in range(9))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + line * 4 + nodes + line * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(WHITE), b"A2B0": table})
