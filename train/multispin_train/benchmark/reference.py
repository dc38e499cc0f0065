"""The command ``multispin reference``: plays the reference controllers and writes what the package carries of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated

import tyro
from multispin_baselines import REFERENCE_CONTROLLERS
from rich.console import Console
from rich.progress import Progress, TaskID

from multispin_env import MODEL_PAIRS, SCENARIOS
from multispin_env.evaluation import reference as reference_results
from multispin_env.evaluation.reference import REFERENCE_SEEDS, ReferenceResults, reference_file, world_probe
from multispin_env.profiles import load_model_pair
from multispin_train.benchmark.protocol import Protocol, run_benchmark
from multispin_train.display import CommandProgress
from multispin_train.workers import Workers

Settings = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]", help_behavior_hint="")]


def all_settings() -> list[tuple[str, str]]:
    """Every scenario and pair that runs without language models."""
    return [
        (scenario, pair)
        for scenario in SCENARIOS
        for pair in MODEL_PAIRS
        if scenario != "live" and (scenario != "trace" or load_model_pair(pair).traces is not None)
    ]


def reference(
    output: Path,
    settings: Settings = (),
    workers: tyro.conf.OmitArgPrefixes[Workers] = Workers(),  # noqa: B008 (frozen)
) -> None:
    """Plays what the package carries as reference results.

    Plays the reference controllers on 64 seeds of every scenario and pair that runs without language models, and writes
    a file a setting into the package, where evaluate() reads them. After a change of what the environment does, run it
    with a new folder. Run again with the same arguments to go on after an interruption.

    Example: multispin reference --settings paper-llama2 --output runs/reference

    Args:
        output: A new folder, or one to go on with.
        settings: Scenarios and pairs, such as paper-llama2; all if none are given.
        workers: Who plays.

    Raises:
        ValueError: There is no such setting.
        FileExistsError: A folder below the output holds something else.
    """
    known = {"-".join(setting): setting for setting in all_settings()}
    for name in settings:
        if name not in known:
            raise ValueError(f"settings must be of {', '.join(known)}, got {name!r}")
    console = Console()
    with CommandProgress(console) as progress:
        files = write_references(
            output, progress, settings=[known[name] for name in settings or known], workers=workers
        )
    for file in files:
        console.print(str(file), highlight=False, markup=False, soft_wrap=True)


def write_references(
    output: Path,
    progress: Progress,
    *,
    settings: Sequence[tuple[str, str]] | None = None,
    seeds: int = REFERENCE_SEEDS,
    destination: Path | None = None,
    workers: Workers | None = None,
) -> list[Path]:
    """Plays the reference controllers in every setting and writes its file as soon as a setting is finished.

    Args:
        output: Where rows go as they come, a folder a setting; run again with the same one to go on.
        progress: Where to show how far it is.
        settings: Scenarios and pairs; :func:`all_settings` if not given.
        seeds: Episodes of every controller in every setting.
        destination: Where the files go; the package itself if not given.
        workers: Who plays; this process if not given.

    Returns:
        The files.

    Raises:
        FileExistsError: A folder below ``output`` holds something else, such as rows of another version's world.
    """
    destination = destination or Path(str(resources.files(reference_results)))
    protocols = [
        Protocol(scenario=scenario, model_pair=pair, seeds=seeds, controllers=REFERENCE_CONTROLLERS)
        for scenario, pair in (all_settings() if settings is None else settings)
    ]
    tasks = [
        progress.add_task(
            f"{protocol.scenario} / {protocol.model_pair}",
            start=False,
            total=len(protocol.names) * seeds * protocol.system().episode_rounds,
        )
        for protocol in protocols
    ]
    written = []
    for protocol, task in zip(protocols, tasks, strict=True):
        progress.start_task(task)
        file = destination / reference_file(protocol.scenario, protocol.model_pair)
        folder = protocol.open_folder(output / file.stem)
        advance = functools.partial(_advance, progress, task)
        rows = run_benchmark(protocol, folder, advance, timed=False, workers=workers)
        system = protocol.system()
        results = ReferenceResults(
            system=system.to_dict(),
            world=world_probe(system),
            seeds=sorted({row.seed for row in rows}),
            goodput_tok_s={
                name: [row.goodput_tok_s for row in rows if row.controller == name] for name in protocol.names
            },
        )
        reference_results.write_reference(file, results)
        written.append(file)
    return written


def _advance(progress: Progress, task: TaskID, name: str, played: int) -> None:
    progress.advance(task, played)
