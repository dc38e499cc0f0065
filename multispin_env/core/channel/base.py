"""What the simulator asks of any channel."""

from __future__ import annotations

from abc import ABC, abstractmethod

from multispin_env.core.equations import FloatArray
from multispin_env.core.streams import Streams


class Channel(ABC):
    """The uplink of every environment's users. Arrays are (num_envs, num_users), spectral efficiencies in bit/s/Hz."""

    @abstractmethod
    def reset(self, streams: Streams) -> None:
        """Starts an episode."""

    @abstractmethod
    def begin_round(self) -> FloatArray:
        """Starts a round and returns the spectral efficiency measured at its start."""

    @abstractmethod
    def long_term_spectral_efficiency(self) -> FloatArray:
        """Spectral efficiency at the gain averaged over the small-scale fading."""

    @abstractmethod
    def spectral_efficiency_at_upload(self, delay_s: FloatArray) -> FloatArray:
        """Spectral efficiency that uploads beginning ``delay_s`` into this round would find; changes nothing."""

    @abstractmethod
    def upload(self, delay_s: FloatArray) -> FloatArray:
        """The same for the uploads that do take place; ``end_round`` goes on from there."""

    @abstractmethod
    def end_round(self, delay_s: FloatArray, duration_s: FloatArray) -> None:
        """Moves on to the start of the next round.

        Args:
            delay_s: When each user's upload began, (num_envs, num_users).
            duration_s: The round's duration, (num_envs,).
        """
