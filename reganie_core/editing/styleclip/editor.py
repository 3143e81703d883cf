"""Text edits by global directions in StyleSpace, and edits by trained mappers, behind the editor protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...belonging import check_generator
from ...errors import InputError, MismatchError
from ...latents import Latent
from ...networks.mapper import STEP, StyleSpaceMapper
from ...text import TextImageEncoder, text_direction, text_pair
from ..protocol import Control, EditValue, TextEdit, change_of, check_edits
from .stylespace import METHODS, StyleStatistics

__all__ = ["MapperEditor", "StyleCLIPEditor"]

#: Directions of recent texts are kept.
REMEMBERED = 64


def add_offsets(latent: Latent, offsets: Mapping[int, Tensor]) -> Latent:
    """The latent with StyleSpace offsets ``{vector: [C] or [B,C]}`` added to those it has.

    Raises:
        MismatchError: it has offsets of other lengths, of another generator.
    """
    joined = dict(latent.offsets)
    for index, offset in offsets.items():
        change = offset.to(latent.ws).expand(latent.batch, -1)
        if index in joined and joined[index].shape != change.shape:
            raise MismatchError(
                f"The latent has StyleSpace offsets of {joined[index].shape[1]} channels for vector {index}, this "
                f"editor has {change.shape[1]}: they were made for another generator. Invert the picture again."
            )
        joined[index] = joined[index] + change if index in joined else change.clone()
    return replace(latent, offsets=joined)


class StyleCLIPEditor:
    """Type what the picture should show: a global direction in StyleSpace (StyleCLIP, section 6).

    The result carries StyleSpace offsets, so it is a :class:`Latent` (``edit_latent``); edits add up.

    Args:
        statistics: of the generator's style channels.
        encoder: the text-image encoder they were made with.
        method: "relevance" (published; strength is alpha, -10..10) or "least_squares" (strength 1 goes nearly half of
            the way to those of the generator's pictures that the text describes).
        neutral: the description that a target is compared with unless the edit says otherwise.
        strength, threshold: used where the edit gives none.

    Raises:
        InputError: a method that the statistics do not suffice for.
        MismatchError: encoder and statistics of different dimensions.
    """

    accepts_targets = False

    def __init__(self, statistics: StyleStatistics, encoder: TextImageEncoder, *, method: str = "relevance",
                 neutral: str = "a face", strength: float = 1.0, threshold: float = 0.1,
                 fingerprint: str | None = None, provenance: Mapping[str, Any] | None = None) -> None:
        if method not in statistics.methods:
            raise InputError(f"The method {repr(method)[:40]} is none of {', '.join(METHODS)}, or this file lacks "
                             f"what it needs; it has enough for {', '.join(statistics.methods)}.")
        if not isinstance(neutral, str) or not neutral.strip():
            raise InputError(f"The neutral description must be a text, found {repr(neutral)[:40]}.")
        if encoder.dim != statistics.directions.shape[1]:
            raise MismatchError(f"The channel directions were made with a text-image encoder of "
                                f"{statistics.directions.shape[1]} dimensions, this one has {encoder.dim}. Use the "
                                "encoder they were made with.")
        self.statistics, self.encoder, self.method = statistics, encoder, method
        self.neutral, self.threshold = neutral, float(threshold)
        limit = 10.0 if method == "relevance" else 3.0
        self.controls: tuple[Control, ...] = (Control(
            "text", "text", -limit, limit, "", float(strength),
            "Describe what the picture should show; the range is that of the strength."),)
        self.fingerprint, self.provenance = fingerprint, dict(provenance or {})
        self._directions: dict[tuple[str, str, float], Tensor] = {}

    @property
    def num_ws(self) -> int:
        """Style vectors of the W+ codes that the generator takes."""
        return 2 * (len(self.statistics.widths) + 1) // 3

    def to(self, device: torch.device | str) -> StyleCLIPEditor:
        """Move to a device; returns itself."""
        self.statistics.to(device)
        self.encoder.to(device)
        self._directions.clear()
        return self

    def unknown_words(self, text: str) -> list[str]:
        """Words that mean nothing to the text encoder."""
        return self.encoder.unknown_words(text)

    @torch.no_grad()
    def direction(self, target: str, neutral: str = "", threshold: float | None = None) -> Tensor:
        """``[S]``: change of all style channels per unit of strength.

        Warns (:class:`ReganieWarning`) about unknown words by name.

        Raises:
            InputError: empty or equal texts, or a threshold outside 0..1.
        """
        neutral = neutral.strip() or self.neutral
        threshold = self.threshold if threshold is None else float(threshold)
        if not 0.0 <= threshold <= 1.0:
            raise InputError(f"The threshold must lie in 0..1, found {threshold:g}.")
        key = (target, neutral, threshold)
        known = self._directions.get(key)
        if known is None or self.unknown_words(target) or self.unknown_words(neutral):  # the warning comes every time
            known = self._computed(target, neutral, threshold)
            if len(self._directions) >= REMEMBERED:
                self._directions.pop(next(iter(self._directions)))
            self._directions[key] = known
        return known

    def _computed(self, target: str, neutral: str, threshold: float) -> Tensor:
        if self.method == "relevance":
            return self.statistics.relevance(text_direction(self.encoder, target, neutral), threshold)
        ends = text_pair(self.encoder, target, neutral)
        return self.statistics.least_squares(*ends, threshold, self.encoder.logit_scale)

    def edit_text(self, latent: Latent, target: str, neutral: str = "", strength: float | None = None,
                  threshold: float | None = None) -> Latent:
        """The latent moved from ``neutral`` towards ``target``; strength 0 returns the same latent.

        Raises:
            InputError: texts, strength or threshold that cannot be used.
            MismatchError: the latent is of another generator.
        """
        strength = self.controls[0].default if strength is None else strength
        if not isinstance(strength, int | float) or not math.isfinite(strength):
            raise InputError(f"The strength must be a finite number, found {repr(strength)[:40]}.")
        check_generator(self, latent.generator, "text editor")
        if latent.num_ws != self.num_ws:
            raise MismatchError(f"The latent has {latent.num_ws} style vectors, this text editor is for a generator "
                                f"with {self.num_ws}.")
        direction = self.direction(target, neutral, threshold)
        if strength == 0:
            return latent
        return add_offsets(latent, self.statistics.offsets(float(strength) * direction))

    def edit_latent(self, latent: Latent, edits: Mapping[str, EditValue]) -> Latent:
        """``{"text": "an old woman"}`` or ``{"text": TextEdit(...)}`` -> latent with StyleSpace offsets."""
        for value in check_edits(self, edits).values():
            edit = value[1]
            assert isinstance(edit, TextEdit)
            latent = self.edit_text(latent, edit.target, edit.neutral, edit.strength, edit.threshold)
        return latent

    def edit(self, ws: Tensor, edits: Mapping[str, EditValue]) -> Tensor:
        """Codes alone cannot hold a StyleSpace edit: no edits return ``ws``, others raise InputError."""
        if check_edits(self, edits):
            raise InputError("A text edit moves StyleSpace channels, which W+ codes cannot hold; use edit_latent.")
        return ws


class MapperEditor:
    """One prompt, one trained network: w' = w + change * 0.1 M(w) (StyleCLIP, section 5); change 1 is as trained.

    StyleSpace mappers need the generator's style vectors, so ``edit_latent`` takes them from ``generator``.

    Args:
        mapper: a network of :mod:`reganie_core.networks.mapper`.
        name: of the control, usually the prompt in short.
        generator: only for StyleSpace mappers.
    """

    accepts_targets = False

    def __init__(self, mapper: nn.Module, name: str = "mapper", description: str = "",
                 fingerprint: str | None = None, provenance: Mapping[str, Any] | None = None,
                 generator: nn.Module | None = None) -> None:
        self.mapper, self.generator = mapper, generator
        self.controls: tuple[Control, ...] = (Control(name, "numeric", -3.0, 3.0, "", 0.0, description),)
        self.fingerprint, self.provenance = fingerprint, dict(provenance or {})

    @property
    def in_stylespace(self) -> bool:
        """Whether it moves StyleSpace channels."""
        return isinstance(self.mapper, StyleSpaceMapper)

    def to(self, device: torch.device | str) -> MapperEditor:
        """Move to a device; returns itself."""
        self.mapper.to(device)
        return self

    def residual(self, ws: Tensor) -> Tensor:
        """0.1 M(w) ``[B,num_ws,w_dim]``.

        Raises:
            MismatchError: codes of another length than the mapper's.
        """
        if ws.shape[-1] != self.mapper.config.w_dim:
            raise MismatchError(f"The latent's vectors have {ws.shape[-1]} numbers, the mapper was trained for "
                                f"{self.mapper.config.w_dim}: they belong to different generators.")
        return STEP * self.mapper(ws)

    def edit(self, ws: Tensor, edits: Mapping[str, EditValue]) -> Tensor:
        """``ws [B,num_ws,w_dim]`` -> edited codes; no edits, or a change of 0, return them unchanged."""
        amount = self._amount(edits, ws)
        if amount is None:
            return ws
        if self.in_stylespace:
            raise InputError("This mapper moves StyleSpace channels, which W+ codes cannot hold; use edit_latent.")
        return ws + amount * self.residual(ws)

    def edit_latent(self, latent: Latent, edits: Mapping[str, EditValue]) -> Latent:
        """The latent with edited codes, or with StyleSpace offsets."""
        check_generator(self, latent.generator, "mapper")
        amount = self._amount(edits, latent.ws)
        if amount is None:
            return latent
        if not self.in_stylespace:
            return latent.with_ws(self.edit(latent.ws, edits))
        if self.generator is None:
            raise InputError("A StyleSpace mapper needs the generator: set editor.generator first.")
        styles = self.generator.synthesis.styles(latent.ws)
        factor = amount.reshape(-1, 1) if isinstance(amount, Tensor) else amount
        return add_offsets(latent, {i: factor * STEP * change for i, change in self.mapper(styles).items()})

    def _amount(self, edits: Mapping[str, EditValue], ws: Tensor) -> Tensor | float | None:
        """The change as a number or ``[B,1,1]``; None where nothing is asked for."""
        found = list(check_edits(self, edits).values())
        if not found:
            return None
        control, value = found[0]
        change = change_of(control.name, value, ws)
        return change if isinstance(change, Tensor) or change else None
