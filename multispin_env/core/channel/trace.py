"""Measured uplinks, replayed: rates of a file, and uploads that follow them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.config import TraceChannelConfig
from multispin_env.core.channel.base import LONGEST_UPLOAD_S, Channel
from multispin_env.core.channel.uplinks import load_uplink
from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.core.streams import Streams
from multispin_env.core.view import OUTDATED

# What is measured at the start of a round is the mean rate over so long before it, and the long-term one over so long.
_OBSERVED_S = 0.1
_LONG_TERM_S = 10.0
# A measured rate is at least this, that of the lowest entry in LTE's table of channel qualities (36.213, 7.2.3-1):
# uplinks have outages, and a rate of 0 is none that a band can be split by.
_LEAST_SPECTRAL_EFFICIENCY = 0.1523


class TraceChannel(Channel):
    """A measured uplink for every user, from a place of its own in the file on, which goes round and round.

    What is measured at the start of a round is what came before it, and outdated when uploads begin. An upload goes on
    until the integral of its rate is what it has to send, exactly.
    """

    csi = OUTDATED

    def __init__(self, config: TraceChannelConfig, num_users: int, rounds: int) -> None:
        self._num_users = num_users
        uplink = load_uplink(config.path)
        self._edge_s = uplink.edge_s
        self._rate = uplink.rate * (config.mean_spectral_efficiency / uplink.mean)
        self._sent = np.concatenate([[0.0], np.cumsum(self._rate * np.diff(self._edge_s))])

    def reset(self, streams: Streams) -> None:
        """See :class:`Channel`; draws where each user enters the file."""
        self._start_s = self._edge_s[-1] * streams.uniform("channel.fading", self._num_users)
        self.doppler_hz = np.zeros_like(self._start_s)

    def begin_round(self, time_s: FloatArray) -> None:
        """See :class:`Channel`."""
        self.observed_spectral_efficiency = self._mean_before(time_s, _OBSERVED_S)
        self.long_term_spectral_efficiency = self._mean_before(time_s, _LONG_TERM_S)

    def upload_s(self, start_s: FloatArray, bits: FloatArray, bandwidth_hz: FloatArray) -> FloatArray:
        """See :class:`Channel`."""
        place_s = self._start_s + start_s
        bits_per_hz = bits / bandwidth_hz
        rounds, sent = np.divmod(self._sent_until(place_s) + bits_per_hz, self._sent[-1])
        # Sent after the first edge that has as much, and before the one ahead of it.
        after = np.clip(np.searchsorted(self._sent, sent), 1, len(self._rate))
        with np.errstate(divide="ignore", invalid="ignore"):
            part_s = np.where(sent > 0.0, (sent - self._sent[after - 1]) / self._rate[after - 1], 0.0)
        end_s = rounds * self._edge_s[-1] + self._edge_s[after - 1] + part_s
        # Rounding leaves nothing of the shortest uploads; none is faster than the highest rate.
        return np.clip(end_s - place_s, bits_per_hz / self._rate.max(), LONGEST_UPLOAD_S)

    def spectral_efficiency_at(self, time_s: ArrayLike, environments: IntArray) -> FloatArray:
        """See :class:`Channel`."""
        place_s = np.mod(self._start_s[environments] + np.asarray(time_s), self._edge_s[-1])
        return self._rate[np.searchsorted(self._edge_s, place_s, side="right").clip(1, len(self._rate)) - 1]

    def _sent_until(self, place_s: FloatArray) -> FloatArray:
        """Bits per hertz from the beginning of the file on."""
        rounds, within_s = np.divmod(place_s, self._edge_s[-1])
        return rounds * self._sent[-1] + np.interp(within_s, self._edge_s, self._sent)

    def _mean_before(self, time_s: FloatArray, window_s: float) -> FloatArray:
        end_s = self._start_s + time_s
        mean = (self._sent_until(end_s) - self._sent_until(end_s - window_s)) / window_s
        return np.maximum(mean, _LEAST_SPECTRAL_EFFICIENCY)
