"""The paper's figures beside ours: claims that can be reproduced, the calibration, and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from multispin_train.calibrate import mean_goodput
from multispin_train.paper import points as paper_points
from multispin_train.paper import reproduction as paper
from multispin_train.paper.figures import figure_4_curves
from rich.progress import Progress

from multispin_env import PAPER_PAIRS, make_config
from multispin_env.profiles import load_model_pair
from multispin_env.scenarios import POWER_TO_NOISE

CALIBRATION = json.loads((Path(__file__).parents[2] / "docs" / "calibration.json").read_text(encoding="utf-8"))


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
