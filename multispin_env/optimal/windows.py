"""The lengths of each user that can be part of an improvement: what the real-valued problem's prices leave open."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from multispin_env.core.round import FloatArray
from multispin_env.optimal.batch import ProblemBatch
from multispin_env.optimal.candidate import Candidate
from multispin_env.optimal.relaxation import Relaxed

_BISECTIONS = 20
# Relative to values and the cost of time: differences below are rounding.
_ROUNDING = 1e-12
_TINY = 1e-300


class Windows(NamedTuple):
    """Lengths from ``low`` to ``high`` for each user; no others improve on a candidate.

    Attributes:
        low: Shape ``(users, rows)``.
        high: The same.
        token_price: What a token costs each user in time, drafting, upload and verification, at the prices used, and
            by itself, shape ``(users, rows)``.
        verification_price: The part of it for its verification, shape ``(rows,)``; 0 where that is free.
        slack: Sum of the users' losses that an improvement can have, against each one's best response to the prices,
            shape ``(rows,)``; negative where no improvement is possible.
    """

    low: FloatArray
    high: FloatArray
    token_price: FloatArray
    verification_price: FloatArray
    slack: FloatArray


def windows(batch: ProblemBatch, relaxed: Relaxed, found: Candidate) -> Windows:
    """Excludes lengths by prices of time, of which the real-valued problem's are the sharpest.

    With ``phi(L) >= sum_k token_s_k L_k`` and a verification time above its tangent, value less time's cost is at most
    a separable sum. An improvement is a positive one, or one above the candidate's objective where time has its own
    price: then the users' losses add up to no more than the best responses have left. Losses are convex, so that what
    remains of each user's lengths is a window.
    """
    time_price = found.objective if batch.time_price is None else batch.time_price
    fixed = time_price * relaxed.token_s
    if batch.token_price is not None:
        fixed = fixed + batch.token_price
    verification_price = _verification_price(batch, fixed, time_price)
    price = fixed + verification_price
    best, most = _best_response(batch, price)
    needed = time_price * batch.verification_s
    scale = np.abs(most).sum(axis=0) + needed
    if batch.time_price is not None:
        needed = needed + found.objective
    if batch.free_drafted is not None:
        needed = needed - verification_price * batch.free_drafted
    slack = most.sum(axis=0) - needed + _ROUNDING * (scale + np.abs(needed))
    ends = np.array([batch.min_length, batch.max_length], dtype=np.float64)[:, None, None]
    low, high = _farthest(batch, price, np.stack([best, best]), ends, most - slack)
    return Windows(low, high, price, verification_price, slack)


def _verification_price(batch: ProblemBatch, fixed_price: FloatArray, time_price: FloatArray) -> FloatArray:
    """Price of a verified token, between nothing and its time's: at it, the best responses use up the free tokens."""
    if batch.per_token_s is None or batch.free_drafted is None:
        return np.zeros_like(time_price)
    high = time_price * batch.per_token_s
    low, middle = np.zeros_like(high), high
    for _ in range(_BISECTIONS):
        response, _ = _best_response(batch, fixed_price + middle)
        beyond = response.sum(axis=0) > batch.free_drafted
        low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
        middle = 0.5 * (low + high)
    return high


@np.errstate(divide="ignore", over="ignore")
def _best_response(batch: ProblemBatch, price: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The best integer length of each user where a token costs this much in all, and its net value."""
    real = np.log(np.maximum(batch.first_slope, _TINY) / np.maximum(price, _TINY)) / -batch.log_acceptance
    below = np.floor(real.clip(batch.min_length, batch.max_length))
    above = np.minimum(below + 1.0, batch.max_length)
    value_below, value_above = _net_value(batch, price, below), _net_value(batch, price, above)
    return np.where(value_above > value_below, above, below), np.maximum(value_above, value_below)


def _net_value(batch: ProblemBatch, price: FloatArray, length: FloatArray) -> FloatArray:
    return np.expm1((length + 1.0) * batch.log_acceptance) * batch.negated_scale - price * length


def _farthest(
    batch: ProblemBatch, price: FloatArray, inside: FloatArray, end: FloatArray, least: FloatArray
) -> FloatArray:
    """From lengths inside the window towards both ends, the last ones whose net value is not below the least."""
    direction = np.where(end > inside, 1.0, -1.0)
    for _ in range((batch.max_length - batch.min_length).bit_length()):
        middle = inside + direction * np.ceil(0.5 * np.abs(end - inside))
        within = _net_value(batch, price, middle) >= least
        inside, end = np.where(within, middle, inside), np.where(within, end, middle - direction)
    return inside
