"""What measured requests say about acceptance: its spread, its course along a text, and what a draft gets of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from multispin_env.config import RequestConfig, TaskConfig
from multispin_env.core.equations import FloatArray, expected_tokens
from multispin_env.core.processes import ornstein_uhlenbeck
from multispin_env.core.requests.synthetic import SyntheticRequests, beta_parameters
from multispin_env.core.streams import Streams
from multispin_env.evaluation.statistics import Estimate
from multispin_env.profiles import Traces

DRAFT_LENGTHS = np.arange(1, 26)
# Positions are averaged over so many, for a curve that the eye can follow.
POSITIONS_PER_BIN = 8
# The beginning of a text, held against the rest of it.
EARLY_POSITIONS = 16
RESAMPLES = 1000
# Of the largest standard deviation that a rate of its mean can have, at which it is 0 or 1.
LARGEST_SPREAD = 0.95

_SEED = 20260603
# Terms of the Hermite series that carries correlation of the variate over to the rate, and nodes for each.
_TERMS, _NODES = 24, 96
_SPREADS = 48
# What the models of a drifting rate are simulated with: their curves are then good to about a hundredth.
_MODEL_USERS, _MODEL_ROUNDS, _MODEL_TEXTS = 1000, 60, 500


class Curve(NamedTuple):
    """A statistic along an axis with its pointwise 95 % interval, arrays of one shape."""

    value: FloatArray
    low: FloatArray
    high: FloatArray

    def at(self, index: int) -> Estimate:
        """One point of it."""
        return Estimate(*(float(part[index]) for part in self))


@dataclass(frozen=True)
class TaskAcceptance:
    """A task's acceptance.

    Attributes:
        name: The task's name.
        requests: Requests measured of it.
        tokens: Tokens of their texts.
        mean: Mean, over requests, of the mean acceptance over a request's positions.
        std: The standard deviation of the same.
        position_std: Standard deviation of the acceptance over all positions of the task's texts.
    """

    name: str
    requests: int
    tokens: int
    mean: Estimate
    std: Estimate
    position_std: Estimate


@dataclass(frozen=True)
class Drift:
    """The course of acceptance along texts, as `mobile` models it, and what the model leaves over.

    A rate has a Beta distribution, its standard normal variate a part that stays for the request and one that drifts as
    an Ornstein-Uhlenbeck process does (:class:`~multispin_env.core.requests.SyntheticRequests`). What a position
    has of its own beyond the rate does not reach the next one and needs no model: a draft accepted with an
    independently drawn probability is accepted with its mean.

    Attributes:
        autocovariance: Within tasks, at lags 0, 1, ...
        fitted: The model's, at the same lags; at lag 0 the variance of the rate.
        rate_std: Standard deviation of the rate.
        share: ``drift_share``: the part of the variate that drifts.
        correlation_tokens: ``drift_correlation_tokens``.
        request_std: Standard deviation, within tasks, of the requests' means, each weighted by its tokens.
        explained: Variance of these means that each component accounts for, over the measured one: ``lasting``,
            ``drifting`` and ``position`` (what each position has of its own). Nothing makes them add up to 1.
    """

    autocovariance: Curve
    fitted: FloatArray
    rate_std: Estimate
    share: Estimate
    correlation_tokens: Estimate
    request_std: Estimate
    explained: Mapping[str, Estimate]

    def possible_rate_std(self, mean: float) -> float:
        """``rate_std``, or the largest that a Beta distribution of this mean is asked for."""
        return float(_possible(self.rate_std.value, mean))


@dataclass(frozen=True)
class Prefixes:
    """Expected accepted prefix for each of ``DRAFT_LENGTHS``.

    Attributes:
        played: In rounds as they follow each other: each begins behind the last one's token of the server.
        first: Probability in these rounds that the first draft is accepted.
        anywhere: From a position drawn uniformly.
        models: What models say of ``played``, by name; ``MODELS`` explains them. Rounds are counted as ``played``
            counts them: more of them where acceptance is low.
        errors: Each model over ``played``, less 1. The intervals are those of the measurement; the models of a
            drifting rate are held fixed.
        drifting_anywhere: What the last of the models says of ``anywhere``.
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
    "mobile": "the rate drifts between rounds and stands still within one, as in `mobile`: the fitted drift, and the "
    "spread that the requests' means have",
    "mobile, fitted spread": "the same with the fitted spread of the rate",
    "token by token": "the fitted rate, drifting within rounds as well",
}


