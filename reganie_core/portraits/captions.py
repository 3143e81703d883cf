"""Captions of portraits: what can truthfully be said about one, in varied words, and which portraits it is true of.

Every phrase has bounds: the values of the renderer's parameters for which it is true. A caption is a conjunction of
phrases, so it is known exactly which other portraits it describes too. Phrases overlap ("smiling", "laughing",
"not smiling") as they do in speech; a quality that lies between two words may be called either or neither.

What words mean here, where it is not obvious:

- left and right are sides of the picture, for the look and for the light;
- the renderer draws no sexes. "man" says adult; "woman" says adult without a beard; "boy" and "girl" say child;
- grey and white hair mean age, because the renderer greys hair with age and with nothing else.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .parameters import Portraits

__all__ = ["NOUNS", "PARAMETERS", "PHRASES", "PROMPTS", "Caption", "Phrase", "Prompt", "captions", "matches", "truth",
           "vocabulary"]

INF = float("inf")
Bounds = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Phrase:
    """One thing that may be said. `group`: one phrase of each is in a caption. Words by where they stand:

    `adjectives` before the noun, `clauses` after it, `hair` before "hair", `tags` alone ("old, glasses, smile").
    """

    group: str
    bounds: Bounds
    adjectives: tuple[str, ...] = ()
    clauses: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    hair: tuple[str, ...] = ()


def _above(name: str, value: float) -> Bounds:
    return {name: (value, INF)}


def _below(name: str, value: float) -> Bounds:
    return {name: (-INF, value)}


def _within(name: str, low: float, high: float) -> Bounds:
    return {name: (low, high)}


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


def _phrase(group: str, bounds: Bounds, adjectives: str = "", clauses: str = "", tags: str = "",
            hair: str = "") -> Phrase:
    return Phrase(group, bounds, _list(adjectives), _list(clauses), _list(tags), _list(hair))


_AGE = (
    _phrase("age", _below("age", -0.5), "very young|little", "of a young age", "child|very young|childhood"),
    _phrase("age", _below("age", -0.15), "young|youthful", "who is young|who looks young", "young|youth|young person"),
    _phrase("age", _within("age", -0.25, 0.35), "adult|grown-up", "", "adult"),
    _phrase("age", _within("age", 0.0, 0.55), "middle-aged", "", "middle-aged|middle age"),
    _phrase("age", _above("age", 0.45), "old|elderly|aged|senior|old|wrinkled",
            "who is old|with wrinkles|with grey hair|with gray hair|who looks old|with white hair",
            "old|elderly|old age|wrinkles|grey hair|gray hair|old person"),
    _phrase("age", _above("age", 0.75), "very old|ancient", "with many wrinkles|who is very old", "very old"),
)
_SMILE = (
    _phrase("smile", _above("smile", 0.3), "smiling|happy|cheerful|smiling|joyful",
            "with a smile|who is smiling|who smiles|with a happy expression", "smile|smiling|happy|happiness"),
    _phrase("smile", _above("smile", 0.65), "laughing|very happy|broadly smiling|grinning",
            "with a broad smile|with a big smile|showing teeth|with an open mouth|with a big grin|who is laughing",
            "big smile|laughing|broad smile|laugh|grin"),
    _phrase("smile", _within("smile", -0.25, 0.2), "serious|calm|neutral",
            "with a neutral expression|with a calm mouth", "neutral expression|serious|calm"),
    _phrase("smile", _below("smile", 0.05), "unsmiling", "not smiling|without a smile|who does not smile",
            "no smile|not smiling"),
    _phrase("smile", _below("smile", -0.3), "sad|unhappy|frowning|gloomy|sad",
            "with a sad expression|who is sad|with a sad mouth|with a frown", "sad|unhappy|frown|sadness"),
    _phrase("smile", _below("smile", -0.65), "very sad|miserable", "with a very sad expression", "very sad"),
)
_GLASSES = (
    _phrase("glasses", _above("glasses", 0.5), "bespectacled",
            "with glasses|wearing glasses|with eyeglasses|wearing spectacles|in glasses|who wears glasses",
            "glasses|eyeglasses|spectacles|glasses on|wearing glasses"),
    _phrase("glasses", _below("glasses", 0.5), "", "without glasses|with no glasses|not wearing glasses",
            "no glasses|without glasses"),
)
_EYES = (
    _phrase("eyes", _below("eye_openness", 0.25), "sleeping", "with closed eyes|with eyes closed|with shut eyes",
            "closed eyes|eyes closed|eyes shut|sleeping"),
    _phrase("eyes", _within("eye_openness", 0.1, 0.55), "sleepy|tired|squinting",
            "with half-closed eyes|with narrow eyes", "half-closed eyes|sleepy|narrow eyes"),
    _phrase("eyes", _above("eye_openness", 0.65), "awake", "with open eyes|with eyes open", "open eyes|eyes open"),
    _phrase("eyes", _above("eye_openness", 0.93), "wide-eyed|surprised", "with wide open eyes|with eyes wide open",
            "wide open eyes|wide eyes|surprised"),
)
_BEARD = (
    _phrase("beard", _above("beard", 0.3), "bearded", "with a beard|who has a beard|wearing a beard", "beard|bearded"),
    _phrase("beard", _above("beard", 0.65), "heavily bearded",
            "with a full beard|with a thick beard|with a bushy beard|with a dense beard", "full beard|thick beard"),
    _phrase("beard", _within("beard", 0.2, 0.5), "unshaven", "with stubble|with a light beard|with a thin beard",
            "stubble|unshaven"),
    _phrase("beard", _below("beard", 0.05), "clean-shaven|beardless|shaved",
            "without a beard|with no beard|with a shaved chin", "no beard|clean-shaven|without a beard"),
)
_HAIR = (
    _phrase("hair length", _below("hair_length", 0.3), "short-haired", hair="short"),
    _phrase("hair length", _below("hair_length", 0.12), "", hair="very short|cropped"),
    _phrase("hair length", _within("hair_length", 0.38, 0.62), "", hair="medium-length|chin-length|medium"),
    _phrase("hair length", _above("hair_length", 0.62), "long-haired", hair="long"),
    _phrase("hair length", _above("hair_length", 0.85), "", hair="very long"),
    _phrase("hair colour", _below("hair_lightness", 0.15), "black-haired", hair="black|very dark"),
    _phrase("hair colour", _below("hair_lightness", 0.33), "dark-haired", hair="dark"),
    _phrase("hair colour", _within("hair_lightness", 0.25, 0.6), "brown-haired|brunette", hair="brown"),
    _phrase("hair colour", _above("hair_lightness", 0.6), "fair-haired|light-haired", hair="light|fair"),
    _phrase("hair colour", _above("hair_lightness", 0.7), "blond|blonde|blond-haired", hair="blond|blonde|golden"),
    _phrase("hair colour", {"hair_warmth": (0.45, INF), "hair_lightness": (0.2, 0.85)}, "red-haired|redheaded",
            hair="red|ginger"),
    _phrase("hair curl", _above("hair_curl", 0.65), "curly-haired", hair="curly|wavy"),
    _phrase("hair curl", _below("hair_curl", 0.3), "", hair="straight|smooth"),
    _phrase("bangs", _above("bangs", 0.4), "", "with bangs|with a fringe", "bangs|fringe"),
)
_SKIN = (
    _phrase("skin", _below("skin_tone", 0.3), "light-skinned|pale|fair-skinned", "with light skin|with pale skin|"
            "with fair skin", "light skin|pale|fair skin|pale skin"),
    _phrase("skin", _within("skin_tone", 0.35, 0.65), "tanned", "with tanned skin|with medium skin|with tan skin",
            "tanned skin|medium skin|tan"),
    _phrase("skin", _above("skin_tone", 0.62), "dark-skinned|brown-skinned", "with dark skin|with brown skin",
            "dark skin|brown skin"),
    _phrase("skin", _above("skin_tone", 0.85), "", "with very dark skin", "very dark skin"),
)
_LOOK = (
    _phrase("yaw", _above("yaw", 9.0), "", "looking right|looking to the right|facing right|turned to the right|"
            "turning right|who looks right", "looking right|facing right|turned right|right profile"),
    _phrase("yaw", _below("yaw", -9.0), "", "looking left|looking to the left|facing left|turned to the left|"
            "turning left|who looks left", "looking left|facing left|turned left|left profile"),
    _phrase("yaw", _within("yaw", -6.0, 6.0), "", "looking straight ahead|facing forward|facing the camera|"
            "looking at the camera|seen from the front", "frontal|front view|facing forward|facing the camera"),
    _phrase("pitch", _above("pitch", 4.0), "", "looking up|looking upward|looking upwards|with a raised head",
            "looking up|head up"),
    _phrase("pitch", _below("pitch", -4.0), "", "looking down|looking downward|looking downwards|with a lowered head",
            "looking down|head down"),
)
_LIGHT = (
    _phrase("light", _above("light_azimuth", 15.0), "", "lit from the right|with light from the right|"
            "illuminated from the right", "light from the right|lit from the right"),
    _phrase("light", _below("light_azimuth", -15.0), "", "lit from the left|with light from the left|"
            "illuminated from the left", "light from the left|lit from the left"),
    _phrase("light", _within("light_azimuth", -12.0, 12.0), "", "lit from the front|with frontal light|"
            "with light from the front", "frontal light|light from the front"),
    _phrase("light height", _above("light_elevation", 35.0), "", "lit from above|with light from above|"
            "with a high light", "light from above|high light"),
    _phrase("light height", _below("light_elevation", 18.0), "", "with a low light|lit from a low side", "low light"),
)
PHRASES: tuple[Phrase, ...] = (*_AGE, *_SMILE, *_GLASSES, *_EYES, *_BEARD, *_HAIR, *_SKIN, *_LOOK, *_LIGHT)
#: Nouns with what they say; see the module's docstring.
NOUNS: tuple[tuple[str, Bounds], ...] = (
    *((noun, {}) for noun in _list("person|face|portrait|someone|human|head|individual")),
    *((noun, _above("age", -0.45)) for noun in _list("man|gentleman|guy")),
    *((noun, {"age": (-0.45, INF), "beard": (-INF, 0.05)}) for noun in _list("woman|lady")),
    *((noun, _below("age", -0.45)) for noun in _list("child|kid|boy|girl")),
)
#: Parameters that captions speak of; the columns of bounds and of values.
PARAMETERS: tuple[str, ...] = tuple(sorted({n for p in PHRASES for n in p.bounds} | {n for _, b in NOUNS for n in b}))
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(phrase.group for phrase in PHRASES))
_PREFIXES = _list("|a photo of|a picture of|a portrait of|an image of|a photograph of|the face of|a drawing of|"
                  "this is|here is|there is")
_NEUTRAL = {"person", "face", "portrait", "someone", "human", "head", "individual"}


@dataclass(frozen=True)
class Caption:
    """A text and the parameter values it is true for."""

    text: str
    bounds: Bounds = field(default_factory=dict)


def vocabulary() -> tuple[str, ...]:
    """Every word that a caption may contain, sorted."""
    texts: list[str] = [*_PREFIXES, "a an the and who has is with in of portrait photo hair not no"]
    for phrase in PHRASES:
        texts += [*phrase.adjectives, *phrase.clauses, *phrase.tags, *phrase.hair]
    texts += [noun for noun, _ in NOUNS]
    return tuple(sorted(set(re.findall(r"\w+", " ".join(texts).lower()))))


def truth(values: Mapping[str, Tensor], bounds: Sequence[Bounds]) -> Tensor:
    """[len(bounds), n] bool: which portraits fulfil which bounds; `values` maps PARAMETERS to [n]."""
    table = torch.stack([values[name] for name in PARAMETERS])                                     # [P,n]
    limits = torch.tensor([[b.get(name, (-INF, INF)) for name in PARAMETERS] for b in bounds]).to(table)  # [k,P,2]
    return ((table[None] >= limits[..., :1]) & (table[None] <= limits[..., 1:])).all(dim=1)


def matches(said: Sequence[Caption], values: Mapping[str, Tensor]) -> Tensor:
    """[captions, n] bool on the values' device: which portraits each caption is true of."""
    return truth(values, [caption.bounds for caption in said])


