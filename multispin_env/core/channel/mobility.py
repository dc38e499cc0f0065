"""Users that move: Clarke fading and Gudmundson shadowing as functions of time, and uploads that follow them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.config import MobilityChannelConfig
from multispin_env.core.channel.base import Channel, snr_at_path_gain
from multispin_env.core.channel.live import CellLimits, live_upload_s
from multispin_env.core.channel.paths import Paths, efficiency
from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.core.records import clarke, gauss_markov, places
from multispin_env.core.streams import Streams, splitmix64
from multispin_env.core.view import OUTDATED

SPEED_OF_LIGHT_M_S = 299_792_458.0
_DB_TO_LOG = float(np.log(10.0)) / 10.0
# Cut off so that no fading and shadowing carries it beyond single precision.
_SNR_RANGE = (1e-12, 1e24)


class MobilityChannel(Channel):
    """Path gain x shadowing x Rayleigh fading of users that move, each at a speed of its own.

    Fading is Clarke's model, with the autocorrelation ``J0(2 pi f_d dt)``, shadowing Gudmundson's, with
    ``exp(-v dt / d_corr)`` of its decibels. What is seen at the start of a round is outdated when uploads begin, and
    an upload goes on until the integral of its rate is what it has to send.
    """

    csi = OUTDATED

    def __init__(self, config: MobilityChannelConfig, num_users: int, rounds: int) -> None:
        self._config = config
        self._num_users = num_users
        self._antennas = np.array(config.receive_antennas, dtype=np.float32)
        self.doppler_known = config.doppler_known

    def reset(self, streams: Streams) -> None:
        """See :class:`Channel`; draws path gains, speeds, and where each path enters its record."""
        config, users = self._config, self._num_users
        self._shape = streams.num_envs, users
        snr = snr_at_path_gain(config, streams, users)
        speeds = np.array(config.speeds_m_s)
        speed = speeds[(streams.uniform("channel.speed", users) * len(speeds)).astype(np.int64)].ravel()
        antenna = np.arange(config.receive_antennas, dtype=np.uint64)[:, np.newaxis]
        doppler = doppler_hz(config, speed)
        distances_hz = speed / config.shadowing_decorrelation_m
        self._cell_limits = CellLimits.of(doppler, distances_hz)
        fading = splitmix64(streams.seeds("channel.fading", users).ravel(), antenna)
        fading_rate = np.broadcast_to(doppler * clarke().places_per_unit, fading.shape)
        self._paths = Paths(
            snr=np.clip(snr.ravel(), *_SNR_RANGE).astype(np.float32),
            place=places(np.vstack([streams.seeds("channel.shadowing", users).ravel(), fading])),
            rate=np.vstack([distances_hz * gauss_markov().places_per_unit, fading_rate]),
            shadowing_scale=np.float32(_DB_TO_LOG * config.shadowing_std_db),
        )
        known = doppler if config.doppler_known else np.zeros_like(speed)
        self.doppler_hz = known.reshape(self._shape)

    def begin_round(self, time_s: FloatArray) -> None:
        """See :class:`Channel`."""
        long_term, power = self._paths.snr_at(time_s.repeat(self._num_users))
        snr = np.concatenate([long_term * power, long_term * self._antennas])
        rates = efficiency(snr).astype(np.float64).reshape(2, *self._shape)
        self.observed_spectral_efficiency, self.long_term_spectral_efficiency = rates

    def upload_s(self, start_s: FloatArray, bits: FloatArray, bandwidth_hz: FloatArray) -> FloatArray:
        """See :class:`Channel`."""
        bits_per_hz = bits / bandwidth_hz
        duration_s = live_upload_s(
            self._paths,
            self._cell_limits,
            start_s.ravel(),
            bits_per_hz.ravel(),
            (bits_per_hz / self.observed_spectral_efficiency).ravel(),
            (bits_per_hz / self.long_term_spectral_efficiency).ravel(),
        )
        return duration_s.reshape(self._shape)

    def spectral_efficiency_at(self, time_s: ArrayLike, environments: IntArray) -> FloatArray:
        """See :class:`Channel`."""
        rows = np.arange(np.prod(self._shape)).reshape(self._shape)[environments]
        time = np.asarray(time_s, dtype=np.float64)
        time = np.broadcast_to(time, np.broadcast_shapes(time.shape, rows.shape))
        flat = time.reshape(*time.shape[:-2], -1)
        snr, power = self._paths.take(rows.ravel()).snr_at(flat)
        return efficiency(snr * power).astype(np.float64).reshape(time.shape)


def doppler_hz(config: MobilityChannelConfig, speed_m_s: FloatArray) -> FloatArray:
    """Largest Doppler shift at a speed, ``v f_c / c``."""
    return speed_m_s * (config.carrier_frequency_hz / SPEED_OF_LIGHT_M_S)
