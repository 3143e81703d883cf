"""What every experiment needs: the domain, the networks that measure, and what is measured on a picture."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import reganie_core as rc
from reganie_core.errors import NotFoundError
from reganie_core.images import area_downsample, resize
from reganie_core.latents import synthesize
from reganie_core.metrics import l2, ms_ssim, scales_for

from ..frozen import Features, load_attributes, load_identity
from .chunks import Chunks
from .local import ARCFACE, CURRICULARFACE, Local
from .methods import Method, repaint, spread, subset
from .people import People, Photos

L2, PERCEPTUAL, IDENTITY, MS_SSIM = "L2", "perceptual distance", "identity", "MS-SSIM"
SIMILARITIES = frozenset({IDENTITY, MS_SSIM, ARCFACE, CURRICULARFACE})  # 1 is perfect; the others are distances


@dataclass
class Bench:
    """One invocation. `attributes` reads attributes and compares features, `identity` embeds persons; tables only.

    Without it (real faces), the `local` networks take its place where they can.
    """

    domain: rc.Domain
    attributes: Features | None
    identity: nn.Module | None
    chunks: Chunks
    seed: int
    validation: bool = False
    device: str = "cpu"
    chunk: int = 50
    methods: tuple[Method, ...] = ()  # other inversion methods, rows beside ours
    rectifiers: Mapping[str, nn.Module] = field(default_factory=dict)  # other rectifiers, rows beside ours
    slow_count: int = 50  # pictures for methods that take minutes
    local: Local = field(default_factory=Local)  # LPIPS, ArcFace ... from files of the user
    marks: Mapping[str, Any] = field(default_factory=dict)  # what names the methods' and rectifiers' files
    photo: int = 0  # pixels of the photos, where they are larger than what the generator makes

    @property
    def batch(self) -> int:
        """Pictures in a network at a time: small ones stay in a CPU's cache."""
        return 8 if torch.device(self.device).type == "cpu" else 64

    @property
    def resolution(self) -> int:
        """At which portraits are rendered: the generator's, or the photos'."""
        return max(self.photo, self.domain.generator.resolution)

    @property
    def size(self) -> int:
        """At which pictures are compared: the photos', or the rectifier's."""
        if self.photo:
            return self.photo
        return self.domain.rectifier.resolution if self.domain.rectifier is not None else self.resolution

    def render(self, p: Any, masks: bool = False) -> Any:
        """Portraits at the generator's resolution on the device."""
        return rc.portraits.render(p.to(self.device), self.resolution, masks=masks)

    def pictures(self, people: People | Photos, rows: Any) -> Tensor:
        """X0 of some people: rendered, or read from files."""
        if isinstance(people, Photos):
            return people.read(rows, self.resolution).to(self.device)
        return self.render(people.parameters[rows])

    def slow_rows(self, rows: range, total: int) -> list[int]:
        """Which pictures of a piece slow methods are run on, counted from the piece's first."""
        chosen = set(subset(total, self.slow_count))
        return [i for i, row in enumerate(rows) if row in chosen]

    def others(self, images: Tensor, total: int, rows: range, edit: Any = None) -> dict[str, tuple[Tensor, Tensor]]:
        """{method: (edited inversion, inversion)} at the size of comparison; NaN where a slow one was not run.

        `edit(latent, chosen rows)` gives the edited latent; without it both pictures are the inversion.
        """
        out = {}
        for method in self.methods:
            chosen = self.slow_rows(rows, total) if method.slow else list(range(len(images)))
            if not chosen:
                nothing = self.small(images) * torch.nan
                out[method.label] = nothing, nothing
                continue
            found = method(self.domain.generator, images[chosen], self.batch)
            plain = self.small(found.inversion)
            edited = plain
            if edit is not None:
                edited = self.small(synthesize(self.domain.generator, edit(found.latent, chosen), chunk=self.batch))
            out[method.label] = spread(edited, chosen, len(images)), spread(plain, chosen, len(images))
        return out

    def other_rectifiers(self, edited: Tensor, inversion: Tensor, delta: Tensor, photo: Tensor) -> dict[str, Tensor]:
        """{label: picture} of the other rectifiers."""
        return {label: repaint(net, edited, inversion, delta, self.batch)
                for label, net in self.rectifiers.items()}

    def small(self, images: Tensor) -> Tensor:
        """At the size of comparison."""
        if images.shape[-1] < self.size:
            return resize(images, self.size).clamp(-1, 1)
        return area_downsample(images, self.size)

    def edit(self, images: Tensor, edits: Mapping[str, Any] | None = None, rectify: bool = True) -> rc.EditResult:
        """Algorithm 1 with the domain's networks."""
        own = "own" if self.domain.rectifier is not None else "carry"
        return rc.edit(images, dict(edits or {}), domain=self.domain, rectify=rectify, chunk=self.batch, rectifier=own,
                       output="photo" if self.photo else "rectifier")

    def read(self, images: Tensor) -> dict[str, Tensor]:
        """Attributes {name: [B]} of the evaluation network, or of the local networks."""
        if self.attributes is None:
            return self.local.read(images)
        return self.attributes.read(resize(images, self.attributes.net.resolution, "bilinear"))

    def features(self, images: Tensor) -> Tensor:
        """Embedding [B,D] of the evaluation network, for distances between sets."""
        return self.attributes.net.embedding(resize(images, self.attributes.net.resolution, "bilinear"))

    def embed(self, images: Tensor) -> Tensor | None:
        """Identity vectors [B,D] of unit length; None without an identity network."""
        return None if self.identity is None else self.identity(resize(images, input_size(self.identity), "bilinear"))

    def distance(self, images: Tensor, truth: Tensor) -> Tensor:
        """Perceptual distance [B] in features of the evaluation network."""
        side = self.attributes.net.resolution
        return self.attributes.distance(resize(images, side, "bilinear"), resize(truth, side, "bilinear"))

    def compare(self, images: Tensor, truth: Tensor, truth_identity: Tensor | None = None) -> dict[str, Tensor]:
        """L2, perceptual distance, MS-SSIM and, with an identity network, identity similarity; [B] each."""
        out = {L2: l2(images, truth), MS_SSIM: ms_ssim(images, truth)}
        if self.attributes is not None:
            out[PERCEPTUAL] = self.distance(images, truth)
        out |= self.local.compare(images, truth)
        if self.identity is not None:
            other = self.embed(truth) if truth_identity is None else truth_identity
            out[IDENTITY] = (self.embed(images) * other).sum(1)
        return out

    def identities(self, images: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Identity similarities {network: [B]}."""
        found = {k: v for k, v in self.local.compare(images, truth).items() if k in self.local.recognisers}
        if self.identity is not None:
            found[IDENTITY] = (self.embed(images) * self.embed(truth)).sum(1)
        return found

    def need_attributes(self) -> None:
        """Raise NotFoundError for an experiment that needs the evaluation network of attributes."""
        if self.attributes is None:
            raise NotFoundError("This experiment needs an attribute network that nothing else used: give "
                                "--attributes FILE.")

    def notes(self) -> list[str]:
        """What a reader of the numbers has to know."""
        scales = scales_for(self.size)
        notes = [f"Pictures are compared at {self.size} px, in [-1,1]. MS-SSIM uses {scales} of the five published "
                 "scales" + ("." if scales == 5 else ", which is what the size allows (weights rescaled).")]
        if self.attributes is not None:
            notes.append("Perceptual distance is that of the domain's evaluation network (unit-normalised feature "
                         "differences); it is not LPIPS and does not compare with it.")
        if self.local:
            notes.append(f"From local files: {', '.join(self.local.names())}.")
        notes.append("Identity is the similarity of the domain's identity network; it is not ArcFace."
                     if self.identity is not None else
                     "Identity is left out: the domain has no identity_judge.safetensors (or give --identity FILE).")
        slow = [m.label for m in self.methods if m.slow]
        if slow:
            notes.append(f"{', '.join(slow)}: on {self.slow_count} of the pictures, spread evenly over the groups.")
        return notes

    def seconds(self, work: Callable[[], Any], pictures: int, runs: int = 5) -> float:
        """Median seconds per picture of `runs` calls after a warm-up (none before a single one), synchronised."""
        times = []
        for _ in range(runs + 1 if runs > 1 else 1):
            self._synchronize()
            start = time.perf_counter()
            with torch.inference_mode():
                work()
            self._synchronize()
            times.append(time.perf_counter() - start)
        return float(np.median(times[1:] or times)) / pictures

    def _synchronize(self) -> None:
        if torch.device(self.device).type == "cuda":
            torch.cuda.synchronize()

    def with_editor(self, part: str) -> Bench:
        """The same bench whose domain has only this editor ("" keeps the domain's own choice)."""
        if not part:
            return self
        self.domain.require(part)
        others = {name: None for name in ("dystyle", "styleclip", "directions") if name != part}
        return dataclasses.replace(self, domain=dataclasses.replace(self.domain, **others))


def input_size(net: nn.Module) -> int:
    """Pixels on a side that a network reads."""
    return getattr(net, "resolution", None) or net.config.resolution


def network_files(domain: rc.Domain, attributes: str = "", identity: str = "") -> tuple[Path, Path | None]:
    """Files of the evaluation networks: attributes, and identity (None when the domain has none).

    Raises NotFoundError that says which file is missing.
    """
    folder = domain.folder or Path()
    attribute = Path(attributes) if attributes else folder / "judge.safetensors"
    if not attribute.is_file():
        raise NotFoundError(f"Tables need an attribute network that nothing else used: {attribute} is missing. "
                            "Train one with `python trainer/train.py attributes` on other data and another "
                            "seed, put it there, or give --attributes FILE.")
    person = Path(identity) if identity else folder / "identity_judge.safetensors"
    if not person.is_file():
        if identity:
            raise NotFoundError(f"There is no identity network at {person}.")
        return attribute, None
    return attribute, person


def load_networks(domain: rc.Domain, attributes: str = "", identity: str = "", device: str = "cpu",
                  needed: bool = True) -> tuple[Features | None, nn.Module | None]:
    """Both networks, frozen; see `network_files`. Where not `needed`, a domain without them gives (None, None)."""
    try:
        attribute, person = network_files(domain, attributes, identity)
    except NotFoundError:
        if needed or attributes or identity:
            raise
        return None, None
    return (load_attributes(str(attribute), device),
            None if person is None else load_identity(str(person), device))


def fingerprints(domain: rc.Domain, attributes: Features | None, identity: nn.Module | None) -> dict[str, str | None]:
    """Of everything that the numbers depend on."""
    parts = {part: getattr(getattr(domain, part), "fingerprint", None) for part in rc.domains.PARTS}
    person = None if identity is None else getattr(identity, "fingerprint", None)
    if identity is not None and person is None:
        from reganie_core.checkpoints import fingerprint

        person = fingerprint(identity.state_dict())
    return {**parts, "attributes": attributes.fingerprint if attributes else None, "identity": person}


def group_cells(values: np.ndarray, people: People | Photos, groups: tuple[str, ...], cell: Callable[..., Any],
                *more: np.ndarray) -> dict[str, Any]:
    """{group: cell(values of the group, ...)} for the groups that have anybody."""
    rows = {group: people.rows(group).numpy() for group in groups}
    return {g: cell(values[r], *(m[r] for m in more)) for g, r in rows.items() if len(r)}
