"""The section of the page on the controllers' ranking in the three worlds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from multispin_baselines import CONTROLLERS
from numpy.typing import NDArray
from scipy import stats

from multispin_env.core.equations import FloatArray
from multispin_env.evaluation.plots import SERIES, new_figure, save
from multispin_env.evaluation.statistics import BOOTSTRAP_RESAMPLES, Estimate, interquartile_mean
from multispin_env.evaluation.tables import markdown_table
from multispin_train.benchmark.protocol import Row
from multispin_train.benchmark.report import CEILING, REFERENCE
from multispin_train.reality.findings import Findings, less_one, percent

_SEED = 20260603
# Controllers that take acceptance for independent, from the one that knows the task's mean on.
_BELIEVERS = (REFERENCE, "posterior", "predictive", "stochastic", "long-run")
_WORLDS = {
    "independent": "`mobile` without drift: a request has one rate, drawn from its task's Beta distribution",
    "drifting": "`mobile` with the fitted spread, share and correlation length",
    "trace": "the measured requests, replayed; controllers go on to assume what `mobile` tells them of the drift",
}


class _Played:
    """Goodput of everyone in every world.

    Args:
        rows: Those of each world.
    """

    def __init__(self, rows: Mapping[str, Sequence[Row]]) -> None:
        self.names = list(dict.fromkeys(row.controller for row in next(iter(rows.values()))))
        self._goodput = {
            (world, name): np.array([row.goodput_tok_s for row in found if row.controller == name])
            for world, found in rows.items()
            for name in self.names
        }

    def goodput(self, world: str, name: str) -> FloatArray:
        """By seed, in the same order for everyone."""
        return self._goodput[world, name]

    def relative(self, world: str, name: str, other: str) -> Estimate:
        """Goodput over another's on the same seed."""
        return interquartile_mean(self.goodput(world, name) / self.goodput(world, other))

    def reversed_pairs(self, first: str, second: str) -> list[str]:
        """Pairs that stand one way in one world and the other way in another, beyond both intervals."""
        found = []
        for one, other in itertools.combinations(self.names, 2):
            here, there = self.relative(first, one, other), self.relative(second, one, other)
            if here.low > 1.0 and there.high < 1.0:
                found.append(f"{one} over {other}")
            elif here.high < 1.0 and there.low > 1.0:
                found.append(f"{other} over {one}")
        return found


def _bootstrapped(statistic: Callable[..., FloatArray], *samples: FloatArray, paired: bool) -> Estimate:
    """A statistic of interquartile means with its interval over seeds."""
    generator = np.random.default_rng(_SEED)

    def drawn() -> NDArray[np.int64]:
        return generator.integers(len(samples[0]), size=(BOOTSTRAP_RESAMPLES, len(samples[0])))

    together = drawn() if paired else None
    resampled = [sample[drawn() if together is None else together] for sample in samples]
    low, high = np.percentile(statistic(*(stats.trim_mean(part, 0.25, axis=1) for part in resampled)), [2.5, 97.5])
    return Estimate(float(statistic(*(stats.trim_mean(sample, 0.25) for sample in samples))), float(low), float(high))


def ranking_section(folder: Path, findings: Findings) -> str:
    """The controllers in the three worlds, and whether they keep their order."""
    played = _Played(findings.rows)
    _ranking_picture(folder / "ranking.png", played)
    change = {
        name: _bootstrapped(
            lambda here, there: here - there,
            *(played.goodput(world, name) / played.goodput(world, CEILING) for world in ("trace", "independent")),
            paired=False,
        )
        for name in played.names
    }
    won_back = {
        name: _bootstrapped(
            lambda mine, plain, best: (mine - plain) / (best - plain),
            *(played.goodput("trace", who) for who in (name, REFERENCE, CEILING)),
            paired=True,
        )
        for name in played.names
        if name not in (REFERENCE, CEILING)
    }
    lines = [
        (
            name,
            *(percent(played.relative(world, name, CEILING)) for world in _WORLDS),
            percent(change[name], sign=True),
            interquartile_mean(played.goodput("trace", name)).text(0),
            percent(won_back[name]) if name in won_back else "-",
        )
        for name in played.names
    ]
    header = (
        "controller",
        *(f"{world}, % of clairvoyant" for world in _WORLDS),
        "trace less independent, points",
        "trace, tok/s",
        "gap won back in trace, %",
    )
    worlds = "\n".join(f"- *{world}*: {text}." for world, text in _WORLDS.items())
    knowing = "; ".join(f"{name} {percent(change[name], sign=True)}" for name in _BELIEVERS if name in change)
    learned = "; ".join(
        f"{name} {percent(won_back[name])} % of the gap, {percent(gain, sign=True)} % over {REFERENCE}"
        for name in played.names
        if name not in CONTROLLERS
        for gain in [less_one(played.relative("trace", name, REFERENCE))]
    )
    pairs = len(played.names) * (len(played.names) - 1) // 2
    kept = "; ".join(
        f"between *{world}* and *trace*, {len(found)} of {pairs} pairs change places beyond both their intervals"
        + (f" (in *{world}* {', '.join(found)})" if found else "")
        for world in ("independent", "drifting")
        for found in [played.reversed_pairs(world, "trace")]
    )
    return f"""## Does the ranking hold?

Everyone plays {findings.seeds} episodes in three worlds that differ in acceptance alone; the channel is that of
`mobile`:

{worlds}

{markdown_table(header, lines)}

![Goodput over the clairvoyant's, by world](ranking.png)

Interquartile means over episodes with 95 % bootstrap intervals over episodes; ratios are paired by episode. The
*gap* is that from {REFERENCE} to {CEILING}, channel and acceptance together; where it is small, shares of it say
little. `p2p` and `centralized` are other systems.
In *trace* even the clairvoyant knows acceptance as one rate for the draft to come, not position by position.

What the wrong acceptance model costs the closed forms, in points of the clairvoyant's goodput, *trace* less
*independent*: {knowing}. Learned policies win back in *trace*: {learned or "none was given; `--policy` takes them"}.

Ranking: {kept}."""


def _ranking_picture(path: Path, played: _Played) -> None:
    names = [name for name in played.names if name != CEILING]
    figure, (axes,) = new_figure(7.2, 1.0 + 0.5 * len(names))
    for shift, (world, ink) in enumerate(zip(_WORLDS, (SERIES[0], SERIES[3], SERIES[1]), strict=True)):
        values = 100.0 * np.array([played.relative(world, name, CEILING) for name in names])
        heights = np.arange(len(names))[::-1] + 0.22 * (1 - shift)
        axes.errorbar(
            values[:, 0],
            heights,
            xerr=np.abs(values[:, 1:].T - values[:, 0]),
            fmt="o",
            color=ink,
            capsize=2,
            label=world,
        )
    axes.set_yticks(np.arange(len(names))[::-1], names)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("goodput, % of the clairvoyant's on the same episode")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(_WORLDS))
    save(figure, path)
