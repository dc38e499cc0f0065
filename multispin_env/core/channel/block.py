"""Block fading: independent in every round and constant within it, as in the paper's experiments."""

from __future__ import annotations

import numpy as np

from multispin_env.config import ChannelConfig
from multispin_env.core.channel.base import Channel
from multispin_env.core.channel.large_scale import LargeScaleFading
from multispin_env.core.equations import FloatArray, spectral_efficiency
from multispin_env.core.streams import RoundDraws, Streams


class BlockChannel(Channel):
    """Rayleigh block fading: what is seen at the start of a round holds for its uploads."""

    def __init__(self, config: ChannelConfig, num_users: int, rounds: int) -> None:
        self._large_scale = LargeScaleFading(config, num_users, rounds)
        # One round more than is played: the last observation looks at it.
        self._draws = RoundDraws(np.random.Generator.standard_exponential, 1, num_users, rounds + 1)

    def reset(self, streams: Streams) -> None:
        """See :class:`Channel`."""
        self._large_scale.reset(streams)
        self._draws.reset(streams.generators("channel.fading"))

    def begin_round(self) -> FloatArray:
        """See :class:`Channel`; the power of a CN(0, 1) coefficient is exponential."""
        self._efficiency = spectral_efficiency(self._large_scale.mean_snr * self._draws.next()[0])
        return self._efficiency

    def long_term_spectral_efficiency(self) -> FloatArray:
        """See :class:`Channel`."""
        return self._large_scale.spectral_efficiency

    def spectral_efficiency_at_upload(self, delay_s: FloatArray) -> FloatArray:
        """See :class:`Channel`; what was seen at the start still holds."""
        return self._efficiency

    def upload(self, delay_s: FloatArray) -> FloatArray:
        """See :class:`Channel`."""
        return self._efficiency

    def end_round(self, delay_s: FloatArray, duration_s: FloatArray) -> None:
        """See :class:`Channel`; of the fading nothing lasts from round to round."""
        self._large_scale.end_round(duration_s)