@dataclass(frozen=True)
class Analysis:
    """What the traces say.

    Attributes:
        tasks: Acceptance by task.
        request_mean: Mean acceptance of each request, in the order of the traces.
        position: Mean acceptance in bins of ``POSITIONS_PER_BIN`` positions, of the texts that get there.
        early: Mean acceptance of the first ``EARLY_POSITIONS``, less that of what follows in the same texts; None if
            no text is longer.
        acceptance: Drift of the acceptance, the probability that a draft is accepted given the text before it.
        outcome: Drift of the outcomes: whether drafts are accepted. It is the one to simulate, as the autocovariance of
            the outcomes decides how long accepted runs are; an accepted token is itself news about the next.
        prefixes: Expected accepted prefixes.
    """

    tasks: tuple[TaskAcceptance, ...]
    request_mean: FloatArray
    position: Curve
    early: Estimate | None
    acceptance: Drift
    outcome: Drift
    prefixes: Prefixes


def analyse(traces: Traces, resamples: int = RESAMPLES, on_resample: Callable[[], None] = lambda: None) -> Analysis:
    """Everything that the traces say, with 95 % intervals of the percentile bootstrap over requests.

    Args:
        traces: The measured requests.
        resamples: Bootstrap resamples, drawn within tasks; at least 1.
        on_resample: Called after each of them, and once before, for each of the two fits: they take the time.
    """
    sample = _Sample(traces, resamples)
    request_mean = sample.sums(traces.acceptance) / traces.length
    acceptance = _drift(sample, traces.acceptance, on_resample)
    outcome = _drift(sample, traces.outcome_probability, on_resample)
    return Analysis(
        tasks=tuple(_task(sample, name, request_mean) for name in sample.names),
        request_mean=request_mean,
        position=_along_positions(sample),
        early=_early(sample),
        acceptance=acceptance,
        outcome=outcome,
        prefixes=_prefixes(sample, outcome),
    )


class _Sample:
    """The requests and how often each of them is in the sample, which is row 0, and in each resample."""

    def __init__(self, traces: Traces, resamples: int) -> None:
        self.traces = traces
        self.names = tuple(dict.fromkeys(traces.task))
        self.of_task = {name: np.flatnonzero(np.array(traces.task) == name) for name in self.names}
        self.weights = np.ones((1 + resamples, len(traces.length)))
        generator = np.random.default_rng(_SEED)
        for rows in self.of_task.values():
            drawn = generator.multinomial(len(rows), np.full(len(rows), 1.0 / len(rows)), size=resamples)
            self.weights[1:, rows] = drawn
        self.inside = np.arange(traces.acceptance.shape[1]) < traces.length[:, np.newaxis]

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum over the positions of each request."""
        return np.sum(values, axis=1, where=self.inside)

    def task_means(self, values: FloatArray) -> FloatArray:
        """Mean over all positions of the request's task, (1 + resamples, requests)."""
        means = np.empty_like(self.weights)
        for rows in self.of_task.values():
            weights = self.weights[:, rows]
            mean = weights @ self.sums(values)[rows] / (weights @ self.traces.length[rows])
            means[:, rows] = mean[:, np.newaxis]
        return means


def _curve(resampled: FloatArray) -> Curve:
    """Row 0 with the percentiles of the others; no interval (NaN) where a resample has nothing to go by."""
    with np.errstate(invalid="ignore"):
        low, high = np.percentile(resampled[1:], [2.5, 97.5], axis=0)
    return Curve(resampled[0], low, high)


