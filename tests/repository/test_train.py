"""Commands, the paper's claims that can be reproduced, and the statistics."""

import json
from pathlib import Path

import numpy as np
import pytest
from multispin_train.calibrate import mean_goodput
from multispin_train.cli import main
from multispin_train.paper import points as paper_points
from multispin_train.paper import reproduction as paper
from multispin_train.paper.figures import figure_4_curves
from multispin_train.speed import measurements as speed
from multispin_train.speed.slsqp import solve_slsqp
from rich.progress import Progress

from multispin_env import PAPER_PAIRS, make_config
from multispin_env.evaluation.statistics import interquartile_mean
from multispin_env.optimal import solve_algorithm1, solve_heterogeneous
from multispin_env.profiles import load_model_pair
from multispin_env.scenarios import POWER_TO_NOISE

CALIBRATION = json.loads((Path(__file__).parents[2] / "docs" / "calibration.json").read_text(encoding="utf-8"))


def test_commands_report_what_is_wrong_and_exit_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("")
    assert main(["benchmark", "--output", str(tmp_path / "taken")]) == 2
    assert "must be a folder" in " ".join(capsys.readouterr().err.split())
    assert main(["benchmark", "--output", str(tmp_path / "new"), "--config", '{"num_user": 3}']) == 2
    assert "did you mean 'num_users'" in " ".join(capsys.readouterr().err.split())
    assert main(["benchmark", "--output", str(tmp_path / "new"), "--seeds", "0"]) == 2
    assert "seeds must be at least 1, got 0" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["benchmark", "--scenario", "indoor", "--output", str(tmp_path / "new")])
    assert "invalid choice: 'indoor'" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_interquartile_mean_ignores_the_outer_quarters_and_its_interval_covers_the_truth() -> None:
    assert interquartile_mean([0.0, 2.0, 4.0, 1e9]).value == 3.0
    rng = np.random.default_rng(0)
    estimates = [interquartile_mean(rng.normal(5.0, 1.0, 32)) for _ in range(60)]
    covered = sum(low <= 5.0 <= high for _, low, high in estimates)
    assert 50 <= covered <= 60


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_heterogeneous_beats_fixed_by_60_percent_at_5_mhz_and_by_more_with_more_users(pair: str) -> None:
    def gain(**changes: float) -> float:
        config = make_config("paper", pair, changes)
        return mean_goodput(pair, "heterogeneous", config) / mean_goodput(pair, "fixed", config) - 1.0

    assert gain(bandwidth_hz=5e6) >= 0.6
    gains = [gain(num_users=users) for users in (10, 16, 24)]
    assert gains == sorted(gains)


def test_presets_hold_the_committed_calibration() -> None:
    assert pytest.approx(CALIBRATION["power_to_noise"], rel=0.01) == POWER_TO_NOISE
    for pair in PAPER_PAIRS:
        profile = load_model_pair(pair)
        assert profile.drafting_latency_s == pytest.approx(CALIBRATION["drafting_latency_s"][pair], rel=0.01)
        assert profile.server_drafting_latency_s == pytest.approx(
            CALIBRATION["server_drafting_latency_s"][pair], rel=0.01
        )


def test_figure_4_moves_as_remark_1_says() -> None:
    curves = figure_4_curves()
    assert np.all(np.diff(curves["T_ver"][1]) >= 0)
    assert np.all(np.diff(curves["alpha"][1]) >= 0)
    assert np.all(np.diff(curves["theta"][1]) <= 0)
    assert all(best.min() < best.max() for _, best in curves.values())


def test_the_paper_command_draws_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_points, "ROUNDS", 2)
    monkeypatch.setitem(paper_points.SWEEPS, "bandwidth_hz", (5e6, 10e6))
    monkeypatch.setitem(paper_points.SWEEPS, "num_users", (10, 20, 24))
    with Progress(disable=True) as progress:
        report = paper.reproduce(tmp_path / "paper", 1, progress)
        before = (tmp_path / "paper" / "results.csv").read_bytes()
        paper.reproduce(tmp_path / "paper", 1, progress)
    assert (tmp_path / "paper" / "results.csv").read_bytes() == before
    text = report.read_text(encoding="utf-8")
    for figure in (3, 4, 6, 7, 8):
        assert f"figure{figure}.png" in text
        assert (tmp_path / "paper" / f"figure{figure}.png").read_bytes().startswith(b"\x89PNG")


def test_the_speed_command_measures_everything_and_writes_it_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {
        "LANES": (1, 1024),
        "SOLVER_USERS": (5, 20),
        "REFERENCE_USERS": (20,),
        "REFERENCE_ROUNDS": 2,
        "TRAINING_LANES": (16,),
        "TRAINING_STEPS": 4,
        "EPISODE_CALLS": 1,
        "REPETITIONS": 2,
        "SECONDS_PER_REPETITION": 1e-6,
    }
    for name, value in small.items():
        monkeypatch.setattr(speed, name, value)
    with Progress(disable=True) as progress:
        measurements = speed.measure_all(tmp_path, progress)
    assert {m.section for m in measurements} >= {"environment", "decisions", "training"}
    assert len({m.name for m in measurements}) == len(measurements)
    assert all(0.0 < m.low <= m.rate <= m.high for m in measurements)
    assert len(json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))["measurements"]) == len(measurements)
    assert all(ratio > 0.0 for _, ratio in speed.ratios(measurements))
    assert [table.title for table in speed.tables(measurements)][-1] == "ratios"
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("users", [5, 20])
def test_the_optimum_is_never_below_slsqp_s_rounded_solution(users: int) -> None:
    problem = speed.decision_problem(100, users)
    _, reached = solve_slsqp(problem, derivatives=True)
    solution = solve_heterogeneous(problem)
    assert np.all(solution.goodput >= reached * (1.0 - 1e-12))
    assert np.all(reached <= solution.upper_bound * (1 + 1e-12))


def test_the_optimum_is_never_below_algorithm_1() -> None:
    for users in (9, 20):
        problem = speed.decision_problem(100, users)
        assert np.all(solve_heterogeneous(problem).goodput >= solve_algorithm1(problem).goodput * (1.0 - 1e-12))


def test_several_training_seeds_widen_the_interval_by_what_they_share() -> None:
    rng = np.random.default_rng(0)
    episodes = rng.normal(5.0, 1.0, 64)
    alike = interquartile_mean(np.tile(episodes, (5, 1)))
    assert alike.value == pytest.approx(interquartile_mean(episodes).value, abs=0.02)
    # Five copies of the same episodes are no more evidence than one; independent draws would give .45 of the width.
    assert alike.high - alike.low > 0.8 * (interquartile_mean(episodes).high - interquartile_mean(episodes).low)
    apart = interquartile_mean(episodes + np.array([[-2.0], [-1.0], [0.0], [1.0], [2.0]]))
    assert apart.high - apart.low > 2.0 * (alike.high - alike.low)
