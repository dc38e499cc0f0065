"""Measured uplinks beside our models: what is compared, and the table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.table import Table

from multispin_env import make_config
from multispin_env.config import ConfigError, whole
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.evaluation.tables import markdown_table, terminal_table
from multispin_train.channel.sources import measured_rates, model_rates, models
from multispin_train.channel.statistics import RATIO_QUANTILES, Rates, RateStatistics, rate_statistics
from multispin_train.options import CheckedOptions, Config, Scenario

FILE, MODEL = "file", "model"
# Models are watched as long as the longest file, but not longer than this.
_LONGEST_S = 600.0
_TITLE = "Measured uplinks beside our models"


@dataclass(frozen=True, kw_only=True)
class Comparison(CheckedOptions):
    """What is compared.

    Attributes:
        files: Measured uplinks: packet traces (a line for each packet that can leave, its time in ms) and tables
            (.csv, time_s,rate), as the channel of kind trace takes them; example is the shipped one.
        scenario: The scenario whose channel they are held against, each of its speeds by itself.
        config: Changed fields of SystemConfig.
        users: Users of each model.

    Raises:
        ConfigError: A file is wrong, or there is none.
        ValueError: The scenario's channel does not go on in time, or a field is wrong.
    """

    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE [FILE ...]")]
    scenario: Scenario = "mobile"
    config: Config = field(default_factory=dict)
    users: int = whole(1, 1000, default=32)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.files:
            raise ConfigError("files must be at least one measured uplink, got none")
        names = [Path(file).name for file in self.files]
        if len(set(names)) < len(names):
            raise ConfigError(f"files must have names of their own, got {', '.join(names)}")
        models(make_config(self.scenario, config=self.config).channel)

    def identity(self) -> dict[str, str]:
        """Every file by its content; the shipped one by its name."""
        return {
            Path(file).name: file if file == "example" else hashlib.sha256(Path(file).read_bytes()).hexdigest()
            for file in self.files
        }


@dataclass(frozen=True)
class ChannelRow(RateStatistics):
    """One line of ``results.csv``: a measured uplink, or a user of a model.

    Attributes:
        kind: ``file`` or ``model``.
        source: The file's name, or the model's.
        user: The user of the model; 0 of a file.
        seconds: How long it was watched.
    """

    kind: str
    source: str
    user: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Source:
    """A measured uplink or a model, with its rates.

    Attributes:
        kind: ``file`` or ``model``.
        name: The file's name, or the model's.
        rates: Those of the file, or of each user.
        rows: The statistics of each.
    """

    kind: str
    name: str
    rates: Sequence[Rates]
    rows: Sequence[ChannelRow]


def compare(comparison: Comparison, on_source: Callable[[], None] = lambda: None) -> list[Source]:
    """Reads the files and watches the models for as long as the longest of them lasts.

    Raises:
        ConfigError: A file is wrong.
    """
    found = []
    for file in comparison.files:
        found.append(_source(FILE, Path(file).name, [measured_rates(file)]))
        on_source()
    duration_s = min(max(source.rates[0].duration_s for source in found), _LONGEST_S)
    for name, config in models(make_config(comparison.scenario, config=comparison.config).channel).items():
        found.append(_source(MODEL, name, model_rates(config, comparison.users, duration_s)))
        on_source()
    return found


def _source(kind: str, name: str, rates: Sequence[Rates]) -> Source:
    rows = [
        ChannelRow(**asdict(rate_statistics(one)), kind=kind, source=name, user=user, seconds=round(one.duration_s, 2))
        for user, one in enumerate(rates)
    ]
    return Source(kind, name, rates, rows)


def open_folder(comparison: Comparison, output: Path) -> ResultsFolder[ChannelRow]:
    """The folder for the rows of a comparison: a new one, or one of the same files, as they are, and scenario.

    Raises:
        FileExistsError: The folder holds something else.
    """
    manifest = {
        "files": comparison.identity(),
        "scenario": comparison.scenario,
        "channel": asdict(make_config(comparison.scenario, config=comparison.config).channel),
        "users": comparison.users,
    }
    return ResultsFolder(output, manifest, ChannelRow, unique=("source", "user"), allowed={"kind": (FILE, MODEL)})


def summary(sources: Sequence[Source]) -> dict[str, Mapping[str, Any]]:
    """Of each source the median of every statistic over its users; None where most of them have none."""
    found: dict[str, Mapping[str, Any]] = {}
    for source in sources:
        columns = {name: [getattr(row, name) for row in source.rows] for name in RateStatistics.__annotations__}
        medians = {name: float(np.median(values)) for name, values in columns.items()}
        found[source.name] = {
            "kind": source.kind,
            "users": len(source.rows),
            "seconds": source.rows[0].seconds,
            **{name: None if np.isnan(value) else value for name, value in medians.items()},
        }
    return found


def summary_text(sources: Sequence[Source]) -> str:
    """The same as JSON."""
    return json.dumps(summary(sources), indent=2) + "\n"


def table(sources: Sequence[Source]) -> Table:
    """The same for a terminal of 80 columns."""
    return terminal_table(_TITLE, _caption(sources), _header("\n"), _lines(sources))


def report(sources: Sequence[Source]) -> str:
    """The same in Markdown, with the picture."""
    text = markdown_table(_header(" "), _lines(sources))
    picture = "![Twenty seconds of each, and their statistics](channel.png)"
    return f"# {_TITLE}\n\n{text}\n\n{_caption(sources)}\n\n{picture}\n"


def _header(separator: str) -> tuple[str, ...]:
    variations = (f"CV{separator}{window}" for window in (".01 s", ".1 s", "1 s"))
    ratios = (f"R{separator}{quantile:.0%}" for quantile in RATIO_QUANTILES)
    return ("uplink", *variations, f"corr.{separator}s", *ratios)


def _lines(sources: Sequence[Source]) -> list[tuple[str, ...]]:
    lines = []
    for name, values in summary(sources).items():
        variations = (_text(values[f"variation_{window}"]) for window in ("10ms", "100ms", "1s"))
        ratios = (_text(values[f"ratio_{quantile:.0f}"]) for quantile in 100.0 * np.array(RATIO_QUANTILES))
        correlation = values["correlation_s"]
        never = f">{0.5 * values['seconds']:.0f}"
        lines.append((name, *variations, never if correlation is None else f"{correlation:.1f}", *ratios))
    return lines


def _caption(sources: Sequence[Source]) -> str:
    return (
        "CV: coefficient of variation of the mean rate over .01, .1, 1 s. corr.: seconds until the autocorrelation of "
        ".1 s means is 1/e. R: quantiles of rate(t + .2 s) / rate(t). Models: median over "
        f"{max(len(source.rows) for source in sources)} users, each watched as long as the longest file."
    )


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
