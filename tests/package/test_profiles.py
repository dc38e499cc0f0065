"""Model pairs: the built-in ones, those of a file, and errors that say what is wrong in it."""

import copy
import json
from importlib import resources
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from multispin_env import MODEL_PAIRS, make_config
from multispin_env.config import ConfigError
from multispin_env.profiles import load_model_pair, load_traces

REMOVED = object()


@pytest.fixture
def written(tmp_path):
    """Writes a profile, or any text, to a file of a name, and returns the path."""

    def write(profile, name="mine.json"):
        path = tmp_path / name
        path.write_text(profile if isinstance(profile, str) else json.dumps(profile), encoding="utf-8")
        return str(path)

    return write


def changed(profile, where, value):
    """The profile with the entry at a path of keys and indices, "tasks value 0 name", changed or removed."""
    profile = copy.deepcopy(profile)
    *path, last = (int(key) if key.isdigit() else key for key in where.split())
    place = profile
    for key in path:
        place = place[key]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value
    return profile


def test_every_file_of_the_folder_is_a_built_in_pair():
    folder = resources.files("multispin_env.profiles")
    assert {f"{pair}.json" for pair in MODEL_PAIRS} == {file.name for file in folder.iterdir() if "json" in file.name}
    assert {"llama2", "qwen3.5", "smollm2"} == {*MODEL_PAIRS}
    for pair in MODEL_PAIRS:
        assert load_model_pair(pair).name == pair


@pytest.mark.parametrize("pair", MODEL_PAIRS)
def test_a_copy_of_a_built_in_file_is_the_same_pair(pair, written):
    path = written(resources.files("multispin_env.profiles").joinpath(f"{pair}.json").read_text(encoding="utf-8"))
    assert make_config("mobile", path) == make_config("mobile", pair)
    assert make_config("mobile", Path(path)) == make_config("mobile", pair)


def test_a_file_serves_wherever_a_pair_is_named(traced_profile, written):
    path = written(changed(traced_profile, "drafting_latency_s value", 0.125))
    assert load_model_pair(path).name == "traced"
    for make in (gym.make, gym.make_vec):
        config = make("multispin_env/Heterogeneous-v0", model_pair=path).unwrapped.config
        assert config.drafting_latency_s == 0.125
        assert [task.name for task in config.requests.tasks] == ["mild", "wild", "all"]


def test_a_file_is_read_as_it_is_now(traced_profile, written):
    for latency_s in (0.125, 0.25):
        path = written(changed(traced_profile, "drafting_latency_s value", latency_s))
        assert load_model_pair(path).drafting_latency_s == latency_s


def test_what_times_were_fitted_from_is_left_to_others(traced_profile, written):
    pair = load_model_pair(written(traced_profile))
    timed = load_model_pair(written({**traced_profile, "timing": {"anything": [1, 2]}}))
    assert timed.verification_fixed_s == pair.verification_fixed_s


def test_traces_are_the_files_numbers_in_rows_padded_with_zero(traced_profile, traced_pair):
    traces = load_traces(traced_pair)
    held = traced_profile["traces"]["requests"]
    assert traces is load_model_pair(traced_pair).traces
    assert traces.source == traced_profile["traces"]["source"]
    assert traces.task == tuple(request["task"] for request in held)
    np.testing.assert_array_equal(traces.length, [len(request["acceptance"]) for request in held])
    for part in ("acceptance", "outcome_probability"):
        rows = getattr(traces, part)
        assert rows.shape == (len(held), traces.length.max())
        for row, request in zip(rows, held, strict=True):
            np.testing.assert_array_equal(row[: len(request[part])] * 255, request[part])
            assert not row[len(request[part]) :].any()
        with pytest.raises(ValueError, match="read-only"):
            rows[0, 0] = 0.5


def test_a_pair_without_traces_says_so():
    assert load_model_pair("llama2").traces is None
    message = r"measured requests to replay: smollm2 or the path of a \.json file.*, got 'llama2'"
    with pytest.raises(ConfigError, match=message):
        load_traces("llama2")


def test_a_measured_pair_ships_with_its_requests():
    file = resources.files("multispin_env.profiles").joinpath("smollm2.json")
    assert len(file.read_bytes()) < 1_000_000
    traces, tasks = load_traces("smollm2"), load_model_pair("smollm2").tasks
    request_mean = traces.acceptance.sum(axis=1) / traces.length
    for task in tasks:
        own = request_mean[np.array(traces.task) == task.name]
        assert len(own) >= 30
        assert task.acceptance_mean == pytest.approx(own.mean(), abs=2e-3)
        assert task.acceptance_std == pytest.approx(own.std(), abs=5e-3)
    envs = gym.make_vec("multispin_env/Heterogeneous-v0", num_envs=4, scenario="trace", model_pair="smollm2")
    envs.reset(seed=0)
    *_, infos = envs.step(envs.action_space.sample())
    assert np.all(infos["goodput"] > 0.0)


