"""Gymnasium's flat boxes as decisions: actions to allocations and back."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from multispin_env.config import SystemConfig
from multispin_env.core.equations import Allocation, FloatArray, IntArray
from multispin_env.core.view import RoundView
from multispin_env.envs.checks import check_choice, real_array
from multispin_env.optimal import RoundProblem, equalize_bandwidth

DRAFT_LENGTHS = ("homogeneous", "heterogeneous")
BANDWIDTHS = ("agent", "optimal")

# logit = sinh(3 a): a slope of 3 around equal shares, where learning happens, and a reach of e^20 between the largest
# and the smallest share, so that any allocation can be encoded.
LOGIT_CURVATURE = 3.0
_SHARE_TOLERANCE = 1e-6


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
    if not (checked.min() >= -1.0 and checked.max() <= 1.0):
        *environment, number = np.argwhere(~((checked >= -1.0) & (checked <= 1.0)))[0]
        place = "".join(f"environment {index}, " for index in environment) + f"number {number}"
        raise ValueError(f"action must be {allowed}, got {checked[(*environment, number)]!r} at {place}")
    return checked


class ActionCodec:
    """Actions in [-1, 1], float32, flat: draft lengths first, then bandwidth logits.

    Args:
        config: The system. draft_lengths: ``heterogeneous``, a length a user, or ``homogeneous``, one for all.
        bandwidth: ``agent``, a logit a user, or ``optimal``: no logits, Lemma 1 and 3 split the band by what is
        observed.
    """

    def __init__(self, config: SystemConfig, draft_lengths: str, bandwidth: str) -> None:
        self._config = config
        self._homogeneous = check_choice("draft_lengths", draft_lengths, DRAFT_LENGTHS) == "homogeneous"
        self._optimal = check_choice("bandwidth", bandwidth, BANDWIDTHS) == "optimal"
        self._num_lengths = 1 if self._homogeneous else config.num_users
        size = self._num_lengths + (0 if self._optimal else config.num_users)
        self.space = spaces.Box(-1.0, 1.0, (size,), np.float32)

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
        numbers = check_action(actions, shape).reshape(num_envs, -1)
        users = self._config.num_users
        longest = self._config.max_draft_length
        bins = np.floor((numbers[:, : self._num_lengths] + 1.0) * (0.5 * longest))
        lengths = np.minimum(bins + 1.0, longest).astype(np.int64)
        if self._homogeneous:
            lengths = np.repeat(lengths, users, axis=1)
        if self._optimal:
            _, shares = equalize_bandwidth(RoundProblem.from_view(view), lengths)
        else:
            weights = np.exp(np.sinh(LOGIT_CURVATURE * numbers[:, self._num_lengths :]))
            shares = weights / np.sum(weights, axis=1, keepdims=True)
        return Allocation(lengths, shares)

    def encode(self, allocation: Allocation) -> NDArray[np.float32]:
        """The actions that ``decode`` turns into these allocations, (num_envs, numbers).

        Lengths come back exactly, shares to 1e-6. With ``bandwidth="optimal"`` the shares are not part of the action.

        Args:
            allocation: Arrays (num_envs, users); (users,) is a batch of one.

        Raises:
            TypeError: No pair of arrays of real numbers.
            ValueError: An allocation that is impossible, or unequal lengths where the environment has one for all.
        """
        lengths, shares = self._checked_allocation(allocation)
        parts = [(2.0 * lengths[:, : self._num_lengths] - 1.0) / self._config.max_draft_length - 1.0]
        if not self._optimal:
            logits = np.log(np.maximum(shares, np.finfo(np.float64).tiny))
            reach = np.sinh(LOGIT_CURVATURE)
            # Only ratios matter: put the largest share at the top of the range and cut off what lies e^20 below it.
            logits = np.maximum(logits - np.max(logits, axis=1, keepdims=True), -2.0 * reach)
            logits -= 0.5 * np.min(logits, axis=1, keepdims=True)
            parts.append(np.arcsinh(logits) / LOGIT_CURVATURE)
        return np.clip(np.concatenate(parts, axis=1), -1.0, 1.0).astype(np.float32)

    def _checked_allocation(self, allocation: Allocation) -> tuple[IntArray, FloatArray]:
        users, longest = self._config.num_users, self._config.max_draft_length
        shape = f"of shape (num_envs, {users}) or ({users},)"
        integers = f"integers in [1, {longest}] {shape}"
        non_negative = f"non-negative and sum to 1 over the users, {shape}"
        if not isinstance(allocation, tuple | list) or len(allocation) != 2:
            raise TypeError(f"allocation must be an Allocation of draft_length and bandwidth_share, got {allocation!r}")
        lengths = np.atleast_2d(real_array("draft_length", allocation[0], integers))
        shares = np.atleast_2d(real_array("bandwidth_share", allocation[1], non_negative)).astype(np.float64)
        for name, values, allowed in (("draft_length", lengths, integers), ("bandwidth_share", shares, non_negative)):
            if values.ndim != 2 or values.shape[1] != users or not len(values):
                raise ValueError(f"{name} must be {allowed}, got shape {values.shape}")
        if len(lengths) != len(shares):
            raise ValueError(
                f"draft_length and bandwidth_share must be as long as each other, got {len(lengths)} and {len(shares)}"
            )
        if lengths.dtype.kind not in "iu" or lengths.min() < 1 or lengths.max() > longest:
            raise ValueError(f"draft_length must be {integers}, got {lengths}")
        if self._homogeneous and np.any(lengths != lengths[:, :1]):
            raise ValueError(f"draft_length must be the same for all users of a homogeneous environment, got {lengths}")
        if not (shares.min() >= 0.0 and np.all(np.abs(np.sum(shares, axis=1) - 1.0) < _SHARE_TOLERANCE)):
            raise ValueError(f"bandwidth_share must be {non_negative}, got {shares}")
        return lengths.astype(np.int64), shares
