"""A small network that puts texts of a closed vocabulary and pictures into one space (in the manner of CLIP,
Radford et al. 2021), for a domain whose pictures can be described exactly.

The image tower is a plain convolutional network; the text tower embeds words and mixes them with a small transformer,
so that "light hair and dark skin" differs from its reverse. No normalisation over the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import InputError
from .attribute_net import ConvTrunk
from .layers import EqualLinear

#: Word numbers that are no words: filling, and the first token, whose output stands for the text.
PAD, START, FIRST_WORD = 0, 1, 2


@dataclass(frozen=True)
class TextImageNetConfig:
    """vocabulary: the known words, separated by spaces, in the order of their embeddings. channels: one per scale."""

    resolution: int
    channels: tuple[int, ...]
    vocabulary: str
    dim: int = 64
    hidden: int = 256
    text_width: int = 128
    text_layers: int = 2
    text_heads: int = 4
    max_words: int = 40

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        numbers = (self.resolution, self.dim, self.hidden, self.text_width, self.text_heads, self.max_words)
        if min(*numbers, *self.channels, len(self.channels)) < 1 or self.text_width % self.text_heads:
            raise InputError(f"A text-image network has sizes of at least 1 and a text width that its heads divide; "
                             f"found {self}.")
        if not 0 <= self.text_layers <= 16 or self.resolution >> len(self.channels) < 1:
            raise InputError(f"{len(self.channels)} scales and {self.text_layers} text layers make no network at "
                             f"{self.resolution} px.")
        if len(set(self.words)) != len(self.words) or not self.words:
            raise InputError("The vocabulary must list words, each once.")

    @property
    def words(self) -> tuple[str, ...]:
        """The vocabulary as a tuple; word i has number i + 2."""
        return tuple(self.vocabulary.split())


class TextBlock(nn.Module):
    """Pre-norm transformer layer: attention over the known words, then a small MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [n,L,width], mask [n,1,1,L] true where there is a word."""
        q, k, v = rearrange(self.qkv(self.norm1(x)), "n l (qkv head c) -> qkv n head l c", qkv=3, head=self.heads)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(rearrange(mixed, "n head l c -> n l (head c)"))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class TextImageNet(ConvTrunk):
    """`embed_images` [B,3,R,R] in [-1,1] and `embed_words` [n,L] word numbers -> unit vectors [.,dim]."""

    def __init__(self, config: TextImageNetConfig) -> None:
        super().__init__(config.resolution, config.channels)
        self.config, self.dim = config, config.dim
        self.fc = EqualLinear(self.flat_features, config.hidden, activation=True)
        self.image_out = EqualLinear(config.hidden, config.dim)
        self.words = nn.Embedding(len(config.words) + FIRST_WORD, config.text_width)
        self.positions = nn.Parameter(0.02 * torch.randn(config.max_words + 1, config.text_width))
        self.blocks = nn.ModuleList(TextBlock(config.text_width, config.text_heads) for _ in range(config.text_layers))
        self.norm = nn.LayerNorm(config.text_width)
        self.text_out = nn.Linear(config.text_width, config.dim)
        self.log_scale = nn.Parameter(torch.tensor(3.0))  # of the logits: exp(3) = 20

    def embed_images(self, images: Tensor) -> Tensor:
        """[B,3,R,R] in [-1,1] -> [B,dim], float32 unit vectors. Raises MismatchError for another size."""
        return F.normalize(self.image_out(self.fc(self.features(images)[-1].float().flatten(1))), dim=1)

    def embed_words(self, numbers: Tensor) -> Tensor:
        """[n,L] word numbers, START first, PAD after the last -> [n,dim], unit vectors."""
        x = self.words(numbers) + self.positions[:numbers.shape[1]]
        mask = (numbers != PAD)[:, None, None, :]
        for block in self.blocks:
            x = block(x, mask)
        return F.normalize(self.text_out(self.norm(x[:, 0])), dim=1)

    def numbers(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Lists of known words -> [n,L] word numbers on the network's device; words beyond the longest text fall off.

        Raises:
            KeyError: a word outside the vocabulary (the caller leaves those out and says so).
        """
        table = {word: i + FIRST_WORD for i, word in enumerate(self.config.words)}
        rows = [[START, *(table[word] for word in words)][:self.config.max_words + 1] for words in texts]
        length = max(len(row) for row in rows)
        padded = [row + [PAD] * (length - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.long).to(self.words.weight.device)
