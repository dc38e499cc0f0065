"""The page of what reality says: figures, intervals and pictures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from multispin_baselines import CONTROLLERS
from numpy.typing import NDArray
from scipy import special, stats

from multispin_env.core.equations import FloatArray
from multispin_env.core.requests.synthetic import beta_parameters
from multispin_env.evaluation.plots import new_figure, save
from multispin_env.evaluation.statistics import BOOTSTRAP_RESAMPLES, Estimate, interquartile_mean
from multispin_env.evaluation.tables import markdown_table
from multispin_env.files import write_atomically
from multispin_env.profiles import ModelPair, Traces
from multispin_train.benchmark.protocol import Row
from multispin_train.benchmark.report import CEILING, REFERENCE
from multispin_train.reality import published
from multispin_train.reality.traces import DRAFT_LENGTHS, EARLY_POSITIONS, MODELS, POSITIONS_PER_BIN, Analysis, Drift

_SEED = 20260603
_SHOWN_LENGTHS = (1, 2, 4, 8, 16, 25)
_SHOWN_LAGS = 48
_INKS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
# Controllers that take acceptance for independent, from the one that knows the task's mean on.
_BELIEVERS = (REFERENCE, "posterior", "robust", "stochastic", "long-run")
_WORLDS = {
    "independent": "`mobile` without drift: a request has one rate, drawn from its task's Beta distribution",
    "drifting": "`mobile` with the fitted spread, share and correlation length",
    "trace": "the measured requests, replayed; controllers go on to assume what `mobile` tells them of the drift",
}


@dataclass(frozen=True)
class Truncation:
    """What uploading so many entries gives.

    Attributes:
        retained_entries: V_hat.
        payload_bits: Q_tok.
        acceptance_mean: Mean, over requests, of the mean acceptance.
        standard_error: Its standard error.
    """

    retained_entries: int
    payload_bits: int
    acceptance_mean: float
    standard_error: float


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the page is written from.

    Attributes:
        pair: The pair.
        traces: Its measured requests.
        analysis: What they say.
        timing: ``timing`` of the pair's file, or None.
        truncation: The sweep of V_hat; empty if there is none.
        seeds: Episodes of everyone in each world.
        rows: Those of each world, by its name.
    """

    pair: ModelPair
    traces: Traces
    analysis: Analysis
    timing: Mapping[str, Any] | None
    truncation: Sequence[Truncation]
    seeds: int
    rows: Mapping[str, Sequence[Row]]


def write_report(folder: Path, findings: Findings) -> Path:
    """Writes ``reality.md`` and its pictures into the folder and returns the page."""
    sections = (_acceptance, _course, _larger, _prefix, _entries, _verification, _ranking)
    page = folder / "reality.md"
    text = "\n\n".join([_head(findings), *(section(folder, findings) for section in sections)]) + "\n"
    write_atomically(page, text)
    return page


def _head(findings: Findings) -> str:
    pair, traces = findings.pair, findings.traces
    return f"""# What reality says: {pair.name}

`{pair.draft_model}` drafts for `{pair.target_model}`: {len(traces.length)} texts that the target wrote,
{traces.length.sum()} tokens in all, {traces.length.min()} to {traces.length.max()} each. {traces.source}.

Brackets hold 95 % intervals: percentile bootstrap over requests, drawn within tasks, unless another unit is named. The
page is written by `multispin reality`."""


# Acceptance per task and request


def _acceptance(folder: Path, findings: Findings) -> str:
    analysis = findings.analysis
    lines = [
        (
            task.name,
            str(task.requests),
            str(task.tokens),
            *(value.text(3) for value in (task.mean, task.std, task.position_std)),
        )
        for task in analysis.tasks
    ]
    header = ("task", "requests", "tokens", "mean acceptance", "spread between requests", "between positions")
    _acceptance_picture(folder / "acceptance.png", findings)
    drift = analysis.acceptance
    own = drift.explained
    return f"""## Acceptance of tasks and requests

{markdown_table(header, lines)}

![The requests' mean acceptance beside Beta distributions](acceptance.png)

Is the spread between requests real? A mean over some {np.mean(findings.traces.length):.0f} positions varies even where
all requests are alike. Of the variance of the requests' means within tasks, each weighted by its tokens (standard
deviation {drift.request_std.text(3)}), what lasts for a whole request accounts for {_percent(own["lasting"])} %,
acceptance that drifts along the text for {_percent(own["drifting"])} %, and what each position has of its own for
{_percent(own["position"])} %. These follow from the fit below, not from the means: they need not add up to 100."""


