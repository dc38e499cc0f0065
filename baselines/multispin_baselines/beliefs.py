"""What is believed of a request's acceptance: one rate with its uncertainty, and what follows from it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from multispin_env import RoundView
from multispin_env.core.equations import FloatArray, expected_tokens
from multispin_env.core.requests.synthetic import beta_parameters

# Acceptances on which a Beta distribution is weighed; dense at both ends, where the measured ones have their mass.
_NODES = np.concatenate([np.geomspace(1e-4, 0.05, 12), np.linspace(0.08, 0.92, 28), 1.0 - np.geomspace(0.05, 1e-4, 12)])
_EDGES = np.concatenate([[0.0], 0.5 * (_NODES[1:] + _NODES[:-1]), [1.0]])


class AcceptancePosterior(NamedTuple):
    """A Beta distribution of each user's acceptance, arrays (num_envs, num_users).

    Attributes:
        alpha: Its first parameter; means nothing where the acceptance is known.
        beta: Its second parameter.
        mean: Mean acceptance.
        is_known: Where the acceptance is its mean.
    """

    alpha: FloatArray
    beta: FloatArray
    mean: FloatArray
    is_known: NDArray[np.bool_]


def acceptance_belief(view: RoundView) -> AcceptancePosterior:
    """What the request's drafts so far tell of its acceptance now, a Beta distribution.

    Where acceptance drifts, drafts tell less of now than of then. The mean is the best linear estimate from two
    numbers: drafts accepted in the last round, and in all rounds before it, in a text of about as many tokens as drafts
    were decided. Without drift it is the conjugate posterior.
    """
    prior_mean, std = view.task_acceptance_mean, view.task_acceptance_std
    known = std == 0.0
    alpha, beta = beta_parameters(prior_mean, np.where(known, 1.0, std))
    # Variance of an outcome given the rate, over that of the rate. A stand-in where the rate is known.
    prior = np.where(known, 1.0, alpha + beta)
    running = view.request_tested > 0
    last_accepted = np.where(running, view.last_accepted, 0)
    last_tested = np.where(running, view.last_accepted + (view.last_accepted < view.last_draft_length), 0)
    older_accepted, older_tested = view.request_accepted - last_accepted, view.request_tested - last_tested

    # Correlations between the rate now, that of the last round, and the mean rate of the text before.
    share, tokens = view.config.requests.drift_share, view.config.requests.drift_correlation_tokens
    since, before = (view.last_accepted + 1.0) / tokens, np.maximum(older_tested, 1) / tokens
    faded, reach = np.exp(-since), -np.expm1(-before) / before
    now_last = 1.0 - share + share * faded
    now_older = 1.0 - share + share * faded * reach
    last_older = 1.0 - share + share * reach
    within_older = 1.0 - share + share * 2.0 * (1.0 - reach) / before

    # The normal equations of the estimate, for the weight of a single draft.
    last, older = last_tested + prior, within_older * older_tested + prior
    determinant = last * older - np.square(last_older) * last_tested * older_tested
    last_weight = (now_last * older - now_older * last_older * older_tested) / determinant
    older_weight = (now_older * last - now_last * last_older * last_tested) / determinant
    mean = (
        prior_mean
        + last_weight * (last_accepted - last_tested * prior_mean)
        + older_weight * (older_accepted - older_tested * prior_mean)
    )
    unexplained = 1.0 - last_weight * last_tested * now_last - older_weight * older_tested * now_older
    concentration = prior / unexplained
    mean = np.where(known, prior_mean, mean)
    return AcceptancePosterior(concentration * mean, concentration * (1.0 - mean), mean, known)


def expected_log_tokens(posterior: AcceptancePosterior, longest: int) -> FloatArray:
    """``E[ln E[N | alpha, l]]`` over the posterior (eq. 12), for l = 0..longest, (num_envs, num_users, l)."""
    lengths = np.arange(longest + 1)
    is_known = posterior.is_known[..., np.newaxis]
    alpha, beta = (np.where(is_known, 1.0, part[..., np.newaxis]) for part in posterior[:2])
    weights = np.diff(special.betainc(alpha, beta, _EDGES), axis=-1)
    unknown = weights @ np.log(expected_tokens(_NODES[:, np.newaxis], lengths))
    return np.where(is_known, np.log(expected_tokens(posterior.mean[..., np.newaxis], lengths)), unknown)


def is_request_level(view: RoundView) -> NDArray[np.bool_]:
    """Whose unknown acceptance stays for more of a request than it drifts, (num_envs, num_users)."""
    return (view.task_acceptance_std > 0.0) & (view.config.requests.drift_share <= 0.5)


def tokens_per_round(view: RoundView, draft_length: int) -> FloatArray:
    """Tokens a round over many requests of each user's task, (num_envs, num_users).

    Where acceptance lasts for a request that is the harmonic mean, as hard requests take more rounds.

    Args:
        view: The users.
        draft_length: Of every draft.
    """
    mean, std, lasts = view.task_acceptance_mean, view.task_acceptance_std, is_request_level(view)
    tasks, first, task = np.unique(mean + 1j * std, return_index=True, return_inverse=True)
    tokens = [
        _tokens_per_round(float(one.real), float(one.imag), bool(harmonic), draft_length)
        for one, harmonic in zip(tasks, lasts.ravel()[first], strict=True)
    ]
    return np.array(tokens)[task].reshape(mean.shape)


@lru_cache(maxsize=1024)
def _tokens_per_round(mean: float, std: float, harmonic: bool, draft_length: int) -> float:
    if std == 0.0:
        return float(expected_tokens(np.array(mean), draft_length))
    weights = np.diff(special.betainc(*beta_parameters(mean, std), _EDGES))
    tokens = expected_tokens(_NODES, draft_length)
    return float(1.0 / np.sum(weights / tokens) if harmonic else np.sum(weights * tokens))
