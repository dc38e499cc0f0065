"""What an action codec is, and what codecs have in common: checks, and draft lengths as numbers in [-1, 1]."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from multispin_env.config import SystemConfig
from multispin_env.core.equations import Allocation, FloatArray, IntArray
from multispin_env.core.view import RoundView
from multispin_env.envs.checks import check_choice, real_array

_ONE = np.array(1.0)
DRAFT_LENGTHS = ("homogeneous", "heterogeneous")


class ActionCodec(ABC):
    """Actions in [-1, 1], float32, flat, as allocations.

    A new kind is a subclass that sets ``numbers`` and implements the two conversions, and an entry in ``ACTIONS``.

    Args:
        config: The system.
        draft_lengths: ``heterogeneous``, a length a user, or ``homogeneous``, one for all.

    Attributes:
        config: The system.
        homogeneous: Whether there is one length for all.
        space: What actions lie in.
    """

    def __init__(self, config: SystemConfig, draft_lengths: str) -> None:
        self.config = config
        self.homogeneous = check_choice("draft_lengths", draft_lengths, DRAFT_LENGTHS) == "homogeneous"
        # As arrays: a Python number takes NumPy as long as the operation on a few users.
        self._longest = np.array(float(config.max_draft_length))
        self._half_log = np.array(0.5 * math.log(config.max_draft_length + 1.0))
        self.num_lengths = 1 if self.homogeneous else config.num_users
        self.space = spaces.Box(-1.0, 1.0, (self.numbers(),), np.float32)

    @abstractmethod
    def numbers(self) -> int:
        """How many numbers an action has."""

    @abstractmethod
    def _allocation(self, numbers: FloatArray, view: RoundView) -> Allocation:
        """The allocations of checked actions, (num_envs, numbers)."""

    @abstractmethod
    def _numbers(self, allocation: Allocation, view: RoundView) -> FloatArray:
        """The nearest actions to checked allocations, (num_envs, numbers), as far as they lie in [-1, 1]."""

    def decode(self, actions: ArrayLike, view: RoundView, *, single: bool = False) -> Allocation:
        """The allocations of a batch of actions.

        Args:
            actions: (num_envs, numbers).
            view: The round.
            single: Whether ``actions`` is one action, (numbers,), for a view of one environment.

        Raises:
            TypeError: The actions are no array of real numbers.
            ValueError: Wrong shape, NaN, or a value outside [-1, 1].
        """
        num_envs = len(view.drafting_latency_s)
        shape = self.space.shape if single else (num_envs, *self.space.shape)
        return self._allocation(check_action(actions, shape).reshape(num_envs, -1), view)

    def encode(self, allocation: Allocation, view: RoundView) -> NDArray[np.float32]:
        """The nearest actions to a batch of allocations, (num_envs, numbers); each codec says in which sense.

        Args:
            allocation: Arrays (num_envs, users), as :func:`check_allocation` returns them.
            view: The round.
        """
        return np.clip(self._numbers(allocation, view), -1.0, 1.0).astype(np.float32)

    def lengths(self, numbers: FloatArray) -> IntArray:
        """Draft lengths of numbers in [-1, 1]: 1, L_max and, at 0, about their geometric mean; (num_envs, users).

        A step of a number is a relative change of the length, whatever the length is. Every length has an interval,
        ``log(1 + 1 / L)`` wide relative to the others'.
        """
        lengths = np.minimum(np.exp((numbers + _ONE) * self._half_log), self._longest).astype(np.int64)
        return np.repeat(lengths, self.config.num_users, axis=1) if self.homogeneous else lengths

    def length_numbers(self, lengths: IntArray) -> FloatArray:
        """The middle of the interval that :meth:`lengths` maps to these, (num_envs, num_lengths)."""
        own = lengths[:, : self.num_lengths]
        return np.log(own * (own + 1.0)) / math.log(self.config.max_draft_length + 1.0) - 1.0


def check_action(action: object, shape: tuple[int, ...]) -> FloatArray:
    """An action, or a batch of them, as float64.

    Args:
        action: Anything that NumPy reads as real numbers.
        shape: (numbers,), or (num_envs, numbers) of a batch.

    Raises:
        TypeError: It is no array of real numbers.
        ValueError: Wrong shape, NaN, or a value outside [-1, 1].
    """
    axes = "(numbers,)" if len(shape) == 1 else "(num_envs, numbers)"
    allowed = f"an array of real numbers in [-1, 1] of shape {shape} {axes}"
    array = real_array("action", action, allowed)
    if array.shape != shape:
        raise ValueError(f"action must be {allowed}, got shape {array.shape}")
    checked = array.astype(np.float64)
    # A comparison with NaN is false, so that this refuses NaN as well.
    if not np.abs(checked).max() <= 1.0:
        *environment, number = np.argwhere(~((checked >= -1.0) & (checked <= 1.0)))[0]
        place = "".join(f"environment {index}, " for index in environment) + f"number {number}"
        raise ValueError(f"action must be {allowed}, got {checked[(*environment, number)]!r} at {place}")
    return checked
