"""The file of a measured pair: what a model pair is made of, with its sources, requests and times."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from multispin_env.speculative.sampling import Payload
from multispin_train.measure.measurement import Measurement
from multispin_train.measure.requests import SCALE, RequestRow, index_bits
from multispin_train.measure.timing import (
    BATCHES,
    DRAFT_LENGTH,
    DRAFT_LENGTHS,
    REPEATS,
    TimingRow,
    rounded_seconds,
    summarise_times,
)

_AS_FITTED = "As verification_fixed_s"
_TIMES = (
    "verification_fixed_s",
    "verification_per_user_s",
    "verification_per_token_s",
    "drafting_latency_s",
    "server_drafting_latency_s",
)


def summary(file: Path) -> Table:
    """What a profile says, for a terminal."""
    profile = json.loads(file.read_text(encoding="utf-8"))
    table = Table(title=profile["name"], show_header=False)
    for task in profile["tasks"]["value"]:
        table.add_row(
            f"acceptance, {task['name']}",
            f"{task['acceptance_mean']:.3f} +- {task['acceptance_std']:.3f} over requests",
        )
    for name in _TIMES:
        table.add_row(name.removesuffix("_s").replace("_", " "), f"{1e3 * profile[name]['value']:.3g} ms")
    table.add_row("verification free tokens", str(profile["verification_free_tokens"]["value"]))
    return table


def make_profile(
    measurement: Measurement,
    payload: Payload,
    vocabulary: int,
    requests: Sequence[RequestRow],
    timings: Sequence[TimingRow],
) -> dict[str, Any]:
    """The content of a pair's file, from what was measured."""
    command = measurement.command()
    machine = (
        torch.cuda.get_device_name(measurement.device)
        if measurement.device.startswith("cuda")
        else f"{measurement.device}, threads: {torch.get_num_threads()}"
    )
    timing = summarise_times(timings)
    fit = timing.pop("fit")
    drafting = {entry["batch"]: entry["median_s"] / DRAFT_LENGTH for entry in timing["drafting"]}
    most = BATCHES[-1]
    fitted = (
        f"From timing: least squares of relative errors over batches of {BATCHES[0]} to {most} with drafts of "
        f"{DRAFT_LENGTHS[0]} to {DRAFT_LENGTHS[-1]}"
    )
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
        "verification_fixed_s": {"value": fit.fixed_s, "source": fitted},
        "verification_per_user_s": {"value": fit.per_user_s, "source": _AS_FITTED},
        "verification_per_token_s": {"value": fit.per_token_s, "source": _AS_FITTED},
        "verification_free_tokens": {"value": fit.free_tokens, "source": _AS_FITTED},
        "retained_entries": {"value": payload.retained_entries, "source": f"Chosen; the vocabulary has {vocabulary}"},
        "probability_bits": {"value": payload.probability_bits, "source": "Chosen"},
        "vocabulary_index_bits": {
            "value": index_bits(vocabulary),
            "source": f"Vocabulary of {vocabulary}: ceil(log2 {vocabulary})",
        },
        "drafting_latency_s": {
            "value": rounded_seconds(drafting[1]),
            "source": f"From timing: {DRAFT_LENGTH} tokens of one user, by token",
        },
        "server_drafting_latency_s": {
            "value": rounded_seconds(drafting[most] / most),
            "source": f"From timing: {DRAFT_LENGTH} tokens of {most} users side by side, by token and user",
        },
        "tasks": {
            "value": tasks,
            "source": f"Measured by `{command}`: mean and standard deviation, over requests, of the mean acceptance "
            "over a request's positions",
        },
        "timing": {
            "source": f"Measured by `{command}` ({machine}); medians and quartiles of {REPEATS} repetitions",
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


def dumps(profile: dict[str, Any]) -> str:
    """The profile as JSON, a request a line."""
    lines = ",\n      ".join(json.dumps(request, separators=(",", ":")) for request in profile["traces"]["requests"])
    framed = json.dumps({**profile, "traces": {**profile["traces"], "requests": []}}, indent=2)
    return framed.replace('"requests": []', f'"requests": [\n      {lines}\n    ]') + "\n"
