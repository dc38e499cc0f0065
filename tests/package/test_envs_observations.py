"""Observations: what every number is, its bounds, and that nobody else writes to it."""

import itertools
import warnings
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from multispin_env import MODEL_PAIRS, Allocation
from multispin_env.envs import MultiSpinEnv

HETEROGENEOUS = "multispin_env/Heterogeneous-v0"
SHORT_REQUESTS = {"tokens_low": 4, "tokens_high": 20, "prompts_per_user": 3}


def random_actions(space, number, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (number, *space.shape)).astype(np.float32)


def documented(view):
    """The table in the environment's docstring: eleven features, (environments, 11, users)."""
    config = view.config
    return np.stack(
        [
            view.drafting_latency_s / config.drafting_latency_s,
            np.minimum(view.observed_spectral_efficiency / 8.0, 8.0),
            np.minimum(view.long_term_spectral_efficiency / 8.0, 8.0),
            np.minimum(view.last_upload_spectral_efficiency / 8.0, 8.0),
            np.minimum(view.doppler_hz / 16.0, 100.0),
            view.task_acceptance_mean,
            view.task_acceptance_std,
            view.request_tested / config.requests.tokens_high,
            view.request_accepted / config.requests.tokens_high,
            view.last_draft_length / config.max_draft_length,
            view.last_accepted / config.max_draft_length,
        ],
        axis=1,
    )


@pytest.mark.parametrize("model_pair", MODEL_PAIRS)
def test_every_number_is_the_documented_one(world):
    env = gym.make(HETEROGENEOUS, **world, config={"requests": SHORT_REQUESTS})
    envs = gym.make_vec(HETEROGENEOUS, 3, **world)
    for some, num_envs in ((env, 1), (envs, 3)):
        observation, _ = some.reset(seed=0)
        for action in random_actions(some.action_space, 30):
            features = observation.reshape(num_envs, 11, 20)
            np.testing.assert_allclose(features, documented(some.unwrapped.round_view()), rtol=1e-6)
            observation = some.step(action)[0]


def test_every_feature_of_a_run_varies():
    # Otherwise the comparison above could not tell one feature from another.
    env = gym.make(HETEROGENEOUS, scenario="thermal", config={"requests": SHORT_REQUESTS})
    observations = [env.reset(seed=0)[0], *(env.step(action)[0] for action in random_actions(env.action_space, 30))]
    features = np.stack(observations).reshape(-1, 11, 20).swapaxes(0, 1).reshape(11, -1)
    assert np.all(features.std(axis=1) > 0.01)
    assert len(np.unique(features.round(6), axis=0)) == 11


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"requests": {**SHORT_REQUESTS, "tokens_low": 1, "tokens_high": 1}},
        {"num_users": 1, "max_draft_length": 1},
        {"num_users": 2, "max_draft_length": 500, "requests": SHORT_REQUESTS},
        {"num_users": 3, "bandwidth_hz": 1e12, "heat": {"slowdown": 5.0, "time_constant_s": 0.01}},
        {"num_users": 3, "channel": {"kind": "block", "power_to_noise": 1e20, "path_gain_high": 1e6}},
        {"num_users": 3, "channel": {"kind": "mobility", "power_to_noise": 1e20, "path_gain_high": 1e6}},
        {"num_users": 3, "channel": {"kind": "block", "power_to_noise": 1e-6}},
        {"num_users": 3, "channel": {"kind": "mobility", "power_to_noise": 1e-6}},
        {"num_users": 3, "channel": {"kind": "trace", "mean_spectral_efficiency": 1e3}},
        {
            "num_users": 3,
            "channel": {"kind": "mobility", "power_to_noise": 160.0, "shadowing_std_db": 20.0, "speeds_m_s": [100.0]},
        },
        {"num_users": 3, "drafting_latency_spread": 0.99},
        {"num_users": 3, "requests": {"tasks": [{"name": "all", "acceptance_mean": 1.0}], "tokens_high": 32}},
    ],
    ids=lambda config: ",".join(config) or "default",
)
def test_observations_stay_inside_their_space_in_long_rollouts(world, config):
    envs = gym.make_vec(HETEROGENEOUS, 4, **world, config={"episode_rounds": 150, **config})
    space: Any = envs.observation_space
    observations, _ = envs.reset(seed=0)
    rng = np.random.default_rng(1)
    for _ in range(320):
        assert space.contains(observations), observations[(observations < space.low) | (observations > space.high)]
        actions = rng.uniform(-1.0, 1.0, envs.action_space.shape).astype(np.float32)
        if rng.random() < 0.5:  # the box's corners as well
            actions = np.sign(actions)
        observations = envs.step(actions)[0]


