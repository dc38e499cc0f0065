"""Views of a round as Gymnasium's flat boxes."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from multispin_env.config import SystemConfig
from multispin_env.core.simulator import round_features
from multispin_env.core.view import RoundView


class ObservationCodec:
    """Views as flat float32 vectors: a few numbers a user, grouped by number, users in order within each group.

    Number ``f * K + k`` is feature f of user k; :func:`~multispin_env.core.round_features` names them, with their units
    and where they are cut off.

    Args:
        config: The system.

    Attributes:
        features: The features, in order.
        space: What the vectors lie in.
    """

    def __init__(self, config: SystemConfig) -> None:
        self.features = round_features(config)
        self._high = np.array([feature.limit / feature.unit for feature in self.features], dtype=np.float32)
        self.space = spaces.Box(np.float32(0.0), np.repeat(self._high, config.num_users), dtype=np.float32)

    def encode(self, view: RoundView) -> NDArray[np.float32]:
        """Observations of a batch of views, (num_envs, features K), a fresh array."""
        num_envs, users = view.drafting_latency_s.shape
        observation = np.empty((num_envs, len(self.features), users), dtype=np.float32)
        # Divided in float64, where no config overflows, and bounded in float32, the space's own type.
        for number, (feature, high) in enumerate(zip(self.features, self._high, strict=True)):
            values = (getattr(view, feature.name) / feature.unit).astype(np.float32)
            np.minimum(values, high, out=observation[:, number])
        return observation.reshape(num_envs, -1)
