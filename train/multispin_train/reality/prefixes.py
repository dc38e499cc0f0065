"""Accepted drafts of a round: expected exactly over recorded texts, and what models say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multispin_env.core.equations import FloatArray, expected_tokens
from multispin_train.reality.drift import Drift
from multispin_train.reality.drifting_rates import DRAFT_LENGTHS, drifting_rates
from multispin_train.reality.resampling import SEED, Curve, Sample, as_curve
from multispin_train.reality.simulated import mobile_prefix

# Texts that the rate drifting token by token is simulated with.
_MODEL_TEXTS = 500


@dataclass(frozen=True)
class Prefixes:
    """Expected accepted prefix for each of ``DRAFT_LENGTHS``.

    Attributes:
        played: In rounds as they follow each other: each begins behind the last one's token of the server.
        first: Probability in these rounds that the first draft is accepted.
        anywhere: From a position drawn uniformly.
        models: What models say of ``played``, by name; ``MODELS`` explains them. Rounds are counted as ``played``
            counts them: more of them where acceptance is low.
        errors: Each model over ``played``, less 1. The intervals are those of the measurement; models of a
            drifting rate are held fixed.
        drifting_anywhere: What the fitted drift says of ``anywhere``.
    """

    played: Curve
    first: Curve
    anywhere: Curve
    models: Mapping[str, FloatArray]
    errors: Mapping[str, Curve]
    drifting_anywhere: FloatArray


MODELS = {
    "one rate": "eq. 12 with the mean acceptance over all positions",
    "task's rate": "eq. 12 with the mean of the request's task",
    "request's rate": "eq. 12 with the mean of the request itself, which nobody knows beforehand",
    "fitted drift": "a rate with the fitted spread that drifts from token to token as fitted",
    "mobile": "the requests of `mobile`, with its drift from token to token and the fitted spread",
}


def compare_prefixes(sample: Sample, drift: Drift) -> Prefixes:
    """Accepted drafts as measured and as every model has them."""
    traces, weights = sample.traces, sample.weights
    with np.errstate(invalid="ignore"):  # where no text is so long
        played, first, anywhere = _expected_prefixes(traces.outcome_probability, traces.length, weights)

    acceptance = traces.acceptance
    overall = (weights @ sample.sums(acceptance) / (weights @ traces.length))[:, np.newaxis]
    of_task = sample.task_means(acceptance)
    of_request = sample.sums(acceptance) / traces.length
    found = {
        "one rate": _independent(sample, overall),
        "task's rate": _independent(sample, of_task),
        "request's rate": _independent(sample, of_request),
    }
    means = of_task[0]
    course = drift.share.value, drift.correlation_tokens.value
    texts = np.linspace(0, len(means) - 1, _MODEL_TEXTS).round().astype(np.int64)
    positions = acceptance.shape[1]
    rates = drifting_rates(means[texts], drift.rate_std.value, *course, positions, np.random.default_rng(SEED))
    with np.errstate(invalid="ignore"):
        modelled = _expected_prefixes(rates, np.full(_MODEL_TEXTS, positions), np.ones((1, _MODEL_TEXTS)))
    found["fitted drift"] = modelled[0]
    found["mobile"] = mobile_prefix(sample, drift)
    return Prefixes(
        played=as_curve(played),
        first=as_curve(first),
        anywhere=as_curve(anywhere),
        models={name: np.atleast_2d(values)[0] for name, values in found.items()},
        errors={name: as_curve(values / played - 1.0) for name, values in found.items()},
        drifting_anywhere=modelled[2][0],
    )


def _expected_prefixes(
    outcome_probability: FloatArray, length: NDArray[np.int64], weights: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Accepted prefix of rounds as played, acceptance of their first drafts, and accepted prefix from any position.

    Exact: nothing is drawn. Drafts that reach beyond the end of their text are left out, as they say nothing.

    Args:
        outcome_probability: Of each position, (requests, positions).
        length: Tokens of each text, (requests,).
        weights: How often each request is counted, (samples, requests).

    Returns:
        Three arrays (samples, draft lengths).
    """
    longest = int(DRAFT_LENGTHS[-1])
    runs = _run_probabilities(outcome_probability, longest)
    prefix = np.zeros((len(runs), len(length)))
    places = np.arange(len(runs))[:, np.newaxis]
    found: tuple[list[FloatArray], ...] = ([], [], [])
    for draft_length in DRAFT_LENGTHS.tolist():
        prefix += runs[:, draft_length]
        whole = (places + draft_length <= length).astype(np.float64)
        visits = whole * _visits(runs, draft_length)
        for part, rounds, gained in zip(found, (visits, visits, whole), (prefix, runs[:, 1], prefix), strict=True):
            part.append((weights @ np.sum(rounds * gained, axis=0)) / (weights @ rounds.sum(axis=0)))
    played, first, anywhere = (np.stack(part, axis=1) for part in found)
    return played, first, anywhere


def _run_probabilities(outcome_probability: FloatArray, longest: int) -> FloatArray:
    """Probability that l drafts from a position on are all accepted, l = 0..longest; (positions, l, requests).

    Given the text outcomes are independent (see :class:`~multispin_env.profiles.Traces`).
    """
    requests, positions = outcome_probability.shape
    runs = np.zeros((positions, longest + 1, requests))
    runs[:, 0] = 1.0
    for length in range(1, min(longest, positions) + 1):
        reached = positions - length + 1
        runs[:reached, length] = runs[:reached, length - 1] * outcome_probability.T[length - 1 :]
    return runs


def _visits(runs: FloatArray, length: int) -> FloatArray:
    """Probability that a round begins at a position when all drafts are of one length, (positions, requests)."""
    positions, _, requests = runs.shape
    visits = np.zeros((positions + length + 1, requests))
    visits[0] = 1.0
    for start, chance in enumerate(runs):
        stops = chance[:length] - chance[1 : length + 1]
        visits[start + 1 : start + length + 1] += visits[start] * stops
        visits[start + length + 1] += visits[start] * chance[length]
    return visits[:positions]


def _independent(sample: Sample, rate: FloatArray) -> FloatArray:
    """Accepted prefix of a round by eq. 12, over the rounds that texts of these rates take.

    Args:
        sample: The requests.
        rate: Rate of each, as far as it differs; (1 + resamples, requests).

    Returns:
        (1 + resamples, draft lengths).
    """
    tokens = sample.weights * sample.traces.length
    per_round = [
        tokens.sum(axis=1) / np.sum(tokens / expected_tokens(rate, int(length)), axis=1) for length in DRAFT_LENGTHS
    ]
    return np.stack(per_round, axis=1) - 1.0
