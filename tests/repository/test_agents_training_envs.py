"""Environments that agents train in: their reward, and kinds of action."""

from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest
from multispin_agents.algorithms import make_training_env
from multispin_agents.networks import Actor, NetworkConfig
from multispin_agents.policy import LearnedController

from multispin_env import Allocation, RoundView, Simulator, make_config
from multispin_env.envs.actions import ACTIONS, ActionCodec
from multispin_env.envs.rewards import time_price
from multispin_env.optimal import average_round

NUM_ENVS, USERS = 3, 4
SMALL = {"num_users": USERS, "episode_rounds": 5}


def actions(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, (NUM_ENVS, 2 * USERS)).astype(np.float32)


def test_the_reward_in_training_is_tokens_less_the_price_of_seconds() -> None:
    config = make_config("requests", config=SMALL)
    played = [actions(np.random.default_rng(seed)) for seed in range(SMALL["episode_rounds"])]
    with closing(make_training_env(config, "residual", NUM_ENVS)) as env:
        env.seed(0)
        env.reset()
        rewards = np.sum([env.step(one)[1] for one in played], axis=0)
    plain = gym.make_vec("multispin_env/Heterogeneous-v0", NUM_ENVS, config=config.to_dict(), action="residual")
    plain.reset(seed=0)
    infos = [plain.step(one)[-1] for one in played]
    average = average_round(config)
    wanted = [np.sum(info["tokens"], axis=1) - time_price(config) * info["latency_s"] for info in infos]
    assert np.allclose(rewards, np.sum(wanted, axis=0) / (average.goodput * average.latency_s), rtol=1e-5)


class TimidAction(ActionCodec):
    """Equal shares, and drafts of one token: whatever the numbers say."""

    def numbers(self) -> int:
        return 2 * self.config.num_users

    def _allocation(self, numbers: np.ndarray, view: RoundView) -> Allocation:
        shape = view.drafting_latency_s.shape
        return Allocation(np.ones(shape, dtype=np.int64), np.full(shape, 1.0 / shape[1]))

    def _numbers(self, allocation: Allocation, view: RoundView) -> np.ndarray:
        return np.zeros((len(allocation.draft_length), self.numbers()))


def test_a_registered_kind_of_action_is_the_one_that_is_trained_and_played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIONS, "timid", TimidAction)
    config = make_config("mobile", config=SMALL)
    with closing(make_training_env(config, "timid", NUM_ENVS)) as env:
        env.seed(0)
        env.reset()
        *_, infos = [env.step(actions(np.random.default_rng(0))) for _ in range(SMALL["episode_rounds"])][-1]
    assert all(np.all(info["draft_length"] == 1) for info in infos)
    policy = LearnedController("mine", Actor(NetworkConfig.of("equivariant", 8, config)), "timid", config)
    simulator = Simulator(config, 2)
    simulator.reset([np.random.default_rng(seed) for seed in range(2)])
    assert np.all(policy.act(simulator.view()).draft_length == 1)


def test_kinds_of_action_that_networks_cannot_give_are_refused() -> None:
    config = make_config("mobile", config=SMALL)
    with pytest.raises(ValueError, match="action must be one of 'direct', 'lengths', 'residual', got 'mine'"):
        make_training_env(config, "mine", NUM_ENVS)
    with pytest.raises(ValueError, match=r"with 2 numbers a user, .* got 'lengths' with 4 numbers"):
        make_training_env(config, "lengths", NUM_ENVS)
