"""Views of a round as Gymnasium's flat boxes."""

from __future__ import annotations

from operator import attrgetter

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
        unit, limit = (
            np.repeat(np.array(values, dtype=np.float64), config.num_users)
            for values in zip(*((feature.unit, feature.limit) for feature in self.features), strict=True)
        )
        self._values = attrgetter(*(feature.name for feature in self.features))
        high = (limit / unit).astype(np.float32)
        self._unit, self._high = unit, high.astype(np.float64)
        self.space = spaces.Box(np.float32(0.0), high, dtype=np.float32)

    def encode(self, view: RoundView) -> NDArray[np.float32]:
        """Observations of a batch of views, (num_envs, features K), a fresh array."""
        values = np.concatenate(self._values(view), axis=1)
        # Divided and bounded in float64, where nothing overflows, by numbers of float32, the space's own type.
        values /= self._unit
        return np.minimum(values, self._high, out=values).astype(np.float32)
