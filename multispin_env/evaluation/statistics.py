"""Interquartile means and their bootstrap intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

BOOTSTRAP_RESAMPLES = 5000
_SEED = 20260603


class Estimate(NamedTuple):
    """A statistic with its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 1, *, scale: float = 1.0, sign: bool = False) -> str:
        """Like ``94.2 [91.0, 97.3]``."""
        form = f"{'+' if sign else ''}.{digits}f"
        return f"{self.value * scale:{form}} [{self.low * scale:{form}}, {self.high * scale:{form}}]"


def interquartile_mean(values: ArrayLike) -> Estimate:
    """Mean of the middle half, with the percentile bootstrap's 95 % interval (as rliable reports).

    Args:
        values: One value a seed; at least one. With a single value the interval is that value. Or one a training seed
            and episode, (training seeds, episodes): the mean is of all of them, and training seeds and episodes are
            both drawn anew in the bootstrap, as the episodes are the same for every training seed.
    """
    sample = np.atleast_2d(np.asarray(values, dtype=np.float64))
    middle = float(stats.trim_mean(sample, 0.25, axis=None))
    if sample.size == 1 or np.ptp(sample) == 0.0:
        return Estimate(middle, middle, middle)
    if len(sample) == 1:
        interval = stats.bootstrap(
            (sample[0],),
            lambda resampled, axis: stats.trim_mean(resampled, 0.25, axis=axis),
            n_resamples=BOOTSTRAP_RESAMPLES,
            method="percentile",
            vectorized=True,
            rng=np.random.default_rng(_SEED),
        ).confidence_interval
        return Estimate(middle, float(interval.low), float(interval.high))
    rng = np.random.default_rng(_SEED)
    runs, episodes = (rng.integers(count, size=(BOOTSTRAP_RESAMPLES, count)) for count in sample.shape)
    resampled = sample[runs[:, :, np.newaxis], episodes[:, np.newaxis, :]].reshape(BOOTSTRAP_RESAMPLES, -1)
    low, high = np.quantile(stats.trim_mean(resampled, 0.25, axis=1), (0.025, 0.975))
    return Estimate(middle, float(low), float(high))


def paired_gain(values: ArrayLike, others: ArrayLike) -> Estimate:
    """Interquartile mean of ``value / other - 1`` over pairs of the same seed, with its interval."""
    ratios = np.asarray(values, dtype=np.float64) / np.asarray(others, dtype=np.float64)
    return interquartile_mean(ratios - 1.0)
