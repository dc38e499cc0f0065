"""Large-scale fading: what path loss and shadowing leave of a user's power."""

from __future__ import annotations

import numpy as np

from multispin_env.config import ChannelConfig
from multispin_env.core.equations import FloatArray, spectral_efficiency
from multispin_env.core.processes import ornstein_uhlenbeck
from multispin_env.core.streams import RoundDraws, Streams

_DB_TO_LOG = float(np.log(10.0)) / 10.0


class LargeScaleFading:
    """Path gain, drawn once an episode, and log-normal shadowing.

    The shadowing is held over a round, which is short beside its correlation time, and moves on with the round's
    duration.

    Attributes:
        mean_snr: Signal to noise ratio over the whole band, averaged over the small-scale fading, linear,
            (num_envs, num_users).
        spectral_efficiency: At that ratio, bit/s/Hz, (num_envs, num_users).
    """

    mean_snr: FloatArray
    spectral_efficiency: FloatArray

    def __init__(self, config: ChannelConfig, num_users: int, rounds: int) -> None:
        self._config = config
        self._num_users = num_users
        self._shadowed = config.shadowing_std_db > 0.0
        # The first draw is the shadowing at the start of the episode.
        self._draws = RoundDraws(np.random.Generator.standard_normal, 1, num_users, rounds + 1)

    def reset(self, streams: Streams) -> None:
        """Draws path gains and shadowing."""
        low, high = self._config.path_gain_low, self._config.path_gain_high
        self._path_gain = low + (high - low) * streams.uniform("channel.path_gain", self._num_users)
        if self._shadowed:
            self._draws.reset(streams.generators("channel.shadowing"))
            self._shadowing = self._draws.next()[0].copy()
        self._update()

    def end_round(self, duration_s: FloatArray) -> None:
        """Moves on by a round's duration, (num_envs,)."""
        if self._shadowed:
            rate = duration_s[:, np.newaxis] / self._config.shadowing_correlation_time_s
            self._shadowing = ornstein_uhlenbeck(self._shadowing, rate, self._draws.next()[0])
            self._update()

    def _update(self) -> None:
        self.mean_snr = self._config.power_to_noise * self._path_gain
        if self._shadowed:
            self.mean_snr *= np.exp(_DB_TO_LOG * self._config.shadowing_std_db * self._shadowing)
        self.spectral_efficiency = spectral_efficiency(self.mean_snr)
