"""SciPy's SLSQP on the relaxed heterogeneous problem: the general-purpose reference for the closed forms."""

from __future__ import annotations

import numpy as np
from scipy import optimize

from multispin_env.core.equations import FloatArray, IntArray, expected_tokens, goodput
from multispin_env.optimal import RoundProblem, equalize_bandwidth, solve_homogeneous


def solve_slsqp(problem: RoundProblem, *, derivatives: bool) -> tuple[IntArray, FloatArray]:
    """Maximises eq. 13 over real lengths and the latency, one round after the other, and rounds the lengths.

    Variables are the lengths and the latency phi; the constraint is that the band suffices,
    ``sum_k q_k L_k / (phi - L_k T_k) <= 1``. It starts at the homogeneous optimum.

    Args:
        problem: A batch of rounds, (num_envs, users), with acceptance in (0, 1).
        derivatives: Whether they are given in closed form, or left to SciPy's finite differences.

    Returns:
        The rounded lengths, (num_envs, users), and their goodput with equalised bandwidth, (num_envs,).
    """
    start = solve_homogeneous(problem).allocation.draft_length.astype(np.float64)
    start_s, _ = equalize_bandwidth(problem, start)
    lengths = np.empty_like(start)
    for env_index in range(len(lengths)):
        lengths[env_index] = _solve_round(
            problem.full_band_upload_s[env_index],
            problem.drafting_latency_s[env_index],
            problem.acceptance_rate[env_index],
            float(np.asarray(problem.verification_latency_s)[env_index]),
            problem.max_draft_length,
            np.append(start[env_index], start_s[env_index]),
            derivatives,
        )
    rounded = np.clip(np.rint(lengths), 1, problem.max_draft_length).astype(np.int64)
    latency_s, _ = equalize_bandwidth(problem, rounded)
    tokens = expected_tokens(problem.acceptance_rate, rounded)
    return rounded, goodput(tokens, latency_s, problem.verification_s(rounded))


def _solve_round(
    upload_s: FloatArray,
    drafting_s: FloatArray,
    alpha: FloatArray,
    verification_s: float,
    longest: int,
    start: FloatArray,
    derivatives: bool,
) -> FloatArray:
    decay = -np.log(alpha)

    def negative_goodput(x: FloatArray) -> float:
        return float(-expected_tokens(alpha, x[:-1]).sum() / (x[-1] + verification_s))

    def negative_goodput_slope(x: FloatArray) -> FloatArray:
        tokens_slope = decay * alpha ** (x[:-1] + 1.0) / (1.0 - alpha)
        return -np.append(tokens_slope, negative_goodput(x)) / (x[-1] + verification_s)

    def spare_band(x: FloatArray) -> float:
        return float(1.0 - np.sum(upload_s * x[:-1] / (x[-1] - x[:-1] * drafting_s)))

    def spare_band_slope(x: FloatArray) -> FloatArray:
        left_s = x[-1] - x[:-1] * drafting_s
        return np.append(-upload_s * x[-1] / left_s**2, np.sum(upload_s * x[:-1] / left_s**2))

    # A trial step may leave no time to upload; SLSQP steps back from the huge constraint violation by itself.
    with np.errstate(all="ignore"):
        result = optimize.minimize(
            negative_goodput,
            start,
            jac=negative_goodput_slope if derivatives else None,
            method="SLSQP",
            bounds=[*[(1.0, float(longest))] * len(alpha), (float(np.max(drafting_s + upload_s)), None)],
            constraints={"type": "ineq", "fun": spare_band} | ({"jac": spare_band_slope} if derivatives else {}),
            options={"maxiter": 200, "ftol": 1e-9},
        )
    return result.x[:-1]
