"""What the lists on the nodes offer, and what a chosen name means. Lists never fail and never read whole models."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import reganie_core as rc
from . import _host, _models
from ._sockets import check_wire

PACKAGED = "portraits (packaged)"  # the first entry of every list; other packaged domains follow it
METHOD = "hyperstyle"  # stands for every inversion method with a network of its own: their files lie together
FIRST_DETECTOR = "first found in models/reganie"
NO_METHOD = "no file chosen"
TABLES = "fs3.npy"  # a folder that holds it is StyleCLIP's public tables
SLIDER_EDITORS = ("dystyle", "directions")  # the kinds whose controls are values, in the order they are asked
MAX_CONTROLS = 1000  # in the list, which the page has to draw
_seen: dict[tuple[str, int, int], dict | None] = {}
log = logging.getLogger("ReGANIE")


def packaged() -> dict[str, str]:
    """{list entry: domain} of the packaged domains, the portraits first."""
    names = [name for name in rc.domains.packaged_domains() if name != "portraits"]
    return {PACKAGED: "portraits", **{f"{name} (packaged)": name for name in names}}


def _packaged_with(kind: str) -> list[str]:
    """The entries of the packaged domains that have a part of this kind; the portraits' in any case."""
    found = []
    for entry, name in packaged().items():
        with suppress(rc.ReganieError):  # one damaged domain must not take every list of the page away
            if entry == PACKAGED or rc.domains.load_manifest(name)[1].get(kind):
                found.append(entry)
    return found


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
                _seen[key] = {"contains": found["contains"], "controls": _controls(found["config"]),
                              "provenance": (found.get("metadata") or {}).get("provenance")}
    except Exception as error:  # one odd file must not take every list of the page away
        log.debug("%s is not listed by what it holds: %s", path, error)
        return None
    return _seen[key]


def _may_be(folder: str, name: str, kind: str, surely: bool = False) -> bool:
    try:
        found = _contents(_host.resolve(folder, name))
    except rc.ReganieError:
        return False
    if surely:
        return bool(found) and kind in found["contains"]
    # A file that nothing here reads stays listed: choosing it tells why.
    return not found or not found["contains"] or kind in found["contains"]


def files(kind: str) -> list[str]:
    """What is packaged first, then the user's files that are, or may be, of this kind.

    Of the other folder's files (``kinds.KINDS``) those that surely are.
    """
    folders = _host.list_folders(TABLES) if kind == "styleclip" else []
    return list(dict.fromkeys([*_packaged_with(kind), *folders, *_names(kind, kind)]))


def folders_of(kind: str) -> tuple[str, ...]:
    """The model folders where files of a kind may lie, the one where they belong first."""
    return rc.kinds.KINDS[METHOD if kind == "method" else kind].folders


def _names(place: str, kind: str) -> list[str]:
    """Names of the files of one kind in the folder of ``place`` and in the other folder that may hold such files."""
    folder, *others = folders_of(place)
    names = [name for name in _host.list_files(folder) if _may_be(folder, name, kind)]
    return names + [name for other in others for name in _host.list_files(other) if _may_be(other, name, kind, True)]


def method_files() -> list[str]:
    """Files of the inversion methods that have networks of their own."""
    kinds = rc.inversion.NEEDS_FILE.values()
    return list(dict.fromkeys([NO_METHOD, *(name for kind in kinds for name in _names("method", kind))]))


def detectors() -> list[str]:
    """Face detectors below models/reganie."""
    return [FIRST_DETECTOR, *rc.faces.list_detectors(_host.roots(_host.REGANIE))]


def detector_path(name: object) -> Path:
    """The file of a face detector.

    Raises:
        UnsafePathError, NotFoundError: the sentence says which file belongs where.
    """
    wanted = "" if name == FIRST_DETECTOR else str(name)
    return rc.faces.find_detector(_host.roots(_host.REGANIE), wanted)


def method_problem(method: str, name: object) -> bool | str:
    """For VALIDATE_INPUTS: whether a file can be the network of a method that needs one."""
    if name == NO_METHOD or not isinstance(name, str):
        return f"{method} needs its own network; choose its file. {_host.folder_hint(_host.REGANIE)}"
    return problem("method", name)


def load_method(method: str, name: str) -> _models.Model:
    """The network of an inversion method.

    Raises:
        MismatchError: the file is of another method.
    """
    wrong = method_problem(method, name)
    if wrong is not True:
        raise rc.errors.NotFoundError(str(wrong))
    return check_wire(_models.load("method", path_of("method", name), name), rc.inversion.NEEDS_FILE[method])


def domains() -> list[str]:
    """The packaged domains first, then the folders below models/reganie that hold a domain.json."""
    return [*packaged(), *_host.list_folders(rc.domains.MANIFEST)]


def controls(kinds: tuple[str, ...] = ("directions",)) -> list[str]:
    """Names of the controls of the packaged editors and of every editor file of the user's, of these kinds."""
    names: dict[str, None] = {}
    for kind in kinds:
        for choice in files(kind):
            try:
                names.update(dict.fromkeys(control.name for control in controls_of(kind, choice)))
            except rc.ReganieError:
                continue
    return list(names)[:MAX_CONTROLS] or ["yaw"]


def controls_of(kind: str, name: str) -> list[rc.Control]:
    """The controls of an editor file, from its metadata alone; empty for files that only loading can tell.

    Raises:
        UnsafePathError, NotFoundError: see :func:`path_of`.
    """
    return controls_in(path_of(kind, name))


def controls_in(path: Path) -> list[rc.Control]:
    """The same for a file found before."""
    return (_contents(path) or {}).get("controls", [])


