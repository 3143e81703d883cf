"""One architecture a file: what does each network compute?

:func:`build` makes a network from the ``config`` of one of our files; :func:`describe` writes such a ``config``.
Modules are imported when they are first needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast, get_args, get_origin, get_type_hints

from torch import nn

from ..errors import CorruptCheckpointError, InputError, UnsupportedCheckpointError
from ..kinds import KINDS, of_network

__all__ = ["build", "config_class", "describe", "network_class"]

def _look_up(kind: str, name: object) -> tuple[Any, str, str]:
    """Module, class and config class of a type of network."""
    known = KINDS[kind].networks if kind in KINDS else {}
    if not known:
        raise UnsupportedCheckpointError(
            f"No network of kind {str(kind)[:60]!r} is known; known: {', '.join(of_network())}.")
    if not isinstance(name, str) or name not in known:
        raise UnsupportedCheckpointError(
            f"Unknown {kind} type {str(name)[:60]!r}; this version knows {', '.join(known)}. "
            "The file may come from a newer version."
        )
    module, config = known[name]
    return import_module(f".{module}", __name__), name, config


def network_class(kind: str, name: object) -> type[nn.Module]:
    """The class of a network. Raises :class:`UnsupportedCheckpointError` for a kind or type that is not known."""
    module, name, _ = _look_up(kind, name)
    return getattr(module, name)


def config_class(kind: str, name: object) -> type:
    """The frozen dataclass that configures it."""
    module, _, config = _look_up(kind, name)
    return getattr(module, config)


def build(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """A network with fresh weights from ``{"type": class name, **fields of its config}``.

    Raises :class:`UnsupportedCheckpointError` for an unknown kind, type or field, and
    :class:`CorruptCheckpointError` for values that no such network can have.
    """
    fields = dict(config)
    name = fields.pop("type", None)
    cls, config_cls = network_class(kind, name), config_class(kind, name)
    if kind == "rectifier":
        fields.setdefault("output", "residual")  # the default of older files
        if fields.get("primary_skips") is False:  # an option of older versions that no shipped network used
            del fields["primary_skips"]
    known = {f.name for f in dataclasses.fields(config_cls)}
    unknown = sorted(str(key)[:60] for key in fields if key not in known)
    if unknown:
        raise UnsupportedCheckpointError(
            f"The configuration of this {name} holds {', '.join(unknown[:5])}, which this version does not know; "
            f"known: {', '.join(sorted(known))}."
        )
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    hints = get_type_hints(config_cls)
    wrong = [key for key, value in fields.items() if not _fits(value, hints[key])]
    if wrong:
        raise CorruptCheckpointError(
            f"The configuration of this {name} makes no network: {wrong[0]} cannot be a "
            f"{type(fields[wrong[0]]).__name__} here."
        )
    try:
        return cls(config_cls(**fields))
    except (InputError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise CorruptCheckpointError(f"The configuration of this {name} makes no network: {error}") from error


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of a file has the type of its field: a text as a number fails only when a picture is made."""
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    if get_args(hint):  # a union
        return any(_fits(value, option) for option in get_args(hint))
    return type(value) in ((int, float) if hint is float else (hint,))


def describe(network: nn.Module) -> dict[str, Any]:
    """``{"type": class name, **fields}`` of a network's ``config``, ready for JSON; :func:`build` takes it back."""
    fields = dataclasses.asdict(cast(Any, network).config)
    listed = {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}
    return {"type": type(network).__name__, **listed}