# float32(.0107) times float32(1 / .0107) is 1.0000001.
EDGE = {"drafting_latency_spread": 0.0, "drafting_latency_s": 0.0107}
REALS = partial(st.floats, allow_subnormal=False)
# Fields over which an observation is divided or bounded, and the odd ends of what they may be.
CONFIGS = st.fixed_dictionaries(
    {
        "num_users": st.integers(1, 4),
        "episode_rounds": st.integers(1, 12),
    },
    optional={
        "max_draft_length": st.integers(1, 200),
        "drafting_latency_s": REALS(1e-6, 1e4),
        "drafting_latency_spread": st.just(0.0) | REALS(0.0, 0.99),
        "heat": st.fixed_dictionaries({"slowdown": REALS(0.0, 100.0), "time_constant_s": REALS(1e-3, 1e3)}),
        "channel": st.fixed_dictionaries(
            {
                "kind": st.just("mobility"),
                "power_to_noise": REALS(1e-6, 1e20),
                "shadowing_std_db": st.just(0.0) | REALS(0.0, 20.0),
                "speeds_m_s": st.lists(st.just(0.0) | REALS(0.0, 100.0), min_size=1, max_size=3),
            }
        ),
    },
)
REQUESTS = st.fixed_dictionaries(
    {"prompts_per_user": st.integers(1, 5)},
    optional={
        "tokens_low": st.just(1),
        "tokens_high": st.integers(32, 500) | st.just(32),
        "acceptance_spread": REALS(0.0, 1.0),
        "drift_share": REALS(0.0, 1.0),
    },
)


