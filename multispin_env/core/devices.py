"""The users' devices: drafting latency and heat."""

from __future__ import annotations

import numpy as np

from multispin_env.config import SystemConfig
from multispin_env.core.equations import FloatArray
from multispin_env.core.streams import Streams


class Devices:
    """Drafting latencies of every environment's users (eq. 2), and the heat that slows them."""

    def __init__(self, config: SystemConfig) -> None:
        self._config = config
        self._heats = config.heat.slowdown > 0.0

    def reset(self, streams: Streams) -> None:
        """Draws each device's latency; every device starts rested."""
        config = self._config
        deviation = 2.0 * streams.uniform("devices.latency", config.num_users) - 1.0
        self._rested_latency_s = config.drafting_latency_s * (1.0 + config.drafting_latency_spread * deviation)
        self.drafting_latency_s: FloatArray = self._rested_latency_s
        self.heat: FloatArray = np.zeros_like(deviation)

    def end_round(self, drafting_s: FloatArray, duration_s: FloatArray) -> None:
        """Heats and cools the devices over a round.

        Heat relaxes towards the share of the round spent drafting, which stands for the mean power over it.

        Args:
            drafting_s: Time that each device drafted, (num_envs, num_users).
            duration_s: The round's duration, (num_envs,).
        """
        if not self._heats:
            return
        duration_s = duration_s[:, np.newaxis]
        approach = -np.expm1(-duration_s / self._config.heat.time_constant_s)
        self.heat = self.heat + approach * (drafting_s / duration_s - self.heat)
        self.drafting_latency_s = self._rested_latency_s * (1.0 + self._config.heat.slowdown * self.heat)
