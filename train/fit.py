"""Trains agents: in chunks, each of them decided by the seed alone, with an evaluation and a checkpoint after each."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
import torch
from rich.progress import Progress
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import FloatSchedule, set_random_seed

import multispin_env
from agents.algorithms import Hyperparameters, make_agent, make_training_env
from agents.imitation import attend, imitate
from agents.networks import AllocationPolicy
from agents.policy import LearnedController
from agents.rewards import LongRunReward, RunningRate
from baselines import make_controller
from multispin_env import SystemConfig, make_config
from multispin_env.sb3 import SB3VecEnv
from train.figures import COLOURS, new_figure, save
from train.results import ResultsFolder
from train.rollout import play
from train.statistics import interquartile_mean

# All below the benchmark's seeds: evaluation during training has worlds of its own, and a chunk draws its seed between.
EVALUATION_SEEDS = range(900_000, 900_032)
CHUNK_SEEDS = (100_000, 800_000)
REFERENCES = ("heterogeneous", "robust")
_LAST_LEARNING_RATE = 0.1


@dataclass(frozen=True)
class CurveRow:
    """One line of ``results.csv``: an evaluation of one agent, or of a reference (at frame 0).

    Attributes:
        controller: ``seed0``, ``seed1`` and so on, or the reference's name.
        frames: Rounds trained on so far.
        goodput_tok_s: Interquartile mean of the evaluation episodes' goodput.
        low: Lower end of its 95 % interval.
        high: Its upper end.
        gain: Interquartile mean of the goodput over the heterogeneous controller's on the same seed, less 1.
        action_std: Mean standard deviation of the agent's actions; 0 for references.
    """

    controller: str
    frames: int
    goodput_tok_s: float
    low: float
    high: float
    gain: float
    action_std: float


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is trained.

    Attributes:
        scenario: The scenario's name.
        model_pair: The model pair's name.
        agent: The algorithm.
        action: The action layer.
        network: The network.
        teacher: A controller whose decisions the agent learns to imitate before it learns by itself, or ``none``.
        seeds: Number of agents, from seed 0 on.
        config: Changed fields of ``SystemConfig``.
        hyperparameters: Changed hyperparameters.
    """

    scenario: str
    model_pair: str
    agent: str = "ppo"
    action: str = "residual"
    network: str = "equivariant"
    teacher: str = "none"
    seeds: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.system()
        self.values()
        if self.teacher != "none" and self.action != "residual":
            raise ValueError(f"a teacher's decisions are shown as residual actions, not as {self.action} ones")
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")

    def system(self) -> SystemConfig:
        """The scenario's system."""
        return make_config(self.scenario, self.model_pair, self.config)

    def values(self) -> Hyperparameters:
        """The hyperparameters; a teacher brings some of its own."""
        values = Hyperparameters.load(self.agent, self.scenario, self.hyperparameters)
        if self.teacher == "none":
            return values
        return replace(values, initial_std=values.taught_std, learning_rate=values.taught_learning_rate)

    def command(self) -> str:
        """The command that trains this, less its output folder."""
        words = ["python", "-m", "train", "fit"]
        for name in ("scenario", "model_pair", "agent", "action", "network", "teacher", "seeds"):
            words += [f"--{name.replace('_', '-')}", str(getattr(self, name))]
        for name in ("config", "hyperparameters"):
            if getattr(self, name):
                words += [f"--{name}", json.dumps(getattr(self, name))]
        return shlex.join(words)

    def open_folder(self, path: Path) -> ResultsFolder[CurveRow]:
        """The folder for this training; its manifest holds all that decides it.

        Raises:
            FileExistsError: The folder holds something else.
        """
        manifest = {**asdict(self), "system": self.system().to_dict(), "values": asdict(self.values())}
        return ResultsFolder(path, manifest, CurveRow)


def fit(training: Training, folder: ResultsFolder[CurveRow], progress: Progress) -> list[CurveRow]:
    """Trains what the folder lacks; returns all evaluations.

    Every seed's best policy so far is in the folder's ``policies``, its last checkpoint in ``seedN``.

    Args:
        training: What to train.
        folder: Where everything goes, and from where an interrupted training goes on.
        progress: Where progress is shown.
    """
    evaluation = _Evaluation(training, folder)
    for seed in range(training.seeds):
        _Run(training, seed, folder, evaluation).finish(progress)
        _picture(folder.path / "learning_curve.png", training, folder.rows())
    return folder.rows()


