"""What the simulator asks of any channel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.config import FadingChannelConfig
from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.core.features import Feature
from multispin_env.core.streams import Streams

# Uploads that follow their channels end after so long, 11 days: only a share that vanishes takes longer.
LONGEST_UPLOAD_S = 1e6

# Unit of spectral efficiencies in observations, and where they are cut off, bit/s/Hz.
SPECTRAL_EFFICIENCY_UNIT = 8.0
SPECTRAL_EFFICIENCY_LIMIT = 64.0
# The same of Doppler shifts: a walk at 3.5 GHz has 16 Hz.
DOPPLER_UNIT_HZ = 16.0
DOPPLER_LIMIT_HZ = 1600.0


class Channel(ABC):
    """The uplink of every environment's users, a function of the time since the reset that no decision changes.

    Arrays are (num_envs, num_users), spectral efficiencies in bit/s/Hz, times in seconds since the reset. Views hand
    the arrays out: a round puts new ones in their places and writes to none of them.

    Args:
        config: The section of its kind.
        num_users: Users.
        rounds: Rounds of an episode.

    Attributes:
        csi: What the server knows of the rates, ``exact`` or ``outdated``.
        observed_spectral_efficiency: Measured at the start of the round.
        long_term_spectral_efficiency: At the gain averaged over the small-scale fading.
        doppler_known: Whether the server has an estimate of each user's Doppler shift.
        doppler_hz: This estimate, of the largest shift; 0 where there is none.
    """

    csi: str
    doppler_known = False
    observed_spectral_efficiency: FloatArray
    long_term_spectral_efficiency: FloatArray
    doppler_hz: FloatArray

    @abstractmethod
    def __init__(self, config: Any, num_users: int, rounds: int) -> None: ...

    @classmethod
    def features(cls, config: Any) -> tuple[Feature, ...]:
        """What the channel adds to a round's features, given its section of the configuration."""
        rates = ("observed", "long_term", "last_upload")
        efficiencies = (
            Feature(f"{rate}_spectral_efficiency", SPECTRAL_EFFICIENCY_UNIT, SPECTRAL_EFFICIENCY_LIMIT)
            for rate in rates
        )
        return (*efficiencies, Feature("doppler_hz", DOPPLER_UNIT_HZ, DOPPLER_LIMIT_HZ))

    @abstractmethod
    def reset(self, streams: Streams) -> None:
        """Starts an episode."""

    @abstractmethod
    def begin_round(self, time_s: FloatArray) -> None:
        """Starts the round at this time, (num_envs, 1), and measures."""

    @abstractmethod
    def upload_s(self, start_s: FloatArray, bits: FloatArray, bandwidth_hz: FloatArray) -> FloatArray:
        """How long uploads of this round take.

        Args:
            start_s: When each begins.
            bits: What each user has to send.
            bandwidth_hz: Over which band.
        """

    @abstractmethod
    def spectral_efficiency_at(self, time_s: ArrayLike, environments: IntArray) -> FloatArray:
        """The channel at any times that broadcast to (..., environments, users), in some of the environments."""


def snr_at_path_gain(config: FadingChannelConfig, streams: Streams, num_users: int) -> FloatArray:
    """Draws path gains; the signal to noise ratio over the whole band at them, linear, (num_envs, num_users)."""
    low, high = config.path_gain_low, config.path_gain_high
    gain = low + (high - low) * streams.uniform("channel.path_gain", num_users)
    return np.asarray(config.power_to_noise * gain)
