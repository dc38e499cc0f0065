"""The channels: what of them is observed, that they are functions of time, and how long uploads take."""

import dataclasses

import numpy as np
import pytest

from multispin_env import make_config
from multispin_env.config import BlockChannelConfig, MobilityChannelConfig
from multispin_env.core import EXACT, OUTDATED
from multispin_env.core.channel import make_channel
from multispin_env.core.channel.base import LONGEST_UPLOAD_S
from multispin_env.core.streams import Streams

SHAPE = ENVIRONMENTS, USERS = 3, 4
EVERY = np.arange(ENVIRONMENTS)
NOW = np.zeros((ENVIRONMENTS, 1))


def streams(seed=0):
    return Streams([np.random.default_rng(seed + number) for number in range(ENVIRONMENTS)])


def opened(config, users=USERS, rounds=10, seed=0):
    channel = make_channel(config, users, rounds)
    channel.reset(streams(seed))
    channel.begin_round(NOW)
    return channel


def block(**fields):
    return opened(BlockChannelConfig(power_to_noise=100.0, **fields))


def mobility(users=USERS, **fields):
    return opened(MobilityChannelConfig(power_to_noise=100.0, **fields), users)


# Block fading


def test_a_block_holds_through_its_round_whatever_time_passes_and_the_next_is_another():
    worlds = []
    for duration_s in (0.5, 100.0):
        channel = block()
        first = channel.observed_spectral_efficiency
        for time_s in (0.0, 0.5, np.full((ENVIRONMENTS, 1), 100.0), np.full(SHAPE, 3.0)):
            np.testing.assert_array_equal(channel.spectral_efficiency_at(time_s, EVERY), first)
        channel.begin_round(NOW + duration_s)
        worlds.append(channel.observed_spectral_efficiency)
        assert np.all(worlds[-1] != first)
    np.testing.assert_array_equal(*worlds)


def test_a_block_is_the_mean_gain_times_an_exponential_power():
    channel = block(path_gain_low=0.3, path_gain_high=0.3)
    power = np.stack([g.standard_exponential(USERS) for g in streams().generators("channel.fading")])
    np.testing.assert_allclose(channel.observed_spectral_efficiency, np.log2(1.0 + 30.0 * power), rtol=1e-12)
    np.testing.assert_allclose(channel.long_term_spectral_efficiency, np.log2(1.0 + 30.0), rtol=1e-12)
    assert channel.csi == EXACT
    assert not channel.doppler_known
    assert not channel.doppler_hz.any()


def test_an_upload_in_a_block_takes_the_time_of_equation_9():
    channel = block()
    bits, bandwidth_hz = np.full(SHAPE, 3e5), np.full(SHAPE, 1e5)
    upload_s = channel.upload_s(np.full(SHAPE, 7.0), bits, bandwidth_hz)
    np.testing.assert_allclose(upload_s, 3.0 / channel.observed_spectral_efficiency, rtol=1e-12)


# Users that move


def test_what_is_observed_is_the_channel_at_the_start_of_the_round():
    channel = mobility()
    for time_s in (0.0, 0.7, 130.0):
        channel.begin_round(NOW + time_s)
        np.testing.assert_array_equal(
            channel.observed_spectral_efficiency, channel.spectral_efficiency_at(time_s, EVERY)
        )
    assert channel.csi == OUTDATED


def test_the_channel_is_a_function_of_time_whatever_was_asked_before():
    channel, other = mobility(), mobility()
    times = np.random.default_rng(0).uniform(0.0, 200.0, (50, *SHAPE))
    values = channel.spectral_efficiency_at(times, EVERY)
    assert values.shape == times.shape
    for number in np.random.default_rng(1).permutation(50):
        other.begin_round(times[number, :, :1])
        other.upload_s(times[number], np.full(SHAPE, 1e5), np.full(SHAPE, 1e5))
        np.testing.assert_array_equal(other.spectral_efficiency_at(times[number], EVERY), values[number])
    some = np.array([2, 0])
    np.testing.assert_array_equal(channel.spectral_efficiency_at(times[:, some], some), values[:, some])
    np.testing.assert_array_equal(
        channel.spectral_efficiency_at(times[0, :, :1], EVERY),
        channel.spectral_efficiency_at(np.broadcast_to(times[0, :, :1], SHAPE), EVERY),
    )


def test_the_channel_has_no_jumps():
    channel = mobility(speeds_m_s=[1.4])
    rates = [
        channel.spectral_efficiency_at(step_s * np.arange(4000)[:, np.newaxis, np.newaxis], EVERY)
        for step_s in (1e-3, 1e-5)
    ]
    coarse, fine = (np.abs(np.diff(rate, axis=0)).max() for rate in rates)
    assert fine < 0.1 * coarse


