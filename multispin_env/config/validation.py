"""Checks of what comes from outside: numbers in their ranges, fields that exist, and errors that name all of it."""

from __future__ import annotations

import dataclasses
import difflib
import numbers
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, TypeVar

T = TypeVar("T")

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100
_LONGEST_NAME = 100


class ConfigError(ValueError):
    """A value from outside that cannot be used; the message names the field, the value and the allowed range."""


def shown(value: object) -> str:
    """``value`` for an error message: its ``repr``, shortened; of any size or depth, and whatever its class does."""
    try:
        return _SHORT.repr(value)
    except Exception:  # Python refuses to write integers of more than 4300 digits; a foreign class may raise anything
        return f"an integer of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"


def real(low: float, high: float, *, off: bool = False, default: Any = dataclasses.MISSING) -> Any:
    """A field of :class:`Checked`: a number from ``low`` to ``high``, or exactly 0 if ``off`` allows it."""
    return field(default=default, metadata={"low": low, "high": high, "off": off, "integer": False})


def whole(low: int, high: int, *, default: Any = dataclasses.MISSING) -> Any:
    """A field of :class:`Checked`: an integer from ``low`` to ``high``."""
    return field(default=default, metadata={"low": low, "high": high, "off": False, "integer": True})


def check_number(name: str, value: Any, rule: Mapping[str, Any]) -> float | int:
    """``value`` as a plain number if it is as the metadata of a :func:`real` or :func:`whole` field says.

    Raises:
        ConfigError: It is not; the message names it, the value and the range.
    """
    accepted = numbers.Integral if rule["integer"] else numbers.Real
    # In this form NaN fails as well, and an integer of any size is compared without becoming a float.
    usable = not isinstance(value, bool) and isinstance(value, accepted)
    if not (usable and (rule["low"] <= value <= rule["high"] or (rule["off"] and value == 0))):
        kind = "an integer" if rule["integer"] else "a finite number"
        low, high = rule["low"], rule["high"]
        interval = f"[{low}, {high}]" if rule["integer"] else f"[{low:g}, {high:g}]"
        allowed = f"{'0 or ' if rule['off'] else ''}{kind} in {interval}"
        raise ConfigError(f"{name} must be {allowed}, got {shown(value)}")
    return int(value) if rule["integer"] else float(value)


class Checked:
    """Checks every numeric field of a frozen dataclass against the range in its metadata."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            if "low" in item.metadata:
                name = f"{type(self).__name__}.{item.name}"
                object.__setattr__(self, item.name, check_number(name, getattr(self, item.name), item.metadata))


def check_text(name: str, value: object) -> None:
    """Refuses what is no string, or an empty one.

    Raises:
        ConfigError: It is; the message names it and the value.
    """
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} must be a non-empty string, got {shown(value)}")


def check_fields(name: str, values: Mapping[str, Any], known: Sequence[str], required: Sequence[str]) -> None:
    """Refuses a mapping that has a field which is not known, or lacks one that is required.

    Raises:
        ConfigError: It does; the message names the mapping, the field and what is known or missing.
    """
    for field_name in values:
        if field_name not in known:
            comparable = isinstance(field_name, str) and len(field_name) <= _LONGEST_NAME
            guess = difflib.get_close_matches(field_name, known, n=1) if comparable else []
            hint = f"; did you mean {guess[0]!r}?" if guess else "."
            raise ConfigError(f"{name} has no field {shown(field_name)}{hint} Its fields are: {', '.join(known)}")
    missing = [field_name for field_name in required if field_name not in values]
    if missing:
        raise ConfigError(f"{name} needs a value for: {', '.join(missing)}")


def from_mapping(cls: type[T], values: T | Mapping[str, Any], name: str) -> T:
    """An instance of a dataclass from a mapping of its fields; an instance is returned as it is.

    Raises:
        ConfigError: ``values``, called ``name`` in the message, is neither, or a field is unknown, missing or wrong.
    """
    if isinstance(values, cls):
        return values
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name} must be a {cls.__name__} or a dict of its fields, got {shown(values)}")
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    required = [
        item.name
        for item in fields
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    check_fields(cls.__name__, values, [item.name for item in fields], required)
    return cls(**values)
