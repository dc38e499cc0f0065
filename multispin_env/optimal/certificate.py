"""Proof of the integer optimum: branch and bound over the latency, and enumeration of what is left.

At a fixed latency phi the users' lengths are coupled only by the band: maximise ``sum_k v_k(l_k)`` subject to
``sum_k g_k(l_k, phi) <= 1`` with ``g_k(l, phi) = q_k l / (phi - l T_k)``, a knapsack of concave values and convex costs.
With a multiplier nu of the band every user chooses alone, which bounds the knapsack. The terms ``v_k(l) - nu g_k(l,
phi)`` are concave in phi, so that their tangents bound them over a whole interval of latencies, with an error of the
square of its width. An interval whose bound exceeds the best known objective is halved, or, where few lengths lie
within the excess of the users' best ones, all of these are evaluated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multispin_env.core.round import FloatArray, IntArray
from multispin_env.optimal.batch import ProblemBatch
from multispin_env.optimal.candidate import Candidate
from multispin_env.optimal.relaxation import Relaxed

_FIRST_INTERVALS = 8
_CHILDREN = 2
_MAX_ROUNDS = 40
# An interval is enumerated once the users' choices within its excess have at most this many combinations.
_MOST_COMBINATIONS = 256.0
# Table entries that are worked on at once, which bounds the memory.
_ENTRIES_AT_ONCE = 1 << 18
# Relative to value and time's cost: differences below are rounding.
_ROUNDING = 1e-12
_TINY = 1e-300


class _Windows(NamedTuple):
    """Lengths of each user that an improvement may have, as tables of shape ``(rows, users, width)``.

    Attributes:
        length: Lengths from the least upwards.
        value: ``v_k``, -inf beyond the window.
        drafting_s: ``l T_k``.
        load_s: ``q_k l``.
    """

    length: FloatArray
    value: FloatArray
    drafting_s: FloatArray
    load_s: FloatArray

    def take(self, rows: IntArray) -> _Windows:
        return _Windows(*(field[rows] for field in self))


class _Intervals(NamedTuple):
    """Latencies between ``low_s`` and ``high_s`` of the problem ``row``; all of shape ``(intervals,)``."""

    row: IntArray
    low_s: FloatArray
    high_s: FloatArray

    def take(self, index: IntArray | NDArray[np.bool_]) -> _Intervals:
        return _Intervals(*(field[index] for field in self))


def certify(batch: ProblemBatch, relaxed: Relaxed, found: Candidate) -> tuple[Candidate, FloatArray]:
    """Improves integer lengths to the optimum, as far as the limits of effort allow, and bounds what is possible.

    Args:
        batch: The problems.
        relaxed: Their real-valued optima.
        found: Integer lengths, the better the faster.

    Returns:
        The best lengths and, for each problem, an objective that no lengths exceed: equal to theirs where the search
        was completed.
    """
    found = Candidate(*(field.copy() for field in found))
    search = _Search(batch, relaxed, found)
    search.run()
    return found, np.maximum(found.objective, search.left_over)


class _Search:
    """The state of branch and bound on a batch."""

    def __init__(self, batch: ProblemBatch, relaxed: Relaxed, found: Candidate) -> None:
        self.batch = batch
        self.found = found
        self.left_over = np.full(found.objective.size, -np.inf)
        self.relaxed = relaxed

    def run(self) -> None:
        batch, found = self.batch, self.found
        low, high, most = _token_windows(batch, self.relaxed, found)
        open_rows = np.flatnonzero(low.max(axis=0) >= 0)
        width = int((high - low).max()) + 1
        users = low.shape[0]
        self.windows = _window_tables(batch, low, high, width)
        intervals = self._first_intervals(low, high, most)
        at_once = max(1, _ENTRIES_AT_ONCE // (users * width))
        for _ in range(_MAX_ROUNDS):
            if not intervals.row.size:
                return
            self.evaluated = getattr(self, "evaluated", 0) + intervals.row.size
            parts = []
            for start in range(0, intervals.row.size, at_once):
                part = intervals.take(slice(start, start + at_once))
                parts.append(self._round(part))
            intervals = _Intervals(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))
        bound = self.bounds(intervals)
        np.maximum.at(self.left_over, intervals.row, bound)

    def price(self, rows):
        return self.found.objective[rows] if self.batch.time_price is None else self.batch.time_price[rows]

    def threshold(self, rows):
        """What value less time's cost an improvement exceeds."""
        price = self.price(rows)
        if self.batch.time_price is None:
            return _ROUNDING * price * self.found.duration_s[rows]
        f = self.found.objective[rows]
        return f + _ROUNDING * (np.abs(f) + price * self.found.duration_s[rows])

    def _first_intervals(self, low, high, most):
        batch = self.batch
        rows = np.arange(low.shape[1])
        floor = Candidate.at(batch, low.astype(float)).latency_s
        alone = np.where(high > 0, batch.drafting_s + batch.upload_s, np.inf).min(axis=0)
        floor = np.maximum(floor, np.where(np.isfinite(alone), alone, 0.0))
        ceiling = Candidate.at(batch, high.astype(float)).latency_s
        price = np.maximum(self.price(rows), _TINY)
        ceiling = np.minimum(ceiling, (most - self.threshold(rows)) / price - batch.verification_s)
        ceiling = ceiling * (1 + 1e-12)
        floor = floor * (1 - 1e-12)
        if batch.min_length == 0:
            self.found.update(rows, Candidate.at(batch, np.zeros(low.shape)))
        ok = np.flatnonzero(ceiling > floor)
        steps = np.linspace(0, 1, _FIRST_INTERVALS + 1)
        edges = floor[ok, None] + (ceiling - floor)[ok, None] * steps
        return _Intervals(np.repeat(ok, _FIRST_INTERVALS), edges[:, :-1].ravel(), edges[:, 1:].ravel())

    def _tables(self, part):
        w = self.windows.take(part.row)
        lo, hi = part.low_s[:, None, None], part.high_s[:, None, None]
        mid = 0.5 * (lo + hi)
        tangent = np.where(mid - w.drafting_s > hi - lo, mid, hi)
        left = tangent - w.drafting_s
        feasible = w.drafting_s < hi
        with np.errstate(all="ignore"):
            cost = np.where(feasible, w.load_s / left, np.inf)
        return w, lo, hi, tangent, left, cost

    def _multiplier(self, value, cost):
        n = value.shape[0]
        with np.errstate(all="ignore"):
            dcost = np.diff(cost, axis=-1)
            ratio = np.diff(value, axis=-1) / dcost
        ratio = np.where(np.isfinite(ratio) & np.isfinite(dcost) & (ratio > 0), ratio, 0.0).reshape(n, -1)
        dcost = np.where(ratio > 0, dcost.reshape(n, -1), np.inf)
        capacity = 1.0 - cost[:, :, 0].sum(axis=-1)
        order = np.argsort(-ratio, axis=-1)
        spent = np.cumsum(np.take_along_axis(dcost, order, axis=-1), axis=-1)
        critical = (spent <= capacity[:, None]).sum(axis=-1)
        ratio_sorted = np.take_along_axis(ratio, order, axis=-1)
        ratio_sorted = np.concatenate([ratio_sorted, np.zeros((n, 1))], axis=-1)
        return ratio_sorted[np.arange(n), critical], ratio

    def _evaluate(self, part):
        w, lo, hi, tangent, left, cost = self._tables(part)
        value = w.value
        price = self.price(part.row)
        nu, ratio = self._multiplier(value, cost)
        with np.errstate(all="ignore"):
            spent = nu[:, None, None] * cost
            spent = np.where(np.isfinite(cost), spent, np.inf)
            net = value - spent
            slope = np.where(np.isfinite(spent), spent / left, 0.0)
            ends = [net + slope * (end - tangent) for end in (lo, hi)]
        totals = []
        for h, end in zip(ends, (part.low_s, part.high_s)):
            best = h.max(axis=-1)
            totals.append(best.sum(axis=-1) + nu)
        return w, ratio, nu, ends, totals

    def bounds(self, part):
        if not part.row.size: return np.zeros(0)
        _, _, _, _, totals = self._evaluate(part)
        return self._objective_bound(part, np.maximum(*self._net(part, totals)))

    def _net(self, part, totals):
        price = self.price(part.row)
        v = self.batch.verification_s[part.row]
        return [t - price * (end + v) for t, end in zip(totals, (part.low_s, part.high_s))]

    def _objective_bound(self, part, total):
        if self.batch.time_price is not None:
            return total
        return self.price(part.row) + np.maximum(total, 0) / (part.low_s + self.batch.verification_s[part.row])

    def _round(self, part):
        w, ratio, nu, ends, totals = self._evaluate(part)
        # primal
        self._try_prefixes(part, w, ratio, nu)
        threshold = self.threshold(part.row)
        totals = self._net(part, totals)
        top = np.maximum(*totals)
        if self.batch.time_price is None:
            old_price = None
        opened = np.flatnonzero(top > threshold)
        if not opened.size:
            return part.take(opened)
        combos = np.zeros(opened.size)
        losses = []
        for h, total in zip(ends, totals):
            h = h[opened]
            loss = h.max(axis=-1, keepdims=True) - h
            slack = (total - threshold)[opened]
            count = (loss <= slack[:, None, None]).sum(axis=-1)
            combos += np.where(slack > 0, np.exp2(np.log2(np.maximum(count, 1)).sum(axis=-1)), 0)
            losses.append((loss, slack))
        listed = combos <= _MOST_COMBINATIONS
        if listed.any():
            rows, lengths = [], []
            for loss, slack in losses:
                sel = np.flatnonzero(listed & (slack > 0))
                if sel.size:
                    owner, index = _combinations(loss[sel], slack[sel])
                    rows.append(part.row[opened[sel[owner]]])
                    lengths.append(self.windows.length[rows[-1], :, 0] + index)
            self._try(np.concatenate(rows), np.concatenate(lengths))
        return _split(part.take(opened[~listed]))

    def _try_prefixes(self, part, w, ratio, nu):
        n, k, width = w.value.shape
        if width == 1:
            return
        ratio = ratio.reshape(n, k, width - 1)
        base = w.length[:, :, 0]
        down = base + (ratio > nu[:, None, None]).sum(axis=-1)
        up = base + (ratio >= np.maximum(nu, _TINY)[:, None, None]).sum(axis=-1)
        self._try(np.concatenate([part.row, part.row]), np.concatenate([down, up]))

    def _try(self, rows, lengths):
        """Evaluates lengths of shape (candidates, users)."""
        self.tried = getattr(self, "tried", 0) + len(rows)
        c = Candidate.at(self.batch.take(rows), np.ascontiguousarray(lengths.T.astype(float)))
        order = np.lexsort((-c.objective, rows))
        first = np.flatnonzero(np.diff(rows[order], prepend=-1))
        best = order[first]
        self.found.update(rows[best], c.take(best))


