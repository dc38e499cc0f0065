"""Action layers and the long-run reward, in both environments and through the stable-baselines3 adapter."""

from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from multispin_agents.algorithms import make_training_env
from multispin_agents.cloning import collect_demonstrations
from multispin_agents.layers import (
    ACCEPTANCE_REACH,
    LAYERS,
    RATE_REACH,
    LayerAction,
    VectorLayerAction,
    direct,
    residual,
)
from multispin_agents.networks import Actor, NetworkConfig
from multispin_agents.policy import LearnedController
from multispin_agents.rewards import LongRunReward, long_run_reward
from multispin_baselines import make_controller
from stable_baselines3.common.vec_env import DummyVecEnv

from multispin_env import Allocation, RoundView, Simulator, make_config
from multispin_env.core.equations import expected_tokens
from multispin_env.integrations.sb3 import SB3VecEnv
from multispin_env.optimal import RoundProblem, average_round, solve_heterogeneous

ID = "multispin_env/Heterogeneous-v0"
LANES, USERS = 3, 4
SMALL = {"num_users": USERS, "episode_rounds": 5}


def vector_env(**options: object) -> Any:
    return gym.make_vec(ID, num_envs=LANES, **{"scenario": "mobile", "config": SMALL, **options})


def actions(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, (LANES, 2 * USERS)).astype(np.float32)


def test_zeros_are_the_heterogeneous_controller_exactly(world: dict[str, str]) -> None:
    env: Any = gym.make_vec(ID, num_envs=20, **world).unwrapped
    env.reset(seed=3)
    for _ in range(3):
        view = env.round_view()
        ours = residual(np.zeros((20, 40), dtype=np.float32), view)
        theirs = make_controller("heterogeneous", "llama2").act(view)
        assert np.array_equal(ours.draft_length, theirs.draft_length)
        assert np.array_equal(ours.bandwidth_share, theirs.bandwidth_share)
        env.step(env.encode_action(ours))


def test_a_tilt_is_what_the_closed_form_is_told() -> None:
    env = vector_env().unwrapped
    env.reset(seed=1)
    view, tilts = env.round_view(), actions(np.random.default_rng(0)).astype(np.float64)
    mean = view.task_acceptance_mean
    log_odds = np.log(mean / (1.0 - mean)) + ACCEPTANCE_REACH * tilts[:, USERS:]
    told = RoundProblem.from_view(
        view,
        spectral_efficiency=view.observed_spectral_efficiency * np.exp(RATE_REACH * tilts[:, :USERS]),
        acceptance_rate=1.0 / (1.0 + np.exp(-log_odds)),
    )
    ours, theirs = residual(tilts, view), solve_heterogeneous(told).allocation
    assert np.array_equal(ours.draft_length, theirs.draft_length)
    assert np.allclose(ours.bandwidth_share, theirs.bandwidth_share, rtol=1e-9)


def test_direct_is_the_environment_s_own_action() -> None:
    env = vector_env().unwrapped
    env.reset(seed=1)
    played = actions(np.random.default_rng(0))
    for ours, theirs in zip(direct(played, env.round_view()), env.decode_action(played), strict=True):
        assert np.array_equal(ours, theirs)


def test_wrapped_lanes_are_wrapped_scalar_environments_across_the_end_of_episodes() -> None:
    ours = SB3VecEnv(VectorLayerAction(vector_env(autoreset_mode="SameStep"), residual))
    theirs = DummyVecEnv([lambda: LayerAction(gym.make(ID, scenario="mobile", config=SMALL), residual)] * LANES)
    assert ours.action_space == theirs.action_space
    ours.seed(11)
    theirs.seed(11)
    assert np.array_equal(ours.reset(), theirs.reset())
    rng, ends = np.random.default_rng(0), 0
    for _ in range(12):
        played = actions(rng)
        (obs, rewards, dones, infos), (obs_2, rewards_2, dones_2, infos_2) = ours.step(played), theirs.step(played)
        assert np.array_equal(obs, obs_2)
        assert np.allclose(rewards, rewards_2, rtol=1e-6)
        assert np.array_equal(dones, dones_2)
        for lane in np.flatnonzero(dones):
            ends += 1
            assert np.array_equal(infos[lane]["terminal_observation"], infos_2[lane]["terminal_observation"])
            assert not np.array_equal(infos[lane]["terminal_observation"], obs[lane])
            assert np.array_equal(infos[lane]["draft_length"], infos_2[lane]["draft_length"])
    assert ends == 2 * LANES


