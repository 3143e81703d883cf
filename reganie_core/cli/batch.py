"""Pictures one after another: each is written when it is done, and one that cannot be used does not stop the others.

Memory holds one picture at a time, however many there are.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import OutOfRangeWarning, ReganieError
from .common import one_line

__all__ = ["Batch", "Done"]


@dataclass
class Done:
    """What became of one picture: `error` where it failed, `path` None where nothing was to be written, `more` for the
    report."""

    spec: str
    path: Path | None
    error: str = ""
    more: dict[str, Any] = field(default_factory=dict)


class Batch:
    """Runs ``work(spec, path)``, which writes one picture and returns a :class:`Done`, for each of several pictures.

    ``report_one(done)`` reports one that is done, at once. An error of a single picture is raised as it is.
    """

    def __init__(self, report_one: Callable[[Done], None]) -> None:
        self.report_one = report_one
        self.done: list[Done] = []
        self._warned: set[str] = set()

    def run(self, specs: Sequence[str], paths: Sequence[Path], work: Callable[[str, Path], Done]) -> None:
        """Work on all of them.

        Raises:
            ReganieError, OSError: the error of the only picture.
        """
        for spec, path in zip(specs, paths, strict=True):
            try:
                with self.named_warnings(spec if len(specs) > 1 else ""):
                    done = work(spec, path)
            except (ReganieError, OSError) as error:
                if len(specs) == 1:
                    raise
                done = Done(spec, None, str(error))
            self.done.append(done)
            if not done.error:
                self.report_one(done)

    @contextmanager
    def named_warnings(self, spec: str = "") -> Iterator[None]:
        """Warnings carry the name of their picture, where there are several; those about the edit come once."""
        caught: list[warnings.WarningMessage] = []
        try:
            with warnings.catch_warnings(record=True) as caught:
                yield
        finally:
            for one in caught:
                text = str(one.message)
                if spec and not issubclass(one.category, OutOfRangeWarning) and Path(spec).name not in text:
                    text = f"{spec}: {text}"
                if text not in self._warned:
                    self._warned.add(text)
                    warnings.warn(text, one.category, stacklevel=3)

    def report(self, name: str) -> list[dict[str, Any]]:
        """One entry a picture for JSON; ``name``: what the written file is called there."""
        return [{"photo": done.spec, name: None if done.path is None else str(done.path), **done.more,
                 **({"error": done.error} if done.error else {})} for done in self.done]

    def finish(self) -> int:
        """Name the pictures that failed on standard error; returns the exit status."""
        failed = [done for done in self.done if done.error]
        for done in failed:
            sys.stderr.write(f"error: {one_line(done.spec)}: {one_line(done.error)}\n")
        if failed:
            sys.stderr.write(f"error: {len(failed)} of {len(self.done)} pictures failed; the others are done.\n")
        return 1 if failed else 0
