"""OpenAI's CLIP ViT-B/32 (Radford et al. 2021) from a local folder, through the ``transformers`` package.

Only safetensors are read; the original TorchScript archive is not, because loading it runs what it holds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CorruptCheckpointError, InputError, NotFoundError
from .words import split_words

__all__ = ["CLIP_TEMPLATES", "ClipEncoder"]

FILES = ("model.safetensors", "vocab.json", "merges.txt")
SOURCE = "openai/clip-vit-base-patch32 on the Hugging Face hub"
SIZE = 224
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
_A = ("bad photo|cropped photo|photo|close-up photo|bright photo|low resolution photo|blurry photo|good photo|"
      "pixelated photo|jpeg corrupted photo|black and white photo|dark photo|rendering|sculpture|drawing|painting|"
      "doodle|sketch|rendition|tattoo").split("|")
_PHOTO_OF = "hard to see|clean|large|nice|weird|cool|small|dirty".split("|")
#: The 79 sentences that StyleCLIP averages a text over: CLIP's 80 for ImageNet without "a photo of many {}."
CLIP_TEMPLATES: tuple[str, ...] = (
    *(f"a {what} of {article} {{}}." for what in _A for article in ("a", "the")),
    *(f"a photo of {article} {how} {{}}." for how in _PHOTO_OF for article in ("a", "the")),
    *(f"{what} of {article} {{}}." for what in ("graffiti", "art", "itap") for article in ("a", "the")),
    *(f"{article} {kind} {{}}." for kind in ("embroidered", "plastic", "origami", "toy", "cartoon", "plushie")
      for article in ("a", "the")),
    "a {} in a video game.", "the {} in a video game.", "a photo of my {}.", "itap of my {}.", "a photo of one {}.",
)


class ClipEncoder:
    """CLIP as a :class:`reganie_core.text.TextImageEncoder`: any words, 512 dimensions, 224 px, about 600 MB.

    Args:
        folder: holds ``model.safetensors``, ``vocab.json`` and ``merges.txt``.

    Raises:
        NotFoundError: files are missing (the message says which, where they come from and where they go), or the
            ``transformers`` package is.
        CorruptCheckpointError: files that make no CLIP.
    """

    templates = CLIP_TEMPLATES

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        folder = Path(folder)
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise NotFoundError(
                f"The folder {folder} lacks {', '.join(missing)} of CLIP ViT-B/32. Get {', '.join(FILES)} from "
                f"{SOURCE} and put them into that folder."
            )
        transformers = _transformers()
        self.model, self.tokenizer = _load(transformers, folder)
        self.fingerprint: str | None = _fingerprint(self.model)
        self.dim = int(self.model.config.projection_dim)
        self.logit_scale = float(self.model.logit_scale.exp())
        self.length = int(self.model.config.text_config.max_position_embeddings)
        self.size = int(self.model.config.vision_config.image_size)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device

    def unknown_words(self, text: str) -> list[str]:
        """Always empty: CLIP's byte pairs spell any word."""
        split_words(text)
        return []

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> ``[n,dim]`` unit vectors; a text is cut at 77 tokens. Raises InputError for no texts."""
        if isinstance(texts, str) or not texts:
            raise InputError("Give a list of at least one text.")
        for text in texts:
            split_words(text)
        tokens = self.tokenizer(list(texts), padding="max_length", truncation=True, max_length=self.length,
                                return_tensors="pt")
        output = self.model.text_model(input_ids=tokens["input_ids"].to(self.device),
                                       attention_mask=tokens["attention_mask"].to(self.device))
        return F.normalize(self.model.text_projection(output.pooler_output), dim=1)

    def encode_image(self, images: Tensor) -> Tensor:
        """``[B,3,H,W]`` in [-1,1] -> ``[B,dim]`` unit vectors, after CLIP's own preprocessing; differentiable.

        Bicubic (antialiased) to 224 pixels on the shorter side, the centre square, CLIP's mean and deviation.
        """
        return self.encode_pixels(preprocess(images, self.size))

    def encode_published(self, images: Tensor) -> Tensor:
        """``[B,3,R,R]`` in [-1,1] -> ``[B,dim]``, shown as StyleCLIP's optimisation and mappers show pictures to CLIP.

        Nearest upsampling by 7, averaging down to 224 pixels, and *no* normalisation by CLIP's mean and deviation.
        """
        big = F.interpolate(images, scale_factor=7, mode="nearest")
        return self.encode_pixels(F.avg_pool2d(big, images.shape[-1] // 32))

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Already prepared ``[B,3,224,224]`` -> ``[B,dim]`` unit vectors."""
        output = self.model.vision_model(pixel_values=pixels)
        return F.normalize(self.model.visual_projection(output.pooler_output), dim=1)

    def to(self, device: torch.device | str) -> ClipEncoder:
        """Move to a device; returns itself."""
        self.model.to(device)
        return self


def preprocess(images: Tensor, size: int = SIZE) -> Tensor:
    """``[B,3,H,W]`` in [-1,1] -> CLIP's input ``[B,3,size,size]`` (its Resize, CenterCrop and Normalize)."""
    height, width = images.shape[-2:]
    short = min(height, width)
    if short != size:
        shape = (round(height * size / short), round(width * size / short))
        images = F.interpolate(images, shape, mode="bicubic", align_corners=False, antialias=True)
    top, left = (images.shape[-2] - size) // 2, (images.shape[-1] - size) // 2
    images = images[..., top:top + size, left:left + size].clamp(-1.0, 1.0)
    mean, std = (torch.tensor(v, device=images.device, dtype=images.dtype)[:, None, None] for v in (MEAN, STD))
    return ((images + 1.0) * 0.5 - mean) / std


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise NotFoundError("CLIP is read through the Python package transformers, which is not installed here (every "
                            "ComfyUI has it). Install it with: pip install transformers.") from error
    return transformers


def _load(transformers: Any, folder: Path) -> tuple[Any, Any]:
    """The model in evaluation mode and its tokeniser; nothing is looked for outside the folder."""
    # ViT-B/32 is the default configuration, so config.json is not needed.
    config = {} if (folder / "config.json").is_file() else {"config": transformers.CLIPConfig()}
    try:
        model, report = transformers.CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True,
                                                               output_loading_info=True, **config)
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise CorruptCheckpointError(f"The files in {folder} make no CLIP: {str(error)[:200]}. Get them again from "
                                     f"{SOURCE}.") from error
    missing = sorted(report.get("missing_keys", ()))
    if missing:  # transformers would fill them with random numbers
        raise CorruptCheckpointError(f"{folder / FILES[0]} lacks {len(missing)} tensors of CLIP ({missing[0]}). Get it "
                                     f"again from {SOURCE}.")
    return model.float().eval().requires_grad_(False), tokenizer


def _fingerprint(model: torch.nn.Module) -> str:
    from ..checkpoints import fingerprint

    return fingerprint(model.state_dict())
