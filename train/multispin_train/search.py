"""Searches an agent's hyperparameters: short trainings, chosen and cut short by Optuna, on `fit`'s evaluation seeds."""

from __future__ import annotations

import csv
import io
import math
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import optuna
import torch
import tyro
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.console import Console
from rich.progress import Progress

from multispin_env import ConfigError
from multispin_env.config import shown, whole
from multispin_env.evaluation.plots import COLOURS, new_figure, save
from multispin_env.evaluation.results import claim_folder
from multispin_env.files import parse_json, read_text, write_atomically
from multispin_train.display import CommandProgress
from multispin_train.fit.learning_curve import CurveRow
from multispin_train.fit.training import Training, train
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
    check_count,
    command_line,
)
from multispin_train.workers import Workers

# Evaluations in a trial, at each of which it can be cut short, and trials that run to their end before any is.
EVALUATIONS = 5
_PATIENT_TRIALS = 6


class Between(NamedTuple):
    """Numbers of which each order of magnitude is as likely as another."""

    low: float
    high: float


# A tuple holds the values to choose from.
Range: TypeAlias = Between | tuple[Any, ...]

_EVERY_AGENT: dict[str, Range] = {
    "learning_rate": Between(3e-4, 1e-2),
    "initial_std": Between(0.03, 0.7),
    "batch_size": (128, 256, 512),
    "width": (32, 48, 64),
}
_ON_POLICY: dict[str, Range] = {
    **_EVERY_AGENT,
    "n_steps": (4, 8, 16, 32),
    "n_epochs": (1, 2, 3, 4, 6),
    "clip_range": Between(0.1, 0.4),
    "ent_coef": (0.0, 1e-4, 1e-3),
}
# The search space: what is searched for each agent. Where heat makes one round touch the next, GAMMAS as well.
SPACE: dict[str, dict[str, Range]] = {
    "ppo": _ON_POLICY,
    "recurrent-ppo": {**_ON_POLICY, "memory": (8, 16, 32)},
    "sac": {
        **_EVERY_AGENT,
        "gradient_steps": (1, 2, 4),
        "target_std": Between(0.05, 0.5),
        "initial_ent_coef": Between(1e-4, 1e-1),
    },
}
GAMMAS: Range = (0.0, 0.9, 0.97, 0.99, 0.995)


@dataclass(frozen=True, kw_only=True)
class Search(CheckedOptions):
    """What is searched for.

    Attributes:
        scenario: The scenario's name.
        model_pair: The model pair's name, or the path of a pair's .json file.
        agent: As for fit.
        action: As for fit.
        network: As for fit.
        total_timesteps: Rounds that a trial trains on.
        config: Changed fields of SystemConfig.
        hyperparameters: Values that are given and not searched, such as '{"width": 32}'.
    """

    scenario: Scenario = "mobile"
    model_pair: ModelPair = "llama2"
    agent: Agent = "ppo"
    action: Action = "residual"
    network: Network = "equivariant"
    total_timesteps: int = whole(1, MOST, default=100_000)
    config: Config = field(default_factory=dict)
    hyperparameters: HyperparameterChanges = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.training({})

    @property
    def task(self) -> Training:
        """What is to be trained, for one seed."""
        return Training(
            scenario=self.scenario,
            model_pair=self.model_pair,
            agent=self.agent,
            action=self.action,
            network=self.network,
            config=self.config,
            hyperparameters=self.hyperparameters,
        )

    def space(self) -> dict[str, Range]:
        """The ranges."""
        hot = self.task.systems()[0].heat.slowdown > 0.0
        space = {**SPACE[self.task.agent], **({"gamma": GAMMAS} if hot else {})}
        return {name: values for name, values in space.items() if name not in self.task.hyperparameters}

    def training(self, found: Mapping[str, Any]) -> Training:
        """A trial's training, with ``EVALUATIONS`` evaluations whatever its hyperparameters."""
        hyperparameters = {**self.task.hyperparameters, **found, "total_timesteps": self.total_timesteps}
        values = replace(self.task, hyperparameters=hyperparameters).values()
        updates = max(1, round(self.total_timesteps / EVALUATIONS / (values.num_envs * values.n_steps)))
        return replace(self.task, hyperparameters={**hyperparameters, "updates_per_chunk": updates})

    def command(self) -> str:
        """The command that searches this, less the number of trials and its output folder."""
        return command_line("search", asdict(self))


