"""Measures a pair of language models: acceptance at every position of texts, times of drafting and verification."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from rich.table import Table
from scipy.optimize import nnls

from multispin_env.evaluation.results import ResultsFolder, claim_folder
from multispin_env.files import write_atomically
from multispin_env.speculative.decoding import SpeculativeDecoder
from multispin_env.speculative.models import LanguagePair, load_pair
from multispin_env.speculative.prompts import Prompt, read_prompts
from multispin_env.speculative.reader import check_temperature
from multispin_env.speculative.recording import Recording, record
from multispin_env.speculative.sampling import Draft, Payload

# Probabilities are written in 255 steps: a byte each, and 0.002 is far below what a request's own course tells.
SCALE = 255
_MOST_TOKENS = 10**6
# Requests whose texts are written side by side, and between two checkpoints.
_GROUP = 16
# V_hat for which acceptance is measured beside the wanted one.
_ENTRIES = (1, 4, 16, 64, 256, 1024, 4096, 16384)

# The paper's batches; every draft length at the largest batch tells whether it may be left out of eq. 7.
_BATCHES = tuple(range(1, 17))
_DRAFT_LENGTH = 8
_DRAFT_LENGTHS = (1, 2, 4, 8, 16, 25)
_TIMED_CONTEXT = 128
_REPEATS = 15


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


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What is measured.

    Attributes:
        name: The pair's name.
        draft: The draft model, as :func:`multispin_env.speculative.models.load_pair` takes it.
        target: The target model, likewise.
        prompts: A prompts file.
        max_tokens: Tokens after which a text is cut.
        temperature: That of both models.
        retained_entries: V_hat; the whole vocabulary where that is smaller.
        probability_bits: Q_B.
        device: Where the models run, as PyTorch names it.
    """

    name: str
    draft: str
    target: str
    prompts: Path
    max_tokens: int = 192
    temperature: float = 1.0
    retained_entries: int = 1024
    probability_bits: int = 16
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.name or Path(self.name).name != self.name:
            raise ValueError(f"name must be a file's name without its ending, got {self.name!r}")
        if not 1 <= self.max_tokens <= _MOST_TOKENS:
            raise ValueError(f"max_tokens must be an integer in [1, {_MOST_TOKENS}], got {self.max_tokens!r}")
        check_temperature(self.temperature)
        Payload(self.retained_entries, self.probability_bits)

    def command(self) -> str:
        """The command that measures this, for whoever reads the profile."""
        values = asdict(self)
        options = " ".join(f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in values.items())
        return f"multispin measure {options} --output DIR"


def measure(measurement: Measurement, output: Path, progress: Progress) -> Path:
    """Measures a pair and writes its profile.

    Args:
        measurement: What.
        output: A new folder, or one to go on with. ``requests`` and ``timing`` hold the rows as they come, and
            ``truncation.csv`` what other payloads would accept.
        progress: Where to show how far it is.

    Returns:
        The profile's file, ``output/NAME.json``, which ``model_pair=`` takes. Beside the fields of a pair it has
        ``traces``, the requests in the order of the prompts file, and ``timing``: under ``drafting`` and
        ``verification`` a list with the batch, the draft length, median and quartiles of the seconds, and for those
        that eq. 7 was fitted to, the residual.

    Raises:
        ValueError: The models do not fit together, a prompt is longer than their context, or the prompts file is wrong.
        OSError: There is no such file or model, the hub cannot be reached, or the folder holds something else.
    """
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
    _record_all(measurement, pair, payload, prompts, encoded, requests, progress)
    _time_all(measurement, pair, payload, encoded, timing, progress)

    _write_truncation(output / "truncation.csv", payload, vocabulary, requests.rows())
    profile = _profile(measurement, payload, vocabulary, requests.rows(), timing.rows())
    file = output / f"{measurement.name}.json"
    write_atomically(file, _dumps(profile))
    return file


