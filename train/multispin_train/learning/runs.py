"""Trains the recipes and plays the agents as they learn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from multispin_baselines import make_controller
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from multispin_env.envs import MultiSpinVectorEnv
from multispin_env.evaluation.plots import new_figure, save
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.integrations.sb3 import make_sb3_vec_env
from multispin_train.learning.agents import RECIPES, Recipe

ENV_ID = "multispin_env/Heterogeneous-v0"
REFERENCE = "heterogeneous"
# Below the benchmark's seeds and above those that training draws.
EVALUATION_SEED, EVALUATION_EPISODES = 900_000, 64
_EVALUATIONS = 10


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


def learn(
    folder: ResultsFolder[LearningRow],
    names: tuple[str, ...],
    seeds: int,
    world: Mapping[str, Any],
    say: Callable[[str], None],
) -> list[LearningRow]:
    """Trains what the folder lacks, an agent after the other; returns all evaluations.

    An agent's rows are written when it has learned to the end, so that one that was interrupted starts anew.

    Args:
        folder: Where the rows go.
        names: Of ``RECIPES``.
        seeds: Agents of each recipe, from seed 0 on.
        world: ``scenario`` and ``model_pair``.
        say: Called with a line for each evaluation.
    """
    reference = _reference_goodput(world)
    if not folder.rows():
        folder.append([_row(REFERENCE, 0, 0, reference, reference, 0.0)])
    for name in names:
        for seed in range(seeds):
            if any(row.agent == name and row.seed == seed for row in folder.rows()):
                continue
            folder.append(_train(name, RECIPES[name], seed, world, reference, say))
            draw(folder.path / "learning.png", folder.rows())
    return folder.rows()


def _train(
    name: str,
    recipe: Recipe,
    seed: int,
    world: Mapping[str, Any],
    reference: NDArray[np.float64],
    say: Callable[[str], None],
) -> list[LearningRow]:
    rows: list[LearningRow] = []

    def note(agent: PPO, cpu_s: float) -> None:
        rows.append(_row(name, seed, agent.num_timesteps, _agent_goodput(agent, recipe, world), reference, cpu_s))
        row = rows[-1]
        say(
            f"{name}, seed {seed}, {row.timesteps} steps, {row.cpu_s:.0f} s: "
            f"{row.goodput_tok_s:.1f} tok/s, {row.gain:+.3f}"
        )

    env = make_sb3_vec_env(ENV_ID, recipe.num_envs, action=recipe.action, reward="time-priced", **world)
    env.seed(100_000 * seed)
    agent = recipe.make(env, seed)
    observer = _Observer(recipe.total_timesteps // _EVALUATIONS, note)
    agent.learn(recipe.total_timesteps, observer)
    env.close()
    note(agent, observer.cpu_s())
    return rows


class _Observer(BaseCallback):
    """Evaluates between rollouts, the first time before any."""

    def __init__(self, every: int, note: Callable[[PPO, float], None]) -> None:
        super().__init__()
        self._every, self._note = every, note
        self._due, self._evaluating_s, self._begin_s = 0, 0.0, time.process_time()

    def cpu_s(self) -> float:
        """Processor time of the training so far."""
        return time.process_time() - self._begin_s - self._evaluating_s

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._due:
            self._due += self._every
            before = time.process_time()
            assert isinstance(self.model, PPO)
            self._note(self.model, self.cpu_s())
            self._evaluating_s += time.process_time() - before

    def _on_step(self) -> bool:
        return True


def _evaluation_env(world: Mapping[str, Any], action: str = "direct") -> tuple[MultiSpinVectorEnv, NDArray[np.float32]]:
    env = gym.make_vec(ENV_ID, num_envs=EVALUATION_EPISODES, action=action, **world).unwrapped
    assert isinstance(env, MultiSpinVectorEnv)
    observations, _ = env.reset(seed=EVALUATION_SEED)
    return env, observations


def _reference_goodput(world: Mapping[str, Any]) -> NDArray[np.float64]:
    env, _ = _evaluation_env(world)
    controller = make_controller(REFERENCE, world["model_pair"])
    for _ in range(env.config.episode_rounds):
        *_, info = env.step_allocation(controller.act(env.round_view()))
    return np.asarray(info["episode_goodput"])


def _agent_goodput(agent: PPO, recipe: Recipe, world: Mapping[str, Any]) -> NDArray[np.float64]:
    env, observations = _evaluation_env(world, recipe.action)
    for _ in range(env.config.episode_rounds):
        actions, _ = agent.predict(observations, deterministic=True)
        observations, _, _, _, info = env.step(actions)
    return np.asarray(info["episode_goodput"])


def _row(
    agent: str, seed: int, timesteps: int, goodput: NDArray[np.float64], reference: NDArray[np.float64], cpu_s: float
) -> LearningRow:
    gain = float(goodput.mean() / reference.mean() - 1.0)
    # Of a ratio of means, by the delta method.
    deviation = (goodput - (1.0 + gain) * reference) / reference.mean()
    error = float(deviation.std(ddof=1) / np.sqrt(len(deviation)))
    return LearningRow(agent, seed, timesteps, float(goodput.mean()), gain, error, cpu_s)


def draw(path: Path, rows: list[LearningRow]) -> None:
    """Goodput against steps, a panel for each agent and a line for each seed."""
    names = list(dict.fromkeys(row.agent for row in rows if row.agent != REFERENCE))
    reference = next(row.goodput_tok_s for row in rows if row.agent == REFERENCE)
    figure, axes = new_figure(4.0 * len(names), 3.4, columns=len(names))
    for name, panel in zip(names, axes, strict=True):
        for seed in sorted({row.seed for row in rows if row.agent == name}):
            curve = [row for row in rows if row.agent == name and row.seed == seed]
            panel.plot(
                [row.timesteps / 1e6 for row in curve], [row.goodput_tok_s for row in curve], label=f"seed {seed}"
            )
        panel.axhline(reference, color="black", linestyle="--", linewidth=1.0, label=f"{REFERENCE} controller")
        panel.set_title(name)
        panel.set_xlabel("million steps")
        panel.set_ylabel("tok/s")
    axes[0].legend()
    save(figure, path)