def search(
    task: tyro.conf.OmitArgPrefixes[Search],
    output: Path,
    trials: int = 30,
    workers: tyro.conf.OmitArgPrefixes[Workers] = Workers(),  # noqa: B008 (frozen)
) -> None:
    """Searches an agent's hyperparameters on one scenario.

    Runs short trainings with hyperparameters that Optuna chooses, and cuts those short that fall behind, judged on the
    seeds that fit evaluates on. Writes trials.csv and trials.png as they come and, at the end, best.yaml, a section for
    agents/multispin_agents/hyperparameters/AGENT.yaml. multispin_train/search.py says what is searched. Run again with
    the same arguments to go on after an interruption, or with more trials to go further. Several jobs train as many
    trials side by side, chosen together; which of them are cut short then depends on who is quicker.

    Example: multispin search --scenario mobile --agent ppo --trials 30 --output runs/search-mobile

    Args:
        task: What is searched for.
        output: A new folder, or one to go on with.
        trials: Trainings, those that the folder holds included.
        workers: Who trains; all of them read and write the output.

    Raises:
        FileExistsError: The folder holds something else.
        ValueError: There is not a single trial, or none that ran to its end.
    """
    console = Console()
    with CommandProgress(console) as progress:
        run_search(task, trials, output, workers, progress)
    console.print((output / "best.yaml").read_text(encoding="utf-8"), highlight=False, markup=False, end="")
    console.print(f"trials: {output / 'trials.csv'}", highlight=False, markup=False, soft_wrap=True)


def run_search(wanted: Search, trials: int, output: Path, workers: Workers, progress: Progress) -> dict[str, Any]:
    """Runs the trials that the folder lacks and writes ``best.yaml``, a section for the agent's file.

    The first trial has the values that the file has now; later ones are the choice of a tree-structured Parzen
    estimator, and are cut short where they fall behind the median of those before them. ``trials.csv`` and
    ``trials.png`` are written after each.

    Args:
        wanted: What to search for.
        trials: Number of trials, those that the folder holds included.
        output: A new or empty folder, or one of the same search.
        workers: Who trains.
        progress: Where progress is shown.

    Returns:
        The hyperparameters found.

    Raises:
        FileExistsError: The folder holds something else.
        ValueError: There is not a single trial, or none that ran to its end.
    """
    check_count("trials", trials)
    manifest = {
        **asdict(wanted.task),
        "total_timesteps": wanted.total_timesteps,
        "space": wanted.space(),
        "evaluations": EVALUATIONS,
    }
    claim_folder(output, manifest)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _resumed(output / "optuna.journal", wanted)
    task = progress.add_task("trials", total=trials, completed=len(_finished(study)))
    while (left := trials - len(_finished(study))) > 0:
        pieces = [(number, wanted, output) for number in _next_trials(study, wanted, min(workers.jobs, left))]
        for (number, *_), failure in workers.work(_run, pieces):
            if failure is not None:
                progress.console.print(f"trial {number} failed: {failure}", highlight=False, markup=False)
            progress.advance(task)
            _write_trials(output / "trials.csv", study, wanted)
            _picture(output / "trials.png", study, wanted)
    return _write_best(output / "best.yaml", study, wanted)


def _open_study(journal: Path) -> optuna.Study:
    """The study that the journal holds, or a new one."""
    return optuna.create_study(
        study_name="search",
        storage=JournalStorage(JournalFileBackend(str(journal))),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_PATIENT_TRIALS),
        direction="maximize",
        load_if_exists=True,
    )


def _resumed(journal: Path, wanted: Search) -> optuna.Study:
    """The same, while nobody else writes to the journal; what an interruption cut off is removed.

    Raises:
        ValueError: The journal holds something else.
    """
    if journal.exists():
        # Optuna appends to it. What was cut off in the middle of a line did not happen.
        text = read_text(journal)
        if not text.endswith("\n"):
            text = text[: text.rfind("\n") + 1]
            write_atomically(journal, text)
        for number, line in enumerate(text.splitlines(), start=1):
            if not isinstance(parse_json(line, f"{journal}, entry {number}"), dict):
                raise ConfigError(f"{journal}, entry {number}: must be an object, got {shown(line)}")
    try:
        study = _open_study(journal)
        trials = study.get_trials(deepcopy=False)
    except OSError:
        raise
    except Exception as error:  # what Optuna raises over entries that are not its own has no type in common
        raise ConfigError(
            f"{journal} is not the journal of a search of ours: {type(error).__name__}: {error}"
        ) from error
    expected = {name: _distribution(values) for name, values in wanted.space().items()}
    for trial in trials:
        drawn = trial.distributions
        if not drawn.items() <= expected.items() or (trial.state.is_finished() and drawn != expected):
            raise ConfigError(f"{journal}: trial {trial.number} is not of this search's space, {', '.join(expected)}")
    return study


def _distribution(values: Range) -> BaseDistribution:
    if isinstance(values, Between):
        return FloatDistribution(*values, log=True)
    return CategoricalDistribution(values)


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))