def summary(file: Path) -> Table:
    """What a profile says, for a terminal."""
    profile = json.loads(file.read_text(encoding="utf-8"))
    table = Table(title=profile["name"], show_header=False)
    for task in profile["tasks"]["value"]:
        table.add_row(
            f"acceptance, {task['name']}",
            f"{task['acceptance_mean']:.3f} +- {task['acceptance_std']:.3f} over requests",
        )
    for name in ("verification_fixed_s", "verification_per_user_s", "drafting_latency_s", "server_drafting_latency_s"):
        table.add_row(name.removesuffix("_s").replace("_", " "), f"{1e3 * profile[name]['value']:.2f} ms")
    return table


def _check_lengths(measurement: Measurement, pair: LanguagePair, encoded: Sequence[Sequence[int]]) -> None:
    context = min(pair.reader(network, 1).context for network in (pair.draft, pair.target))
    for number, tokens in enumerate(encoded, start=1):
        if len(tokens) + measurement.max_tokens > context:
            raise ValueError(
                f"prompt {number} of {measurement.prompts} must have at most {context - measurement.max_tokens} tokens "
                f"(the models' context less max_tokens={measurement.max_tokens}), got {len(tokens)}"
            )


def _record_all(
    measurement: Measurement,
    pair: LanguagePair,
    payload: Payload,
    prompts: Sequence[Prompt],
    encoded: Sequence[Sequence[int]],
    folder: ResultsFolder[RequestRow],
    progress: Progress,
) -> None:
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


def _time_all(
    measurement: Measurement,
    pair: LanguagePair,
    payload: Payload,
    encoded: Sequence[Sequence[int]],
    folder: ResultsFolder[TimingRow],
    progress: Progress,
) -> None:
    most = _BATCHES[-1]
    points = [("drafting", batch, _DRAFT_LENGTH) for batch in (1, most)]
    points += [("verification", batch, _DRAFT_LENGTH) for batch in _BATCHES]
    points += [("verification", most, length) for length in _DRAFT_LENGTHS if length != _DRAFT_LENGTH]
    done = {(row.what, row.batch, row.draft_length, row.repeat) for row in folder.rows()}
    task = progress.add_task("timing", total=_REPEATS * len(points), completed=len(done))
    if len(done) == _REPEATS * len(points):
        return

    decoder = SpeculativeDecoder.of_pair(pair, most, payload, measurement.temperature)
    text = [token for tokens in encoded for token in tokens]
    text = (text * _TIMED_CONTEXT)[: min(_TIMED_CONTEXT, decoder.context - max(_DRAFT_LENGTHS))]
    decoder.begin(range(most), [text] * most, [np.random.default_rng(user) for user in range(most)])
    drafts = decoder.draft(range(most), [max(_DRAFT_LENGTHS)] * most)
    decoder.verify(range(most), drafts)  # the first time takes longer

    # Repetitions outside: what else the machine does meanwhile falls on all points alike.
    for repeat in range(_REPEATS):
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


def _profile(
    measurement: Measurement,
    payload: Payload,
    vocabulary: int,
    requests: Sequence[RequestRow],
    timings: Sequence[TimingRow],
) -> dict[str, Any]:
    command = measurement.command()
    machine = (
        torch.cuda.get_device_name(measurement.device)
        if measurement.device.startswith("cuda")
        else f"{measurement.device}, threads: {torch.get_num_threads()}"
    )
    timing = _timing(timings)
    fixed_s, per_user_s = timing.pop("fit")
    drafting = {entry["batch"]: entry["median_s"] / _DRAFT_LENGTH for entry in timing["drafting"]}
    most = _BATCHES[-1]
    affine = f"From timing: affine least squares over batches of {_BATCHES[0]} to {most}, {_DRAFT_LENGTH} drafts each"
    ordered = sorted(requests, key=lambda row: row.request)
    tasks = []
    for task in dict.fromkeys(row.task for row in ordered):
        means = [row.acceptance_mean for row in ordered if row.task == task]
        tasks.append(
            {
                "name": task,
                "acceptance_mean": round(float(np.mean(means)), 6),
                "acceptance_std": round(float(np.std(means)), 6),
            }
        )
    return {
        "name": measurement.name,
        "draft_model": measurement.draft,
        "target_model": measurement.target,
        "verification_fixed_s": {"value": fixed_s, "source": affine},
        "verification_per_user_s": {"value": per_user_s, "source": "As verification_fixed_s"},
        "retained_entries": {"value": payload.retained_entries, "source": f"Chosen; the vocabulary has {vocabulary}"},
        "probability_bits": {"value": payload.probability_bits, "source": "Chosen"},
        "vocabulary_index_bits": {
            "value": _index_bits(vocabulary),
            "source": f"Vocabulary of {vocabulary}: ceil(log2 {vocabulary})",
        },
        "drafting_latency_s": {
            "value": _seconds(drafting[1]),
            "source": f"From timing: {_DRAFT_LENGTH} tokens of one user, by token",
        },
        "server_drafting_latency_s": {
            "value": _seconds(drafting[most] / most),
            "source": f"From timing: {_DRAFT_LENGTH} tokens of {most} users side by side, by token and user",
        },
        "tasks": {
            "value": tasks,
            "source": f"Measured by `{command}`: mean and standard deviation, over requests, of the mean acceptance "
            "over a request's positions",
        },
        "timing": {
            "source": f"Measured by `{command}` ({machine}); medians and quartiles of {_REPEATS} repetitions",
            **timing,
        },
        "traces": {
            "scale": SCALE,
            "source": f"Measured by `{command}`; texts written by the target",
            "requests": [
                {
                    "task": row.task,
                    "acceptance": [int(step) for step in row.acceptance.split()],
                    "outcome_probability": [int(step) for step in row.outcome_probability.split()],
                }
                for row in ordered
            ],
        },
    }


