"""What every latent editor looks like: named controls with units and ranges, and one ``edit`` method."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from ..errors import InputError
from ..latents import Latent
from .ranges import check_range

__all__ = ["Control", "EditValue", "Editor", "Target", "TextEdit", "change_of", "check_edits",
           "controls_from", "describe_controls", "edit_latent"]

NAME = re.compile(r"\w[\w.\-]{0,63}")
KINDS = ("numeric", "binary", "text")
MAX_TEXT = 300
MAX_CONTROLS = 512


def _finite(value: object) -> bool:
    """Whether it is a number that a float can hold."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


@dataclass(frozen=True)
class Target:
    """An absolute value of a control, in its unit (``yaw=@-15``); plain numbers are changes."""

    value: float | Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.value, Tensor) and not _finite(self.value):
            raise InputError(f"A target must be a finite number, found {repr(self.value)[:80]}.")


@dataclass(frozen=True)
class TextEdit:
    """What a text control is asked for: make the picture more like ``target`` than like ``neutral``.

    Attributes:
        target, neutral: descriptions; an empty neutral takes the editor's own.
        strength: how much, in the control's unit; 0 changes nothing. None takes the control's default.
        threshold: how relevant a channel must be to be moved, 0..1; None takes the editor's own.
    """

    target: str
    neutral: str = ""
    strength: float | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not all(isinstance(text, str) for text in (self.target, self.neutral)) or not self.target.strip():
            raise InputError("A text edit needs a description, for example: an old woman with glasses.")
        if not all(value is None or _finite(value) for value in (self.strength, self.threshold)):
            raise InputError(f"Strength and threshold of a text edit must be finite numbers, found "
                             f"{repr((self.strength, self.threshold))[:80]}.")


EditValue = float | bool | Tensor | Target | TextEdit | str


@dataclass(frozen=True)
class Control:
    """One thing an editor can change.

    Attributes:
        name: letters, digits, ``_ . -``; at most 64 characters.
        kind: ``"numeric"``, ``"binary"`` (on / off) or ``"text"`` (a description, see :class:`TextEdit`).
        minimum, maximum: trained range of the attribute in ``unit``; the larger of the two is also the largest sensible
            change. For texts: of strength.
        unit: for example "degrees"; empty for plain numbers.
        default: value of an average picture.
        description: one line of plain text for people.
        guessed: the file tells no range (somebody else's direction), so that this one is a suggestion.
    """

    name: str
    kind: str = "numeric"
    minimum: float = -1.0
    maximum: float = 1.0
    unit: str = ""
    default: float = 0.0
    description: str = ""
    guessed: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise InputError(
                f"{repr(self.name)[:80]} is no control name; use letters, digits, '_', '.', '-', at most "
                "64 of them."
            )
        if self.kind not in KINDS:
            raise InputError(
                f"Control {self.name}: kind must be one of {', '.join(KINDS)}, found "
                f"{repr(self.kind)[:80]}."
            )
        numbers = (self.minimum, self.maximum, self.default)
        if not all(_finite(v) for v in numbers) or self.minimum >= self.maximum:
            raise InputError(
                f"Control {self.name}: needs finite minimum < maximum and default, found {repr(numbers)[:80]}."
            )
        if not isinstance(self.guessed, bool):
            raise InputError(f"Control {self.name}: guessed must be true or false, found {ascii(self.guessed)[:80]}.")
        for field in ("unit", "description"):
            text = getattr(self, field)
            if not isinstance(text, str) or len(text) > MAX_TEXT or not all(c.isprintable() for c in text):
                raise InputError(
                    f"Control {self.name}: {field} must be one printable line of at most {MAX_TEXT} "
                    "characters."
                )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Control:
        """Build from a file's metadata; unknown keys are ignored, wrong ones raise InputError."""
        if not isinstance(data, Mapping) or "name" not in data:
            raise InputError(f"A control must be an object with a name, found {repr(data)[:80]}.")
        return cls(**{key: data[key] for key in cls.__dataclass_fields__ if key in data})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return {key: value for key, value in asdict(self).items() if key != "guessed" or value}

    @property
    def range_text(self) -> str:
        """For example ``-30..30 degrees`` or ``on|off``."""
        if self.kind == "binary":
            return "on|off"
        if self.kind == "text":
            return "a description"
        return f"{self.minimum:g}..{self.maximum:g}" + (f" {self.unit}" if self.unit else "")