def _next_trials(study: optuna.Study, wanted: Search, count: int) -> list[int]:
    """Numbers of trials with hyperparameters to train with: those that were interrupted, and new ones."""
    interrupted = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))[:count]
    trials = [Trial(study, trial._trial_id) for trial in interrupted]
    values = asdict(wanted.training({}).values())
    current = {name: values[name] for name in wanted.space()}
    if not study.trials:
        study.enqueue_trial(current)
    # The file's values decide as well: where a search has found them, this one is to draw others.
    first_seed = zlib.crc32(repr(current).encode())
    while len(trials) < count:
        # And the number of trials: a search that goes on does not draw the same numbers again.
        study.sampler = optuna.samplers.TPESampler(seed=(first_seed + len(study.trials)) % 2**32)
        trials.append(study.ask())
        _suggest(trials[-1], wanted)
    return [trial.number for trial in trials]


def _suggest(trial: Trial, wanted: Search) -> None:
    for name, values in wanted.space().items():
        if isinstance(values, Between):
            trial.suggest_float(name, *values, log=True)
        else:
            trial.suggest_categorical(name, values)


def _run(number: int, wanted: Search, output: Path) -> str | None:
    """Trains with a trial's hyperparameters and tells the study what came of it; returns why it failed, if it did."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _open_study(output / "optuna.journal")
    trial = Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)
    _suggest(trial, wanted)  # what was interrupted while it was asked for
    training = wanted.training(_rounded(trial.params))
    folder = training.open_folder(output / "trials" / str(number))

    def report(row: CurveRow) -> None:
        if not row.timesteps:  # before training
            return
        trial.report(row.gain, row.timesteps // training.values().chunk_timesteps)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        rows = train(training, folder, Progress(disable=True), report)
        study.tell(trial, max(row.gain for row in rows if row.controller == "seed0" and row.timesteps))
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
        shutil.rmtree(folder.path / "seed0")
    except ValueError as error:  # such as actions that are no longer numbers
        study.tell(trial, state=TrialState.FAIL)
        return str(error)
    return None


def _rounded(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with two digits, which is as much as can be found out about them."""
    return {name: float(f"{value:.2g}") if isinstance(value, float) else value for name, value in params.items()}


def _gain(trial: FrozenTrial) -> float:
    """A trial's best gain over heterogeneous so far."""
    return max(trial.intermediate_values.values(), default=math.nan)


def _write_trials(path: Path, study: optuna.Study, wanted: Search) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["trial", "state", "evaluations", "best_gain", *wanted.space()])
    for trial in _finished(study):
        found = _rounded(trial.params)
        outcome = [trial.number, trial.state.name.lower(), len(trial.intermediate_values), _gain(trial)]
        writer.writerow([*outcome, *(found[name] for name in wanted.space())])
    write_atomically(path, text.getvalue())


def _write_best(path: Path, study: optuna.Study, wanted: Search) -> dict[str, Any]:
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        raise ValueError("no trial ran to its end; see the messages above")
    found = _rounded(study.best_trial.params)
    write_atomically(
        path,
        f"# Trial {study.best_trial.number} of {len(_finished(study))} of\n# {wanted.command()}\n"
        f"# {100.0 * study.best_value:+.1f} % over heterogeneous on the evaluation seeds.\n"
        + yaml.safe_dump({wanted.task.scenario: found}, sort_keys=False),
    )
    return found


def _picture(path: Path, study: optuna.Study, wanted: Search) -> None:
    space = wanted.space()
    columns = 4
    figure, panels = new_figure(
        14.0, 3.2 * math.ceil((1 + len(space)) / columns), math.ceil((1 + len(space)) / columns), columns
    )
    for panel in panels[1 + len(space) :]:
        panel.set_visible(False)
    for state, colour in ((TrialState.PRUNED, COLOURS["fixed"]), (TrialState.COMPLETE, COLOURS["homogeneous"])):
        trials = study.get_trials(deepcopy=False, states=(state,))
        gains = [100.0 * _gain(trial) for trial in trials]
        panels[0].scatter([trial.number for trial in trials], gains, color=colour, label=state.name.lower())
        for panel, (name, values) in zip(panels[1:], space.items(), strict=False):
            found = [_rounded(trial.params)[name] for trial in trials]
            if isinstance(values, Between):
                panel.set_xscale("log")
                panel.minorticks_off()
                marks = (values.low, math.sqrt(values.low * values.high), values.high)
                panel.set_xticks(marks, [f"{mark:.2g}" for mark in marks])
            else:
                panel.set_xticks(range(len(values)), [f"{value:g}" for value in values])
                found = [values.index(value) for value in found]
            panel.scatter(found, gains, color=colour)
            panel.set_xlabel(name)
    panels[0].set_xlabel("trial")
    panels[0].legend()
    panels[0].set_ylabel("best gain over heterogeneous, %")
    save(figure, path)