@pytest.mark.parametrize("scenario", ["paper", "requests", "mobile", "thermal", "measured", "trace"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=CONFIGS, requests=REQUESTS, seed=st.integers(0, 2**32))
@example(config=EDGE, requests={}, seed=0)
def test_no_config_leads_an_observation_out_of_its_space(scenario, traced_pair, config, requests, seed):
    model_pair = traced_pair if scenario == "trace" else "llama2"
    arguments = {"scenario": scenario, "model_pair": model_pair, "config": {**config, "requests": requests}}
    env = gym.make(HETEROGENEOUS, **arguments)  # whose passive checker sees every observation
    envs = gym.make_vec(HETEROGENEOUS, 3, **arguments)
    rng = np.random.default_rng(seed)
    assert env.observation_space.contains(env.reset(seed=seed)[0])
    assert envs.observation_space.contains(envs.reset(seed=seed)[0])
    truncated = False
    while not truncated:
        action = np.sign(rng.uniform(-1.0, 1.0, (3, *env.action_space.shape))) * rng.choice([0.0, 0.5, 1.0])
        observation, _, _, truncated, _ = env.step(action[0].astype(np.float32))
        assert env.observation_space.contains(observation)
        observations = envs.step(action.astype(np.float32))[0]
        assert envs.observation_space.contains(observations)
        np.testing.assert_array_equal(observations[0], observation)


@pytest.mark.parametrize("latency_s", np.linspace(0.01, 0.02, 101))
def test_a_device_without_spread_is_observed_as_one(latency_s):
    config = {"num_users": 2, "drafting_latency_spread": 0.0, "drafting_latency_s": float(latency_s)}
    observation, _ = gym.make(HETEROGENEOUS, config=config).reset(seed=0)
    np.testing.assert_array_equal(observation[:2], np.ones(2))


def test_the_check_passes_where_rounding_led_out_of_the_space():
    check_gymnasium(gym.make(HETEROGENEOUS, config=EDGE).unwrapped)


def test_a_user_that_is_left_next_to_nothing_is_observed_without_a_warning():
    env = gym.make(HETEROGENEOUS, scenario="mobile", config={"num_users": 3}).unwrapped
    assert isinstance(env, MultiSpinEnv)
    env.reset(seed=0)
    for starved in (1e-12, 1e-100, 1e-300):
        shares = np.array([starved, 0.5, 0.5])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            observation, *_ = env.step_allocation(Allocation(np.array([3, 3, 3]), shares / shares.sum()))
        assert env.observation_space.contains(observation)


def test_observations_are_about_of_unit_size(world):
    envs = gym.make_vec(HETEROGENEOUS, 8, **world)
    observations = [envs.reset(seed=0)[0]]
    observations += [envs.step(action)[0] for action in random_actions(envs.action_space, 100)]
    features = np.abs(np.stack(observations)).reshape(-1, 11, 20)
    assert np.quantile(features, 0.99) < 2.0
    assert features.mean() > 0.1


def scribble(values):
    """Writes to every array within."""
    if isinstance(values, dict):
        for value in values.values():
            scribble(value)
    elif isinstance(values, np.ndarray):
        if values.dtype == object:
            for value in values:
                scribble(value)
        else:
            values[...] = True if values.dtype == bool else 77


def frozen_copy(values):
    if isinstance(values, dict):
        return {name: frozen_copy(value) for name, value in values.items()}
    if isinstance(values, tuple | list) or (isinstance(values, np.ndarray) and values.dtype == object):
        return [frozen_copy(value) for value in values]
    return np.array(values)


@pytest.fixture(params=["scalar", "NextStep", "SameStep"])
def make(request, world):
    """Makes the scalar environment, or a vector one with this mode."""
    arguments = {**world, "config": {"num_users": 3, "episode_rounds": 7, "requests": SHORT_REQUESTS}}
    if request.param == "scalar":
        return partial(gym.make, HETEROGENEOUS, **arguments)
    return partial(gym.make_vec, HETEROGENEOUS, 2, autoreset_mode=request.param, **arguments)


def play(env, steps, after=lambda returned: None):
    """A reset, the steps, and resets where a scalar episode ends; ``after`` sees what each returns."""
    returned = env.reset(seed=0)
    after(returned)
    for action in random_actions(env.action_space, steps):
        returned = env.step(action)
        after(returned)
        if returned[3] is True:
            after(env.reset())


def test_writing_to_what_was_returned_changes_nothing_later(make):
    expected, found = [], []
    play(make(), 30, lambda returned: expected.append(frozen_copy(returned)))

    def record_and_scribble(returned):
        found.append(frozen_copy(returned))
        for part in returned:
            scribble(part)

    play(make(), 30, record_and_scribble)
    np.testing.assert_equal(found, expected)


def test_what_was_returned_is_not_written_to_later(make):
    kept, copies = [], []

    def keep(returned):
        kept.append(returned)
        copies.append(frozen_copy(returned))

    play(make(), 30, keep)
    np.testing.assert_equal([frozen_copy(returned) for returned in kept], copies)


def arrays_within(values):
    if isinstance(values, dict):
        values = tuple(values.values())
    if isinstance(values, tuple) or (isinstance(values, np.ndarray) and values.dtype == object):
        return [array for value in values for array in arrays_within(value)]
    return [values] if isinstance(values, np.ndarray) else []


def test_the_arrays_of_a_step_share_no_memory(make):
    def check(returned):
        arrays = arrays_within(returned)
        pairs = itertools.combinations(arrays, 2)
        assert not any(np.shares_memory(one, other) for one, other in pairs)

    play(make(), 8, check)


def test_writing_to_infos_does_not_change_the_view(make):
    env = make()
    env.reset(seed=0)
    for action in random_actions(env.action_space, 5):
        returned = env.step(action)
        view = env.unwrapped.round_view()
        before = {name: value.copy() for name, value in vars(view).items() if isinstance(value, np.ndarray)}
        for part in returned:
            scribble(part)
        for name, value in before.items():
            np.testing.assert_array_equal(getattr(env.unwrapped.round_view(), name), value)
