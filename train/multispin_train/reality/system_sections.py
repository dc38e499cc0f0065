"""Sections of the page on the entries uploaded and on verification times."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multispin_env.evaluation.plots import SERIES, new_figure, save
from multispin_env.evaluation.statistics import Estimate
from multispin_env.evaluation.tables import markdown_table
from multispin_train.measure.verification_fit import VerificationFit
from multispin_train.reality.findings import Findings


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
        color=SERIES[0],
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
    """Verification times by batch and draft length, beside the pair's constants."""
    head = "## Verification time, by users and tokens\n"
    if findings.timing is None:
        return f"{head}\nThe pair's file has no `timing`; `multispin measure` records it."
    points = findings.timing["verification"]
    fit = VerificationFit.of(findings.pair)
    _verification_picture(folder / "verification.png", points, fit)
    batch, length, medians = (
        np.array([point[name] for point in points]) for name in ("batch", "draft_length", "median_s")
    )
    errors = fit.seconds(batch, length) / medians - 1.0
    worst = int(np.argmax(np.abs(errors)))
    most = int(batch.max())
    of_most = sorted((point for point in points if point["batch"] == most), key=lambda point: point["draft_length"])
    short, long = of_most[0], of_most[-1]
    longer = long["median_s"] / short["median_s"]
    typical = 100.0 * float(np.sqrt(np.mean(np.square(errors))))
    lines = [
        (str(point["batch"]), str(point["draft_length"]), _milliseconds(point), f"{100.0 * error:+.1f}")
        for point, error in zip(points, errors, strict=True)
    ]
    return f"""{head}
T_ver = {1e3 * fit.fixed_s:.4g} ms + {1e3 * fit.per_user_s:.3g} ms for each user + {1e3 * fit.per_token_s:.3g} ms
for each token beyond {fit.free_tokens}, where each user has the tokens of its draft and one more. Over all points the
fit is off by {typical:.1f} % in the root mean square and by at most {100.0 * errors[worst]:+.1f} %, at
{batch[worst]} users with drafts of {length[worst]}. Eq. 7 knows no draft length; drafts of {long["draft_length"]} take
{longer:.2f} times as long as drafts of {short["draft_length"]}, for {most} users.

![Verification time by batch and by draft length](verification.png)

{markdown_table(("users", "draft length", "median, ms [quartiles]", "fit less median, %"), lines, 0)}

Brackets are quartiles of repetitions here, not intervals. {findings.timing["source"]}."""


def _milliseconds(point: Mapping[str, Any]) -> str:
    return Estimate(point["median_s"], point["low_s"], point["high_s"]).text(2, scale=1e3)


def _verification_picture(path: Path, points: Sequence[Mapping[str, Any]], fit: VerificationFit) -> None:
    """Medians with their quartiles, and the fit as lines."""
    figure, panels = new_figure(8.6, 3.4, columns=2)
    axes = (
        ("batch", "draft_length", "users in the batch", "drafts of"),
        ("draft_length", "batch", "draft length", "users:"),
    )
    for panel, (along, kept, title, label) in zip(panels, axes, strict=True):
        values = sorted({point[kept] for point in points})
        series = {value: [point for point in points if point[kept] == value] for value in values}
        shown = [value for value, held in series.items() if len(held) > 2]
        for ink, value in zip(itertools.cycle(SERIES), shown):
            held = sorted(series[value], key=lambda point: point[along])
            places = np.array([point[along] for point in held])
            medians, low, high = (
                1e3 * np.array([point[name] for point in held]) for name in ("median_s", "low_s", "high_s")
            )
            panel.errorbar(places, medians, yerr=[medians - low, high - medians], fmt="o", color=ink, markersize=4)
            line = np.linspace(places[0], places[-1], 200)
            kept_at = np.full_like(line, value)
            fitted = fit.seconds(line, kept_at) if along == "batch" else fit.seconds(kept_at, line)
            panel.plot(line, 1e3 * fitted, color=ink, label=f"{label} {value}")
        panel.set_ylim(bottom=0.0)
        panel.set_xlabel(title)
        if shown:
            panel.legend(fontsize=8)
    panels[0].set_ylabel("verification, ms (bars: quartiles, lines: fit)")
    save(figure, path)
