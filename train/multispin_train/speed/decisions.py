"""Decisions per second of the optimum's solvers and of general-purpose ones, and how good the decisions are."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from multispin_env import make_config
from multispin_env.core.equations import FloatArray
from multispin_env.evaluation.rollout import independent_rounds
from multispin_env.optimal import RoundProblem, solve_algorithm1, solve_heterogeneous, solve_homogeneous
from multispin_train.speed.highs import solve_highs
from multispin_train.speed.slsqp import solve_slsqp
from multispin_train.speed.timing import Measurement, measure

SOLVER_USERS = (5, 20, 100, 1000)
SOLVER_BATCHES = (1, 1024)
REFERENCE_ROUNDS = 16
REFERENCE_USERS = (5, 20, 100)
CERTIFIED_ROUNDS = 64
# HiGHS alone knows integers as well, and takes its time: a few rounds, each up to a limit.
HIGHS_USERS = (5, 20)
HIGHS_ROUNDS = 4
HIGHS_SECONDS = 10.0
REFERENCES = ("SLSQP", "SLSQP with derivatives", "Algorithm 1, 100 x 100")


def decision_problem(rounds: int, users: int) -> RoundProblem:
    """Independent rounds of `paper`, one a environment, with the band and the server scaled to the number of users."""
    config = make_config("paper")
    scale = users / config.num_users
    config = config.updated(
        {
            "num_users": users,
            "bandwidth_hz": config.bandwidth_hz * scale,
            "verification_per_user_s": config.verification_per_user_s / scale,
        }
    )
    return RoundProblem.from_view(independent_rounds(config, rounds))


def solvers() -> list[Measurement]:
    """Decisions per second of the solvers, and of the references on the same rounds."""
    measurements = []
    for users in SOLVER_USERS:
        for rounds in SOLVER_BATCHES:
            problem = decision_problem(rounds, users)
            for solve in (solve_homogeneous, solve_heterogeneous):
                reached = solve(problem).goodput.mean()
                name = f"{solve.__name__}, K = {users}, batch of {rounds}"
                measurements.append(
                    measure(
                        "decisions",
                        name,
                        "decisions/s",
                        rounds,
                        partial(solve, problem),
                        f"{reached:.2f} tok/s",
                        block=1,
                    )
                )
    for users in REFERENCE_USERS:
        problem = decision_problem(CERTIFIED_ROUNDS, users)
        certify = partial(solve_heterogeneous, problem, certify=True)
        proved = certify()
        gap = np.max(proved.upper_bound / proved.objective - 1.0)
        below = np.max(1.0 - solve_heterogeneous(problem).objective / proved.objective)
        remark = f"{proved.goodput.mean():.2f} tok/s; largest gap {gap:.1e}; without proof at most {below:.1e} below"
        name = f"solve_heterogeneous, certify=True, K = {users}, batch of {CERTIFIED_ROUNDS}"
        measurements.append(measure("decisions", name, "decisions/s", CERTIFIED_ROUNDS, certify, remark, block=1))
    measurements += [highs(users) for users in HIGHS_USERS]
    for users in REFERENCE_USERS:
        problem = decision_problem(REFERENCE_ROUNDS, users)
        ours = solve_heterogeneous(problem).goodput
        references: dict[str, Callable[[RoundProblem], FloatArray]] = {
            "SLSQP": lambda problem: solve_slsqp(problem, derivatives=False)[1],
            "SLSQP with derivatives": lambda problem: solve_slsqp(problem, derivatives=True)[1],
            "Algorithm 1, 100 x 100": lambda problem: solve_algorithm1(problem).goodput,
        }
        for name, reference in references.items():
            call = partial(reference, problem)
            reached = call()
            remark = (
                f"{reached.mean():.2f} tok/s against {ours.mean():.2f}; above ours in "
                f"{int(np.sum(reached > ours * (1.0 + 1e-9)))} of {REFERENCE_ROUNDS}"
            )
            label = f"reference: {name}, K = {users}"
            measurements.append(measure("decisions", label, "decisions/s", REFERENCE_ROUNDS, call, remark, block=1))
    return measurements


def highs(users: int) -> Measurement:
    """Decisions per second of HiGHS on the mixed-integer problem, timed once, and how far below the optimum it ends."""
    problem = decision_problem(HIGHS_ROUNDS, users)
    best = solve_heterogeneous(problem, certify=True).goodput
    begin = time.perf_counter()
    _, reached = solve_highs(problem, HIGHS_SECONDS)
    rate = HIGHS_ROUNDS / (time.perf_counter() - begin)
    below = max(np.max(1.0 - reached / best), 0.0)
    remark = (
        f"at most {HIGHS_SECONDS:g} s a round; {reached.mean():.2f} tok/s against the optimum's {best.mean():.2f}, "
        f"at most {below:.1e} below"
    )
    return Measurement(
        "decisions", f"reference: HiGHS, mixed-integer, K = {users}", rate, rate, rate, "decisions/s", remark
    )
