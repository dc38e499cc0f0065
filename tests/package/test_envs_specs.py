"""Specs: whatever types the arguments had, they go through JSON, pickles and other processes."""

import json
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

from multispin_env.config import BlockChannelConfig, TaskConfig

HETEROGENEOUS = "multispin_env/Heterogeneous-v0"
# Types that a config may come in, from a sweep over arrays for instance.
CONFIG = {
    "num_users": np.int64(3),
    "bandwidth_hz": np.float32(5e6),
    "episode_rounds": np.uint8(7),
    "channel": BlockChannelConfig(power_to_noise=50.0),
    "requests": {
        "acceptance_spread": np.float64(0.5),
        "tasks": (TaskConfig(name="mild", acceptance_mean=0.7), {"name": "all", "acceptance_mean": np.float64(1.0)}),
    },
}


def first_rewards(env, actions):
    env.reset(seed=3)
    return [env.step(action)[1] for action in actions]


def random_actions(env, number):
    return np.random.default_rng(0).uniform(-1.0, 1.0, (number, *env.action_space.shape)).astype(np.float32)


def make_scalar(**arguments):
    return gym.make(HETEROGENEOUS, **arguments)


def make_vector(**arguments):
    return gym.make_vec(HETEROGENEOUS, num_envs=np.int64(2), autoreset_mode=AutoresetMode.SAME_STEP, **arguments)


every_make = pytest.mark.parametrize("make", [make_scalar, make_vector], ids=["scalar", "vector"])


@every_make
def test_a_spec_of_any_types_survives_json(make, traced_pair):
    env = make(scenario=np.str_("trace"), model_pair=Path(traced_pair), config=CONFIG)
    text = env.spec.to_json()
    spec = EnvSpec.from_json(text)
    assert spec == env.spec
    assert pickle.loads(pickle.dumps(env.spec)) == spec
    assert json.loads(text)["kwargs"]["model_pair"] == traced_pair
    again = gym.make(spec) if make is make_scalar else gym.make_vec(spec)
    assert again.unwrapped.config == env.unwrapped.config
    assert again.unwrapped.config.num_users == 3
    actions = random_actions(env, 9)
    np.testing.assert_array_equal(first_rewards(again, actions[:7]), first_rewards(env, actions[:7]))


@every_make
def test_making_an_environment_leaves_the_config_as_it_was(make):
    config = {"num_users": np.int64(3), "channel": {"path_gain_low": 0.1}}
    env = make(config=config)
    assert type(config["num_users"]) is np.int64
    # Nor does what the user does to it later reach the spec.
    config["channel"]["path_gain_low"] = 0.15
    assert env.unwrapped.spec.kwargs["config"]["channel"] == {"path_gain_low": 0.1}


@every_make
def test_a_pickled_environment_keeps_its_spec(make):
    env = make(config=CONFIG)
    assert pickle.loads(pickle.dumps(env)).spec == env.spec


@every_make
def test_an_environment_that_was_not_registered_has_no_spec(make):
    assert type(make().unwrapped)().spec is None


def test_arguments_of_any_types_reach_spawned_workers(traced_pair):
    arguments = {"scenario": "trace", "model_pair": Path(traced_pair), "config": CONFIG}
    env = gym.make(HETEROGENEOUS, **arguments)
    actions = random_actions(env, 5)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        foreign = pool.submit(gym.make, f"multispin_env:{HETEROGENEOUS}", **arguments).result()
    assert foreign.spec.to_json()
    np.testing.assert_array_equal(first_rewards(foreign, actions), first_rewards(env, actions))
    workers = gym.make_vec(
        f"multispin_env:{HETEROGENEOUS}",
        2,
        vectorization_mode="async",
        vector_kwargs={"context": "spawn"},
        **arguments,
    )
    try:
        batch = gym.make_vec(HETEROGENEOUS, 2, **arguments)
        both = np.repeat(actions[:, np.newaxis], 2, axis=1)
        np.testing.assert_array_equal(first_rewards(workers, both), first_rewards(batch, both))
    finally:
        workers.close()