def _acceptance_picture(path: Path, findings: Findings) -> None:
    analysis = findings.analysis
    figure, axes = new_figure(3.2 * len(analysis.tasks), 3.0, columns=len(analysis.tasks))
    names = np.array(findings.traces.task)
    rates = np.linspace(0.0, 1.0, 401)
    for panel, task in zip(axes, analysis.tasks, strict=True):
        means = np.sort(analysis.request_mean[names == task.name])
        panel.step(means, np.arange(1, len(means) + 1) / len(means), where="post", color=_INKS[0], label="measured")
        if 0.0 < task.std.value**2 < task.mean.value * (1.0 - task.mean.value):
            shapes = beta_parameters(task.mean.value, task.std.value)
            panel.plot(rates, special.betainc(*shapes, rates), color=_INKS[1], label="Beta")
        low = float(means[0])
        panel.set_xlim(max(0.0, low - 0.2 * (1.0 - low)), 1.0)
        panel.set_title(task.name)
        panel.set_xlabel("mean acceptance of a request")
    axes[0].set_ylabel("share of requests")
    axes[0].legend(loc="upper left")
    save(figure, path)


# The course along texts


def _course(folder: Path, findings: Findings) -> str:
    analysis = findings.analysis
    _course_picture(folder / "course.png", analysis)
    lines = [
        (name, drift.rate_std.text(3), drift.share.text(3), drift.correlation_tokens.text(1))
        for name, drift in (("acceptance", analysis.acceptance), ("outcomes", analysis.outcome))
    ]
    header = ("of the", "spread of the rate", "`drift_share`", "`drift_correlation_tokens`")
    early = ""
    if analysis.early is not None:
        early = (
            f"In texts longer than {EARLY_POSITIONS} tokens, acceptance over the first {EARLY_POSITIONS} less that "
            f"over the rest is {analysis.early.text(3, sign=True)}.\n\n"
        )
    return f"""## Acceptance along a text

{early}![Mean acceptance by position, and autocovariance by distance](course.png)

The autocovariance of acceptance within tasks is split as `mobile` models it: a rate with a Beta distribution, whose
normal variate has a part that stays for the request (1 - `drift_share`) and one that drifts with the correlation
exp(-tokens / `drift_correlation_tokens`). What a position has of its own reaches no other position and is no part of
the rate, which makes up {_percent_of_variance(analysis.acceptance)} % of the variance of acceptance at a position.

{markdown_table(header, lines)}

Acceptance is the probability before the token is drawn; outcomes are whether it was accepted. The runs that a draft
is made of depend on the covariance of the outcomes, which holds more, as an accepted token is itself news about the
next: the second line is the one for `mobile`. A correlation length near {findings.traces.length.max()} tokens, the
longest text, cannot be told from what lasts."""


def _course_picture(path: Path, analysis: Analysis) -> None:
    figure, (left, right) = new_figure(9.6, 3.4, columns=2)
    value, low, high = analysis.position
    places = POSITIONS_PER_BIN * np.arange(len(value)) + 0.5 * POSITIONS_PER_BIN
    left.fill_between(places, low, high, color=_INKS[0], alpha=0.2, linewidth=0)
    left.plot(places, value, ".-", color=_INKS[0])
    left.set_xlabel(f"position, in bins of {POSITIONS_PER_BIN} tokens")
    left.set_ylabel("mean acceptance")
    for name, drift, ink in (("acceptance", analysis.acceptance, _INKS[0]), ("outcomes", analysis.outcome, _INKS[1])):
        shown = slice(1, _SHOWN_LAGS + 1)
        value, low, high = (part[shown] for part in drift.autocovariance)
        lags = np.arange(1, len(value) + 1)
        right.fill_between(lags, low, high, color=ink, alpha=0.2, linewidth=0)
        right.plot(lags, value, ".", color=ink, label=f"{name}, measured")
        right.plot(lags, drift.fitted[shown], color=ink, label=f"{name}, fitted")
    right.axhline(0.0, color="black", linewidth=0.8)
    right.set_xlabel("tokens between two positions of a text")
    right.set_ylabel("autocovariance")
    right.legend(fontsize=8)
    save(figure, path)


