"""Under Gymnasium's own wrappers and vectorisers. Warnings are errors here, so that passing means there was none."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as vector_wrappers

IDS = ("multispin_env/Homogeneous-v0", "multispin_env/Heterogeneous-v0")
HETEROGENEOUS = IDS[1]
SMALL = {"num_users": 3, "episode_rounds": 7, "requests": {"tokens_low": 4, "tokens_high": 20, "prompts_per_user": 3}}

UNIT = np.float32(0.0), np.float32(1.0)  # in float64 Gymnasium warns of its own cast

SCALAR = {
    "NormalizeObservation": wrappers.NormalizeObservation,
    "FlattenObservation": wrappers.FlattenObservation,
    "FrameStackObservation": lambda env: wrappers.FrameStackObservation(env, 3),
    "RescaleObservation": lambda env: wrappers.RescaleObservation(env, *UNIT),
    "DelayObservation": lambda env: wrappers.DelayObservation(env, 1),
    "TimeAwareObservation": lambda env: wrappers.TimeAwareObservation(wrappers.TimeLimit(env, 7)),
    "ClipAction": wrappers.ClipAction,
    "RescaleAction": lambda env: wrappers.RescaleAction(env, *UNIT),
    "StickyAction": lambda env: wrappers.StickyAction(env, 0.3),
    "NormalizeReward": wrappers.NormalizeReward,
    "ClipReward": lambda env: wrappers.ClipReward(env, *UNIT),
    "RecordEpisodeStatistics": wrappers.RecordEpisodeStatistics,
    "TimeLimit": lambda env: wrappers.TimeLimit(env, 3),
    "Autoreset": wrappers.Autoreset,
    "OrderEnforcing": wrappers.OrderEnforcing,
    "PassiveEnvChecker": wrappers.PassiveEnvChecker,
}


@pytest.mark.parametrize("wrap", SCALAR.values(), ids=SCALAR.keys())
def test_scalar_wrappers_play_episodes(wrap):
    env = wrap(gym.make(HETEROGENEOUS, scenario="mobile", config=SMALL))
    env.action_space.seed(0)
    rounds = 3 if wrap is SCALAR["TimeLimit"] else 7
    for seed in range(2):
        observation, _ = env.reset(seed=seed)
        assert env.observation_space.contains(observation)
        for number in range(1, rounds + 1):
            observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert env.observation_space.contains(observation)
            assert np.isfinite(reward)
            assert (terminated, truncated) == (False, number == rounds)
        assert ("episode" in info) == (wrap is SCALAR["RecordEpisodeStatistics"])


@pytest.mark.parametrize("limit", [1, 5, 7, 50])
def test_the_limit_of_make_truncates_and_the_next_episode_follows(limit):
    env = gym.make(HETEROGENEOUS, config=SMALL, max_episode_steps=limit)
    plain = gym.make(HETEROGENEOUS, config=SMALL).unwrapped
    for _ in range(3):
        np.testing.assert_array_equal(env.reset(seed=1)[0], plain.reset(seed=1)[0])
        steps, truncated = 0, False
        while not truncated:
            observation, _, _, truncated, _ = env.step(np.zeros(6, dtype=np.float32))
            np.testing.assert_array_equal(observation, plain.step(np.zeros(6, dtype=np.float32))[0])
            steps += 1
        assert steps == min(limit, 7)
        np.testing.assert_array_equal(env.reset()[0], plain.reset()[0])


VECTOR = {
    "RecordEpisodeStatistics": vector_wrappers.RecordEpisodeStatistics,
    "NormalizeObservation": vector_wrappers.NormalizeObservation,
    "NormalizeReward": vector_wrappers.NormalizeReward,
    "FlattenObservation": vector_wrappers.FlattenObservation,
    "RescaleObservation": lambda envs: vector_wrappers.RescaleObservation(envs, *UNIT),
    "ClipAction": vector_wrappers.ClipAction,
    "RescaleAction": lambda envs: vector_wrappers.RescaleAction(envs, *UNIT),
    "ClipReward": lambda envs: vector_wrappers.ClipReward(envs, *UNIT),
    "DictInfoToList": vector_wrappers.DictInfoToList,
}


@pytest.mark.parametrize("wrap", VECTOR.values(), ids=VECTOR.keys())
def test_vector_wrappers_play_episodes(wrap):
    envs = wrap(gym.make_vec(HETEROGENEOUS, 2, scenario="mobile", config=SMALL))
    envs.action_space.seed(0)
    observations, _ = envs.reset(seed=0)
    ends = 0
    for _ in range(17):
        assert observations.shape == envs.observation_space.shape
        assert np.all(np.isfinite(observations))
        observations, rewards, _, truncated, _ = envs.step(envs.action_space.sample())
        assert np.all(np.isfinite(rewards))
        ends += truncated.all()
    assert ends == 2


@pytest.mark.parametrize("vectorise", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("mode", AutoresetMode)
def test_gymnasiums_vectorisers_take_scalar_environments_in_every_mode(vectorise, mode):
    envs = vectorise([lambda: gym.make(f"multispin_env:{HETEROGENEOUS}", config=SMALL)] * 2, autoreset_mode=mode)
    try:
        assert envs.observation_space.contains(envs.reset(seed=0)[0])
        envs.action_space.seed(0)
        for _ in range(20):
            observations, _, _, truncated, _ = envs.step(envs.action_space.sample())
            assert envs.observation_space.contains(observations)
            if mode is AutoresetMode.DISABLED and truncated.any():
                envs.reset(options={"reset_mask": truncated})
    finally:
        envs.close()


@pytest.mark.parametrize("env_id", IDS)
def test_info_has_the_same_entries_of_the_same_types_from_reset_on(env_id, world):
    env = gym.make(env_id, **world, config=SMALL)
    _, first = env.reset(seed=0)
    *_, later = env.step(env.action_space.sample())
    assert list(first) == list(later)
    for name, value in later.items():
        assert type(first[name]) is type(value)
        assert np.shape(first[name]) == np.shape(value)
        assert np.asarray(first[name]).dtype == np.asarray(value).dtype
        assert not np.any(first[name])


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_infos_of_a_batch_are_those_of_the_scalar_environment_in_type(world, mode):
    env = gym.make(HETEROGENEOUS, **world, config=SMALL)
    envs = gym.make_vec(HETEROGENEOUS, 2, **world, config=SMALL, autoreset_mode=mode)
    _, expected = env.reset(seed=0)
    _, infos = envs.reset(seed=0)
    for _ in range(17):
        entries = {name: value for name, value in infos.items() if name[0] != "_" and not name.startswith("final")}
        assert list(entries) == list(expected)
        for name, value in expected.items():
            assert entries[name].dtype == np.asarray(value).dtype
            assert entries[name].shape == (2, *np.shape(value))
        infos = envs.step(np.zeros(envs.action_space.shape, dtype=np.float32))[4]


def test_pictures_are_collected_from_the_first_frame_on():
    env = gym.make(HETEROGENEOUS, config=SMALL, render_mode="rgb_array_list")
    env.reset(seed=0)
    env.step(np.zeros(6, dtype=np.float32))
    frames = env.render()
    assert [frame.shape for frame in frames] == [frames[0].shape] * 2


def test_a_picture_can_be_observed():
    env = wrappers.AddRenderObservation(gym.make(HETEROGENEOUS, config=SMALL, render_mode="rgb_array"))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)


def test_an_episode_can_be_filmed(tmp_path):
    pytest.importorskip("moviepy", reason="RecordVideo needs it")
    env = gym.make(HETEROGENEOUS, config=SMALL, render_mode="rgb_array")
    env = wrappers.RecordVideo(env, str(tmp_path / "film"), disable_logger=True)
    env.reset(seed=0)
    for _ in range(7):
        env.step(env.action_space.sample())
    env.close()
    assert list((tmp_path / "film").glob("*.mp4"))


@pytest.mark.parametrize("render_mode", ["ansi", "rgb_array"])
def test_gymnasiums_check_passes_with_rendering(render_mode):
    check_env(gym.make(HETEROGENEOUS, config=SMALL, render_mode=render_mode).unwrapped)
