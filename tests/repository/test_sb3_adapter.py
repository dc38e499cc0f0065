"""The stable-baselines3 adapter against stable-baselines3's own vectorisation of scalar environments."""

import copy
import pickle
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from multispin_env.integrations.sb3 import SB3VecEnv, make_sb3_vec_env

ID = "multispin_env/Heterogeneous-v0"
NUM_ENVS = 5


def test_trajectories_equal_those_of_a_dummy_vec_env(world: dict[str, str]) -> None:
    kwargs = {**world, "config": {"num_users": 3, "episode_rounds": 7}}
    ours = make_sb3_vec_env(ID, NUM_ENVS, **kwargs)
    theirs = DummyVecEnv([lambda: gym.make(ID, **kwargs)] * NUM_ENVS)
    ours.seed(11)
    theirs.seed(11)
    assert np.array_equal(ours.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(25):
        actions = rng.uniform(-1, 1, (NUM_ENVS, *ours.action_space.shape)).astype(np.float32)
        (obs, rewards, dones, infos), (obs_2, rewards_2, dones_2, infos_2) = ours.step(actions), theirs.step(actions)
        assert np.array_equal(obs, obs_2)
        assert np.array_equal(rewards, rewards_2)
        assert np.array_equal(dones, dones_2)
        for env_index in np.flatnonzero(dones):
            ends += 1
            assert infos[env_index].keys() == infos_2[env_index].keys()
            for name, value in infos_2[env_index].items():
                assert np.array_equal(infos[env_index][name], value), name
        assert all(not infos[env_index] for env_index in np.flatnonzero(~dones))
    assert ends == 3 * NUM_ENVS


def test_ppo_learns_through_it_and_the_monitor_sees_whole_episodes() -> None:
    env = VecMonitor(make_sb3_vec_env(ID, 8, config={"num_users": 2, "episode_rounds": 16}))
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(512)
    assert model.num_timesteps == 512
    assert [episode["l"] for episode in model.ep_info_buffer] == [16] * 32


def test_refuses_an_environment_that_resets_in_the_next_step() -> None:
    with pytest.raises(ValueError, match="SameStep"):
        SB3VecEnv(gym.make_vec(ID, num_envs=2))


def test_environments_cannot_be_told_apart() -> None:
    env = make_sb3_vec_env(ID, 3)
    assert env.get_attr("num_envs", [0, 2]) == [3, 3]
    with pytest.raises(ValueError, match="all 3 environments"):
        env.set_attr("render_mode", None, indices=[1])


def test_the_package_does_not_import_torch_before_the_adapter_is_used() -> None:
    code = "import sys, multispin_env; assert 'torch' not in sys.modules and 'stable_baselines3' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# Over wrappers


SHORT = {"num_users": 2, "episode_rounds": 4}


def recorded(num_envs: int = 3) -> RecordEpisodeStatistics:
    return RecordEpisodeStatistics(gym.make_vec(ID, num_envs, config=SHORT, autoreset_mode="SameStep"))


def play(env: SB3VecEnv, steps: int) -> list[tuple]:
    rng = np.random.default_rng(0)
    return [env.step(rng.uniform(-1, 1, (env.num_envs, 4)).astype(np.float32)) for _ in range(steps)]


def test_what_a_recorder_adds_reaches_the_last_info() -> None:
    wrapper = recorded()
    env, plain = SB3VecEnv(wrapper), make_sb3_vec_env(ID, 3, config=SHORT)
    for both in (env, plain):
        both.seed(1)
        both.reset()
    ends = 0
    for (_, _, dones, infos), (_, _, _, expected) in zip(play(env, 12), play(plain, 12), strict=True):
        for index, done in enumerate(dones):
            info = dict(infos[index])
            if done:
                episode = info.pop("episode")
                assert (type(episode["r"]), type(episode["l"])) == (float, int)
                assert episode["r"] == wrapper.return_queue[ends]
                ends += 1
            assert info.keys() == expected[index].keys()
            for name, value in info.items():
                assert np.array_equal(value, expected[index][name]), name
    assert ends == 9


def test_algorithms_see_the_recorder_s_episodes() -> None:
    model = PPO("MlpPolicy", SB3VecEnv(recorded(2)), n_steps=8, batch_size=8, n_epochs=1, device="cpu").learn(32)
    assert len(model.ep_info_buffer) == 8


def test_infos_hold_python_s_own_numbers() -> None:
    env = make_sb3_vec_env(ID, 2, config=SHORT)
    env.reset()
    info = play(env, 4)[-1][3][0]
    for name in ("goodput", "latency_s", "multi_access_s", "verification_s"):
        assert type(info[name]) is float


def test_the_infos_of_resets_are_kept_as_a_dummy_vec_env_keeps_them() -> None:
    ours, theirs = make_sb3_vec_env(ID, 2, config=SHORT), DummyVecEnv([lambda: gym.make(ID, config=SHORT)] * 2)
    for env in (ours, theirs):
        env.seed(0)
        env.reset()
    for _ in range(9):
        for one, other in zip(ours.reset_infos, theirs.reset_infos, strict=True):
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[name], other[name]) for name in one)
        for env in (ours, theirs):
            env.reset_infos = [{}, {}]
            env.step(np.zeros((2, 4), dtype=np.float32))


