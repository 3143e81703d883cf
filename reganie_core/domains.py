"""A domain: the networks of one kind of picture, as one folder with a ``domain.json`` that names its files.

``{"format_version": "1", "name": "portraits", "resolution": 64, "generator": "generator.safetensors", "encoder": ...,
"directions": ..., "dystyle": ..., "styleclip": ..., "rectifier": ..., "examples": ["examples/hat.png", ...],
"default_rectifier": "own", "inversion_error": {"pictures": "drawn portraits", "count": 500, "p50": .02, "p90": .04,
"p99": .05}, "framing": "ffhq", "sha256": {"generator.safetensors": "<64 hex>", ...}}``; every part may be missing,
every name is relative to the folder. ``framing`` says how its pictures were cut around a face: a name, or where the
five points lie. Files that have a sum are compared with it when they are read. ``default_rectifier`` "carry" prefers
carrying without a network to the domain's own rectifier, where measurements say so.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from .belonging import check_generator, differ, fingerprint_of, trained_with
from .checkpoints.sums import MANIFEST, MAX_MANIFEST, valid_sums
from .editing import load_editor
from .editing.protocol import Editor, EditValue, describe_controls
from .errors import CorruptCheckpointError, InputError, NotFoundError, ReganieError, ReganieWarning
from .faces.framing import FFHQ, Framing, framing_of
from .inversion.e4e import check_pair
from .inversion.usual import UsualError
from .kinds import PARTS
from .paths import is_file, safe_join

__all__ = ["PARTS", "Domain", "check_provenance", "load_domain", "load_manifest", "packaged_domains"]

MAX_EXAMPLES = 256
DEFAULT_RECTIFIERS = ("own", "carry")
_HERE = Path(__file__).resolve().parent
PACKAGED = {"portraits": _HERE / "portraits" / "weights", "faces": _HERE / "faces" / "weights"}


@dataclass
class Domain:
    """The networks of one domain; each may be None.

    Attributes:
        generator, encoder, rectifier: networks in evaluation mode.
        dystyle, styleclip, directions: editors (:class:`reganie_core.editing.Editor`).
        name, folder, resolution, examples: from the manifest; examples are existing pictures in the folder.
        default_rectifier: "own" or "carry": what ``rectifier="auto"`` takes where the domain has one of its own.
        usual_error: how large its inversion errors are on pictures of its kind; None: not measured.
        framing: how its pictures were cut around a face; FFHQ's where the manifest does not say.
    """

    generator: nn.Module | None = None
    encoder: nn.Module | None = None
    dystyle: Editor | None = None
    styleclip: Editor | None = None
    directions: Editor | None = None
    rectifier: nn.Module | None = None
    name: str = "unnamed"
    folder: Path | None = None
    resolution: int | None = None
    examples: list[Path] = field(default_factory=list)
    default_rectifier: str = "own"
    usual_error: UsualError | None = None
    framing: Framing = FFHQ

    def choose_rectifier(self, wanted: str | os.PathLike[str] | nn.Module = "auto") -> nn.Module:
        """The rectifier for this domain's generator.

        Args:
            wanted: "auto": the domain's own, else carry; "own"; "carry"; a path, or a loaded rectifier.

        Raises:
            NotFoundError: "own", and the domain has none.
            CheckpointError: a file that cannot be read.
        """
        if isinstance(wanted, nn.Module) and hasattr(wanted, "needs_inversion"):
            return wanted
        if not isinstance(wanted, str | os.PathLike):
            raise InputError(f"rectifier is auto, own, carry, a path or a loaded rectifier; found "
                             f"{type(wanted).__name__}.")
        if wanted == "auto":
            wanted = "own" if self.default_rectifier == "own" and self._has_its_own() else "carry"
        if wanted == "own":
            self.require("rectifier")
            return cast(nn.Module, self.rectifier)
        from .rectification import load_rectifier

        device = "cpu" if self.generator is None else next(self.generator.parameters()).device
        return load_rectifier(wanted, device=device)

    def _has_its_own(self) -> bool:
        """Whether there is a rectifier, and nothing says that it is another generator's."""
        return self.rectifier is not None and not differ(trained_with(self.rectifier).get("generator"), self.generator)

    @property
    def editors(self) -> dict[str, Editor]:
        """The editors present, in the order they are asked."""
        return {part: editor for part in ("dystyle", "directions", "styleclip") if (editor := getattr(self, part))}

    def require(self, *parts: str) -> None:
        """Raise :class:`NotFoundError` naming what the domain lacks."""
        missing = [part for part in parts if getattr(self, part) is None]
        if missing:
            where = f" Add its file to {self.folder / MANIFEST}." if self.folder else ""
            raise NotFoundError(
                f"The domain {self.name} has no {' and no '.join(missing)}, which this step "
                f"needs.{where}"
            )

    def editor_for(self, edits: Mapping[str, EditValue]) -> Editor:
        """The first editor that knows every control named in ``edits``.

        Raises:
            NotFoundError: the domain has no editor.
            InputError: none knows them all; the message lists every editor's controls with their ranges.
        """
        if not self.editors:
            raise NotFoundError(f"The domain {self.name} has no editor; add directions to its {MANIFEST}.")
        for editor in self.editors.values():
            if set(edits) <= {control.name for control in editor.controls}:
                return editor
        listing = "; ".join(f"{part}: {describe_controls(editor.controls)}" for part, editor in self.editors.items())
        names = ", ".join(repr(name)[:80] for name in edits)
        raise InputError(f"No editor of the domain {self.name} has the controls {names}. It has {listing}.")

    def to(self, device: torch.device | str) -> Domain:
        """Move everything to a device; returns itself."""
        for part in PARTS:
            value = getattr(self, part)
            if value is not None and hasattr(value, "to"):
                value.to(device)
        return self


