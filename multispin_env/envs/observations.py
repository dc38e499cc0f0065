"""Views of a round as Gymnasium's flat boxes."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from multispin_env.config import SystemConfig
from multispin_env.core.view import RoundView

# Scale of the spectral efficiency in observations, and where they are cut off, in bit/s/Hz.
SPECTRAL_EFFICIENCY_SCALE = 8.0
SPECTRAL_EFFICIENCY_LIMIT = 64.0


class ObservationCodec:
    """Views as flat float32 vectors: nine numbers a user, grouped by number, users in order within each group.

    Number ``f * K + k`` is feature f of user k:

    == ============================================ ==================================
    f  feature                                      divided by
    == ============================================ ==================================
    0  drafting latency now                         the config's ``drafting_latency_s``
    1  spectral efficiency observed                 8 bit/s/Hz
    2  spectral efficiency, long-term               8 bit/s/Hz
    3  acceptance, mean of the task                 1
    4  acceptance, standard deviation of the task   1
    5  drafts of this request decided so far        the config's ``requests.tokens_high``
    6  drafts of this request accepted so far       the config's ``requests.tokens_high``
    7  draft length of the last round               the config's ``max_draft_length``
    8  drafts accepted in the last round            the config's ``max_draft_length``
    == ============================================ ==================================

    Every feature is cut off at its upper bound. Spectral efficiencies reach theirs, 64 bit/s/Hz; for the others this
    takes away what rounding adds.
    """

    num_features = 9

    def __init__(self, config: SystemConfig) -> None:
        tokens_high, longest = config.requests.tokens_high, config.max_draft_length
        slowest = (1.0 + config.drafting_latency_spread) * (1.0 + config.heat.slowdown)
        efficiency = SPECTRAL_EFFICIENCY_LIMIT / SPECTRAL_EFFICIENCY_SCALE
        # Every round decides at most one draft more than it gains tokens for, and the last round may overshoot.
        progress = 2.0 * (tokens_high + longest) / tokens_high
        high = np.array([slowest, efficiency, efficiency, 1.0, 0.5, progress, progress, 1.0, 1.0], dtype=np.float32)
        self._high = high
        self._latency_s = config.drafting_latency_s
        self._tokens_high, self._longest = float(tokens_high), float(longest)
        self.space = spaces.Box(np.float32(0.0), np.repeat(high, config.num_users), dtype=np.float32)

    def encode(self, view: RoundView) -> NDArray[np.float32]:
        """Observations of a batch of views, (num_envs, 9 K), a fresh array."""
        num_envs, users = view.drafting_latency_s.shape
        features = np.empty((self.num_features, num_envs, users), dtype=np.float32)
        scaled = (
            (view.drafting_latency_s, self._latency_s),
            (view.observed_spectral_efficiency, SPECTRAL_EFFICIENCY_SCALE),
            (view.long_term_spectral_efficiency, SPECTRAL_EFFICIENCY_SCALE),
            (view.task_acceptance_mean, 1.0),
            (view.task_acceptance_std, 1.0),
            (view.request_tested, self._tokens_high),
            (view.request_accepted, self._tokens_high),
            (view.last_draft_length, self._longest),
            (view.last_accepted, self._longest),
        )
        # Divided in float64, where no config overflows, and bounded in float32, the space's own type.
        for feature, (values, unit), high in zip(features, scaled, self._high, strict=True):
            np.divide(values, unit, out=feature, casting="same_kind")
            np.minimum(feature, high, out=feature)
        return np.ascontiguousarray(features.swapaxes(0, 1)).reshape(num_envs, -1)
