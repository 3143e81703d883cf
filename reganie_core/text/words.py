"""Text to words, the same for captions and for what people type."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

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


#: Words that say how the next ones belong to the person; without a known word after them they say nothing.
LEADS = frozenset("in with without wearing wears has of from at and to no not who is under behind like".split())
#: Words that a description needs and that describe nothing.
FILLERS = frozenset("a an the this there here very does".split()) | LEADS
_COMMANDS = {  # of pictures, as people give them; a description says the same with another word
    ("take", "off"): ["without"], ("get", "rid", "of"): ["without"], ("take", "away"): ["without"],
    ("remove",): ["without"], ("delete",): ["without"], ("erase",): ["without"], ("drop",): ["without"],
    ("put", "on"): ["with"], ("add",): ["with"], ("give", "him"): ["with"], ("give", "her"): ["with"],
    ("give", "them"): ["with"], ("make", "him"): [], ("make", "her"): [], ("make", "them"): [], ("make", "it"): [],
}
COMMANDS = frozenset(word for command in _COMMANDS for word in command)
_WORN = frozenset({"glasses", "eyeglasses", "spectacles"})  # what captions say "in" of
_POSITIVE = {"older": "old", "younger": "young", "happier": "happy", "sadder": "sad", "longer": "long",
             "shorter": "short"}
_FARTHEST = 3  # words between a lead and what it leads to


def readable_words(words: Sequence[str], known: Container[str]) -> tuple[list[str], list[str]]:
    """The words that can be read, and those that say nothing here, each once and in order.

    Commands become descriptions ("remove the glasses": "without glasses"), "in" becomes "with" where it is not about
    glasses, and a phrase that leads to an unknown word goes with it: "a man in a hat" is "a man" and names "hat".
    """
    words = _described(words)
    lost = [word not in known for word in words]
    dropped = list(lost)
    for end in (i for i, gone in enumerate(lost) if gone):
        if end + 1 < len(words) and words[end + 1] not in LEADS:
            continue  # an unknown adjective: the noun after it stays
        start = next((i for i in range(end - 1, max(-1, end - 2 - _FARTHEST), -1) if words[i] in LEADS), end)
        dropped[start : end + 1] = [True] * (end + 1 - start)
    readable = [word for word, gone in zip(words, dropped, strict=True) if not gone]
    unknown = [word for word, gone in zip(words, lost, strict=True) if gone]
    while readable and readable[-1] in FILLERS:
        last = readable.pop()
        if last in LEADS and not unknown:
            unknown.append(last)
    return readable, list(dict.fromkeys(unknown))


def _described(words: Sequence[str]) -> list[str]:
    found: list[str] = []
    i = 0
    while i < len(words):
        length, plain = next(((n, _COMMANDS[key]) for n in (3, 2, 1) if (key := tuple(words[i : i + n])) in _COMMANDS
                              and len(key) == n), (1, [words[i]]))
        found += plain
        i += length
        if length > 1 or plain != [words[i - 1]]:
            while plain and i < len(words) and words[i] in ("a", "an", "the", "his", "her", "their", "my"):
                i += 1
    last = len(found) - 1
    return ["with" if word == "in" and i < last and not _WORN & set(found[i + 1 : i + 3]) else _POSITIVE.get(word, word)
            for i, word in enumerate(found)]
