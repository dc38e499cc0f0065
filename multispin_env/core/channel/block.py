"""Block fading: independent in every round and constant within it, as in the paper's experiments."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.config import BlockChannelConfig
from multispin_env.core.channel.base import Channel, snr_at_path_gain
from multispin_env.core.equations import FloatArray, IntArray, spectral_efficiency
from multispin_env.core.streams import RoundDraws, Streams
from multispin_env.core.view import EXACT


class BlockChannel(Channel):
    """Rayleigh block fading: what is seen at the start of a round holds for its uploads (eq. 9)."""

    csi = EXACT

    def __init__(self, config: BlockChannelConfig, num_users: int, rounds: int) -> None:
        self._config = config
        self._num_users = num_users
        # One round more than is played: the last observation looks at it.
        self._draws = RoundDraws(np.random.Generator.standard_exponential, 1, num_users, rounds + 1)

    def reset(self, streams: Streams) -> None:
        """See :class:`Channel`."""
        self._snr = snr_at_path_gain(self._config, streams, self._num_users)
        self.long_term_spectral_efficiency = spectral_efficiency(self._snr)
        self.doppler_hz = np.zeros_like(self._snr)
        self._draws.reset(streams.generators("channel.fading"))

    def begin_round(self, time_s: FloatArray) -> None:
        """See :class:`Channel`; the power of a CN(0, 1) coefficient is exponential."""
        self.observed_spectral_efficiency = spectral_efficiency(self._snr * self._draws.next()[0])

    def upload_s(self, start_s: FloatArray, bits: FloatArray, bandwidth_hz: FloatArray) -> FloatArray:
        """See :class:`Channel`."""
        return bits / (bandwidth_hz * self.observed_spectral_efficiency)

    def spectral_efficiency_at(self, time_s: ArrayLike, environments: IntArray) -> FloatArray:
        """See :class:`Channel`; at any time it is that of this round, as no other is known yet."""
        now = self.observed_spectral_efficiency[environments]
        return np.broadcast_to(now, np.broadcast_shapes(np.shape(time_s), now.shape))
