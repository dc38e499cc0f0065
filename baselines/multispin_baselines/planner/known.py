"""The best round where the rates are known: Lemma 3 gives the shares, and only lengths are searched for."""

from __future__ import annotations

import numpy as np

from multispin_baselines.planner.objective import Objective
from multispin_env import Allocation
from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.optimal import RoundProblem, equalize_bandwidth, solve_heterogeneous

# Latencies tried, over that of the closed form's answer, and halvings of the band's price.
_LATENCIES = np.geomspace(0.5, 2.0, 25)
_BISECTIONS = 30
# The closed form's answer fills the band exactly at its own latency, and twice its lengths at twice that: without a
# margin the last bits, which differ between versions of SciPy, would decide whether they fit.
_FULL_BAND = 1.0 + 1e-9


def best_for_known_rates(problem: RoundProblem, objective: Objective) -> Allocation:
    """The best of the closed form and of relaxed optima at many latencies, improved by moves of one token.

    Args:
        problem: The rounds; of the acceptance it has the mean, which decides the closed form's lengths.
        objective: What is maximised.
    """
    start = solve_heterogeneous(problem).allocation.draft_length
    latency_s, _ = equalize_bandwidth(problem, start)
    tried = np.stack([start, *(_relaxed(problem, objective.utility, factor * latency_s) for factor in _LATENCIES)])
    one = np.eye(start.shape[-1], dtype=np.int64)[:, np.newaxis]
    # All at once as well: while one user goes on as before, the others gain nothing by shorter drafts.
    every = np.ones_like(one[:1])
    moves = np.concatenate([0 * every, every, -every, one, -one])
    _, best = _best(problem, objective, tried)
    while True:
        place, best = _best(problem, objective, np.clip(best.draft_length + moves, 1, problem.max_draft_length))
        if not np.any(place):
            return best


def _best(problem: RoundProblem, objective: Objective, lengths: IntArray) -> tuple[IntArray, Allocation]:
    """Which of some lengths, (plans, rounds, users), are best in each round, (rounds,), and these with their shares."""
    latency_s, share = equalize_bandwidth(problem, lengths)
    seconds = latency_s + problem.verification_s(lengths)
    place = np.argmax(objective.value(np.sum(objective.of_drafts(lengths), axis=-1), seconds), axis=0)
    chosen = place, np.arange(len(place))
    return place, Allocation(lengths[chosen], share[chosen])


def _relaxed(problem: RoundProblem, utility: FloatArray, latency_s: FloatArray) -> IntArray:
    """Lengths of the most utility that arrive within a latency: each user's best at one price of the band.

    Args:
        problem: The rounds.
        utility: See :class:`Objective`; concave in the length.
        latency_s: Time until the drafts have to be there, (rounds,).
    """
    lengths = np.arange(1, utility.shape[-1])
    per_token_s, upload_s = (
        array[..., np.newaxis] for array in (problem.drafting_latency_s, problem.full_band_upload_s)
    )
    left_s = latency_s[:, np.newaxis, np.newaxis] - lengths * per_token_s
    share = np.where(left_s > 0.0, upload_s * lengths / np.where(left_s > 0.0, left_s, 1.0), np.inf)
    share[..., 0] = np.minimum(share[..., 0], 1e3)  # something has to be drafted, in time or not
    low, high = np.full(len(utility), 1e-6), np.full(len(utility), 1e6)
    for _ in range(_BISECTIONS):
        price = np.sqrt(low * high)
        best = np.argmax(utility[..., 1:] - price[:, np.newaxis, np.newaxis] * share, axis=-1)
        used = np.sum(np.take_along_axis(share, best[..., np.newaxis], axis=-1)[..., 0], axis=-1)
        low, high = np.where(used > _FULL_BAND, price, low), np.where(used > _FULL_BAND, high, price)
    return lengths[np.argmax(utility[..., 1:] - high[:, np.newaxis, np.newaxis] * share, axis=-1)]
