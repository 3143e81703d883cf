"""What the lists on the nodes offer, and what a chosen name means. Lists never fail and never read whole models."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from .. import reganie_core as rc
from . import _host, _models
from ._sockets import given

PACKAGED = "portraits (packaged)"
FOLDER_OF = {
    "generator": _host.STYLEGAN,
    "encoder": _host.REGANIE,
    "directions": _host.REGANIE,
    "rectifier": _host.REGANIE,
}
MAX_CONTROL_NAME = 64
MAX_CONTROLS = 1000  # in the list, which the page has to draw
_seen: dict[tuple[str, int, int], dict | None] = {}
log = logging.getLogger("ReGANIE")


def _quick(path: Path) -> bool:
    """Whether the file soon tells what it is: safetensors, .npy and zip containers do, pickles are read whole first."""
    if path.suffix.lower() in (".safetensors", ".npy"):
        return True
    with open(path, "rb") as handle:
        return handle.read(2) == b"PK"


def _contents(path: Path) -> dict | None:
    """What ``rc.inspect`` finds, remembered until the file changes; None when only loading it can tell."""
    try:
        state = path.stat()
        key = (str(path), state.st_mtime_ns, state.st_size)
        if key not in _seen:
            _seen[key] = None
            if _quick(path):
                found = rc.inspect(path)
                _seen[key] = {"contains": found["contains"], "controls": _control_names(found["config"])}
    except Exception as error:  # one odd file must not take every list of the page away
        log.debug("%s is not listed by what it holds: %s", path, error)
        return None
    return _seen[key]


def _may_be(folder: str, name: str, kind: str) -> bool:
    try:
        found = _contents(_host.resolve(folder, name))
    except rc.ReganieError:
        return False
    # A file that nothing here reads stays listed: choosing it tells why.
    return not found or not found["contains"] or kind in found["contains"]


def files(kind: str) -> list[str]:
    """The packaged portraits first, then the user's files that are, or may be, of this kind."""
    folder = FOLDER_OF[kind]
    return [PACKAGED] + [name for name in _host.list_files(folder) if _may_be(folder, name, kind)]


def domains() -> list[str]:
    """The packaged domain first, then the folders below models/reganie that hold a domain.json."""
    return [PACKAGED, *_host.list_domains()]


def controls() -> list[str]:
    """Names of the controls of the packaged directions and of every directions file of the user's."""
    names: dict[str, None] = {}
    for choice in files("directions"):
        try:
            found = _contents(path_of("directions", choice))
        except rc.ReganieError:
            continue
        names.update(dict.fromkeys((found or {}).get("controls", [])))
    return list(names)[:MAX_CONTROLS] or ["yaw"]


def _control_names(config: dict[str, Any]) -> list[str]:
    """The names among a file's controls that can be shown; anything may stand in their place."""
    found = config.get("controls")
    items = found[:MAX_CONTROLS] if isinstance(found, list) else []
    names = [item.get("name") for item in items if isinstance(item, dict)]
    return [n for n in names if isinstance(n, str) and 0 < len(n) <= MAX_CONTROL_NAME and n.isprintable()]


def path_of(kind: str, name: str) -> Path:
    """The file behind a name from a list, a saved graph or an API call.

    Raises:
        UnsafePathError, NotFoundError: see ``_host.resolve``; the sentence names the folder and the extensions.
    """
    if name == PACKAGED:
        folder, manifest = rc.domains.load_manifest("portraits")
        if not manifest.get(kind):
            raise rc.errors.NotFoundError(f"The packaged portraits domain has no {kind}; choose a file of your own.")
        return rc.paths.safe_join(folder, manifest[kind])
    return _host.resolve(FOLDER_OF[kind], name)


def load(kind: str, name: str) -> _models.Model:
    """The network that a name from a list stands for."""
    return _models.load(kind, path_of(kind, name), name)


def chosen(node: Any, kind: str, wire: Any, name: str) -> _models.Model:
    """What is connected, else the file of that name; ``node`` keeps it, so that the next run need not load it again."""
    node.kept = given(wire, kind) if wire is not None else load(kind, name)
    return node.kept


def state(kind: str, name: str) -> str:
    """For IS_CHANGED: changes when the file is replaced. A name that is never used may well have no file."""
    try:
        return _models.state(path_of(kind, name))
    except (rc.ReganieError, OSError):
        return "no file"


def problem(kind: str, name: object) -> bool | str:
    """For VALIDATE_INPUTS: True, or one sentence that says what is wrong with a file name and what to do."""
    if not isinstance(name, str):
        return f"A {kind} is chosen by its file name. {_host.folder_hint(FOLDER_OF[kind])}"
    extensions = _host.EXTENSIONS[FOLDER_OF[kind]]
    if name != PACKAGED and Path(name).suffix.lower() not in extensions:
        return f"{name[:120]!r} is not a {kind} file: accepted are {', '.join(extensions)}. " + _host.folder_hint(
            FOLDER_OF[kind]
        )
    try:
        path_of(kind, name)
    except rc.ReganieError as error:
        return str(error)
    return True


def name_problem(kind: str, name: object) -> bool | str:
    """For a name beside an optional socket: only its form. Whether the file exists matters only when it is used."""
    if not isinstance(name, str):
        return f"A {kind} is chosen by its file name. {_host.folder_hint(FOLDER_OF[kind])}"
    try:
        if name != PACKAGED:
            rc.paths.check_name(name)
    except rc.ReganieError as error:
        return str(error)
    return True


def domain_problem(name: object) -> bool | str:
    """The same for a domain."""
    if not isinstance(name, str):
        return "A domain is chosen by the name of its folder."
    try:
        if name != PACKAGED:
            _host.resolve(_host.REGANIE, name, directory=True)
    except rc.ReganieError as error:
        return str(error)
    return True
