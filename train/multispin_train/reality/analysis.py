"""What measured requests say about acceptance: its spread, its course along a text, and what a draft gets of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from multispin_env.core.equations import FloatArray
from multispin_env.evaluation.statistics import Estimate
from multispin_env.profiles import Traces
from multispin_train.reality.drift import Drift, fit_drift
from multispin_train.reality.prefixes import Prefixes, compare_prefixes
from multispin_train.reality.resampling import RESAMPLES, Curve, Sample, as_curve, as_estimate

# Positions are averaged over so many, for a curve that the eye can follow.
POSITIONS_PER_BIN = 8
# The beginning of a text, held against the rest of it.
EARLY_POSITIONS = 16


@dataclass(frozen=True)
class TaskAcceptance:
    """A task's acceptance.

    Attributes:
        name: The task's name.
        requests: Requests measured of it.
        tokens: Tokens of their texts.
        mean: Mean, over requests, of the mean acceptance over a request's positions.
        std: The standard deviation of the same.
        position_std: Standard deviation of the acceptance over all positions of the task's texts.
    """

    name: str
    requests: int
    tokens: int
    mean: Estimate
    std: Estimate
    position_std: Estimate


@dataclass(frozen=True)
class Analysis:
    """What the traces say.

    Attributes:
        tasks: Acceptance by task.
        request_mean: Mean acceptance of each request, in the order of the traces.
        position: Mean acceptance in bins of ``POSITIONS_PER_BIN`` positions, of the texts that get there.
        early: Mean acceptance of the first ``EARLY_POSITIONS``, less that of what follows in the same texts; None if
            no text is longer.
        acceptance: Drift of the acceptance, the probability that a draft is accepted given the text before it.
        outcome: Drift of the outcomes: whether drafts are accepted. It is the one to simulate, as the autocovariance of
            the outcomes decides how long accepted runs are; an accepted token is itself news about the next.
        prefixes: Expected accepted prefixes.
    """

    tasks: tuple[TaskAcceptance, ...]
    request_mean: FloatArray
    position: Curve
    early: Estimate | None
    acceptance: Drift
    outcome: Drift
    prefixes: Prefixes


def analyse(traces: Traces, resamples: int = RESAMPLES, on_resample: Callable[[], None] = lambda: None) -> Analysis:
    """Everything that the traces say, with 95 % intervals of the percentile bootstrap over requests.

    Args:
        traces: The measured requests.
        resamples: Bootstrap resamples, drawn within tasks; at least 1.
        on_resample: Called after each of them, and once before, for each of the two fits: they take the time.
    """
    sample = Sample(traces, resamples)
    request_mean = sample.sums(traces.acceptance) / traces.length
    acceptance = fit_drift(sample, traces.acceptance, on_resample)
    outcome = fit_drift(sample, traces.outcome_probability, on_resample)
    return Analysis(
        tasks=tuple(_task(sample, name, request_mean) for name in sample.names),
        request_mean=request_mean,
        position=_along_positions(sample),
        early=_early(sample),
        acceptance=acceptance,
        outcome=outcome,
        prefixes=compare_prefixes(sample, outcome),
    )


def _task(sample: Sample, name: str, request_mean: FloatArray) -> TaskAcceptance:
    rows = sample.of_task[name]
    weights, values = sample.weights[:, rows] / len(rows), request_mean[rows]
    mean = weights @ values
    variance = np.maximum(weights @ np.square(values) - np.square(mean), 0.0)
    tokens = weights @ sample.traces.length[rows]
    first, second = (weights @ sample.sums(sample.traces.acceptance**power)[rows] / tokens for power in (1, 2))
    return TaskAcceptance(
        name=name,
        requests=len(rows),
        tokens=int(sample.traces.length[rows].sum()),
        mean=as_estimate(mean),
        std=as_estimate(np.sqrt(variance)),
        position_std=as_estimate(np.sqrt(np.maximum(second - np.square(first), 0.0))),
    )


def _along_positions(sample: Sample) -> Curve:
    starts = np.arange(0, sample.inside.shape[1], POSITIONS_PER_BIN)
    total = np.add.reduceat(sample.traces.acceptance * sample.inside, starts, axis=1)
    count = np.add.reduceat(sample.inside.astype(np.float64), starts, axis=1)
    with np.errstate(invalid="ignore"):  # a resample may lack the one text that gets so far
        return as_curve((sample.weights @ total) / (sample.weights @ count))


def _early(sample: Sample) -> Estimate | None:
    long = sample.traces.length > EARLY_POSITIONS
    if not long.any():
        return None
    early = sample.traces.acceptance[long, :EARLY_POSITIONS].mean(axis=1)
    late = sample.sums(sample.traces.acceptance)[long] - EARLY_POSITIONS * early
    difference = early - late / (sample.traces.length[long] - EARLY_POSITIONS)
    weights = sample.weights[:, long]
    return as_estimate(weights @ difference / weights.sum(axis=1))
