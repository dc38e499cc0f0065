"""Plays controllers in the environment: the same step, seeds and random numbers for all of them."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from multispin_env import Simulator, SystemConfig
from multispin_env.core import TrueView
from multispin_env.core.equations import FloatArray
from multispin_env.envs import MultiSpinVectorEnv
from multispin_env.evaluation.controller import Controller


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode of one controller.

    Attributes:
        seed: Seed of the episode. tokens: Tokens gained by all users. seconds: Duration of all rounds.
        mean_round_goodput: Mean over rounds of the round's goodput, tokens per second. A few rounds in deep fades
        weigh on
            ``tokens / seconds`` and hardly on this.
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
    """First rounds of independent systems, one a lane, the same whenever they are asked for."""
    simulator = Simulator(config, count)
    simulator.reset([np.random.default_rng(lane) for lane in range(count)])
    return simulator.true_view()


def play(
    controller: Controller,
    config: SystemConfig,
    seeds: Sequence[int],
    on_round: Callable[[], None] = lambda: None,
    *,
    timed: bool = True,
) -> list[Episode]:
    """Plays one episode per seed, all seeds side by side as lanes.

    Args:
        controller: Who decides.
        config: The scenario's system; the controller's scheme may turn it into another.
        seeds: One a lane.
        on_round: Called after every round, for progress.
        timed: Whether single decisions are timed, which takes about as long as all the rest.
    """
    system = controller.system(config)
    env = gym.make_vec("multispin_env/Heterogeneous-v0", num_envs=len(seeds), config=system.to_dict()).unwrapped
    assert isinstance(env, MultiSpinVectorEnv)
    env.reset(seed=list(seeds))
    lanes = len(seeds)
    controller.begin(lanes)
    # Single decisions are timed on a copy: their lanes are none of the episodes' that the controller may remember.
    timed_one = copy.deepcopy(controller)
    timed_one.begin(1)
    tokens = np.zeros((lanes, system.num_users))
    seconds, goodput = np.zeros(lanes), np.zeros(lanes)
    decision_s: list[list[float]] = [[] for _ in seeds]
    for step in range(system.episode_rounds):
        view = env.true_round_view() if controller.sees_truth else env.round_view()
        if timed:
            lane = step % lanes
            alone = view.environment(lane)
            begin = time.perf_counter()
            timed_one.act(alone)
            decision_s[lane].append(time.perf_counter() - begin)
        _, _, _, _, info = env.step_allocation(controller.act(view))
        tokens += info["tokens"]
        seconds += info["latency_s"]
        goodput += info["goodput"]
        on_round()
    fairness = jain_index(tokens)
    return [
        Episode(
            seed=seed,
            tokens=int(tokens[lane].sum()),
            seconds=float(seconds[lane]),
            mean_round_goodput=float(goodput[lane] / system.episode_rounds),
            # Fewer rounds than lanes leave some lanes untimed: they take the batch's median.
            decision_us=1e6 * float(np.median(decision_s[lane] or np.concatenate(decision_s))) if timed else math.nan,
            jain_index=float(fairness[lane]),
        )
        for lane, seed in enumerate(seeds)
    ]
