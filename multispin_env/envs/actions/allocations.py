"""Checks of allocations that come from outside."""

from __future__ import annotations

import numpy as np

from multispin_env.config import SystemConfig
from multispin_env.core.equations import Allocation
from multispin_env.envs.checks import real_array

_SHARE_TOLERANCE = 1e-6


def check_allocation(allocation: object, config: SystemConfig, num_envs: int, *, homogeneous: bool) -> Allocation:
    """An allocation that can be played: int64 lengths and float64 shares, (num_envs, users).

    Args:
        allocation: An :class:`Allocation` or a pair of arrays, (num_envs, users); (users,) is a batch of one.
        config: The system.
        num_envs: Size of the batch.
        homogeneous: Whether all users must have one length.

    Raises:
        TypeError: It is no pair of arrays of real numbers.
        ValueError: A shape is wrong, a length is no integer in 1..max_draft_length, lengths differ where all must have
            one, a share is not above 0, or the shares do not sum to 1 (to within 1e-6).
    """
    users, longest = config.num_users, config.max_draft_length
    shape = f"of shape ({num_envs}, {users})" + (f" or ({users},)" if num_envs == 1 else "")
    integers = f"integers in [1, {longest}] {shape}"
    positive = f"above 0 and sum to 1 over the users, {shape}"
    if not isinstance(allocation, tuple | list) or len(allocation) != 2:
        raise TypeError(f"allocation must be an Allocation of draft_length and bandwidth_share, got {allocation!r}")
    lengths = np.atleast_2d(real_array("draft_length", allocation[0], integers))
    shares = np.atleast_2d(real_array("bandwidth_share", allocation[1], positive)).astype(np.float64)
    for name, values, allowed in (("draft_length", lengths, integers), ("bandwidth_share", shares, positive)):
        if values.shape != (num_envs, users):
            raise ValueError(f"{name} must be {allowed}, got shape {values.shape}")
    if lengths.dtype.kind not in "iu" or lengths.min() < 1 or lengths.max() > longest:
        raise ValueError(f"draft_length must be {integers}, got {lengths}")
    if homogeneous and np.any(lengths != lengths[:, :1]):
        raise ValueError(f"draft_length must be the same for all users of a homogeneous environment, got {lengths}")
    if not (shares.min() > 0.0 and np.all(np.abs(np.sum(shares, axis=1) - 1.0) < _SHARE_TOLERANCE)):
        raise ValueError(f"bandwidth_share must be {positive}, got {shares}")
    return Allocation(lengths.astype(np.int64), shares)
