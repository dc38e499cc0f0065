"""The section of the page on accepted drafts beside eq. 12."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multispin_env.core.equations import FloatArray
from multispin_env.evaluation.plots import SERIES, new_figure, save
from multispin_env.evaluation.statistics import Estimate
from multispin_env.evaluation.tables import markdown_table
from multispin_train.reality.analysis import Analysis
from multispin_train.reality.drifting_rates import DRAFT_LENGTHS
from multispin_train.reality.findings import Findings, less_one, percent
from multispin_train.reality.prefixes import MODELS

_SHOWN_LENGTHS = (1, 2, 4, 8, 16, 25)


def prefix_section(folder: Path, findings: Findings) -> str:
    """Accepted drafts as measured, beside the models of them."""
    prefixes = findings.analysis.prefixes
    _prefix_picture(folder / "prefix.png", findings.analysis)
    places = [int(np.flatnonzero(length == DRAFT_LENGTHS)[0]) for length in _SHOWN_LENGTHS]
    lines = [
        (
            str(DRAFT_LENGTHS[place]),
            prefixes.played.at(place).text(2),
            prefixes.anywhere.at(place).text(2),
            *(percent(error.at(place), sign=True) for error in prefixes.errors.values()),
        )
        for place in places
    ]
    eight = places[_SHOWN_LENGTHS.index(8)]
    independent = prefixes.models["one rate"]
    excess = less_one(Estimate(*(value / independent[eight] for value in prefixes.anywhere.at(eight))))
    worst = "; ".join(f"{name}, {_worst(error.value)}" for name, error in prefixes.errors.items())
    explained = "\n".join(f"- *{name}*: {text}." for name, text in MODELS.items())
    last = places[-1]
    inside = int(np.sum(prefixes.played.holds(prefixes.models["mobile"])))
    measured = int(np.sum(np.isfinite(prefixes.played.value)))
    return f"""## Accepted drafts beside eq. 12

{markdown_table(("L", "measured, rounds as played", "from any position", *(f"{name}, %" for name in MODELS)), lines)}

![Accepted prefix by draft length, and the error of every model](prefix.png)

The measured figures are exact expectations over the outcomes of the recorded texts. Rounds *as played* follow each
other; the columns in per cent are the error of a model for these:

{explained}

From any position, what a draft of 8 gets is {percent(excess, sign=True)} % off eq. 12 with one rate (the interval is
that of the measurement alone). But rounds do not begin anywhere: they begin behind the server's token, and that is most
often a correction. The first draft of a round is accepted with probability {prefixes.first.at(eight).text(3)} at L = 8
and {prefixes.first.at(last).text(3)} at L = {DRAFT_LENGTHS[last]}, a draft anywhere with
{prefixes.anywhere.at(0).text(3)}.

The largest error of each model over L = 1..{DRAFT_LENGTHS[-1]}: {worst}. *mobile* is within the measured intervals at
{inside} of the {measured} lengths. From any position the fitted drift gives
{prefixes.drifting_anywhere[eight]:.2f} at L = 8 and {prefixes.drifting_anywhere[last]:.2f} at
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
    for ink, (name, error) in zip(SERIES, prefixes.errors.items(), strict=False):
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
