"""The reference protocol: every controller on the same seeds of one scenario, a row per controller and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from multispin_baselines import CONTROLLERS, Controller, make_controller

from multispin_env import SystemConfig, make_config
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.evaluation.rollout import Episode, play

# Seeds below are for training and tuning; a benchmark meets worlds that nobody has trained on.
FIRST_EVALUATION_SEED = 1_000_000

# The stochastic optima take longer than all the others together, and are asked for by name.
DEFAULT_CONTROLLERS = tuple(name for name in CONTROLLERS if name not in ("stochastic", "long-run"))

# Episodes played side by side, and written together: what an interruption can lose.
SEEDS_PER_BATCH = 16


@dataclass(frozen=True)
class Row:
    """One line of ``results.csv``."""

    scenario: str
    model_pair: str
    num_users: int
    controller: str
    seed: int
    tokens: int
    seconds: float
    goodput_tok_s: float
    decision_us: float
    jain_index: float


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a benchmark plays.

    Attributes:
        scenario: The scenario's name.
        model_pair: The model pair's name.
        seeds: Number of seeds, from ``FIRST_EVALUATION_SEED`` on.
        controllers: Their names, in the order of the table.
        policies: Learned policies to play after them: folders that ``multispin fit`` wrote, or names of shipped
            ones. Each is called after its folder.
        config: Changed fields of ``SystemConfig``.
    """

    scenario: str
    model_pair: str
    seeds: int
    controllers: tuple[str, ...] = DEFAULT_CONTROLLERS
    policies: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.system()
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        for name in self.controllers:
            make_controller(name, self.model_pair)
        for name in self.learned:
            if (*self.controllers, *self.learned).count(name) > 1:
                raise ValueError(f"a policy cannot be called {name!r} as a controller is; rename its folder")
        if len(self.learned) < len(self.policies):
            raise ValueError(f"policies need folders of different names, got {', '.join(self.policies)}")

    def system(self) -> SystemConfig:
        """The scenario's system."""
        return make_config(self.scenario, self.model_pair, self.config)

    @cached_property
    def learned(self) -> dict[str, Controller]:
        """The policies by name.

        Raises:
            FileNotFoundError: There is no such policy.
        """
        if not self.policies:
            return {}
        from multispin_agents.policy import (
            LearnedController,  # here, as it needs PyTorch, which the other controllers do not
        )

        return {policy.name: policy for policy in map(LearnedController.load, self.policies)}

    @property
    def names(self) -> tuple[str, ...]:
        """Everyone's name, in the order of the table."""
        return (*self.controllers, *self.learned)

    def make(self, name: str) -> Controller:
        """The controller or policy of that name."""
        return self.learned[name] if name in self.learned else make_controller(name, self.model_pair)

    def open_folder(self, path: Path) -> ResultsFolder[Row]:
        """The folder for this protocol's rows; its manifest holds all that decides them, constants included.

        Raises:
            FileExistsError: The folder holds something else.
        """
        manifest = {**asdict(self), "system": self.system().to_dict()}
        if self.policies:
            from multispin_agents.policy import fingerprint  # here, as it needs PyTorch

            manifest["policies"] = {
                name: fingerprint(path) for name, path in zip(self.learned, self.policies, strict=True)
            }
        return ResultsFolder(path, manifest, Row)


def run_benchmark(
    protocol: Protocol,
    folder: ResultsFolder[Row],
    on_progress: Callable[[str, int], None] = lambda name, rounds: None,
) -> list[Row]:
    """Plays what the folder lacks and returns all rows, in the order of controllers and seeds.

    Args:
        protocol: What to play.
        folder: Where rows go, and where rows of an earlier run are taken from.
        on_progress: Called with a controller's name and the rounds just finished, of all seeds together.
    """
    finished = {(row.controller, row.seed) for row in folder.rows()}
    config = protocol.system()
    seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + protocol.seeds)
    for name in protocol.names:
        missing = [seed for seed in seeds if (name, seed) not in finished]
        on_progress(name, (len(seeds) - len(missing)) * config.episode_rounds)
        for start in range(0, len(missing), SEEDS_PER_BATCH):
            batch = missing[start : start + SEEDS_PER_BATCH]
            controller = protocol.make(name)
            lanes = len(batch)
            episodes = play(controller, config, batch, lambda: on_progress(name, lanes))  # noqa: B023 (called at once)
            num_users = controller.system(config).num_users
            folder.append([_row(protocol, name, num_users, episode) for episode in episodes])
    order = {name: rank for rank, name in enumerate(protocol.names)}
    return sorted(folder.rows(), key=lambda row: (order[row.controller], row.seed))


def _row(protocol: Protocol, controller: str, num_users: int, episode: Episode) -> Row:
    return Row(
        scenario=protocol.scenario,
        model_pair=protocol.model_pair,
        num_users=num_users,
        controller=controller,
        seed=episode.seed,
        tokens=episode.tokens,
        seconds=episode.seconds,
        goodput_tok_s=episode.goodput_tok_s,
        decision_us=episode.decision_us,
        jain_index=episode.jain_index,
    )
