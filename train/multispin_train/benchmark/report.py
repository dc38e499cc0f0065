"""What a benchmark says: a table for the terminal, a Markdown report and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from multispin_env.evaluation.plots import COLOURS, new_figure, save
from multispin_env.evaluation.statistics import Estimate, interquartile_mean
from multispin_train.benchmark.protocol import Protocol, Row

REFERENCE = "heterogeneous"
CEILING = "clairvoyant"


@dataclass(frozen=True)
class Summary:
    """One controller's line: interquartile means over seeds.

    Attributes:
        controller: Its name.
        goodput_tok_s: Goodput.
        of_clairvoyant: Goodput over the clairvoyant's on the same seed; None if that was not played.
        gain: Goodput over the heterogeneous controller's on the same seed, less 1; None if that was not played.
        decision_us: Median time of a decision.
        jain_index: Mean fairness.
    """

    controller: str
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

    def relative(name: str, other: str) -> Estimate | None:
        if other not in goodput:
            return None
        return interquartile_mean([goodput[name][seed] / goodput[other][seed] for seed in goodput[name]])

    summaries = []
    for name, by_seed in goodput.items():
        mine = [row for row in rows if row.controller == name]
        gain = relative(name, REFERENCE)
        summaries.append(
            Summary(
                controller=name,
                goodput_tok_s=interquartile_mean(list(by_seed.values())),
                of_clairvoyant=relative(name, CEILING),
                gain=gain and Estimate(*(value - 1.0 for value in gain)),
                decision_us=float(np.median([row.decision_us for row in mine])),
                jain_index=float(np.mean([row.jain_index for row in mine])),
            )
        )
    return summaries


HEADER = ("controller", "goodput, tok/s", "% of clairvoyant", "% over heterogeneous", "decision, µs", "Jain index")
# The same for a terminal of 80 columns.
SHORT_HEADER = ("controller", "goodput, tok/s", "% clairvoyant", "% over heterog.", "µs", "Jain")


def cells(summary: Summary, digits: int) -> tuple[str, ...]:
    """A summary as the texts of a table's row."""
    return (
        summary.controller,
        summary.goodput_tok_s.text(digits),
        summary.of_clairvoyant.text(digits, scale=100.0) if summary.of_clairvoyant else "-",
        summary.gain.text(digits, scale=100.0, sign=True) if summary.gain else "-",
        f"{summary.decision_us:.0f}",
        f"{summary.jain_index:.3f}",
    )


def _setting(protocol: Protocol) -> str:
    system = protocol.system()
    return (
        f"{system.num_users} users, {system.bandwidth_hz / 1e6:g} MHz, {protocol.seeds} seeds of "
        f"{system.episode_rounds} rounds"
    )


def terminal_table(protocol: Protocol, summaries: Sequence[Summary]) -> Table:
    """The summaries as a table for the terminal."""
    table = Table(
        title=f"{protocol.scenario} / {protocol.model_pair}: {_setting(protocol)}",
        caption="interquartile means over seeds [95 % bootstrap interval]",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    # A policy's long name goes on in a second line; the figures need the width.
    table.add_column(SHORT_HEADER[0], overflow="fold", max_width=13)
    for title in SHORT_HEADER[1:]:
        table.add_column(title, justify="right", no_wrap=True)
    for summary in summaries:
        table.add_row(*cells(summary, 0))
    return table


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table: columns of text first, then numbers, to the right."""
    rule = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))


def write_report(folder: Path, protocol: Protocol, rows: Sequence[Row]) -> list[Summary]:
    """Writes ``report.md`` and ``goodput.png`` into the folder and returns the summaries."""
    summaries = summarise(rows)
    _picture(folder / "goodput.png", protocol, rows, summaries)
    overrides = f" Changed fields: `{dict(protocol.config)}`." if protocol.config else ""
    (folder / "report.md").write_text(
        f"""# Benchmark: {protocol.scenario} / {protocol.model_pair}

{_setting(protocol)}.{overrides}

{markdown_table(HEADER, [cells(summary, 1) for summary in summaries])}

Goodput is total tokens over total seconds of an episode. Figures are interquartile means over seeds with 95 %
bootstrap intervals; ratios and gains are paired by seed. All controllers meet the same random numbers through the
same environment step (`p2p` serves one user alone, and `centralized` drafts at the server: they are other systems). A
decision's time is that of a single one, not of a batch. The rows are in `results.csv`, everything that decides them
in `manifest.json`.

![goodput](goodput.png)
""",
        encoding="utf-8",
    )
    return summaries


def _picture(path: Path, protocol: Protocol, rows: Sequence[Row], summaries: Sequence[Summary]) -> None:
    figure, (axes,) = new_figure(7.0, 1.2 + 0.36 * len(summaries))
    jitter = np.random.default_rng(0)
    for height, summary in enumerate(reversed(summaries)):
        colour = COLOURS.get(summary.controller, "#4477aa")
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
