"""What drafts are worth in a text with easy and hard places, given how earlier ones fared."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special

from multispin_env import RoundView
from multispin_env.core.equations import FloatArray, beta_parameters

_TEXTS = 2048
_TINY = 1e-300
_LEAST_STD = 1e-6
_EVEN = special.ndtri((np.arange(_TEXTS) + 0.5) / _TEXTS)
_GRID = np.linspace(-8.0, 8.0, 4097)
# Positions behind the longest draft over which easy and hard places are looked at: so many correlation lengths, up to a
# limit, and so many drafts.
_CORRELATION_LENGTHS, _MOST_POSITIONS, _DRAFTS = 4.0, 160, 3


class _Kind(NamedTuple):
    """What a task's texts have in common.

    Attributes:
        mean: Mean acceptance.
        std: Its standard deviation over positions and texts; 0 where every position has the mean.
        drift_share: Part of the variance (of the underlying normal variate) that drifts along the text.
        correlation: Correlation length of the drift in tokens.
        longest: Longest draft.
    """

    mean: float
    std: float
    drift_share: float
    correlation: float
    longest: int


class _History(NamedTuple):
    """Texts of a kind that are as likely as each other before anything is drafted, and how likely drafts fare so.

    Attributes:
        mean: Mean acceptance of the text, (texts,).
        last_round: Probability that the round that ended here fared so: by drafts accepted, by whether it began behind
            a rejection, and by whether it ended with one, (lengths, 2, 2, texts).
    """

    mean: FloatArray
    last_round: FloatArray


def prefix_probabilities(view: RoundView) -> FloatArray:
    """Probability that the next l drafts are all accepted, l = 0..max_draft_length, (num_envs, num_users, lengths).

    Args:
        view: The rounds.
    """
    return _expectation(view, lambda kind: _prefixes(_rates_ahead(kind, kind.longest)).T)


def expected_progress(view: RoundView, draft_length: int) -> FloatArray:
    """How far drafts bring their texts, in tokens as hard as the average one, (num_envs, num_users, lengths from 0).

    The tokens of a text come in any case; what drafts save is rounds. If from a place on ``D(p)`` rounds of some common
    draft length are ahead, to come from place p to place q is worth ``D(p) - D(q)`` of them. Where acceptance is known,
    or new at every position, each token is worth the same; where a request keeps its acceptance, a token of a hard one
    is worth more; and in between, to stop in the middle of an easy stretch is no loss, as the next round begins there.

    Args:
        view: The rounds.
        draft_length: The common draft length.
    """
    return _expectation(view, lambda kind: _progress(kind, draft_length))


def _expectation(view: RoundView, of_texts: Callable[[_Kind], FloatArray]) -> FloatArray:
    """Expected values given how drafts fared, (num_envs, num_users, values).

    Acceptance has the model of :class:`~multispin_env.core.requests.synthetic.SyntheticRequests`. Texts drawn from it
    are weighed by the likelihood of what is known: which drafts the last round accepted and rejected, position by
    position, and how many of all before it were accepted. Of the latter the drift makes neighbours alike, so that each
    counts as a part of an independent one, and the last rejection is taken to be where the last round began (without
    it, texts would be thought easier than they are: rounds begin at hard places).

    Args:
        view: The rounds.
        of_texts: The values of each of a kind's texts, (texts, values).
    """
    requests, longest = view.config.requests, view.config.max_draft_length
    share, correlation = requests.drift_share, requests.drift_correlation_tokens
    running = view.request_tested > 0
    accepted = np.where(running, view.last_accepted, 0)
    rejected = (running & (view.last_accepted < view.last_draft_length)).astype(np.int64)
    older_accepted = view.request_accepted - accepted
    older_rejected = view.request_tested - accepted - rejected - older_accepted
    follows_rejection = (older_rejected > 0).astype(np.int64)

    result = np.empty((*accepted.shape, longest + 1))
    tasks = np.stack([view.task_acceptance_mean, view.task_acceptance_std], axis=-1)
    for mean, std in np.unique(tasks.reshape(-1, 2), axis=0):
        users = np.all(tasks == (mean, std), axis=-1)
        kind = _Kind(float(mean), float(std), share, correlation, longest)
        if std < _LEAST_STD:
            result[users] = of_texts(kind)[0]
            continue
        history = _history(kind)
        alike = 2.0 * correlation * share * std**2 / (mean * (1.0 - mean))
        counts = np.stack([older_accepted, older_rejected - follows_rejection], axis=-1)[users] / (1.0 + alike)
        log_likelihood = counts @ np.log(np.maximum([history.mean, 1.0 - history.mean], _TINY))
        fared = accepted[users], follows_rejection[users], rejected[users]
        log_likelihood += np.log(np.maximum(history.last_round[fared], _TINY))
        weight = np.exp(log_likelihood - np.max(log_likelihood, axis=-1, keepdims=True))
        result[users] = weight @ of_texts(kind) / np.sum(weight, axis=-1, keepdims=True)
    return result


@lru_cache(maxsize=64)
def _history(kind: _Kind) -> _History:
    rate, own = _rates(kind, 0)
    before = rate[::-1]
    # The last position before the present one has the server's token; if a draft was rejected it was there.
    runs = _prefixes(before[1:-1])
    last_round = np.stack([runs, runs * (1.0 - before[0])], axis=1)
    # The round before it ended likewise.
    last_round = np.stack([last_round, last_round * (1.0 - before[1:, np.newaxis])], axis=1)
    drifted = np.sqrt(kind.drift_share) * _EVEN[:: _TEXTS // 64]
    return _History(np.mean([_acceptance(kind, own + drift) for drift in drifted], axis=0), last_round)


@lru_cache(maxsize=64)
def _progress(kind: _Kind, draft_length: int) -> FloatArray:
    """Progress of drafts in each text, (texts, lengths from 0); see :func:`expected_progress`."""
    correlated = _CORRELATION_LENGTHS * kind.correlation * (kind.drift_share > 0.0)
    positions = kind.longest + 1 + int(min(correlated, _MOST_POSITIONS)) + _DRAFTS * (draft_length + 1)
    rate = _rates_ahead(kind, positions)
    # Rounds that are ahead at each position, from behind; behind the last one a text stays as it is there.
    rounds = np.empty((positions + draft_length + 1, rate.shape[1]))
    rounds[positions:] = -np.arange(draft_length + 1.0)[:, np.newaxis] / np.sum(
        rate[-1] ** np.arange(draft_length + 1.0)[:, np.newaxis], axis=0
    )
    rate = np.concatenate([rate, np.repeat(rate[-1:], draft_length, axis=0)])
    for position in range(positions - 1, -1, -1):
        runs = _prefixes(rate[position : position + draft_length])
        steps = np.diff(rounds[position + 1 : position + draft_length + 2], axis=0)
        rounds[position] = 1.0 + rounds[position + 1] + np.sum(runs[1:] * steps, axis=0)
    saved = -np.diff(rounds[: kind.longest + 2], axis=0)
    per_token = np.mean(rounds[0] - rounds[positions - 1]) / (positions - 1)
    return np.cumsum(_prefixes(rate[: kind.longest]) * saved, axis=0).T / per_token


def _prefixes(rate: FloatArray) -> FloatArray:
    """Products of the first 0, 1, 2 ... of the rates, (rates + 1, texts)."""
    return np.concatenate([np.ones_like(rate[:1]), np.cumprod(rate, axis=0)])


def _rates_ahead(kind: _Kind, positions: int) -> FloatArray:
    return _rates(kind, positions)[0][kind.longest + 2 :]


@lru_cache(maxsize=64)
def _rates(kind: _Kind, positions: int) -> tuple[FloatArray, FloatArray]:
    """Acceptance at the positions of texts: those of the longest last round and so many ahead; and the texts' own part.

    Returns:
        (max_draft_length + 2 + positions, texts), and (texts,). Where acceptance is known one text stands for all.
    """
    if kind.std < _LEAST_STD:
        return np.full((kind.longest + 2 + positions, 1), kind.mean), np.zeros(1)
    # Each text's own part, and the drift where it begins, are spread evenly over their distributions.
    rng = np.random.default_rng(0)
    parts = (1.0 - kind.drift_share, kind.drift_share)
    own, drift = (np.sqrt(part) * rng.permutation(_EVEN) for part in parts)
    step = np.exp(-1.0 / kind.correlation)
    rate = np.empty((kind.longest + 2 + positions, _TEXTS))
    for position in rate:
        position[:] = _acceptance(kind, own + drift)
        drift = step * drift + np.sqrt(kind.drift_share * (1.0 - step**2)) * rng.standard_normal(_TEXTS)
    return rate, own


def _acceptance(kind: _Kind, variate: FloatArray) -> FloatArray:
    return np.interp(variate, _GRID, _quantiles(kind.mean, kind.std))


@lru_cache(maxsize=64)
def _quantiles(mean: float, std: float) -> FloatArray:
    return np.asarray(special.betaincinv(*beta_parameters(mean, std), special.ndtr(_GRID)))
