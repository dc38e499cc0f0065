"""Measures a pair of language models, from its first request to its profile."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.progress import Progress

from multispin_env.evaluation.results import ResultsFolder, claim_folder
from multispin_env.files import write_atomically
from multispin_env.speculative.models import LanguagePair, load_pair
from multispin_env.speculative.prompts import read_prompts
from multispin_env.speculative.sampling import Payload
from multispin_train.measure.measurement import Measurement
from multispin_train.measure.profile import dumps, make_profile
from multispin_train.measure.requests import RequestRow, record_requests, write_truncation
from multispin_train.measure.timing import TimingRow, time_everything


def measure_pair(measurement: Measurement, output: Path, progress: Progress) -> Path:
    """Measures a pair and writes its profile.

    Args:
        measurement: What.
        output: A new folder, or one to go on with. ``requests`` and ``timing`` hold the rows as they come, and
            ``truncation.csv`` what other payloads would accept.
        progress: Where to show how far it is.

    Returns:
        The profile's file, ``output/NAME.json``, which ``model_pair=`` takes. Beside the fields of a pair it has
        ``traces``, the requests in the order of the prompts file, and ``timing``: under ``drafting`` and
        ``verification`` a list with the batch, the draft length, median and quartiles of the seconds, and for
        verification the residual of the fit.

    Raises:
        ValueError: The models do not fit together, a prompt is longer than their context, or the prompts file is wrong.
        OSError: There is no such file or model, the hub cannot be reached, or the folder holds something else.
    """
    measurement = replace(measurement, name=measurement.name or output.resolve().name)
    prompts = read_prompts(measurement.prompts)
    digest = hashlib.sha256(json.dumps([asdict(prompt) for prompt in prompts]).encode()).hexdigest()
    manifest = {**asdict(measurement), "prompts": digest}  # by content: the file may move
    pair = load_pair(measurement.draft, measurement.target, measurement.device)
    vocabulary = pair.reader(pair.target, 1).vocabulary
    payload = Payload(min(measurement.retained_entries, vocabulary), measurement.probability_bits)
    encoded = [pair.encode(prompt.prompt) for prompt in prompts]
    _check_lengths(measurement, pair, encoded)

    claim_folder(output, manifest)
    requests = ResultsFolder(
        output / "requests", manifest, RequestRow, unique=("request",), allowed={"request": range(len(prompts))}
    )
    timing = ResultsFolder(
        output / "timing",
        manifest,
        TimingRow,
        unique=("what", "batch", "draft_length", "repeat"),
        allowed={"what": ("drafting", "verification")},
    )
    record_requests(measurement, pair, payload, prompts, encoded, requests, progress)
    time_everything(measurement, pair, payload, encoded, timing, progress)

    write_truncation(output / "truncation.csv", payload, vocabulary, requests.rows())
    profile = make_profile(measurement, payload, vocabulary, requests.rows(), timing.rows())
    file = output / f"{measurement.name}.json"
    write_atomically(file, dumps(profile))
    return file


def _check_lengths(measurement: Measurement, pair: LanguagePair, encoded: Sequence[Sequence[int]]) -> None:
    context = min(pair.reader(network, 1).context for network in (pair.draft, pair.target))
    for number, tokens in enumerate(encoded, start=1):
        if len(tokens) + measurement.max_tokens > context:
            raise ValueError(
                f"prompt {number} of {measurement.prompts} must have at most {context - measurement.max_tokens} tokens "
                f"(the models' context less max_tokens={measurement.max_tokens}), got {len(tokens)}"
            )