def captions(portraits: Portraits, seed: int, most: int = 5) -> list[Caption]:
    """One true caption for each portrait, about 0 to `most` qualities; the same for the same seed."""
    values = {name: portraits.values[name].cpu() for name in PARAMETERS}
    return captions_of(values, seed, most)


def captions_of(values: Mapping[str, Tensor], seed: int, most: int = 5) -> list[Caption]:
    """:func:`captions` from parameter values [n] (PARAMETERS)."""
    source = random.Random(seed)
    spoken = truth(values, [p.bounds for p in PHRASES]).t().tolist()
    nouns = truth(values, [bounds for _, bounds in NOUNS]).t().tolist()
    return [_caption(source, row, names, most) for row, names in zip(spoken, nouns, strict=True)]


def _caption(source: random.Random, spoken: list[bool], named: list[bool], most: int) -> Caption:
    count = source.choices(range(most + 1), weights=[1, 8, *[6] * (most - 1)][:most + 1])[0]
    chosen = []
    for group in source.sample(GROUPS, min(count, len(GROUPS))):
        fitting = [p for p, true in zip(PHRASES, spoken, strict=True) if true and p.group == group]
        if fitting:
            chosen.append(source.choice(fitting))
    bounds = [phrase.bounds for phrase in chosen]
    if chosen and source.random() < 0.3:
        return Caption(_tags(source, chosen), _intersection(bounds))
    fitting_nouns = [noun for noun, true in zip(NOUNS, named, strict=True) if true]
    neutral = [noun for noun in fitting_nouns if noun[0] in _NEUTRAL]
    # Without anything else to say, every second caption still says something by its noun.
    noun, meaning = source.choice(neutral if source.random() < 0.5 else fitting_nouns)
    return Caption(_sentence(source, chosen, noun), _intersection([*bounds, meaning]))