def _larger(folder: Path, findings: Findings) -> str:
    lines = []
    for share in published.SHARES:
        fits = [published.fit(share, tokens) for tokens in published.CORRELATION_TOKENS]
        lines.append((f"{share:g}", *(f"{100.0 * one.misfit:.1f} ({one.std:.2f})" for one in fits)))
    header = ("`drift_share`", *(f"{tokens:g} tokens" for tokens in published.CORRELATION_TOKENS))
    reached = " ".join(f"{one:.2f}" for one in published.REACHED)
    return f"""## A larger pair, by its published prefix curve

Of {published.SOURCE}, it is published with what probability k = 1..{len(published.REACHED)} drafts of a round are all
accepted: {reached}. How near a rate that drifts from token to token can come, by its `drift_share` and its
`drift_correlation_tokens`: the root mean square difference in points, and in brackets the spread of the rate that it
takes, for the best Beta distribution.

{markdown_table(header, lines)}

Without drift the correlation length means nothing. No interval is given, as none is published."""


# What a draft gets of it


def _prefix(folder: Path, findings: Findings) -> str:
    prefixes = findings.analysis.prefixes
    _prefix_picture(folder / "prefix.png", findings.analysis)
    places = [int(np.flatnonzero(length == DRAFT_LENGTHS)[0]) for length in _SHOWN_LENGTHS]
    lines = [
        (
            str(DRAFT_LENGTHS[place]),
            prefixes.played.at(place).text(2),
            prefixes.anywhere.at(place).text(2),
            *(_percent(error.at(place), sign=True) for error in prefixes.errors.values()),
        )
        for place in places
    ]
    eight = places[_SHOWN_LENGTHS.index(8)]
    independent = prefixes.models["one rate"]
    excess = _less_one(Estimate(*(value / independent[eight] for value in prefixes.anywhere.at(eight))))
    worst = "; ".join(f"{name}, {_worst(error.value)}" for name, error in prefixes.errors.items())
    explained = "\n".join(f"- *{name}*: {text}." for name, text in MODELS.items())
    last = places[-1]
    return f"""## Accepted drafts beside eq. 12

{markdown_table(("L", "measured, rounds as played", "from any position", *(f"{name}, %" for name in MODELS)), lines)}

![Accepted prefix by draft length, and the error of every model](prefix.png)

The measured figures are exact expectations over the outcomes of the recorded texts. Rounds *as played* follow each
other; the columns in per cent are the error of a model for these:

{explained}

From any position, what a draft of 8 gets is {_percent(excess, sign=True)} % off eq. 12 with one rate (the interval is
that of the measurement alone). But rounds do not begin anywhere: they begin behind the server's token, and that is most
often a correction. The first draft of a round is accepted with probability {prefixes.first.at(eight).text(3)} at L = 8
and {prefixes.first.at(last).text(3)} at L = {DRAFT_LENGTHS[last]}, a draft anywhere with
{prefixes.anywhere.at(0).text(3)}.

The largest error of each model over L = 1..{DRAFT_LENGTHS[-1]}: {worst}. From any position the rate that drifts token
by token gives {prefixes.drifting_anywhere[eight]:.2f} at L = 8 and {prefixes.drifting_anywhere[last]:.2f} at
L = {DRAFT_LENGTHS[last]}. Models of a drifting rate are simulated, to about a hundredth; the intervals of their errors
leave out that their parameters were fitted."""


def _worst(error: FloatArray) -> str:
    place = int(np.nanargmax(np.abs(error)))
    return f"{100.0 * error[place]:+.1f} % at L = {DRAFT_LENGTHS[place]}"


