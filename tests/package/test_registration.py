"""Scenarios and model pairs of users' own, in this process and in others."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import multispin_env
from multispin_env import ConfigError, make_config, profiles, register_model_pair, register_scenario, scenarios
from multispin_env.profiles import load_model_pair, load_traces

HETEROGENEOUS = "multispin_env/Heterogeneous-v0"
MODULE = """
import dataclasses
import multispin_env
from multispin_env.profiles import load_model_pair

multispin_env.register_scenario("crowded", {"num_users": 7}, base="mobile")
multispin_env.register_model_pair("fast", dataclasses.replace(load_model_pair("llama2"), drafting_latency_s=0.005))
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a test registers is gone afterwards."""
    monkeypatch.setattr(scenarios, "SCENARIOS", dict(scenarios.SCENARIOS))
    monkeypatch.setattr(profiles, "_REGISTERED", {})


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module in the working directory that registers a scenario and a pair."""
    name = "a_module_of_ones_own"
    (tmp_path / f"{name}.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield name
    sys.modules.pop(name, None)


def test_a_scenario_changes_its_base_and_takes_further_changes():
    register_scenario("mine", {"num_users": 5, "requests": {"acceptance_spread": 0.5}}, base="mobile")
    expected = {"num_users": 5, "requests": {"acceptance_spread": 0.5}}
    assert make_config("mine") == make_config("mobile", config=expected)
    assert make_config("mine", "qwen3.5", {"num_users": 6}) == make_config(
        "mobile", "qwen3.5", {**expected, "num_users": 6}
    )
    for make in (gym.make, gym.make_vec):
        assert make(HETEROGENEOUS, scenario="mine").unwrapped.config == make_config("mine")


def test_a_scenario_may_build_on_one_of_one_s_own():
    register_scenario("few", {"num_users": 3})
    register_scenario("few-and-hot", {"heat": {"slowdown": 2.0}}, base="few")
    assert make_config("few-and-hot") == make_config("paper", config={"num_users": 3, "heat": {"slowdown": 2.0}})


def test_a_function_gets_the_pair_as_it_was_named(traced_pair):
    named = []

    def slow(model_pair):
        named.append(model_pair)
        return {"drafting_latency_s": 2.0 * load_model_pair(model_pair).drafting_latency_s}

    register_scenario("slow", slow, base="trace")
    system = make_config("slow", traced_pair)
    assert system.drafting_latency_s == 2.0 * make_config("trace", traced_pair).drafting_latency_s
    assert system.requests.trace == traced_pair
    assert named == [traced_pair]


def test_what_is_done_to_the_changes_afterwards_does_not_reach_the_scenario():
    changes = {"num_users": 5, "heat": {"slowdown": 1.0}}
    register_scenario("mine", changes)
    changes["heat"]["slowdown"] = 9.0
    assert make_config("mine").heat.slowdown == 1.0


@pytest.mark.parametrize(
    ("name", "changes", "base", "error", "message"),
    [
        (
            "mobile",
            {},
            "paper",
            ValueError,
            "there is another scenario 'mobile' already; taken are paper, requests, mobile",
        ),
        ("", {}, "paper", ValueError, "a scenario's name must be of letters, digits and _.+-, got ''"),
        ("my scenario", {}, "paper", ValueError, "must be of letters, digits and _.+-, got 'my scenario'"),
        ("a:b", {}, "paper", ValueError, "must be of letters, digits and _.+-, got 'a:b'"),
        (3, {}, "paper", ValueError, "must be of letters, digits and _.+-, got 3"),
        ("mine", {}, "papers", ValueError, "base must be one of paper, requests, mobile"),
        (
            "mine",
            5,
            "paper",
            TypeError,
            "changes must be a dict of SystemConfig's fields or a function that gives one, got 5",
        ),
        ("mine", {"users": 5}, "paper", ConfigError, "scenario 'mine': SystemConfig has no field 'users'"),
        (
            "mine",
            {"num_users": 0},
            "paper",
            ConfigError,
            "scenario 'mine': SystemConfig.num_users must be an integer in",
        ),
        ("mine", {"heat": {"slowdwn": 1}}, "trace", ConfigError, "scenario 'mine': HeatConfig has no field 'slowdwn'"),
    ],
)
def test_a_wrong_scenario_is_refused_where_it_is_registered(name, changes, base, error, message):
    before = dict(scenarios.SCENARIOS)
    with pytest.raises(error) as caught:
        register_scenario(name, changes, base=base)
    assert message in str(caught.value)
    assert before == scenarios.SCENARIOS


def test_a_registered_name_is_taken():
    register_scenario("mine", {"num_users": 5})
    with pytest.raises(ValueError, match=r"there is another scenario 'mine' already; taken are .*, mine"):
        register_scenario("mine", {"num_users": 6})
    assert make_config("mine").num_users == 5
    register_model_pair("mine", load_model_pair("llama2"))
    with pytest.raises(ValueError, match=r"there is another model pair 'mine' already; taken are .*smollm2, mine"):
        register_model_pair("mine", load_model_pair("qwen3.5"))


def test_a_cell_of_a_notebook_can_be_run_twice():
    def define(users):
        def crowded(model_pair):
            return {"num_users": users}

        return crowded

    register_scenario("mine", {"num_users": 5})
    register_scenario("mine", {"num_users": 5})
    register_scenario("crowded", define(40))
    register_scenario("crowded", define(50))
    assert make_config("crowded").num_users == 50
    register_model_pair("mine", load_model_pair("llama2"))
    register_model_pair("mine", load_model_pair("llama2"))
    with pytest.raises(ValueError, match="there is another scenario 'crowded' already"):
        register_scenario("crowded", lambda model_pair: {"num_users": 60})


def test_a_pair_of_a_file_serves_under_its_name_with_its_requests(traced_pair, tmp_path):
    register_model_pair("mine", traced_pair)
    assert load_model_pair("mine").name == "mine"
    assert make_config("mobile", "mine") == make_config("mobile", traced_pair)
    np.testing.assert_array_equal(load_traces("mine").acceptance, load_traces(traced_pair).acceptance)
    env = gym.make(HETEROGENEOUS, scenario="trace", model_pair="mine")
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[4]["goodput"] > 0.0


@pytest.mark.parametrize(
    ("name", "pair", "error", "message"),
    [
        ("llama2", "qwen3.5", ValueError, "there is another model pair 'llama2' already"),
        ("mine!", "qwen3.5", ValueError, "a model pair's name must be of letters, digits and _.+-, got 'mine!'"),
        ("mine.json", "qwen3.5", ValueError, "must not end in .json, as a file's does, got 'mine.json'"),
        ("mine", "nowhere.json", ConfigError, "nowhere.json cannot be read"),
        ("mine", "nobody", ConfigError, "model_pair must be one of llama2, qwen3.5, smollm2, or the path"),
        ("mine", 5, ConfigError, "model_pair must be one of llama2, qwen3.5, smollm2, or the path"),
    ],
)
def test_a_wrong_pair_is_refused_where_it_is_registered(name, pair, error, message):
    with pytest.raises(error) as caught:
        register_model_pair(name, pair)
    assert message in str(caught.value)
    with pytest.raises(ConfigError, match="model_pair must be one of"):
        load_model_pair("mine")


def test_a_module_s_names_arrive_in_spawned_workers(module):
    arguments = {"scenario": f"{module}:crowded", "model_pair": f"{module}:fast"}
    env: Any = gym.make(HETEROGENEOUS, **arguments)
    assert env.unwrapped.config == make_config("mobile", config={"num_users": 7, "drafting_latency_s": 0.005})
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        foreign: Any = pool.submit(gym.make, f"multispin_env:{HETEROGENEOUS}", **arguments).result()
        assert pool.submit(multispin_env.make_config, *arguments.values()).result() == env.unwrapped.config
    assert foreign.unwrapped.config == env.unwrapped.config


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere_at_all:mine", "nowhere_at_all:mine: there is no module 'nowhere_at_all', neither installed nor in"),
        ("a_module_of_ones_own:mine", r"scenario must be one of .*crowded, got 'a_module_of_ones_own:mine'"),
        (
            "a_module_that_fails:mine",
            "a_module_that_fails:mine: module a_module_that_fails does not import: ZeroDivision",
        ),
        ("nobody", "scenario must be one of paper, requests"),
    ],
)
def test_a_scenario_that_is_not_found_says_where_it_was_looked_for(name, message, module, tmp_path):
    (tmp_path / "a_module_that_fails.py").write_text("1 / 0", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        make_config(name)


def test_a_whole_system_in_place_of_changes(traced_pair):
    system = make_config("trace", traced_pair, {"num_users": 3})
    for make in (gym.make, gym.make_vec):
        env = make(HETEROGENEOUS, config=system)
        assert env.unwrapped.config == system
        again = make(env.spec)
        assert again.unwrapped.config == system
        assert env.spec.to_json()
