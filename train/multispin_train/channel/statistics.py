"""How much a rate varies, how long it remembers, and what becomes of it within a round."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from multispin_env.core.equations import FloatArray

# Rates are means over windows: the shortest by which all others are made, and the one of the statistics over time.
CELL_S = 0.01
WINDOWS_S = (0.01, 0.1, 1.0)
COURSE_WINDOW_S = 0.1
# About from the decision to the upload.
AHEAD_S = 0.2
RATIO_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class Rates:
    """A rate over time.

    Attributes:
        cell: Means over cells of ``CELL_S``, (cells,).
        resolution_s: What is shorter was not measured.
    """

    cell: FloatArray
    resolution_s: float

    @property
    def duration_s(self) -> float:
        """How long it was watched."""
        return CELL_S * len(self.cell)

    def resolves(self, window_s: float) -> bool:
        """Whether what happens within such windows was measured."""
        return window_s >= self.resolution_s * (1.0 - 1e-6)  # times of files have rounding errors

    def means(self, window_s: float) -> FloatArray:
        """Means over windows, as many as are whole."""
        cells = round(window_s / CELL_S)
        whole = len(self.cell) // cells * cells
        return self.cell[:whole].reshape(-1, cells).mean(axis=1)


@dataclass(frozen=True)
class RateStatistics:
    """What a rate is like over time. NaN where it was watched too coarsely or too briefly to say.

    Attributes:
        mean: Mean rate, in the source's unit.
        variation_10ms: Coefficient of variation of the means over 10 ms.
        variation_100ms: Over 100 ms.
        variation_1s: Over 1 s.
        correlation_s: Lag at which the autocorrelation of the means over 100 ms has fallen to 1/e.
        ratio_5: 5 % quantile of rate(t + .2 s) / rate(t), means over 100 ms, where the earlier one is above 0.
        ratio_25: Their 25 % quantile.
        ratio_50: Their median.
        ratio_75: Their 75 % quantile.
        ratio_95: Their 95 % quantile.
    """

    mean: float
    variation_10ms: float
    variation_100ms: float
    variation_1s: float
    correlation_s: float
    ratio_5: float
    ratio_25: float
    ratio_50: float
    ratio_75: float
    ratio_95: float


def rate_statistics(rates: Rates) -> RateStatistics:
    """The statistics of one source."""
    ratios = later_over_now(rates)
    quantiles = np.quantile(ratios, RATIO_QUANTILES) if ratios.size else np.full(len(RATIO_QUANTILES), np.nan)
    variations = (variation(rates, window_s) for window_s in WINDOWS_S)
    values = (float(rates.cell.mean()), *variations, _correlation_s(autocorrelation(rates)), *map(float, quantiles))
    names = (item.name for item in fields(RateStatistics))
    return RateStatistics(**dict(zip(names, values, strict=True)))


def variation(rates: Rates, window_s: float) -> float:
    """Coefficient of variation of the means over windows of this length."""
    means = rates.means(window_s)
    if len(means) < 2 or not rates.resolves(window_s):
        return float("nan")
    return float(means.std() / means.mean())


def autocorrelation(rates: Rates) -> FloatArray:
    """Autocorrelation of the means over ``COURSE_WINDOW_S``, by lag in windows, up to half of the time.

    Empty where the rate was watched more coarsely.
    """
    if not rates.resolves(COURSE_WINDOW_S):
        return np.empty(0)
    means = rates.means(COURSE_WINDOW_S)
    lags = len(means) // 2 + 1
    deviation = means - means.mean()
    power = np.abs(np.fft.rfft(deviation, 2 * len(deviation))) ** 2
    products = np.fft.irfft(power)[:lags] / (len(deviation) - np.arange(lags))
    # A rate that does not move at all remembers for ever.
    return products / products[0] if np.any(deviation) else np.ones(lags)


def later_over_now(rates: Rates) -> FloatArray:
    """rate(t + ``AHEAD_S``) / rate(t), of means over ``COURSE_WINDOW_S``, where the earlier one is above 0."""
    if not rates.resolves(COURSE_WINDOW_S):
        return np.empty(0)
    means = rates.means(COURSE_WINDOW_S)
    ahead = round(AHEAD_S / COURSE_WINDOW_S)
    now, later = means[:-ahead], means[ahead:]
    return later[now > 0.0] / now[now > 0.0]


def _correlation_s(correlation: FloatArray) -> float:
    """Where the curve first falls to 1/e, linear between lags; NaN where it does not."""
    below = np.flatnonzero(correlation <= np.exp(-1.0))
    if not below.size:
        return float("nan")
    after = int(below[0])
    before, at = correlation[after - 1], correlation[after]
    return float(COURSE_WINDOW_S * (after - 1 + (before - np.exp(-1.0)) / (before - at)))