def _split(part: _Intervals) -> _Intervals:
    middle = 0.5 * (part.low_s + part.high_s)
    return _Intervals(np.concatenate([part.row] * 2), np.concatenate([part.low_s, middle]), np.concatenate([middle, part.high_s]))


def _combinations(loss: FloatArray, slack: FloatArray) -> tuple[IntArray, IntArray]:
    n, users, width = loss.shape
    owner = np.arange(n)
    budget = slack.copy()
    index = loss.argmin(axis=-1)
    several = np.flatnonzero((loss <= slack[:, None, None]).sum(axis=-1).max(axis=0) > 1)
    for user in several:
        left = budget[:, None] - loss[owner, user]
        state, choice = np.nonzero(left >= 0)
        owner, budget = owner[state], left[state, choice]
        index = index[state]
        index[:, user] = choice
    return owner, index


def _window_tables(batch, low, high, width):
    length = low.T[:, :, None] + np.arange(width)
    value = np.expm1((length + 1.0) * batch.log_acceptance.T[:, :, None]) * batch.negated_scale.T[:, :, None]
    if batch.token_price is not None:
        value = value - batch.token_price.T[:, :, None] * length
    value[length > high.T[:, :, None]] = -np.inf
    return _Windows(length, value, length * batch.drafting_s.T[:, :, None], length * batch.upload_s.T[:, :, None])


