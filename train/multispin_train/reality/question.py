"""What reality says: a measured pair beside the formulas, and whether the controllers' ranking holds on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import tyro
from multispin_baselines import REFERENCE_CONTROLLERS
from rich.progress import Progress

from multispin_env import MODEL_PAIRS
from multispin_env.config import whole
from multispin_env.evaluation.results import claim_folder, read_rows
from multispin_env.profiles import load_model_pair, load_traces
from multispin_train.benchmark.protocol import Protocol, run_benchmark
from multispin_train.benchmark.report import CEILING, REFERENCE
from multispin_train.options import MOST, CheckedOptions, Controllers, Policies
from multispin_train.reality.analysis import Analysis, analyse
from multispin_train.reality.findings import Findings, Truncation
from multispin_train.reality.report import write_report
from multispin_train.reality.resampling import RESAMPLES


@dataclass(frozen=True, kw_only=True)
class Question(CheckedOptions):
    """What is asked.

    Attributes:
        model_pair: A pair with measured requests: a file that measure wrote, or a built-in name.
        seeds: Episodes of everyone in each world.
        controllers: Controllers that play, as for benchmark; heterogeneous and clairvoyant are among them.
        policies: Learned policies beside them: folders that fit wrote, or names of shipped policies.

    Raises:
        ValueError: The pair has no measured requests, or a controller or a number is wrong.
        FileNotFoundError: There is no such policy.
    """

    model_pair: Annotated[str, tyro.conf.arg(metavar="PAIR")]
    seeds: int = whole(1, MOST, default=32)
    controllers: Controllers = REFERENCE_CONTROLLERS
    policies: Policies = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        missing = [name for name in (REFERENCE, CEILING) if name not in self.controllers]
        if missing:
            raise ValueError(f"controllers must include {' and '.join(missing)}, got {', '.join(self.controllers)}")
        self._protocol("trace", {})  # refuses what cannot be played, before anything is

    def worlds(self, analysis: Analysis) -> dict[str, Protocol]:
        """The same channel three times: acceptance independent, drifting as fitted, and replayed as measured."""
        drift = analysis.outcome
        tasks = [
            {
                "name": task.name,
                "acceptance_mean": task.acceptance_mean,
                "acceptance_std": round(drift.possible_rate_std(task.acceptance_mean), 4),
            }
            for task in load_model_pair(self.model_pair).tasks
        ]
        fitted = {
            "tasks": tasks,
            # To four digits, so that another machine's last digit does not make other worlds of them.
            "drift_share": round(drift.share.value, 4),
            "drift_correlation_tokens": round(drift.correlation_tokens.value, 4),
        }
        changed: dict[str, tuple[str, dict[str, Any]]] = {
            "independent": ("mobile", {"requests": {"drift_share": 0.0}}),
            "drifting": ("mobile", {"requests": fitted}),
            "trace": ("trace", {}),
        }
        return {world: self._protocol(scenario, config) for world, (scenario, config) in changed.items()}

    def _protocol(self, scenario: str, config: Mapping[str, Any]) -> Protocol:
        return Protocol(
            scenario=scenario,
            model_pair=self.model_pair,
            seeds=self.seeds,
            controllers=self.controllers,
            policies=self.policies,
            config=config,
        )


def answer(question: Question, output: Path, progress: Progress, resamples: int = RESAMPLES) -> Path:
    """Analyses the traces, plays the worlds and writes the page.

    Args:
        question: What is asked.
        output: A new folder, or one to go on with; each world's rows go into a folder of its name as they come.
        progress: Where to show how far it is.
        resamples: Bootstrap resamples of the requests.

    Returns:
        The page, ``output/reality.md``; its pictures lie beside it.

    Raises:
        FileExistsError: The folder holds something else.
    """
    traces = load_traces(question.model_pair)
    text = _text(question.model_pair)
    # By content: the file may be measured again.
    digest = hashlib.sha256(text.encode()).hexdigest()
    claim_folder(output, {**asdict(question), "resamples": resamples, "pair": digest})

    fits = progress.add_task("traces", total=2 * (1 + resamples))
    analysis = analyse(traces, resamples, lambda: progress.advance(fits))
    rows = {}
    worlds = question.worlds(analysis)
    for world, protocol in worlds.items():
        folder = protocol.open_folder(output / world)
        rounds = protocol.seeds * protocol.system().episode_rounds
        task = progress.add_task(world, total=len(protocol.names) * rounds)
        rows[world] = run_benchmark(protocol, folder, lambda name, played: progress.advance(task, played))  # noqa: B023
    findings = Findings(
        pair=load_model_pair(question.model_pair),
        traces=traces,
        analysis=analysis,
        timing=json.loads(text).get("timing"),
        truncation=_truncation(question.model_pair),
        seeds=question.seeds,
        rows=rows,
    )
    return write_report(output, findings)


def _text(model_pair: str) -> str:
    """The pair's file as it is: what it holds beyond a pair is wanted, too."""
    if model_pair in MODEL_PAIRS:
        return resources.files("multispin_env.profiles").joinpath(f"{model_pair}.json").read_text(encoding="utf-8")
    return Path(model_pair).read_text(encoding="utf-8")


def _truncation(model_pair: str) -> Sequence[Truncation]:
    """The sweep of V_hat that ``measure`` leaves beside the file, or nothing."""
    file = Path(model_pair).with_name("truncation.csv")
    if model_pair in MODEL_PAIRS or not file.exists():
        return ()
    return read_rows(file, Truncation)
