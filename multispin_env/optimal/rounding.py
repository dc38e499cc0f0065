"""From real lengths to integer ones: roundings of several kinds, then local search with exact evaluation."""

from __future__ import annotations

import numpy as np

from multispin_env.core.equations import FloatArray
from multispin_env.optimal.point import Point
from multispin_env.optimal.relaxation import Relaxed
from multispin_env.optimal.rows import Rows

# One user's jump to the next integer can make a longer or a shorter round the best for all: so the relaxed lengths are
# scaled before they are rounded; up, where their fraction is at least one minus an offset. With many users a narrow
# ladder of scales is enough: on 1500 rounds of the paper's setting Algorithm 1's grid never found better.
_SCALES = np.linspace(0.94, 1.06, 21)
_OFFSETS = np.array([0.5])
# A wider ladder pays where the bound leaves this much room, relative to the goodput.
_ROOM = 0.005
_FINE_SCALES = np.geomspace(0.75, 1.5, 32)
_FINE_OFFSETS = np.array([0.0, 0.25, 0.5, 0.75])
# With few users one token matters more and effort is cheap: the search starts once from every scale.
_FEW_USERS = 8
_SCALES_OF_FEW = np.array([0.75, 0.9, 1.0, 1.15, 1.35])
_OFFSETS_OF_FEW = np.array([0.15, 0.35, 0.5, 0.65, 0.85])
# Moves evaluated exactly in each round of the search, and the most rounds: only with a thousand users would more of
# them gain anything, some 1e-7, at a cost that is no longer linear in the users.
_MOVES = 4
_MAX_ROUNDS = 12
# Roundings are evaluated so many lengths at a time: enough to outweigh the calls, few enough to stay in the cache.
_LENGTHS_AT_ONCE = 1 << 14
# Improvements below this are rounding, and could cycle.
_LEAST_GAIN = 1e-12
_TINY = 1e-300


def round_lengths(rows: Rows, relaxed: Relaxed, common_length: FloatArray) -> Point:
    """Finds integer lengths near the relaxed ones, never worse than the common length given.

    Args:
        rows: The problems.
        relaxed: Their real-valued optimum.
        common_length: An integer length for all users, shape ``(rows,)``.

    Returns:
        The best lengths found; none of the most promising moves of one user by one token improves them.
    """
    common = Point.at(rows, np.broadcast_to(common_length, relaxed.length.shape))
    if relaxed.length.shape[0] <= _FEW_USERS:
        starts = _rounded(rows, relaxed.length, _SCALES_OF_FEW, _OFFSETS_OF_FEW)
        return _climb_from_each(rows, [*starts, common])
    found = _climb(rows, _best_of([common, *_rounded(rows, relaxed.length, _SCALES, _OFFSETS)]))
    room = np.flatnonzero(relaxed.upper_bound > found.goodput * (1.0 + _ROOM))
    if room.size:
        tight = rows.take(room)
        starts = _rounded(tight, relaxed.length[:, room], _FINE_SCALES, _FINE_OFFSETS)
        found.update(room, _climb(tight, _best_of(starts)))
    return found


def _rounded(rows: Rows, real_length: FloatArray, scales: FloatArray, offsets: FloatArray) -> list[Point]:
    """For each scale the best of the roundings at all offsets."""
    rounded = []
    at_once = max(1, _LENGTHS_AT_ONCE // (real_length.size * offsets.size))
    for start in range(0, scales.size, at_once):
        some = scales[start : start + at_once]
        lengths = np.floor(real_length[:, None, None] * some[:, None] + offsets[:, None, None])
        points = Point.at(rows.take((None, None)), lengths.clip(1.0, rows.max_length))
        rounded += [Point(*(field[..., scale, :] for field in points)).best() for scale in range(some.size)]
    return rounded


def _best_of(points: list[Point]) -> Point:
    """For every problem the best of several choices."""
    best = Point(*(field.copy() for field in points[0]))
    every = np.arange(best.goodput.size)
    for point in points[1:]:
        best.update(every, point)
    return best


def _climb_from_each(rows: Rows, starts: list[Point]) -> Point:
    """The best of the local optima that several starts lead to."""
    num_rows = starts[0].goodput.size
    flat = _climb(rows.take(np.tile(np.arange(num_rows), len(starts))), Point.joined(starts))
    return Point(*(field.reshape(*field.shape[:-1], len(starts), num_rows) for field in flat)).best()


def _climb(rows: Rows, point: Point) -> Point:
    """Takes the best of the most promising moves while it improves the goodput, evaluated exactly."""
    result = Point(*(field.copy() for field in point))
    active = np.arange(point.goodput.size)
    num_users = point.length.shape[0]
    count = min(_MOVES, 2 * num_users)
    for _ in range(_MAX_ROUNDS):
        estimate = _promising_moves(rows, point)
        # The estimates are optimistic: where none exceeds the goodput, no move improves it.
        hopeful = np.flatnonzero(estimate.max(axis=0) > point.goodput * (1.0 + _LEAST_GAIN))
        if not hopeful.size:
            break
        move = np.argpartition(estimate[:, hopeful], -count, axis=0)[-count:]
        rows, point, active = rows.take(hopeful), point.take(hopeful), active[hopeful]
        length = np.repeat(point.length[:, None], count, axis=1)
        trial, row = np.indices(move.shape)
        length[move % num_users, trial, row] += np.where(move < num_users, 1.0, -1.0)
        best = Point.at(rows.take(None), length.clip(1.0, rows.max_length)).best()
        improved = np.flatnonzero(best.goodput > point.goodput * (1.0 + _LEAST_GAIN))
        rows, point, active = rows.take(improved), best.take(improved), active[improved]
        result.update(active, point)
    return result


def _promising_moves(rows: Rows, point: Point) -> FloatArray:
    """Estimates the goodput after every move of one user by one token, in constant time each.

    The band that the others leave as the latency rises by x, exactly ``1 - sum_j load_j / (upload_j + x)``, is replaced
    by a single pole ``strength / (pole + x)`` of the same value and slope. The reciprocal of the sum is concave, so
    this understates what they use, and the estimate is never below the truth.

    Returns:
        Shape ``(2 users, rows)``: longer by one for each user, then shorter; -inf where that leaves the range.
    """
    load_s = rows.upload_s * point.length
    share = load_s / point.upload_s
    slope = share / point.upload_s
    others = np.maximum(1.0 - share, 0.0)
    # A mean of the others' upload times; the limit matters only where rounding is all that is left of them.
    pole_s = others / np.maximum(slope.sum(axis=0) - slope, _TINY)
    pole_s = np.minimum(pole_s, point.upload_s.max(axis=0))
    strength_s = others * pole_s
    duration_s = point.latency_s + rows.verification_s
    tokens = point.goodput * duration_s
    lost = np.exp(point.length * rows.log_acceptance)
    gained = lost * np.exp(rows.log_acceptance)
    estimates = []
    others_s = pole_s - strength_s
    for sign, change in ((1.0, gained), (-1.0, -lost)):
        own_load_s = load_s + sign * rows.upload_s
        own_s = point.upload_s - sign * rows.drafting_s - own_load_s
        # Larger root of own_load / (upload + x) + strength / (pole + x) = 1.
        delay_s = 0.5 * (np.sqrt((own_s - others_s) ** 2 + 4.0 * own_load_s * strength_s) - own_s - others_s)
        estimates.append((tokens + change) / (duration_s + delay_s))
    longer, shorter = estimates
    longer[point.length >= rows.max_length] = -np.inf
    shorter[point.length <= 1.0] = -np.inf
    return np.concatenate(estimates)
