"""Between Gymnasium's flat boxes and the system: actions to allocations and back, views to observations."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from multispin_env.config import SystemConfig
from multispin_env.core.equations import Allocation, FloatArray, IntArray
from multispin_env.core.simulator import round_features
from multispin_env.core.view import RoundView
from multispin_env.optimal import RoundProblem, equalize_bandwidth

DRAFT_LENGTHS = ("homogeneous", "heterogeneous")
BANDWIDTHS = ("agent", "optimal")

# logit = sinh(3 a): a slope of 3 around equal shares, where learning happens, and a reach of e^20 between the largest
# and the smallest share, so that any allocation can be encoded.
LOGIT_CURVATURE = 3.0
_SHARE_TOLERANCE = 1e-6


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> str:
    """``value`` if it is one of the allowed ones, else a ValueError that names them."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return str(value)


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

    def decode(self, actions: ArrayLike, view: RoundView) -> Allocation:
        """The allocations of a batch of actions, (lanes, action size).

        Raises:
            ValueError: Wrong shape, NaN, or a value outside [-1, 1].
        """
        actions = self._checked(actions, len(view.drafting_latency_s))
        users = self._config.num_users
        longest = self._config.max_draft_length
        bins = np.floor((actions[:, : self._num_lengths] + 1.0) * (0.5 * longest))
        lengths = np.minimum(bins + 1.0, longest).astype(np.int64)
        if self._homogeneous:
            lengths = np.repeat(lengths, users, axis=1)
        if self._optimal:
            _, shares = equalize_bandwidth(RoundProblem.from_view(view), lengths)
        else:
            weights = np.exp(np.sinh(LOGIT_CURVATURE * actions[:, self._num_lengths :]))
            shares = weights / np.sum(weights, axis=1, keepdims=True)
        return Allocation(lengths, shares)

    def encode(self, allocation: Allocation) -> NDArray[np.float32]:
        """The actions that ``decode`` turns into these allocations, (lanes, action size).

        Lengths come back exactly, shares to 1e-6. With ``bandwidth="optimal"`` the shares are not part of the action.

        Raises:
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

    def _checked(self, actions: ArrayLike, num_lanes: int) -> FloatArray:
        checked = np.asarray(actions, dtype=np.float64)
        expected = (num_lanes, *self.space.shape)
        if checked.shape != expected:
            raise ValueError(f"action must have shape {expected} (lanes, numbers), got {checked.shape}")
        # A comparison with NaN is false, so that this refuses NaN as well.
        if not (checked.min() >= -1.0 and checked.max() <= 1.0):
            bad = ~((checked >= -1.0) & (checked <= 1.0))
            lane, number = np.argwhere(bad)[0]
            raise ValueError(
                f"action must lie in [-1, 1], got {checked[lane, number]!r} at lane {lane}, number {number}"
            )
        return checked

    def _checked_allocation(self, allocation: Allocation) -> tuple[IntArray, FloatArray]:
        config = self._config
        lengths, shares = np.asarray(allocation.draft_length), np.asarray(allocation.bandwidth_share, dtype=np.float64)
        for name, values in (("draft_length", lengths), ("bandwidth_share", shares)):
            if values.ndim != 2 or values.shape[1] != config.num_users:
                raise ValueError(f"{name} must have shape (lanes, {config.num_users}), got {values.shape}")
        if not np.issubdtype(lengths.dtype, np.integer) or lengths.min() < 1 or lengths.max() > config.max_draft_length:
            raise ValueError(f"draft_length must be integers in [1, {config.max_draft_length}], got {lengths}")
        if self._homogeneous and np.any(lengths != lengths[:, :1]):
            raise ValueError(f"draft_length must be the same for all users of a homogeneous environment, got {lengths}")
        if not (shares.min() >= 0.0 and np.all(np.abs(np.sum(shares, axis=1) - 1.0) < _SHARE_TOLERANCE)):
            raise ValueError(f"bandwidth_share must be non-negative and sum to 1 over the users, got {shares}")
        return lengths.astype(np.int64), shares


class ObservationCodec:
    """Views as flat float32 vectors: some numbers a user, grouped by number, users in order within each group.

    Number ``f * K + k`` is feature f of user k; features, their units and limits are those of
    :func:`~multispin_env.core.round_features`.
    """

    def __init__(self, config: SystemConfig) -> None:
        self.features = round_features(config)
        self._high = np.array([feature.limit / feature.unit for feature in self.features], dtype=np.float32)
        self.space = spaces.Box(np.float32(0.0), np.repeat(self._high, config.num_users), dtype=np.float32)

    def encode(self, view: RoundView) -> NDArray[np.float32]:
        """Observations of a batch of views, (num_envs, features K), a fresh array."""
        num_envs, users = view.drafting_latency_s.shape
        features = np.empty((len(self.features), num_envs, users), dtype=np.float32)
        # Divided in float64, where no config overflows, and bounded in float32, the space's own type.
        for out, feature, high in zip(features, self.features, self._high, strict=True):
            np.divide(getattr(view, feature.name), feature.unit, out=out, casting="same_kind")
            np.minimum(out, high, out=out)
        return np.ascontiguousarray(features.swapaxes(0, 1)).reshape(num_envs, -1)
