"""Training by the command: reproducible, resumable, and its policies stand in the benchmark."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from multispin_agents import AGENTS
from multispin_agents.policy import LearnedController
from multispin_train.benchmark.protocol import Protocol, run_benchmark
from multispin_train.cli import main
from multispin_train.fit import training as fit
from multispin_train.fit.checkpoints import chunks_done
from multispin_train.fit.learning_curve import CurveRow
from rich.progress import Progress
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from multispin_env import make_config
from multispin_env.evaluation.rollout import play

SMALL = {"num_users": 3, "episode_rounds": 10}
TINY = {"total_timesteps": 384, "num_envs": 8, "n_steps": 8, "updates_per_chunk": 2, "batch_size": 32, "width": 8}
NAME = "mobile-llama2-seed0"


@pytest.fixture(autouse=True)
def few_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "EVALUATION_SEEDS", range(900_000, 900_004))


def training(**changes: object) -> fit.Training:
    values = {"scenario": "mobile", "model_pair": "llama2", "config": SMALL, "hyperparameters": TINY, **changes}
    return fit.Training(**values)


def trained(path: Path, **changes: object) -> list[CurveRow]:
    with Progress(disable=True) as progress:
        return fit.train(training(**changes), training(**changes).open_folder(path), progress)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "policies" / NAME / "actor.pt", weights_only=True)


@pytest.mark.parametrize(
    "changes", [*({"agent": agent} for agent in AGENTS), {"users": (2, 4)}, {"agent": "recurrent-ppo", "users": (2, 4)}]
)
def test_a_training_interrupted_anywhere_ends_as_the_one_that_was_not(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path / "whole", **changes)
    assert [(row.controller, row.timesteps) for row in whole] == [
        ("heterogeneous", 0),
        ("predictive", 0),
        ("seed0", 0),
        ("seed0", 128),
        ("seed0", 256),
        ("seed0", 384),
    ]
    advance, calls = fit._Advance._on_step, []

    def interrupted(self: fit._Advance) -> bool:
        calls.append(1)
        if len(calls) == 24:  # in the middle of the second chunk
            raise KeyboardInterrupt
        return advance(self)

    monkeypatch.setattr(fit._Advance, "_on_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", **changes)
    assert chunks_done(tmp_path / "cut" / "seed0" / "checkpoint.pt") == 1
    assert trained(tmp_path / "cut", **changes) == whole
    ours, theirs = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert trained(tmp_path / "cut", **changes) == whole  # nothing is left to do
    assert (tmp_path / "cut" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("users", [(), (2, 4)])
def test_a_taught_agent_starts_from_its_lessons_and_is_the_same_every_time(
    users: tuple[int, ...], tmp_path: Path
) -> None:
    taught = {"action": "direct", "teacher": "predictive", "users": users}
    lessons = {**TINY, "total_timesteps": 128, "lesson_rounds": 1600}
    rows = trained(tmp_path / "a", **taught, hyperparameters=lessons)
    assert [row.timesteps for row in rows if row.controller == "seed0"] == [0, 128]
    start = next(row for row in rows if row.controller == "seed0")
    untaught = trained(tmp_path / "untaught", **{**taught, "teacher": "none"}, hyperparameters=lessons)
    assert start.gain > next(row for row in untaught if row.controller == "seed0").gain
    assert trained(tmp_path / "b", **taught, hyperparameters=lessons) == rows


def test_who_may_teach_whom() -> None:
    with pytest.raises(ValueError, match="agent must be ppo to learn from a teacher, got 'sac'"):
        training(teacher="predictive", agent="sac")
    with pytest.raises(ValueError, match="teacher must be one of 'none', 'heterogeneous'"):
        training(teacher="clairvoyant")


def test_an_agent_of_several_numbers_of_users_is_judged_by_all_and_serves_any(tmp_path: Path) -> None:
    rows = {users: trained(tmp_path / f"{users}", users=users) for users in ((2, 4), (2,), (4,))}
    few, both, many = (
        next(row.goodput_tok_s for row in rows[users] if row.controller == "heterogeneous")
        for users in ((2,), (2, 4), (4,))
    )
    assert few < both < many
    system = make_config("mobile", config={**SMALL, "num_users": 7})
    (episode,) = play(LearnedController.load(tmp_path / "(2, 4)" / "policies" / NAME), system, [0], timed=False)
    assert episode.tokens > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": (5, 5)}, "users must be different numbers, got 5 5"),
        ({"users": (5, 0)}, "num_users must be an integer in"),
        ({"users": (2, 4), "network": "mlp"}, "network must be equivariant to serve several numbers of users, got mlp"),
        ({"users": (2, 4), "agent": "sac"}, "users must be left out for sac"),
    ],
)
def test_numbers_of_users_that_cannot_be_trained_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training(**changes)


def test_tensorboard_can_show_the_evaluations_and_the_training(tmp_path: Path) -> None:
    rows = trained(tmp_path)
    log = EventAccumulator(str(tmp_path / "seed0" / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in log.Scalars("evaluation/gain_over_heterogeneous")]
    assert shown == [(row.timesteps, pytest.approx(row.gain, abs=1e-6)) for row in rows if row.controller == "seed0"]
    assert {"evaluation/goodput_tok_s", "rollout/reward", "train/loss"} <= set(log.Tags()["scalars"])


def test_the_fit_command_leaves_a_policy_that_the_benchmark_plays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["fit", "--action", "direct", "--network", "mlp", "--config", json.dumps(SMALL)]
    arguments += ["--hyperparameters", json.dumps({**TINY, "total_timesteps": 1}), "--output", str(tmp_path / "run")]
    assert main(arguments) == 0
    assert "% over heterogeneous" in capsys.readouterr().out
    policy = tmp_path / "run" / "policies" / NAME
    card = json.loads((policy / "card.json").read_text())
    assert card["command"].startswith("multispin fit --scenario mobile --model-pair llama2 --agent ppo --action")
    assert {
        "seed",
        "timesteps",
        "evaluation",
        "hyperparameters",
        "versions",
        "system",
        "action",
        "network",
    } <= set(card)
    assert sum(file.stat().st_size for file in policy.iterdir()) < 1_000_000

    arguments = ["benchmark", "--seeds", "2", "--controllers", "fixed", "heterogeneous", "--policy", str(policy)]
    arguments += ["--config", json.dumps(SMALL), "--output", str(tmp_path / "benchmark")]
    assert main(arguments) == 0
    assert f"| {NAME} |" in (tmp_path / "benchmark" / "report.md").read_text(encoding="utf-8")


def test_policies_and_controllers_meet_the_same_worlds_by_name(tmp_path: Path) -> None:
    trained(tmp_path / "run", hyperparameters={**TINY, "total_timesteps": 1})
    path = str(tmp_path / "run" / "policies" / NAME)
    protocol = Protocol(
        scenario="mobile", model_pair="llama2", seeds=2, controllers=("fixed",), policies=(path,), config=SMALL
    )
    rows = run_benchmark(protocol, protocol.open_folder(tmp_path / "benchmark"))
    assert [(row.controller, row.seed - 1_000_000) for row in rows] == [
        ("fixed", 0),
        ("fixed", 1),
        (NAME, 0),
        (NAME, 1),
    ]
    with pytest.raises(ValueError, match="there are two called"):
        Protocol(scenario="mobile", model_pair="llama2", seeds=2, policies=(path, path))
    Path(path).rename(tmp_path / "fixed")
    with pytest.raises(ValueError, match="there are two called 'fixed'"):
        Protocol(scenario="mobile", model_pair="llama2", seeds=2, policies=(str(tmp_path / "fixed"),))


def test_a_folder_of_another_training_and_bad_values_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training().open_folder(tmp_path / "mine")
    with pytest.raises(FileExistsError, match="holds results for another action"):
        training(action="direct").open_folder(tmp_path / "mine")
    assert main(["fit", "--hyperparameters", '{"discount": 1}', "--output", str(tmp_path / "new")]) == 2
    assert "ppo has no field 'discount'" in " ".join(capsys.readouterr().err.split())
    assert main(["fit", "--seeds", "0", "--output", str(tmp_path / "new")]) == 2
    assert "seeds must be an integer in [1, 1000000000], got 0" in capsys.readouterr().err
    assert main(["benchmark", "--policy", str(tmp_path / "none"), "--output", str(tmp_path / "new")]) == 2
    assert "no policy in" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_training_and_evaluation_worlds_are_none_of_the_benchmark_s() -> None:
    num_envs = training().values().num_envs
    assert fit.CHUNK_SEEDS[1] + num_envs <= fit.EVALUATION_SEEDS.start
    assert fit.EVALUATION_SEEDS.stop <= 1_000_000
