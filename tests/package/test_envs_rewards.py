"""Rewards, and the episode's figures in info."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from multispin_env import make_config
from multispin_env.envs import reference_goodput
from multispin_env.envs.rewards import REWARDS, time_price
from multispin_env.optimal import average_round

ID = "multispin_env/Heterogeneous-v0"
ROUNDS = 4


@pytest.mark.parametrize("reward", REWARDS)
def test_a_reward_is_what_it_is_documented_to_be(world, reward):
    env: Any = gym.make(ID, reward=reward, **world)
    env.reset(seed=0)
    config = env.unwrapped.config
    average, price = average_round(config), time_price(config)
    for _ in range(5):
        *_, info = played = env.step(env.action_space.sample())
        priced = (info["tokens"].sum() - price * info["latency_s"]) / (average.goodput * average.latency_s)
        wanted = {"goodput": info["goodput"] / reference_goodput(config), "time-priced": priced}[reward]
        assert played[1] == pytest.approx(wanted, rel=1e-9)


def test_the_price_of_time_is_about_what_the_closed_form_earns(world):
    config = make_config(**world)
    envs = gym.make_vec(ID, 32, action="residual", **world)
    envs.reset(seed=1)
    for _ in range(100):
        *_, info = envs.step(np.zeros(envs.action_space.shape))
    assert time_price(config) == pytest.approx(info["episode_tokens"].sum() / info["episode_seconds"].sum(), rel=0.1)


def totals(infos):
    """Of the rounds played so far: tokens, seconds."""
    return sum(info["tokens"].sum() for info in infos), sum(info["latency_s"] for info in infos)


@pytest.mark.parametrize("how", ["step", "step_allocation"])
def test_info_holds_the_episode_so_far_and_at_its_end_the_figure_of_merit(how):
    env: Any = gym.make(ID, scenario="mobile", config={"episode_rounds": ROUNDS}).unwrapped
    for seed in range(2):
        _, first = env.reset(seed=seed)
        assert first["episode_tokens"] == first["episode_seconds"] == first["episode_goodput"] == 0.0
        infos, truncated = [], False
        while not truncated:
            action = env.action_space.sample()
            decision = env.decode_action(action) if how == "step_allocation" else action
            *_, truncated, info = getattr(env, how)(decision)
            assert info.keys() == first.keys()
            infos.append(info)
            tokens, seconds = totals(infos)
            assert info["episode_tokens"] == tokens
            assert info["episode_seconds"] == pytest.approx(seconds, rel=1e-12)
            assert info["episode_goodput"] == pytest.approx(tokens / seconds, rel=1e-12)
        assert len(infos) == ROUNDS


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_batch_s_last_info_holds_each_environment_s_episode(mode):
    envs = gym.make_vec(ID, 3, scenario="mobile", config={"episode_rounds": ROUNDS}, autoreset_mode=mode)
    scalars = [gym.make(ID, scenario="mobile", config={"episode_rounds": ROUNDS}) for _ in range(3)]
    envs.reset(seed=5)
    for env_index, scalar in enumerate(scalars):
        scalar.reset(seed=5 + env_index)
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        actions = rng.uniform(-1.0, 1.0, envs.action_space.shape).astype(np.float32)
        *_, infos = envs.step(actions)
        theirs = [scalar.step(action)[4] for scalar, action in zip(scalars, actions, strict=True)]
    last = infos["final_info"] if mode == "SameStep" else infos
    for name in ("episode_tokens", "episode_seconds", "episode_goodput"):
        np.testing.assert_array_equal(last[name], [info[name] for info in theirs])
        assert np.all(last[f"_{name}"])
        if mode == "SameStep":
            np.testing.assert_array_equal(infos[name], 0.0)  # the next episode's
