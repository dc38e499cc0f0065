"""Gauss-Markov fading in real time: what is seen at the start of a round is outdated when the upload begins."""

from __future__ import annotations

import numpy as np

from multispin_env.config import ChannelConfig
from multispin_env.core.channel.base import Channel
from multispin_env.core.channel.large_scale import LargeScaleFading
from multispin_env.core.equations import FloatArray, spectral_efficiency
from multispin_env.core.processes import ornstein_uhlenbeck
from multispin_env.core.streams import RoundDraws, Streams


class GaussMarkovFading:
    """A complex Ornstein-Uhlenbeck coefficient of unit mean power in real time.

    The innovations are exogenous; how far they carry depends on the time that a decision takes, as in nature. A state
    is the coefficient's real and imaginary part, each standard normal, (2, num_envs, num_users).
    """

    def __init__(self, correlation_time_s: float, num_users: int, rounds: int) -> None:
        self._correlation_time_s = correlation_time_s
        self._num_users = num_users
        # Real and imaginary part, up to the upload and from there to the end of the round.
        self._draws = RoundDraws(np.random.Generator.standard_normal, 4, num_users, rounds + 1)

    def reset(self, streams: Streams) -> None:
        """Draws the stationary coefficient."""
        generators = streams.generators("channel.fading")
        self._coefficient = np.stack([g.standard_normal((2, self._num_users)) for g in generators], axis=1)
        self._draws.reset(generators)

    def begin_round(self) -> FloatArray:
        """The state at the start of a round: as the last one left it."""
        self._innovations = self._draws.next()
        return self._coefficient

    def after(self, delay_s: FloatArray) -> FloatArray:
        """The state ``delay_s`` into the round, (num_envs, num_users), when the upload begins."""
        return ornstein_uhlenbeck(self._coefficient, delay_s / self._correlation_time_s, self._innovations[:2])

    def end_round(self, at_upload: FloatArray, remaining_s: FloatArray) -> None:
        """Moves on from the state at upload, ``remaining_s`` before the end of the round, to that end."""
        self._coefficient = ornstein_uhlenbeck(at_upload, remaining_s / self._correlation_time_s, self._innovations[2:])


def power(state: FloatArray) -> FloatArray:
    """Power of the coefficient in a state: half the sum of the squares of its parts."""
    real, imaginary = state
    return 0.5 * (real * real + imaginary * imaginary)


class GaussMarkovChannel(Channel):
    """Rayleigh fading that moves with real time. The rate found when an upload begins holds for that upload."""

    def __init__(self, config: ChannelConfig, num_users: int, rounds: int) -> None:
        self._large_scale = LargeScaleFading(config, num_users, rounds)
        self._fading = GaussMarkovFading(config.fading_correlation_time_s, num_users, rounds)

    def reset(self, streams: Streams) -> None:
        """See :class:`Channel`."""
        self._large_scale.reset(streams)
        self._fading.reset(streams)

    def begin_round(self) -> FloatArray:
        """See :class:`Channel`."""
        return self._spectral_efficiency(self._fading.begin_round())

    def long_term_spectral_efficiency(self) -> FloatArray:
        """See :class:`Channel`."""
        return self._large_scale.spectral_efficiency

    def spectral_efficiency_at_upload(self, delay_s: FloatArray) -> FloatArray:
        """See :class:`Channel`."""
        return self._spectral_efficiency(self._fading.after(delay_s))

    def upload(self, delay_s: FloatArray) -> FloatArray:
        """See :class:`Channel`."""
        self._at_upload = self._fading.after(delay_s)
        return self._spectral_efficiency(self._at_upload)

    def end_round(self, delay_s: FloatArray, duration_s: FloatArray) -> None:
        """See :class:`Channel`."""
        self._fading.end_round(self._at_upload, duration_s[:, np.newaxis] - delay_s)
        self._large_scale.end_round(duration_s)

    def _spectral_efficiency(self, state: FloatArray) -> FloatArray:
        return spectral_efficiency(self._large_scale.mean_snr * power(state))
