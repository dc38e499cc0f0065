"""What a benchmark says: a table for the terminal, a Markdown report and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from multispin_env.evaluation.plots import colours, new_figure, save
from multispin_env.evaluation.statistics import Estimate, interquartile_mean, paired_gain
from multispin_env.evaluation.tables import markdown_table, terminal_table
from multispin_env.files import write_atomically
from multispin_train.benchmark.protocol import Protocol, Row

REFERENCE = "heterogeneous"
CEILING = "clairvoyant"


@dataclass(frozen=True)
class Summary:
    """One controller's line: interquartile means over seeds.

    Attributes:
        controller: Its name.
        seeds: How many seeds it has played.
        goodput_tok_s: Goodput.
        of_clairvoyant: Goodput over the clairvoyant's on the same seed; None if the two share no seed.
        gain: Goodput over the heterogeneous controller's on the same seed, less 1; None if the two share no seed.
        decision_us: Median time of a decision.
        jain_index: Mean fairness.
    """

    controller: str
    seeds: int
    goodput_tok_s: Estimate
    of_clairvoyant: Estimate | None
    gain: Estimate | None
    decision_us: float
    jain_index: float


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """A summary per controller, in the rows' order."""
    goodput: dict[str, dict[int, float]] = {}
    for row in rows:
        goodput.setdefault(row.controller, {})[row.seed] = row.goodput_tok_s

    def gain_over(name: str, other: str) -> Estimate | None:
        mine, theirs = goodput[name], goodput.get(other, {})
        both = [seed for seed in mine if seed in theirs]
        return paired_gain([mine[seed] for seed in both], [theirs[seed] for seed in both]) if both else None

    summaries = []
    for name, by_seed in goodput.items():
        mine = [row for row in rows if row.controller == name]
        of_ceiling = gain_over(name, CEILING)
        summaries.append(
            Summary(
                controller=name,
                seeds=len(by_seed),
                goodput_tok_s=interquartile_mean(list(by_seed.values())),
                of_clairvoyant=of_ceiling and Estimate(*(1.0 + value for value in of_ceiling)),
                gain=gain_over(name, REFERENCE),
                decision_us=float(np.median([row.decision_us for row in mine])),
                jain_index=float(np.mean([row.jain_index for row in mine])),
            )
        )
    return summaries


def terminal_report(protocol: Protocol, summaries: Sequence[Summary]) -> Table:
    """The summaries as a table for a terminal of 80 columns."""
    digits = 0 if max(summary.goodput_tok_s.high for summary in summaries) >= 100.0 else 1
    header = ["controller", "goodput,\ntok/s", "over hetero-\ngeneous, %", "of clair-\nvoyant, %", "µs"]
    lines = [
        [
            summary.controller,
            summary.goodput_tok_s.text(digits),
            summary.gain.text(1, scale=100.0, sign=True) if summary.gain else "-",
            f"{100.0 * summary.of_clairvoyant.value:.1f}" if summary.of_clairvoyant else "-",
            _decision_time(summary.decision_us),
        ]
        for summary in summaries
    ]
    most = max(summary.seeds for summary in summaries)
    fewer = [f"{summary.controller} {summary.seeds}" for summary in summaries if summary.seeds < most]
    return terminal_table(
        f"{protocol.scenario} / {protocol.model_pair}: {_setting(protocol, summaries)}",
        "interquartile means over seeds [95 % bootstrap interval]; µs: one decision"
        + (f"; fewer seeds: {', '.join(fewer)}" if fewer else ""),
        header,
        lines,
    )


def write_report(folder: Path, protocol: Protocol, rows: Sequence[Row]) -> list[Summary]:
    """Writes ``report.md`` and ``goodput.png`` of all these rows into the folder and returns the summaries."""
    summaries = summarise(rows)
    _picture(folder / "goodput.png", protocol, rows, summaries)
    overrides = f" Changed fields: `{dict(protocol.config)}`." if protocol.config else ""
    write_atomically(
        folder / "report.md",
        f"""# Benchmark: {protocol.scenario} / {protocol.model_pair}

{_setting(protocol, summaries)}.{overrides}

{markdown_table(_HEADER, [_cells(summary) for summary in summaries])}

Goodput is total tokens over total seconds of an episode. Figures are interquartile means over seeds with 95 %
bootstrap intervals; ratios and gains are paired by seed. All controllers meet the same random numbers through the
same environment step (`p2p` serves one user alone, and `centralized` drafts at the server: they are other systems). A
decision's time is that of a single one, not of a batch. The rows are in `results.csv`, everything that decides them
in `manifest.json`.

![goodput](goodput.png)
""",
    )
    return summaries


_HEADER = (
    "controller",
    "seeds",
    "goodput, tok/s",
    "% of clairvoyant",
    "% over heterogeneous",
    "decision, µs",
    "Jain index",
)


def _cells(summary: Summary) -> tuple[str, ...]:
    return (
        summary.controller,
        str(summary.seeds),
        summary.goodput_tok_s.text(),
        summary.of_clairvoyant.text(scale=100.0) if summary.of_clairvoyant else "-",
        summary.gain.text(scale=100.0, sign=True) if summary.gain else "-",
        _decision_time(summary.decision_us),
        f"{summary.jain_index:.3f}",
    )


def _setting(protocol: Protocol, summaries: Sequence[Summary]) -> str:
    system = protocol.system()
    counts = sorted({summary.seeds for summary in summaries})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return (
        f"{system.num_users} users, {system.bandwidth_hz / 1e6:g} MHz, {seeds} seeds of {system.episode_rounds} rounds"
    )


def _picture(path: Path, protocol: Protocol, rows: Sequence[Row], summaries: Sequence[Summary]) -> None:
    figure, (axes,) = new_figure(7.0, 1.2 + 0.36 * len(summaries))
    jitter = np.random.default_rng(0)
    palette = colours([summary.controller for summary in summaries])
    for height, summary in enumerate(reversed(summaries)):
        colour = palette[summary.controller]
        seeds = [row.goodput_tok_s for row in rows if row.controller == summary.controller]
        axes.plot(seeds, height + jitter.uniform(-0.22, 0.22, len(seeds)), ".", color=colour, alpha=0.35, markersize=4)
        value, low, high = summary.goodput_tok_s
        axes.errorbar(
            value,
            height,
            xerr=[[value - low], [high - value]],
            fmt="o",
            color=colour,
            markersize=6,
            capsize=3,
            linewidth=2,
        )
        axes.annotate(f"{value:.0f}", (value, height), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    axes.set_yticks(range(len(summaries)), [summary.controller for summary in reversed(summaries)])
    axes.set_xlim(left=0.0)
    axes.set_ylim(-0.6, len(summaries) - 0.3)
    axes.set_xlabel("sum goodput, tokens per second (dots: seeds; bars: interquartile mean, 95 % interval)", fontsize=8)
    axes.set_title(f"{protocol.scenario} / {protocol.model_pair}, {protocol.system().num_users} users")
    save(figure, path)


def _decision_time(microseconds: float) -> str:
    return "-" if math.isnan(microseconds) else f"{microseconds:.0f}"