def test_users_move_at_their_own_speeds_and_the_server_may_know():
    speeds = [0.01, 0.1, 1.4]
    channel = mobility(users=50, speeds_m_s=speeds, carrier_frequency_hz=3e9)
    np.testing.assert_allclose(np.unique(channel.doppler_hz), [v * 3e9 / 299_792_458.0 for v in speeds])
    hidden = mobility(users=50, speeds_m_s=speeds, carrier_frequency_hz=3e9, doppler_known=False)
    assert channel.doppler_known
    assert not hidden.doppler_known
    assert not hidden.doppler_hz.any()
    np.testing.assert_array_equal(hidden.observed_spectral_efficiency, channel.observed_spectral_efficiency)


def test_a_user_at_rest_has_one_rate():
    channel = mobility(speeds_m_s=[0.0])
    before = channel.observed_spectral_efficiency
    channel.begin_round(NOW + 1000.0)
    np.testing.assert_array_equal(channel.observed_spectral_efficiency, before)
    upload_s = channel.upload_s(np.full(SHAPE, 5.0), np.full(SHAPE, 1e6), np.full(SHAPE, 2e5))
    np.testing.assert_allclose(upload_s, 5.0 / before, rtol=1e-6)


def test_shadowing_moves_with_distance_and_is_known():
    still, moving = (mobility(speeds_m_s=[speed]) for speed in (0.0, 1.4))
    moved = []
    for channel in (still, moving):
        before = channel.long_term_spectral_efficiency
        for time_s in (1e-3, 1e3):
            channel.begin_round(NOW + time_s)
            moved.append(np.abs(channel.long_term_spectral_efficiency - before).max())
    assert moved[0] == moved[1] == 0.0
    assert 0.0 < moved[2] < 0.5 < moved[3]


def test_without_shadowing_the_long_term_efficiency_stays():
    channel = mobility(shadowing_std_db=0.0)
    before = channel.long_term_spectral_efficiency
    channel.begin_round(NOW + 50.0)
    np.testing.assert_array_equal(channel.long_term_spectral_efficiency, before)


def test_antennas_add_their_powers():
    fields = {"path_gain_low": 0.3, "path_gain_high": 0.3, "shadowing_std_db": 0.0}
    one, four = (mobility(users=2000, receive_antennas=antennas, **fields) for antennas in (1, 4))
    np.testing.assert_allclose(four.long_term_spectral_efficiency, np.log2(1.0 + 4.0 * 30.0), rtol=1e-6)
    powers = [(2.0**channel.observed_spectral_efficiency - 1.0) / 30.0 for channel in (one, four)]
    for power, antennas in zip(powers, (1, 4), strict=True):
        # The sum of so many exponential variates.
        assert power.mean() == pytest.approx(antennas, rel=0.06)
        assert power.var() == pytest.approx(antennas, rel=0.15)


# Live uploads


def finely(channel, start_s, bits_per_hz):
    """Duration of uploads by cells of a 30th of a Doppler period, and of a 100th of the nominal upload."""
    every = np.arange(len(start_s))
    nominal_s = bits_per_hz / channel.long_term_spectral_efficiency
    cell_s = np.minimum(1.0 / np.maximum(30.0 * channel.doppler_hz, 1e-9), nominal_s / 100.0)
    cell_s = np.maximum(cell_s, nominal_s / 1000.0)
    left, time_s, duration_s = bits_per_hz.copy(), start_s.copy(), np.zeros_like(start_s)
    while np.any(left > 0.0):
        rate = channel.spectral_efficiency_at(time_s + 0.5 * cell_s, every)
        used_s = np.minimum(left / rate, cell_s)
        left = np.where(used_s < cell_s, 0.0, left - rate * used_s)
        duration_s += used_s
        time_s = time_s + cell_s
    return duration_s


