"""Devices: drafting latency, and heat that slows them."""

import numpy as np
import pytest

from multispin_env import make_config
from multispin_env.core.devices import Devices
from multispin_env.core.streams import Streams

NUM_ENVS, TIME_CONSTANT_S = 3, 90.0


def rested(**heat):
    config = make_config(config={"num_users": 4, "heat": {"slowdown": 1.0, "time_constant_s": TIME_CONSTANT_S, **heat}})
    devices = Devices(config)
    devices.reset(Streams([np.random.default_rng(env_index) for env_index in range(NUM_ENVS)]))
    return devices


def run(devices, duty, round_s, seconds):
    shape = devices.heat.shape
    for _ in range(round(seconds / round_s)):
        devices.end_round(np.broadcast_to(duty * round_s, shape), np.full(NUM_ENVS, round_s))


@pytest.mark.parametrize("duty", [0.0, 0.3, 1.0])
def test_the_steady_state_is_the_share_of_time_spent_drafting(duty):
    devices = rested()
    run(devices, duty, 0.5, 20.0 * TIME_CONSTANT_S)
    np.testing.assert_allclose(devices.heat, duty, atol=1e-8)


@pytest.mark.parametrize("round_s", [0.1, 0.5, 2.0, 10.0])
def test_heat_follows_an_exponential_whatever_the_rounds_lengths(round_s):
    devices = rested()
    run(devices, 0.6, round_s, 40.0)
    np.testing.assert_allclose(devices.heat, 0.6 * -np.expm1(-40.0 / TIME_CONSTANT_S), rtol=1e-9)


def test_rest_cools():
    devices = rested()
    run(devices, 1.0, 0.5, 60.0)
    hot = devices.heat.copy()
    run(devices, 0.0, 0.5, 45.0)
    np.testing.assert_allclose(devices.heat, hot * np.exp(-45.0 / TIME_CONSTANT_S), rtol=1e-9)
    run(devices, 0.0, 0.5, 30.0 * TIME_CONSTANT_S)
    np.testing.assert_allclose(devices.drafting_latency_s, rested().drafting_latency_s, rtol=1e-9)


@pytest.mark.parametrize("slowdown", [0.5, 1.0, 3.0])
def test_latency_grows_in_proportion_to_heat(slowdown):
    devices = rested(slowdown=slowdown)
    cold = devices.drafting_latency_s
    run(devices, np.array([0.0, 0.25, 0.5, 1.0]), 0.5, 50.0)
    assert len(np.unique(devices.heat)) == 4
    np.testing.assert_allclose(devices.drafting_latency_s, cold * (1.0 + slowdown * devices.heat), rtol=1e-12)


def test_each_environment_and_user_heats_by_its_own_work_and_time():
    devices = rested()
    drafting_s = np.array([[0.0, 0.1, 0.2, 0.3]] * NUM_ENVS)
    duration_s = np.array([0.4, 1.0, 4.0])
    devices.end_round(drafting_s, duration_s)
    duty = drafting_s / duration_s[:, np.newaxis]
    np.testing.assert_allclose(devices.heat, duty * -np.expm1(-duration_s[:, np.newaxis] / TIME_CONSTANT_S), rtol=1e-12)


def test_without_heat_nothing_slows():
    devices = rested(slowdown=0.0)
    cold = devices.drafting_latency_s.copy()
    run(devices, 1.0, 0.5, 100.0)
    np.testing.assert_array_equal(devices.drafting_latency_s, cold)


def test_a_reset_rests_the_devices():
    devices = rested()
    run(devices, 1.0, 0.5, 100.0)
    devices.reset(Streams([np.random.default_rng(env_index) for env_index in range(NUM_ENVS)]))
    np.testing.assert_array_equal(devices.heat, np.zeros((NUM_ENVS, 4)))
    np.testing.assert_array_equal(devices.drafting_latency_s, rested().drafting_latency_s)


def test_heat_settles_at_the_share_of_time_spent_drafting(start, equal_allocation):
    # Rounds whose length is known beforehand: nothing to upload, all devices alike.
    timed = {"payload_bits": 1.0, "bandwidth_hz": 1e12, "drafting_latency_spread": 0.0}
    simulator = start("thermal", num_envs=2, heat={"time_constant_s": 5.0}, episode_rounds=300, **timed)
    config, lengths = simulator.config, np.array([[4], [20]])
    rested_s = config.drafting_latency_s
    for _ in range(300):
        simulator.step(equal_allocation(simulator, lengths))
    heat = simulator.view().drafting_latency_s / rested_s - 1.0
    # Heat slows drafting, and drafting is the duty that heats: the fixed point of both, for a slowdown of 1.
    assert config.heat.slowdown == 1.0
    drafting_s = lengths * rested_s * (1.0 + heat)
    np.testing.assert_allclose(heat, drafting_s / (drafting_s + config.verification_latency_s), rtol=1e-2)
    assert np.all(heat[1] > 2.0 * heat[0])
