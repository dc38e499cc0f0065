"""Measured model pairs. One JSON file a pair; every value stands beside its source.

The files in this folder are the built-in pairs. Any other file of the same fields serves as well, wherever a pair is
named; ``multispin measure`` writes one, and docs/model_pairs.md says how one is written by hand. It may hold measured
requests under ``traces`` (:class:`Traces`), and the times from which it was fitted under ``timing``, which nothing here
reads.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from multispin_env.config import (
    Checked,
    ConfigError,
    TaskConfig,
    check_fields,
    check_tasks,
    check_text,
    from_mapping,
    real,
    shown,
    whole,
)
from multispin_env.files import decode, parse_json, read_text
from multispin_env.profiles.traces import Traces, read_traces
from multispin_env.registration import check_new_name, registered_name

__all__ = [
    "MODEL_PAIRS",
    "PAPER_PAIRS",
    "ModelPair",
    "Traces",
    "load_model_pair",
    "load_traces",
    "register_model_pair",
]

MODEL_PAIRS = tuple(
    sorted(
        file.name.removesuffix(".json")
        for file in resources.files(__package__).iterdir()
        if file.name.endswith(".json")
    )
)
_REGISTERED: dict[str, ModelPair] = {}
# The two of arXiv 2606.04581, on which its figures, the study stands.
PAPER_PAIRS = ("llama2", "qwen3.5")


@dataclass(frozen=True, kw_only=True)
class ModelPair(Checked):
    """What was measured of a draft and a target model.

    Attributes:
        name: The pair's name; of a built-in pair, as in ``model_pair=``.
        draft_model: The small language model on the device.
        target_model: The large language model at the edge server.
        verification_fixed_s: T_fix of eq. 7.
        verification_per_user_s: T_lin of eq. 7.
        verification_per_token_s: Time that each token of a batch adds beyond those that are free.
        verification_free_tokens: Tokens of a batch, each user's draft and one more, that add nothing.
        retained_entries: V_hat: entries of the draft's distribution that are uploaded with a token.
        probability_bits: Q_B: bits of an entry's probability.
        vocabulary_index_bits: Bits of an entry's index.
        drafting_latency_s: Mean time in which a device drafts a token, T^S.
        server_drafting_latency_s: Time in which the server drafts a token of one user (Cen-SPIN).
        tasks: Acceptance by task.
        traces: Measured requests, or None.
    """

    name: str
    draft_model: str
    target_model: str
    verification_fixed_s: float = real(0.0, 1e4)
    verification_per_user_s: float = real(1e-9, 1e4)
    verification_per_token_s: float = real(0.0, 1e4, default=0.0)
    verification_free_tokens: int = whole(0, 1_000_000_000, default=0)
    retained_entries: int = whole(1, 10_000_000)
    probability_bits: int = whole(1, 32)
    vocabulary_index_bits: int = whole(1, 64)
    drafting_latency_s: float = real(1e-6, 1e4)
    server_drafting_latency_s: float = real(1e-6, 1e4)
    tasks: tuple[TaskConfig, ...]
    traces: Traces | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("name", "draft_model", "target_model"):
            check_text(f"ModelPair.{field}", getattr(self, field))
        object.__setattr__(self, "tasks", check_tasks("ModelPair.tasks", self.tasks))

    @property
    def payload_bits(self) -> float:
        """Q_tok of eq. 9: the retained entries, each a quantised probability and a vocabulary index."""
        return float(self.retained_entries * (self.probability_bits + self.vocabulary_index_bits))


_SOURCED = ("tasks", *(item.name for item in dataclasses.fields(ModelPair) if "low" in item.metadata))


def register_model_pair(name: str, pair: ModelPair | str | os.PathLike[str]) -> None:
    """Makes a model pair known by a name, wherever one is named in the same process.

    Other processes know it as ``module:name``, after the module that registers it when it is imported.

    Args:
        name: Letters, digits and ``_.+-``, not taken by another one.
        pair: The pair, or the path of its ``.json`` file, which is read now. It is called ``name`` from here on.

    Raises:
        ValueError: The name is taken or has other characters.
        ConfigError: The file cannot be read or holds a wrong value; the message names file and field.
    """
    if isinstance(name, str) and name.endswith(".json"):
        raise ValueError(f"a model pair's name must not end in .json, as a file's does, got {name!r}")
    pair = pair if isinstance(pair, ModelPair) else load_model_pair(pair)
    pair = dataclasses.replace(pair, name=name)
    taken = {**dict.fromkeys(MODEL_PAIRS), **_REGISTERED}
    _REGISTERED[check_new_name("model pair", name, pair, taken)] = pair


def load_model_pair(model_pair: str | os.PathLike[str]) -> ModelPair:
    """A model pair.

    Args:
        model_pair: The name of a built-in or registered pair, ``module:name`` for one that the module registers, or the
            path of a pair's ``.json`` file.

    Raises:
        ConfigError: There is no such pair or file, or the file holds a wrong value; the message names file and field.
        ValueError: The module is not found, or does not import.
    """
    if isinstance(model_pair, str | os.PathLike) and os.fspath(model_pair).endswith(".json"):
        return _parse(read_text(model_pair), os.fspath(model_pair))
    name = registered_name(model_pair) if isinstance(model_pair, str) else model_pair
    if isinstance(name, str) and name in MODEL_PAIRS:
        builtin = resources.files(__package__).joinpath(f"{name}.json")
        return _parse(decode(builtin.read_bytes(), builtin.name), builtin.name)
    if not isinstance(name, str) or name not in _REGISTERED:
        known = ", ".join((*MODEL_PAIRS, *_REGISTERED))
        raise ConfigError(
            f"model_pair must be one of {known}, or the path of a pair's .json file, got {shown(model_pair)}"
        )
    return _REGISTERED[name]


def load_traces(model_pair: str | os.PathLike[str]) -> Traces:
    """The measured requests of a model pair, named as for :func:`load_model_pair`.

    Raises:
        ConfigError: There is no such pair, or it has none.
    """
    traces = load_model_pair(model_pair).traces
    if traces is None:
        holders = [name for name in MODEL_PAIRS if load_model_pair(name).traces is not None]
        raise ConfigError(
            "model_pair must have measured requests to replay: "
            f"{' or '.join([*holders, 'the path of a .json file that holds traces'])}, got {os.fspath(model_pair)!r}"
        )
    return traces


@lru_cache
def _parse(text: str, file: str) -> ModelPair:
    values = parse_json(text, file)
    try:
        return _from_json(values)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error


def _from_json(values: object) -> ModelPair:
    if not isinstance(values, dict):
        raise ConfigError(f"a model pair must be an object, got {shown(values)}")
    fields = {name: entry for name, entry in values.items() if name not in ("timing", "traces")}
    for name in _SOURCED:
        if name in fields:
            fields[name] = _sourced(name, fields[name])
    pair = from_mapping(ModelPair, fields, "model pair")
    if "traces" not in values:
        return pair
    return dataclasses.replace(pair, traces=read_traces(values["traces"], [task.name for task in pair.tasks]))


def _sourced(name: str, entry: object) -> Any:
    """The value of an entry that stands beside its source."""
    if not isinstance(entry, dict):
        raise ConfigError(f'{name} must be {{"value": ..., "source": ...}}, got {shown(entry)}')
    check_fields(name, entry, ("value", "source"), ("value", "source"))
    return entry["value"]
