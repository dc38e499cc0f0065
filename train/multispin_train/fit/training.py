"""Trains agents: in chunks, each of them decided by the seed alone, with an evaluation and a checkpoint after each.

Observations and rewards are brought to about unit size by documented constants, in the networks and in the reward, so
that no running statistics have to be kept with a policy.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import numpy as np
import sb3_contrib
import stable_baselines3
import torch
import tyro
from multispin_agents import NETWORKS
from multispin_agents.algorithms import (
    Hyperparameters,
    PPOHyperparameters,
    load_hyperparameters,
    make_agent,
    make_training_env,
)
from multispin_agents.lessons import take_lessons
from multispin_agents.networks import make_network_codec
from multispin_agents.policy import LearnedController
from multispin_agents.sb3_policies import AllocationPolicy, SquashedAllocationPolicy
from multispin_baselines import make_controller
from rich.progress import Progress
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import FloatSchedule, set_random_seed

import multispin_env
from multispin_env import SystemConfig
from multispin_env.config import whole
from multispin_env.envs.checks import check_choice
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.evaluation.rollout import play
from multispin_env.evaluation.statistics import interquartile_mean
from multispin_env.integrations.sb3 import SB3VecEnv
from multispin_train.fit.checkpoints import chunks_done, restore_checkpoint, save_checkpoint
from multispin_train.fit.learning_curve import REFERENCES, CurveRow, draw_learning_curve
from multispin_train.options import (
    MOST,
    Action,
    Agent,
    CheckedOptions,
    Config,
    HyperparameterChanges,
    ModelPair,
    Network,
    Scenario,
    command_line,
    make_system,
    one_of,
)

# All below the benchmark's seeds: evaluation during training has worlds of its own, and a chunk draws its seed between.
EVALUATION_SEEDS = range(900_000, 900_032)
CHUNK_SEEDS = (100_000, 800_000)
TEACHERS = ("none", "heterogeneous", "posterior", "predictive", "stochastic", "long-run")
_LAST_LEARNING_RATE = 0.1


@dataclass(frozen=True, kw_only=True)
class Training(CheckedOptions):
    """What is trained.

    Attributes:
        scenario: The scenario's name.
        model_pair: The model pair's name, or the path of a pair's .json file.
        agent: The algorithm: ppo; sac, which goes over old rounds again and takes longer over each; recurrent-ppo, with
            a memory of each user.
        action: What the agent's numbers are: lengths and bandwidth themselves (direct), or corrections of what the
            closed form is told, where zeros are the closed form (residual), or lengths, for which the closed form
            splits the band.
        network: One that treats users alike and serves any number of them, or a plain MLP.
        teacher: A controller whose decisions a ppo agent first learns to imitate, or none.
        seeds: Agents to train.
        first_seed: The first one's seed; the others' follow.
        users: Numbers of users to train and evaluate with, one after the other, for one agent that serves them all; by
            default the system's own.
        config: Changed fields of SystemConfig.
        hyperparameters: Changed values, such as '{"total_timesteps": 1000000}', of those in
            agents/multispin_agents/hyperparameters/AGENT.yaml.
    """

    scenario: Scenario = "mobile"
    model_pair: ModelPair = "llama2"
    agent: Agent = "ppo"
    action: Action = "residual"
    network: Network = "equivariant"
    teacher: Annotated[str, tyro.conf.arg(metavar=one_of(TEACHERS))] = "none"
    seeds: int = whole(1, MOST, default=1)
    first_seed: int = whole(0, MOST, default=0)
    users: Annotated[tuple[int, ...], tyro.conf.arg(metavar="K [K ...]", help_behavior_hint="")] = ()
    config: Config = field(default_factory=dict)
    hyperparameters: HyperparameterChanges = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("teacher", self.teacher, TEACHERS)
        # SAC's critics, and a memory that lessons of single rounds do not train, would undo what was learned.
        if self.teacher != "none" and self.agent != "ppo":
            raise ValueError(f"agent must be ppo to learn from a teacher, got {self.agent!r}")
        self.values()
        make_network_codec(self.action, self.systems()[0])  # refuses what networks cannot learn
        if self.network not in NETWORKS:
            raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {self.network!r}")
        if self.users:
            self._check_users()

    def _check_users(self) -> None:
        if len(set(self.users)) < len(self.users):
            raise ValueError(f"users must be different numbers, got {' '.join(map(str, self.users))}")
        if self.network != "equivariant":
            raise ValueError(f"network must be equivariant to serve several numbers of users, got {self.network}")
        # What is replayed of one number of users does not fit another's.
        if self.agent == "sac":
            raise ValueError(
                "users must be left out for sac, whose replay buffer is of one number of users, got "
                f"{' '.join(map(str, self.users))}"
            )

    def systems(self) -> tuple[SystemConfig, ...]:
        """The scenario's system, with each number of users."""
        system = make_system(self.scenario, self.model_pair, self.config)
        return tuple(system.updated({"num_users": users}) for users in self.users or (system.num_users,))

    @property
    def all_seeds(self) -> range:
        """The agents' seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def values(self) -> Hyperparameters:
        """The hyperparameters; an action layer, a scenario and a teacher each bring some of their own."""
        sections = [self.action, self.scenario, *(["taught"] if self.teacher != "none" else [])]
        return load_hyperparameters(self.agent, sections, self.hyperparameters)

    def command(self) -> str:
        """The command that trains this, less its output folder."""
        return command_line("fit", asdict(self))

    def open_folder(self, path: Path) -> ResultsFolder[CurveRow]:
        """The folder for this training; its manifest holds all that decides it.

        Raises:
            FileExistsError: The folder holds something else.
        """
        systems = [system.to_dict() for system in self.systems()]
        manifest = {**asdict(self), "systems": systems, "values": asdict(self.values())}
        return ResultsFolder(
            path,
            manifest,
            CurveRow,
            unique=("controller", "timesteps"),
            allowed={"controller": (*REFERENCES, *(f"seed{seed}" for seed in self.all_seeds))},
        )


def train(
    training: Training,
    folder: ResultsFolder[CurveRow],
    progress: Progress,
    on_evaluation: Callable[[CurveRow], None] = lambda row: None,
) -> list[CurveRow]:
    """Trains what the folder lacks; returns all evaluations.

    Every seed's best policy so far is in the folder's ``policies``; ``seedN`` has its last checkpoint and, for
    TensorBoard, the log of its training.

    Args:
        training: What to train.
        folder: Where everything goes, and from where an interrupted training goes on.
        progress: Where progress is shown.
        on_evaluation: Called with every new evaluation of an agent; what it raises ends the training.
    """
    evaluation = _Evaluation(training, folder)
    for seed in training.all_seeds:
        _Run(training, seed, folder, evaluation, on_evaluation).finish(progress)
        draw_learning_curve(
            folder.path / "learning_curve.png",
            f"{training.agent}, {training.action} action, {training.network} network: "
            f"{training.scenario} / {training.model_pair}",
            folder.rows(),
        )
    return folder.rows()


class _Evaluation:
    """Plays controllers on the evaluation seeds; the references before the first agent, if there is one to play."""

    def __init__(self, training: Training, folder: ResultsFolder[CurveRow]) -> None:
        self._model_pair = training.model_pair
        self._systems = training.systems()
        self._folder = folder

    def __call__(self, name: str, timesteps: int, controller: LearnedController, action_std: float) -> CurveRow:
        """An agent's evaluation after so many rounds, which is in the folder as well."""
        reference = self._reference
        return self._append(name, timesteps, self._goodput(controller), action_std, reference)

    @functools.cached_property
    def _reference(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """What the heterogeneous controller has in every episode."""
        played = {name: self._goodput(make_controller(name, self._model_pair)) for name in REFERENCES}
        reference = played["heterogeneous"]
        for name, goodput in played.items():
            self._append(name, 0, goodput, 0.0, reference)
        return reference

    def _goodput(self, controller: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array(
            [
                episode.goodput_tok_s
                for system in self._systems
                for episode in play(controller, system, EVALUATION_SEEDS, timed=False)
            ]
        )

    def _append(
        self,
        name: str,
        timesteps: int,
        goodput: np.ndarray[Any, np.dtype[np.float64]],
        std: float,
        reference: np.ndarray[Any, np.dtype[np.float64]],
    ) -> CurveRow:
        gain = interquartile_mean(goodput / reference - 1.0).value
        row = CurveRow(name, timesteps, *interquartile_mean(goodput), gain, std)
        # An interruption right after an evaluation leaves its row: the same one.
        if not any(old.controller == name and old.timesteps == timesteps for old in self._folder.rows()):
            self._folder.append([row])
        return row


class _Run:
    """One agent's training.

    Of several numbers of users each has its environments, and an agent of stable-baselines3 whose buffer has their
    shapes. These agents take turns, and all have the first one's weights and optimizer.
    """

    def __init__(
        self,
        training: Training,
        seed: int,
        folder: ResultsFolder[CurveRow],
        evaluation: _Evaluation,
        on_evaluation: Callable[[CurveRow], None],
    ) -> None:
        self._training = training
        self._seed = seed
        self._name = f"seed{seed}"
        self._folder = folder
        self._path = folder.path / self._name
        self._checkpoint_file = self._path / "checkpoint.pt"
        self._evaluation = evaluation
        self._on_evaluation = on_evaluation
        self._values = training.values()

    def finish(self, progress: Progress) -> None:
        """Trains the chunks that are left."""
        values = self._values
        done = chunks_done(self._checkpoint_file)
        if done is not None and done > values.chunks:
            raise ValueError(f"{self._checkpoint_file} must be of at most {values.chunks} chunks, got {done}")
        done_timesteps = (done or 0) * values.chunk_timesteps
        task = progress.add_task(self._name, total=values.chunks * values.chunk_timesteps, completed=done_timesteps)
        if done == values.chunks:
            return
        with ExitStack() as stack:
            logger = stack.enter_context(closing(configure(str(self._path / "tensorboard"), ["tensorboard"])))
            agents = []
            for system in self._training.systems():
                env = stack.enter_context(closing(make_training_env(system, self._training.action, values.num_envs)))
                agents.append(make_agent(env, system, self._training.network, values, self._seed))
                agents[-1].set_logger(logger)
                policies = agents[0].policy, agents[-1].policy
                if isinstance(policies[0], AllocationPolicy) and isinstance(policies[1], AllocationPolicy):
                    policies[1].share(policies[0])
            if done is None:
                if self._training.teacher != "none":
                    self._take_lessons(agents, progress)
                self._checkpoint(agents[0], 0)
            else:
                restore_checkpoint(self._checkpoint_file, agents[0])
            last = agents[0]
            for chunk in range(done or 0, values.chunks):
                agent = agents[chunk % len(agents)]
                agent.num_timesteps, agent._n_updates = last.num_timesteps, last._n_updates
                agent._episode_num = last._episode_num
                self._train_chunk(agent, chunk, _Advance(progress, task))
                self._checkpoint(agent, chunk + 1)
                last = agent

    def _take_lessons(self, agents: Sequence[BaseAlgorithm], progress: Progress) -> None:
        policy, envs = agents[0].policy, [agent.env for agent in agents if isinstance(agent.env, SB3VecEnv)]
        assert isinstance(policy, AllocationPolicy)
        assert isinstance(self._values, PPOHyperparameters)
        rng = np.random.default_rng([self._seed])
        for env in envs:
            env.seed(int(rng.integers(*CHUNK_SEEDS)))
        teacher = make_controller(self._training.teacher, self._training.model_pair)
        task = progress.add_task("lessons", total=self._values.lesson_rounds)
        take_lessons(
            policy.network, teacher, envs, self._values.lesson_rounds, lambda played: progress.advance(task, played)
        )

    def _train_chunk(self, agent: BaseAlgorithm, chunk: int, callback: BaseCallback) -> None:
        # Each chunk begins with episodes and random numbers that the seed and its number decide: so a training that
        # goes on from a checkpoint is the one that was never interrupted.
        rng = np.random.default_rng([self._seed, chunk])
        set_random_seed(int(rng.integers(2**31)))
        assert agent.env is not None
        agent.env.seed(int(rng.integers(*CHUNK_SEEDS)))
        agent._last_obs = None
        left = 1.0 - chunk / self._values.chunks
        agent.lr_schedule = FloatSchedule(
            self._values.learning_rate * (_LAST_LEARNING_RATE + (1.0 - _LAST_LEARNING_RATE) * left)
        )
        agent.learn(self._values.chunk_timesteps, callback, self._values.log_interval, reset_num_timesteps=False)

    def _checkpoint(self, agent: BaseAlgorithm, chunks: int) -> None:
        assert isinstance(agent.policy, AllocationPolicy | SquashedAllocationPolicy)
        pair = Path(self._training.model_pair).name.removesuffix(".json")  # a pair may be named by its file
        controller = LearnedController(
            f"{self._training.scenario}-{pair}-{self._name}",
            agent.policy.acting,
            self._training.action,
            self._training.systems()[0],
        )
        self._path.mkdir(exist_ok=True)
        row = self._evaluation(self._name, agent.num_timesteps, controller, agent.policy.action_std())
        for name, value in (("goodput_tok_s", row.goodput_tok_s), ("gain_over_heterogeneous", row.gain)):
            agent.logger.record(f"evaluation/{name}", value)
        agent.logger.dump(agent.num_timesteps)
        if row.gain == max(other.gain for other in self._folder.rows() if other.controller == self._name):
            controller.save(self._folder.path / "policies" / controller.name, self._facts(row))
        # What an interruption leaves before this is done again, to the same result.
        save_checkpoint(self._checkpoint_file, agent, chunks, last=chunks == self._values.chunks)
        self._on_evaluation(row)

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
            "agent": training.agent,
            "seed": self._seed,
            "scenario": training.scenario,
            "model_pair": training.model_pair,
            "timesteps": row.timesteps,
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
                "sb3_contrib": sb3_contrib.__version__,
                "torch": torch.__version__,
            },
        }


class _Advance(BaseCallback):
    """Moves a progress bar with every round of the environments, and logs the mean reward."""

    def __init__(self, progress: Progress, task: Any) -> None:
        super().__init__()
        self._progress = progress
        self._task = task

    def _on_step(self) -> bool:
        self._progress.advance(self._task, self.training_env.num_envs)
        self.logger.record_mean("rollout/reward", float(np.mean(self.locals["rewards"])))
        return True
