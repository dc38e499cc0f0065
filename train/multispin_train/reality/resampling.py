"""Bootstrap over measured requests: samples, and statistics with their intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multispin_env.core.equations import FloatArray
from multispin_env.evaluation.statistics import Estimate
from multispin_env.profiles import Traces

RESAMPLES = 1000
SEED = 20260603


class Curve(NamedTuple):
    """A statistic along an axis with its pointwise 95 % interval, arrays of one shape."""

    value: FloatArray
    low: FloatArray
    high: FloatArray

    def at(self, index: int) -> Estimate:
        """One point of it."""
        return Estimate(*(float(part[index]) for part in self))

    def holds(self, values: FloatArray) -> NDArray[np.bool_]:
        """Whether each of these is within its interval; not where there is none."""
        return (self.low <= values) & (values <= self.high)


class Sample:
    """The requests and how often each of them is in the sample, which is row 0, and in each resample."""

    def __init__(self, traces: Traces, resamples: int) -> None:
        self.traces = traces
        self.names = tuple(dict.fromkeys(traces.task))
        self.of_task = {name: np.flatnonzero(np.array(traces.task) == name) for name in self.names}
        self.weights = np.ones((1 + resamples, len(traces.length)))
        generator = np.random.default_rng(SEED)
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


def as_curve(resampled: FloatArray) -> Curve:
    """Row 0 with the percentiles of the others; no interval (NaN) where a resample has nothing to go by."""
    with np.errstate(invalid="ignore"):
        low, high = np.percentile(resampled[1:], [2.5, 97.5], axis=0)
    return Curve(resampled[0], low, high)


def as_estimate(resampled: FloatArray) -> Estimate:
    """Row 0 of a single statistic, (1 + resamples,), with the percentiles of the others."""
    return as_curve(resampled[:, np.newaxis]).at(0)
