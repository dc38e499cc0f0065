"""Environments that agents train in: their reward, and kinds of action."""

from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest
from multispin_agents.algorithms import make_training_env
from multispin_agents.networks import Actor, NetworkConfig
from multispin_agents.policy import LearnedController
from multispin_agents.rewards import progress
from multispin_baselines.planner import own_course
from multispin_baselines.texts import expected_progress

from multispin_env import Allocation, RoundView, Simulator, SystemConfig, make_config
from multispin_env.envs import MultiSpinVectorEnv
from multispin_env.envs.actions import ACTIONS, ActionCodec
from multispin_env.envs.rewards import time_price
from multispin_env.optimal import average_round

NUM_ENVS, USERS = 3, 4
SMALL = {"num_users": USERS, "episode_rounds": 5}


def actions(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, (NUM_ENVS, 2 * USERS)).astype(np.float32)


def rewarded(config: SystemConfig, played: list[np.ndarray]) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
    """Rewards in training, (rounds, num_envs), and the infos of the same rounds outside of it."""
    with closing(make_training_env(config, "residual", NUM_ENVS)) as env:
        env.seed(0)
        env.reset()
        rewards = np.array([env.step(one)[1] for one in played])
    plain = gym.make_vec("multispin_env/Heterogeneous-v0", NUM_ENVS, config=config.to_dict(), action="residual")
    plain.reset(seed=0)
    return rewards, [plain.step(one)[-1] for one in played]


def test_the_reward_in_training_is_tokens_less_the_price_of_seconds() -> None:
    config = make_config("mobile", config=SMALL)
    rewards, infos = rewarded(config, [actions(np.random.default_rng(seed)) for seed in range(SMALL["episode_rounds"])])
    average = average_round(config)
    wanted = [np.sum(info["tokens"], axis=1) - time_price(config) * info["latency_s"] for info in infos]
    assert np.allclose(rewards, np.array(wanted) / (average.goodput * average.latency_s), rtol=1e-5)


def test_where_requests_keep_their_acceptance_it_is_progress_less_the_price_of_seconds() -> None:
    # All requests outlast the episode: the truth of its beginning holds to its end.
    config = make_config("requests", config={**SMALL, "requests": {"tokens_low": 250, "tokens_high": 250}})
    rewards, infos = rewarded(config, [actions(np.random.default_rng(seed)) for seed in range(SMALL["episode_rounds"])])
    env = gym.make_vec("multispin_env/Heterogeneous-v0", NUM_ENVS, config=config.to_dict()).unwrapped
    assert isinstance(env, MultiSpinVectorEnv)
    env.reset(seed=0)
    view, course = env.true_round_view(), own_course(config)
    usual = progress(view, np.full((NUM_ENVS, USERS), course.draft_length), course.draft_length).sum(axis=1)
    for reward, info in zip(rewards, infos, strict=True):
        made = progress(view, info["draft_length"], course.draft_length).sum(axis=1)
        assert np.allclose(reward, made / usual - course.rounds_per_s * info["latency_s"], rtol=1e-5)


def test_progress_with_the_truth_known_is_on_average_in_proportion_to_what_planners_expect_without_it() -> None:
    simulator = Simulator(make_config("requests"), 3000)
    simulator.reset([np.random.default_rng(seed) for seed in range(3000)])
    view = simulator.true_view()
    expected = expected_progress(view.take(slice(0, 20)), 6)
    for mean in np.unique(view.task_acceptance_mean):
        task = view.task_acceptance_mean == mean
        scale = None
        for length in (6, 1, 20):
            some = progress(view, np.full(view.acceptance_rate.shape, length), 6)[task]
            # A round of the common length is the progress of one round of the task's average text, whatever the text.
            assert length != 6 or np.allclose(some, some[0])
            wanted = expected[task[:20]][0, length]
            scale = some.mean() / wanted if scale is None else scale
            error = 4.0 * some.std() / np.sqrt(some.size)
            assert some.mean() == pytest.approx(scale * wanted, abs=error, rel=0.01)


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


class UnevenAction(TimidAction):
    """A number more than users have."""

    def numbers(self) -> int:
        return 2 * self.config.num_users + 1


def test_kinds_of_action_that_networks_cannot_give_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config("mobile", config=SMALL)
    with pytest.raises(ValueError, match="action must be one of 'direct', 'lengths', 'residual', got 'mine'"):
        make_training_env(config, "mine", NUM_ENVS)
    monkeypatch.setitem(ACTIONS, "uneven", UnevenAction)
    with pytest.raises(
        ValueError, match=r"the same numbers for every user, .* got 'uneven' with 9 numbers for 4 users"
    ):
        make_training_env(config, "uneven", NUM_ENVS)
    with pytest.raises(ValueError, match=r"network.outputs must be 1 for action 'lengths', got 2"):
        LearnedController("mine", Actor(NetworkConfig.of("equivariant", 8, config)), "lengths", config)
