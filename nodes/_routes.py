"""What the page asks for beside ComfyUI's own lists: the controls of an editor, as plain values."""

from __future__ import annotations

from typing import Any

from .. import reganie_core as rc
from . import _choices, _domains, _host
from ._names import Ids

CONTROLS = "/reganie/controls"
CONFLICTS = "/reganie/conflicts"
KINDS = ("dystyle", "directions", "styleclip")


def controls(query: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """``kind`` and ``name`` (an entry of the loader's list) or ``domain`` -> the editor's controls.

    200 with ``{"controls": [{name, kind, minimum, maximum, unit, default, description}], "accepts_targets": bool}``
    (and ``"guessed": true`` where a file tells no range),
    or 404 with ``{"error": sentence}``. Reads metadata only and never a file outside the model folders.
    """
    kind = query.get("kind", "dystyle")
    if kind not in KINDS:
        return 404, {"error": f"There are controls of {', '.join(KINDS)} only."}
    try:
        targets = kind == "dystyle"
        if "domain" in query:
            found = _choices.controls_in(_domains.part(query["domain"], kind))
        else:
            name = query.get("name", _choices.PACKAGED)
            kind = _choices.slider_kind(name) if kind == "dystyle" else kind
            found, targets = _choices.controls_of(kind, name), kind == "dystyle"
    except (rc.ReganieError, OSError) as error:
        return 404, {"error": str(error)}
    listed = [control.to_dict() for control in found]
    return 200, {"controls": listed, "accepts_targets": targets}


def register(ids: Ids) -> None:
    """Add the routes to the server, where there is one."""
    _host.add_route(CONTROLS, controls)
    _host.add_route(CONFLICTS, lambda _: (200, {"conflicts": ids.conflicts(_host.registered_nodes())}))
