"""The benchmark: its protocol, its folder, and what it says."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from multispin_agents.networks import Actor, NetworkConfig
from multispin_agents.policy import LearnedController
from multispin_baselines import REFERENCE_CONTROLLERS
from multispin_train.benchmark.command import benchmark
from multispin_train.benchmark.protocol import Protocol, run_benchmark
from multispin_train.benchmark.report import summarise, terminal_report
from multispin_train.cli import main
from multispin_train.display import CommandProgress
from rich.console import Console

from multispin_env import make_config
from multispin_env.evaluation import FIRST_EVALUATION_SEED
from multispin_env.evaluation.rollout import play

SMALL = {"num_users": 3, "episode_rounds": 5}


def protocol(**changes: object) -> Protocol:
    values = {"scenario": "mobile", "model_pair": "llama2", "seeds": 2, "config": SMALL, **changes}
    return Protocol(**values)


@pytest.fixture
def policy(tmp_path: Path) -> str:
    """A policy that has learned nothing, in a folder called ``mine``."""
    config = make_config("mobile", config=SMALL)
    made = LearnedController("mine", Actor(NetworkConfig.of("equivariant", 8, config)), "residual", config)
    made.save(tmp_path / "policies" / "mine", {})
    return str(tmp_path / "policies" / "mine")


def untimed(rows: list) -> list:
    """Rows without the one column that a clock decides."""
    return [replace(row, decision_us=0.0) for row in rows]


def test_a_benchmark_has_a_row_per_controller_and_seed_and_is_reproducible(tmp_path: Path) -> None:
    runs = [run_benchmark(protocol(), protocol().open_folder(tmp_path / name)) for name in ("a", "b")]
    assert untimed(runs[0]) == untimed(runs[1])
    assert [(row.controller, row.seed) for row in runs[0]] == [
        (name, FIRST_EVALUATION_SEED + seed) for name in protocol().controllers for seed in range(2)
    ]
    with (tmp_path / "a" / "results.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert ",".join(lines[0]) == (
        "scenario,model_pair,num_users,controller,seed,tokens,seconds,goodput_tok_s,decision_us,jain_index"
    )
    for line in lines:
        assert float(line["goodput_tok_s"]) == pytest.approx(int(line["tokens"]) / float(line["seconds"]))


def test_an_interrupted_benchmark_keeps_finished_rows_and_goes_on(tmp_path: Path) -> None:
    whole = run_benchmark(protocol(), protocol().open_folder(tmp_path / "whole"))

    def interrupt(name: str, rounds: int) -> None:
        if name == "homogeneous":
            raise KeyboardInterrupt

    folder = protocol().open_folder(tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(protocol(), folder, interrupt)
    kept = folder.rows()
    assert {row.controller for row in kept} == {"p2p", "centralized", "fixed", "uniform"}
    resumed = run_benchmark(protocol(), protocol().open_folder(tmp_path / "cut"))
    assert untimed(resumed) == untimed(whole)
    assert resumed[: len(kept)] == kept


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    protocol().open_folder(tmp_path / "mine")
    with pytest.raises(FileExistsError, match=r"mine holds results for another scenario, system, world"):
        protocol(scenario="paper").open_folder(tmp_path / "mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match="foreign exists and holds no results of ours"):
        protocol().open_folder(tmp_path / "foreign")
    with pytest.raises(FileExistsError, match="must be a folder"):
        protocol().open_folder(tmp_path / "foreign" / "thesis.tex")


def test_the_benchmark_command_writes_rows_report_and_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["benchmark", "--scenario", "requests", "--seeds", "2", "--config", json.dumps(SMALL)]
    arguments += ["--controllers", "fixed", "heterogeneous", "clairvoyant", "--output", str(tmp_path / "run")]
    assert main(arguments) == 0
    assert "heterogeneous" in capsys.readouterr().out
    assert (tmp_path / "run" / "goodput.png").read_bytes().startswith(b"\x89PNG")
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "| clairvoyant |" in report
    assert "100.0 [100.0, 100.0]" in report


def test_ratios_are_paired_by_seed(tmp_path: Path) -> None:
    rows = run_benchmark(
        protocol(controllers=("fixed", "heterogeneous")),
        protocol(controllers=("fixed", "heterogeneous")).open_folder(tmp_path),
    )
    fixed, best = summarise(rows)
    gains = [a.goodput_tok_s / b.goodput_tok_s - 1.0 for a, b in zip(rows[:2], rows[2:], strict=True)]
    assert fixed.gain is not None
    assert fixed.gain.value == pytest.approx(np.mean(gains))
    assert best.gain is not None
    assert best.gain == pytest.approx((0.0, 0.0, 0.0))
    assert fixed.of_clairvoyant is None


def test_a_finished_folder_is_extended_and_nothing_is_played_twice(policy: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = protocol(controllers=("fixed", "heterogeneous"))
    before = run_benchmark(first, first.open_folder(run))
    more = protocol(seeds=3, controllers=("uniform", "heterogeneous"), policies=(policy,))
    after = run_benchmark(more, more.open_folder(run))
    seeds = {
        name: [row.seed - FIRST_EVALUATION_SEED for row in after if row.controller == name]
        for name in ("fixed", "uniform", "heterogeneous", "mine")
    }
    assert seeds == {
        "fixed": [0, 1],
        "uniform": [0, 1, 2],
        "heterogeneous": [0, 1, 2],
        "mine": [0, 1, 2],
    }
    # To the microseconds that their decisions took: they were not played again.
    assert set(before) < set(after)
    # In the order of tables, and whoever is asked for less gets everything that is there.
    assert list(dict.fromkeys(row.controller for row in after)) == list(seeds)
    assert run_benchmark(first, first.open_folder(run)) == after
    assert set(json.loads((run / "manifest.json").read_text(encoding="utf-8"))["players"]) == set(seeds)
    fixed, uniform, *_ = summarise(after)
    assert (fixed.seeds, uniform.seeds) == (2, 3)
    paired = [a.goodput_tok_s / b.goodput_tok_s - 1.0 for a, b in zip(after[:2], after[5:7], strict=True)]
    assert fixed.gain is not None
    assert fixed.gain.value == pytest.approx(np.mean(paired))


def test_slow_controllers_play_only_by_name() -> None:
    assert protocol().controllers == REFERENCE_CONTROLLERS
    assert not {"algorithm1", "stochastic", "long-run"} & set(REFERENCE_CONTROLLERS)
    assert protocol(controllers=("algorithm1",)).names == ("algorithm1",)


def test_the_table_fits_80_columns_and_breaks_no_name(tmp_path: Path) -> None:
    rows = run_benchmark(protocol(), protocol().open_folder(tmp_path), timed=False)
    widest = "twenty-four-characters-a"
    rows = [replace(row, controller=widest if row.controller == "uniform" else row.controller) for row in rows]
    # Goodput of four digits, gains of three with intervals: the widest that a scenario has shown.
    rows = [replace(row, goodput_tok_s=30.0 * row.goodput_tok_s, decision_us=12345.0) for row in rows]
    console = Console(file=StringIO(), width=80)
    console.print(terminal_report(protocol(), summarise(rows)))
    lines = cast(StringIO, console.file).getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for name in (widest, "heterogeneous", "clairvoyant"):
        assert any(line.startswith(f"{name} ") for line in lines)
    assert not any("…" in line for line in lines)


def test_into_a_pipe_goes_a_line_a_controller_and_no_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark(protocol(controllers=("fixed", "uniform")), tmp_path)
    said = capsys.readouterr().out
    first, second, *_ = said.splitlines()
    assert first.startswith("fixed ")
    assert "10/10" in first
    assert second.startswith("uniform ")
    assert "\x1b" not in said
    assert "━" not in said


def test_an_interruption_says_which_rows_are_kept_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = protocol(seeds=20, controllers=("fixed", "uniform", "heterogeneous"))
    calls = []

    def interrupted(player, config, seeds, *rest, **options):
        calls.append(len(seeds))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return play(player, config, seeds, *rest, **options)

    monkeypatch.setattr("multispin_train.benchmark.protocol.play", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"results\.csv keeps fixed 20 of 20 seeds, uniform 16 of"):
        benchmark(asked, tmp_path)
    assert len(asked.open_folder(tmp_path).rows()) == 36


def test_a_task_s_time_and_rate_are_its_own() -> None:
    now = [0.0]
    with CommandProgress(Console(file=StringIO())) as progress:
        progress.get_time = lambda: now[0]
        first, second = (progress.add_task(name, start=False, total=100) for name in ("first", "second"))
        progress.begin(first, 0)
        now[0] = 50.0
        progress.advance(first, 100)
        progress.begin(second, 60)
        now[0] = 52.0
        progress.advance(second, 40)
    said = cast(StringIO, progress.console.file).getvalue().splitlines()
    assert said == [f"{'first':<24} 100/100 0:00:50 2.0/s", f"{'second':<24} 100/100 0:00:02 20/s"]


def test_into_a_pipe_a_long_task_says_about_every_minute_how_far_it_is() -> None:
    now = [0.0]
    with CommandProgress(Console(file=StringIO())) as progress:
        progress.get_time = lambda: now[0]
        task = progress.add_task("long", total=100, completed=20)
        for second in range(1, 81):
            now[0] = 2.0 * second
            progress.advance(task)
    said = cast(StringIO, progress.console.file).getvalue().splitlines()
    assert [line.split()[1] for line in said] == ["50/100", "80/100", "100/100"]
    assert said[-1].endswith("0:02:40 0.5/s")  # what an earlier run did is not in the rate


def test_warnings_come_once_and_in_one_line(policy: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "multispin_train", "benchmark", "--seeds", "20", "--controllers", "fixed"]
    command += ["--policy", policy, "--config", '{"episode_rounds": 2, "bandwidth_hz": 5e6}']
    done = subprocess.run([*command, "--output", str(tmp_path / "run")], capture_output=True, text=True, check=True)
    assert done.stderr.startswith("warning: policy 'mine' was trained on another system")
    assert done.stderr.count("\n") == 1
