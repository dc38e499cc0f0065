"""As users of other training libraries meet the environments. What is not installed is skipped."""

import gymnasium as gym
import numpy as np
import pytest

HETEROGENEOUS = "multispin_env/Heterogeneous-v0"
CONFIG = {"num_users": 3, "episode_rounds": 7}

# Warnings of these libraries about themselves are not ours.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_torchrl_rolls_out_and_collects():
    pytest.importorskip("torchrl")
    from torchrl.collectors import Collector
    from torchrl.envs import GymEnv
    from torchrl.envs.utils import check_env_specs

    env = GymEnv(HETEROGENEOUS, config=CONFIG)
    check_env_specs(env)
    rollout = env.rollout(20)
    assert rollout.shape == (7,)
    assert rollout["next", "truncated"].flatten().tolist() == [False] * 6 + [True]
    collector = Collector(GymEnv(HETEROGENEOUS, config=CONFIG), None, frames_per_batch=20, total_frames=40)
    assert sum(batch.numel() for batch in collector) == 40
    collector.shutdown()


def test_torchrl_takes_pictures():
    pytest.importorskip("torchrl")
    pytest.importorskip("matplotlib")
    from torchrl.envs import GymEnv

    rollout = GymEnv(HETEROGENEOUS, config=CONFIG, from_pixels=True, pixels_only=False).rollout(2)
    assert rollout["pixels"].shape[0] == 2


def test_torchrl_wraps_a_batch():
    pytest.importorskip("torchrl")
    from torchrl.envs import GymWrapper

    env = GymWrapper(gym.make_vec(HETEROGENEOUS, 2, config=CONFIG, autoreset_mode="SameStep"))
    rollout = env.rollout(20, break_when_any_done=False)
    assert rollout["next", "done"].sum() == 4
    # The last observation of an episode, not the next episode's first one.
    scalar = gym.make(HETEROGENEOUS, config=CONFIG)
    assert scalar.observation_space.contains(rollout["next", "observation"][0, 6].numpy())
    assert np.any(rollout["next", "observation"][0, 6].numpy() != rollout["observation"][0, 7].numpy())
    # It takes no other mode, and says so.
    with pytest.raises(RuntimeError, match="auto-reset mode must be one of SAME_STEP or DISABLED"):
        GymWrapper(gym.make_vec(HETEROGENEOUS, 2, config=CONFIG))


def test_minari_records_infos_and_makes_the_environment_again(monkeypatch, tmp_path):
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    pytest.importorskip("jax", reason="minari[create] needs it")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gym.make(HETEROGENEOUS, config=CONFIG), record_infos=True)
    tokens = []
    for seed in range(2):
        env.reset(seed=seed)
        tokens.append([env.step(env.action_space.sample())[4]["tokens"] for _ in range(7)])
    dataset = env.create_dataset("multispin/test-v0", eval_env=env.env.spec)
    for episode, played in zip(dataset, tokens, strict=True):
        np.testing.assert_array_equal(episode.infos["tokens"][1:], played)  # those of reset come first
        np.testing.assert_array_equal(episode.infos["tokens"][0], np.zeros(3))
        assert episode.truncations.tolist() == [False] * 6 + [True]
    assert dataset.recover_environment().unwrapped.config.num_users == 3


@pytest.mark.parametrize("name", ["DummyVectorEnv", "SubprocVectorEnv", "ShmemVectorEnv"])
def test_tianshou_steps_a_batch(name):
    tianshou = pytest.importorskip("tianshou.env")
    envs = getattr(tianshou, name)([lambda: gym.make(f"multispin_env:{HETEROGENEOUS}", config=CONFIG)] * 2)
    envs.seed([1, 2])
    envs.reset()
    for _ in range(7):
        observations, _, _, truncated, _ = envs.step(np.zeros((2, 6), dtype=np.float32))
    assert observations.shape == (2, 27)
    assert truncated.all()
    envs.close()


@pytest.mark.parametrize("num_envs", [None, 2])
def test_skrl_wraps_both_environments(num_envs):
    pytest.importorskip("skrl")
    import torch
    from skrl.envs.wrappers.torch import wrap_env

    raw = (
        gym.make(HETEROGENEOUS, config=CONFIG)
        if num_envs is None
        else gym.make_vec(HETEROGENEOUS, num_envs, config=CONFIG)
    )
    env = wrap_env(raw)
    env.reset()
    for _ in range(7):
        _, _, _, truncated, _ = env.step(torch.zeros((num_envs or 1, 6)))
    assert truncated.all()


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_rllib_trains(mode):
    pytest.importorskip("ray.rllib")
    from ray.rllib.algorithms.ppo import PPOConfig

    config = (
        PPOConfig()
        .environment(f"multispin_env:{HETEROGENEOUS}", env_config={"config": CONFIG})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, gym_env_vectorize_mode=mode)
        .training(train_batch_size=64, minibatch_size=32, num_epochs=1)
    )
    algorithm = config.build_algo()
    assert algorithm.train()["env_runners"]["episode_len_mean"] == 7.0
    algorithm.stop()


def test_sb3_contrib_trains():
    contrib = pytest.importorskip("sb3_contrib")
    from multispin_env.integrations.sb3 import make_sb3_vec_env

    env = make_sb3_vec_env(HETEROGENEOUS, 2, config=CONFIG)
    model = contrib.RecurrentPPO("MlpLstmPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu").learn(32)
    assert model.num_timesteps == 32
