"""The heterogeneous problem with real-valued lengths: its maximiser, prices, and a bound that certifies it.

With bandwidth by Lemma 3 the latency phi(L) is convex and homogeneous of degree 1, T_ver(L) is convex and the users'
values are concave, so that the objective is quasi-concave over the box of lengths: a local maximum is the maximum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.optimal.batch import ProblemBatch
from multispin_env.optimal.candidate import Candidate

_MAX_STEPS = 60
# A stop earlier than rounding: the integers that are sought lie much farther away.
_RELATIVE_GAP = 1e-4
# Longest Newton step in the logarithm of a share or of the latency.
_LONGEST_LOG_STEP = 4.0
_LEAST_CURVATURE = 1e-9
_NEWTON_TRIALS = 2
_MAX_FAILURES = 10
# Where a user may draft nothing: logarithms of lengths need some.
_LEAST_LENGTH = 0.02
# Covers the rounding in the bound, of about the square root of users times 1e-16.
_ROUNDING = 1e-12
_TINY = 1e-300


class Relaxed(NamedTuple):
    """Real-valued optimum, one per column of the batch.

    Attributes:
        length: Maximiser, shape ``(users, rows)``.
        token_s: By how much a token of each user delays all drafts at that optimum, ``dphi/dL_k``, shape ``(users,
            rows)``. No lengths have a shorter latency than ``sum_k token_s_k L_k``.
        upper_bound: Objective that no lengths in the box exceed, shape ``(rows,)``.
    """

    length: FloatArray
    token_s: FloatArray
    upper_bound: FloatArray

    def take(self, columns: IntArray) -> Relaxed:
        """Those of the problems that ``columns`` selects."""
        return Relaxed(*(field[..., columns] for field in self))


class _Prices(NamedTuple):
    """First-order information at a candidate.

    Attributes:
        time: The price of a second: the candidate's own objective where that is a ratio, shape ``(rows,)``.
        token_s: See ``Relaxed``.
        total: What a token of each user costs: its time, and its own price, shape ``(users, rows)``.
        band_part: The part of that for its drafting and upload, the same shape, or 1.
        surplus: ``ln(E'_k / total_k)``: the sign tells which way to change the length, the same shape.
        bound: No objective is higher, shape ``(rows,)``.
    """

    time: FloatArray
    token_s: FloatArray
    total: FloatArray
    band_part: FloatArray
    surplus: FloatArray
    bound: FloatArray

    def take(self, columns: IntArray) -> _Prices:
        """The prices of the problems that ``columns`` selects."""
        one = self.band_part.shape[-1] == 1
        return _Prices(*(f if one and f is self.band_part else f[..., columns] for f in self))


def relax(batch: ProblemBatch, start_length: FloatArray, per_token_s: FloatArray) -> Relaxed:
    """Maximises the objective over real lengths, and bounds it.

    Newton's method, always uphill: where its step does not raise the objective, half of it and then ever shorter
    gradient steps are tried until one does. Problems leave the batch as their gap closes, which takes about four steps.
    The bound holds wherever the iteration stops.

    Args:
        batch: The problems.
        start_length: Where to start, within the box, shape ``(users, rows)``.
        per_token_s: Latency per token at a common length, theta of Lemma 1, shape ``(rows,)``.
    """
    least = np.full_like(start_length, float(batch.min_length))
    shortest_s = batch.duration_s(batch.min_length * per_token_s, least)
    num_rows = shortest_s.size
    best = Relaxed(np.empty_like(least), np.empty_like(least), np.empty(num_rows))
    active = np.arange(num_rows)
    failures = np.zeros(num_rows)
    candidate = Candidate.at(batch, np.maximum(start_length, _LEAST_LENGTH))
    for steps_left in reversed(range(_MAX_STEPS)):
        prices = _prices(batch, candidate, shortest_s)
        close = prices.bound - candidate.objective <= _RELATIVE_GAP * np.abs(prices.bound)
        done = close | (failures > _MAX_FAILURES) | (steps_left == 0)
        if done.any():
            found = (candidate.length, prices.token_s, prices.bound)
            for field, value in zip(best, found, strict=True):
                field[..., active[done]] = value[..., done]
            left = np.flatnonzero(~done)
            if not left.size:
                break
            batch, candidate = batch.take(left), candidate.take(left)
            prices = prices.take(left)
            active, failures, shortest_s = active[left], failures[left], shortest_s[left]
        trial = Candidate.at(batch, _newton_length(batch, candidate, prices, failures))
        better = trial.objective > candidate.objective
        if better.all():
            candidate = trial
        else:
            pairs = zip(candidate, trial, strict=True)
            candidate = Candidate(*(np.where(better, theirs, ours) for ours, theirs in pairs))
        failures = np.where(better, 0.0, failures + 1.0)
    return best


@np.errstate(divide="ignore", over="ignore", invalid="ignore")
def _prices(batch: ProblemBatch, candidate: Candidate, shortest_s: FloatArray) -> _Prices:
    """Gradient and certificate.

    As phi is convex and homogeneous, ``phi(L) >= p L`` for its gradient p at any point, and the time per verified token
    is at least its tangent. So value less time at a price is at most a separable sum, which each user's best response
    to the prices maximises. A ratio above the price by x is a surplus of x times the duration.
    """
    time = candidate.objective if batch.time_price is None else batch.time_price
    time = np.maximum(time, _TINY)
    weight = batch.upload_s / (candidate.upload_s * candidate.upload_s)
    token_s = weight * (candidate.latency_s / (weight * candidate.length).sum(axis=0))
    constant_s = batch.verification_s
    band = total = time * token_s
    if batch.per_token_s is not None and batch.free_drafted is not None:
        per_token_s = batch.per_token_s * (candidate.length.sum(axis=0) > batch.free_drafted)
        constant_s = constant_s - per_token_s * batch.free_drafted
        total = total + time * per_token_s
    if batch.token_price is not None:
        total = total + batch.token_price
    log_ratio = np.log(np.maximum(batch.first_slope, _TINY) / np.maximum(total, _TINY))
    response = (log_ratio / -batch.log_acceptance).clip(batch.min_length, batch.max_length)
    dual = (np.expm1((response + 1.0) * batch.log_acceptance) * batch.negated_scale - total * response).sum(axis=0)
    surplus = dual - time * constant_s
    surplus += _ROUNDING * (np.abs(dual) + time * np.abs(constant_s))
    bound = surplus if batch.time_price is not None else time + np.maximum(surplus, 0.0) / shortest_s
    log_surplus = log_ratio + batch.log_acceptance * candidate.length
    band_part = np.ones((1, 1)) if total is band else band / total
    return _Prices(time, token_s, total, band_part, log_surplus, bound)


@np.errstate(divide="ignore", over="ignore", invalid="ignore")
def _newton_length(batch: ProblemBatch, candidate: Candidate, prices: _Prices, failures: FloatArray) -> FloatArray:
    """Lengths after one step: Newton's, its half after one failure, and ever shorter gradient steps after more.

    The unknowns are the logarithms of the shares b_k, of phi and of the band's multiplier m, with
    ``L_k = phi b_k / (b_k T_k + q_k)``: in them the conditions stay smooth where an upload is short against the
    drafting, and lengths almost touch the pole of Lemma 3. For a user between its bounds the condition is
    ``E'_k = total price``, of which the part rho for the band is ``exp(m) / (dL_k/db_k)``; a user at a bound that it
    wants to cross keeps its length. Two more equations couple the users, the sum of the shares and
    ``m = ln(time price * phi / sum_k b_k phi / upload_k)``: the system is diagonal but for two unknowns.
    """
    length, latency_s, upload_s, duration_s, _ = candidate
    least = max(float(batch.min_length), _LEAST_LENGTH)
    free = ((length > least) | (prices.surplus > 0.0)) & ((length < batch.max_length) | (prices.surplus < 0.0))
    share = batch.upload_s * length / upload_s
    uploading = upload_s / latency_s
    drafting = 1.0 - uploading
    steepness = -batch.log_acceptance * length
    band_part = prices.band_part
    # The change of ln(b) is own + by_latency * (that of ln phi) - by_multiplier * (that of m).
    pivot = free / np.maximum(steepness * uploading + 2.0 * band_part * drafting, _LEAST_CURVATURE)
    by_multiplier = band_part * pivot
    own = prices.surplus * pivot
    by_latency = (band_part - steepness) * pivot - ~free / uploading
    # The sum of the shares weighs these changes with the shares, the multiplier's equation with the following.
    spent = share * drafting / uploading
    cost = free * prices.total * length / (prices.time * duration_s)
    gain = cost * np.exp(prices.surplus)
    # Where a ratio is maximised, the price of time changes with the lengths.
    if batch.time_price is not None:
        rise, outside = np.zeros_like(gain), np.ones_like(latency_s)
    else:
        rise, outside = gain - cost * (1.0 - band_part), 1.0 - latency_s / duration_s
    weight = 2.0 * spent / (1.0 + spent.sum(axis=0)) - rise * uploading
    share_own, share_latency, share_multiplier = (
        (share * change).sum(axis=0) for change in (own, by_latency, by_multiplier)
    )
    weight_own = (weight * own).sum(axis=0)
    weight_latency = (weight * by_latency).sum(axis=0) - outside - rise.sum(axis=0)
    weight_multiplier = 1.0 - (weight * by_multiplier).sum(axis=0)
    determinant = share_latency * weight_multiplier + weight_latency * share_multiplier
    newton_latency = -(share_multiplier * weight_own + share_own * weight_multiplier) / determinant
    newton_multiplier = (share_own * weight_latency - share_latency * weight_own) / determinant
    newton = failures < _NEWTON_TRIALS
    damping = np.where(newton, 0.5**failures, 0.5 * 0.25 ** (failures - _NEWTON_TRIALS))
    # If short enough, a gradient step goes uphill: each length along its own gradient and, as phi is homogeneous, all
    # of them together along the sum of the gradients.
    # The 1 bounds the latter where every token is accepted, and a sum of lengths has no curvature.
    gradient_latency = (gain - cost).sum(axis=0) / (gain * (steepness + 1.0)).sum(axis=0)
    log_latency = np.where(newton, newton_latency, gradient_latency).clip(-_LONGEST_LOG_STEP, _LONGEST_LOG_STEP)
    log_share = own + newton * by_latency * log_latency - by_multiplier * np.where(newton, newton_multiplier, 0.0)
    share *= np.exp(damping * log_share.clip(-_LONGEST_LOG_STEP, _LONGEST_LOG_STEP))
    log_latency *= damping
    moved = latency_s * np.exp(log_latency) * share / (share * batch.drafting_s + batch.upload_s)
    # Where a step is undefined the comparison is false, and the length stays.
    return np.where(free & (moved > 0.0), moved, length).clip(least, batch.max_length)
