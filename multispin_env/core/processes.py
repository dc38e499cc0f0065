"""Random processes that more than one component uses."""

from __future__ import annotations

import numpy as np

from multispin_env.core.equations import FloatArray


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
