"""The lengths of each user that can be part of an improvement: what the real-valued problem's prices leave open."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multispin_env.core.equations import FloatArray
from multispin_env.optimal.batch import ProblemBatch
from multispin_env.optimal.candidate import Candidate
from multispin_env.optimal.relaxation import Relaxed

_BISECTIONS = 12
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
        slack: Sum of the users' losses that an improvement can have, against each one's best response to the prices,
            shape ``(rows,)``; negative where no improvement is possible.
    """

    low: FloatArray
    high: FloatArray
    token_price: FloatArray
    slack: FloatArray


def windows(batch: ProblemBatch, relaxed: Relaxed, found: Candidate) -> Windows:
    """Excludes lengths by prices of time, of which the real-valued problem's are the sharpest.

    With ``phi(L) >= sum_k token_s_k L_k`` and a verification time above its tangent, value less time's cost is at most
    a separable sum. An improvement is a positive one, or one above the candidate's objective where time has its own
    price: then the users' losses add up to no more than the best responses have left. Losses are convex, so that what
    remains of each user's lengths is a window.
    """
    time_price = least_time_price(batch, found)
    fixed = time_price * relaxed.token_s
    if batch.token_price is not None:
        fixed = fixed + batch.token_price
    charge = np.zeros_like(time_price)
    if batch.per_token_s is not None:

        def beyond(charge: FloatArray) -> NDArray[np.bool_]:
            response, _ = best_response(batch, fixed + charge)
            too_many: NDArray[np.bool_] = response.sum(axis=0) > batch.free_drafted
            return too_many

        charge = least_charge(beyond, time_price * batch.per_token_s)
    price = fixed + charge
    best, most = best_response(batch, price)
    needed = time_price * batch.verification_s
    scale = np.abs(most).sum(axis=0) + needed
    if batch.time_price is not None:
        needed = needed + found.objective
    if batch.free_drafted is not None:
        needed = needed - charge * batch.free_drafted
    slack = most.sum(axis=0) - needed + _ROUNDING * (scale + np.abs(needed))
    ends = np.array([batch.min_length, batch.max_length], dtype=np.float64)[:, None, None]
    low, high = _farthest(batch, price, np.stack([best, best]), ends, most - slack)
    return Windows(low, high, price, slack)


def least_time_price(batch: ProblemBatch, found: Candidate) -> FloatArray:
    """The price of a second at which an improvement on the lengths found has a net value.

    Where a ratio is maximised, that is their own ratio.
    """
    return np.maximum(found.objective, 0.0) if batch.time_price is None else batch.time_price


def least_charge(beyond: Callable[[FloatArray], NDArray[np.bool_]], most: FloatArray) -> FloatArray:
    """The least charge for the verification of a token, up to the most, at which no more than the free ones are taken.

    Args:
        beyond: Where a charge leaves more tokens than are free; it falls with the charge.
        most: What verification costs where no token is free.
    """
    low, high = np.zeros_like(most), most
    for step in range(_BISECTIONS):
        # The ends come first, as mostly one of them is the answer.
        charge = low if step == 0 else high if step == 1 else 0.5 * (low + high)
        too_many = beyond(charge)
        low, high = np.where(too_many, charge, low), np.where(too_many, high, charge)
        if (low >= high).all():
            break
    return high


@np.errstate(divide="ignore", over="ignore")
def best_response(batch: ProblemBatch, price: FloatArray) -> tuple[FloatArray, FloatArray]:
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
