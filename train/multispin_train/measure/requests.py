"""Measured requests: acceptance at every position of the texts that the target writes."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress

from multispin_env.evaluation.results import ResultsFolder
from multispin_env.files import write_atomically
from multispin_env.speculative.models import LanguagePair
from multispin_env.speculative.prompts import Prompt
from multispin_env.speculative.recording import Recording, record
from multispin_env.speculative.sampling import Payload
from multispin_train.measure.measurement import Measurement

# Probabilities are written in 255 steps: a byte each, and 0.002 is far below what a request's own course tells.
SCALE = 255
# Requests whose texts are written side by side, and between two checkpoints.
_GROUP = 16
# V_hat for which acceptance is measured beside the wanted one.
_ENTRIES = (1, 4, 16, 64, 256, 1024, 4096, 16384)


@dataclass(frozen=True)
class RequestRow:
    """One line of ``requests/results.csv``: a measured request.

    Attributes:
        request: Its number, the line of the prompts file from 0 on.
        task: Its task.
        prompt_tokens: Length of its prompt.
        tokens: Length of its text.
        acceptance_mean: Mean acceptance over its positions.
        acceptance: Acceptance at each position, integers of 0 to 255 for 0 to 1.
        outcome_probability: Likewise, the probability that the text's token was an accepted draft, if one was tried.
        acceptance_by_entries: ``acceptance_mean`` had other numbers of entries been uploaded, as JSON.
    """

    request: int
    task: str
    prompt_tokens: int
    tokens: int
    acceptance_mean: float
    acceptance: str
    outcome_probability: str
    acceptance_by_entries: str


def record_requests(
    measurement: Measurement,
    pair: LanguagePair,
    payload: Payload,
    prompts: Sequence[Prompt],
    encoded: Sequence[Sequence[int]],
    folder: ResultsFolder[RequestRow],
    progress: Progress,
) -> None:
    """Measures the requests that the folder lacks, a group at a time."""
    done = {row.request for row in folder.rows()}
    left = [request for request in range(len(prompts)) if request not in done]
    task = progress.add_task("requests", total=len(prompts), completed=len(done))
    for start in range(0, len(left), _GROUP):
        group = left[start : start + _GROUP]
        draft, target = (
            pair.reader(network, len(group), measurement.temperature) for network in (pair.draft, pair.target)
        )
        others = [Payload(entries, payload.probability_bits) for entries in _entries(target.vocabulary)]
        recordings = record(
            draft,
            target,
            [encoded[request] for request in group],
            # A request's text is its own, whichever others it is written beside.
            [np.random.default_rng(request) for request in group],
            payload,
            pair.end_tokens,
            measurement.max_tokens,
            others,
        )
        folder.append(
            [
                _request_row(request, prompts[request].task, len(encoded[request]), recording)
                for request, recording in zip(group, recordings, strict=True)
            ]
        )
        progress.advance(task, len(group))


def _entries(vocabulary: int) -> list[int]:
    return [*(entries for entries in _ENTRIES if entries < vocabulary), vocabulary]


def _request_row(request: int, task: str, prompt_tokens: int, recording: Recording) -> RequestRow:
    def steps(probabilities: Sequence[float]) -> str:
        return " ".join(str(round(SCALE * probability)) for probability in probabilities)

    return RequestRow(
        request=request,
        task=task,
        prompt_tokens=prompt_tokens,
        tokens=len(recording.tokens),
        acceptance_mean=float(np.mean(recording.acceptance)),
        acceptance=steps(recording.acceptance),
        outcome_probability=steps(recording.outcome_probability),
        acceptance_by_entries=json.dumps(np.mean(recording.other_acceptance, axis=0).tolist()),
    )


def index_bits(vocabulary: int) -> int:
    """Bits of a token's index in the vocabulary."""
    return math.ceil(math.log2(vocabulary))


def write_truncation(file: Path, payload: Payload, vocabulary: int, rows: Sequence[RequestRow]) -> None:
    """Writes what acceptance would be had other numbers of entries been uploaded."""
    means = np.array([json.loads(row.acceptance_by_entries) for row in rows])
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["retained_entries", "payload_bits", "acceptance_mean", "standard_error"])
    for entries, column in zip(_entries(vocabulary), means.T, strict=True):
        bits = entries * (payload.probability_bits + index_bits(vocabulary))
        writer.writerow([entries, bits, column.mean(), column.std() / math.sqrt(len(column))])
    write_atomically(file, text.getvalue())