def _prefix_picture(path: Path, analysis: Analysis) -> None:
    prefixes = analysis.prefixes
    figure, (left, right) = new_figure(9.6, 3.8, columns=2)
    for name, curve, mark in (("as played", prefixes.played, "o"), ("from any position", prefixes.anywhere, "s")):
        errors = np.abs(np.stack([curve.low, curve.high]) - curve.value)
        left.errorbar(DRAFT_LENGTHS, curve.value, yerr=errors, fmt=mark, color="black", markersize=3, label=name)
    for ink, (name, error) in zip(_INKS, prefixes.errors.items(), strict=True):
        left.plot(DRAFT_LENGTHS, prefixes.models[name], color=ink)
        right.fill_between(DRAFT_LENGTHS, 100.0 * error.low, 100.0 * error.high, color=ink, alpha=0.12, linewidth=0)
        right.plot(DRAFT_LENGTHS, 100.0 * error.value, color=ink, label=name)
    right.axhline(0.0, color="black", linewidth=0.8)
    left.set_ylabel("accepted drafts of a round")
    right.set_ylabel("error of the model, rounds as played, %")
    for panel in (left, right):
        panel.set_xlabel("draft length L")
    left.legend()
    right.legend(fontsize=8)
    save(figure, path)


# What is uploaded


def _entries(folder: Path, findings: Findings) -> str:
    head = "## Entries uploaded\n"
    sweep = findings.truncation
    if not sweep:
        return (
            f"{head}\nMeasured with V_hat = {findings.pair.retained_entries} alone: no `truncation.csv` lies beside "
            "the pair's file. `multispin measure` writes both; keep them in one folder."
        )
    estimates = [
        Estimate(
            one.acceptance_mean,
            one.acceptance_mean - 1.96 * one.standard_error,
            one.acceptance_mean + 1.96 * one.standard_error,
        )
        for one in sweep
    ]
    lines = [
        (
            str(one.retained_entries),
            str(one.payload_bits),
            estimate.text(4),
            f"{one.payload_bits / sweep[-1].payload_bits:.2%}",
        )
        for one, estimate in zip(sweep, estimates, strict=True)
    ]
    figure, (axes,) = new_figure(5.4, 3.2)
    values = np.array(estimates)
    axes.errorbar(
        [one.payload_bits for one in sweep],
        values[:, 0],
        yerr=np.abs(values[:, 1:].T - values[:, 0]),
        fmt="o-",
        color=_INKS[0],
        capsize=3,
    )
    for one, value, following in zip(sweep, values[:, 0], [*sweep[1:], None], strict=True):
        if following is None or following.payload_bits > 3.5 * one.payload_bits:  # else its number is written over
            place = (one.payload_bits, value)
            axes.annotate(f"{one.retained_entries}", place, (6, -12), textcoords="offset points")
    axes.set_xscale("log")
    axes.margins(y=0.15)
    axes.set_xlabel("payload of a drafted token, bits (numbers: entries)")
    axes.set_ylabel("mean acceptance")
    save(figure, folder / "entries.png")
    whole = sweep[-1].acceptance_mean
    enough = next(one for one in sweep if one.acceptance_mean >= 0.99 * whole)
    return f"""{head}
Drafts are drawn from and judged by what is uploaded of the draft model's distribution: fewer entries stay lossless,
and are accepted less often.

{markdown_table(("V_hat", "bits a token", "mean acceptance", "of the whole vocabulary's bits"), lines, 0)}

![Mean acceptance by payload](entries.png)

{enough.retained_entries} entries have 99 % of the acceptance of all {sweep[-1].retained_entries}, for
{enough.payload_bits / sweep[-1].payload_bits:.2%} of the bits. Intervals are 1.96 standard errors over requests; all
rows share the texts, so that differences between them are surer than they look."""


# Verification


