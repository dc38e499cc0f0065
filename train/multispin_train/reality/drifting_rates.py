"""Acceptance rates that drift from token to token: simulated."""

from __future__ import annotations

import numpy as np
from scipy import special

from multispin_env.core.equations import FloatArray, beta_parameters
from multispin_train.reality.drift import possible_spread

DRAFT_LENGTHS = np.arange(1, 26)


def drifting_variate(
    lasting: FloatArray, innovations: FloatArray, share: float, correlation_tokens: float
) -> FloatArray:
    """The standard normal variate of a rate that drifts from token to token, (positions, requests).

    Args:
        lasting: What stays for each request, standard normal, (requests,).
        innovations: What moves the rest, standard normal, (positions, requests).
        share: ``drift_share``.
        correlation_tokens: ``drift_correlation_tokens``.
    """
    correlation = np.exp(-1.0 / correlation_tokens)
    drift = innovations.copy()
    for position in range(1, len(drift)):
        drift[position] *= np.sqrt(1.0 - correlation * correlation)
        drift[position] += correlation * drift[position - 1]
    return np.sqrt(1.0 - share) * lasting + np.sqrt(share) * drift


def drifting_rates(
    mean: FloatArray,
    std: float,
    share: float,
    correlation_tokens: float,
    positions: int,
    generator: np.random.Generator,
) -> FloatArray:
    """Rates that drift from token to token, of the law that :class:`Drift` describes.

    Args:
        mean: Mean rate of each request, (requests,).
        std: Standard deviation of the rate.
        share: ``drift_share``.
        correlation_tokens: ``drift_correlation_tokens``.
        positions: Positions of each request.
        generator: Where they are drawn from.

    Returns:
        (requests, positions).
    """
    innovations = generator.standard_normal((positions, len(mean)))
    variate = drifting_variate(generator.standard_normal(len(mean)), innovations, share, correlation_tokens)
    return special.betaincinv(*beta_parameters(mean, possible_spread(std, mean)), special.ndtr(variate)).T