def assert_refused(path, message):
    with pytest.raises(ConfigError) as caught:
        make_config(model_pair=path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("drafting_latency_s", REMOVED, "ModelPair needs a value for: drafting_latency_s"),
        ("tasks", REMOVED, "ModelPair needs a value for: tasks"),
        ("draft_modell", "x", "ModelPair has no field 'draft_modell'; did you mean 'draft_model'?"),
        ("target_model", "", "ModelPair.target_model must be a non-empty string, got ''"),
        ("drafting_latency_s", 0.02, 'drafting_latency_s must be {"value": ..., "source": ...}, got 0.02'),
        ("drafting_latency_s source", REMOVED, "drafting_latency_s needs a value for: source"),
        ("drafting_latency_s value", 0, "drafting_latency_s must be a finite number in [1e-06, 10000], got 0"),
        ("verification_fixed_s value", -1, "verification_fixed_s must be a finite number in [0, 10000], got -1"),
        ("verification_per_user_s value", "1", "must be a finite number in [1e-09, 10000], got '1'"),
        ("retained_entries value", 0.5, "ModelPair.retained_entries must be an integer in [1, 10000000], got 0.5"),
        ("tasks value", [], "ModelPair.tasks must be a non-empty list of tasks, got []"),
        ("tasks value 0 acceptance_mean", 2, "acceptance_mean must be a finite number in [0, 1], got 2"),
        ("traces", None, "traces must be an object with the fields scale, source, requests, got None"),
        ("traces scale", REMOVED, "traces needs a value for: scale"),
        ("traces scale", 0, "traces.scale must be an integer in [1, 1000000000000], got 0"),
        ("traces source", "", "traces.source must be a non-empty string, got ''"),
        ("traces prompts", [], "traces has no field 'prompts'. Its fields are: scale, source, requests"),
        ("traces requests", [], "traces.requests must be a non-empty list, got []"),
    ],
)
def test_a_wrong_file_is_refused_with_file_field_value_and_range(where, value, message, traced_profile, written):
    assert_refused(written(changed(traced_profile, where, value)), message)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("", 7, " must be an object with the fields task, acceptance, outcome_probability, got 7"),
        ("task", "x", ".task must be one of mild, wild, all, got 'x'"),
        ("prompt", "x", " has no field 'prompt'"),
        ("acceptance", REMOVED, " needs a value for: acceptance"),
        ("acceptance", [], ".acceptance must be a non-empty list of integers in [0, 255], one a position, got []"),
        ("acceptance 1", 256, ".acceptance[1] must be an integer in [0, 255], got 256"),
        ("acceptance 1", -1, ".acceptance[1] must be an integer in [0, 255], got -1"),
        ("outcome_probability 0", 0.5, ".outcome_probability[0] must be an integer in [0, 255], got 0.5"),
        ("outcome_probability 0", True, ".outcome_probability[0] must be an integer in [0, 255], got True"),
        ("outcome_probability", [1], ".outcome_probability must have as many entries as acceptance, "),
    ],
)
def test_a_wrong_request_is_refused_with_its_number(where, value, message, traced_profile, written):
    path = written(changed(traced_profile, f"traces requests 3 {where}", value))
    assert_refused(path, f"traces.requests[3]{message}")


def test_what_is_no_pair_at_all_is_refused_with_the_file(written, tmp_path):
    for text, message in (
        ("", "must hold JSON, and is empty"),
        ("{", "column 2: is no JSON: Expecting property name"),
        ("\ufeff{}", "line 1: must be UTF-8 without a byte order mark"),
        ("[" * 10_000, "must not be nested deeper than"),
        ("{}", "ModelPair needs a value for: name, "),
        ("[]", r"a model pair must be an object, got \[\]"),
        ("null", "a model pair must be an object, got None"),
        ('{"name": "a", "name": "b"}', "a key must stand once in an object, got 'name' twice"),
    ):
        path = written(text)
        with pytest.raises(ConfigError, match=message) as caught:
            load_model_pair(path)
        assert str(caught.value).startswith(path)
    missing = tmp_path / "nowhere.json"
    for path, message in ((missing, "cannot be read: No such file"), (tmp_path, "model_pair must be one of")):
        with pytest.raises(ConfigError, match=message) as caught:
            load_model_pair(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "where", ["retained_entries value", "drafting_latency_s value", "traces scale", "traces requests 0 acceptance 0"]
)
def test_huge_integers_are_refused_with_the_file(where, traced_profile, written):
    path = written(changed(traced_profile, where, 10**400))
    with pytest.raises(ConfigError, match="integers must have at most 20 digits") as caught:
        load_model_pair(path)
    assert str(caught.value).startswith(f"{path}: integers")
    path = written(changed(traced_profile, where, 10**19))
    with pytest.raises(ConfigError, match=r"must be an? .* in \[.*\], got 10000000000000000000$") as caught:
        load_model_pair(path)
    assert str(caught.value).startswith(path)
