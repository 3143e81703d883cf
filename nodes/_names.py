"""Node ids that two packs use: ComfyUI takes the one that was loaded last, and says nothing."""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "ReGANIE_"


def former(nodes: Mapping[str, type], registered: Mapping[str, type]) -> dict[str, type]:
    """The ids without the prefix that nobody has taken, for graphs saved with them: {id: class}.

    The class is marked as deprecated, so that ComfyUI's search shows each node once.
    """
    return {
        name: type(node.__name__, (node,), {"DEPRECATED": True, "__module__": node.__module__, "__doc__": node.__doc__})
        for name, node in nodes.items()
        if name not in registered
    }


class Ids:
    """Which of our ids another pack has, too.

    Args:
        ours: what we register.
        registered: what was there before us.
    """

    def __init__(self, ours: Mapping[str, type], registered: Mapping[str, type]) -> None:
        self._ours = dict(ours)
        self._replaced = {name: pack_of(registered[name]) for name in ours if name in registered}

    def conflicts(self, registered: Mapping[str, type]) -> list[dict[str, str]]:
        """``[{"node", "pack", "used"}]``: the other pack, and whose node ComfyUI uses ("ours" or "theirs") now."""
        found = [{"node": name, "pack": pack, "used": "ours"} for name, pack in self._replaced.items()
                 if registered.get(name) is self._ours[name]]
        return found + [{"node": name, "pack": pack_of(registered[name]), "used": "theirs"}
                        for name, node in self._ours.items() if registered.get(name, node) is not node]


def pack_of(node: type) -> str:
    """The folder of the pack that a registered node comes from."""
    return str(getattr(node, "RELATIVE_PYTHON_MODULE", "ComfyUI itself")).removeprefix("custom_nodes.")[:80]
