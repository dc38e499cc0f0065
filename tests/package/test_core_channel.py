"""The channels: memory, what of them is observed, and how it is outdated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multispin_env.config import ChannelConfig
from multispin_env.core.channel import make_channel
from multispin_env.core.channel.gauss_markov import GaussMarkovFading, power
from multispin_env.core.processes import ornstein_uhlenbeck
from multispin_env.core.streams import Streams

SHAPE = ENVIRONMENTS, USERS = 3, 4


def streams(seed=0):
    return Streams([np.random.default_rng(seed + number) for number in range(ENVIRONMENTS)])


def open_channel(rounds=10, **fields):
    channel = make_channel(ChannelConfig(power_to_noise=100.0, **fields), USERS, rounds)
    channel.reset(streams())
    return channel


@given(value=st.floats(-5, 5), first=st.floats(0, 50), second=st.floats(0, 50))
def test_two_intervals_compose_to_their_sum(value, first, second):
    def mean_and_variance(rate):
        mean = ornstein_uhlenbeck(value, rate, 0.0)
        return mean, (ornstein_uhlenbeck(value, rate, 1.0) - mean) ** 2

    first_mean, first_variance = mean_and_variance(first)
    second_mean, second_variance = ornstein_uhlenbeck(first_mean, second, 0.0), mean_and_variance(second)[1]
    carried = first_variance * np.exp(-2.0 * second)
    mean, variance = mean_and_variance(first + second)
    assert second_mean == pytest.approx(mean, abs=1e-12)
    assert carried + second_variance == pytest.approx(variance, abs=1e-12)


@pytest.mark.parametrize("rate", [0.0, 1e-3, 1.0, 30.0, np.inf])
def test_the_unit_variance_is_stationary(rate):
    spread = ornstein_uhlenbeck(1.0, rate, 0.0) ** 2 + ornstein_uhlenbeck(0.0, rate, 1.0) ** 2
    assert spread == pytest.approx(1.0, abs=1e-12)


def test_no_time_changes_nothing_and_endless_time_forgets_all():
    assert ornstein_uhlenbeck(0.7, 0.0, 5.0) == 0.7
    assert ornstein_uhlenbeck(0.7, np.inf, 5.0) == 5.0


def test_a_block_holds_through_its_round_whatever_time_passes_and_the_next_is_another():
    worlds = []
    for duration_s in (0.5, 100.0):
        channel = open_channel()
        first = channel.begin_round()
        for delay_s in (0.0, 0.5, 100.0):
            np.testing.assert_array_equal(channel.upload(np.full(SHAPE, delay_s)), first)
        channel.end_round(np.full(SHAPE, 0.1), np.full(ENVIRONMENTS, duration_s))
        worlds.append(channel.begin_round())
        assert np.all(worlds[-1] != first)
    np.testing.assert_array_equal(*worlds)


def test_a_block_is_the_mean_gain_times_an_exponential_power():
    channel = open_channel(path_gain_low=0.3, path_gain_high=0.3)
    power_drawn = np.stack([g.standard_exponential(USERS) for g in streams().generators("channel.fading")])
    np.testing.assert_allclose(channel.begin_round(), np.log2(1.0 + 100.0 * 0.3 * power_drawn), rtol=1e-12)
    np.testing.assert_allclose(channel.long_term_spectral_efficiency(), np.log2(1.0 + 100.0 * 0.3), rtol=1e-12)


def test_an_upload_without_delay_finds_what_was_observed():
    channel = open_channel(fading_correlation_time_s=1.9)
    observed = channel.begin_round()
    np.testing.assert_allclose(channel.upload(np.zeros(SHAPE)), observed, rtol=1e-12)
    assert np.all(channel.upload(np.full(SHAPE, 0.2)) != observed)


def test_looking_ahead_finds_what_the_upload_finds_and_changes_nothing():
    channel = open_channel(fading_correlation_time_s=1.9, shadowing_std_db=8.0)
    channel.begin_round()
    delay_s = np.random.default_rng(3).uniform(0.0, 1.0, SHAPE)
    ahead = channel.spectral_efficiency_at_upload(delay_s)
    channel.spectral_efficiency_at_upload(2.0 * delay_s)
    np.testing.assert_array_equal(channel.upload(delay_s), ahead)


def test_the_next_round_begins_where_the_last_ended():
    fading = GaussMarkovFading(1.9, USERS, 5)
    fading.reset(streams())
    start = fading.begin_round().copy()
    at_upload = fading.after(np.full(SHAPE, 0.0))
    np.testing.assert_array_equal(at_upload, start)
    fading.end_round(at_upload, np.zeros(SHAPE))
    np.testing.assert_array_equal(fading.begin_round(), start)
    fading.end_round(fading.after(np.full(SHAPE, 1e9)), np.zeros(SHAPE))
    assert np.all(np.abs(fading.begin_round() - start) > 0.0)


def test_fading_has_unit_mean_power():
    assert power(np.array([[[1.0]], [[1.0]]])) == 1.0


def test_shadowing_moves_with_the_rounds_duration_and_is_known():
    channel = open_channel(shadowing_std_db=8.0, shadowing_correlation_time_s=14.0)
    channel.begin_round()
    before = channel.long_term_spectral_efficiency()
    delay_s = np.zeros(SHAPE)
    channel.upload(delay_s)
    channel.end_round(delay_s, np.array([0.0, 1e-3, 1e3]))
    moved = np.abs(channel.long_term_spectral_efficiency() - before).max(axis=1)
    assert moved[0] == 0.0
    assert 0.0 < moved[1] < 0.2 < moved[2]


def test_without_shadowing_the_long_term_efficiency_stays():
    channel = open_channel(fading_correlation_time_s=1.9)
    before = channel.long_term_spectral_efficiency()
    channel.begin_round()
    channel.upload(np.zeros(SHAPE))
    channel.end_round(np.zeros(SHAPE), np.full(ENVIRONMENTS, 5.0))
    np.testing.assert_array_equal(channel.long_term_spectral_efficiency(), before)
