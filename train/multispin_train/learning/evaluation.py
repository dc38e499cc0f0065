"""Looks at agents as they learn: episodes of their mean action, beside those of the reference controller."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from multispin_baselines import make_controller
from numpy.typing import NDArray

from multispin_env.core.equations import FloatArray
from multispin_env.envs import MultiSpinVectorEnv

REFERENCE = "heterogeneous"
# Below the benchmark's seeds and above those that training draws.
EVALUATION_SEED, EVALUATION_EPISODES = 900_000, 64
EVALUATIONS = 10

# Observations of a batch, (num_envs, n), to the actions without noise.
Act: TypeAlias = Callable[[NDArray[np.float32]], NDArray[Any]]


@dataclass(frozen=True)
class LearningRow:
    """An evaluation of the mean action, a line of ``results.csv``.

    Attributes:
        agent: The recipe, or the reference controller (seed 0, no steps).
        seed: The agent's.
        timesteps: Steps learned from so far.
        goodput_tok_s: Mean over the evaluation's episodes of total tokens over total seconds.
        gain: Of this mean over the reference's, less 1.
        gain_std_error: Standard error of the gain, episodes paired by seed.
        cpu_s: Processor time of the training so far, evaluations left out.
    """

    agent: str
    seed: int
    timesteps: int
    goodput_tok_s: float
    gain: float
    gain_std_error: float
    cpu_s: float


class Observer:
    """Evaluates an agent at intervals, and measures the processor time between.

    Args:
        total_timesteps: When the training is over.
        evaluate: Called with the steps, what acts, and the processor seconds so far.
    """

    def __init__(self, total_timesteps: int, evaluate: Callable[[int, Act, float], None]) -> None:
        self._total, self._evaluate = total_timesteps, evaluate
        self._number, self._evaluating_s, self._begin_s = 0, 0.0, time.process_time()

    def show(self, timesteps: int, act: Act) -> None:
        """Evaluates if it is time to: at the start, at the end, and as often between as ``EVALUATIONS`` says."""
        if timesteps * EVALUATIONS < self._number * self._total:
            return
        self._number = timesteps * EVALUATIONS // self._total + 1
        before = time.process_time()
        self._evaluate(timesteps, act, before - self._begin_s - self._evaluating_s)
        self._evaluating_s += time.process_time() - before


def reference_goodput(world: Mapping[str, Any]) -> FloatArray:
    """Goodput of the reference controller's episodes, (episodes,)."""
    env, _ = _evaluation_env(world)
    controller = make_controller(REFERENCE, world["model_pair"])
    for _ in range(env.config.episode_rounds):
        *_, info = env.step_allocation(controller.act(env.round_view()))
    return np.asarray(info["episode_goodput"])


def agent_goodput(act: Act, action: str, world: Mapping[str, Any]) -> FloatArray:
    """Goodput of an agent's episodes, (episodes,), with actions of a kind."""
    env, observations = _evaluation_env(world, action=action)
    for _ in range(env.config.episode_rounds):
        observations, _, _, _, info = env.step(act(observations))
    return np.asarray(info["episode_goodput"])


def _evaluation_env(world: Mapping[str, Any], **arguments: Any) -> tuple[MultiSpinVectorEnv, NDArray[np.float32]]:
    env = gym.make_vec("multispin_env/Heterogeneous-v0", num_envs=EVALUATION_EPISODES, **arguments, **world).unwrapped
    assert isinstance(env, MultiSpinVectorEnv)
    observations, _ = env.reset(seed=EVALUATION_SEED)
    return env, observations


def make_row(
    agent: str, seed: int, timesteps: int, goodput: FloatArray, reference: FloatArray, cpu_s: float
) -> LearningRow:
    """The row of an evaluation, from its episodes and the reference's."""
    gain = float(goodput.mean() / reference.mean() - 1.0)
    # Of a ratio of means, by the delta method.
    deviation = (goodput - (1.0 + gain) * reference) / reference.mean()
    error = float(deviation.std(ddof=1) / np.sqrt(len(deviation)))
    return LearningRow(agent, seed, timesteps, float(goodput.mean()), gain, error, cpu_s)
