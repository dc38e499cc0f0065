"""The study's plan, its resuming, and what its report makes of the rows."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from multispin_train.study import report as study_report
from multispin_train.study.heat import HEAT_PLAYERS, make_player
from multispin_train.study.plan import Plan, Study, StudyRow, cell_name
from multispin_train.study.results import Results
from multispin_train.workers import Workers
from rich.progress import Progress

from multispin_env import Simulator

TINY = {"total_timesteps": 64, "num_envs": 8, "n_steps": 4, "updates_per_chunk": 2, "width": 8, "lesson_rounds": 64}


def rows(goodput: dict[str, list[list[float]]], setting: str = "here") -> list[StudyRow]:
    return [
        StudyRow(setting, player, training_seed if len(each) > 1 else -1, seed, 100, 100.0 / value, value, 5.0)
        for player, each in goodput.items()
        for training_seed, episodes in enumerate(each)
        for seed, value in enumerate(episodes)
    ]


def test_the_plan_asks_what_the_study_is_to_answer() -> None:
    plan = Plan()
    assert plan.training_seeds >= 5
    assert plan.seeds >= 64
    for scenario in ("paper", "requests", "mobile", "thermal", "measured"):
        trained = "mobile" if scenario in ("thermal", "measured") else scenario
        for pair in ("llama2", "qwen3.5"):
            setting = plan.settings[f"{scenario}-{pair}"]
            assert {"heterogeneous", "predictive", "clairvoyant"} <= set(setting.controllers)
            assert ("long-run" in setting.controllers) == (trained == scenario)
            actions = {"paper": ("direct", "lengths"), "requests": ("residual",)}.get(
                trained, ("direct", "lengths", "residual")
            )
            assert setting.cells == tuple(cell_name(trained, pair, action) for action in actions)
    assert all((cell.teacher == "none") == (cell.action == "residual") for cell in plan.cells.values())
    hidden = plan.settings["hidden-doppler"]
    assert not hidden.system().channel.doppler_known
    assert {plan.cells[name].agent for name in hidden.cells} == {"ppo", "recurrent-ppo", "sac"}
    for users in (5, 10, 40, 100):
        setting = plan.settings[f"users-{users}"]
        assert setting.system().num_users == users
        assert plan.cells[f"users-{users}"].systems()[0].num_users == users
        assert f"users-{users}" in setting.cells


def test_a_controller_told_that_drafting_takes_longer_drafts_less() -> None:
    simulator = Simulator(Plan().settings["heat-llama2"].system(), 4)
    simulator.reset([np.random.default_rng(seed) for seed in range(4)])
    lengths = [
        make_player(name, "llama2").act(simulator.view()).draft_length.sum()
        for name in (HEAT_PLAYERS[0.5], "predictive", HEAT_PLAYERS[2.0])
    ]
    assert lengths[0] > lengths[1] > lengths[2]


def test_ratios_are_paired_by_episode() -> None:
    results = Results(rows({"one": [[1.0, 10.0, 4.0, 4.0]], "agent": [[2.0, 20.0, 8.0, 8.0], [4.0, 40.0, 16.0, 16.0]]}))
    ratio = results.ratio("here", "agent", "one")
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((3.0, 2.0, 4.0))  # the two agents' ratios
    assert results.mean("here", "one").value == pytest.approx(4.0)
    assert results.training_range("here", "agent") == (8.0, 16.0)
    assert results.goodput("here", "agent").shape == (2, 4)


class _Small(Plan):
    """Two agents and two systems of a few users, in place of everything."""

    @property
    def cells(self):
        wanted = ("mobile-llama2-direct", "users-5")
        small = {"num_users": 3, "episode_rounds": 4}
        cells = super().cells
        return {name: dataclasses.replace(cells[name], config=small, users=()) for name in wanted}

    @property
    def settings(self):
        name = "mobile-llama2"
        setting = super().settings[name]
        return {
            name: dataclasses.replace(
                setting,
                config={"num_users": 3, "episode_rounds": 4},
                controllers=("heterogeneous", "predictive", "long-run"),
                cells=tuple(self.cells),
            )
        }


def test_a_study_goes_on_where_it_was(tmp_path: Path) -> None:
    plan = _Small(training_seeds=2, variant_seeds=2, seeds=3, hyperparameters=TINY)
    study = Study(tmp_path / "study", plan)
    with Progress(disable=True) as progress:
        whole = study.run(Workers(jobs=2), progress)
    assert len(whole) == 3 * (3 + 2 * 2)
    assert {row.training_seed for row in whole if row.player == "users-5"} == {0, 1}
    file = tmp_path / "study" / "results.csv"
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(lines[:-5]) + "\n", encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "agents").rglob("card.json")}
    with Progress(disable=True) as progress:
        again = Study(tmp_path / "study", plan).run(Workers(), progress)

    def played(rows: list[StudyRow]) -> dict[tuple[object, ...], float]:
        return {(row.setting, row.player, row.training_seed, row.seed): row.goodput_tok_s for row in rows}

    # Networks add up in another order in batches of another size.
    assert played(again) == pytest.approx(played(whole), rel=1e-4)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(FileExistsError, match="another seeds"):
        Study(tmp_path / "study", _Small(training_seeds=2, variant_seeds=2, seeds=4, hyperparameters=TINY))


def test_the_report_has_every_table_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(training_seeds=2, seeds=4)
    study = Study(tmp_path / "study", plan)
    rng = np.random.default_rng(0)
    everything = [
        StudyRow(name, player, one, seed, 100, 1.0, float(rng.uniform(90.0, 110.0)), 100.0)
        for name, setting in plan.settings.items()
        for player, seeds in (*((who, [-1]) for who in setting.controllers), *((who, [0, 1]) for who in setting.cells))
        for one in seeds
        for seed in range(4)
    ]
    monkeypatch.setattr(study_report, "draw_behaviour", lambda path, study: None)  # needs trained agents
    for name in plan.cells:
        folder = study.cell_path(name) / "seed0"
        folder.mkdir(parents=True)
        (folder / "results.csv").write_text(
            "controller,timesteps,goodput_tok_s,low,high,gain,action_std\nheterogeneous,0,60,60,60,0,0\n"
            "predictive,0,80,80,80,0,0\nseed0,0,70,70,70,0,0\nseed0,10,90,90,90,0,0\nseed1,10,95,95,95,0,0\n",
            encoding="utf-8",
        )
    page = study_report.write_report(study, everything).read_text(encoding="utf-8")
    for name in plan.settings:
        assert name in page or name.replace("-", " / ", 1) in page
    for name in ("goodput", "transfer", "learning_curves"):
        assert (tmp_path / "study" / f"{name}.png").stat().st_size > 10_000
    assert "**missed**" in page
    assert "against a specialist for 40 users" in page
    unfinished = [row for row in everything if row.player != "long-run"]
    page = study_report.write_report(study, unfinished).read_text(encoding="utf-8")
    assert "| long-run |" not in page
    assert "| predictive |" in page


def test_changes_go_to_the_agents_that_have_them_and_unknown_ones_are_refused() -> None:
    cells = Plan(hyperparameters={"lesson_rounds": 64, "tau": 0.5}).cells
    assert cells["mobile-llama2-direct"].hyperparameters == {"lesson_rounds": 64}
    assert cells["hidden-doppler-sac"].hyperparameters == {"tau": 0.5}
    with pytest.raises(ValueError, match="hyperparameters has no field 'lessons'"):
        Plan(hyperparameters={"lessons": 64})


def test_too_few_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"training_seeds must be an integer in \[1, 1000000000\], got 0"):
        Plan(training_seeds=0)
