"""The long-run reward, and kinds of action in training."""

from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from multispin_agents.algorithms import make_training_env
from multispin_agents.networks import Actor, NetworkConfig
from multispin_agents.policy import LearnedController
from multispin_agents.rewards import LongRunReward, long_run_reward
from multispin_baselines import make_controller

from multispin_env import Allocation, RoundView, Simulator, make_config
from multispin_env.core.equations import expected_tokens
from multispin_env.envs.actions import ACTIONS, ActionCodec
from multispin_env.envs.rewards import time_price
from multispin_env.optimal import average_round

ID = "multispin_env/Heterogeneous-v0"
NUM_ENVS, USERS = 3, 4
SMALL = {"num_users": USERS, "episode_rounds": 5}


def vector_env(**options: object) -> Any:
    return gym.make_vec(ID, num_envs=NUM_ENVS, **{"scenario": "mobile", "config": SMALL, **options})


def actions(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, (NUM_ENVS, 2 * USERS)).astype(np.float32)


@pytest.mark.parametrize("scenario", ["requests", "mobile"])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_the_long_run_reward_is_that_of_every_round_played(mode: str, scenario: str) -> None:
    plain, inner = (vector_env(scenario=scenario, autoreset_mode=mode) for _ in range(2))
    wrapped = LongRunReward(inner)
    plain.reset(seed=4)
    wrapped.reset(seed=4)
    rng, rounds = np.random.default_rng(0), 0
    for _ in range(12):
        played = actions(rng)
        view = plain.unwrapped.true_round_view()
        *_, infos = plain.step(played)
        _, rewards, *_ = wrapped.step(played)
        infos = infos.get("final_info", infos)
        if not infos["draft_length"].any():
            assert not rewards.any()
            continue
        rounds += 1
        decided = Allocation(infos["draft_length"], infos["bandwidth_share"])
        assert np.allclose(rewards, long_run_reward(view, decided, infos["latency_s"]))
    assert rounds == (12 if mode == "SameStep" else 10)


def test_where_nothing_is_hidden_the_reward_is_tokens_less_the_price_of_seconds() -> None:
    env = vector_env(scenario="paper").unwrapped
    env.reset(seed=0)
    view = env.true_round_view()
    decided = make_controller("heterogeneous", "llama2").act(view)
    average = average_round(env.config)
    tokens = expected_tokens(view.task_acceptance_mean, decided.draft_length).sum(axis=1)
    rewards = long_run_reward(view, decided, np.full(NUM_ENVS, 0.3))
    wanted = (tokens - time_price(env.config) * 0.3) / (average.goodput * average.latency_s)
    assert np.allclose(rewards, wanted)


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
