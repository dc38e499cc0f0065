"""The command ``multispin benchmark``."""

from __future__ import annotations

from pathlib import Path

import tyro
from rich.console import Console

from multispin_env.evaluation.evaluator import evaluation_seeds
from multispin_env.evaluation.results import ResultsFolder
from multispin_train.benchmark.protocol import Protocol, Row, run_benchmark
from multispin_train.benchmark.report import terminal_report, write_report
from multispin_train.display import CommandProgress
from multispin_train.workers import Workers


def benchmark(
    protocol: tyro.conf.OmitArgPrefixes[Protocol],
    output: Path,
    workers: tyro.conf.OmitArgPrefixes[Workers] = Workers(),  # noqa: B008 (frozen)
) -> None:
    """Plays every controller on the same seeds of one scenario.

    The reference protocol. Writes results.csv (a row per controller and seed, as they come), report.md and goodput.png;
    prints the table. Run again with the same arguments to go on after an interruption, or with more seeds, controllers
    or policies to extend a finished folder: nothing is played twice, and the report is of all that the folder holds.

    Example: multispin benchmark --scenario mobile --seeds 32 --output runs/mobile

    Args:
        protocol: What is played.
        output: A new folder, or one of the same scenario, pair and config.
        workers: Who plays. Decision times are those of a busy machine where several do.

    Raises:
        FileExistsError: The folder holds something else.
        KeyboardInterrupt: It was interrupted; the message says what was kept.
    """
    console = Console()
    folder = protocol.open_folder(output)
    rounds = protocol.seeds * protocol.system().episode_rounds
    with CommandProgress(console) as progress:
        tasks = {name: progress.add_task(name, start=False, total=rounds) for name in protocol.names}
        begun: set[str] = set()

        def show(name: str, played: int) -> None:
            if name in begun:
                progress.advance(tasks[name], played)
            else:
                begun.add(name)
                progress.begin(tasks[name], played)

        try:
            rows = run_benchmark(protocol, folder, show, workers=workers)
        except KeyboardInterrupt as interruption:
            raise KeyboardInterrupt(_kept(protocol, folder)) from interruption
    console.print(terminal_report(protocol, write_report(folder.path, protocol, rows)))
    console.print(f"report: {folder.path / 'report.md'}", highlight=False, markup=False, soft_wrap=True)


def _kept(protocol: Protocol, folder: ResultsFolder[Row]) -> str:
    """What an interruption leaves of a protocol's rows."""
    wanted = set(evaluation_seeds(protocol.seeds))
    seeds: dict[str, int] = {}
    for row in folder.rows():
        if row.seed in wanted:
            seeds[row.controller] = seeds.get(row.controller, 0) + 1
    kept = [f"{name} {seeds[name]} of {protocol.seeds} seeds" for name in protocol.names if name in seeds]
    if not kept:
        return f"interrupted before anything was finished; {folder.path} has no rows of these yet"
    return f"interrupted; {folder.path / 'results.csv'} keeps {', '.join(kept)}; run the same command to play the rest"
