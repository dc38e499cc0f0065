"""``python -m train COMMAND``: every command of the project; ``--help`` after a command explains it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agents import AGENTS, NETWORKS
from agents.layers import LAYERS
from baselines import CONTROLLERS
from multispin_env import MODEL_PAIRS, SCENARIOS
from train import calibrate, paper, speed, tune
from train.benchmark import DEFAULT_CONTROLLERS, Protocol, run_benchmark
from train.report import terminal_table, write_report


def _config(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"must be a JSON object, got {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train", description="Commands of multispin_env.")
    commands = parser.add_subparsers(dest="command", required=True)

    benchmark = commands.add_parser(
        "benchmark",
        help="play every controller on the same seeds of one scenario",
        description="The reference protocol. Writes results.csv (a row per controller and seed, as they come), "
        "report.md and goodput.png; prints the table. Run again with the same arguments to go on after an "
        "interruption.",
        epilog="example: python -m train benchmark --scenario mobile --seeds 32 --output runs/mobile",
    )
    benchmark.add_argument("--scenario", choices=list(SCENARIOS), default="mobile", help="default: %(default)s")
    benchmark.add_argument("--model-pair", choices=MODEL_PAIRS, default="llama2", help="default: %(default)s")
    benchmark.add_argument(
        "--seeds", type=int, default=32, metavar="N", help="episodes a controller (default: %(default)s)"
    )
    benchmark.add_argument(
        "--controllers",
        nargs="+",
        choices=list(CONTROLLERS),
        default=list(DEFAULT_CONTROLLERS),
        metavar="NAME",
        help=f"of {', '.join(CONTROLLERS)} (default: all but the slow `stochastic`)",
    )
    benchmark.add_argument(
        "--policy",
        nargs="+",
        default=[],
        metavar="PATH",
        help="learned policies beside them: folders that `fit` wrote, or names of shipped policies",
    )
    benchmark.add_argument(
        "--config",
        type=_config,
        default={},
        metavar="JSON",
        help="changed SystemConfig fields, e.g. '{\"num_users\": 5}'",
    )
    benchmark.add_argument("--output", type=Path, required=True, metavar="DIR", help="new, or one to go on with")
    benchmark.set_defaults(run=_benchmark)

    training = commands.add_parser(
        "fit",
        help="train agents on one scenario",
        description="Trains an agent per seed and evaluates it as it learns, beside the heterogeneous and the robust "
        "controller, on seeds that no benchmark uses. Writes results.csv (the evaluations), learning_curve.png and, "
        "for each seed, the best policy with its card in DIR/policies, which `benchmark --policy` takes. Run again "
        "with the same arguments to go on after an interruption: the result is the same. On one core a million rounds "
        "of 20 users take about ten minutes, the lessons of a teacher one or two.",
        epilog="example: python -m train fit --scenario mobile --teacher stochastic --output runs/fit-mobile",
    )
    training.add_argument("--scenario", choices=list(SCENARIOS), default="mobile", help="default: %(default)s")
    training.add_argument("--model-pair", choices=MODEL_PAIRS, default="llama2", help="default: %(default)s")
    training.add_argument("--agent", choices=AGENTS, default="ppo", help="algorithm (default: %(default)s)")
    training.add_argument(
        "--action",
        choices=list(LAYERS),
        default="residual",
        help="what the agent's numbers are: lengths and bandwidth themselves (direct), or corrections of what the "
        "closed form is told, where zeros are the closed form (residual; default)",
    )
    training.add_argument(
        "--network",
        choices=NETWORKS,
        default="equivariant",
        help="one that treats users alike and serves any number of them, or a plain MLP (default: %(default)s)",
    )
    training.add_argument(
        "--teacher",
        choices=("none", "posterior", "robust", "stochastic"),
        default="none",
        help="a controller to imitate first, with residual actions; `stochastic` is the one to learn from "
        "(default: %(default)s)",
    )
    training.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="agents to train, from seed 0 on (default: %(default)s)"
    )
    training.add_argument(
        "--config",
        type=_config,
        default={},
        metavar="JSON",
        help="changed SystemConfig fields, e.g. '{\"num_users\": 5}'",
    )
    training.add_argument(
        "--hyperparameters",
        type=_config,
        default={},
        metavar="JSON",
        help="changed values of agents/hyperparameters/AGENT.yaml, e.g. '{\"frames\": 1000000}'",
    )
    training.add_argument("--output", type=Path, required=True, metavar="DIR", help="new, or one to go on with")
    training.set_defaults(run=_fit)

    figures = commands.add_parser(
        "paper",
        help="the paper's figures 3, 4, 6, 7 and 8 beside ours",
        description="Reproduces the paper's figures: a picture each, and one Markdown report with the paper's values "
        "beside ours. Run again with the same arguments to go on after an interruption.",
    )
    figures.add_argument("--output", type=Path, required=True, metavar="DIR", help="new, or one to go on with")
    figures.add_argument(
        "--seeds", type=int, default=paper.DEFAULT_SEEDS, metavar="N", help="episodes a point (default: %(default)s)"
    )
    figures.set_defaults(run=_paper)

    fitting = commands.add_parser(
        "calibrate",
        help="fit the constants that the paper does not print",
        description="Fits the power to noise ratio and each pair's drafting latencies to figures 6 to 8, prints them "
        "with the residuals and writes calibration.json. The presets hold the committed fit.",
    )
    fitting.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    fitting.set_defaults(run=_calibrate)

    tuning = commands.add_parser(
        "tune",
        help="tune the robust controller's two margins",
        description="Plays the robust controller on a grid of rate quantile and posterior weight in `mobile`, on "
        "training seeds, for each pair; writes the rows as they come, margins.json and margins.png. "
        "baselines/margins.json is the committed result.",
    )
    tuning.add_argument("--output", type=Path, required=True, metavar="DIR", help="new, or one to go on with")
    tuning.add_argument(
        "--seeds", type=int, default=tune.DEFAULT_SEEDS, metavar="N", help="episodes a point (default: %(default)s)"
    )
    tuning.set_defaults(run=_tune)
    speed_command = commands.add_parser(
        "speed",
        help="measure the environment, the optimum and training beside floors and references",
        description="Takes a few minutes, on an otherwise idle machine; writes speed.json and speed.png, prints "
        "rates and ratios. Each figure is the median of several repetitions, with the slowest and the fastest.",
    )
    speed_command.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    speed_command.set_defaults(run=_speed)
    return parser


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _benchmark(arguments: argparse.Namespace, console: Console) -> None:
    protocol = Protocol(
        scenario=arguments.scenario,
        model_pair=arguments.model_pair,
        seeds=arguments.seeds,
        controllers=tuple(arguments.controllers),
        policies=tuple(arguments.policy),
        config=arguments.config,
    )
    folder = protocol.open_folder(arguments.output)
    rounds = protocol.seeds * protocol.system().episode_rounds
    with _progress(console) as progress:
        tasks = {name: progress.add_task(name, total=rounds) for name in protocol.names}
        rows = run_benchmark(protocol, folder, lambda name, played: progress.advance(tasks[name], played))
    console.print(terminal_table(protocol, write_report(folder.path, protocol, rows)))
    console.print(f"report: {folder.path / 'report.md'}")


def _fit(arguments: argparse.Namespace, console: Console) -> None:
    from train import fit  # here, as it needs PyTorch, which no other command does

    names = ("scenario", "model_pair", "agent", "action", "network", "teacher", "seeds", "config", "hyperparameters")
    training = fit.Training(**{name: getattr(arguments, name) for name in names})
    folder = training.open_folder(arguments.output)
    with _progress(console) as progress:
        rows = fit.fit(training, folder, progress)
    for row in fit.best_rows(rows):
        console.print(
            f"{row.controller:<16}{row.goodput_tok_s:7.1f} tok/s {100.0 * row.gain:+6.1f} % over heterogeneous"
        )
    console.print(f"policies: {arguments.output / 'policies'}")


def _paper(arguments: argparse.Namespace, console: Console) -> None:
    with _progress(console) as progress:
        report = paper.reproduce(arguments.output, arguments.seeds, progress)
    console.print(Markdown(report.read_text(encoding="utf-8")))
    console.print(f"report: {report}")


def _calibrate(arguments: argparse.Namespace, console: Console) -> None:
    with _progress(console) as progress:
        console.print_json(data=calibrate.calibrate(arguments.output, progress))


def _tune(arguments: argparse.Namespace, console: Console) -> None:
    with _progress(console) as progress:
        console.print_json(data=tune.tune(arguments.output, arguments.seeds, progress))


def _speed(arguments: argparse.Namespace, console: Console) -> None:
    with _progress(console) as progress:
        measurements = speed.measure_all(arguments.output, progress)
    for table in speed.tables(measurements):
        console.print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    console = Console()
    try:
        arguments.run(arguments, console)
    except (ValueError, TypeError, OSError) as error:
        Console(stderr=True).print(f"[bold red]error:[/] {error}", highlight=False)
        return 2
    except ModuleNotFoundError as error:
        needed = "agents need the extra `train`: pip install --editable '.[train]'"
        Console(stderr=True).print(f"error: {error}; {needed}", highlight=False, markup=False)
        return 2
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; finished rows are kept, run the same command to go on")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
