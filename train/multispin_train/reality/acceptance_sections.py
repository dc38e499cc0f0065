"""Sections of the page on acceptance: by task and request, and along a text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import special

from multispin_env import make_config
from multispin_env.core.equations import beta_parameters
from multispin_env.core.requests.positional import HORIZON
from multispin_env.evaluation.plots import SERIES, new_figure, save
from multispin_env.evaluation.statistics import Estimate
from multispin_env.evaluation.tables import markdown_table
from multispin_train.reality import published
from multispin_train.reality.analysis import EARLY_POSITIONS, POSITIONS_PER_BIN, Analysis
from multispin_train.reality.drift import Drift
from multispin_train.reality.findings import Findings, percent

_SHOWN_LAGS = 48


def acceptance_section(folder: Path, findings: Findings) -> str:
    """Acceptance by task and request."""
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
deviation {drift.request_std.text(3)}), what lasts for a whole request accounts for {percent(own["lasting"])} %,
acceptance that drifts along the text for {percent(own["drifting"])} %, and what each position has of its own for
{percent(own["position"])} %. These follow from the fit below, not from the means: they need not add up to 100."""


def _acceptance_picture(path: Path, findings: Findings) -> None:
    analysis = findings.analysis
    figure, axes = new_figure(3.2 * len(analysis.tasks), 3.0, columns=len(analysis.tasks))
    names = np.array(findings.traces.task)
    rates = np.linspace(0.0, 1.0, 401)
    for panel, task in zip(axes, analysis.tasks, strict=True):
        means = np.sort(analysis.request_mean[names == task.name])
        panel.step(means, np.arange(1, len(means) + 1) / len(means), where="post", color=SERIES[0], label="measured")
        if 0.0 < task.std.value**2 < task.mean.value * (1.0 - task.mean.value):
            shapes = beta_parameters(task.mean.value, task.std.value)
            panel.plot(rates, special.betainc(*shapes, rates), color=SERIES[1], label="Beta")
        low = float(means[0])
        panel.set_xlim(max(0.0, low - 0.2 * (1.0 - low)), 1.0)
        panel.set_title(task.name)
        panel.set_xlabel("mean acceptance of a request")
    axes[0].set_ylabel("share of requests")
    axes[0].legend(loc="upper left")
    save(figure, path)


def course_section(folder: Path, findings: Findings) -> str:
    """Acceptance along a text, with the fitted drift."""
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
longest text, cannot be told from what lasts.

{_beside_mobile(analysis.outcome)}"""


def _beside_mobile(outcome: Drift) -> str:
    requests = make_config("mobile").requests
    share, tokens = requests.drift_share, requests.drift_correlation_tokens
    lags = range(1, min(_SHOWN_LAGS, len(outcome.in_mobile) - 1) + 1)
    inside = outcome.autocovariance.holds(outcome.in_mobile)
    draft = [lag for lag in lags if lag <= HORIZON]
    return f"""`mobile` has a share of {share:g}, {_within(share, outcome.share)} the interval of the second line, and
{tokens:g} tokens, {_within(tokens, outcome.correlation_tokens)} it. With the fitted spread its
autocovariance is within the measured intervals at {sum(inside[draft])} of the lags 1 to {len(draft)}, which are those
within a draft of the paper's length, and at {sum(inside[lags])} of 1 to {len(lags)}."""


def _within(value: float, interval: Estimate) -> str:
    return "within" if interval.low <= value <= interval.high else "outside"


def _course_picture(path: Path, analysis: Analysis) -> None:
    figure, (left, right) = new_figure(9.6, 3.4, columns=2)
    value, low, high = analysis.position
    places = POSITIONS_PER_BIN * np.arange(len(value)) + 0.5 * POSITIONS_PER_BIN
    left.fill_between(places, low, high, color=SERIES[0], alpha=0.2, linewidth=0)
    left.plot(places, value, ".-", color=SERIES[0])
    left.set_xlabel(f"position, in bins of {POSITIONS_PER_BIN} tokens")
    left.set_ylabel("mean acceptance")
    for name, drift, ink in (("acceptance", analysis.acceptance, SERIES[0]), ("outcomes", analysis.outcome, SERIES[1])):
        shown = slice(1, _SHOWN_LAGS + 1)
        value, low, high = (part[shown] for part in drift.autocovariance)
        lags = np.arange(1, len(value) + 1)
        right.fill_between(lags, low, high, color=ink, alpha=0.2, linewidth=0)
        right.plot(lags, value, ".", color=ink, label=f"{name}, measured")
        right.plot(lags, drift.fitted[shown], color=ink, label=f"{name}, fitted")
    right.plot(lags, analysis.outcome.in_mobile[shown], "--", color="black", label="outcomes, drift of mobile")
    right.axhline(0.0, color="black", linewidth=0.8)
    right.set_xlabel("tokens between two positions of a text")
    right.set_ylabel("autocovariance")
    right.legend(fontsize=8)
    save(figure, path)


def larger_pair_section(folder: Path, findings: Findings) -> str:
    """What a larger pair's published prefix curve says of the drift."""
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


def _percent_of_variance(drift: Drift) -> str:
    return f"{100.0 * drift.rate_std.value**2 / drift.autocovariance.value[0]:.0f}"
