"""Agents of somebody's own modules, named as ``module:Class``."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from multispin_env.evaluation.agents import Agent
from multispin_env.registration import import_module


def import_agent(text: str) -> Agent:
    """The agent that ``module:NAME`` names.

    Naming it runs the module, as importing does. The module is looked for among what is installed and then in the
    working directory. ``NAME`` is a class, which is called without arguments, or an agent itself: an instance with
    ``act`` or ``predict``, or a function observation -> action.

    Raises:
        ValueError: There is no such module or name, the module does not import, the class needs arguments, or it
            makes nothing that can act, predict or be called.
    """
    module_name, _, name = text.partition(":")
    if not module_name or not name:
        raise ValueError(f"an agent of a module is named as module:Class, got {text!r}")
    module = import_module(module_name, text)
    if not hasattr(module, name):
        theirs = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        raise ValueError(f"{text}: module {module_name} has no {name!r}; it defines {', '.join(theirs) or 'nothing'}")
    made = _instance(getattr(module, name), text)
    if not (hasattr(made, "act") or hasattr(made, "predict") or callable(made)):
        raise ValueError(
            f"{text} is not a controller: it must have act(view) -> Allocation, or predict as stable-baselines3 has "
            f"it, or be a function observation -> action, got {type(made).__name__}"
        )
    return made


def module_file(text: str) -> str | None:
    """The file of the module of ``module:NAME``, once imported; None for one without."""
    return getattr(sys.modules[text.partition(":")[0]], "__file__", None)


def _instance(found: Any, text: str) -> Any:
    if not isinstance(found, type):
        return found
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise ValueError(
            f"{text} needs arguments {inspect.signature(found)}; name a class that can be called without any, or an "
            "instance that the module has made"
        ) from error
    try:
        return found()
    except Exception as error:
        raise ValueError(f"{text} cannot be made: {type(error).__name__}: {error}") from error
