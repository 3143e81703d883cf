"""Ways to damage an input: bytes, texts, JSON trees, and the containers around them."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from tests.fuzz.engine import Mutate

NUMBERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 1023, 4096, 32767, 65535, 65536, (1 << 31) - 1, 1 << 31,
           (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 62), (1 << 63) - 1, (1 << 64) - 1)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e308, 1e400, float("nan"), float("inf"), -float("inf"), 10**12, 10**30,
    -(1 << 63), "", "a", " ", "0", "-1", "1e9", "nan", "../../x", "/etc/passwd", "\x00", "\ud800", "é" * 50, "x" * 5000,
    [], {}, [[]], [None], {"": None}, [0] * 300, ["x"], {"name": "x"}, [[[[[[[[[[]]]]]]]]]], [1e308, -1e308], "on",
    "@1", "portraits (packaged)", "tiny", "C:\\x", "a\nb", "a/../b", "\u202e", "1_000", "٣", [1, 2, 3],
    {"a": {"b": {"c": 1}}},
)
WORDS = (b"=", b"@", b"on", b"off", b",", b";", b"-", b"+", b"1e", b"e9", b".", b"nan", b"inf", b"\n", b"\x00", b"#",
         b"yaw", b"age", b"smile", b"glasses", b"all", b"0-7", b"999", b"largest", b"best", b"9" * 400, b"\xd9\xa3",
         b"\xff", b"\xe2\x80\xae", b"(", b")", b"[", b"]", b"{", b"}", b'"', b"'", b"\\", b"null", b"true", b" " * 50)
DEEP = b"[" * 3000


def flip(data: bytes, seeds: list[bytes], dice: random.Random) -> bytes:
    """A few changes of single bytes, numbers, pieces; most of them near the start and the end, where formats live."""
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        if not out:
            return bytes(dice.randrange(256) for _ in range(8))
        _change(out, seeds, dice)
    return bytes(out)


def _place(size: int, dice: random.Random) -> int:
    """Where to change: anywhere, or within the first or last kilobyte."""
    where = dice.random()
    span = min(size, 1024)
    if where < 0.4:
        return dice.randrange(size)
    return dice.randrange(span) if where < 0.75 else size - 1 - dice.randrange(span)


def _change(out: bytearray, seeds: list[bytes], dice: random.Random) -> None:
    at, kind = _place(len(out), dice), dice.randrange(10)
    if kind == 0:
        out[at] ^= 1 << dice.randrange(8)
    elif kind == 1:
        out[at] = dice.randrange(256)
    elif kind == 2:
        number, code = dice.choice(NUMBERS), dice.choice("BHIQ")
        size = struct.calcsize(f"<{code}")
        out[at:at + size] = struct.pack(f"<{code}", number & ((1 << 8 * size) - 1))
    elif kind == 3:
        del out[at:at + dice.choice((1, 2, 4, 16, 100))]
    elif kind == 4:
        out[at:at] = bytes(dice.randrange(256) for _ in range(dice.choice((1, 2, 8, 40))))
    elif kind == 5:
        size = dice.choice((1, 4, 30, 200))
        out[at:at] = out[at:at + size] * dice.choice((1, 2, 20))
    elif kind == 6:
        other = dice.choice(seeds)
        start = dice.randrange(len(other) + 1)
        out[at:at + dice.choice((0, 8, 64))] = other[start:start + dice.choice((4, 32, 256))]
    elif kind == 7:
        del out[at:]
    elif kind == 8:
        out[at:at + dice.choice((0, 0, 3))] = dice.choice(WORDS)
    else:
        _digits(out, at, dice)


def _digits(out: bytearray, at: int, dice: random.Random) -> None:
    """Another number in place of the next one that is written in digits."""
    start = next((i for i in range(at, min(len(out), at + 400)) if 48 <= out[i] < 58), None)
    if start is None:
        out[at] ^= 0xFF
        return
    end = start
    while end < len(out) and 48 <= out[end] < 58:
        end += 1
    out[start:end] = str(dice.choice(NUMBERS) - dice.choice((0, 0, 1 << 33))).encode()


def tree(value: Any, dice: random.Random) -> Any:
    """A JSON value with one part exchanged, removed, doubled or wrapped."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        key = dice.choice(sorted(value, key=str))
        kind, rest = dice.randrange(8), {k: v for k, v in value.items() if k != key}
        if kind == 0:
            return rest
        if kind == 1:
            return {**rest, str(dice.choice(VALUES))[:300]: value[key]}
        return {**value, key: tree(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.8:
        at, kind = dice.randrange(len(value)), dice.randrange(6)
        if kind == 0:
            return value[:at] + value[at + 1:]
        if kind == 1:
            return value[:at] + [value[at]] * dice.choice((2, 3, 70)) + value[at + 1:]
        return [*value[:at], tree(value[at], dice), *value[at + 1:]]
    kind = dice.randrange(6)
    if kind == 0 and isinstance(value, int | float) and not isinstance(value, bool):
        return dice.choice((-value, value + 1, value - 1, value * 2, float(value), str(value)))
    if kind == 1:
        return dice.choice(([value], {"x": value}))
    if kind == 2 and isinstance(value, str):
        return flip(value.encode("utf-8", "replace"), [b"x"], dice).decode("utf-8", "replace")
    return dice.choice(VALUES)


def json_bytes(data: bytes, seeds: list[bytes], dice: random.Random) -> bytes:
    """A changed JSON text: mostly another tree, sometimes damaged as bytes, sometimes nested without end."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return flip(data, seeds, dice)
    if dice.random() < 0.15:
        return flip(data, seeds, dice)
    if dice.random() < 0.003:
        return DEEP
    for _ in range(dice.choice((1, 1, 2, 4))):
        value = tree(value, dice)
    try:
        return json.dumps(value).encode()
    except (ValueError, RecursionError):
        return flip(data, seeds, dice)


def safetensors(data: bytes, seeds: list[bytes], dice: random.Random) -> bytes:
    """The header as a JSON tree (its length made right again), the texts inside its metadata, or plain bytes."""
    how = dice.random()
    if how < 0.3 or len(data) < 10:
        return flip(data, seeds, dice)
    length = struct.unpack("<Q", data[:8])[0]
    try:
        header = json.loads(data[8:8 + length])
        metadata = dict(header["__metadata__"])
        if how < 0.75:
            key = dice.choice(sorted(metadata))
            metadata[key] = json_bytes(str(metadata[key]).encode(), seeds, dice).decode("utf-8", "replace")
            header = {**header, "__metadata__": metadata}
        else:
            header = tree(header, dice)
        text = json.dumps(header).encode()
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return flip(data, seeds, dice)
    return struct.pack("<Q", len(text)) + text + data[8 + length:]


def inside_zip(inner: Mutate) -> Mutate:
    """Change a member of a zip archive and pack it again, so that its sums are right."""
    def mutate(data: bytes, seeds: list[bytes], dice: random.Random) -> bytes:
        if dice.random() < 0.4:
            return flip(data, seeds, dice)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
        except Exception:
            return flip(data, seeds, dice)
        if not members:
            return flip(data, seeds, dice)
        name = next((n for n in members if n.endswith("data.pkl") and dice.random() < 0.8), dice.choice(list(members)))
        members[name] = inner(members[name], [members[name]], dice)
        if dice.random() < 0.1:
            members.pop(dice.choice(list(members)))
        out, packing = io.BytesIO(), dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(out, "w", packing) as archive:
            for member, content in members.items():
                archive.writestr(zipfile.ZipInfo(member), content, packing)   # without the clock's time
        return out.getvalue()

    return mutate


def either(*ways: Callable[[bytes, list[bytes], random.Random], bytes]) -> Mutate:
    """One of several ways, by chance."""
    return lambda data, seeds, dice: dice.choice(ways)(data, seeds, dice)
