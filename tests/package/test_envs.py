"""The scalar environment as Gymnasium's users meet it: checks, seeds, specs, copies, processes, arguments."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from multispin_env import MODEL_PAIRS
from multispin_env.core.equations import token_verification_s
from multispin_env.envs import reference_goodput

HOMOGENEOUS, HETEROGENEOUS = IDS = ("multispin_env/Homogeneous-v0", "multispin_env/Heterogeneous-v0")
every_id = pytest.mark.parametrize("env_id", IDS, ids=lambda env_id: env_id.split("/")[1])
every_pair = pytest.mark.parametrize("model_pair", MODEL_PAIRS)
every_action = pytest.mark.parametrize("action", ["direct", "lengths", "residual"])
# Small systems whose requests end and whose lists of prompts wrap.
SMALL = {"num_users": 4, "requests": {"tokens_low": 4, "tokens_high": 20, "prompts_per_user": 3}}


def random_actions(space, number, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (number, *space.shape)).astype(np.float32)


def rollout(env, actions):
    return [env.step(action) for action in actions]


def assert_same_steps(first, second):
    """Two rollouts agree in every number."""
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:4] == other[1:4]
        assert one[4].keys() == other[4].keys()
        for name, value in one[4].items():
            np.testing.assert_array_equal(value, other[4][name])


# Gymnasium's checks. Warnings are errors here (pyproject.toml), so that passing means that there was none.


@every_id
@every_pair
@every_action
def test_gymnasiums_check_passes_without_a_warning(env_id, world, action):
    env = gym.make(env_id, **world, action=action)
    check_env(env.unwrapped)
    env.close()


@every_id
def test_the_passive_checks_of_make_find_nothing_in_an_episode(env_id, world):
    env = gym.make(env_id, **world, config={"episode_rounds": 30})
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert not any(np.any(value) for value in info.values())
    for _, (action, last) in enumerate(zip(random_actions(env.action_space, 30), [False] * 29 + [True], strict=True)):
        observation, reward, terminated, truncated, info = env.step(action)
        assert type(reward) is float
        assert (terminated, truncated) == (False, last)


def test_the_spaces_are_the_documented_boxes():
    for env_id, action, numbers in (
        (HETEROGENEOUS, "direct", 40),
        (HETEROGENEOUS, "lengths", 20),
        (HETEROGENEOUS, "residual", 40),
        (HOMOGENEOUS, "direct", 21),
        (HOMOGENEOUS, "lengths", 1),
        (HOMOGENEOUS, "residual", 40),
    ):
        env = gym.make(env_id, action=action)
        assert env.action_space == gym.spaces.Box(-1.0, 1.0, (numbers,), np.float32)
        assert isinstance(env.observation_space, gym.spaces.Box)
        assert (env.observation_space.shape, env.observation_space.dtype) == ((220,), np.float32)


def test_an_episode_is_two_hundred_rounds_by_default(world):
    env = gym.make(HOMOGENEOUS, **world)
    env.reset(seed=0)
    truncated = [step[3] for step in rollout(env, random_actions(env.action_space, 200))]
    assert truncated == [False] * 199 + [True]


# What a round returns


@every_id
@every_pair
def test_info_and_reward_follow_from_the_rounds_equations(env_id, world):
    env: Any = gym.make(env_id, **world).unwrapped
    env.reset(seed=1)
    per_user = {"draft_length", "bandwidth_share", "tokens", "drafting_s", "upload_s"}
    per_round = {"multi_access_s", "verification_s", "latency_s", "goodput"} | {
        f"episode_{name}" for name in ("tokens", "seconds", "goodput")
    }
    for action in random_actions(env.action_space, 25):
        allocation = env.decode_action(action)
        _, reward, _, _, info = env.step(action)
        assert info.keys() == per_user | per_round
        assert all(info[name].shape == (20,) for name in per_user)
        assert all(type(info[name]) is (int if name == "episode_tokens" else float) for name in per_round)
        np.testing.assert_array_equal(info["draft_length"], allocation.draft_length)
        np.testing.assert_array_equal(info["bandwidth_share"], allocation.bandwidth_share)
        assert info["multi_access_s"] == pytest.approx(np.max(info["drafting_s"] + info["upload_s"]), rel=1e-12)
        tokens_s = token_verification_s(
            np.sum(info["draft_length"] + 1),
            env.config.verification_per_token_s,
            env.config.verification_free_tokens,
        )
        assert info["verification_s"] == env.config.verification_latency_s + tokens_s
        assert info["latency_s"] == pytest.approx(info["multi_access_s"] + info["verification_s"], rel=1e-12)
        assert info["goodput"] == pytest.approx(info["tokens"].sum() / info["latency_s"], rel=1e-12)
        assert reward == pytest.approx(info["goodput"] / reference_goodput(env.config), rel=1e-12)


@every_pair
def test_rewards_of_good_decisions_are_about_one(model_pair):
    env = gym.make(HOMOGENEOUS, model_pair=model_pair, action="lengths").unwrapped
    env.reset(seed=0)
    # Some constant length is about the reference, which is the homogeneous optimum of the average system.
    best = 0.0
    for action in np.linspace(-1.0, 1.0, 11, dtype=np.float32):
        env.reset(seed=0)
        best = max(best, np.mean([env.step([action])[1] for _ in range(100)]))
    assert 0.7 < best < 1.3


# Seeds


@every_id
@every_action
def test_twins_agree_exactly_over_fifty_steps(env_id, world, action):
    arguments = {**world, "action": action, "config": SMALL}
    played = []
    for _ in range(2):
        env = gym.make(env_id, **arguments)
        first, _ = env.reset(seed=42)
        played.append([(first, 0.0, False, False, {}), *rollout(env, random_actions(env.action_space, 50))])
    assert_same_steps(*played)


def test_a_seed_starts_the_same_episode_again(world):
    env = gym.make(HETEROGENEOUS, **world, config=SMALL)
    actions = random_actions(env.action_space, 30)
    played = []
    for _ in range(2):
        observation, _ = env.reset(seed=7)
        played.append([(observation, 0.0, False, False, {}), *rollout(env, actions)])
        env.reset()
        rollout(env, actions[:3])
    assert_same_steps(*played)


def test_other_seeds_and_later_episodes_are_other_worlds(world):
    env = gym.make(HETEROGENEOUS, **world, config=SMALL)
    actions = random_actions(env.action_space, 10)
    played = []
    for seed in (0, 1, 2, None, None):
        first, _ = env.reset(seed=seed)
        steps = rollout(env, actions)
        played.append((np.stack([first, *(step[0] for step in steps)]), np.array([step[1] for step in steps])))
    for one, (observations, rewards) in enumerate(played):
        for other_observations, other_rewards in played[:one]:
            assert np.all(np.any(observations != other_observations, axis=1))
            assert np.all(rewards != other_rewards)


def test_an_environment_without_a_seed_is_not_a_fixed_world():
    first, second = (gym.make(HOMOGENEOUS).reset()[0] for _ in range(2))
    assert np.any(first != second)


def test_the_worlds_random_numbers_do_not_touch_the_global_ones():
    env = gym.make(HETEROGENEOUS, scenario="thermal", config=SMALL)
    np.random.seed(3)  # noqa: NPY002
    state = np.random.get_state()  # noqa: NPY002
    env.reset(seed=0)
    rollout(env, random_actions(env.action_space, 10))
    after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(state[1], after[1])
    assert state[2:] == after[2:]


# Specs, copies and processes


@every_id
def test_a_spec_survives_json_with_all_arguments(env_id):
    arguments = {"scenario": "thermal", "model_pair": "qwen3.5", "action": "lengths", "reward": "goodput"}
    env: Any = gym.make(env_id, **arguments, config=SMALL, render_mode="ansi")
    spec = EnvSpec.from_json(env.spec.to_json())
    assert spec == env.spec
    again: Any = gym.make(spec)
    assert again.unwrapped.config == env.unwrapped.config
    assert again.unwrapped.config.num_users == 4
    assert again.render_mode == "ansi"
    actions = random_actions(env.action_space, 10)
    np.testing.assert_array_equal(env.reset(seed=3)[0], again.reset(seed=3)[0])
    assert_same_steps(rollout(env, actions), rollout(again, actions))


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_duplicate_goes_on_identically_from_the_middle_of_an_episode(world, duplicate, wrapped):
    env = gym.make(HETEROGENEOUS, **world, config=SMALL)
    env = env if wrapped else env.unwrapped
    env.reset(seed=5)
    actions = random_actions(env.action_space, 60)
    rollout(env, actions[:27])
    twin = duplicate(env)
    assert_same_steps(rollout(env, actions[27:]), rollout(twin, actions[27:]))
    # The next episode goes on with the same random numbers.
    np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])


@every_id
def test_an_environment_is_pickled_before_its_first_reset(env_id):
    env = gym.make(env_id, scenario="thermal", config=SMALL)
    twin = pickle.loads(pickle.dumps(env))
    actions = random_actions(env.action_space, 5)
    np.testing.assert_array_equal(env.reset(seed=2)[0], twin.reset(seed=2)[0])
    assert_same_steps(rollout(env, actions), rollout(twin, actions))


@pytest.mark.parametrize("scenario", ["mobile", "trace"])
def test_an_environment_is_made_in_a_spawned_process(world):
    arguments = {**world, "config": SMALL}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        # The module in front of the id registers it in the fresh interpreter; the environment comes back pickled.
        foreign = pool.submit(gym.make, f"multispin_env:{HETEROGENEOUS}", **arguments).result()
    env = gym.make(HETEROGENEOUS, **arguments)
    actions = random_actions(env.action_space, 5)
    np.testing.assert_array_equal(env.reset(seed=2)[0], foreign.reset(seed=2)[0])
    assert_same_steps(rollout(env, actions), rollout(foreign, actions))


# Misuse


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"scenario": "papr"}, ValueError, "scenario must be one of paper, .*, trace, live, got 'papr'"),
        (
            {"model_pair": "gpt"},
            ValueError,
            "model_pair must be one of llama2, qwen3.5, smollm2, or the path .*, got 'gpt'",
        ),
        ({"action": "equal"}, ValueError, "action must be one of 'direct', 'lengths', 'residual', got 'equal'"),
        ({"reward": "tokens"}, ValueError, "reward must be one of 'goodput', 'time-priced', got 'tokens'"),
        (
            {"draft_lengths": "any"},
            ValueError,
            "draft_lengths must be one of 'homogeneous', 'heterogeneous', got 'any'",
        ),
        ({"num_users": 5}, TypeError, "unexpected keyword argument 'num_users'; allowed are scenario, .*config"),
        ({"config": {"users": 5}}, ValueError, "SystemConfig has no field 'users'"),
        (
            {"config": {"num_users": 0}},
            ValueError,
            r"SystemConfig.num_users must be an integer in \[1, 100000\], got 0",
        ),
        ({"config": 5}, ValueError, "config must be a SystemConfig or a dict of its fields, got 5"),
    ],
)
@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_a_bad_argument_is_refused_with_what_is_allowed(make, arguments, error, message):
    with pytest.raises(error, match=message):
        make(HETEROGENEOUS, **arguments)


def test_a_step_needs_a_reset_before_it_and_after_the_end():
    env = gym.make(HOMOGENEOUS, config={"episode_rounds": 3}).unwrapped
    actions = random_actions(env.action_space, 4)
    with pytest.raises(ResetNeeded, match="before the first reset"):
        env.step(actions[0])
    env.reset(seed=0)
    assert [step[3] for step in rollout(env, actions[:3])] == [False, False, True]
    with pytest.raises(ResetNeeded, match="ended after 3 rounds"):
        env.step(actions[3])
    env.reset()
    env.step(actions[0])


@pytest.mark.parametrize("seed", [-1, 1.5, "one"])
def test_a_bad_seed_is_refused(seed):
    env = gym.make(HOMOGENEOUS)
    with pytest.raises(gym.error.Error, match=r"[Ss]eed must be"):
        env.reset(seed=seed)
