"""The search for hyperparameters: it goes on after an interruption, and leaves what `fit` can use."""

import csv
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from multispin_agents import AGENTS
from multispin_agents.algorithms import load_hyperparameters
from multispin_train import search
from multispin_train.cli import main
from multispin_train.fit import training as fit
from multispin_train.fit.learning_curve import CurveRow
from multispin_train.workers import Workers
from rich.progress import Progress

from multispin_env.files import read_json

GIVEN = {"num_envs": 8, "width": 8, "batch_size": 16}
WANTED = search.Search(config={"num_users": 3, "episode_rounds": 5}, hyperparameters=GIVEN, total_timesteps=256)


@pytest.fixture(autouse=True)
def few_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "EVALUATION_SEEDS", range(900_000, 900_002))


def searched(path: Path, trials: int, jobs: int = 1) -> dict[str, object]:
    with Progress(disable=True) as progress:
        return search.run_search(WANTED, trials, path, Workers(jobs=jobs), progress)


def rows(path: Path) -> list[dict[str, str]]:
    with (path / "trials.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_search_goes_on_where_it_was_interrupted_and_leaves_a_section_for_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []

    def interrupted(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit.train(*arguments)

    monkeypatch.setattr(search, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path, 3)
    assert len(rows(tmp_path)) == 1
    best = searched(tmp_path, 3)
    assert [row["trial"] for row in rows(tmp_path)] == ["0", "1", "2"]
    assert calls[1][0] == calls[2][0]  # the interrupted trial again, with what it had drawn

    current = load_hyperparameters("ppo", ["mobile"], GIVEN)
    assert float(rows(tmp_path)[0]["learning_rate"]) == current.learning_rate  # the first trial is the file's
    gains = [float(row["best_gain"]) for row in rows(tmp_path)]
    chosen = rows(tmp_path)[gains.index(max(gains))]
    section = yaml.safe_load((tmp_path / "best.yaml").read_text(encoding="utf-8"))["mobile"]
    assert section == best
    assert float(chosen["learning_rate"]) == section["learning_rate"]
    load_hyperparameters("ppo", ["mobile"], section)
    assert (tmp_path / "trials.png").read_bytes().startswith(b"\x89PNG")
    assert searched(tmp_path, 3) == best  # nothing is left to do


def test_several_trials_at_once_are_those_that_were_asked_for_and_all_go_into_the_table(tmp_path: Path) -> None:
    best = searched(tmp_path, 4, jobs=2)
    found = rows(tmp_path)
    assert [row["trial"] for row in found] == ["0", "1", "2", "3"]
    assert len({row["learning_rate"] for row in found}) == 4
    for row in found:
        manifest = read_json(tmp_path / "trials" / row["trial"] / "manifest.json")
        assert manifest["values"]["learning_rate"] == float(row["learning_rate"])
    assert searched(tmp_path, 4, jobs=2) == best  # nothing is left to do


def test_a_trial_that_falls_behind_is_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_PATIENT_TRIALS", 1)
    worse = []

    def falling(training: fit.Training, folder: object, progress: object, on_evaluation: Any) -> list[CurveRow]:
        worse.append(1)
        found = []
        for number in range(1, search.EVALUATIONS + 1):
            frames = number * training.values().chunk_timesteps
            found.append(CurveRow("seed0", frames, 1.0, 1.0, 1.0, -float(len(worse)), 0.1))
            on_evaluation(found[-1])
        return found

    monkeypatch.setattr(search, "train", falling)
    monkeypatch.setattr(shutil, "rmtree", lambda path: None)
    searched(tmp_path, 3)
    assert [row["state"] for row in rows(tmp_path)] == ["complete", "pruned", "pruned"]
    assert [row["evaluations"] for row in rows(tmp_path)] == ["5", "1", "1"]


@pytest.mark.parametrize("agent", AGENTS)
def test_what_is_searched_are_hyperparameters_and_holds_what_the_files_say(agent: str) -> None:
    wanted = search.Search(scenario="thermal", agent=agent, total_timesteps=1000)
    current = wanted.training({}).values()
    assert "gamma" in wanted.space()
    for name, values in wanted.space().items():
        value = getattr(current, name)
        if isinstance(values, search.Between):
            assert values.low <= value <= values.high, name
        else:
            assert value in values, name


def test_the_command_searches_and_refuses_bad_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "--config",
        '{"num_users": 3, "episode_rounds": 5}',
        "--hyperparameters",
        '{"num_envs": 8, "width": 8, "batch_size": 8}',
    ]
    arguments = ["search", "--total-timesteps", "64", *small, "--output", str(tmp_path / "run")]
    assert main([*arguments, "--trials", "1"]) == 0
    assert "mobile:" in capsys.readouterr().out
    assert main([*arguments, "--agent", "sac", "--trials", "1"]) == 2
    assert "holds results for another agent" in " ".join(capsys.readouterr().err.split())
    assert main([*arguments, "--trials", "0"]) == 2
    assert "trials must be an integer in [1, 1000000000], got 0" in capsys.readouterr().err
    assert main(["search", "--total-timesteps", "0", "--output", str(tmp_path / "new")]) == 2
    assert "total_timesteps must be an integer in [1, 1000000000], got 0" in capsys.readouterr().err


def test_a_journal_cut_off_in_a_line_goes_on_and_another_is_named(tmp_path: Path) -> None:
    best = searched(tmp_path, 1)
    journal = tmp_path / "optuna.journal"
    whole = journal.read_text(encoding="utf-8")
    journal.write_text(whole + whole.splitlines()[-1][:40], encoding="utf-8")
    assert searched(tmp_path, 1) == best
    assert journal.read_text(encoding="utf-8").startswith(whole)
    lines = whole.splitlines(keepends=True)
    wider = whole.replace('\\"high\\": 0.01', '\\"high\\": 0.1')
    for content, message in (
        ("[]\n", "entry 1: must be an object"),
        ("null\n" + whole, "entry 1: must be an object"),
        ("".join([lines[0], "{\n", *lines[1:]]), "entry 2: column 2"),
        (10_000 * "[" + "\n", "must not be nested deeper"),
        ('{"op_code": ' + 400 * "9" + "}\n", "digits"),
        ('{"op_code": 99}\n', "is not the journal of a search of ours"),
        ("{}\n", "is not the journal of a search of ours"),
        (wider, "trial 0 is not of this search's space"),
        (whole.replace("learning_rate", "lucky_number"), "trial 0 is not of this search's space"),
    ):
        journal.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=message) as raised:
            searched(tmp_path, 1)
        assert str(raised.value).startswith(str(journal))
    journal.write_text(whole, encoding="utf-8")
    assert searched(tmp_path, 1) == best


def test_a_prepared_journal_runs_nothing(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path / 'it-ran'}",)

    searched(tmp_path, 1)
    pickled = pickle.dumps(Payload())
    for name in ("optuna.journal", "best.yaml", "trials.csv", "optuna.journal.snapshot", "optuna.journal.pkl"):
        (tmp_path / name).write_bytes(pickled)
    with pytest.raises(ValueError, match=r"optuna\.journal"):
        searched(tmp_path, 1)
    assert not (tmp_path / "it-ran").exists()