def test_attributes_and_methods_are_found_through_wrappers() -> None:
    env = SB3VecEnv(recorded())
    base: Any = env.env.unwrapped
    env.reset()
    assert env.get_attr("config") == [base.config] * 3
    assert env.get_attr("episode_count") == [0] * 3  # the recorder's own
    assert env.has_attr("config")
    assert not env.has_attr("no_such_attribute")
    with pytest.raises(AttributeError, match="no_such_attribute"):
        env.get_attr("no_such_attribute")
    with pytest.raises(AttributeError, match="no_such_method"):
        env.env_method("no_such_method")
    assert env.env_method("round_view")[0].drafting_latency_s.shape == (3, 2)
    env.set_attr("config", "another")
    assert base.config == "another"
    env.set_attr("render_mode", "ansi")  # the wrapper only passes it on
    assert base.render_mode == "ansi"
    env.set_attr("note", 1)
    assert env.get_attr("note") == [1] * 3
    assert env.env_is_wrapped(RecordEpisodeStatistics) == [True] * 3
    assert env.env_is_wrapped(Monitor, [0]) == [False]


def test_options_are_passed_on_and_so_refused() -> None:
    env = make_sb3_vec_env(ID, 2)
    env.set_options({"low": 0.1})
    with pytest.raises(ValueError, match="reset has no option 'low'"):
        env.reset()
    env.set_options([{"low": 0.1}, {}])
    with pytest.raises(ValueError, match="options must be the same for all 2 environments"):
        env.reset()


def test_a_limit_truncates_as_in_a_dummy_vec_env() -> None:
    ours = make_sb3_vec_env(ID, 2, config=SHORT, max_episode_steps=3)
    theirs = DummyVecEnv([lambda: gym.make(ID, config=SHORT, max_episode_steps=3)] * 2)
    for env in (ours, theirs):
        env.seed(0)
        env.reset()
    for _ in range(7):
        (*found, infos), (*expected, others) = (env.step(np.zeros((2, 4), dtype=np.float32)) for env in (ours, theirs))
        for one, other in zip(found, expected, strict=True):
            assert np.array_equal(one, other)
        assert [info.get("TimeLimit.truncated", False) for info in infos] == [
            info["TimeLimit.truncated"] for info in others
        ]


def test_pictures_come_through_wrappers() -> None:
    envs = gym.make_vec(ID, 2, config=SHORT, autoreset_mode="SameStep", render_mode="rgb_array")
    env = SB3VecEnv(RecordEpisodeStatistics(envs))
    env.reset()
    assert env.render().shape[2] == 3


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_duplicate_goes_on_identically(duplicate) -> None:
    env = make_sb3_vec_env(ID, 2, config=SHORT)
    env.seed(0)
    env.reset()
    twin = duplicate(env)
    for one, other in zip(play(env, 6), play(twin, 6), strict=True):
        assert all(np.array_equal(found, expected) for found, expected in zip(one[:3], other[:3], strict=True))


def test_a_monitor_shows_the_figure_of_merit_of_every_episode():
    names = ("episode_tokens", "episode_seconds", "episode_goodput")
    arguments = {"scenario": "mobile", "config": {"num_users": 2, "episode_rounds": 4}}
    ours = VecMonitor(make_sb3_vec_env(ID, 2, **arguments), info_keywords=names)
    theirs = DummyVecEnv([lambda: Monitor(gym.make(ID, **arguments), info_keywords=names)] * 2)
    for env in (ours, theirs):
        env.seed(0)
        env.reset()
    for _ in range(4):
        actions = np.zeros((2, *ours.action_space.shape), dtype=np.float32)
        (*_, infos), (*_, others) = ours.step(actions), theirs.step(actions)
    for one, other in zip(infos, others, strict=True):
        assert one["episode"]["episode_goodput"] == one["episode_tokens"] / one["episode_seconds"]
        for name in names:
            assert one["episode"][name] == pytest.approx(other["episode"][name], rel=1e-6)
