"""What users add by name, in modules of their own: the names, and how another process finds them."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from multispin_env.config.validation import shown

_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)


def check_new_name(what: str, name: object, new: object, taken: Mapping[str, Any]) -> str:
    """``name`` if something can be called so.

    Args:
        what: What is named, as errors call it: ``scenario``.
        name: Letters, digits and ``_.+-``, beginning with a letter or digit.
        new: What is to be called so.
        taken: What there is, by name. What is registered again, as where a notebook's cell runs twice, does not count.

    Raises:
        ValueError: It is taken or has other characters.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"a {what}'s name must be of letters, digits and _.+-, got {shown(name)}")
    if name in taken and not _is_again(taken[name], new):
        raise ValueError(f"there is another {what} {name!r} already; taken are {', '.join(taken)}")
    return name


def _is_again(old: object, new: object) -> bool:
    """Whether two are equal, or functions or classes that the same place in a module defines."""
    if isinstance(old, tuple) and isinstance(new, tuple):
        return len(old) == len(new) and all(map(_is_again, old, new))
    if callable(old) and callable(new):
        place, again = ((getattr(one, "__module__", None), getattr(one, "__qualname__", None)) for one in (old, new))
        if place == again and None not in place and not str(place[1]).endswith("<lambda>"):
            return True
    return bool(old == new)


def registered_name(text: str) -> str:
    """The name in ``module:name``, once the module that registers it is imported; any other text as it is.

    As in Gymnasium's ids: a registration holds in one process, and ``module:name`` carries it to every other one.

    Raises:
        ValueError: The module is not found, or does not import.
    """
    module_name, colon, name = text.rpartition(":")
    if colon:
        import_module(module_name, text)
    return name


def import_module(module_name: str, text: str) -> ModuleType:
    """Imports a module, which runs it. It is looked for among what is installed and then in the working directory.

    Raises:
        ValueError: It is not found, or does not import; the message begins with ``text``, which named it.
    """
    # Last, so that nothing in the working directory stands in for an installed module.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(
                f"{text}: there is no module {error.name!r}, neither installed nor in {os.getcwd()}"
            ) from error
        raise ValueError(f"{text}: module {module_name} does not import: {error}") from error
    except Exception as error:
        raise ValueError(f"{text}: module {module_name} does not import: {type(error).__name__}: {error}") from error
