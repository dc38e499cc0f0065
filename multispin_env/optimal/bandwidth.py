"""Bandwidth for given draft lengths: the split that lets all users finish at once (Lemmas 1 and 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.core.equations import FloatArray
from multispin_env.optimal.batch import users_first, users_last
from multispin_env.optimal.checks import common_shape, real_array
from multispin_env.optimal.problem import RoundProblem

_MAX_NEWTON_STEPS = 60
# Newton's error after a step is about that step squared, so a step below this leaves only rounding.
_LAST_STEP = 1e-8
# Stands for a latency of 0, that of a round in which nobody drafts, where it is divided by.
_TINY = 1e-300


def equalize_bandwidth(problem: RoundProblem, draft_length: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Splits the band so that every user's draft arrives at the same, earliest possible time.

    The latency phi is the unique root above ``max_k L_k T_k`` of ``sum_k q_k L_k / (phi - L_k T_k) = 1`` with
    ``q_k = Q_tok / (B r_k)``, and the summands are the shares (Lemma 3, eq. 31-32). With a common length L it is
    ``phi = L theta``, and the shares are those of Lemma 1 (eq. 20-21), whatever L is. A user with ``L_k = 0`` needs no
    band and gets none.

    Args:
        problem: The round or rounds.
        draft_length: Tokens that each user drafts, from ``min_draft_length`` to ``max_draft_length``; need not be
            integers. Broadcast against the problem's ``(..., users)``, so that a number is a common length and extra
            leading axes compare several lengths.

    Returns:
        The latency of drafting and upload in seconds, shape ``(...)``, and the shares of the band, summing to 1 over
        the users and positive for those who draft, shape ``(..., users)``. Where nobody drafts all are 0.

    Raises:
        TypeError: The lengths are not real numbers, or the problem is not a ``RoundProblem``.
        ValueError: A length is out of range, or the shapes do not broadcast.
    """
    if not isinstance(problem, RoundProblem):
        raise TypeError(f"problem must be a RoundProblem, got {type(problem).__name__}")
    low, high = float(problem.min_draft_length), float(problem.max_draft_length)
    length = real_array("draft_length", draft_length, low=low, high=high)
    shape = common_shape({"draft_length": length, "acceptance_rate": problem.acceptance_rate})
    num_users = problem.acceptance_rate.shape[-1]
    if shape[-1] != num_users:
        raise ValueError(f"draft_length must have {num_users} users on its last axis, got shape {length.shape}")
    load_s = users_first(np.broadcast_to(length * problem.full_band_upload_s, shape))
    drafting_s = users_first(np.broadcast_to(length * problem.drafting_latency_s, shape))
    num_rows = load_s.shape[1]
    if num_rows == 1:
        # NumPy adds up the users of a single row in another order than those of several. With a twin beside it a round
        # has the same answer to the last digit, alone or in a batch.
        load_s, drafting_s = load_s.repeat(2, axis=1), drafting_s.repeat(2, axis=1)
    latency_s, upload_s = equalize(load_s, drafting_s)
    share = band_shares(load_s, upload_s)
    return latency_s[:num_rows].reshape(shape[:-1]), users_last(share[:, :num_rows], shape)


def equalize(load_s: FloatArray, drafting_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Solves Lemma 3 for arrays with the users first.

    Args:
        load_s: Time in which each whole draft would be uploaded over the whole band, ``q_k L_k >= 0``, shape
            ``(users, ...)``.
        drafting_s: Time in which it is drafted, ``L_k T_k >= 0``, the same shape.

    Returns:
        The common latency phi, shape ``(...)``, and what it leaves each user for the upload, ``phi - L_k T_k``, shape
        ``(users, ...)``; ``load_s`` over the latter is the share of the band.
    """
    longest_s = drafting_s.max(axis=0)
    # The unknown is the slack phi - max_k L_k T_k: then no small upload time is a difference of large numbers.
    head_start_s = longest_s - drafting_s
    slack_s = np.maximum((load_s - head_start_s).max(axis=0), _TINY)
    # Newton on 1/F - 1 for F = sum_k load_k / upload_k. 1/F is concave and increasing, and the start is below the root
    # (there one user alone needs the whole band), so the iterates climb to the root without a safeguard.
    moving = np.ones(slack_s.shape, dtype=np.bool_)
    for _ in range(_MAX_NEWTON_STEPS):
        upload_s = head_start_s + slack_s
        share = load_s / upload_s
        total = share.sum(axis=0)
        share /= upload_s
        step_s = total * (total - 1.0) / np.maximum(share.sum(axis=0), _TINY)
        # A problem stops when it has converged itself, so that its answer does not depend on the others in the batch.
        slack_s = slack_s + step_s * moving
        moving &= np.abs(step_s) > _LAST_STEP * slack_s
        if not moving.any():
            break
    return np.where(slack_s > _TINY, longest_s + slack_s, 0.0), head_start_s + slack_s


def band_shares(load_s: FloatArray, upload_s: FloatArray) -> FloatArray:
    """Shares of the band, ``load_s / upload_s`` freed of the last rounding error in their sum."""
    share = load_s / upload_s
    share /= np.maximum(share.sum(axis=0), _TINY)
    return share