def _timing(rows: Sequence[TimingRow]) -> dict[str, Any]:
    """Medians and quartiles of every point, and the affine fit of eq. 7 with its residuals, all in seconds.

    Raises:
        ValueError: Verification takes no longer for more users.
    """
    seconds: dict[tuple[str, int, int], list[float]] = {}
    for row in rows:
        seconds.setdefault((row.what, row.batch, row.draft_length), []).append(row.seconds)
    found: dict[str, Any] = {"drafting": [], "verification": []}
    for (what, batch, length), times in sorted(seconds.items()):
        low, median, high = map(_seconds, np.percentile(times, [25, 50, 75]))
        found[what].append({"batch": batch, "draft_length": length, "median_s": median, "low_s": low, "high_s": high})
    fitted = [entry for entry in found["verification"] if entry["draft_length"] == _DRAFT_LENGTH]
    batches = np.array([entry["batch"] for entry in fitted], dtype=np.float64)
    medians = np.array([entry["median_s"] for entry in fitted])
    # Neither part of a time can be negative.
    (fixed_s, per_user_s), _ = nnls(np.stack([np.ones_like(batches), batches], axis=1), medians)
    if per_user_s <= 0.0:
        raise ValueError("verification must take longer for more users, got medians that fall; measure undisturbed")
    for entry in fitted:
        entry["residual_s"] = _seconds(entry["median_s"] - fixed_s - per_user_s * entry["batch"])
    return {**found, "fit": (_seconds(fixed_s), _seconds(per_user_s))}


def _seconds(value: float) -> float:
    """A measured time without the digits that mean nothing: whole tenths of a microsecond."""
    return round(float(value), 7)


def _index_bits(vocabulary: int) -> int:
    return math.ceil(math.log2(vocabulary))


def _write_truncation(file: Path, payload: Payload, vocabulary: int, rows: Sequence[RequestRow]) -> None:
    means = np.array([json.loads(row.acceptance_by_entries) for row in rows])
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["retained_entries", "payload_bits", "acceptance_mean", "standard_error"])
    for entries, column in zip(_entries(vocabulary), means.T, strict=True):
        bits = entries * (payload.probability_bits + _index_bits(vocabulary))
        writer.writerow([entries, bits, column.mean(), column.std() / math.sqrt(len(column))])
    write_atomically(file, text.getvalue())


def _dumps(profile: dict[str, Any]) -> str:
    """The profile as JSON, a request a line."""
    lines = ",\n      ".join(json.dumps(request, separators=(",", ":")) for request in profile["traces"]["requests"])
    framed = json.dumps({**profile, "traces": {**profile["traces"], "requests": []}}, indent=2)
    return framed.replace('"requests": []', f'"requests": [\n      {lines}\n    ]') + "\n"
