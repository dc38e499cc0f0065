"""The study of learned controllers: agents trained for every question, played beside the controllers on unseen seeds.

Everything goes to one folder and comes back from it: an interrupted study goes on where it was.
"""

from __future__ import annotations

import functools
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from multispin_agents.policy import LearnedController
from multispin_baselines import Controller, make_controller
from rich.progress import Progress

from multispin_env import PAPER_PAIRS, SystemConfig, make_config
from multispin_env.config import whole
from multispin_env.evaluation.reference import FIRST_EVALUATION_SEED
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.evaluation.rollout import Episode, play
from multispin_env.files import read_text
from multispin_train.fit.training import Training, train
from multispin_train.options import MOST, CheckedOptions, HyperparameterChanges

SCENARIOS = ("paper", "requests", "mobile", "thermal")
FLAGSHIP = ("mobile", "llama2")
ACTIONS = ("direct", "residual")
TEACHER = "long-run"
CONTROLLERS = ("heterogeneous", "posterior", "predictive", "stochastic", "long-run", "clairvoyant")
SLOW = ("stochastic", "long-run")
# Where systems differ from the one trained on.
TRANSFER_CONTROLLERS = ("heterogeneous", "predictive")

# Numbers of users beside the 20 trained on, and speeds, m/s, of all users instead of a mixture of three.
USERS = (5, 10, 40)
SPEEDS_M_S = (0.01, 0.1, 1.4, 10.0)
# The names of these settings.
FLAGSHIP_SETTING = "-".join(FLAGSHIP)
USER_SETTINGS = tuple(f"users-{users}" for users in USERS)
SPEED_SETTINGS = tuple(f"speed-{speed:g}" for speed in SPEEDS_M_S)

# Rounds of training, by action and whether a teacher comes first. All take about a minute on one core.
ROUNDS = {
    ("direct", True): 98_304,
    ("residual", True): 65_536,
    ("direct", False): 196_608,
    ("residual", False): 98_304,
}

# Evaluated and written together: what an interruption can lose.
SEEDS_PER_BATCH = 32
_POLL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Plan(CheckedOptions):
    """How much is trained and played.

    Attributes:
        training_seeds: Agents of every kind.
        seeds: Episodes of everyone, on seeds that no training uses.
        hyperparameters: Changes for every agent, to try the command, such as '{"total_timesteps": 4096}'.
    """

    training_seeds: int = whole(1, MOST, default=5)
    seeds: int = whole(1, MOST, default=64)
    hyperparameters: HyperparameterChanges = field(default_factory=dict)

    @functools.cached_property
    def cells(self) -> dict[str, Training]:
        """What is trained, by name."""
        cells = {
            cell_name(scenario, pair, action): self._cell(action, scenario=scenario, model_pair=pair)
            for scenario in SCENARIOS
            for pair in PAPER_PAIRS
            for action in ACTIONS
        }
        for action in ACTIONS:
            cells[f"mlp-{action}"] = self._cell(action, network="mlp")
            cells[f"untaught-{action}"] = self._cell(action, teacher="none")
        cells["untaught-mlp-direct"] = self._cell("direct", network="mlp", teacher="none")
        for agent in ("sac", "recurrent-ppo"):
            cells[f"untaught-{agent}"] = self._cell("residual", agent=agent, teacher="none")
        for users in USERS:
            cells[f"users-{users}"] = self._cell("direct", config={"num_users": users})
        return cells

    def _cell(self, action: str, teacher: str = TEACHER, **fields: Any) -> Training:
        values = {"total_timesteps": ROUNDS[action, teacher != "none"], **self.hyperparameters}
        flagship = {"scenario": FLAGSHIP[0], "model_pair": FLAGSHIP[1]}
        return Training(
            **{**flagship, **fields}, action=action, teacher=teacher, seeds=self.training_seeds, hyperparameters=values
        )

    @functools.cached_property
    def settings(self) -> dict[str, Setting]:
        """Where they are played, by name."""
        settings = {
            f"{scenario}-{pair}": Setting(
                scenario,
                pair,
                {},
                CONTROLLERS,
                tuple(name for name, cell in self.cells.items() if _plays(cell, scenario, pair)),
            )
            for scenario in SCENARIOS
            for pair in PAPER_PAIRS
        }
        scenario, pair = FLAGSHIP
        transferred = tuple(cell_name(scenario, pair, action) for action in ACTIONS)
        for users in USERS:
            changes: dict[str, Any] = {"num_users": users}
            settings[f"users-{users}"] = Setting(
                scenario, pair, changes, TRANSFER_CONTROLLERS, (*transferred, f"users-{users}")
            )
        for speed in SPEEDS_M_S:
            changes = {"channel": {"speeds_m_s": [speed]}}
            settings[f"speed-{speed:g}"] = Setting(scenario, pair, changes, TRANSFER_CONTROLLERS, transferred)
        return settings


@dataclass(frozen=True)
class Setting:
    """Where controllers and agents are played.

    Attributes:
        scenario: The scenario.
        model_pair: The model pair.
        config: Changed fields of ``SystemConfig``.
        controllers: Who plays, of the controllers.
        cells: Who plays, of the agents.
    """

    scenario: str
    model_pair: str
    config: Mapping[str, Any]
    controllers: tuple[str, ...]
    cells: tuple[str, ...]

    def system(self) -> SystemConfig:
        """The system."""
        return make_config(self.scenario, self.model_pair, self.config)


