"""Going on in a folder that somebody prepared: nothing in it is run, and what is damaged is refused by name."""

import errno
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from multispin_agents import AGENTS
from multispin_agents.tensors import read_state, write_state
from multispin_train.fit import training as fit
from multispin_train.fit.checkpoints import chunks_done
from multispin_train.fit.learning_curve import CurveRow
from rich.progress import Progress

SMALL = {"num_users": 3, "episode_rounds": 10}
TINY = {"total_timesteps": 64, "num_envs": 4, "n_steps": 4, "updates_per_chunk": 2, "batch_size": 16, "width": 4}


@pytest.fixture(autouse=True)
def few_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "EVALUATION_SEEDS", range(900_000, 900_002))


def trained(path: Path, **changes: Any) -> list[CurveRow]:
    values = {"scenario": "mobile", "model_pair": "llama2", "config": SMALL, "hyperparameters": TINY, **changes}
    training = fit.Training(**values)
    with Progress(disable=True) as progress:
        return fit.train(training, training.open_folder(path), progress)


def stopped(path: Path, **changes: Any) -> Path:
    """A training stopped after its first chunk; the checkpoint's file."""

    def stop(row: CurveRow) -> None:
        if row.timesteps:
            raise KeyboardInterrupt

    values = {"scenario": "mobile", "model_pair": "llama2", "config": SMALL, "hyperparameters": TINY, **changes}
    training = fit.Training(**values)
    with Progress(disable=True) as progress, pytest.raises(KeyboardInterrupt):
        fit.train(training, training.open_folder(path), progress, stop)
    return path / "seed0" / "checkpoint.pt"


class Payload:
    """What runs where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._mark}",)


@pytest.mark.parametrize("agent", AGENTS)
def test_a_prepared_folder_runs_nothing(agent: str, tmp_path: Path) -> None:
    file, mark = stopped(tmp_path / "run", agent=agent), tmp_path / "it-ran"
    # What earlier versions went on from, of which nothing is read any more.
    for name in ("checkpoint1.zip", "replay1.pkl"):
        for folder in (file.parent, tmp_path / "run"):
            with zipfile.ZipFile(folder / name, "w") as archive:
                archive.writestr("data", pickle.dumps(Payload(mark)))
            (folder / f"{name}.pkl").write_bytes(pickle.dumps(Payload(mark)))
    whole = file.read_bytes()
    for content in (
        Payload(mark),
        {**read_state(file), "chunks": Payload(mark)},
        {"tensors": {"log_std": Payload(mark)}},
    ):
        torch.save(content, file)
        with pytest.raises(ValueError, match=r"checkpoint\.pt must be a whole file of tensors.* is never loaded"):
            trained(tmp_path / "run", agent=agent)
    file.write_bytes(whole)
    assert [row.timesteps for row in trained(tmp_path / "run", agent=agent) if row.controller == "seed0"] == [0, 32, 64]
    assert not mark.exists()


def tensor(name: str, change: Callable[[torch.Tensor], object]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {**state, "tensors": {**state["tensors"], name: change(state["tensors"][name])}}


def value(name: str, content: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {**state, name: content}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {}, "a checkpoint needs a value for: chunks"),
        (lambda state: {**state, "more": 1}, "a checkpoint has no field 'more'"),
        (value("chunks", -1), "chunks must be an integer"),
        (value("chunks", 1.0), "chunks must be an integer"),
        (value("chunks", 10**18), "must be of at most 2 chunks"),
        (value("updates", None), "updates must be an integer"),
        (value("tensors", [1]), "tensors must be tensors by name"),
        (value("tensors", {}), "lacks the tensor 'policy/"),
        (value("replay_rows", 10**6), "must be those of a buffer of 12500 rows, got 1000000 and 8"),
        (value("replay_position", 3), "must be those of a buffer of 12500 rows, got 8 and 3"),
        (value("replay_rows", 0), "must be those of a buffer of 12500 rows, got 0 and 8"),
        (tensor("log_ent_coef", lambda old: old * torch.nan), "'log_ent_coef' must hold finite numbers"),
        (tensor("replay/rewards", lambda old: old[:1]), r"'replay/rewards' must be torch.float32 of shape \(8, 4\)"),
        (tensor("replay/dones", lambda old: old / 0.0), "'replay/dones' must hold finite numbers"),
        (tensor("actor_optimizer/0/step", lambda old: -old), "'actor_optimizer/0/step' must not be negative"),
        (tensor("actor_optimizer/0/exp_avg_sq", lambda old: old - 1.0), "must not be negative"),
        (tensor("actor_optimizer/0/exp_avg", lambda old: old[0]), "'actor_optimizer/0/exp_avg' must be torch.float32"),
        (tensor("policy/actor.actor.head.bias", lambda old: "x"), "'policy/actor.actor.head.bias' must be a tensor"),
    ],
)
def test_a_checkpoint_that_is_none_of_this_training_is_refused(
    change: Callable[[dict[str, Any]], dict[str, Any]], message: str, sac_run: Path
) -> None:
    file = sac_run / "seed0" / "checkpoint.pt"
    whole = file.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write_state(file, change(read_state(file)))
        with pytest.raises(ValueError, match=message) as raised:
            trained(sac_run, agent="sac")
        assert str(raised.value).startswith(str(file))
    finally:
        file.write_bytes(whole)


@pytest.fixture(scope="module")
def sac_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "EVALUATION_SEEDS", range(900_000, 900_002))
        path = tmp_path_factory.mktemp("sac") / "run"
        stopped(path, agent="sac")
    return path


def test_a_damaged_checkpoint_is_named(sac_run: Path) -> None:
    file = sac_run / "seed0" / "checkpoint.pt"
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    try:
        for length in (0, 3, *rng.integers(len(whole), size=20)):
            file.write_bytes(whole[:length])
            with pytest.raises(ValueError, match=r"checkpoint\.pt must be a whole file"):
                chunks_done(file)
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_last_checkpoint(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(tmp_path / "whole")
    file = stopped(tmp_path / "cut")
    real = getattr(os, call)

    def full(*arguments: Any) -> Any:
        # `replace` is told the name, `fsync` a number: then all that is written fails.
        if call == "fsync" or str(arguments[1]).endswith("checkpoint.pt"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left on device") as raised:
            trained(tmp_path / "cut")
    assert Path(raised.value.filename).is_relative_to(tmp_path / "cut")
    assert chunks_done(file) == 1
    assert trained(tmp_path / "cut") == whole


def test_rows_of_another_training_are_refused(tmp_path: Path) -> None:
    stopped(tmp_path)
    file = tmp_path / "results.csv"
    file.write_text(file.read_text().replace("seed0", "seed7"))
    with pytest.raises(ValueError, match=r"results\.csv, row 3: controller must be one of .*seed0 in this folder, got"):
        trained(tmp_path)
