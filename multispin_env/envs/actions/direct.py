"""Actions that are draft lengths and bandwidth shares themselves."""

from __future__ import annotations

import numpy as np

from multispin_env.config import SystemConfig
from multispin_env.core.equations import Allocation, FloatArray, IntArray
from multispin_env.core.view import RoundView
from multispin_env.envs.actions.base import ActionCodec
from multispin_env.optimal import RatePredictor, typical_delay_s


class DirectAction(ActionCodec):
    """Draft lengths, then a tilt of each user's share of the band.

    Shares are proportional to ``exp(tilt)`` times the shares at which all drafts would be uploaded in the same time at
    the predicted rates, ``L_k / r_k``. So zeros are a fair start: all draft about the root of the longest draft, and no
    user waits for another's slow uplink. A share can be e times as large or as small, relative to the others'. That
    is enough: the best allocations within reach keep all of the optimum in ``paper`` but .02 %, and an untrained
    Gaussian policy seldom starves a user.

    ``encode`` returns lengths exactly, and shares exactly where the tilts are within reach, that is, where none is more
    than e^2 times another; beyond it the largest ratio between a tilt and the one asked for is as small as can be.
    """

    def __init__(self, config: SystemConfig, draft_lengths: str) -> None:
        super().__init__(config, draft_lengths)
        self._predicted = RatePredictor(typical_delay_s(config))

    def numbers(self) -> int:
        """A length and a tilt for every user."""
        return self.num_lengths + self.config.num_users

    def _allocation(self, numbers: FloatArray, view: RoundView) -> Allocation:
        lengths = self.lengths(numbers[:, : self.num_lengths])
        weights = self._equal_upload_weights(lengths, view) * np.exp(numbers[:, self.num_lengths :])
        return Allocation(lengths, weights / weights.sum(axis=1, keepdims=True))

    def _numbers(self, allocation: Allocation, view: RoundView) -> FloatArray:
        lengths, shares = allocation
        tilts = np.log(shares) - np.log(self._equal_upload_weights(lengths, view))
        # Only their differences matter: the middle of their range is put at 0.
        tilts -= 0.5 * (np.max(tilts, axis=1, keepdims=True) + np.min(tilts, axis=1, keepdims=True))
        return np.concatenate([self.length_numbers(lengths), tilts], axis=1)

    def _equal_upload_weights(self, lengths: IntArray, view: RoundView) -> FloatArray:
        return lengths / self._predicted(view)
