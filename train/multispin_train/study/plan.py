"""The study of learned controllers: agents trained for every question, played beside the controllers on unseen seeds.

Everything goes to one folder and comes back from it: an interrupted study goes on where it was.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from multispin_agents import AGENTS
from multispin_agents.algorithms import load_hyperparameters
from multispin_agents.policy import LearnedController
from multispin_baselines import Controller
from rich.progress import Progress

from multispin_env import PAPER_PAIRS, SystemConfig, make_config
from multispin_env.config import whole
from multispin_env.config.validation import check_fields
from multispin_env.evaluation.reference import FIRST_EVALUATION_SEED
from multispin_env.evaluation.results import ResultsFolder, read_rows
from multispin_env.evaluation.rollout import Episode, play
from multispin_train.fit.learning_curve import CurveRow
from multispin_train.fit.training import Training, train
from multispin_train.options import MOST, CheckedOptions, HyperparameterChanges
from multispin_train.study.heat import HEAT_CONFIG, HEAT_PLAYERS, HEAT_SETTINGS, make_player
from multispin_train.workers import Workers

SCENARIOS = ("mobile", "measured", "thermal", "paper", "requests")
FLAGSHIP = ("mobile", "llama2")
ACTIONS = ("direct", "lengths", "residual")
# Whose agents are trained where: in `paper` zeros of residual actions are the optimum already, and in `requests` the
# others would be taught what residual ones begin with.
TRAINED: Mapping[str, tuple[str, ...]] = {
    "mobile": ACTIONS,
    "paper": ("direct", "lengths"),
    "requests": ("residual",),
}
# Agents whose zeros are not the closed form first imitate it.
TEACHER = "predictive"
TAUGHT = ("direct", "lengths")
CONTROLLERS = ("heterogeneous", "posterior", "predictive", "long-run", "clairvoyant")
# On the first episodes only, and only where agents are trained.
SLOW = ("long-run",)
SLOW_SEEDS = 16
TRANSFER_CONTROLLERS = ("heterogeneous", "predictive")

# Agents of `mobile` are trained with all of these numbers of users, and played with the others than 20 as well, beside
# specialists trained with one of them.
USERS = (5, 10, 20, 40, 100)
OTHER_USERS = (5, 10, 40, 100)
# Speeds of all users in place of a mixture of three, m/s.
SPEEDS_M_S = (0.01, 0.1, 1.4, 10.0)
# The scenarios that the main questions are about.
MAIN = ("mobile", "requests")
# The names of settings.
FLAGSHIP_SETTING = "-".join(FLAGSHIP)
USER_SETTINGS = tuple(f"users-{users}" for users in OTHER_USERS)
SPEED_SETTINGS = tuple(f"speed-{speed:g}" for speed in SPEEDS_M_S)
HIDDEN_SETTING = "hidden-doppler"

# Evaluated and written together: what an interruption can lose.
SEEDS_PER_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Plan(CheckedOptions):
    """How much is trained and played.

    Attributes:
        training_seeds: Agents of every kind that the main questions are about, those of ``MAIN``.
        variant_seeds: Agents of every other kind.
        seeds: Episodes of everyone, on seeds that no training uses.
        hyperparameters: Changes for every agent that has them, to try the command, such as '{"total_timesteps": 4096}'.
    """

    training_seeds: int = whole(1, MOST, default=5)
    variant_seeds: int = whole(1, MOST, default=3)
    seeds: int = whole(1, MOST, default=64)
    hyperparameters: HyperparameterChanges = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = {name for agent in AGENTS for name in asdict(load_hyperparameters(agent, (), {}))}
        check_fields("hyperparameters", self.hyperparameters, sorted(known), [])

    @functools.cached_property
    def cells(self) -> dict[str, Training]:
        """What is trained, by name."""
        cells = {
            cell_name(scenario, pair, action): self._cell(
                scenario=scenario,
                model_pair=pair,
                action=action,
                teacher=TEACHER if action in TAUGHT else "none",
                users=USERS if scenario == FLAGSHIP[0] else (),
                seeds=self.training_seeds if scenario in MAIN else self.variant_seeds,
            )
            for scenario, actions in TRAINED.items()
            for pair in PAPER_PAIRS
            for action in actions
        }
        for users in OTHER_USERS:
            cells[f"users-{users}"] = self._cell(config={"num_users": users})
        for agent in AGENTS:
            cells[f"{HIDDEN_SETTING}-{agent}"] = self._cell(agent=agent, config=_HIDDEN)
        return cells

    def _cell(self, **fields: Any) -> Training:
        """A variant of the agents of the flagship setting, if nothing else is said."""
        usual = {
            "scenario": FLAGSHIP[0],
            "model_pair": FLAGSHIP[1],
            "action": "residual",
            "seeds": self.variant_seeds,
        }
        known = asdict(load_hyperparameters(fields.get("agent", "ppo"), (), {}))
        changes = {name: value for name, value in self.hyperparameters.items() if name in known}
        return Training(**{**usual, **fields}, hyperparameters=changes)

    @functools.cached_property
    def settings(self) -> dict[str, Setting]:
        """Where they are played, by name."""
        settings = {
            f"{scenario}-{pair}": Setting(
                scenario,
                pair,
                {},
                tuple(who for who in CONTROLLERS if who not in SLOW or scenario in TRAINED),
                agents_of(scenario, pair),
            )
            for scenario in SCENARIOS
            for pair in PAPER_PAIRS
        }
        scenario, pair = FLAGSHIP
        own = settings[FLAGSHIP_SETTING]
        for users in OTHER_USERS:
            name = f"users-{users}"
            settings[name] = Setting(scenario, pair, {"num_users": users}, TRANSFER_CONTROLLERS, (*own.cells, name))
        for speed in SPEEDS_M_S:
            changes = {"channel": {"speeds_m_s": [speed]}}
            settings[f"speed-{speed:g}"] = Setting(scenario, pair, changes, TRANSFER_CONTROLLERS, own.cells)
        hidden = tuple(name for name in self.cells if name.startswith(HIDDEN_SETTING))
        for name, own_pair in zip(HEAT_SETTINGS, PAPER_PAIRS, strict=True):
            settings[name] = Setting("thermal", own_pair, HEAT_CONFIG, ("predictive", *HEAT_PLAYERS.values()), ())
        settings[HIDDEN_SETTING] = Setting(scenario, pair, _HIDDEN, TRANSFER_CONTROLLERS, hidden)
        return settings


# Nobody tells how fast a user's channel changes.
_HIDDEN = {"channel": {"doppler_known": False}}


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
    """Name of the cell of equivariant PPO agents of a scenario, a pair and a kind of action."""
    return f"{scenario}-{model_pair}-{action}"


def agents_of(scenario: str, model_pair: str) -> tuple[str, ...]:
    """The cells whose agents play in a scenario: its own, or where none are trained those of ``mobile``."""
    trained = scenario if scenario in TRAINED else FLAGSHIP[0]
    return tuple(cell_name(trained, model_pair, action) for action in TRAINED[trained])


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
            allowed={"setting": plan.settings, "player": {*plan.cells, *CONTROLLERS, *HEAT_PLAYERS.values()}},
        )

    def cell_path(self, name: str) -> Path:
        """Where a cell's agents are."""
        return self.folder.path / "agents" / name

    def policy_path(self, name: str, training_seed: int) -> Path:
        """The best policy of one agent."""
        cell = self.plan.cells[name]
        policies = self.cell_path(name) / f"seed{training_seed}" / "policies"
        return policies / f"{cell.scenario}-{cell.model_pair}-seed{training_seed}"

    def curves(self, name: str) -> list[CurveRow]:
        """The evaluations of a cell's agents as they learned, and those of the references beside the first."""
        files = sorted(self.cell_path(name).glob("seed*/results.csv"))
        rows = [row for file in files for row in read_rows(file, CurveRow)]
        return list({(row.controller, row.timesteps): row for row in rows}.values())

    def run(self, workers: Workers, progress: Progress) -> list[StudyRow]:
        """Trains and plays what the folder lacks.

        Args:
            workers: Who does it; all of them read and write the study's folder.
            progress: Where progress is shown.
        """
        cells = self.plan.cells
        trained = [(name, seed) for name, cell in cells.items() for seed in range(cell.seeds)]
        task = progress.add_task("training", total=len(trained))
        pieces = [(cells[name], seed, self.cell_path(name)) for name, seed in trained]
        for _ in workers.work(_train_agent, pieces):
            progress.advance(task)
        self._play(workers, progress)
        return self.folder.rows()

    def _play(self, workers: Workers, progress: Progress) -> None:
        finished = {(row.setting, row.player, row.training_seed, row.seed) for row in self.folder.rows()}
        players = list(self._players())
        wanted = {player: self._seeds(player[1]) for player in players}
        task = progress.add_task("playing", total=sum(map(len, wanted.values())))
        pieces = []
        for player, seeds in wanted.items():
            left = [seed for seed in seeds if (*player, seed) not in finished]
            progress.advance(task, len(seeds) - len(left))
            name, who, training_seed = player
            setting = self.plan.settings[name]
            make = (
                functools.partial(make_player, who, setting.model_pair)
                if training_seed < 0
                else functools.partial(LearnedController.load, self.policy_path(who, training_seed))
            )
            for start in range(0, len(left), SEEDS_PER_BATCH):
                pieces.append((player, make, setting.system(), left[start : start + SEEDS_PER_BATCH]))
        for (player, *_), episodes in workers.work(_play_batch, pieces):
            self.folder.append([_row(*player, episode) for episode in episodes])
            progress.advance(task, len(episodes))

    def _seeds(self, who: str) -> range:
        seeds = min(self.plan.seeds, SLOW_SEEDS) if who in SLOW else self.plan.seeds
        return range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + seeds)

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


def _train_agent(cell: Training, seed: int, path: Path) -> None:
    torch.set_num_threads(1)
    # A folder each: several may be at work on one cell.
    own = replace(cell, first_seed=seed, seeds=1)
    train(own, own.open_folder(path / f"seed{seed}"), Progress(disable=True))


def _play_batch(
    player: tuple[str, str, int], make: Callable[[], Controller], system: SystemConfig, seeds: Sequence[int]
) -> list[Episode]:
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
