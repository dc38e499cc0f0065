"""How likely the next drafts of a text with easy and hard places are accepted, given how earlier ones fared."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special

from multispin_env import RoundView
from multispin_env.core.equations import FloatArray
from multispin_env.core.requests.synthetic import beta_parameters

_TEXTS = 2048
_TINY = 1e-300
_LEAST_STD = 1e-6
_EVEN = special.ndtri((np.arange(_TEXTS) + 0.5) / _TEXTS)
_GRID = np.linspace(-8.0, 8.0, 4097)


class _Texts(NamedTuple):
    """Texts of a task that are as likely as each other before anything is drafted.

    Attributes:
        mean: Mean acceptance of the text, (texts,).
        last_round: Probability that the round that ended here fared so: by drafts accepted, by whether it began behind
            a rejection, and by whether it ended with one, (lengths, 2, 2, texts).
        prefix: Probability that the next l drafts are all accepted, (texts, lengths).
    """

    mean: FloatArray
    last_round: FloatArray
    prefix: FloatArray


def prefix_probabilities(view: RoundView) -> FloatArray:
    """Probability that the next l drafts are all accepted, l = 0..max_draft_length, (num_envs, num_users, lengths).

    Acceptance has the model of :class:`~multispin_env.core.requests.synthetic.SyntheticRequests`. Texts drawn from it
    are weighed by the likelihood of what is known: which drafts the last round accepted and rejected, position by
    position, and how many of all before it were accepted. Of the latter the drift makes neighbours alike, so that each
    counts as a part of an independent one, and the last rejection is taken to be where the last round began (without
    it, texts would be thought easier than they are: rounds begin at hard places).

    Args:
        view: The rounds.
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
    tasks, task = np.unique(view.task_acceptance_mean + 1j * view.task_acceptance_std, return_inverse=True)
    task = task.reshape(accepted.shape)
    for number, moments in enumerate(tasks):
        mean, std = float(moments.real), float(moments.imag)
        users = task == number
        if std < _LEAST_STD:
            result[users] = mean ** np.arange(longest + 1.0)
            continue
        texts = _texts(mean, std, share, correlation, longest)
        alike = 2.0 * correlation * share * std**2 / (mean * (1.0 - mean))
        counts = np.stack([older_accepted, older_rejected - follows_rejection], axis=-1)[users] / (1.0 + alike)
        log_likelihood = counts @ np.log(np.maximum([texts.mean, 1.0 - texts.mean], _TINY))
        fared = accepted[users], follows_rejection[users], rejected[users]
        log_likelihood += np.log(np.maximum(texts.last_round[fared], _TINY))
        weight = np.exp(log_likelihood - np.max(log_likelihood, axis=-1, keepdims=True))
        result[users] = weight @ texts.prefix / np.sum(weight, axis=-1, keepdims=True)
    return result


@lru_cache(maxsize=64)
def _texts(mean: float, std: float, share: float, correlation: float, longest: int) -> _Texts:
    def acceptance(variate: FloatArray) -> FloatArray:
        return np.interp(variate, _GRID, special.betaincinv(*beta_parameters(mean, std), special.ndtr(_GRID)))

    # Each text's own part, and the drift where it begins, are spread evenly over their distributions.
    rng = np.random.default_rng(0)
    own, drift = (np.sqrt(part) * rng.permutation(_EVEN) for part in (1.0 - share, share))
    step = np.exp(-1.0 / correlation)
    rate = np.empty((2 * longest + 2, _TEXTS))
    for position in rate:
        position[:] = acceptance(own + drift)
        drift = step * drift + np.sqrt(share * (1.0 - step**2)) * rng.standard_normal(_TEXTS)
    # The last position before the present one has the server's token; if a draft was rejected it was there.
    before, ahead = rate[longest + 1 :: -1], rate[longest + 2 :]
    runs = np.cumprod([np.ones(_TEXTS), *before[1:-1]], axis=0)
    last_round = np.stack([runs, runs * (1.0 - before[0])], axis=1)
    # The round before it ended likewise.
    last_round = np.stack([last_round, last_round * (1.0 - before[1:, np.newaxis])], axis=1)
    return _Texts(
        mean=np.mean([acceptance(own + np.sqrt(share) * variate) for variate in _EVEN[:: _TEXTS // 64]], axis=0),
        last_round=last_round,
        prefix=np.cumprod([np.ones(_TEXTS), *ahead], axis=0).T,
    )
