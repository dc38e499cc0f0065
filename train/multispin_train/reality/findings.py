"""What the page is written from, and how its figures are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multispin_env.evaluation.statistics import Estimate
from multispin_env.profiles import ModelPair, Traces
from multispin_train.benchmark.protocol import Row
from multispin_train.reality.analysis import Analysis


@dataclass(frozen=True)
class Truncation:
    """What uploading so many entries gives.

    Attributes:
        retained_entries: V_hat.
        payload_bits: Q_tok.
        acceptance_mean: Mean, over requests, of the mean acceptance.
        standard_error: Its standard error.
    """

    retained_entries: int
    payload_bits: int
    acceptance_mean: float
    standard_error: float


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the page is written from.

    Attributes:
        pair: The pair.
        traces: Its measured requests.
        analysis: What they say.
        timing: ``timing`` of the pair's file, or None.
        truncation: The sweep of V_hat; empty if there is none.
        seeds: Episodes of everyone in each world.
        rows: Those of each world, by its name.
    """

    pair: ModelPair
    traces: Traces
    analysis: Analysis
    timing: Mapping[str, Any] | None
    truncation: Sequence[Truncation]
    seeds: int
    rows: Mapping[str, Sequence[Row]]


def less_one(ratio: Estimate) -> Estimate:
    """A ratio as a gain."""
    return Estimate(*(value - 1.0 for value in ratio))


def percent(estimate: Estimate, *, sign: bool = False) -> str:
    """An estimate in per cent."""
    return estimate.text(1, scale=100.0, sign=sign)
