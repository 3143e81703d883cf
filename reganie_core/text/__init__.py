"""Text and pictures in one space: what StyleCLIP asks "is this picture more like that text?".

An encoder is anything with :class:`TextImageEncoder`'s methods. Two are built in: :class:`WordEncoder`, small, trained
with a domain, over a closed vocabulary; and :class:`ClipEncoder`, OpenAI's CLIP ViT-B/32 from a local folder.
"""

from __future__ import annotations

from .encoders import TextImageEncoder, WordEncoder, load_text_encoder, text_direction, text_embedding, text_pair
from .words import split_words

__all__ = ["TextImageEncoder", "WordEncoder", "load_text_encoder", "split_words", "text_direction", "text_embedding",
           "text_pair"]
