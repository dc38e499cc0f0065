"""The speed command, and the optimum beside the references that it is timed with."""

import json
from pathlib import Path

import numpy as np
import pytest
from multispin_train.speed import decisions, environments, timing
from multispin_train.speed.command import measure_all
from multispin_train.speed.report import ratios, tables
from multispin_train.speed.slsqp import solve_slsqp
from rich.progress import Progress

from multispin_env.optimal import solve_algorithm1, solve_heterogeneous


def test_the_speed_command_measures_everything_and_writes_it_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {
        "NUM_ENVS": (1, 1024),
        "SOLVER_USERS": (5, 20),
        "REFERENCE_USERS": (20,),
        "REFERENCE_ROUNDS": 2,
        "CERTIFIED_ROUNDS": 2,
        "HIGHS_USERS": (3,),
        "HIGHS_ROUNDS": 1,
        "TRAINING_NUM_ENVS": (16,),
        "TRAINING_STEPS": 4,
        "EPISODE_CALLS": 1,
        "REPETITIONS": 2,
        "SECONDS_PER_REPETITION": 1e-6,
    }
    for name, value in small.items():
        home = next(module for module in (environments, decisions, timing) if hasattr(module, name))
        monkeypatch.setattr(home, name, value)
    with Progress(disable=True) as progress:
        measurements = measure_all(tmp_path, progress)
    assert {m.section for m in measurements} >= {"environment", "decisions", "training"}
    assert len({m.name for m in measurements}) == len(measurements)
    assert all(0.0 < m.low <= m.rate <= m.high for m in measurements)
    assert len(json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))["measurements"]) == len(measurements)
    assert all(ratio > 0.0 for _, ratio in ratios(measurements))
    assert [table.title for table in tables(measurements)][-1] == "ratios"
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("users", [5, 20])
def test_the_optimum_is_never_below_slsqp_s_rounded_solution(users: int) -> None:
    problem = decisions.decision_problem(100, users)
    _, reached = solve_slsqp(problem, derivatives=True)
    solution = solve_heterogeneous(problem)
    assert np.all(solution.goodput >= reached * (1.0 - 1e-12))
    assert np.all(reached <= solution.upper_bound * (1 + 1e-12))


def test_the_optimum_is_never_below_algorithm_1() -> None:
    for users in (9, 20):
        problem = decisions.decision_problem(100, users)
        assert np.all(solve_heterogeneous(problem).goodput >= solve_algorithm1(problem).goodput * (1.0 - 1e-12))
