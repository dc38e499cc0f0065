"""Draft lengths for a given split of the band (Uni-BW of the paper's section VI): exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.core.equations import Allocation, FloatArray, IntArray
from multispin_env.optimal.checks import common_shape, real_array
from multispin_env.optimal.problem import PAPER_VALUES, RoundProblem, Solution, expected_goodput

_LEAST_SHARE = 1e-12
# Beyond the paper's problem.
_COVERED = ("verification_per_token_s",)


def solve_fixed_bandwidth(problem: RoundProblem, bandwidth_share: ArrayLike) -> Solution:
    """The lengths of the highest goodput where the shares of the band are given.

    With the shares given, user k takes ``c_k = T_k + q_k / share_k`` per token, and a deadline phi admits
    ``floor(phi / c_k)`` of them; only the instants at which some user's next token is ready can be the best deadline.
    Sorting these and summing what each token adds, ``alpha^l``, evaluates all of them. Where verification takes time
    for each token, one that is ready in time can still cost more than it gains: those that gain most are taken.

    Args:
        problem: The round or rounds, per-user fields of shape ``(..., users)``.
        bandwidth_share: Shares of the band, from 1e-12 to 1, broadcast to ``(..., users)``.

    Returns:
        The lengths with these shares; ``upper_bound`` equals ``objective``.

    Raises:
        TypeError: The shares are not real numbers.
        ValueError: They are out of range or do not broadcast, or the problem has weights, prices or a shortest draft
            other than 1, which this does not cover.
    """
    for name in problem.beyond_paper():
        if name not in _COVERED:
            usual = "None" if PAPER_VALUES[name] is None else f"{PAPER_VALUES[name]:g}"
            raise ValueError(f"{name} must be {usual} for given shares of the band, got {getattr(problem, name)}")
    shape = problem.acceptance_rate.shape
    share = real_array("bandwidth_share", bandwidth_share, low=_LEAST_SHARE, high=1.0)
    if common_shape({"bandwidth_share": share, "acceptance_rate": problem.acceptance_rate}) != shape:
        raise ValueError(f"bandwidth_share must broadcast to the problem's {shape}, got shape {share.shape}")
    share = np.broadcast_to(share, shape)
    rows = int(np.prod(shape[:-1]))
    per_token_s = (problem.drafting_latency_s + problem.full_band_upload_s / share).reshape(rows, -1)
    lengths = np.arange(1, problem.max_draft_length + 1)
    ready_s = per_token_s[..., np.newaxis] * lengths
    gain = problem.acceptance_rate.reshape(rows, -1, 1) ** lengths
    verification_s = np.ravel(problem.verification_latency_s)
    if np.any(problem.verification_per_token_s):
        per_round = (np.ravel(one) for one in (problem.verification_per_token_s, problem.verification_free_tokens))
        found = np.stack([_best_priced(*one) for one in zip(ready_s, gain, verification_s, *per_round, strict=True)])
    else:
        found = _best_unpriced(ready_s, gain, verification_s)
    allocation = Allocation(found.reshape(shape), np.array(share))
    goodput = expected_goodput(problem, allocation)
    return Solution(allocation, goodput, goodput, goodput)


def _best_unpriced(ready_s: FloatArray, gain: FloatArray, verification_s: FloatArray) -> IntArray:
    """The lengths of rounds in which verification takes the same time for all lengths, (rounds, users).

    Args:
        ready_s: When each token has arrived, (rounds, users, lengths).
        gain: What each adds to the expected tokens, the same shape.
        verification_s: Time of the verification, (rounds,).
    """
    rounds, users, _ = ready_s.shape
    flat_s, flat_gain = (array.reshape(rounds, -1) for array in (ready_s, gain))
    order = np.argsort(flat_s, axis=1, kind="stable")
    deadline_s = np.take_along_axis(flat_s, order, axis=1)
    tokens = users + np.cumsum(np.take_along_axis(flat_gain, order, axis=1), axis=1)
    goodput = tokens / (deadline_s + verification_s[:, np.newaxis])
    goodput[deadline_s < ready_s[..., 0].max(axis=1, keepdims=True)] = -np.inf  # everybody drafts at least one
    best = np.argmax(goodput, axis=1)[:, np.newaxis]
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), axis=1)
    return np.sum((rank <= best).reshape(ready_s.shape), axis=2)


def _best_priced(
    ready_s: FloatArray, gain: FloatArray, verification_s: float, per_token_s: float, free_tokens: float
) -> IntArray:
    """The lengths of one round in which tokens cost verification time, (users,).

    Args:
        ready_s: When each token has arrived, (users, lengths).
        gain: What each adds to the expected tokens, falling along a user's draft, (users, lengths).
        verification_s: Verification without what tokens add.
        per_token_s: What each adds beyond those that are free.
        free_tokens: Tokens that add nothing.
    """
    users = len(ready_s)
    # Everybody's first token, and then by what they gain; of equal ones an earlier one of the draft comes first.
    rank = gain.copy()
    rank[:, 0] = np.inf
    order = np.argsort(-rank, axis=None, kind="stable")
    deadline_s = np.unique(ready_s[ready_s >= ready_s[:, 0].max()])[:, np.newaxis]
    in_time = ready_s.ravel()[order] <= deadline_s
    tokens = users + np.cumsum(in_time * gain.ravel()[order], axis=1)
    beyond = np.maximum(users + np.cumsum(in_time, axis=1) - free_tokens, 0.0)
    goodput = (tokens / (deadline_s + verification_s + per_token_s * beyond))[:, users - 1 :]
    deadline, last = np.unravel_index(np.argmax(goodput), goodput.shape)
    taken = order[: last + users][in_time[deadline, : last + users]]
    return np.bincount(taken // ready_s.shape[1], minlength=users)
