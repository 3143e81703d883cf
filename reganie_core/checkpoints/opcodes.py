"""The pickle opcodes, one line each. What they do is in ``unpickler.py``; nothing here calls anything of a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MARK = object()
Operation = Callable[[Any], None]


def _append(machine: Any) -> None:
    value = machine._pop()
    machine._extend(machine._top(), [value])


def _appends(machine: Any) -> None:
    items = machine._pop_mark()
    machine._extend(machine._top(), items)


def _dict(machine: Any) -> None:
    items = machine._pop_mark()
    target: dict[Any, Any] = {}
    machine._set_items(target, items)
    machine._push(target)


def _set_item(machine: Any) -> None:
    value = machine._pop()
    key = machine._pop()
    machine._set_items(machine._top(), [key, value])


def _set_items(machine: Any) -> None:
    items = machine._pop_mark()
    machine._set_items(machine._top(), items)


# Opcode -> what the machine does for it (names and numbers: Python's ``pickletools``).
_TABLE: dict[bytes, Operation] = {
    b"\x80": lambda m: m._protocol(),
    b"\x95": lambda m: m._number("<Q"),  # FRAME: a hint only
    b"(": lambda m: m._push(MARK),
    b"0": lambda m: m._pop_one(),
    b"1": lambda m: m._pop_mark(),
    b"2": lambda m: m._push(m._top()),
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"I": lambda m: m._int_line(),
    b"J": lambda m: m._push(m._number("<i")),
    b"K": lambda m: m._push(m._number("<B")),
    b"M": lambda m: m._push(m._number("<H")),
    b"L": lambda m: m._push(m._integer(m._line())),
    b"\x8a": lambda m: m._long(m._number("<B")),
    b"\x8b": lambda m: m._long(m._number("<i")),
    b"F": lambda m: m._push(float(m._line())),
    b"G": lambda m: m._push(m._number(">d")),
    b"S": lambda m: m._quoted(),
    b"T": lambda m: m._old_string(m._number("<i")),
    b"U": lambda m: m._old_string(m._number("<B")),
    b"V": lambda m: m._push(m._line()),
    b"X": lambda m: m._text(m._number("<I")),
    b"\x8c": lambda m: m._text(m._number("<B")),
    b"\x8d": lambda m: m._text(m._number("<Q")),
    b"B": lambda m: m._bytes(m._number("<I")),
    b"C": lambda m: m._bytes(m._number("<B")),
    b"\x8e": lambda m: m._bytes(m._number("<Q")),
    b"\x96": lambda m: m._bytes(m._number("<Q")),
    b"]": lambda m: m._push([]),
    b"l": lambda m: m._push(m._pop_mark()),
    b"a": _append,
    b"e": _appends,
    b")": lambda m: m._push(()),
    b"t": lambda m: m._push(tuple(m._pop_mark())),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"}": lambda m: m._push({}),
    b"d": _dict,
    b"s": _set_item,
    b"u": _set_items,
    b"\x8f": lambda m: m._push([]),  # sets are kept as lists: no network needs one
    b"\x90": _appends,
    b"\x91": lambda m: m._push(m._pop_mark()),
    b"c": lambda m: m._global(m._line(), m._line()),
    b"\x93": lambda m: m._stack_global(),
    b"R": lambda m: m._reduce(),
    b"b": lambda m: m._build(),
    b"\x81": lambda m: m._reduce(),  # NEWOBJ: the allow-list treats a class and a function alike
    b"\x92": lambda m: m._newobj_ex(),
    b"i": lambda m: m._inst(),
    b"o": lambda m: m._obj(),
    b"p": lambda m: m._put(m._integer(m._line())),
    b"q": lambda m: m._put(m._number("<B")),
    b"r": lambda m: m._put(m._number("<I")),
    b"\x94": lambda m: m._put(len(m._memo)),
    b"g": lambda m: m._push(m._memo[m._integer(m._line())]),
    b"h": lambda m: m._push(m._memo[m._number("<B")]),
    b"j": lambda m: m._push(m._memo[m._number("<I")]),
    b"P": lambda m: m._persistent(m._line()),
    b"Q": lambda m: m._persistent(m._pop()),
}
_TABLE.update({code: lambda m: m._refuse_extension() for code in (b"\x82", b"\x83", b"\x84", b"\x97", b"\x98")})
OPERATIONS = {code[0]: operation for code, operation in _TABLE.items()}
