"""How a rate is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

REPETITIONS = 5
SECONDS_PER_REPETITION = 0.2
EPISODE_CALLS = 201  # rounds of an episode and the step that resets


@dataclass(frozen=True)
class Measurement:
    """A rate, median over repetitions, with the slowest and the fastest.

    Attributes:
        section: The table it belongs to.
        name: What ran.
        rate: What happened how often in a second, named by ``unit``.
        low: The slowest repetition.
        high: The fastest.
        unit: Of the rate.
        remark: What else was measured, such as the goodput reached.
    """

    section: str
    name: str
    rate: float
    low: float
    high: float
    unit: str
    remark: str = ""


def measure(
    section: str,
    name: str,
    unit: str,
    per_call: float,
    call: Callable[[], object],
    remark: str = "",
    *,
    block: int = EPISODE_CALLS,
) -> Measurement:
    """Times calls, in repetitions of whole blocks that last about ``SECONDS_PER_REPETITION``.

    A block is as many calls as it takes until their cost repeats: an episode of an environment, one of a solver.
    """
    begin = time.perf_counter()
    for _ in range(block):
        call()
    calls = block * max(1, round(SECONDS_PER_REPETITION / (time.perf_counter() - begin)))
    rates = []
    for _ in range(REPETITIONS):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        rates.append(per_call * calls / (time.perf_counter() - begin))
    return Measurement(section, name, float(np.median(rates)), min(rates), max(rates), unit, remark)
