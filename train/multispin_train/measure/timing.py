"""Measured times of drafting and verification, and the constants of the latter."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.progress import Progress

from multispin_env.evaluation.results import ResultsFolder
from multispin_env.speculative.decoding import SpeculativeDecoder
from multispin_env.speculative.models import LanguagePair
from multispin_env.speculative.sampling import Draft, Payload
from multispin_train.measure.measurement import Measurement
from multispin_train.measure.verification_fit import fit_verification

# The paper's batches, all with one draft length; some of them with others, which tells what tokens add.
BATCHES = tuple(range(1, 17))
DRAFT_LENGTH = 8
DRAFT_LENGTHS = (1, 2, 4, 8, 16, 25)
_BATCHES_OF_EVERY_LENGTH = (1, 4, 16)
_TIMED_CONTEXT = 128
REPEATS = 15


@dataclass(frozen=True)
class TimingRow:
    """One line of ``timing/results.csv``: how long something took once.

    Attributes:
        what: ``drafting`` or ``verification``.
        batch: Users side by side.
        draft_length: Tokens that each of them drafts or has verified.
        repeat: Which repetition.
        seconds: All of it, from the texts in the cache to the drafts or the verdicts.
    """

    what: str
    batch: int
    draft_length: int
    repeat: int
    seconds: float


def time_everything(
    measurement: Measurement,
    pair: LanguagePair,
    payload: Payload,
    encoded: Sequence[Sequence[int]],
    folder: ResultsFolder[TimingRow],
    progress: Progress,
) -> None:
    """Takes the times that the folder lacks."""
    most = BATCHES[-1]
    points = [("drafting", batch, DRAFT_LENGTH) for batch in (1, most)]
    points += [("verification", batch, DRAFT_LENGTH) for batch in BATCHES]
    points += [
        ("verification", batch, length)
        for batch in _BATCHES_OF_EVERY_LENGTH
        for length in DRAFT_LENGTHS
        if length != DRAFT_LENGTH
    ]
    done = {(row.what, row.batch, row.draft_length, row.repeat) for row in folder.rows()}
    task = progress.add_task("timing", total=REPEATS * len(points), completed=len(done))
    if len(done) == REPEATS * len(points):
        return

    decoder = SpeculativeDecoder.of_pair(pair, most, payload, measurement.temperature)
    text = [token for tokens in encoded for token in tokens]
    text = (text * _TIMED_CONTEXT)[: min(_TIMED_CONTEXT, decoder.context - max(DRAFT_LENGTHS))]
    decoder.begin(range(most), [text] * most, [np.random.default_rng(user) for user in range(most)])
    drafts = decoder.draft(range(most), [max(DRAFT_LENGTHS)] * most)
    decoder.verify(range(most), drafts)  # the first time takes longer

    # Repetitions outside: what else the machine does meanwhile falls on all points alike.
    for repeat in range(REPEATS):
        for what, batch, length in points:
            if (what, batch, length, repeat) in done:
                continue
            shorter = [Draft(draft.tokens[:length], draft.proposals[:length]) for draft in drafts[:batch]]
            start = time.perf_counter()
            if what == "drafting":
                decoder.draft(range(batch), [length] * batch)
            else:
                decoder.verify(range(batch), shorter)
            folder.append([TimingRow(what, batch, length, repeat, time.perf_counter() - start)])
            progress.advance(task)


def summarise_times(rows: Sequence[TimingRow]) -> dict[str, Any]:
    """Medians and quartiles of every point, in seconds, with the residuals of verification beside its ``fit``.

    Raises:
        ValueError: Verification takes no longer for more users or tokens.
    """
    seconds: dict[tuple[str, int, int], list[float]] = {}
    for row in rows:
        seconds.setdefault((row.what, row.batch, row.draft_length), []).append(row.seconds)
    found: dict[str, Any] = {"drafting": [], "verification": []}
    for (what, batch, length), times in sorted(seconds.items()):
        low, median, high = map(rounded_seconds, np.percentile(times, [25, 50, 75]))
        found[what].append({"batch": batch, "draft_length": length, "median_s": median, "low_s": low, "high_s": high})
    points = found["verification"]
    batches, lengths, medians = ([point[name] for point in points] for name in ("batch", "draft_length", "median_s"))
    fit = fit_verification(batches, lengths, medians)
    for point in points:
        point["residual_s"] = rounded_seconds(point["median_s"] - fit.seconds(point["batch"], point["draft_length"]))
    return {**found, "fit": fit}


def rounded_seconds(value: float) -> float:
    """A measured time without the digits that mean nothing: whole tenths of a microsecond."""
    return round(float(value), 7)
