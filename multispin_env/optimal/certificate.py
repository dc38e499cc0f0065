"""Proof of the integer optimum: branch and bound over the latency, and enumeration of what is left.

At a fixed latency phi the users are coupled by the band alone: maximise ``sum_k v_k(l_k)`` subject to
``sum_k g_k(l_k, phi) <= 1`` with ``g_k(l, phi) = q_k l / (phi - l T_k)``, a knapsack of concave values and convex
costs. With a multiplier nu on the band each user chooses alone, which bounds the knapsack. The terms
``v_k(l) - nu g_k(l, phi)`` are concave in phi, so that tangents bound them over a whole interval of latencies, with an
error of the square of its width. An interval in which the bound admits an improvement is halved, or, where few lengths
lie within what the bound leaves, all of these are evaluated. A page of the documentation, optimum.md, derives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.optimal.batch import ProblemBatch
from multispin_env.optimal.candidate import Candidate
from multispin_env.optimal.relaxation import Relaxed
from multispin_env.optimal.windows import Windows, best_response, least_charge, least_time_price, windows

# What is left after so many halvings, or so many intervals of a problem, counts as bounded, not as excluded. Where
# tables are large, fewer intervals are affordable.
_MAX_ROUNDS = 50
_FEWEST_INTERVALS, _MOST_INTERVALS = 64, 2048
_ENTRIES_OF_A_PROBLEM = 1 << 25
_FIRST_INTERVALS = 8
# Lengths are listed where the users' options have at most two to the power of this many combinations, by a few more in
# every round, and no more than the following have losses that add up to little enough.
_LOG_COMBINATIONS = 10.0
_LOG_COMBINATIONS_PER_ROUND = 2.0
_MOST_COMBINATIONS = 4096
# Table entries that are kept, and that are worked on at once, which bounds the memory.
_ENTRIES_OF_TABLES = 1 << 21
_ENTRIES_AT_ONCE = 1 << 18
# The same for listing the combinations of one interval, and of several.
_ENTRIES_OF_A_LIST = 1 << 20
_ENTRIES_OF_LISTS = 1 << 24
# Relative to values and the cost of time: differences below are rounding.
_ROUNDING = 1e-12
_LATENCY_ROUNDING = 1e-14
_TINY = 1e-300


class _Intervals(NamedTuple):
    """Latencies from ``low_s`` to ``high_s`` of the problem in column ``row``, all of shape ``(intervals,)``."""

    row: IntArray
    low_s: FloatArray
    high_s: FloatArray

    def take(self, index: Any) -> _Intervals:
        return _Intervals(*(field[index] for field in self))

    @property
    def middle_s(self) -> FloatArray:
        return 0.5 * (self.low_s + self.high_s)

    def halves(self) -> _Intervals:
        middle_s = self.middle_s
        return _Intervals(
            np.tile(self.row, 2), np.concatenate([self.low_s, middle_s]), np.concatenate([middle_s, self.high_s])
        )


class _Bounds(NamedTuple):
    """What no lengths exceed whose latency is in an interval.

    Attributes:
        multiplier: Of the band, nu, shape ``(intervals,)``.
        merit: Value per band of each further token, falling, shape ``(intervals, users, width - 1)``.
        terms: Bound of ``v_k(l) - nu g_k(l, phi)`` at the interval's ends, linear in between, shape ``(2, intervals,
            users, width)``.
        value: Bound of the sum of the values at the interval's ends, shape ``(2, intervals)``.
    """

    multiplier: FloatArray
    merit: FloatArray
    terms: FloatArray
    value: FloatArray

    def take(self, index: Any) -> _Bounds:
        return _Bounds(self.multiplier[index], self.merit[index], self.terms[:, index], self.value[:, index])


def prove(batch: ProblemBatch, relaxed: Relaxed, found: Candidate) -> tuple[Candidate, FloatArray]:
    """Improves integer lengths to the optimum, as far as the limits of effort allow, and bounds what is possible.

    Args:
        batch: The problems.
        relaxed: Their real-valued optima.
        found: Integer lengths, the better the faster.

    Returns:
        The best lengths and, for each problem, an objective that no lengths exceed: that of these lengths where the
        search was completed.
    """
    best = Candidate(*(field.copy() for field in found))
    every = np.arange(best.objective.size)
    # Two choices that no latency leads to, or no price of time.
    if batch.min_length == 0:
        best.update(every, Candidate.at(batch, np.zeros_like(best.length)))
    if batch.token_price is not None:
        best.update(every, Candidate.at(batch, best_response(batch, batch.token_price)[0]))
    window = windows(batch, relaxed, best)
    bound = np.full(best.objective.size, -np.inf)
    # Tables are as wide as the widest window among the problems that share them.
    width_class = np.ceil(np.log2((window.high - window.low).max(axis=0) + 1.0))
    width_class[window.slack < 0.0] = -1.0
    for width in sorted(set(width_class[width_class >= 0.0])):
        alike = np.flatnonzero(width_class == width)
        at_once = max(1, int(_ENTRIES_OF_TABLES / (len(window.low) * 2.0**width)))
        for start in range(0, alike.size, at_once):
            rows = alike[start : start + at_once]
            search = _Search(batch.take(rows), best.take(rows), Windows(*(field[..., rows] for field in window)))
            search.run()
            best.update(rows, search.best)
            bound[rows] = search.left_over
    return best, np.maximum(best.objective, bound)


class _Search:
    """Branch and bound on problems whose windows are about as wide.

    Attributes:
        best: The best lengths so far.
        left_over: Bound of the objective on what has been given up, -inf where nothing has been.
    """

    def __init__(self, batch: ProblemBatch, best: Candidate, window: Windows) -> None:
        self.best = best
        self.left_over = np.full(best.objective.size, -np.inf)
        self._batch = batch
        self._window = window
        # Tables of shape (rows, users, width), from the least length of each user upwards.
        width = int((window.high - window.low).max()) + 1
        length = (window.low[..., None] + np.arange(width)).transpose(1, 0, 2)
        value = np.expm1((length + 1.0) * batch.log_acceptance.T[..., None]) * batch.negated_scale.T[..., None]
        self._loss = value - window.token_price.T[..., None] * length
        if batch.token_price is not None:
            value = value - batch.token_price.T[..., None] * length
        outside = length > window.high.T[..., None]
        value[outside] = self._loss[outside] = -np.inf
        self._loss = self._loss.max(axis=-1, keepdims=True) - self._loss
        self._length, self._value = length, value
        self._drafting_s = length * batch.drafting_s.T[..., None]
        self._load_s = length * batch.upload_s.T[..., None]

    def run(self) -> None:
        """Closes every problem, or leaves a bound."""
        rows = np.arange(self.left_over.size)
        listed = self._list(rows, self._loss, self._window.slack, _LOG_COMBINATIONS)
        if listed.all():
            return
        intervals = self._first_intervals(rows[~listed])
        spent = np.bincount(intervals.row, minlength=rows.size)
        most = min(max(_ENTRIES_OF_A_PROBLEM // self._value[0].size, _FEWEST_INTERVALS), _MOST_INTERVALS)
        for number in range(_MAX_ROUNDS):
            log_limit = _LOG_COMBINATIONS + _LOG_COMBINATIONS_PER_ROUND * number
            if not intervals.row.size:
                return
            parts = [self._branch(part, log_limit) for part in self._parts(intervals)]
            intervals = _Intervals(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))
            spent += np.bincount(intervals.row, minlength=rows.size)
            too_many = spent[intervals.row] > most
            self._give_up(intervals.take(too_many))
            intervals = intervals.take(~too_many)
        self._give_up(intervals)

    def _parts(self, intervals: _Intervals) -> Iterator[_Intervals]:
        at_once = max(1, _ENTRIES_AT_ONCE // self._value[0].size)
        for start in range(0, intervals.row.size, at_once):
            yield intervals.take(slice(start, start + at_once))

    def _time_price(self) -> FloatArray:
        return least_time_price(self._batch, self.best)

    def _excess(self, intervals: _Intervals, value: FloatArray) -> FloatArray:
        """By how much value less time's cost can exceed that of the best lengths, at the intervals' ends."""
        row = intervals.row
        price = self._time_price()[row]
        cost = price * (np.stack([intervals.low_s, intervals.high_s]) + self._batch.verification_s[row])
        needed = _ROUNDING * (np.abs(value) + cost)
        if self._batch.time_price is not None:
            needed = needed + self.best.objective[row]
        excess: FloatArray = value - cost - needed
        return excess

    def _first_intervals(self, rows: IntArray) -> _Intervals:
        """From the latency of the shortest lengths to where even the highest values are used up by time."""
        batch = self._batch.take(rows)
        low, high = self._window.low[:, rows], self._window.high[:, rows]
        # Where nobody need draft, whoever does first is the first to be waited for.
        alone_s = np.where(high > 0.0, batch.drafting_s + batch.upload_s, np.inf).min(axis=0)
        least_s = np.maximum(Candidate.at(batch, low).latency_s, np.where(low.max(axis=0) > 0.0, 0.0, alone_s))
        most_s = Candidate.at(batch, high).latency_s
        price = self._time_price()[rows]
        highest = self._value[rows].max(axis=-1).sum(axis=-1)
        if batch.time_price is not None:
            highest = highest - self.best.objective[rows]
        affordable_s = highest / np.maximum(price, _TINY) - batch.verification_s
        most_s = np.minimum(most_s, affordable_s) * (1.0 + _LATENCY_ROUNDING)
        least_s *= 1.0 - _LATENCY_ROUNDING
        some = np.flatnonzero(most_s > least_s)
        steps = np.linspace(0.0, 1.0, _FIRST_INTERVALS + 1)
        edges_s = least_s[some, None] + (most_s - least_s)[some, None] * steps
        return _Intervals(np.repeat(rows[some], _FIRST_INTERVALS), edges_s[:, :-1].ravel(), edges_s[:, 1:].ravel())

    def _branch(self, intervals: _Intervals, log_limit: float) -> _Intervals:
        """Excludes intervals by their bounds or by listing all lengths that they admit, and halves the others."""
        bounds = self._bounds(intervals)
        excess = self._excess(intervals, bounds.value)
        opened = np.flatnonzero(excess.max(axis=0) > 0.0)
        intervals, bounds, excess = intervals.take(opened), bounds.take(opened), excess[:, opened]
        # Lengths with a latency in between are an improvement only if they are one by the bound at one of the ends.
        losses = bounds.terms.max(axis=-1, keepdims=True) - bounds.terms
        listed = np.ones(opened.size, dtype=np.bool_)
        for loss, end_excess in zip(losses, excess, strict=True):
            some = np.flatnonzero(listed & (end_excess > 0.0))
            listed[some] = self._list(intervals.row[some], loss[some], end_excess[some], log_limit)
        left = np.flatnonzero(~listed)
        self._try_greedy(intervals.row[left], bounds.take(left))
        intervals = intervals.take(left)
        divisible = (intervals.middle_s > intervals.low_s) & (intervals.middle_s < intervals.high_s)
        self._give_up(intervals.take(~divisible))
        return intervals.take(divisible).halves()

    @np.errstate(divide="ignore", over="ignore", invalid="ignore")
    def _bounds(self, intervals: _Intervals) -> _Bounds:
        row = intervals.row
        low_s, high_s, middle_s = (x[:, None, None] for x in (intervals.low_s, intervals.high_s, intervals.middle_s))
        drafting_s = self._drafting_s[row]
        # Near its pole a term is steep, and only the tangent at the upper end, where it is exact, is of use.
        tangent_s = np.where(middle_s - drafting_s > high_s - low_s, middle_s, high_s)
        upload_s = tangent_s - drafting_s
        band = np.where(upload_s > 0.0, self._load_s[row] / upload_s, np.inf)
        value, saved = self._verified(row, band)
        multiplier, merit = _band_price(value, band)
        cost = multiplier[:, None, None] * band
        steepness = cost / upload_s
        terms = np.stack([value - cost + steepness * (end_s - tangent_s) for end_s in (low_s, high_s)])
        terms = np.where(np.isfinite(band), terms, -np.inf)
        return _Bounds(multiplier, merit, terms, terms.max(axis=-1).sum(axis=-1) + multiplier + saved)

    def _verified(self, row: IntArray, band: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The values less what each token's verification is charged, and what the free tokens give back of that.

        Any charge from none to all of the time per token makes a bound, the best where the tokens taken are those that
        are free.
        """
        value, length = self._value[row], self._length[row]
        if self._batch.per_token_s is None or self._batch.free_drafted is None:
            return value, np.zeros(row.size)
        free = self._batch.free_drafted[row]

        def beyond(charge: FloatArray) -> NDArray[np.bool_]:
            multiplier, merit = _band_price(value - charge[:, None, None] * length, band)
            taken: NDArray[np.bool_] = np.sum(merit > multiplier[:, None, None], axis=(1, 2)) > free - least
            return taken

        least = length[:, :, 0].sum(axis=-1)
        charge = least_charge(beyond, self._time_price()[row] * self._batch.per_token_s[row])
        return value - charge[:, None, None] * length, charge * free

    def _give_up(self, intervals: _Intervals) -> None:
        """Takes what the intervals' bounds admit into the bound of what is left over."""
        for part in self._parts(intervals):
            excess = self._excess(part, self._bounds(part).value).max(axis=0)
            some = np.flatnonzero(excess > 0.0)
            row, excess = part.row[some], excess[some]
            if self._batch.time_price is None:
                excess /= part.low_s[some] + self._batch.verification_s[row]
            np.maximum.at(self.left_over, row, self.best.objective[row] + excess)

    def _list(self, rows: IntArray, loss: FloatArray, slack: FloatArray, log_limit: float) -> NDArray[np.bool_]:
        """Tries all lengths whose losses add up to no more than the slack, and says where they were not too many."""
        listed = _log_combinations(loss, slack) <= log_limit
        all_cases = np.flatnonzero(listed)
        width = loss.shape[-1]
        limit = max(1, min(_MOST_COMBINATIONS, _ENTRIES_OF_A_LIST // width))
        at_once = max(1, _ENTRIES_OF_LISTS // (limit * width))
        for start in range(0, all_cases.size, at_once):
            cases = all_cases[start : start + at_once]
            owner, choice, left_out = _combinations(loss[cases], slack[cases], limit)
            listed[cases[left_out]] = False
            self._try(rows[cases[owner]], self._length[rows[cases[owner]], :, 0] + choice)
        return listed

    def _try_greedy(self, rows: IntArray, bounds: _Bounds) -> None:
        """Tries the tokens of more merit than the band's price, with and without those of just that merit."""
        price = bounds.multiplier[:, None, None]
        least = self._length[rows, :, 0]
        fewer = least + np.sum(bounds.merit > price, axis=-1)
        more = least + np.sum(bounds.merit >= np.maximum(price, _TINY), axis=-1)
        self._try(np.tile(rows, 2), np.concatenate([fewer, more]))

    def _try(self, rows: IntArray, length: FloatArray) -> None:
        """Evaluates lengths of shape ``(candidates, users)`` of the problems ``rows``, and keeps the best."""
        tried = Candidate.at(self._batch.take(rows), np.ascontiguousarray(length.T))
        order = np.lexsort((-tried.objective, rows))
        first = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
        self.best.update(rows[first], tried.take(first))


@np.errstate(divide="ignore", invalid="ignore")
def _band_price(value: FloatArray, band: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The knapsack's multiplier, and each token's value per band, by taking tokens in the order of that.

    A user's tokens come in their own order, as values are concave and costs convex.
    """
    step = np.diff(band, axis=-1)
    merit = np.diff(value, axis=-1) / step
    # Where the tangent's point changes, a step may be negative: any multiplier is a valid one, and no token goes first.
    merit = np.where((merit > 0.0) & (step > 0.0), merit, 0.0)
    flat = merit.reshape(len(merit), merit.shape[1] * merit.shape[2])
    order = np.argsort(-flat, axis=-1)
    ranked = np.take_along_axis(flat, order, axis=-1)
    spent = np.take_along_axis(np.where(merit > 0.0, step, np.inf).reshape(flat.shape), order, axis=-1).cumsum(axis=-1)
    fits = np.sum(spent <= 1.0 - band[..., 0].sum(axis=-1, keepdims=True), axis=-1, keepdims=True)
    ranked = np.concatenate([ranked, np.zeros((len(flat), 1))], axis=-1)
    return np.take_along_axis(ranked, fits, axis=-1)[:, 0], merit


def _log_combinations(loss: FloatArray, slack: FloatArray) -> FloatArray:
    """Logarithm to base 2 of the number of combinations of options, each within the slack; shape ``(cases,)``."""
    options = np.sum(loss <= slack[:, None, None], axis=-1)
    log_count: FloatArray = np.log2(np.maximum(options, 1)).sum(axis=-1)
    return log_count


def _combinations(loss: FloatArray, slack: FloatArray, limit: int) -> tuple[IntArray, IntArray, IntArray]:
    """All choices of an option by each user whose losses add up to no more than the slack.

    Args:
        loss: Shape ``(cases, users, options)``, 0 at the best.
        slack: Shape ``(cases,)``.
        limit: Most combinations of a case.

    Returns:
        The case of each combination, shape ``(combinations,)``, the options, shape ``(combinations, users)``, and the
        cases that are left out because they have too many.
    """
    num_cases = len(slack)
    case = np.arange(num_cases)
    choice = loss.argmin(axis=-1)
    complete = np.ones(num_cases, dtype=np.bool_)
    several = np.sum(loss <= slack[:, None, None], axis=-1).max(axis=0, initial=0) > 1
    for user in np.flatnonzero(several):
        left = slack[:, None] - loss[case, user]
        kept, option = np.nonzero(left >= 0.0)
        complete &= np.bincount(case[kept], minlength=num_cases) <= limit
        few = complete[case[kept]]
        kept, option = kept[few], option[few]
        case, slack, choice = case[kept], left[kept, option], choice[kept]
        choice[:, user] = option
    return case, choice, np.flatnonzero(~complete)
