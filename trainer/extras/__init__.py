"""What the rectifier stage can do beyond the paper, one file each. A file and its line here can be deleted.

A config turns them on in its section "extras", with their settings: {"paste": {"share": 0.6}, "jitter": {"most": 0.7}}.
They act in the order of this table.
"""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Collection, Mapping
from typing import Any

from reganie_core.errors import InputError

from ..loop.config import from_json, help_of
from .base import Extra

__all__ = ["EXTRAS", "Extra", "build_extras", "extra_class", "manual_of"]

EXTRAS = {
    "carry": ("carry", "Carry"),
    "real": ("real", "Real"),
    "edited_pictures": ("edited_pictures", "EditedPictures"),
    "crop_error": ("crop_error", "CropError"),
    "paste": ("paste", "Paste"),
    "jitter": ("jitter", "Jitter"),
    "edited_codes": ("edited_codes", "EditedCodes"),
    "l2": ("l2", "L2"),
    "changed": ("changed", "Changed"),
    "attribute": ("attribute", "Attribute"),
}


def extra_class(name: str) -> type[Extra]:
    """Its class. Raises InputError for a name that is not in the table."""
    if name not in EXTRAS:
        raise InputError(f"There is no extra {name!r}; there are: {', '.join(EXTRAS)}.")
    module, cls = EXTRAS[name]
    return getattr(importlib.import_module(f".{module}", __package__), cls)


def build_extras(sections: Mapping[str, Mapping[str, Any]], without: Collection[str] = ()) -> list[Extra]:
    """The extras of a config's section, less those that are to be left out.

    Raises:
        InputError: an extra or a setting that does not exist, or a value of another type, naming it.
    """
    for name in (*sections, *without):
        extra_class(name)
    built = []
    for name in EXTRAS:
        if name not in sections or name in without:
            continue
        cls = extra_class(name)
        kinds = typing.get_type_hints(cls)
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(sections[name]) - set(known)):
            raise InputError(f"extras.{name} has no setting {', '.join(unknown)}; it has {', '.join(known)}.")
        built.append(cls(**{key: from_json(value, kinds[key], f"extras.{name}.{key}")
                            for key, value in sections[name].items()}))
    return built


def manual_of(name: str) -> list[tuple[str, Any, str]]:
    """(setting, default, help) of each setting of an extra."""
    cls = extra_class(name)
    return [(field.name, getattr(cls(), field.name), help_of(cls, field.name)) for field in dataclasses.fields(cls)]
