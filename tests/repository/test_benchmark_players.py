"""Who can play in a benchmark: somebody's own modules, and models that stable-baselines3 saved."""

import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
from multispin_train.benchmark import sb3_zip
from multispin_train.benchmark.protocol import Protocol, run_benchmark
from multispin_train.benchmark.report import summarise
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from multispin_env.evaluation import evaluate

SMALL = {"num_users": 3, "episode_rounds": 5}


def protocol(**changes: object) -> Protocol:
    values = {"scenario": "mobile", "model_pair": "llama2", "seeds": 2, "config": SMALL, **changes}
    return Protocol(**values)


MODULE = """
from multispin_baselines import make_controller

class Mine:
    def act(self, view):
        return make_controller({inner!r}, "llama2").act(view)

class Needs:
    def __init__(self, gain):
        self.gain = gain

class Nothing:
    pass

def zeros(observations):
    return 0.0 * observations[:, :6]

made = Mine()
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of somebody's own in the working directory."""
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(inner="uniform"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_somebody_s_own_class_and_function_play_beside_the_others(own_module: str, tmp_path: Path) -> None:
    asked = protocol(controllers=("uniform", f"{own_module}:Mine", f"{own_module}:zeros"))
    rows = run_benchmark(asked, asked.open_folder(tmp_path / "run"))
    uniform, mine, zeros = summarise(rows)
    assert (mine.controller, zeros.controller) == ("Mine", "zeros")
    assert mine.goodput_tok_s == uniform.goodput_tok_s
    assert zeros.goodput_tok_s != uniform.goodput_tok_s
    assert all(row.decision_us > 0.0 for row in rows)


def test_rows_of_a_class_that_has_changed_since_are_not_mixed_with_new_ones(own_module: str, tmp_path: Path) -> None:
    asked = protocol(controllers=(f"{own_module}:Mine",))
    folder = asked.open_folder(tmp_path / "run")
    file = tmp_path / f"{own_module}.py"
    # Changed before anything was played: nothing to mix with.
    file.write_text(MODULE.format(inner="fixed"), encoding="utf-8")
    changed = protocol(controllers=(f"{own_module}:Mine",))
    run_benchmark(changed, changed.open_folder(tmp_path / "run"))
    file.write_text(MODULE.format(inner="homogeneous"), encoding="utf-8")
    with pytest.raises(FileExistsError, match="holds results of Mine as it was before it changed"):
        protocol(controllers=(f"{own_module}:Mine",)).open_folder(tmp_path / "run")
    assert len(folder.rows()) == 2


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("{}:Needs", r"needs arguments \(gain\)"),
        ("{}:Nothing", r"is not a controller: it must have act\(view\)"),
        ("{}:Absent", r"has no 'Absent'; it defines Mine, Needs, Nothing, zeros"),
        ("no_such_module:Mine", "there is no module 'no_such_module', neither installed nor in"),
        ("{}.inner:Mine", "does not import|there is no module"),
        ("{}:", "named as module:Class"),
        ("nobody", "controller must be one of p2p,"),
    ],
)
def test_what_is_no_controller_is_refused_before_anybody_plays(own_module: str, named: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        protocol(controllers=(named.format(own_module),))


def test_a_module_that_does_not_import_is_refused_with_its_error(own_module: str, tmp_path: Path) -> None:
    (tmp_path / f"broken_{own_module}.py").write_text("import no_such_thing", encoding="utf-8")
    with pytest.raises(ValueError, match="does not import: No module named 'no_such_thing'"):
        protocol(controllers=(f"broken_{own_module}:Mine",))


@pytest.fixture(scope="module")
def small_env() -> gym.Env:
    return gym.make("multispin_env/Heterogeneous-v0", scenario="mobile", config=SMALL)


def model_of(name: str, env: gym.Env) -> Any:
    """An untrained model of an algorithm."""
    module = stable_baselines3 if sb3_zip.ALGORITHMS[name] == "stable_baselines3" else sb3_contrib
    policy = {"RecurrentPPO": "MlpLstmPolicy", "ARS": "LinearPolicy"}.get(name, "MlpPolicy")
    off_policy = name in ("SAC", "TD3", "DDPG", "TQC", "CrossQ")
    return getattr(module, name)(policy, env, seed=0, **({"buffer_size": 10} if off_policy else {}))


@pytest.mark.parametrize("name", sorted(sb3_zip.ALGORITHMS))
def test_a_zip_s_algorithm_is_found_and_its_model_plays_as_the_one_saved(
    name: str, small_env: gym.Env, tmp_path: Path
) -> None:
    model = model_of(name, small_env)
    model.save(tmp_path / "mine.zip")
    assert sb3_zip.find_algorithm(tmp_path / "mine.zip") == ("TD3" if name == "DDPG" else name)
    asked = protocol(controllers=("fixed",), policies=(str(tmp_path / "mine.zip"),), trust=True)
    rows = run_benchmark(asked, asked.open_folder(tmp_path / "run"), timed=False)
    played = evaluate(model, scenario="mobile", config=SMALL, seeds=2)
    assert [row.goodput_tok_s for row in rows if row.controller == "mine"] == [
        episode.goodput_tok_s for episode in played.episodes
    ]


class _Executed:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_zip_runs_nothing_unless_it_is_trusted(small_env: gym.Env, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    model = model_of("PPO", small_env)
    model.tune_me = _Executed(mark)
    model.save(tmp_path / "mine.zip")
    (tmp_path / "statistics.pkl").write_bytes(pickle.dumps(_Executed(mark)))
    for policy in ("mine.zip", "PPO:mine.zip"):
        algorithm, _, file = policy.rpartition(":")
        named = f"{algorithm}:{tmp_path / file}".lstrip(":")
        with pytest.raises(ValueError, match=r"pickled Python objects, and loading it runs .* --trust"):
            protocol(policies=(named,))
    assert not mark.exists()
    with pytest.raises(ValueError, match="must hold a VecNormalize"):
        sb3_zip.load_normalize(tmp_path / "statistics.pkl", True)
    assert mark.exists()  # so that the test above could have failed


def test_statistics_need_trust_too_and_are_applied(small_env: gym.Env, tmp_path: Path) -> None:
    model = model_of("PPO", small_env)
    model.save(tmp_path / "mine.zip")
    normalize = VecNormalize(DummyVecEnv([lambda: small_env]))
    normalize.reset()
    for _ in range(20):
        normalize.step(np.zeros((1, 6)))
    normalize.save(tmp_path / "statistics.pkl")
    with pytest.raises(ValueError, match=r"statistics\.pkl holds pickled"):
        sb3_zip.load_normalize(tmp_path / "statistics.pkl", False)
    asked = protocol(
        controllers=(), policies=(str(tmp_path / "mine.zip"),), trust=True, vec_normalize=tmp_path / "statistics.pkl"
    )
    rows = run_benchmark(asked, asked.open_folder(tmp_path / "run"), timed=False)
    same = evaluate(model, scenario="mobile", config=SMALL, seeds=2, normalize=normalize.normalize_obs)
    without = evaluate(model, scenario="mobile", config=SMALL, seeds=2)
    assert [row.tokens for row in rows] == [episode.tokens for episode in same.episodes]
    assert same.goodput_tok_s != without.goodput_tok_s


def test_zips_that_cannot_play_here_are_refused(small_env: gym.Env, tmp_path: Path) -> None:
    zipped = tmp_path / "mine.zip"
    model_of("PPO", small_env).save(zipped)
    with pytest.raises(ValueError, match=r"mine was trained on observations of shape \(33,\), here they are \(44,\)"):
        protocol(policies=(str(zipped),), trust=True, config={**SMALL, "num_users": 4})
    with pytest.raises(ValueError, match="does not load as a SAC"):
        protocol(policies=(f"SAC:{zipped}",), trust=True)
    with pytest.raises(ValueError, match="algorithm must be one of A2C"):
        protocol(policies=(f"DQN:{zipped}",), trust=True)
    with pytest.raises(FileNotFoundError, match="no such file"):
        protocol(policies=(str(tmp_path / "absent.zip"),), trust=True)
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(ValueError, match="not a model that stable-baselines3 saved"):
        protocol(policies=(str(tmp_path / "text.zip"),), trust=True)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("data", "{}")
    with pytest.raises(ValueError, match="cannot tell which algorithm"):
        protocol(policies=(str(tmp_path / "other.zip"),), trust=True)


def test_names_are_one_of_a_kind(small_env: gym.Env, tmp_path: Path) -> None:
    model_of("PPO", small_env).save(tmp_path / "fixed.zip")
    with pytest.raises(ValueError, match="there are two called 'fixed'"):
        protocol(controllers=("fixed",), policies=(str(tmp_path / "fixed.zip"),), trust=True)
