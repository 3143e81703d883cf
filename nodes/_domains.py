"""Domains on the wires: every part a manifest names, and a polite placeholder for what it does not have."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from .. import reganie_core as rc
from . import _choices, _host, _models
from ._sockets import Missing


def source(name: str) -> str | Path:
    """What ``rc.domains`` calls the domain that a list entry stands for."""
    return _choices.packaged().get(name) or _host.resolve(_host.REGANIE, name, directory=True)


def state(name: str) -> str:
    """For IS_CHANGED: changes when the manifest or a file it names is replaced."""
    folder, manifest = rc.domains.load_manifest(source(name))
    files = [
        folder / rc.domains.MANIFEST,
        *(folder / manifest[part] for part in rc.domains.PARTS if manifest.get(part)),
    ]
    return ";".join(_models.state(path) for path in files)


def parts(name: str) -> list[Any]:
    """One wire for each of ``rc.domains.PARTS``, in that order.

    Raises:
        ReganieError: the manifest or one of its files cannot be used; the message names the part.
    """
    folder, manifest = rc.domains.load_manifest(source(name))
    title, found = manifest["name"], []
    for part in rc.domains.PARTS:
        if not manifest.get(part) or part not in _models.LOADERS:
            found.append(Missing(part, title))
            continue
        try:
            path = rc.paths.safe_join(folder, manifest[part])
            found.append(_models.load(part, path, f"{title}/{manifest[part]}"))
        except rc.ReganieError as error:
            error.args = (f"The {part} of the domain {title}: {error}",)
            raise
    _check_together(dict(zip(rc.domains.PARTS, found, strict=True)))
    return found


def part(name: str, kind: str) -> Path:
    """The file of one part of a domain.

    Raises:
        NotFoundError: the domain does not have it.
    """
    folder, manifest = rc.domains.load_manifest(source(name))
    if not manifest.get(kind):
        raise Missing(kind, manifest["name"]).error()
    return rc.paths.safe_join(folder, manifest[kind])


def _check_together(found: dict[str, Any]) -> None:
    networks = {part: wire.value for part, wire in found.items() if isinstance(wire, _models.Model)}
    if "generator" in networks and "encoder" in networks:
        rc.inversion.check_pair(networks["generator"], networks["encoder"])
    if "rectifier" in networks:
        others = {part: networks[part] for part in ("generator", "encoder") if part in networks}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rc.ReganieWarning)  # shown on the page instead
            sentences = rc.domains.check_provenance(networks["rectifier"], **others)
        for sentence in sentences:
            _host.notice("Load ReGANIE", sentence)


def examples() -> list[str]:
    """File names of the packaged example pictures; empty while no packaged weights are installed."""
    return [path.name for path in _examples()]


def example(name: str) -> Path:
    """The packaged example picture of that name.

    Raises:
        NotFoundError: not one of :func:`examples`.
    """
    for path in _examples():
        if path.name == name:
            return path
    known = ", ".join(examples()) or "none"
    raise rc.errors.NotFoundError(f"There is no packaged example picture {str(name)[:80]!r}. There are: {known}.")


def _examples() -> list[Path]:
    """The example pictures of every packaged domain, the portraits' first."""
    found: list[Path] = []
    for domain in rc.domains.packaged_domains():
        try:
            folder, manifest = rc.domains.load_manifest(domain)
        except rc.ReganieError:  # one damaged domain must not take every list of the page away
            continue
        found += [rc.paths.safe_join(folder, entry) for entry in manifest["examples"]]
    return found