def _token_windows(batch, relaxed, found):
    price = found.objective if batch.time_price is None else batch.time_price
    token = price * relaxed.token_s
    if batch.token_price is not None:
        total = token + batch.token_price
    else:
        total = token

    def net(l):
        return batch.value(l) - token * l
    with np.errstate(all="ignore"):
        response = np.log(batch.first_slope / np.maximum(total, _TINY)) / -batch.log_acceptance
    response = np.nan_to_num(response).clip(batch.min_length, batch.max_length)
    below = np.floor(response)
    above = np.minimum(below + 1, batch.max_length)
    nb, na = net(below), net(above)
    best = np.where(na > nb, above, below)
    top = np.maximum(na, nb)
    dual = top.sum(axis=0) - price * relaxed.constant_s
    thr = 0.0 if batch.time_price is None else found.objective
    slack = dual - thr + 1e-11 * (np.abs(top).sum(axis=0) + np.abs(price * relaxed.constant_s))
    slack = np.maximum(slack, 0)
    need = top - slack
    # least length with net >= need
    lo = np.full(best.shape, float(batch.min_length)); hi = best.copy()
    for _ in range((batch.max_length - batch.min_length).bit_length()):
        m = np.floor(0.5 * (lo + hi))
        ok = net(m) >= need
        hi = np.where(ok, m, hi)
        lo = np.where(ok, lo, np.minimum(m + 1, hi))
    low = hi
    lo = best.copy(); hi = np.full(best.shape, float(batch.max_length))
    for _ in range((batch.max_length - batch.min_length).bit_length()):
        m = np.ceil(0.5 * (lo + hi))
        ok = net(m) >= need
        lo = np.where(ok, m, lo)
        hi = np.where(ok, hi, np.maximum(m - 1, lo))
    high = lo
    # most value
    most = batch.value(high)
    if batch.token_price is not None:
        with np.errstate(all="ignore"):
            r = np.floor(np.log(batch.first_slope / batch.token_price) / -batch.log_acceptance)
        r = np.nan_to_num(r).clip(low, high)
        most = np.maximum(np.maximum(batch.value(low), most), np.maximum(batch.value(r), batch.value(np.minimum(r + 1, high))))
    return low, high, most.sum(axis=0)
