"""The text-image encoder interface, the packaged kind of encoder, and directions between two texts."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..errors import InputError, ReganieWarning
from ..images import resize
from ..networks.text_image import TextImageNet
from .words import COMMANDS, FILLERS, readable_words, split_words

__all__ = ["TextImageEncoder", "WordEncoder", "load_text_encoder", "text_direction", "text_embedding",
           "text_pair"]


@runtime_checkable
class TextImageEncoder(Protocol):
    """Unit vectors for texts and pictures; the closer a text is to a picture, the better it describes it.

    Attributes:
        dim: length of the vectors.
        templates: sentences with ``{}`` over which a text is averaged.
        logit_scale: what dot products are multiplied with, as in training, before a softmax says which fits best.
        fingerprint: names the weights; None when unknown.
    """

    dim: int
    templates: tuple[str, ...]
    logit_scale: float
    fingerprint: str | None

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """n texts -> ``[n,dim]`` unit vectors; words it does not know are named in a :class:`ReganieWarning`."""
        ...

    def encode_image(self, images: Tensor) -> Tensor:
        """``[B,3,H,W]`` in [-1,1] -> ``[B,dim]`` unit vectors, differentiable; resizes by itself."""
        ...

    def unknown_words(self, text: str) -> list[str]:
        """Words of the text that mean nothing to this encoder, in order."""
        ...

    def to(self, device: torch.device | str) -> TextImageEncoder:
        """Move to a device; returns itself."""
        ...


class WordEncoder:
    """A :class:`TextImageNet` with its closed vocabulary.

    Words that say nothing here, because they are not in the vocabulary or lead to nothing that is, are left out of the
    text and named in a warning, with the nearest known word (see :func:`words.readable_words`).
    """

    templates: tuple[str, ...] = ("{}", "a portrait of {}", "a picture of {}", "a photo of {}", "the face of {}")

    def __init__(self, net: TextImageNet, fingerprint: str | None = None) -> None:
        self.net = net
        self.dim, self.resolution, self.fingerprint = net.dim, net.resolution, fingerprint
        self.logit_scale = float(net.log_scale.clamp(max=4.6).exp())
        self._known = frozenset(net.config.words)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every known word."""
        return self.net.config.words

    def unknown_words(self, text: str) -> list[str]:
        """Words of ``text`` that say nothing here, each once, in order."""
        return readable_words(split_words(text), self._known)[1]

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> ``[n,dim]`` unit vectors. Warns (:class:`ReganieWarning`) about unknown words by name.

        Raises:
            InputError: no texts, or one that is too long.
        """
        if isinstance(texts, str) or not texts:
            raise InputError("Give a list of at least one text.")
        read = [readable_words(split_words(text), self._known) for text in texts]
        unknown = list(dict.fromkeys(word for _, lost in read for word in lost))
        if unknown:
            warnings.warn(self._sentence(unknown), ReganieWarning, stacklevel=2)
        return self.net.embed_words(self.net.numbers([words for words, _ in read]))

    def _sentence(self, unknown: Sequence[str]) -> str:
        """For example: Unknown words are ignored: glases (did you mean glasses?), xyz."""
        named = []
        for word in unknown[:10]:
            near = [] if word in self._known else difflib.get_close_matches(word, self.vocabulary, n=1, cutoff=0.75)
            named.append(repr(word[:40])[1:-1] + (f" (did you mean {near[0]}?)" if near else ""))
        return f"Words that this text encoder does not know are ignored: {', '.join(named)}."

    def encode_image(self, images: Tensor) -> Tensor:
        """``[B,3,H,W]`` in [-1,1] -> ``[B,dim]`` unit vectors; differentiable."""
        return self.net.embed_images(resize(images, self.resolution, "bilinear"))

    def to(self, device: torch.device | str) -> WordEncoder:
        """Move to a device; returns itself."""
        self.net.to(device)
        return self


def load_text_encoder(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> TextImageEncoder:
    """A text-image encoder: one of our files (kind "text_image"), or a folder with OpenAI's CLIP ViT-B/32.

    Raises:
        NotFoundError: no such file, or a folder that lacks CLIP's files (the message names them).
        CheckpointError: a file that is damaged or of another kind.
    """
    if Path(path).is_dir():
        from .clip import ClipEncoder

        return ClipEncoder(path).to(device)
    from ..checkpoints import load_text_image

    net = load_text_image(path, device)
    return WordEncoder(net, getattr(net, "fingerprint", None))


def unit(x: Tensor) -> Tensor:
    """x / |x| over the last axis; zero stays zero."""
    return x / x.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)


def average_text(embeddings: Tensor) -> Tensor:
    """Embeddings over templates ``[...,T,dim]`` -> ``[...,dim]``: the unit mean of unit vectors (StyleCLIP)."""
    return unit(unit(embeddings).mean(dim=-2))


@torch.no_grad()
def text_embedding(encoder: TextImageEncoder, text: str) -> Tensor:
    """One text, averaged over the encoder's templates -> ``[dim]``, a unit vector.

    Raises:
        InputError: an empty text, or one of which the encoder knows no word that describes anything.
    """
    if not split_words(text):
        raise InputError("The description is empty; write for example: an old woman with glasses.")
    unknown = encoder.unknown_words(text)
    if not set(split_words(text)) - FILLERS - set(unknown) - COMMANDS:
        named = f" ({', '.join(unknown[:10])})" if unknown else ""
        raise InputError(f"{repr(text[:80])} describes nothing that this text encoder knows{named}. Write what "
                         "the picture should show, for example: an old woman with glasses. A text cannot change what "
                         "the generator cannot express, such as a hat; Rectify's strength 0 leaves it out.")
    filled = [template.replace("{}", text) for template in encoder.templates]
    return average_text(encoder.encode_text(filled))


def text_pair(encoder: TextImageEncoder, target: str, neutral: str) -> tuple[Tensor, Tensor]:
    """The unit embeddings ``[dim]`` of two texts that say different things.

    Raises:
        InputError: an empty text, or two texts with the same meaning to this encoder.
    """
    ends = text_embedding(encoder, target), text_embedding(encoder, neutral)
    if float((ends[0] - ends[1]).norm()) < 1e-4:
        raise InputError(f"{repr(target[:80])} and {repr(neutral[:80])} mean the same to this text encoder; change "
                         "one of them.")
    return ends


def text_direction(encoder: TextImageEncoder, target: str, neutral: str) -> Tensor:
    """unit(mean-text(target) - mean-text(neutral)) ``[dim]``, StyleCLIP's Delta t. Raises as :func:`text_pair`."""
    ends = text_pair(encoder, target, neutral)
    return unit(ends[0] - ends[1])