def best_rows(rows: Sequence[CurveRow]) -> list[CurveRow]:
    """The references, and every agent's best evaluation: that of the policy kept."""
    best: dict[str, CurveRow] = {}
    for row in rows:
        if row.controller not in best or row.gain > best[row.controller].gain:
            best[row.controller] = row
    return list(best.values())


class _Evaluation:
    """Plays controllers on the evaluation seeds, the references first."""

    def __init__(self, training: Training, folder: ResultsFolder[CurveRow]) -> None:
        self._config = training.system()
        self._folder = folder
        played = {name: self._goodput(make_controller(name, training.model_pair)) for name in REFERENCES}
        self._reference = played["heterogeneous"]
        for name, goodput in played.items():
            self._append(name, 0, goodput, 0.0)

    def __call__(self, name: str, frames: int, controller: LearnedController, action_std: float) -> None:
        self._append(name, frames, self._goodput(controller), action_std)

    def _goodput(self, controller: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([episode.goodput_tok_s for episode in play(controller, self._config, EVALUATION_SEEDS)])

    def _append(self, name: str, frames: int, goodput: np.ndarray[Any, np.dtype[np.float64]], std: float) -> None:
        if any(row.controller == name and row.frames == frames for row in self._folder.rows()):
            return  # from a run that was interrupted right after it
        gain = interquartile_mean(goodput / self._reference - 1.0).value
        self._folder.append([CurveRow(name, frames, *interquartile_mean(goodput), gain, std)])


class _Run:
    """One agent's training."""

    def __init__(self, training: Training, seed: int, folder: ResultsFolder[CurveRow], evaluation: _Evaluation) -> None:
        self._training = training
        self._seed = seed
        self._name = f"seed{seed}"
        self._folder = folder
        self._path = folder.path / self._name
        self._evaluation = evaluation
        self._values = training.values()

    def finish(self, progress: Progress) -> None:
        """Trains the chunks that are left."""
        values = self._values
        env, reward = make_training_env(self._training.system(), self._training.action, values.lanes)
        agent = make_agent(env, self._training.system(), self._training.network, values, self._seed)
        agent.set_logger(configure(None, []))
        done = self._resume(agent, reward)
        if done is None:
            done = 0
            if self._training.teacher != "none":
                self._learn_from_teacher(agent, progress)
                self._checkpoint(agent, reward, 0)
        task = progress.add_task(self._name, total=values.chunks * values.chunk_frames)
        progress.update(task, completed=done * values.chunk_frames)
        for chunk in range(done, values.chunks):
            self._train_chunk(agent, env, chunk, _Advance(progress, task))
            self._checkpoint(agent, reward, chunk + 1)
        env.close()

    def _learn_from_teacher(self, agent: PPO, progress: Progress) -> None:
        assert isinstance(agent.policy, AllocationPolicy)
        training, values = self._training, self._values
        set_random_seed(self._seed)
        task = progress.add_task(f"{self._name}, lessons", total=values.lessons)
        teacher = make_controller(training.teacher, training.model_pair)
        lessons = attend(
            teacher, training.system(), values.lessons, self._seed, lambda rounds: progress.advance(task, rounds)
        )
        imitate(agent.policy.network, lessons, values.lesson_epochs)

    def _train_chunk(self, agent: PPO, env: SB3VecEnv, chunk: int, callback: BaseCallback) -> None:
        # Each chunk begins with episodes and random numbers that the seed and its number decide: so a training that
        # goes on from a checkpoint is the one that was never interrupted.
        rng = np.random.default_rng([self._seed, chunk])
        set_random_seed(int(rng.integers(2**31)))
        env.seed(int(rng.integers(*CHUNK_SEEDS)))
        agent._last_obs = None
        left = 1.0 - chunk / self._values.chunks
        agent.lr_schedule = FloatSchedule(
            self._values.learning_rate * (_LAST_LEARNING_RATE + (1.0 - _LAST_LEARNING_RATE) * left)
        )
        agent.learn(self._values.chunk_frames, callback, reset_num_timesteps=False)

    def _checkpoint(self, agent: PPO, reward: LongRunReward, chunks: int) -> None:
        assert isinstance(agent.policy, AllocationPolicy)
        controller = LearnedController(
            f"{self._training.scenario}-{self._training.model_pair}-{self._name}",
            agent.policy.network,
            self._training.action,
            self._training.system(),
        )

        self._path.mkdir(exist_ok=True)
        std = float(agent.policy.log_std.detach().exp().mean())
        self._evaluation(self._name, agent.num_timesteps, controller, std)
        mine = [row for row in self._folder.rows() if row.controller == self._name]
        if mine[-1].gain == max(row.gain for row in mine):
            controller.save(self._folder.path / "policies" / controller.name, self._facts(mine[-1]))
        # Where the state points counts: what an interruption leaves before that is done again, to the same result.
        agent.save(self._checkpoint_file(chunks))
        partial = self._path / "state.partial"
        partial.write_text(json.dumps({"chunks": chunks, "rate": reward.rate}) + "\n", encoding="utf-8")
        partial.replace(self._path / "state.json")
        self._checkpoint_file(chunks - 1).unlink(missing_ok=True)

    def _checkpoint_file(self, chunks: int) -> Path:
        return self._path / f"checkpoint{chunks}.zip"

    def _resume(self, agent: PPO, reward: LongRunReward) -> int | None:
        """Takes up the last checkpoint and returns the number of chunks done; None if there is no checkpoint."""
        if not (self._path / "state.json").exists():
            return None
        state = json.loads((self._path / "state.json").read_text(encoding="utf-8"))
        agent.set_parameters(str(self._checkpoint_file(state["chunks"])), device="cpu")
        agent.num_timesteps = state["chunks"] * self._values.chunk_frames
        reward.rate = state["rate"] and RunningRate(*state["rate"])
        return int(state["chunks"])

    def _facts(self, row: CurveRow) -> dict[str, Any]:
        training = self._training
        scores = {
            controller: found.goodput_tok_s
            for controller in REFERENCES
            for found in self._folder.rows()
            if found.controller == controller
        }
        return {
            "command": training.command(),
            "seed": self._seed,
            "scenario": training.scenario,
            "model_pair": training.model_pair,
            "frames": row.frames,
            "evaluation": {
                "seeds": [EVALUATION_SEEDS.start, EVALUATION_SEEDS.stop],
                "goodput_tok_s": {"policy": row.goodput_tok_s, **scores},
                "gain_over_heterogeneous": row.gain,
            },
            "hyperparameters": asdict(self._values),
            "versions": {
                "python": platform.python_version(),
                "multispin_env": multispin_env.__version__,
                "gymnasium": gymnasium.__version__,
                "numpy": np.__version__,
                "stable_baselines3": stable_baselines3.__version__,
                "torch": torch.__version__,
            },
        }


class _Advance(BaseCallback):
    """Moves a progress bar with every round of the lanes."""

    def __init__(self, progress: Progress, task: Any) -> None:
        super().__init__()
        self._progress = progress
        self._task = task

    def _on_step(self) -> bool:
        self._progress.advance(self._task, self.training_env.num_envs)
        return True


def _picture(path: Path, training: Training, rows: Sequence[CurveRow]) -> None:
    figure, (axes,) = new_figure(7.0, 4.0)
    for name in REFERENCES:
        value = next(row.goodput_tok_s for row in rows if row.controller == name)
        axes.axhline(value, color=COLOURS[name], linestyle="--", label=name)
    for seed in range(training.seeds):
        mine = [row for row in rows if row.controller == f"seed{seed}"]
        frames = [row.frames for row in mine]
        (line,) = axes.plot(frames, [row.goodput_tok_s for row in mine], marker=".", label=f"seed {seed}")
        axes.fill_between(
            frames, [row.low for row in mine], [row.high for row in mine], color=line.get_color(), alpha=0.15
        )
    axes.set_xlabel("rounds of training")
    axes.set_ylabel("goodput, tok/s (interquartile mean, 95 % interval)")
    axes.set_title(
        f"{training.agent}, {training.action} action, {training.network} network: "
        f"{training.scenario} / {training.model_pair}",
        fontsize=10,
    )
    axes.legend()
    save(figure, path)
