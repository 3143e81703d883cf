"""Text to words, the same for captions and for what people type."""

from __future__ import annotations

import re

from ..errors import InputError

#: Longest text that is read.
MAX_TEXT = 1000


def split_words(text: str) -> list[str]:
    """Lower-case words; hyphens and punctuation separate: "Middle-aged, with glasses" has four.

    Raises:
        InputError: no text, or more than 1000 characters.
    """
    if not isinstance(text, str):
        raise InputError(f"A description must be a text, found {type(text).__name__}.")
    if len(text) > MAX_TEXT:
        raise InputError(f"The description has {len(text)} characters; at most {MAX_TEXT} are read.")
    return re.findall(r"\w+", text.lower())
