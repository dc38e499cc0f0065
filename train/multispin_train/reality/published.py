"""A larger pair's drift of acceptance, as far as its published prefix curve tells."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from multispin_env.core.equations import FloatArray, beta_parameters
from multispin_train.reality.drifting_rates import drifting_variate

SOURCE = "Qwen2.5-0.5B -> 7B over 80 prompts, development log of the repository of arXiv 2606.20591"
# Probability that at least k = 1..10 drafts of a round are accepted.
REACHED = np.array([0.61, 0.46, 0.39, 0.31, 0.28, 0.25, 0.19, 0.16, 0.14, 0.11])
SHARES = (0.0, 0.5, 0.75, 0.9, 1.0)
CORRELATION_TOKENS = (1.0, 2.5, 5.0, 10.0, 20.0, 40.0)

_SEED, _TEXTS = 20261122, 20_000
_VARIATES = np.linspace(-5.0, 5.0, 801)


class Fit(NamedTuple):
    """The Beta distribution of the rate that comes nearest to ``REACHED`` at a given drift.

    Attributes:
        mean: Its mean.
        std: Its standard deviation.
        misfit: Root mean square difference of the probabilities.
    """

    mean: float
    std: float
    misfit: float


@lru_cache
def fit(share: float, correlation_tokens: float) -> Fit:
    """Fits the rate's distribution to the published curve.

    Each draft of a round meets the rate of its own position, which drifts from token to token.

    Args:
        share: ``drift_share``.
        correlation_tokens: ``drift_correlation_tokens``.
    """
    generator = np.random.default_rng(_SEED)
    normals = generator.standard_normal((1 + len(REACHED), _TEXTS))
    variate = drifting_variate(normals[0], normals[1:], share, correlation_tokens)

    def difference(shape: FloatArray) -> FloatArray:
        table = special.betaincinv(*beta_parameters(*shape), special.ndtr(_VARIATES))
        accepted = np.cumprod(np.interp(variate, _VARIATES, table), axis=0)
        return np.mean(accepted, axis=1) - REACHED

    found = optimize.least_squares(difference, [0.61, 0.3], bounds=([0.4, 0.02], [0.8, 0.39]), diff_step=1e-3)
    return Fit(float(found.x[0]), float(found.x[1]), float(np.sqrt(np.mean(np.square(found.fun)))))
