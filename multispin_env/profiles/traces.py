"""Measured requests of a model pair: how a draft would fare at every position of texts that the target model wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multispin_env.config import ConfigError, check_fields, check_number, check_text, shown, whole


@dataclass(frozen=True, eq=False, kw_only=True)
class Traces:
    """Requests that were measured, one a row. Behind the end of its text a row holds 0. Arrays are read-only.

    The target model wrote the text of a request beforehand. At a position of it let q and p be the next-token
    distributions of the draft and the target model, given the text before it, and x the token that the text has there.

    Replaying such a text is exact: text and outcomes have the joint law of live speculative decoding. A draft tried at
    the position is y and accepted with probability q(y) min(1, p(y) / q(y)) = min(q(y), p(y)) (eq. 4); else the
    correction is y with the rest, p(y) - min(q(y), p(y)) (eq. 5). So whatever went before, the token there has the law
    p, and given that it is x, it was an accepted draft with probability min(q(x), p(x)) / p(x) = min(1, q(x) / p(x)). A
    bonus token has the law p and no outcome. Position by position the text is therefore the target's own, no matter
    what was tried where, and given the text the outcomes at the positions tried are independent with these
    probabilities. No position is decided twice: a round begins behind the last token that verification settled.

    Attributes:
        source: How they were measured.
        task: Name of each request's task, (requests,).
        length: Tokens of each text, (requests,).
        acceptance: Sum over y of min(q(y), p(y)), the probability that a draft at the position is accepted, known
            before x is; (requests, longest text).
        outcome_probability: min(1, q(x) / p(x)), the probability that x was an accepted draft if one was tried there;
            (requests, longest text). Its mean over x is the acceptance.
    """

    source: str
    task: tuple[str, ...]
    length: NDArray[np.int64]
    acceptance: NDArray[np.float64]
    outcome_probability: NDArray[np.float64]


def read_traces(values: object, tasks: Sequence[str]) -> Traces:
    """The traces that a pair's file holds under ``traces``.

    Args:
        values: ``{"scale": S, "source": "...", "requests": [{"task": "...", "acceptance": [...],
            "outcome_probability": [...]}]}``: probabilities are integers in 0..S, one a position.
        tasks: Names of the pair's tasks.

    Raises:
        ConfigError: A field is missing, unknown or wrong; the message names it, the value and what is allowed.
    """
    held = _object("traces", values, "scale", "source", "requests")
    scale = int(check_number("traces.scale", held["scale"], whole(1, 10**12).metadata))
    check_text("traces.source", held["source"])
    if not isinstance(held["requests"], list) or not held["requests"]:
        raise ConfigError(f"traces.requests must be a non-empty list, got {shown(held['requests'])}")

    task: list[str] = []
    rows: dict[str, list[list[int]]] = {"acceptance": [], "outcome_probability": []}
    for number, request in enumerate(held["requests"]):
        name = f"traces.requests[{number}]"
        request = _object(name, request, "task", *rows)
        if request["task"] not in tasks:
            raise ConfigError(f"{name}.task must be one of {', '.join(tasks)}, got {shown(request['task'])}")
        task.append(request["task"])
        for part, found in rows.items():
            found.append(_probabilities(f"{name}.{part}", request[part], scale))
        lengths = [len(found[-1]) for found in rows.values()]
        if lengths[0] != lengths[1]:
            raise ConfigError(
                f"{name}.outcome_probability must have as many entries as acceptance, {lengths[0]}, got {lengths[1]}"
            )
    return Traces(
        source=held["source"],
        task=tuple(task),
        length=_read_only(np.array([len(row) for row in rows["acceptance"]], dtype=np.int64)),
        **{part: _read_only(_padded(found) / scale) for part, found in rows.items()},
    )


def _object(name: str, values: object, *fields: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name} must be an object with the fields {', '.join(fields)}, got {shown(values)}")
    check_fields(name, values, fields, fields)
    return values


def _probabilities(name: str, values: object, scale: int) -> list[int]:
    if not isinstance(values, list) or not values:
        raise ConfigError(
            f"{name} must be a non-empty list of integers in [0, {scale}], one a position, got {shown(values)}"
        )
    for position, value in enumerate(values):
        if type(value) is not int or not 0 <= value <= scale:
            raise ConfigError(f"{name}[{position}] must be an integer in [0, {scale}], got {shown(value)}")
    return values


def _padded(rows: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    padded = np.zeros((len(rows), max(map(len, rows))))
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded


def _read_only(values: NDArray[Any]) -> NDArray[Any]:
    values.flags.writeable = False
    return values