def _estimate(resampled: FloatArray) -> Estimate:
    return _curve(resampled[:, np.newaxis]).at(0)


def _task(sample: _Sample, name: str, request_mean: FloatArray) -> TaskAcceptance:
    rows = sample.of_task[name]
    weights, values = sample.weights[:, rows] / len(rows), request_mean[rows]
    mean = weights @ values
    variance = np.maximum(weights @ np.square(values) - np.square(mean), 0.0)
    tokens = weights @ sample.traces.length[rows]
    first, second = (weights @ sample.sums(sample.traces.acceptance**power)[rows] / tokens for power in (1, 2))
    return TaskAcceptance(
        name=name,
        requests=len(rows),
        tokens=int(sample.traces.length[rows].sum()),
        mean=_estimate(mean),
        std=_estimate(np.sqrt(variance)),
        position_std=_estimate(np.sqrt(np.maximum(second - np.square(first), 0.0))),
    )


def _along_positions(sample: _Sample) -> Curve:
    starts = np.arange(0, sample.inside.shape[1], POSITIONS_PER_BIN)
    total = np.add.reduceat(sample.traces.acceptance * sample.inside, starts, axis=1)
    count = np.add.reduceat(sample.inside.astype(np.float64), starts, axis=1)
    with np.errstate(invalid="ignore"):  # a resample may lack the one text that gets so far
        return _curve((sample.weights @ total) / (sample.weights @ count))


def _early(sample: _Sample) -> Estimate | None:
    long = sample.traces.length > EARLY_POSITIONS
    if not long.any():
        return None
    early = sample.traces.acceptance[long, :EARLY_POSITIONS].mean(axis=1)
    late = sample.sums(sample.traces.acceptance)[long] - EARLY_POSITIONS * early
    difference = early - late / (sample.traces.length[long] - EARLY_POSITIONS)
    weights = sample.weights[:, long]
    return _estimate(weights @ difference / weights.sum(axis=1))


# The course along texts


