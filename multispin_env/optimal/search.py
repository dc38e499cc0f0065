"""From real lengths to integer ones: roundings at several scales, then local search with exact evaluation."""

from __future__ import annotations

import numpy as np

from multispin_env.core.equations import FloatArray
from multispin_env.optimal.batch import ProblemBatch
from multispin_env.optimal.candidate import Candidate

# One user's jump to the next integer can make a longer or a shorter round the best for all: so the relaxed lengths are
# scaled before they are rounded. A narrow ladder of scales is enough.
_SCALES = np.linspace(0.94, 1.06, 11)
# Moves evaluated exactly in each round of the search, and the most rounds: only with a thousand users would more of
# them gain anything, some 1e-7, at a cost that is no longer linear in the users.
_MOVES = 4
_MAX_ROUNDS = 12
# Roundings are evaluated so many lengths at a time: enough to outweigh the calls, few enough to stay in the cache.
_LENGTHS_AT_ONCE = 1 << 14
# Improvements below this are rounding, and could cycle.
_LEAST_GAIN = 1e-12
_TINY = 1e-300


def round_lengths(batch: ProblemBatch, real_length: FloatArray, common_length: FloatArray) -> Candidate:
    """The best of several roundings of the relaxed lengths, never worse than the common length given.

    Args:
        batch: The problems.
        real_length: Their real-valued optimum, shape ``(users, rows)``.
        common_length: An integer length for all users, shape ``(rows,)``.
    """
    at_once = max(1, _LENGTHS_AT_ONCE // real_length.size)
    found: list[Candidate] = []
    choices = [np.broadcast_to(common_length, (len(real_length), 1, common_length.size))]
    for start in range(0, _SCALES.size, at_once):
        scaled = real_length[:, None] * _SCALES[start : start + at_once, None]
        choices.append(np.rint(scaled).clip(batch.min_length, batch.max_length))
        found.append(Candidate.at(batch.spread(), np.concatenate(choices, axis=1)).best())
        choices.clear()
    best, *others = found
    for other in others:
        best.update(np.arange(common_length.size), other)
    return best


def climb(batch: ProblemBatch, candidate: Candidate) -> Candidate:
    """Takes the best of the most promising moves while it improves the objective, evaluated exactly."""
    result = Candidate(*(field.copy() for field in candidate))
    active = np.arange(candidate.objective.size)
    num_users = candidate.length.shape[0]
    count = min(_MOVES, 2 * num_users)
    for _ in range(_MAX_ROUNDS):
        estimate = _promising_moves(batch, candidate)
        # The estimates are optimistic: where none exceeds the objective, no move improves it.
        hopeful = np.flatnonzero(estimate.max(axis=0) > _worthwhile(batch, candidate))
        if not hopeful.size:
            break
        move = np.argpartition(estimate[:, hopeful], -count, axis=0)[-count:]
        batch, candidate, active = batch.take(hopeful), candidate.take(hopeful), active[hopeful]
        length = np.repeat(candidate.length[:, None], count, axis=1)
        trial, row = np.indices(move.shape)
        length[move % num_users, trial, row] += np.where(move < num_users, 1.0, -1.0)
        best = Candidate.at(batch.spread(), length.clip(batch.min_length, batch.max_length)).best()
        improved = np.flatnonzero(best.objective > _worthwhile(batch, candidate))
        batch, candidate, active = batch.take(improved), best.take(improved), active[improved]
        result.update(active, candidate)
    return result


def _worthwhile(batch: ProblemBatch, candidate: Candidate) -> FloatArray:
    """The least objective that counts as an improvement."""
    scale = np.abs(candidate.objective)
    if batch.time_price is not None:
        scale = scale + batch.time_price * candidate.duration_s
    return candidate.objective + _LEAST_GAIN * scale


def _promising_moves(batch: ProblemBatch, candidate: Candidate) -> FloatArray:
    """Estimates the objective after every move of one user by one token, in constant time each.

    The band that the others leave as the latency rises by x, exactly ``1 - sum_j load_j / (upload_j + x)``, is replaced
    by a single pole ``strength / (pole + x)`` of the same value and slope. The reciprocal of the sum is concave, so
    this understates what they use, and the estimate is never below the truth.

    Returns:
        Shape ``(2 users, rows)``: longer by one for each user, then shorter; -inf where that leaves the range.
    """
    load_s = batch.upload_s * candidate.length
    share = load_s / candidate.upload_s
    slope = share / candidate.upload_s
    others = np.maximum(1.0 - share, 0.0)
    # A mean of the others' upload times; the limit matters only where rounding is all that is left of them.
    pole_s = others / np.maximum(slope.sum(axis=0) - slope, _TINY)
    pole_s = np.minimum(pole_s, candidate.upload_s.max(axis=0))
    strength_s = others * pole_s
    tokens = candidate.objective * candidate.duration_s
    if batch.time_price is not None:
        tokens = candidate.objective + batch.time_price * candidate.duration_s
    weight = np.expm1(batch.log_acceptance) * batch.negated_scale
    lost = weight * np.exp(candidate.length * batch.log_acceptance)
    gained = lost * np.exp(batch.log_acceptance)
    if batch.token_price is not None:
        lost, gained = lost - batch.token_price, gained - batch.token_price
    estimates = []
    others_s = pole_s - strength_s
    for sign, change in ((1.0, gained), (-1.0, -lost)):
        own_load_s = load_s + sign * batch.upload_s
        own_s = candidate.upload_s - sign * batch.drafting_s - own_load_s
        # Larger root of own_load / (upload + x) + strength / (pole + x) = 1.
        delay_s = 0.5 * (np.sqrt((own_s - others_s) ** 2 + 4.0 * own_load_s * strength_s) - own_s - others_s)
        duration_s = candidate.duration_s + delay_s
        if batch.per_token_s is not None and batch.free_drafted is not None:
            beyond = candidate.length.sum(axis=0) - batch.free_drafted
            verified = np.maximum(beyond + sign, 0.0) - np.maximum(beyond, 0.0)
            duration_s = duration_s + batch.per_token_s * verified
        estimates.append(batch.objective(tokens + change, duration_s))
    longer, shorter = estimates
    longer[candidate.length >= batch.max_length] = -np.inf
    shorter[candidate.length <= batch.min_length] = -np.inf
    return np.concatenate(estimates)
