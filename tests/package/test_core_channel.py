"""The channel: ageing, memory and what of it is observed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multispin_env.config import ChannelConfig
from multispin_env.core.channel import AgingFading, BlockFading, Channel, ornstein_uhlenbeck

SHAPE = LANES, USERS = 3, 4


def generators(seed=0):
    return [np.random.default_rng(seed + lane) for lane in range(LANES)]


def open_channel(**fields):
    channel = Channel(ChannelConfig(power_to_noise=100.0, **fields), USERS)
    channel.reset(generators())
    return channel


def round_draws(channel, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((channel.num_normals, *SHAPE)),
        rng.standard_exponential((channel.num_exponentials, *SHAPE)),
    )


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


def test_a_block_holds_through_its_round_and_says_nothing_of_the_next():
    channel = open_channel()
    first = channel.begin_round(*round_draws(channel, 0))
    for delay_s in (0.0, 0.5, 100.0):
        np.testing.assert_array_equal(channel.upload(np.full(SHAPE, delay_s)), first)
    channel.end_round(np.full(SHAPE, 0.1), np.full(LANES, 0.5))
    after_one = channel.begin_round(*round_draws(channel, 1))
    channel.reset(generators())
    np.testing.assert_array_equal(channel.begin_round(*round_draws(channel, 1)), after_one)


def test_the_power_of_a_block_is_its_exponential_draw():
    channel = open_channel(path_gain_low=0.3, path_gain_high=0.3)
    normals, exponentials = round_draws(channel)
    np.testing.assert_allclose(
        channel.begin_round(normals, exponentials), np.log2(1.0 + 100.0 * 0.3 * exponentials[0]), rtol=1e-12
    )
    np.testing.assert_allclose(channel.long_term_spectral_efficiency(), np.log2(1.0 + 100.0 * 0.3), rtol=1e-12)


def test_an_upload_without_delay_finds_what_was_observed():
    channel = open_channel(fading_correlation_time_s=1.9)
    observed = channel.begin_round(*round_draws(channel))
    np.testing.assert_allclose(channel.upload(np.zeros(SHAPE)), observed, rtol=1e-12)
    assert np.all(channel.upload(np.full(SHAPE, 0.2)) != observed)


def test_looking_ahead_finds_what_the_upload_finds_and_changes_nothing():
    channel = open_channel(fading_correlation_time_s=1.9, shadowing_std_db=8.0)
    channel.begin_round(*round_draws(channel))
    delay_s = np.random.default_rng(3).uniform(0.0, 1.0, SHAPE)
    ahead = channel.used_spectral_efficiency(delay_s)
    channel.used_spectral_efficiency(2.0 * delay_s)
    np.testing.assert_array_equal(channel.upload(delay_s), ahead)


def test_the_next_round_begins_where_the_last_ended():
    fading = AgingFading(1.9)
    fading.reset(generators(), USERS)
    normals = np.random.default_rng(1).standard_normal((4, *SHAPE))
    start = fading.begin_round(np.empty((0, *SHAPE))).copy()
    at_upload = fading.aged(np.full(SHAPE, 0.3), normals)
    fading.end_round(at_upload, np.full(SHAPE, 0.4), normals)
    end = fading.begin_round(np.empty((0, *SHAPE)))
    np.testing.assert_array_equal(at_upload, ornstein_uhlenbeck(start, 0.3 / 1.9, normals[:2]))
    np.testing.assert_array_equal(end, ornstein_uhlenbeck(at_upload, 0.4 / 1.9, normals[2:]))


def test_both_kinds_of_fading_have_unit_mean_power():
    state = np.array([[[1.0]], [[1.0]]])
    assert AgingFading(1.0).power(state) == 1.0
    assert BlockFading().power(state[0]) == 1.0


def test_shadowing_moves_with_the_rounds_duration_and_is_known():
    channel = open_channel(shadowing_std_db=8.0, shadowing_correlation_time_s=14.0)
    channel.begin_round(*round_draws(channel))
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
    channel.begin_round(*round_draws(channel))
    channel.upload(np.zeros(SHAPE))
    channel.end_round(np.zeros(SHAPE), np.full(LANES, 5.0))
    np.testing.assert_array_equal(channel.long_term_spectral_efficiency(), before)