def test_the_environment_plays_the_layer_s_allocation() -> None:
    inner = vector_env()
    env = VectorLayerAction(inner, residual)
    env.reset(seed=2)
    rng = np.random.default_rng(1)
    for _ in range(5):
        played = actions(rng)
        wanted = residual(played, inner.unwrapped.round_view())
        *_, infos = env.step(played)
        assert np.array_equal(infos["draft_length"], wanted.draft_length)
        assert np.allclose(infos["bandwidth_share"], wanted.bandwidth_share, rtol=0, atol=1e-6)
    _, rewards, _, _, infos = env.step(actions(rng))  # the next-step reset
    assert not rewards.any()
    assert not infos["draft_length"].any()


def test_other_environments_and_actions_are_refused() -> None:
    with pytest.raises(ValueError, match='must be heterogeneous with bandwidth="agent"'):
        VectorLayerAction(gym.make_vec("multispin_env/Homogeneous-v0", num_envs=2), residual)
    with pytest.raises(ValueError, match='must be heterogeneous with bandwidth="agent"'):
        LayerAction(gym.make(ID, bandwidth="optimal"), residual)
    with pytest.raises(TypeError, match="must be a MultiSpinEnv, got PendulumEnv"):
        LayerAction(gym.make("Pendulum-v1"), residual)
    env = VectorLayerAction(vector_env(), residual)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"of shape \(3, 8\) \(num_envs, numbers\), got shape \(3, 4\)"):
        env.step(np.zeros((3, 4), dtype=np.float32))
    with pytest.raises(ValueError, match=r"in \[-1, 1\] .* got .*nan.* at environment 0, number 0"):
        env.step(np.full((3, 8), np.nan, dtype=np.float32))
    with pytest.raises(TypeError, match="action must be an array of real numbers"):
        env.step(None)


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
    per_round = expected_tokens(view.task_acceptance_mean, average.draft_length).sum(axis=1)
    rewards = long_run_reward(view, decided, np.full(LANES, 0.3))
    wanted = (tokens - per_round * 0.3 / average.latency_s) / (average.goodput * average.latency_s)
    assert np.allclose(rewards, wanted)


def test_a_registered_layer_is_the_one_that_is_trained_and_played(monkeypatch: pytest.MonkeyPatch) -> None:
    def timid(actions: np.ndarray, view: RoundView) -> Allocation:
        """Equal shares, and drafts of one token: whatever the numbers say."""
        shape = view.drafting_latency_s.shape
        return Allocation(np.ones(shape, dtype=np.int64), np.full(shape, 1.0 / shape[1]))

    monkeypatch.setitem(LAYERS, "timid", timid)
    config = make_config("mobile", config=SMALL)
    played = []
    for seed in (0, 1):
        with closing(make_training_env(config, "timid", LANES)) as env:
            env.seed(0)
            env.reset()
            played.append(env.step(actions(np.random.default_rng(seed)))[0])
    assert np.array_equal(*played)
    policy = LearnedController("mine", Actor(NetworkConfig.of("equivariant", 8, config)), "timid", config)
    simulator = Simulator(config, 2)
    simulator.reset([np.random.default_rng(seed) for seed in range(2)])
    assert np.all(policy.act(simulator.view()).draft_length == 1)
    with pytest.raises(ValueError, match="action, to learn from a teacher, must be one of 'direct', 'residual', got"):
        collect_demonstrations(make_controller("robust", "llama2"), config, "timid", 64, seed=0)
    for unknown in ("mine", "Timid"):
        with pytest.raises(ValueError, match=f"action must be one of .*'timid', got '{unknown}'"):
            make_training_env(config, unknown, LANES)