def _intersection(all_bounds: Iterable[Bounds]) -> dict[str, tuple[float, float]]:
    joined: dict[str, tuple[float, float]] = {}
    for bounds in all_bounds:
        for name, (low, high) in bounds.items():
            a, b = joined.get(name, (-INF, INF))
            joined[name] = (max(a, low), min(b, high))
    return joined


def _tags(source: random.Random, chosen: Sequence[Phrase]) -> str:
    words = [source.choice(p.tags) if p.tags else f"{source.choice(p.hair)} hair" if p.hair else
             source.choice(p.clauses or p.adjectives) for p in chosen]
    return ", ".join(words)


def _sentence(source: random.Random, chosen: Sequence[Phrase], noun: str) -> str:
    before: list[str] = []
    after: list[str] = []
    hair: list[str] = []
    for phrase in chosen:
        if phrase.adjectives and (not (phrase.clauses or phrase.hair) or source.random() < 0.5):
            before.append(source.choice(phrase.adjectives))
        elif phrase.hair:
            hair.append(source.choice(phrase.hair))
        else:
            after.append(source.choice(phrase.clauses or phrase.adjectives))
    if hair:
        after.insert(source.randrange(len(after) + 1), f"with {' '.join(hair)} hair")
    words = " ".join([*before, noun])
    joined = source.choice((" ", " and ", ", ")).join(after)
    article = "" if noun == "someone" and not before else source.choice(("a ", "the ", "", "a ", "an "))
    return " ".join(f"{source.choice(_PREFIXES)} {article}{words} {joined}".split())