def _verification(folder: Path, findings: Findings) -> str:
    head = "## Verification time beside eq. 7\n"
    if findings.timing is None:
        return f"{head}\nThe pair's file has no `timing`; `multispin measure` records it."
    points = findings.timing["verification"]
    fitted = [point for point in points if "residual_s" in point]
    length = fitted[0]["draft_length"]
    most = max(point["batch"] for point in points)
    by_length = sorted((point for point in points if point["batch"] == most), key=lambda point: point["draft_length"])
    fixed_s, per_user_s = findings.pair.verification_fixed_s, findings.pair.verification_per_user_s
    _verification_picture(folder / "verification.png", fitted, by_length, fixed_s, per_user_s)
    residuals = np.array([point["residual_s"] for point in fitted])
    medians = np.array([point["median_s"] for point in fitted])
    worst = int(np.argmax(np.abs(residuals / medians)))
    lines = [
        (str(point["batch"]), _milliseconds(point), f"{1e3 * point['residual_s']:+.2f}", f"{share:+.1%}")
        for point, share in zip(fitted, residuals / medians, strict=True)
    ]
    explained = 1.0 - residuals.var() / medians.var()
    typical_ms = 1e3 * float(np.sqrt(np.mean(residuals**2)))
    short, long = by_length[0], by_length[-1]
    longer = long["median_s"] / short["median_s"]
    return f"""{head}
T_ver = {1e3 * fixed_s:.2f} ms + {1e3 * per_user_s:.2f} ms for each user, with drafts of {length}. The fit explains
{explained:.1%} of the variance of the medians; residuals are {typical_ms:.2f} ms in the root mean square and at most
{abs(residuals[worst] / medians[worst]):.1%} of the time, at a batch of {fitted[worst]["batch"]}. Eq. 7 knows no
draft length; drafts of {long["draft_length"]} take {longer:.2f} times as long as drafts of {short["draft_length"]},
for {most} users.

![Verification time by batch and by draft length](verification.png)

{markdown_table(("users", "median, ms [quartiles]", "residual, ms", "of the median"), lines, 0)}

Brackets are quartiles of repetitions here, not intervals. {findings.timing["source"]}."""


def _milliseconds(point: Mapping[str, Any]) -> str:
    return Estimate(point["median_s"], point["low_s"], point["high_s"]).text(2, scale=1e3)


def _verification_picture(
    path: Path,
    by_batch: Sequence[Mapping[str, Any]],
    by_length: Sequence[Mapping[str, Any]],
    fixed_s: float,
    per_user_s: float,
) -> None:
    figure, (left, right) = new_figure(8.6, 3.2, columns=2)
    for panel, points, axis in ((left, by_batch, "batch"), (right, by_length, "draft_length")):
        medians, low, high = (
            1e3 * np.array([point[name] for point in points]) for name in ("median_s", "low_s", "high_s")
        )
        panel.errorbar(
            [point[axis] for point in points],
            medians,
            yerr=[medians - low, high - medians],
            fmt="o",
            color=_INKS[0],
            capsize=3,
        )
        panel.set_ylim(bottom=0.0)
    batches = np.array([0, by_batch[-1]["batch"]])
    left.plot(batches, 1e3 * (fixed_s + per_user_s * batches), color=_INKS[1], label="eq. 7, fitted")
    left.legend()
    left.set_ylabel("verification, ms (bars: quartiles)")
    left.set_xlabel(f"users in the batch, {by_batch[0]['draft_length']} drafts each")
    right.set_xlabel(f"draft length, {by_length[0]['batch']} users")
    save(figure, path)


# The controllers


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


def _ranking(folder: Path, findings: Findings) -> str:
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
            *(_percent(played.relative(world, name, CEILING)) for world in _WORLDS),
            _percent(change[name], sign=True),
            interquartile_mean(played.goodput("trace", name)).text(0),
            _percent(won_back[name]) if name in won_back else "-",
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
    knowing = "; ".join(f"{name} {_percent(change[name], sign=True)}" for name in _BELIEVERS if name in change)
    learned = "; ".join(
        f"{name} {_percent(won_back[name])} % of the gap, {_percent(gain, sign=True)} % over {REFERENCE}"
        for name in played.names
        if name not in CONTROLLERS
        for gain in [_less_one(played.relative("trace", name, REFERENCE))]
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
    for shift, (world, ink) in enumerate(zip(_WORLDS, (_INKS[0], _INKS[3], _INKS[1]), strict=True)):
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


def _less_one(ratio: Estimate) -> Estimate:
    return Estimate(*(value - 1.0 for value in ratio))


def _percent(estimate: Estimate, *, sign: bool = False) -> str:
    return estimate.text(1, scale=100.0, sign=sign)


def _percent_of_variance(drift: Drift) -> str:
    return f"{100.0 * drift.rate_std.value**2 / drift.autocovariance.value[0]:.0f}"