@dataclass(frozen=True)
class StudyRow:
    """One line of ``results.csv``: an episode.

    Attributes:
        setting: Name of the setting.
        player: A controller's name, or a cell's.
        training_seed: Which of the cell's agents; -1 for controllers.
        seed: The episode's seed.
        tokens: Tokens of all users.
        seconds: Duration of all rounds.
        goodput_tok_s: The former over the latter.
        decision_us: Median time of a decision.
    """

    setting: str
    player: str
    training_seed: int
    seed: int
    tokens: int
    seconds: float
    goodput_tok_s: float
    decision_us: float


def cell_name(scenario: str, model_pair: str, action: str) -> str:
    """Name of the cell of equivariant PPO agents that cloned a teacher first."""
    return f"{scenario}-{model_pair}-{action}"


def _plays(cell: Training, scenario: str, model_pair: str) -> bool:
    return not cell.config and (cell.scenario, cell.model_pair) == (scenario, model_pair)


class Study:
    """A study in its folder.

    Args:
        path: The folder, new or of an interrupted study.
        plan: What is trained and played.

    Raises:
        FileExistsError: The folder holds something else.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        manifest = {
            "cells": {name: {**asdict(cell), "values": asdict(cell.values())} for name, cell in plan.cells.items()},
            "settings": {
                name: {**asdict(setting), "system": setting.system().to_dict()}
                for name, setting in plan.settings.items()
            },
            "seeds": plan.seeds,
        }
        self.plan = plan
        self.folder = ResultsFolder(
            path,
            manifest,
            StudyRow,
            unique=("setting", "player", "training_seed", "seed"),
            allowed={"setting": plan.settings, "player": {*plan.cells, *CONTROLLERS}},
        )

    def cell_path(self, name: str) -> Path:
        """Where a cell's agents are."""
        return self.folder.path / "agents" / name

    def policy_path(self, name: str, training_seed: int) -> Path:
        """The best policy of one agent."""
        cell = self.plan.cells[name]
        return self.cell_path(name) / "policies" / f"{cell.scenario}-{cell.model_pair}-seed{training_seed}"

    def run(self, jobs: int, progress: Progress) -> list[StudyRow]:
        """Trains and plays what the folder lacks.

        Args:
            jobs: Processes side by side.
            progress: Where progress is shown.
        """
        # A fresh interpreter each: threads of PyTorch do not survive a fork.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                self._train(pool, progress)
                self._play(pool, progress)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return self.folder.rows()

    def _train(self, pool: ProcessPoolExecutor, progress: Progress) -> None:
        cells = self.plan.cells
        wanted = {name: cell.seeds * (1 + cell.values().chunks) for name, cell in cells.items()}
        task = progress.add_task("training", total=sum(wanted.values()))
        waiting: set[Future[None]] = {
            pool.submit(_train_cell, cell, self.cell_path(name)) for name, cell in cells.items()
        }
        while waiting:
            time.sleep(_POLL_S)
            progress.update(task, completed=sum(self._evaluations(name) for name in cells))
            done = {future for future in waiting if future.done()}
            for future in done:
                future.result()
            waiting -= done
        progress.update(task, completed=sum(wanted.values()))

    def _evaluations(self, name: str) -> int:
        """Evaluations during training that a cell has so far."""
        file = self.cell_path(name) / "results.csv"
        if not file.exists():
            return 0
        return sum(line.startswith("seed") for line in read_text(file).splitlines())

    def _play(self, pool: ProcessPoolExecutor, progress: Progress) -> None:
        finished = {(row.setting, row.player, row.training_seed, row.seed) for row in self.folder.rows()}
        seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + self.plan.seeds)
        players = list(self._players())
        task = progress.add_task("playing", total=len(players) * len(seeds))
        missing: dict[tuple[str, str, int], list[int]] = {}
        for player in players:
            for seed in seeds:
                if (*player, seed) in finished:
                    progress.advance(task)
                else:
                    missing.setdefault(player, []).append(seed)
        waiting: dict[Future[list[Episode]], tuple[str, str, int]] = {}
        for player, left in missing.items():
            name, who, training_seed = player
            setting = self.plan.settings[name]
            make = (
                functools.partial(make_controller, who, setting.model_pair)
                if training_seed < 0
                else functools.partial(LearnedController.load, self.policy_path(who, training_seed))
            )
            for start in range(0, len(left), SEEDS_PER_BATCH):
                batch = left[start : start + SEEDS_PER_BATCH]
                waiting[pool.submit(_play_batch, make, setting.system(), batch)] = player
        for future in as_completed(waiting):
            episodes = future.result()
            self.folder.append([_row(*waiting[future], episode) for episode in episodes])
            progress.advance(task, len(episodes))

    def _players(self) -> Iterator[tuple[str, str, int]]:
        """Setting, controller or cell, and training seed. Agents and the quick controllers first."""
        for name, setting in self.plan.settings.items():
            for cell in setting.cells:
                for training_seed in range(self.plan.cells[cell].seeds):
                    yield name, cell, training_seed
        for slow in (False, True):
            for name, setting in self.plan.settings.items():
                for controller in setting.controllers:
                    if (controller in SLOW) == slow:
                        yield name, controller, -1


def _train_cell(cell: Training, path: Path) -> None:
    train(cell, cell.open_folder(path), Progress(disable=True))


def _play_batch(make: Callable[[], Controller], system: SystemConfig, seeds: Sequence[int]) -> list[Episode]:
    with warnings.catch_warnings():
        # Other systems than the one trained on are what is studied.
        warnings.filterwarnings("ignore", "policy .* was trained on another system")
        return play(make(), system, seeds)


def _row(setting: str, player: str, training_seed: int, episode: Episode) -> StudyRow:
    return StudyRow(
        setting,
        player,
        training_seed,
        episode.seed,
        episode.tokens,
        episode.seconds,
        episode.goodput_tok_s,
        episode.decision_us,
    )
