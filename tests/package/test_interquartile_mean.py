"""The interquartile mean and its interval."""

import numpy as np
import pytest

from multispin_env.evaluation.statistics import interquartile_mean


def test_interquartile_mean_ignores_the_outer_quarters_and_its_interval_covers_the_truth() -> None:
    assert interquartile_mean([0.0, 2.0, 4.0, 1e9]).value == 3.0
    rng = np.random.default_rng(0)
    estimates = [interquartile_mean(rng.normal(5.0, 1.0, 32)) for _ in range(60)]
    covered = sum(low <= 5.0 <= high for _, low, high in estimates)
    assert 50 <= covered <= 60


def test_several_training_seeds_widen_the_interval_by_what_they_share() -> None:
    rng = np.random.default_rng(0)
    episodes = rng.normal(5.0, 1.0, 64)
    alike = interquartile_mean(np.tile(episodes, (5, 1)))
    assert alike.value == pytest.approx(interquartile_mean(episodes).value, abs=0.02)
    # Five copies of the same episodes are no more evidence than one; independent draws would give .45 of the width.
    assert alike.high - alike.low > 0.8 * (interquartile_mean(episodes).high - interquartile_mean(episodes).low)
    apart = interquartile_mean(episodes + np.array([[-2.0], [-1.0], [0.0], [1.0], [2.0]]))
    assert apart.high - apart.low > 2.0 * (alike.high - alike.low)
