"""Plays agents in the environment: the same step, seeds and random numbers for all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from multispin_env import Simulator, SystemConfig
from multispin_env.core import TrueView
from multispin_env.core.equations import FloatArray
from multispin_env.evaluation.agents import Agent, Player, as_player


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode of one agent.

    Attributes:
        seed: Seed of the episode.
        tokens: Tokens gained by all users.
        seconds: Duration of all rounds.
        mean_round_goodput: Mean over rounds of the round's goodput, tokens per second. A few rounds in deep fades
            weigh on ``tokens / seconds`` and hardly on this.
        decision_us: Median time of a single decision, microseconds; NaN where it was not measured.
        jain_index: Jain's fairness index of the users' tokens, 1/K to 1.
    """

    seed: int
    tokens: int
    seconds: float
    mean_round_goodput: float
    decision_us: float
    jain_index: float

    @property
    def goodput_tok_s(self) -> float:
        """The figure of merit: total tokens over total seconds."""
        return self.tokens / self.seconds


def jain_index(values: FloatArray) -> FloatArray:
    """Jain's fairness index over the last axis."""
    return np.sum(values, axis=-1) ** 2 / (values.shape[-1] * np.sum(values * values, axis=-1))


def independent_rounds(config: SystemConfig, count: int) -> TrueView:
    """First rounds of independent systems, one an environment, the same whenever they are asked for."""
    simulator = Simulator(config, count)
    simulator.reset([np.random.default_rng(index) for index in range(count)])
    return simulator.true_view()


def play(
    agent: Agent | Player,
    config: SystemConfig,
    seeds: Sequence[int],
    on_round: Callable[[], None] = lambda: None,
    *,
    timed: bool = True,
) -> list[Episode]:
    """Plays one episode per seed, all seeds side by side.

    Args:
        agent: Who decides; an :data:`~multispin_env.evaluation.agents.Agent` plays in the environment as it is made
            without further arguments.
        config: The scenario's system; a controller's scheme may turn it into another.
        seeds: One an environment.
        on_round: Called after every round, for progress.
        timed: Whether single decisions are timed, which takes about as long as all the rest.
    """
    player = as_player(agent)
    system = player.transform_config(config)
    num_envs = len(seeds)
    env = player.make_env(system, num_envs)
    observations, _ = env.reset(seed=list(seeds))
    player.start(env, observations)
    tokens = np.zeros((num_envs, system.num_users))
    seconds, goodput = np.zeros(num_envs), np.zeros(num_envs)
    decision_s: list[list[float]] = [[] for _ in seeds]
    for step in range(system.episode_rounds):
        if timed:
            index = step % num_envs
            decide = player.single_decision(index)
            begin = time.perf_counter()
            decide()
            decision_s[index].append(time.perf_counter() - begin)
        info = player.play_round()
        tokens += info["tokens"]
        seconds += info["latency_s"]
        goodput += info["goodput"]
        on_round()
    fairness = jain_index(tokens)
    return [
        Episode(
            seed=seed,
            tokens=int(tokens[index].sum()),
            seconds=float(seconds[index]),
            mean_round_goodput=float(goodput[index] / system.episode_rounds),
            # Fewer rounds than environments leave some untimed: they take the batch's median.
            decision_us=1e6 * float(np.median(decision_s[index] or np.concatenate(decision_s))) if timed else math.nan,
            jain_index=float(fairness[index]),
        )
        for index, seed in enumerate(seeds)
    ]