@runtime_checkable
class Editor(Protocol):
    """Latent -> latent. ``edit`` is differentiable in ``ws`` and works on batches."""

    controls: Sequence[Control]
    accepts_targets: bool

    def edit(self, ws: Tensor, edits: Mapping[str, EditValue]) -> Tensor:
        """``ws [B,num_ws,w_dim]`` and edits -> edited codes of the same shape.

        A number (or a tensor ``[B]``) is a change in the control's unit, :class:`Target` an absolute value, and a
        bool sets a binary control. No edits return ``ws`` unchanged. An editor that moves more than W+ codes also has
        ``edit_latent(latent, edits) -> latent``; call :func:`edit_latent`, which uses it where there is one.
        """
        ...


def edit_latent(editor: Editor, latent: Latent, edits: Mapping[str, EditValue], **more: Any) -> Latent:
    """``latent`` edited: by the editor's own ``edit_latent`` (StyleSpace offsets), else its codes by ``edit``.

    No edits return the same latent. ``more`` is passed on (layers of linear directions).

    Raises:
        InputError: what :func:`check_edits` raises.
        MismatchError: codes of another generator.
    """
    if not edits:
        return latent
    own = getattr(editor, "edit_latent", None)
    return own(latent, edits, **more) if own is not None else latent.with_ws(editor.edit(latent.ws, edits, **more))


def controls_from(listed: object) -> list[Control]:
    """The controls that a file's metadata lists; InputError for anything else."""
    if not isinstance(listed, list) or len(listed) > MAX_CONTROLS:
        raise InputError(f"its controls are no list of at most {MAX_CONTROLS}.")
    return [Control.from_dict(item) for item in listed]


def change_of(name: str, value: EditValue, ws: Tensor) -> Tensor | float:
    """A checked change of codes ``ws [B,num_ws,w_dim]``: a number, or ``[B,1,1]`` for one value per image.

    Raises:
        InputError: another number of values than of codes, or no change.
    """
    if isinstance(value, Tensor):
        if value.ndim == 1 and value.shape[0] not in (1, ws.shape[0]):
            raise InputError(f"{name}: {value.shape[0]} changes for {ws.shape[0]} latents; give one, or one for each.")
        return value.to(ws).reshape(-1, 1, 1)
    if isinstance(value, bool):
        return 1.0 if value else -1.0
    if not isinstance(value, int | float):
        raise InputError(f"{name} takes a change, found {repr(value)[:80]}.")
    return float(value)


def describe_controls(controls: Sequence[Control]) -> str:
    """All names with their ranges on one line, for messages."""
    return ", ".join(f"{c.name} ({c.range_text})" for c in controls) or "none"


def check_edits(editor: Editor, edits: Mapping[str, EditValue]) -> dict[str, tuple[Control, EditValue]]:
    """Look up every edit's control and refuse what the editor cannot do.

    Warns (:class:`ReganieWarning`) of values outside a control's range; see :mod:`.ranges`.

    Raises:
        InputError: an unknown control (the message lists names and ranges), a target that the editor does not accept, a
            bool for a numeric control, a number that is not finite or outside twice the control's range.
    """
    known = {control.name: control for control in editor.controls}
    found: dict[str, tuple[Control, EditValue]] = {}
    for name, value in edits.items():
        if name not in known:
            raise InputError(
                f"There is no control {repr(name)[:80]}. This editor has: "
                f"{describe_controls(editor.controls)}."
            )
        control = known[name]
        if isinstance(value, str | TextEdit) != (control.kind == "text"):
            raise InputError(f"{name} takes {control.range_text}, found {repr(value)[:80]}.")
        if isinstance(value, str | TextEdit):
            value = value if isinstance(value, TextEdit) else TextEdit(value)
            if value.strength is not None:
                check_range(control, value.strength)
        elif isinstance(value, Target):
            if not editor.accepts_targets:
                raise InputError(
                    f"{name}=@... asks for an absolute value, but this editor adds linear directions, which only know "
                    f"changes; write {name}=+1 or {name}=-1 instead."
                )
            check_range(control, value.value, absolute=True)
        elif isinstance(value, bool):
            if control.kind != "binary":
                raise InputError(f"{name} is a number ({control.range_text}); on and off are for binary controls.")
        elif isinstance(value, Tensor):
            if value.ndim > 1 or not value.is_floating_point() or not bool(value.isfinite().all()):
                raise InputError(
                    f"{name}: a tensor of changes must be finite floats of shape [B], found "
                    f"{list(value.shape)}."
                )
            check_range(control, value)
        elif not _finite(value):
            raise InputError(f"{name}: a change must be a finite number, found {ascii(value)[:80]}.")
        else:
            check_range(control, value)
        found[name] = (control, value)
    return found
