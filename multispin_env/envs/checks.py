"""Checks of what comes from outside: each names the argument, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from gymnasium.error import Error
from numpy.typing import NDArray

from multispin_env.config.validation import shown

# Beyond it a number of environments is a slip of the pen; NumPy's own error, of memory, would not name it.
MAX_NUM_ENVS = 1_000_000


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> str:
    """``value`` if it is one of the allowed ones, else a ValueError that names them."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return str(value)


def check_num_envs(value: object) -> int:
    """A number of environments in a batch, or a ValueError."""
    if not _is_integer(value) or not 1 <= int(value) <= MAX_NUM_ENVS:
        raise ValueError(f"num_envs must be an integer in [1, {MAX_NUM_ENVS}], got {shown(value)}")
    return int(value)


def check_max_episode_steps(value: object) -> int | None:
    """A limit on the steps of an episode, None where there is none (which Gymnasium also writes as -1).

    Raises:
        ValueError: It is neither.
    """
    if value is None or (_is_integer(value) and value == -1):
        return None
    if not _is_integer(value) or int(value) < 1:
        raise ValueError(
            f"max_episode_steps must be None, -1 (both mean no limit) or an integer of at least 1, got {shown(value)}"
        )
    return int(value)


def check_seed(seed: object) -> int | None:
    """A seed of one environment as a plain integer, or None.

    Raises:
        gymnasium.error.Error: It is neither; what Gymnasium raises as well.
    """
    if seed is None:
        return None
    if not _is_integer(seed) or int(seed) < 0:
        raise Error(f"seed must be None or an integer of at least 0, got {shown(seed)}")
    return int(seed)


def check_seeds(seed: object, num_envs: int) -> list[int | None]:
    """The seeds of a batch: ``seed + i`` for environment i, or the entries of a sequence.

    Raises:
        gymnasium.error.Error: A seed is neither None nor an integer of at least 0.
        ValueError: The sequence does not have one seed for every environment.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, np.ndarray):
        seed = seed.tolist()
    if isinstance(seed, Sequence) and not isinstance(seed, str | bytes):
        if len(seed) != num_envs:
            raise ValueError(f"seed must be an integer or have {num_envs} entries, got {len(seed)} entries")
        return [check_seed(own) for own in seed]
    first = check_seed(seed)
    assert first is not None
    return [first + index for index in range(num_envs)]


def check_options(options: object) -> None:
    """Refuses any option of ``reset``: there are none.

    Raises:
        TypeError: ``options`` is no dict.
        ValueError: It has an entry.
    """
    if options is None:
        return
    if not isinstance(options, Mapping):
        raise TypeError(f"options must be None or an empty dict, got {shown(options)}")
    if options:
        names = ", ".join(map(repr, options))
        why = (
            "; the environments of a batch start and end together, so that none is reset alone"
            if "reset_mask" in options
            else ""
        )
        raise ValueError(f"options must be None or an empty dict, as reset has no option {names}{why}")


def real_array(name: str, values: object, allowed: str) -> NDArray[np.floating | np.integer]:
    """``values`` as an array of real numbers, not necessarily a copy.

    Raises:
        TypeError: It is something else; the message says so and what is ``allowed``.
    """
    try:
        array = np.asarray(values)
    except Exception as error:  # whatever the conversion of a foreign object may raise
        raise TypeError(f"{name} must be {allowed}, got {shown(values)} ({error})") from error
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be {allowed}, got {shown(values)} of dtype {array.dtype}")
    return array


def _is_integer(value: object) -> TypeGuard[int | np.integer[Any]]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