def fingerprints_of(kind: str, name: str) -> dict[str, Any]:
    """Which networks a file says it was trained with, from its metadata; empty where it says nothing."""
    try:
        provenance = (_contents(path_of(kind, name)) or {}).get("provenance")
    except rc.ReganieError:
        return {}
    return rc.belonging.trained_with(provenance or {})


def _controls(config: dict[str, Any]) -> list[rc.Control]:
    """The controls in a file's metadata that can be shown; anything may stand in their place."""
    found = config.get("controls")
    controls: list[rc.Control] = []
    for item in found[:MAX_CONTROLS] if isinstance(found, list) else []:
        try:
            controls.append(rc.Control.from_dict(item))
        except (rc.ReganieError, TypeError, ValueError):
            continue
    return controls


def editor_files() -> list[str]:
    """The packaged editors first, then every file that is, or may be, an editor with values for controls."""
    return list(dict.fromkeys(name for kind in SLIDER_EDITORS for name in files(kind)))


def kind_of_editor(name: str, control: str) -> str:
    """Which kind of editor a name from :func:`editor_files` means; of a packaged domain the control decides.

    Raises:
        UnsafePathError, NotFoundError: see :func:`path_of`.
    """
    if name not in packaged():
        found = _contents(path_of("directions", name))
        return "dystyle" if found and "dystyle" in found["contains"] else "directions"
    present = packaged_parts(SLIDER_EDITORS, name)
    knowing = [kind for kind in present if control in (item.name for item in controls_of(kind, name))]
    return next(iter(knowing or present), "directions")


def slider_files() -> list[str]:
    """What DyStyle Edit offers: DyStyle editors, and packaged domains that have directions alone."""
    listed = files("dystyle")
    others = [entry for entry in _packaged_with("directions") if slider_kind(entry) == "directions"]
    return [*listed[:1], *(entry for entry in others if entry not in listed), *listed[1:]]


def slider_kind(name: str) -> str:
    """The part of a domain whose controls DyStyle Edit shows: its DyStyle editor, or its directions without one."""
    domain = packaged().get(name) if isinstance(name, str) else None
    if domain is None or domain == "portraits":
        return "dystyle"
    manifest = rc.domains.load_manifest(domain)[1]
    return "dystyle" if manifest.get("dystyle") or not manifest.get("directions") else "directions"


def packaged_parts(kinds: tuple[str, ...], name: str = PACKAGED) -> list[str]:
    """Those of the kinds that a packaged domain has."""
    manifest = rc.domains.load_manifest(packaged()[name])[1]
    return [kind for kind in kinds if manifest.get(kind)]


def path_of(kind: str, name: str) -> Path:
    """The file behind a name from a list, a saved graph or an API call.

    Raises:
        UnsafePathError, NotFoundError: see ``_host.resolve``; the sentence names the folder and the extensions.
    """
    domain = packaged().get(name) if isinstance(name, str) else None
    if domain is not None:
        folder, manifest = rc.domains.load_manifest(domain)
        if not manifest.get(kind):
            raise rc.errors.NotFoundError(f"The packaged {domain} domain has no {kind}; choose a file of your own.")
        return rc.paths.safe_join(folder, manifest[kind])
    folder, *others = folders_of(kind)
    try:
        return _host.resolve(folder, name, directory=_is_folder(kind, name))
    except rc.errors.NotFoundError:
        for other in others:
            with suppress(rc.errors.NotFoundError):
                return _host.resolve(other, name)
        raise  # the sentence about the folder where such files belong


def _is_folder(kind: str, name: object) -> bool:
    """Whether a name can only mean a folder: StyleCLIP's public tables are one."""
    return kind == "styleclip" and isinstance(name, str) and not Path(name).suffix


def load(kind: str, name: str, **options: Any) -> _models.Model:
    """The network that a name from a list stands for; ``options`` go to its reader."""
    return _models.load(kind, path_of(kind, name), name, **options)


def connected_or_named(node: Any, kind: str, wire: Any, name: str) -> _models.Model:
    """What is connected, else the file of that name; ``node`` keeps it, so that the next run need not load it again."""
    node.model = check_wire(wire, kind) if wire is not None else load(kind, name)
    return node.model


def state(kind: str, name: str) -> str:
    """For IS_CHANGED: changes when the file is replaced. A name that is never used may well have no file."""
    try:
        return _models.state(path_of(kind, name))
    except (rc.ReganieError, OSError):
        return "no file"


def problem(kind: str, name: object) -> bool | str:
    """For VALIDATE_INPUTS: True, or one sentence that says what is wrong with a file name and what to do."""
    if not isinstance(name, str):
        return f"A {kind} is chosen by its file name. {_host.folder_hint(folders_of(kind)[0])}"
    extensions = _host.EXTENSIONS[folders_of(kind)[0]]
    if name not in packaged() and not _is_folder(kind, name) and Path(name).suffix.lower() not in extensions:
        return f"{name[:120]!r} is not a {kind} file: accepted are {', '.join(extensions)}. " + _host.folder_hint(
            folders_of(kind)[0]
        )
    try:
        path_of(kind, name)
    except rc.ReganieError as error:
        return str(error)
    return True


def name_problem(kind: str, name: object) -> bool | str:
    """For a name beside an optional socket: only its form. Whether the file exists matters only when it is used."""
    if not isinstance(name, str):
        return f"A {kind} is chosen by its file name. {_host.folder_hint(folders_of(kind)[0])}"
    try:
        if name not in packaged():
            rc.paths.check_name(name)
    except rc.ReganieError as error:
        return str(error)
    return True


def domain_problem(name: object) -> bool | str:
    """The same for a domain."""
    if not isinstance(name, str):
        return "A domain is chosen by the name of its folder."
    try:
        if name not in packaged():
            _host.resolve(_host.REGANIE, name, directory=True)
    except rc.ReganieError as error:
        return str(error)
    return True
