"""SciPy's HiGHS on the mixed-integer problem: the general-purpose reference for the integer optimum."""

from __future__ import annotations

import time

import numpy as np
from scipy import optimize, sparse

from multispin_env.core.equations import FloatArray, IntArray, expected_tokens, goodput
from multispin_env.optimal import RoundProblem, equalize_bandwidth, solve_homogeneous

_TOLERANCE = 1e-9
_LEAST_SECONDS = 0.01


def solve_highs(problem: RoundProblem, seconds_per_round: float) -> tuple[IntArray, FloatArray]:
    """Maximises eq. 13 over integer lengths, one round after the other, by outer approximation.

    The latency phi(L) of Lemma 3 is convex and homogeneous, hence at least ``grad phi(L') . L`` for every L'. With
    binaries for the tokens of every user and phi as the only real variable, ``sum_k E_k(L_k) - tau (phi + T_ver)`` is
    maximised under such cuts. Each solution adds the cut at its own lengths, until none is new, and Dinkelbach's rule
    makes tau the best goodput so far, until that is the maximum.

    Args:
        problem: A batch of rounds, (num_envs, users), with the goodput as objective.
        seconds_per_round: When to stop and take the best lengths so far.

    Returns:
        The lengths, (num_envs, users), and their goodput, (num_envs,).
    """
    lengths = solve_homogeneous(problem).allocation.draft_length.copy()
    for env_index, start in enumerate(lengths):
        lengths[env_index] = _solve_round(
            problem.full_band_upload_s[env_index],
            problem.drafting_latency_s[env_index],
            problem.acceptance_rate[env_index],
            float(np.asarray(problem.verification_latency_s)[env_index]),
            problem.max_draft_length,
            start,
            time.monotonic() + seconds_per_round,
        )
    latency_s, _ = equalize_bandwidth(problem, lengths)
    return lengths, goodput(
        expected_tokens(problem.acceptance_rate, lengths), latency_s, problem.verification_s(lengths)
    )


def _solve_round(
    upload_s: FloatArray,
    drafting_s: FloatArray,
    alpha: FloatArray,
    verification_s: float,
    longest: int,
    start: IntArray,
    deadline: float,
) -> IntArray:
    num_users = len(alpha)
    gain = (alpha[:, np.newaxis] ** np.arange(1, longest + 1)).ravel()
    lower = np.zeros((num_users, longest))
    lower[:, 0] = 1.0  # everybody drafts
    bounds = optimize.Bounds(np.append(lower.ravel(), 0.0), np.append(np.ones(gain.size), np.inf))
    integrality = np.append(np.ones(gain.size), 0.0)
    tokens_of = sparse.kron(sparse.eye(num_users), np.ones((1, longest)), format="csr")
    cuts: list[FloatArray] = []
    length, best, price = start, start, 0.0
    while time.monotonic() < deadline:
        latency_s, gradient_s = _latency(upload_s, drafting_s, length)
        reached = float(np.sum(expected_tokens(alpha, length)) / (latency_s + verification_s))
        if reached > price * (1.0 + _TOLERANCE):
            best, price = length, reached
        cuts.append(np.append(gradient_s @ tokens_of, -1.0))
        result = optimize.milp(
            np.append(-gain, price),
            integrality=integrality,
            bounds=bounds,
            constraints=optimize.LinearConstraint(sparse.csr_array(np.array(cuts)), -np.inf, 0.0),
            options={"mip_rel_gap": _TOLERANCE, "time_limit": max(deadline - time.monotonic(), _LEAST_SECONDS)},
        )
        if result.x is None:
            return best
        if result.success and num_users - result.fun - price * verification_s <= _TOLERANCE * num_users:
            return best
        length = np.rint(tokens_of @ result.x[:-1]).astype(np.int64)
    return best


def _latency(upload_s: FloatArray, drafting_s: FloatArray, length: IntArray) -> tuple[float, FloatArray]:
    """Phi of Lemma 3 and its gradient."""
    problem = RoundProblem(
        drafting_latency_s=drafting_s,
        spectral_efficiency=1.0 / upload_s,
        acceptance_rate=np.zeros(1),
        payload_bits=1.0,
        bandwidth_hz=1.0,
        verification_latency_s=1.0,
        max_draft_length=int(length.max()),
    )
    latency_s = float(equalize_bandwidth(problem, length)[0])
    weight = upload_s / (latency_s - length * drafting_s) ** 2
    return latency_s, weight * latency_s / np.sum(weight * length)
