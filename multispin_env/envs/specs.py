"""An environment's spec as JSON can hold it, whatever types its arguments had."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec


class PlainSpec:
    """Gives an environment a ``spec`` whose arguments are plain data.

    Gymnasium hands the spec over once the environment is made, with the arguments as they were given. A path, a NumPy
    number or a config section among them would make ``spec.to_json()`` fail.
    """

    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """What ``gymnasium.make`` makes this environment again from."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = None if spec is None else dataclasses.replace(spec, kwargs=plain(spec.kwargs))


def plain(value: Any) -> Any:
    """A copy of ``value`` in the types that JSON knows; what has no such form is returned as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {plain(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Enum):
        return plain(value.value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value
