"""Acceptance rates that drift from token to token, and what a round gets of them: simulated."""

from __future__ import annotations

import numpy as np
from scipy import special

from multispin_env.config import RequestConfig, TaskConfig
from multispin_env.core.equations import FloatArray, expected_tokens
from multispin_env.core.processes import ornstein_uhlenbeck
from multispin_env.core.requests.synthetic import SyntheticRequests, beta_parameters
from multispin_env.core.streams import Streams
from multispin_train.reality.drift import possible_spread
from multispin_train.reality.resampling import SEED

DRAFT_LENGTHS = np.arange(1, 26)
# What the models of a drifting rate are simulated with: their curves are then good to about a hundredth.
_MODEL_USERS, _MODEL_ROUNDS = 1000, 60


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
    drift = innovations.copy()
    for position in range(1, len(drift)):
        drift[position] = ornstein_uhlenbeck(
            drift[position - 1], np.array(1.0 / correlation_tokens), innovations[position]
        )
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


def drifting_prefix(mean: FloatArray, std: float, share: float, correlation_tokens: float, tokens: int) -> FloatArray:
    """Expected accepted prefix of a round with each of ``DRAFT_LENGTHS``, as `mobile` plays it: fixed within a round.

    Args:
        mean: Mean rate of each request, (requests,).
        std: Standard deviation of the rate.
        share: ``drift_share``.
        correlation_tokens: ``drift_correlation_tokens``.
        tokens: Tokens of a request.

    Returns:
        (draft lengths,), from rounds simulated with the environment's own requests.
    """
    config = RequestConfig(
        # A task for each request: they come as often as they were measured. A rounding error is no spread.
        tasks=tuple(
            TaskConfig(name=f"{one}", acceptance_mean=one, acceptance_std=round(float(possible_spread(std, one)), 6))
            for one in mean.tolist()
        ),
        acceptance_spread=1.0,
        drift_share=share,
        drift_correlation_tokens=correlation_tokens,
        tokens_low=tokens,
        tokens_high=tokens,
    )
    prefixes = []
    for length in DRAFT_LENGTHS.tolist():
        requests = SyntheticRequests(config, _MODEL_USERS, _MODEL_ROUNDS)
        requests.reset(Streams([np.random.default_rng(SEED)]))
        drafts = np.full((1, _MODEL_USERS), length)
        found = []
        for _ in range(_MODEL_ROUNDS):
            found.append(float(np.mean(expected_tokens(requests.acceptance_rate, length))) - 1.0)
            requests.verify(drafts)
        prefixes.append(float(np.mean(found)))
    return np.array(prefixes)
