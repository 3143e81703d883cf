"""Warnings of the library, shown on the page."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from .. import reganie_core as rc
from . import _host


@contextmanager
def show_warnings(title: str) -> Iterator[None]:
    """Each different :class:`ReganieWarning` raised meanwhile becomes one notice."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", rc.ReganieWarning)
        yield
    for sentence in dict.fromkeys(str(item.message) for item in caught if issubclass(item.category, rc.ReganieWarning)):
        _host.notice(title, sentence)