@dataclass(frozen=True)
class Prompt:
    """An instruction for tables: what is typed, what it is compared with, and which attributes it should move where.

    `moves`: attribute -> +1 or -1. `also`: attributes that the words do not name but may follow (a child has no beard).
    """

    target: str
    moves: Mapping[str, int]
    neutral: str = "a person"
    also: tuple[str, ...] = ()


#: Twenty prompts over the vocabulary, for tables.
PROMPTS: tuple[Prompt, ...] = (
    Prompt("a smiling person", {"smile": 1}),
    Prompt("a sad person", {"smile": -1}),
    Prompt("an old person", {"age": 1}),
    Prompt("a child", {"age": -1}, also=("beard",)),
    Prompt("a person with glasses", {"glasses": 1}),
    Prompt("a person without glasses", {"glasses": -1}),
    Prompt("a person with closed eyes", {"eye_openness": -1}),
    Prompt("a person with wide open eyes", {"eye_openness": 1}),
    Prompt("a person with a beard", {"beard": 1}),
    Prompt("a clean-shaven person", {"beard": -1}),
    Prompt("a person with long hair", {"hair_length": 1}),
    Prompt("a person with short hair", {"hair_length": -1}),
    Prompt("a person with blond hair", {"hair_lightness": 1}),
    Prompt("a person with black hair", {"hair_lightness": -1}),
    Prompt("a person with dark skin", {"skin_tone": 1}),
    Prompt("a person with light skin", {"skin_tone": -1}),
    Prompt("a person looking to the left", {"yaw": -1}),
    Prompt("a person looking up", {"pitch": 1}),
    Prompt("a person lit from the right", {"light_azimuth": 1}),
    Prompt("a smiling old woman with glasses", {"smile": 1, "age": 1, "glasses": 1}, also=("beard",)),
)
