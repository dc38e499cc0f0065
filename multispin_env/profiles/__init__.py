"""Measured model pairs. One JSON file a pair; every value stands beside its source."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from multispin_env.config import TaskConfig

MODEL_PAIRS = ("llama2", "qwen3.5")


@dataclass(frozen=True, kw_only=True)
class ModelPair:
    """What was measured of a draft and a target model.

    Attributes:
        name: The pair's name, as in ``model_pair=``.
        draft_model: The small language model on the device.
        target_model: The large language model at the edge server.
        verification_fixed_s: T_fix of eq. 7.
        verification_per_user_s: T_lin of eq. 7.
        payload_bits: Q_tok: the retained entries of the draft's distribution, each a quantised probability and a
            vocabulary index.
        drafting_latency_s: Mean time in which a device drafts a token, T^S.
        server_drafting_latency_s: Time in which the server drafts a token of one user (Cen-SPIN).
        tasks: Acceptance by task.
    """

    name: str
    draft_model: str
    target_model: str
    verification_fixed_s: float
    verification_per_user_s: float
    payload_bits: float
    drafting_latency_s: float
    server_drafting_latency_s: float
    tasks: tuple[TaskConfig, ...]


def load_model_pair(name: str) -> ModelPair:
    """The model pair of that name.

    Raises:
        ValueError: There is no such pair.
    """
    if name not in MODEL_PAIRS:
        raise ValueError(f"model_pair must be one of {', '.join(MODEL_PAIRS)}, got {name!r}")
    return _read(name)


@lru_cache
def _read(name: str) -> ModelPair:
    profile = json.loads(resources.files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8"))

    def value(key: str) -> float:
        return float(profile[key]["value"])

    return ModelPair(
        name=name,
        draft_model=profile["draft_model"],
        target_model=profile["target_model"],
        verification_fixed_s=value("verification_fixed_s"),
        verification_per_user_s=value("verification_per_user_s"),
        payload_bits=value("retained_entries") * (value("probability_bits") + value("vocabulary_index_bits")),
        drafting_latency_s=value("drafting_latency_s"),
        server_drafting_latency_s=value("server_drafting_latency_s"),
        tasks=tuple(TaskConfig(**task) for task in profile["tasks"]["value"]),
    )
