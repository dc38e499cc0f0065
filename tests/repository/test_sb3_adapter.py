"""The stable-baselines3 adapter against stable-baselines3's own vectorisation of scalar environments."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from multispin_env.sb3 import SB3VecEnv, make_sb3_vec_env

ID = "multispin_env/Heterogeneous-v0"
LANES = 5


def test_trajectories_equal_those_of_a_dummy_vec_env(world: dict[str, str]) -> None:
    kwargs = {**world, "config": {"num_users": 3, "episode_rounds": 7}}
    ours = make_sb3_vec_env(ID, LANES, **kwargs)
    theirs = DummyVecEnv([lambda: gym.make(ID, **kwargs)] * LANES)
    ours.seed(11)
    theirs.seed(11)
    assert np.array_equal(ours.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(25):
        actions = rng.uniform(-1, 1, (LANES, *ours.action_space.shape)).astype(np.float32)
        (obs, rewards, dones, infos), (obs_2, rewards_2, dones_2, infos_2) = ours.step(actions), theirs.step(actions)
        assert np.array_equal(obs, obs_2)
        assert np.array_equal(rewards, rewards_2)
        assert np.array_equal(dones, dones_2)
        for lane in np.flatnonzero(dones):
            ends += 1
            assert infos[lane].keys() == infos_2[lane].keys()
            for name, value in infos_2[lane].items():
                assert np.array_equal(infos[lane][name], value), name
        assert all(not infos[lane] for lane in np.flatnonzero(~dones))
    assert ends == 3 * LANES


def test_ppo_learns_through_it_and_the_monitor_sees_whole_episodes() -> None:
    env = VecMonitor(make_sb3_vec_env(ID, 8, config={"num_users": 2, "episode_rounds": 16}))
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(512)
    assert model.num_timesteps == 512
    assert [episode["l"] for episode in model.ep_info_buffer] == [16] * 32


def test_refuses_an_environment_that_resets_in_the_next_step() -> None:
    with pytest.raises(ValueError, match="SameStep"):
        SB3VecEnv(gym.make_vec(ID, num_envs=2))


def test_lanes_cannot_be_told_apart() -> None:
    env = make_sb3_vec_env(ID, 3)
    assert env.get_attr("num_envs", [0, 2]) == [3, 3]
    with pytest.raises(ValueError, match="all 3 environments"):
        env.set_attr("render_mode", None, indices=[1])


def test_the_package_does_not_import_torch_before_the_adapter_is_used() -> None:
    code = "import sys, multispin_env; assert 'torch' not in sys.modules and 'stable_baselines3' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
