"""The uplink channel: gains over time, and what is observed of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from multispin_env.config import ChannelConfig
from multispin_env.core.round import FloatArray, spectral_efficiency

_DB_TO_LOG = float(np.log(10.0)) / 10.0


def ornstein_uhlenbeck(value: FloatArray, rate: FloatArray, innovation: FloatArray) -> FloatArray:
    """A standard Ornstein-Uhlenbeck variable one interval later.

    Exact for intervals of any length, so it composes: two intervals in a row are distributed as their sum is.

    Args:
        value: The standard normal variable before the interval.
        rate: The interval over the correlation time, at least 0.
        innovation: A standard normal variate.
    """
    correlation = np.exp(-rate)
    moved = correlation * value
    moved += np.sqrt(1.0 - correlation * correlation) * innovation
    return moved


class Fading(Protocol):
    """Rayleigh fading of unit mean power.

    A state is whatever the model carries; ``power`` turns it into the power of the coefficient, (lanes, users).
    """

    num_normals: int
    num_exponentials: int

    def reset(self, generators: Sequence[np.random.Generator], num_users: int) -> None:
        """Starts an episode."""

    def begin_round(self, exponentials: FloatArray) -> FloatArray:
        """The state at the start of a round, given the round's exponential draws."""

    def aged(self, delay_s: FloatArray, normals: FloatArray) -> FloatArray:
        """The state ``delay_s`` into the round, when the upload begins, given the round's normal draws."""

    def power(self, state: FloatArray) -> FloatArray:
        """Power of the coefficient in that state."""

    def end_round(self, at_upload: FloatArray, remaining_s: FloatArray, normals: FloatArray) -> None:
        """Moves on from the state at upload, ``remaining_s`` before the end of the round, to that end."""


class BlockFading:
    """Independent in every round and constant within it, as in the paper's experiments. The state is the power."""

    num_normals = 0
    num_exponentials = 1

    def reset(self, generators: Sequence[np.random.Generator], num_users: int) -> None:
        """Nothing lasts from round to round."""

    def begin_round(self, exponentials: FloatArray) -> FloatArray:
        """The power of a CN(0, 1) coefficient is exponential."""
        self._power = exponentials[0]
        return self._power

    def aged(self, delay_s: FloatArray, normals: FloatArray) -> FloatArray:
        """What was seen at the start still holds."""
        return self._power

    def power(self, state: FloatArray) -> FloatArray:
        """The state itself."""
        return state

    def end_round(self, at_upload: FloatArray, remaining_s: FloatArray, normals: FloatArray) -> None:
        """Nothing lasts from round to round."""


class AgingFading:
    """A complex Ornstein-Uhlenbeck coefficient in real time: what was seen ages while the device drafts.

    The innovations are exogenous; how far they carry depends on the time that a decision takes, as in nature. The rate
    found when an upload begins holds for that upload. The state is the coefficient's real and imaginary part, each
    standard normal, (2, lanes, users).
    """

    num_normals = 4  # real and imaginary part, up to the upload and from there to the end of the round
    num_exponentials = 0

    def __init__(self, correlation_time_s: float) -> None:
        self._correlation_time_s = correlation_time_s

    def reset(self, generators: Sequence[np.random.Generator], num_users: int) -> None:
        """Draws the stationary coefficient."""
        self._coefficient = np.stack([g.standard_normal((2, num_users)) for g in generators], axis=1)

    def begin_round(self, exponentials: FloatArray) -> FloatArray:
        """The coefficient as the last round left it."""
        return self._coefficient

    def aged(self, delay_s: FloatArray, normals: FloatArray) -> FloatArray:
        """The coefficient after the delay."""
        return ornstein_uhlenbeck(self._coefficient, delay_s / self._correlation_time_s, normals[:2])

    def power(self, state: FloatArray) -> FloatArray:
        """Half the sum of the squares of the two parts."""
        real, imaginary = state
        return 0.5 * (real * real + imaginary * imaginary)

    def end_round(self, at_upload: FloatArray, remaining_s: FloatArray, normals: FloatArray) -> None:
        """Ages the coefficient that the upload used to the end of the round."""
        self._coefficient = ornstein_uhlenbeck(at_upload, remaining_s / self._correlation_time_s, normals[2:4])


class Channel:
    """Path gain x shadowing x fading of every lane's users.

    The shadowing is held over a round, which is short beside its correlation time, and moves on with the round's
    duration.
    """

    def __init__(self, config: ChannelConfig, num_users: int) -> None:
        self._config = config
        self._num_users = num_users
        aging = config.fading_correlation_time_s > 0.0
        self._fading: Fading = AgingFading(config.fading_correlation_time_s) if aging else BlockFading()
        self._shadowed = config.shadowing_std_db > 0.0
        self.num_normals = self._fading.num_normals + int(self._shadowed)
        self.num_exponentials = self._fading.num_exponentials

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Draws path gains, shadowing and fading; one generator a lane."""
        config = self._config
        self._path_gain = np.stack(
            [g.uniform(config.path_gain_low, config.path_gain_high, self._num_users) for g in generators]
        )
        self._shadowing = np.stack([g.standard_normal(self._num_users) for g in generators])
        self._fading.reset(generators, self._num_users)
        self._update_mean_snr()

    def begin_round(self, normals: FloatArray, exponentials: FloatArray) -> FloatArray:
        """Takes the round's draws and returns the spectral efficiency measured at its start, in bit/s/Hz."""
        self._normals = normals
        return self._spectral_efficiency(self._fading.begin_round(exponentials))

    def long_term_spectral_efficiency(self) -> FloatArray:
        """Spectral efficiency at the gain averaged over the fading, in bit/s/Hz."""
        return spectral_efficiency(self._mean_snr)

    def used_spectral_efficiency(self, delay_s: FloatArray) -> FloatArray:
        """Spectral efficiency that uploads beginning ``delay_s`` into this round would find, in bit/s/Hz."""
        return self._spectral_efficiency(self._fading.aged(delay_s, self._normals))

    def upload(self, delay_s: FloatArray) -> FloatArray:
        """The same for the uploads that do take place; ``end_round`` goes on from there."""
        self._at_upload = self._fading.aged(delay_s, self._normals)
        return self._spectral_efficiency(self._at_upload)

    def end_round(self, delay_s: FloatArray, duration_s: FloatArray) -> None:
        """Moves on to the start of the next round.

        Args:
            delay_s: When each user's upload began, (lanes, users).
            duration_s: The round's duration, (lanes,).
        """
        duration_s = duration_s[:, np.newaxis]
        self._fading.end_round(self._at_upload, duration_s - delay_s, self._normals)
        if self._shadowed:
            rate = duration_s / self._config.shadowing_correlation_time_s
            self._shadowing = ornstein_uhlenbeck(self._shadowing, rate, self._normals[-1])
            self._update_mean_snr()

    def _spectral_efficiency(self, fading: FloatArray) -> FloatArray:
        return spectral_efficiency(self._mean_snr * self._fading.power(fading))

    def _update_mean_snr(self) -> None:
        self._mean_snr = self._config.power_to_noise * self._path_gain
        if self._shadowed:
            self._mean_snr *= np.exp(_DB_TO_LOG * self._config.shadowing_std_db * self._shadowing)
