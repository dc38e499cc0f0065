"""The course of acceptance along texts: its autocovariance, and the drift that is fitted to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from multispin_env import make_config
from multispin_env.core.equations import FloatArray, beta_parameters
from multispin_env.evaluation.statistics import Estimate
from multispin_train.reality.resampling import Curve, Sample, as_curve, as_estimate

# Of the largest standard deviation that a rate of its mean can have, at which it is 0 or 1.
LARGEST_SPREAD = 0.95
# Terms of the Hermite series that carries correlation of the variate over to the rate, and nodes for each.
_TERMS, _NODES = 24, 96
_SPREADS = 48


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
        in_mobile: That of a rate of the same spread that drifts as it does in `mobile`.
        rate_std: Standard deviation of the rate.
        share: ``drift_share``: the part of the variate that drifts.
        correlation_tokens: ``drift_correlation_tokens``.
        request_std: Standard deviation, within tasks, of the requests' means, each weighted by its tokens.
        explained: Variance of these means that each component accounts for, over the measured one: ``lasting``,
            ``drifting`` and ``position`` (what each position has of its own). Nothing makes them add up to 1.
    """

    autocovariance: Curve
    fitted: FloatArray
    in_mobile: FloatArray
    rate_std: Estimate
    share: Estimate
    correlation_tokens: Estimate
    request_std: Estimate
    explained: Mapping[str, Estimate]

    def possible_rate_std(self, mean: float) -> float:
        """``rate_std``, or the largest that a Beta distribution of this mean is asked for."""
        return float(possible_spread(self.rate_std.value, mean))


def _autocovariance(sample: Sample, values: FloatArray) -> tuple[FloatArray, FloatArray]:
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


def _in_mobile(rate_std: float) -> _Fit:
    """A rate of this spread that drifts as it does in `mobile`."""
    requests = make_config("mobile").requests
    return _Fit(rate_std, requests.drift_share, requests.drift_correlation_tokens)


def fit_drift(sample: Sample, values: FloatArray, on_resample: Callable[[], None]) -> Drift:
    """Fits the drift to the autocovariance of these values of every position, in the sample and in each resample."""
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
        autocovariance=as_curve(autocovariance),
        fitted=copula.covariance(fits[0].rate_std, fits[0].correlation(lags)),
        in_mobile=copula.covariance(fits[0].rate_std, _in_mobile(fits[0].rate_std).correlation(lags)),
        rate_std=as_estimate(found[:, 0]),
        share=as_estimate(found[:, 1]),
        correlation_tokens=as_estimate(found[:, 2]),
        request_std=as_estimate(np.sqrt(np.maximum(variance, 0.0))),
        explained={
            name: as_estimate(explained[:, part]) for part, name in enumerate(("lasting", "drifting", "position"))
        },
    )


def _variance_of_means(sample: Sample, values: FloatArray) -> FloatArray:
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


def possible_spread(std: float, mean: ArrayLike) -> FloatArray:
    """The spread, or the largest that a Beta distribution of this mean is asked for."""
    mean = np.asarray(mean, dtype=np.float64)
    return np.minimum(std, LARGEST_SPREAD * np.sqrt(mean * (1.0 - mean)))
