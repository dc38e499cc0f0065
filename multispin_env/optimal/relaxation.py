"""The heterogeneous problem with real-valued lengths: its maximiser, and a bound that certifies it.

With bandwidth by Lemma 3 the latency phi(L) is convex and homogeneous of degree 1, and E[N | L] is concave, so goodput
``sum_k E_k(L_k) / (phi(L) + T_ver)`` is quasi-concave over the box [1, L_max]^K: a local maximum is the maximum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from multispin_env.core.equations import FloatArray
from multispin_env.optimal.point import Point
from multispin_env.optimal.rows import Rows

_MAX_STEPS = 300
_RELATIVE_GAP = 1e-10
# Longest Newton step in the logarithm of a share or of the latency.
_LONGEST_LOG_STEP = 4.0
_LEAST_CURVATURE = 1e-9
_NEWTON_TRIALS = 2
# Covers the rounding in the bound, of about the square root of users times 1e-16.
_ROUNDING = 1e-12


class Relaxed(NamedTuple):
    """Real-valued optimum, one per column of ``Rows``.

    Attributes:
        length: Maximiser, shape ``(users, rows)``.
        upper_bound: Goodput that no lengths in the box exceed, shape ``(rows,)``.
    """

    length: FloatArray
    upper_bound: FloatArray


class _Prices(NamedTuple):
    """First-order information at a point.

    Attributes:
        price: Tokens that a token's latency costs, ``tau dphi/dL_k``, shape ``(users, rows)``.
        surplus: ``ln(E'_k / price_k)``: the sign tells which way to change the length, shape ``(users, rows)``.
        gap: How far the maximum may lie above the point's goodput, shape ``(rows,)``.
    """

    price: FloatArray
    surplus: FloatArray
    gap: FloatArray


def relax(rows: Rows, start_length: FloatArray, shortest_latency_s: FloatArray) -> Relaxed:
    """Maximises goodput over real lengths, and proves it.

    Newton's method, always uphill: where its step does not raise the goodput, half of it and then ever shorter gradient
    steps are tried until one does. Problems leave the batch as their gap closes, which takes about four steps. The
    bound holds wherever the iteration stops. It is within 1e-10 of the maximum but where the problem degenerates to a
    linear program: there (every token accepted, or uploads below some 1e-9 of the drafting) it can be looser.

    Args:
        rows: The problems.
        start_length: Where to start, within the box, shape ``(users, rows)``.
        shortest_latency_s: phi at L = 1 for all users, the least there is, shape ``(rows,)``.
    """
    best = np.empty_like(start_length)
    bound = np.empty_like(shortest_latency_s)
    active = np.arange(shortest_latency_s.size)
    failures = np.zeros_like(shortest_latency_s)
    point = Point.at(rows, start_length)
    for steps_left in reversed(range(_MAX_STEPS)):
        prices = _prices(rows, point, shortest_latency_s)
        done = prices.gap <= _RELATIVE_GAP * point.goodput if steps_left else np.ones_like(prices.gap, dtype=bool)
        if done.any():
            best[:, active[done]] = point.length[:, done]
            bound[active[done]] = (point.goodput + np.maximum(prices.gap, 0.0))[done] * (1.0 + _ROUNDING)
            left = np.flatnonzero(~done)
            if not left.size:
                break
            rows, point = rows.take(left), point.take(left)
            prices = _Prices(*(field[..., left] for field in prices))
            active, failures, shortest_latency_s = active[left], failures[left], shortest_latency_s[left]
        trial = Point.at(rows, _newton_length(rows, point, prices, failures))
        better = trial.goodput > point.goodput
        point = trial if better.all() else point.replaced(better, trial)
        failures = np.where(better, 0.0, failures + 1.0)
    return Relaxed(best, bound)


def _prices(rows: Rows, point: Point, shortest_latency_s: FloatArray) -> _Prices:
    """Gradient and certificate.

    As phi is convex and homogeneous, ``phi(L) >= p L`` for its gradient p at any point. With tau the point's goodput
    and D the maximum over the box of ``sum_k E_k(L_k) - tau p_k L_k``, which is separable, every goodput is at most
    ``(D + tau phi) / (phi + T_ver)`` at its own phi; if D exceeds ``tau T_ver`` that is largest at the least phi.
    """
    weight = rows.upload_s / (point.upload_s * point.upload_s)
    price = weight * (point.goodput * point.latency_s / (weight * point.length).sum(axis=0))
    log_ratio = np.log(rows.first_slope / price)
    response = (log_ratio / -rows.log_acceptance).clip(1.0, rows.max_length)
    dual = (rows.tokens(response) - price * response).sum(axis=0)
    gap = (dual - point.goodput * rows.verification_s) / (shortest_latency_s + rows.verification_s)
    return _Prices(price, log_ratio + rows.log_acceptance * point.length, gap)


@np.errstate(divide="ignore", over="ignore", invalid="ignore")
def _newton_length(rows: Rows, point: Point, prices: _Prices, failures: FloatArray) -> FloatArray:
    """Lengths after one step: Newton's, its half after one failure, and ever shorter gradient steps after more.

    The unknowns are the logarithms of the shares b_k, of phi and of the band's multiplier m, with
    ``L_k = phi b_k / (b_k T_k + q_k)``: in them the conditions stay smooth where an upload is short against the
    drafting, and lengths almost touch the pole of Lemma 3. For a user between its bounds the condition is
    ``ln(E'_k dL_k/db_k) = m``; a user at a bound that it wants to cross keeps its length. Two more equations couple the
    users, the sum of the shares and ``m = ln(tau phi / sum_k b_k phi / upload_k)``: the system is diagonal but for two
    unknowns.
    """
    length, latency_s, upload_s, goodput = point
    free = ((length > 1.0) | (prices.surplus > 0.0)) & ((length < rows.max_length) | (prices.surplus < 0.0))
    share = rows.upload_s * length / upload_s
    uploading = upload_s / latency_s
    drafting = 1.0 - uploading
    duration_s = latency_s + rows.verification_s
    steepness = -rows.log_acceptance * length
    # The change of ln(b) is own + by_latency * (that of ln phi) - by_multiplier * (that of m).
    by_multiplier = free / np.maximum(steepness * uploading + 2.0 * drafting, _LEAST_CURVATURE)
    own = prices.surplus * by_multiplier
    by_latency = (1.0 - steepness) * by_multiplier - ~free / uploading
    # The sum of the shares weighs these changes with the shares, the multiplier's equation with the following.
    spent = share * drafting / uploading
    cost = free * prices.price * length / (goodput * duration_s)
    gain = cost * np.exp(prices.surplus)
    weight = 2.0 * spent / (1.0 + spent.sum(axis=0)) - gain * uploading
    share_own, share_latency, share_multiplier = (
        (share * change).sum(axis=0) for change in (own, by_latency, by_multiplier)
    )
    weight_own = (weight * own).sum(axis=0)
    weight_latency = (weight * by_latency).sum(axis=0) - rows.verification_s / duration_s - gain.sum(axis=0)
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
    moved = latency_s * np.exp(log_latency) * share / (share * rows.drafting_s + rows.upload_s)
    # Where a step is undefined the comparison is false, and the length stays.
    return np.where(free & (moved > 0.0), moved, length).clip(1.0, rows.max_length)
