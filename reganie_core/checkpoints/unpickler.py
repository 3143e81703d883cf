"""A pickle machine that only builds data.

Python's own unpickler calls what the file names and has to be talked out of it. This one has nothing to call: a global
is a name looked up in an allow-list (``allowlist.py``), REDUCE and NEWOBJ go to the small functions of that list, and
everything they build is a record of ``records.py``. Three more things differ from Python's, all for hostile files:

- every declared length is compared with the bytes that are there before it is believed;
- the number of steps, the memo, and how many dictionary keys are numbers or tuples are bounded, so that neither
  memory nor hashing can be made to explode;
- long byte strings stay in the file (a slice of the mapping), so that reading the structure of a file is cheap.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError, UnsupportedCheckpointError
from .opcodes import MARK, OPERATIONS
from .records import OBJECTS, ArrayRecord, DTypeRecord, LongText, Record, Symbol, array_tensor

MAX_STEPS = 1_000_000  # a training save of the largest public network (1024 px, both optimizers) takes about 200 000
MAX_LINE = 4096
MAX_ODD_KEYS = 4096  # numbers and tuples: their hashes can be made to collide, those of texts cannot
MAX_KEY_TUPLE = 8
MAX_LONG = 256
INLINE = 1 << 14  # byte strings and texts up to here are copied out of the file, longer ones are not

Global = Callable[["Unpickler", tuple[Any, ...]], Any]


class Unpickler:
    """Run one pickle that starts at ``position`` of ``view``; ``position`` is then the byte after it.

    Args:
        view: the whole file or payload.
        find_global: (module, name) -> the inert function that stands for it; raises for everything else.
        persistent: persistent id -> storage, or None where the container has no such ids.
        nested: bytes of a nested storage -> storage, or None where none may occur.
        max_steps: how many opcodes are run before the file is refused.
    """

    def __init__(
        self,
        view: memoryview,
        find_global: Callable[[str, str], Global],
        persistent: Callable[[Any], Any] | None = None,
        nested: Callable[[memoryview], Any] | None = None,
        position: int = 0,
        max_steps: int = MAX_STEPS,
    ) -> None:
        self.view = view
        self.position = position
        self.persistent = persistent
        self.nested = nested
        self._find = find_global
        self._max_steps = max_steps
        self._odd_keys = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        # Copies that functions make may add up to this much: a memo lets a short file ask for one again and again.
        self._allowance = 4 * len(view) + (64 << 20)

    def load(self) -> Any:
        """The root of the pickle.

        Raises:
            UnsafeCheckpointError: a global outside the allow-list.
            UnsupportedCheckpointError: something harmless that is not read here.
            CorruptCheckpointError: truncated, damaged or absurd.
        """
        steps = 0
        try:
            while True:
                steps += 1
                if steps > self._max_steps:
                    raise UnsupportedCheckpointError(
                        f"The file's pickle has more than {self._max_steps} steps, more than any known network. Save "
                        "only the weights."
                    )
                code = self._take(1)[0]
                if code == 0x2E:  # STOP
                    return self._pop()
                operation = OPERATIONS.get(code)
                if operation is None:
                    self._damaged(f"unknown or unsupported opcode 0x{code:02x}")
                operation(self)
        except CheckpointError:
            raise
        except (IndexError, KeyError, TypeError, ValueError, struct.error, OverflowError, AttributeError) as error:
            # A stream that is damaged makes the machine take the wrong thing from the stack; nothing else raises these.
            raise CorruptCheckpointError(
                f"The pickle in the file is damaged near byte {self.position}: get the file again."
            ) from error

    def charge(self, nbytes: int) -> None:
        """Account for memory that is made, not read, by a function of the allow-list."""
        self._allowance -= nbytes
        if self._allowance < 0:
            self._damaged("it would grow far beyond its size")

    def check_key(self, key: Any) -> Any:
        """A key that is cheap to hash: a text, or one of a few numbers and short flat tuples of scalars.

        A tuple of tuples of tuples hashes in exponential time, a long one in its length every time it is used.
        """
        if isinstance(key, str | bytes):
            return key
        self._odd_keys += 1
        flat = key if isinstance(key, tuple) else (key,)
        fitting = len(flat) <= MAX_KEY_TUPLE and self._odd_keys <= MAX_ODD_KEYS
        if fitting and all(k is None or isinstance(k, str | int | float | bytes) for k in flat):
            return key
        raise UnsupportedCheckpointError(
            f"The file has a table whose keys are not names, or more than {MAX_ODD_KEYS} keys that are numbers. "
            "Save only the weights."
        )

    def bytes_of(self, value: Any) -> memoryview:
        """The bytes of a byte string in any of its pickled forms."""
        if isinstance(value, bytes | bytearray | memoryview):
            return memoryview(value)
        if isinstance(value, str):
            self.charge(len(value) + 200)
            return memoryview(value.encode("latin-1"))
        if isinstance(value, LongText):
            self.charge(len(value.view))
            return value.latin1()
        self._damaged("something else in place of a byte string")

    # --- reading ------------------------------------------------------------------------------------------------

    def _damaged(self, why: str) -> NoReturn:
        raise CorruptCheckpointError(
            f"The pickle in the file is damaged near byte {self.position} ({why}). Get it again."
        )

    def _take(self, count: int) -> memoryview:
        end = self.position + count
        if end > len(self.view):
            raise CorruptCheckpointError(
                f"The file ends inside its pickle: {count} bytes are announced at byte {self.position}, "
                f"{len(self.view) - self.position} are there. It is truncated: get it again."
            )
        part = self.view[self.position : end]
        self.position = end
        return part

    def _number(self, layout: str) -> int:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _line(self) -> str:
        head = bytes(self.view[self.position : self.position + MAX_LINE])
        end = head.find(b"\n")
        if end < 0:
            self._damaged("a line without an end")
        self.position += end + 1
        return head[:end].decode("utf-8")

    # --- the stack ----------------------------------------------------------------------------------------------

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is MARK:
            self._damaged("a mark in place of a value")
        return value

    def _top(self) -> Any:
        value = self._stack[-1]
        if value is MARK:
            self._damaged("a mark in place of a value")
        return value

    def _pop_mark(self) -> list[Any]:
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is MARK:
                items = self._stack[index + 1 :]
                del self._stack[index:]
                return items
        self._damaged("a missing mark")

    # --- memo ---------------------------------------------------------------------------------------------------

    def _put(self, index: int) -> None:
        if index < 0:
            self._damaged("a negative memo index")
        self._memo[index] = self._top()

    # --- building -----------------------------------------------------------------------------------------------

    def _global(self, module: str, name: str) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            self._damaged("a global whose name is not a text")
        self._find(module, name)  # refuses here, before anything is built with it
        self._push(Symbol(module, name))

    def _call(self, function: Any, args: Any) -> None:
        if not isinstance(function, Symbol):
            raise UnsafeCheckpointError(
                "The file asks to call something that is not a constructor. Nothing was executed; do not trust it."
            )
        if not isinstance(args, tuple):
            self._damaged("arguments that are not a tuple")
        self._push(self._find(function.module, function.name)(self, args))

    def _reduce(self) -> None:
        args = self._pop()
        self._call(self._pop(), args)

    def _newobj_ex(self) -> None:
        if self._pop():
            raise UnsafeCheckpointError(
                "The file builds an object with keyword arguments. Nothing was executed; do not trust it."
            )
        self._reduce()

    def _inst(self) -> None:
        module, name = self._line(), self._line()
        self._global(module, name)
        symbol = self._pop()
        self._call(symbol, tuple(self._pop_mark()))

    def _obj(self) -> None:
        symbol, *args = self._pop_mark()
        self._call(symbol, tuple(args))

    def _build(self) -> None:
        state = self._pop()
        target = self._top()
        if isinstance(target, Record):
            if isinstance(state, tuple) and len(state) == 2:  # (instance dict, slots)
                state = state[0]
            if state is not None and not isinstance(state, dict):
                self._damaged("an object whose state is not a table")
            target.state = state or {}
        elif isinstance(target, DTypeRecord):
            if state[3] is not None or state[4] is not None:
                raise UnsupportedCheckpointError("The file holds structured numpy values. Save it as float32.")
            target.order = ">" if state[1] == ">" else "<"
        elif isinstance(target, ArrayRecord):
            _, shape, dtype, fortran, data = state
            self.charge(200)
            if isinstance(dtype, DTypeRecord) and dtype.code == OBJECTS:
                target.items = data
                return
            target.tensor = array_tensor(dtype, shape, bool(fortran), self.bytes_of(data))
        elif not isinstance(target, dict):  # attributes of an OrderedDict (its _metadata) carry no weights
            self._damaged("a state for something that has none")

    def _set_items(self, target: Any, items: list[Any]) -> None:
        if not isinstance(target, dict) or len(items) % 2:
            self._damaged("items for something that is not a table")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.check_key(key)] = value

    def _extend(self, target: Any, items: list[Any]) -> None:
        if not isinstance(target, list):
            self._damaged("items for something that is not a list")
        target.extend(items)

    def _persistent(self, value: Any) -> None:
        if self.persistent is None:
            raise CorruptCheckpointError("The file refers to storages kept elsewhere. It is not complete.")
        self._push(self.persistent(value))

    def _text(self, count: int) -> None:
        part = self._take(count)
        self._push(str(part, "utf-8", "replace") if count <= INLINE else LongText(part))

    def _bytes(self, count: int) -> None:
        part = self._take(count)
        self._push(bytes(part) if count <= INLINE else part)

    def _old_string(self, count: int) -> None:
        if count < 0:
            self._damaged("a negative length")
        part = self._take(count)
        self._push(str(part, "latin-1") if count <= INLINE else part)

    def _quoted(self) -> None:
        line = self._line()
        if len(line) < 2 or line[0] != line[-1] or line[0] not in "'\"" or "\\" in line:
            raise UnsupportedCheckpointError(
                "The file is a protocol 0 pickle with escaped texts. Save it with protocol 2 or later."
            )
        self._push(line[1:-1])

    def _int_line(self) -> None:
        line = self._line()
        self._push({"00": False, "01": True}[line] if line in ("00", "01") else self._integer(line))

    def _integer(self, line: str) -> int:
        if len(line) > MAX_LONG:
            self._damaged("an integer of absurd length")
        return int(line.rstrip("L"))

    def _long(self, count: int) -> None:
        if not 0 <= count <= MAX_LONG:
            self._damaged("an integer of absurd length")
        self._push(int.from_bytes(self._take(count), "little", signed=True))

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    def _stack_global(self) -> None:
        name = self._pop()
        self._global(self._pop(), name)

    def _protocol(self) -> None:
        if (version := self._number("<B")) > 5:
            raise UnsupportedCheckpointError(
                f"The file is a pickle of protocol {version}; up to 5 are read. Save it with 4."
            )

    def _pop_one(self) -> None:
        self._stack.pop()

    def _refuse_extension(self) -> None:
        raise UnsafeCheckpointError(
            "The file uses the pickle extension registry or outside buffers. Nothing was run; do not trust it."
        )