def packaged_domains() -> list[str]:
    """Names of the domains that ship with this package and are complete enough to have a manifest."""
    return [name for name, folder in PACKAGED.items() if (folder / MANIFEST).is_file()]


def _folder(name: str | os.PathLike[str]) -> Path:
    if isinstance(name, str) and name in PACKAGED:
        return PACKAGED[name]
    return Path(name)


def load_manifest(name: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """The folder of a domain and its checked manifest; no network is read.

    Every file name in the result has passed :func:`safe_join`.

    Raises:
        NotFoundError: no such domain or folder, or a file the manifest names is missing.
        CorruptCheckpointError: the manifest is no JSON object of the expected form.
        UnsafePathError: a name that leaves the folder.
    """
    folder = _folder(name)
    path = folder / MANIFEST
    if not is_file(path):
        known = ", ".join(PACKAGED)
        if folder in PACKAGED.values():
            raise NotFoundError(
                f"The packaged domain {name} has no weights in this copy ({MANIFEST} is missing in {folder}); get a "
                "complete copy of the project, or give a domain folder of your own."
            )
        raise NotFoundError(
            f"There is no domain at {folder} ({MANIFEST} is missing). Give a packaged domain ({known}) or a "
            "folder."
        )
    try:
        with open(safe_join(folder, MANIFEST), "rb") as handle:
            text = handle.read(MAX_MANIFEST + 1)
        manifest = json.loads(text) if len(text) <= MAX_MANIFEST else None
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpointError(f"{path} is no valid JSON: {str(error)[:200]}.") from error
    if not isinstance(manifest, dict) or str(manifest.get("format_version")) != "1":
        raise CorruptCheckpointError(f'{path} must be a JSON object with "format_version": "1".')
    title, examples = manifest.get("name", folder.name), manifest.get("examples", [])
    if not isinstance(title, str) or not 0 < len(title) <= 64 or not title.isprintable():
        raise CorruptCheckpointError(f'{path}: "name" must be a printable text of at most 64 characters.')
    if not isinstance(examples, list) or len(examples) > MAX_EXAMPLES:
        raise CorruptCheckpointError(f'{path}: "examples" must be a list of at most {MAX_EXAMPLES} file names.')
    size = manifest.get("resolution")
    if not (size is None or type(size) is int and 0 < size <= 1 << 16):
        raise CorruptCheckpointError(f'{path}: "resolution" must be a number of pixels.')
    if manifest.get("default_rectifier", "own") not in DEFAULT_RECTIFIERS:
        raise CorruptCheckpointError(f'{path}: "default_rectifier" must be one of {", ".join(DEFAULT_RECTIFIERS)}.')
    try:
        framing_of(manifest.get("framing", "ffhq"))
    except InputError as error:
        raise CorruptCheckpointError(f"{path}: {error}") from error
    if not valid_sums(manifest.get("sha256", {})):
        raise CorruptCheckpointError(f'{path}: "sha256" must be a table of file names and sums of 64 hex digits.')
    for part in PARTS:
        entry = manifest.get(part)
        if entry is not None and not is_file(safe_join(folder, entry)):
            raise NotFoundError(f"The {part} of the domain {title} is missing: {entry} is not in {folder}.")
    for example in examples:
        safe_join(folder, example)
    manifest["name"] = title
    manifest["examples"] = examples
    return folder, manifest


def usual_error_beside(path: Path) -> UsualError | None:
    """What the domain that an encoder's file belongs to says of its inversion errors: by the manifest beside it."""
    try:
        manifest = load_manifest(path.parent)[1]
    except (ReganieError, OSError):
        return None
    entry = manifest.get("encoder")
    own = entry is not None and Path(safe_join(path.parent, entry)) == path
    return UsualError.from_dict(manifest.get("inversion_error")) if own else None


def load_domain(name: str | os.PathLike[str] = "portraits", device: torch.device | str = "cpu") -> Domain:
    """Load a packaged domain by name or a folder with a ``domain.json``.

    Warns (:class:`ReganieWarning`) when the rectifier was trained with other networks than these.

    Raises:
        NotFoundError, CorruptCheckpointError, UnsafePathError: see :func:`load_manifest`.
        MismatchError: generator and encoder, or generator and an editor, do not belong together.
        CheckpointError: a file that cannot be read.
    """
    from . import checkpoints

    folder, manifest = load_manifest(name)
    loaders = {
        "generator": checkpoints.load_generator,
        "encoder": checkpoints.load_encoder,
        "rectifier": checkpoints.load_rectifier,
    }
    parts: dict[str, Any] = {}
    for part in PARTS:
        if manifest.get(part) is None:
            continue
        try:
            parts[part] = loaders.get(part, load_editor)(safe_join(folder, manifest[part]), device=device)
        except ReganieError as error:
            error.args = (f"The {part} of the domain {manifest['name']}: {error}",)
            raise
    examples = [path for entry in manifest["examples"] if is_file(path := safe_join(folder, entry))]
    generator = parts.get("generator")
    domain = Domain(**parts, name=manifest["name"], folder=folder, examples=examples,
                    default_rectifier=manifest.get("default_rectifier", "own"),
                    usual_error=UsualError.from_dict(manifest.get("inversion_error")),
                    framing=framing_of(manifest.get("framing", "ffhq")),
                    resolution=getattr(generator, "resolution", manifest.get("resolution")))
    if domain.generator is not None and domain.encoder is not None:
        check_pair(domain.generator, domain.encoder)
    if domain.encoder is not None:
        check_provenance(domain.encoder, "encoder", generator=generator)
    for part, editor in domain.editors.items():
        check_generator(editor, generator, f"{part} editor of the domain {domain.name}")
    if domain.rectifier is not None:
        # One rectifier serves several editors; it was trained with one of them.
        wanted = trained_with(domain.rectifier).get("editor")
        known = [editor for editor in domain.editors.values() if fingerprint_of(editor) == wanted]
        editor = next(iter(known or domain.editors.values()), None)
        check_provenance(domain.rectifier, generator=generator, encoder=domain.encoder, editor=editor)
    return domain


def check_provenance(trained: nn.Module | Editor, /, what: str = "rectifier",
                     **networks: nn.Module | Editor | None) -> list[str]:
    """Warn for each network that is not the one ``trained`` was trained with, naming both; returns the sentences.

    Compares ``trained.provenance["fingerprints"][name]`` with ``network.fingerprint``; silent where one is unknown.
    The names are generator, encoder and editor.
    """
    prints = trained_with(trained)
    sentences = []
    for name, network in networks.items():
        wanted, found = prints.get(name), fingerprint_of(network)
        if differ(wanted, found):
            refused = (what, name) == ("rectifier", "generator")
            advice = ("it is refused, and auto carries without it" if refused else
                      "expect weaker results, or use the networks it was trained with")
            sentence = (f"The {what} was trained with {name} {repr(wanted)[:40]}, but this is {name} {found!r}; "
                        f"{advice}.")
            warnings.warn(sentence, ReganieWarning, stacklevel=3)
            sentences.append(sentence)
    return sentences
