"""Sections of the page on the entries uploaded and on verification times beside eq. 7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multispin_env.evaluation.plots import new_figure, save
from multispin_env.evaluation.statistics import Estimate
from multispin_env.evaluation.tables import markdown_table
from multispin_train.reality.findings import INKS, Findings


def entries_section(folder: Path, findings: Findings) -> str:
    """Acceptance by the number of entries uploaded."""
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
        color=INKS[0],
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


def verification_section(folder: Path, findings: Findings) -> str:
    """Verification times by batch and draft length, beside the fit of eq. 7."""
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
            color=INKS[0],
            capsize=3,
        )
        panel.set_ylim(bottom=0.0)
    batches = np.array([0, by_batch[-1]["batch"]])
    left.plot(batches, 1e3 * (fixed_s + per_user_s * batches), color=INKS[1], label="eq. 7, fitted")
    left.legend()
    left.set_ylabel("verification, ms (bars: quartiles)")
    left.set_xlabel(f"users in the batch, {by_batch[0]['draft_length']} drafts each")
    right.set_xlabel(f"draft length, {by_length[0]['batch']} users")
    save(figure, path)
