"""What is believed of a request's acceptance, and what a draft of each length is worth under it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from multispin_env import RoundView
from multispin_env.core.requests import beta_parameters
from multispin_env.core.round import FloatArray, expected_tokens

# Acceptances on which a Beta distribution is weighed; dense at both ends, where the measured ones have their mass.
_NODES = np.concatenate([np.geomspace(1e-4, 0.05, 12), np.linspace(0.08, 0.92, 28), 1.0 - np.geomspace(0.05, 1e-4, 12)])
_EDGES = np.concatenate([[0.0], 0.5 * (_NODES[1:] + _NODES[:-1]), [1.0]])


class Evidence(NamedTuple):
    """What is believed of each user's acceptance, arrays (lanes, users).

    Attributes:
        first: First parameter of a Beta distribution; means nothing where the acceptance is known.
        second: Its second parameter.
        mean: Mean acceptance.
        known: Where the acceptance is its mean.
    """

    first: FloatArray
    second: FloatArray
    mean: FloatArray
    known: NDArray[np.bool_]


def recent_evidence(view: RoundView) -> Evidence:
    """The Beta posterior of each request's acceptance now, old evidence discounted where acceptance drifts.

    The last round counts in full. What is older counts as ``n / (1 + drift_share n)`` decided drafts in place of n:
    all of them without drift, and at most ``1 / drift_share`` with it. The rule is ours; against the posterior that
    counts everything alike it cuts the mean squared error in `mobile` by a quarter (llama2) and more (qwen3.5).
    """
    mean, std = view.task_acceptance_mean, view.task_acceptance_std
    known = std == 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = beta_parameters(mean, np.where(known, 1.0, std))
    running = view.request_tested > 0
    last_accepted = np.where(running, view.last_accepted, 0)
    last_tested = np.where(running, view.last_accepted + (view.last_accepted < view.last_draft_length), 0)
    older = view.request_tested - last_tested
    weight = 1.0 / (1.0 + view.config.requests.drift_share * older)
    accepted = last_accepted + weight * (view.request_accepted - last_accepted)
    tested = last_tested + weight * older
    first, second = first + accepted, second + tested - accepted
    return Evidence(first, second, np.where(known, mean, first / np.where(known, 1.0, first + second)), known)


def acceptance_powers(evidence: Evidence, longest: int) -> FloatArray:
    """Probability that the first l drafts are all accepted, ``E[alpha^l]`` for l = 0..longest, (lanes, users, l)."""
    steps = np.arange(longest)
    first, second = evidence.first[..., np.newaxis], evidence.second[..., np.newaxis]
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = (first + steps) / (first + second + steps)
    factors = np.where(evidence.known[..., np.newaxis], evidence.mean[..., np.newaxis], factors)
    return np.concatenate([np.ones_like(first), np.cumprod(factors, axis=-1)], axis=-1)


def expected_log_tokens(evidence: Evidence, longest: int) -> FloatArray:
    """``E[ln E[N | alpha, l]]`` over the belief (eq. 12), for l = 0..longest, (lanes, users, l)."""
    lengths = np.arange(longest + 1)
    known = evidence.known[..., np.newaxis]
    first, second = (np.where(known, 1.0, part[..., np.newaxis]) for part in evidence[:2])
    weights = np.diff(special.betainc(first, second, _EDGES), axis=-1)
    unknown = weights @ np.log(expected_tokens(_NODES[:, np.newaxis], lengths))
    return np.where(known, np.log(expected_tokens(evidence.mean[..., np.newaxis], lengths)), unknown)


def tokens_per_round(mean: FloatArray, std: FloatArray, draft_length: int) -> FloatArray:
    """Tokens a round over many requests of a task: their harmonic mean, as hard requests take more rounds.

    Args:
        mean: The task's mean acceptance, any shape.
        std: Its standard deviation, likewise.
        draft_length: Of every draft.
    """
    tasks, task = np.unique(mean + 1j * std, return_inverse=True)
    tokens = [_tokens_per_round(float(one.real), float(one.imag), draft_length) for one in tasks]
    return np.array(tokens)[task].reshape(mean.shape)


@lru_cache(maxsize=256)
def _tokens_per_round(mean: float, std: float, draft_length: int) -> float:
    if std == 0.0:
        return float(expected_tokens(np.array(mean), draft_length))
    weights = np.diff(special.betainc(*beta_parameters(mean, std), _EDGES))
    return float(1.0 / np.sum(weights / expected_tokens(_NODES, draft_length)))