@pytest.mark.parametrize("speed", [0.0, 0.01, 0.1, 0.4, 1.4, 4.0, 10.0])
def test_uploads_end_when_their_integral_is_what_they_have_to_send(speed):
    bits_per_hz = 0.5  # 8 tokens of llama2's over a twentieth of 10 MHz
    channel = mobility(users=2400, speeds_m_s=[speed])
    shape = ENVIRONMENTS, 2400
    start_s = np.random.default_rng(0).uniform(0.1, 0.5, shape)
    upload_s = channel.upload_s(start_s, np.full(shape, 1e6 * bits_per_hz), np.full(shape, 1e6))
    expected_s = finely(channel, start_s, np.full(shape, bits_per_hz))
    error = upload_s / expected_s - 1.0
    assert abs(error.mean()) < 0.005
    assert np.sqrt(np.mean(error**2)) < 0.06
    # Rounds of 20 users, which last as long as the slowest takes, and .5 s for drafting and verification.
    rounds_s, expected_s = (np.sum(0.5 + np.max(one.reshape(-1, 20), axis=1)) for one in (upload_s, expected_s))
    assert rounds_s == pytest.approx(expected_s, rel=0.01)


@pytest.mark.parametrize("speed", [0.0, 0.01, 0.1, 1.4, 10.0])
def test_the_goodput_of_rounds_is_that_of_a_fine_integration(speed):
    num_envs, num_users, rounds, bits, bandwidth_hz = 40, 20, 10, 2.5e5, 10e6
    config = make_config("mobile", "llama2").channel
    channel = make_channel(dataclasses.replace(config, speeds_m_s=(speed,)), num_users, rounds)
    channel.reset(Streams([np.random.default_rng(number) for number in range(num_envs)]))
    rng, total_s = np.random.default_rng(0), np.zeros(2)
    for number in range(rounds):
        channel.begin_round(np.full((num_envs, 1), 0.7 * number))
        # The band split by the rates observed, a little off, with a floor so that none starves,
        # after .1 to .2 s of drafting; .28 s for verification.
        rate = np.maximum(channel.observed_spectral_efficiency, 0.15)
        weight = rng.uniform(0.7, 1.4, rate.shape) / rate
        band_hz = bandwidth_hz * weight / weight.sum(axis=1, keepdims=True)
        drafting_s = rng.uniform(0.1, 0.2, rate.shape)
        start_s, own_bits = 0.7 * number + drafting_s, np.full(rate.shape, bits)
        uploads_s = channel.upload_s(start_s, own_bits, band_hz), finely(channel, start_s, own_bits / band_hz)
        total_s += [np.sum(0.28 + np.max(drafting_s + upload_s, axis=1)) for upload_s in uploads_s]
    # As many tokens in so much time.
    assert total_s[0] == pytest.approx(total_s[1], rel=0.01)


def test_an_upload_does_not_depend_on_those_beside_it():
    channel = mobility(users=300)
    shape = ENVIRONMENTS, 300
    rng = np.random.default_rng(0)
    start_s, bits = rng.uniform(0.0, 60.0, shape), rng.uniform(1e4, 1e8, shape)
    together = channel.upload_s(start_s, bits, np.full(shape, 1e6))
    for user in range(0, 300, 37):
        others = np.where(np.arange(300) == user, bits, rng.uniform(1e4, 1e8, shape))
        np.testing.assert_array_equal(
            channel.upload_s(start_s, others, np.full(shape, 1e6))[:, user], together[:, user]
        )


def test_much_more_to_send_takes_longer():
    channel = mobility(users=300)
    shape = ENVIRONMENTS, 300
    durations = [
        channel.upload_s(np.zeros(shape), np.full(shape, bits), np.full(shape, 1e6)) for bits in 4.0 ** np.arange(5, 15)
    ]
    assert np.all(np.diff(durations, axis=0) > 0.0)


def test_uploads_of_any_length_end():
    channel = mobility()
    for bandwidth_hz in (1e2, 1.0, 1e-3, 1e-30, 1e-300):
        upload_s = channel.upload_s(np.zeros(SHAPE), np.full(SHAPE, 1e6), np.full(SHAPE, bandwidth_hz))
        assert np.all((upload_s > 0.0) & (upload_s <= LONGEST_UPLOAD_S))
    np.testing.assert_array_equal(upload_s, np.full(SHAPE, LONGEST_UPLOAD_S))


def test_a_long_upload_has_the_mean_rate_of_its_user():
    channel = mobility(users=50, shadowing_std_db=0.0, path_gain_low=0.3, path_gain_high=0.3)
    shape = ENVIRONMENTS, 50
    upload_s = channel.upload_s(np.zeros(shape), np.full(shape, 1e6), np.full(shape, 1e2))
    # Half an hour and more: the mean of log2(1 + 30 p) over an exponential power p.
    power = np.linspace(0.0, 40.0, 400_001)
    mean = np.sum(np.log2(1.0 + 30.0 * power) * np.exp(-power)) * 1e-4
    moving = channel.doppler_hz > 1.0
    assert np.mean(1e4 / upload_s[moving]) == pytest.approx(mean, rel=0.03)
