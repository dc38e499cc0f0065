"""The reference protocol: everyone on the same seeds of one scenario, a row per controller and seed."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from multispin_baselines import CONTROLLERS, REFERENCE_CONTROLLERS

from multispin_env import SystemConfig
from multispin_env.config import whole
from multispin_env.evaluation.evaluator import evaluation_seeds
from multispin_env.evaluation.reference import world_probe
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.evaluation.rollout import Episode, play
from multispin_train.benchmark.contestants import Contestant, ObservationSetting, find_controller, find_policy
from multispin_train.options import (
    MOST,
    CheckedOptions,
    Config,
    Controllers,
    EnvKwargs,
    ModelPair,
    Policies,
    Scenario,
    make_system,
)
from multispin_train.workers import Workers

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
class Protocol(CheckedOptions):
    """What a benchmark plays.

    Attributes:
        scenario: The scenario's name.
        model_pair: The model pair's name, or the path of a pair's .json file.
        seeds: Episodes of everyone. They are the same for all, and no training uses them.
        controllers: Controllers by name, or somebody's own as module:Class, where the module is installed or lies in
            the working directory: a class that can be called without arguments and has act(view) -> Allocation. By
            default all but the slow algorithm1, stochastic and long-run.
        policies: Learned policies beside them: folders that fit wrote, names of shipped policies, and zips that
            stable-baselines3 or sb3-contrib saved (FILE.zip, or as in PPO:FILE.zip where the algorithm cannot be
            told), which need --trust. Each is called after its folder or file.
        config: Changed fields of SystemConfig.
        env_kwargs: Arguments of the environment that the zips were trained in, such as {"action": "lengths"}; they
            say what their actions mean.
        vec_normalize: The file that VecNormalize.save wrote, if the zips were trained under one; needs --trust.
        trust: Load zips and statistics of stable-baselines3. They hold pickled Python objects, and loading them runs
            whatever code those name: give this only for files of people you trust. Nothing else that is loaded runs
            code, but a module that you name.

    Raises:
        ValueError: A field is wrong, somebody cannot play here, or two have one name.
        FileNotFoundError: There is no such policy.
    """

    scenario: Scenario = "mobile"
    model_pair: ModelPair = "llama2"
    seeds: int = whole(1, MOST, default=32)
    controllers: Controllers = REFERENCE_CONTROLLERS
    policies: Policies = ()
    config: Config = field(default_factory=dict)
    env_kwargs: EnvKwargs = field(default_factory=dict)
    vec_normalize: Path | None = None
    trust: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.controllers or self.policies):
            raise ValueError("controllers must be at least one where there are no policies, got none")
        if self.vec_normalize is not None and not any(text.endswith(".zip") for text in self.policies):
            raise ValueError(f"vec_normalize is for policies that are zips, and none is given: {self.vec_normalize}")
        names = [contestant.name for contestant in self.contestants]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"there are two called {name!r}; give each controller and policy once, and policies names of "
                    "their own: a policy is called after its folder or file"
                )

    def system(self) -> SystemConfig:
        """The scenario's system."""
        return make_system(self.scenario, self.model_pair, self.config)

    @cached_property
    def contestants(self) -> tuple[Contestant, ...]:
        """Everyone: controllers, then policies."""
        setting = ObservationSetting(
            system=self.system(), env_kwargs=self.env_kwargs, vec_normalize=self.vec_normalize, trust=self.trust
        )
        return (
            *(find_controller(text, self.model_pair, setting) for text in self.controllers),
            *(find_policy(text, setting) for text in self.policies),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Everyone's name."""
        return tuple(contestant.name for contestant in self.contestants)

    def open_folder(self, path: Path) -> ResultsFolder[Row]:
        """The folder for this protocol's rows: a new one, or one that others or other seeds were played in.

        Its manifest holds all that decides the rows: the system, how its world goes, and who everyone is. Everyone
        whom the folder has rows of stays in it.

        Raises:
            FileExistsError: The folder holds something else, or rows of another who has the same name.
        """
        system = self.system()
        manifest = {
            "scenario": self.scenario,
            "model_pair": self.model_pair,
            "config": json.loads(json.dumps(dict(self.config))),
            "system": system.to_dict(),
            "world": world_probe(system),
            "players": {contestant.name: contestant.identity for contestant in self.contestants},
        }
        return ResultsFolder(
            path,
            manifest,
            Row,
            unique=("controller", "seed"),
            allowed={"scenario": (self.scenario,), "model_pair": (self.model_pair,)},
            grows="players",
            key="controller",
        )


def run_benchmark(
    protocol: Protocol,
    folder: ResultsFolder[Row],
    on_progress: Callable[[str, int], None] = lambda name, rounds: None,
    *,
    timed: bool = True,
    workers: Workers | None = None,
) -> list[Row]:
    """Plays what the folder lacks and returns all its rows, by controller and seed, those of earlier runs included.

    Args:
        protocol: What to play.
        folder: Where rows go, and where rows of earlier runs are taken from.
        on_progress: Called with a name and the rounds just finished, of all seeds together; first, when its turn has
            come, with those of earlier runs.
        timed: Whether decisions are timed; where they are not, their time is NaN.
        workers: Who plays; this process if not given.

    Raises:
        ValueError: Somebody's decisions are impossible.
    """
    finished = {(row.controller, row.seed) for row in folder.rows()}
    config = protocol.system()
    seeds = evaluation_seeds(protocol.seeds)
    workers = workers or Workers()

    def pieces() -> Iterator[tuple[Contestant, SystemConfig, list[int], bool, Callable[[], None] | None]]:
        for contestant in protocol.contestants:
            name = contestant.name
            missing = [seed for seed in seeds if (name, seed) not in finished]
            on_progress(name, (len(seeds) - len(missing)) * config.episode_rounds)
            for start in range(0, len(missing), SEEDS_PER_BATCH):
                batch = missing[start : start + SEEDS_PER_BATCH]
                # Only here is there anybody to tell of single rounds.
                on_round = functools.partial(on_progress, name, len(batch)) if workers.in_this_process() else None
                yield contestant, config, batch, timed, on_round

    for (contestant, _, batch, _, on_round), (num_users, episodes) in workers.work(_played, pieces()):
        folder.append([_row(protocol, contestant.name, num_users, episode) for episode in episodes])
        if on_round is None:
            on_progress(contestant.name, len(batch) * config.episode_rounds)
    return in_order(folder.rows())


def _played(
    contestant: Contestant,
    config: SystemConfig,
    seeds: Sequence[int],
    timed: bool,
    on_round: Callable[[], None] | None,
) -> tuple[int, list[Episode]]:
    """How many users there are where the contestant plays, and its episodes."""
    player = contestant.make()
    try:
        episodes = play(player, config, seeds, on_round or (lambda: None), timed=timed)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{contestant.name} cannot go on: {error}") from error
    return player.transform_config(config).num_users, episodes


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Rows in the order of tables: known controllers as in ``CONTROLLERS``, others as they came; each by seed."""
    known = [name for name in CONTROLLERS if any(row.controller == name for row in rows)]
    order = {name: rank for rank, name in enumerate(dict.fromkeys([*known, *(row.controller for row in rows)]))}
    return sorted(rows, key=lambda row: (order[row.controller], row.seed))


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