def _autocovariance(sample: _Sample, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Within tasks, all pairs of positions alike: (1 + resamples, lags) and the number of pairs, (lags,).

    A task's mean is estimated from the same positions, which makes deviations from it too small: its variance is added.
    """
    length, inside = sample.traces.length, sample.inside
    lags = inside.shape[1]
    values = values * inside
    products, ends, pairs = (np.empty((len(length), lags)) for _ in range(3))
    for lag in range(lags):
        first, second = values[:, : lags - lag], values[:, lag:]
        products[:, lag] = np.sum(first * second, axis=1)
        ends[:, lag] = np.sum(first, axis=1, where=inside[:, lag:]) + np.sum(second, axis=1)
        pairs[:, lag] = np.maximum(length - lag, 0)
    total = np.zeros((len(sample.weights), lags))
    count = np.zeros_like(total)
    for rows in sample.of_task.values():
        weights = sample.weights[:, rows]
        tokens = weights @ length[rows]
        mean = (weights @ values[rows].sum(axis=1) / tokens)[:, np.newaxis]
        excess = np.square(values[rows].sum(axis=1) - mean * length[rows])
        number = max(len(rows), 2)
        error = np.sum(weights * excess, axis=1) / np.square(tokens) * number / (number - 1)
        in_pairs = weights @ pairs[rows]
        total += weights @ products[rows] - mean * (weights @ ends[rows])
        total += (np.square(mean) + error[:, np.newaxis]) * in_pairs
        count += in_pairs
    with np.errstate(invalid="ignore"):
        return total / count, count[0]


class _Copula:
    """Covariance of two rates whose variates correlate: rates have a Beta distribution, variates a normal one.

    With the Hermite coefficients c_j of the rate as a function of the variate it is the sum of c_j^2 rho^j.

    Args:
        mean: Mean of the rates.
    """

    def __init__(self, mean: float) -> None:
        nodes, node_weights = np.polynomial.hermite_e.hermegauss(_NODES)
        node_weights = node_weights / node_weights.sum()
        polynomials = np.polynomial.hermite_e.hermevander(nodes, _TERMS) / np.sqrt(special.factorial(range(_TERMS + 1)))
        self.largest = LARGEST_SPREAD * float(np.sqrt(mean * (1.0 - mean)))
        self._spreads = np.linspace(0.005, self.largest, _SPREADS)
        shares = []
        for spread in self._spreads:
            rate = special.betaincinv(*beta_parameters(mean, spread), special.ndtr(nodes))
            squares = np.square((node_weights * rate) @ polynomials)[1:]
            # What the series leaves out belongs to its last term, so that full correlation gives the variance.
            squares[-1] += max(spread * spread - squares.sum(), 0.0)
            shares.append(squares / squares.sum())
        self._shares = np.array(shares)

    def covariance(self, spread: float, correlation: FloatArray) -> FloatArray:
        """Covariance of rates of this standard deviation, by the correlation of their variates."""
        place = np.interp(spread, self._spreads, np.arange(_SPREADS))
        below = min(int(place), _SPREADS - 2)
        weight = place - below
        shares = (1.0 - weight) * self._shares[below] + weight * self._shares[below + 1]
        return spread * spread * correlation * np.polynomial.polynomial.polyval(correlation, shares)


class _Fit(NamedTuple):
    rate_std: float
    share: float
    correlation_tokens: float

    def correlation(self, lags: FloatArray) -> FloatArray:
        """Of the variates, so many tokens apart."""
        return (1.0 - self.share) + self.share * np.exp(-lags / self.correlation_tokens)


def _fit(autocovariance: FloatArray, pairs: FloatArray, copula: _Copula) -> _Fit:
    """Least squares over all lags from 1 on, each weighted by its pairs."""
    held = np.isfinite(autocovariance) & (pairs > 0)
    held[0] = False  # what a position has of its own is in it
    lags, wanted, weight = np.flatnonzero(held).astype(np.float64), autocovariance[held], np.sqrt(pairs[held])
    longest = float(len(autocovariance))

    # For a start: nearly, a constant and an exponential, whose best two factors are a linear problem for each length.
    best, start = np.inf, _Fit(0.1, 0.5, 1.0)
    for tokens in np.geomspace(1.0, longest, 24):
        basis = np.stack([np.ones_like(lags), np.exp(-lags / tokens)], axis=1)
        (lasting, drifting), misfit = optimize.nnls(weight[:, np.newaxis] * basis, weight * wanted)
        if misfit < best and lasting + drifting > 0.0:
            variance = lasting + drifting
            best, start = misfit, _Fit(float(np.sqrt(variance)), float(drifting / variance), float(tokens))
    low, high = np.array([0.005, 0.0, 0.5]), np.array([copula.largest, 1.0, longest])
    found = optimize.least_squares(
        lambda values: weight * (copula.covariance(values[0], _Fit(*values).correlation(lags)) - wanted),
        np.clip(start, low + 1e-3 * (high - low), high - 1e-3 * (high - low)),
        bounds=(low, high),
        x_scale=np.maximum(start, 1e-2),
    )
    return _Fit(*map(float, found.x))


def _drift(sample: _Sample, values: FloatArray, on_resample: Callable[[], None]) -> Drift:
    autocovariance, pairs = _autocovariance(sample, values)
    copula = _Copula(float(values[sample.inside].mean()))
    lags = np.arange(len(pairs), dtype=np.float64)
    fits, parts = [], []
    for row, weights in zip(autocovariance, sample.weights, strict=True):
        fit = _fit(row, pairs, copula)
        fits.append(fit)
        parts.append(_spread_of_means(fit, row[0], copula, sample.traces.length, weights))
        on_resample()
    variance = _variance_of_means(sample, values)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample of one request over and over
        explained = np.array(parts) / variance[:, np.newaxis]
    found = np.array(fits)
    return Drift(
        autocovariance=_curve(autocovariance),
        fitted=copula.covariance(fits[0].rate_std, fits[0].correlation(lags)),
        rate_std=_estimate(found[:, 0]),
        share=_estimate(found[:, 1]),
        correlation_tokens=_estimate(found[:, 2]),
        request_std=_estimate(np.sqrt(np.maximum(variance, 0.0))),
        explained={
            name: _estimate(explained[:, part]) for part, name in enumerate(("lasting", "drifting", "position"))
        },
    )


def _variance_of_means(sample: _Sample, values: FloatArray) -> FloatArray:
    """Variance within tasks of the requests' means, each weighted by its tokens, (1 + resamples,)."""
    length = sample.traces.length
    squares = np.square(sample.sums(values) / length - sample.task_means(values))
    total = np.zeros(len(sample.weights))
    for rows in sample.of_task.values():
        number = max(len(rows), 2)  # a task's mean is estimated from as many
        total += np.sum((sample.weights * squares * length)[:, rows], axis=1) * number / (number - 1)
    return total / (sample.weights @ length)


def _spread_of_means(
    fit: _Fit, variance: float, copula: _Copula, length: NDArray[np.int64], weights: FloatArray
) -> tuple[float, float, float]:
    """Variance of the requests' means by component: what lasts, what drifts, and what a position has of its own."""
    lags = np.arange(length.max(), dtype=np.float64)
    lasting = float(copula.covariance(fit.rate_std, np.array(1.0 - fit.share)))
    drifting = copula.covariance(fit.rate_std, fit.correlation(lags)) - lasting
    # Of n positions, n - k pairs are k apart, in either order but for k = 0.
    apart = np.maximum(length[:, np.newaxis] - lags, 0.0)
    twice = np.where(lags == 0.0, 1.0, 2.0)
    drifted = (apart @ (twice * drifting)) / np.square(length)
    own = max(variance - fit.rate_std**2, 0.0) / length
    tokens = weights * length
    return lasting, float(np.average(drifted, weights=tokens)), float(np.average(own, weights=tokens))


# What a draft gets of it


def _prefixes(sample: _Sample, drift: Drift) -> Prefixes:
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
    tokens = round(float(traces.length.mean()))
    found["mobile"] = drifting_prefix(means, drift.request_std.value, *course, tokens)
    found["mobile, fitted spread"] = drifting_prefix(means, drift.rate_std.value, *course, tokens)
    texts = np.linspace(0, len(means) - 1, _MODEL_TEXTS).round().astype(np.int64)
    positions = acceptance.shape[1]
    rates = drifting_rates(means[texts], drift.rate_std.value, *course, positions, np.random.default_rng(_SEED))
    with np.errstate(invalid="ignore"):
        modelled = _expected_prefixes(rates, np.full(_MODEL_TEXTS, positions), np.ones((1, _MODEL_TEXTS)))
    found["token by token"] = modelled[0]
    return Prefixes(
        played=_curve(played),
        first=_curve(first),
        anywhere=_curve(anywhere),
        models={name: np.atleast_2d(values)[0] for name, values in found.items()},
        errors={name: _curve(values / played - 1.0) for name, values in found.items()},
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


def _independent(sample: _Sample, rate: FloatArray) -> FloatArray:
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
    return special.betaincinv(*beta_parameters(mean, _possible(std, mean)), special.ndtr(variate)).T


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
            TaskConfig(name=f"{one}", acceptance_mean=one, acceptance_std=round(float(_possible(std, one)), 6))
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
        requests.reset(Streams([np.random.default_rng(_SEED)]))
        drafts = np.full((1, _MODEL_USERS), length)
        found = []
        for _ in range(_MODEL_ROUNDS):
            found.append(float(np.mean(expected_tokens(requests.acceptance_rate, length))) - 1.0)
            requests.verify(drafts)
        prefixes.append(float(np.mean(found)))
    return np.array(prefixes)


def _possible(std: float, mean: ArrayLike) -> FloatArray:
    """The spread, or the largest that a Beta distribution of this mean is asked for."""
    mean = np.asarray(mean, dtype=np.float64)
    return np.minimum(std, LARGEST_SPREAD * np.sqrt(mean * (1.0 - mean)))
