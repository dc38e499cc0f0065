"""Controllers: what each of them promises, through the environment that agents use."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from multispin_baselines import (
    CONTROLLERS,
    Controller,
    make_controller,
    register_controller,
)
from multispin_baselines.predictive import Predictive, read_tuned, tuned_margin_std

from multispin_env import PAPER_PAIRS, Allocation, Simulator, SystemConfig, make_config
from multispin_env.core import TrueView
from multispin_env.core.equations import FloatArray, expected_tokens
from multispin_env.evaluation.rollout import play
from multispin_env.optimal import RoundProblem, expected_goodput, posterior_acceptance, solve_heterogeneous
from multispin_env.optimal.rate_path import RatePath, equalize_on_path


def simulator(config: SystemConfig, num_envs: int, rounds: int = 0) -> Simulator:
    """A simulator some rounds into its episodes, under fixed lengths."""
    simulator = Simulator(config, num_envs)
    simulator.reset([np.random.default_rng(env_index) for env_index in range(num_envs)])
    shape = (num_envs, config.num_users)
    for _ in range(rounds):
        simulator.step(Allocation(np.full(shape, 8), np.full(shape, 1.0 / config.num_users)))
    return simulator


@pytest.mark.parametrize("model_pair", ["qwen3.5"])
@pytest.mark.parametrize("name", CONTROLLERS)
def test_every_controller_plays_every_scenario_through_the_environment(name: str, world: dict[str, str]) -> None:
    controller = make_controller(name, "qwen3.5")
    config = controller.transform_config(make_config(**world, config={"num_users": 4, "episode_rounds": 6}))
    env: Any = gym.make_vec("multispin_env/Heterogeneous-v0", num_envs=3, config=config.to_dict()).unwrapped
    env.reset(seed=1)
    for _ in range(6):
        allocation = controller.act(env.true_round_view() if controller.privileged else env.round_view())
        *_, info = env.step_allocation(allocation)
        assert np.array_equal(info["draft_length"], allocation.draft_length)
        assert np.array_equal(info["bandwidth_share"], allocation.bandwidth_share)
    assert np.all(info["goodput"] > 0)


def test_a_decision_for_one_environment_does_not_depend_on_the_others() -> None:
    view = simulator(make_config("mobile"), 5, rounds=4).true_view()
    for name in CONTROLLERS:
        controller = make_controller(name, "llama2")
        together, alone = controller.act(view), controller.act(view.environment(3))
        assert np.array_equal(together.draft_length[3], alone.draft_length[0]), name
        assert np.allclose(together.bandwidth_share[3], alone.bandwidth_share[0], rtol=1e-9), name


def test_heterogeneous_is_clairvoyant_where_everything_is_known() -> None:
    view = simulator(make_config("paper"), 8).true_view()
    known, true = (make_controller(name, "llama2").act(view) for name in ("heterogeneous", "clairvoyant"))
    assert np.array_equal(known.draft_length, true.draft_length)
    assert np.allclose(known.bandwidth_share, true.bandwidth_share)


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_the_paper_s_order_holds_on_average(pair: str) -> None:
    view = simulator(make_config("paper", pair), 200).view()
    problem = RoundProblem.from_view(view)
    mean = {
        name: expected_goodput(problem, make_controller(name, pair).act(view)).mean()
        for name in ("fixed", "uniform", "homogeneous", "algorithm1", "heterogeneous")
    }
    assert mean["heterogeneous"] >= mean["algorithm1"] > mean["homogeneous"] > mean["fixed"]
    assert mean["algorithm1"] > mean["uniform"] > mean["fixed"]


def test_posterior_is_the_task_mean_before_evidence_and_the_request_s_own_after_much() -> None:
    config = make_config("requests", config={"requests": {"tokens_low": 4000, "tokens_high": 4000}})
    fresh = simulator(config, 4).view()
    assert np.allclose(posterior_acceptance(fresh), fresh.task_acceptance_mean)
    seasoned = simulator(config, 4, rounds=190)
    error = np.abs(posterior_acceptance(seasoned.view()) - seasoned.true_view().acceptance_rate)
    prior_error = np.abs(fresh.task_acceptance_mean - seasoned.true_view().acceptance_rate)
    assert error.mean() < 0.1 * prior_error.mean()
    assert np.array_equal(
        posterior_acceptance(simulator(make_config("paper"), 4, rounds=5).view()),
        simulator(make_config("paper"), 4, rounds=5).view().task_acceptance_mean,
    )


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_where_all_is_known_predictive_is_the_optimum_to_the_bit(pair: str) -> None:
    view = simulator(make_config("paper", pair), 4, rounds=5).view()
    plain, predictive = make_controller("heterogeneous", pair).act(view), Predictive(3.0).act(view)
    assert np.array_equal(plain.draft_length, predictive.draft_length)
    assert np.array_equal(plain.bandwidth_share, predictive.bandwidth_share)


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_where_requests_keep_their_acceptance_predictive_comes_within_a_percent_of_the_planner(pair: str) -> None:
    config = make_config("requests", pair, {"episode_rounds": 100})
    greedy, predictive, planned = (
        np.array([e.goodput_tok_s for e in play(make_controller(name, pair), config, range(2000, 2016), timed=False)])
        for name in ("posterior", "predictive", "long-run")
    )
    assert np.mean(predictive / planned) > 0.99
    assert np.mean(predictive / greedy) > 1.01


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_in_mobile_prediction_gains_a_tenth_over_the_paper_s_controller(pair: str) -> None:
    config = make_config("mobile", pair, {"episode_rounds": 100})
    plain, predictive = (
        np.array([e.goodput_tok_s for e in play(make_controller(name, pair), config, range(2000, 2016), timed=False)])
        for name in ("heterogeneous", "predictive")
    )
    assert predictive.mean() > 1.1 * plain.mean()


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_in_mobile_outdated_knowledge_costs_much(pair: str) -> None:
    config = make_config("mobile", pair, {"episode_rounds": 100})
    goodput = {
        name: np.median([e.goodput_tok_s for e in play(make_controller(name, pair), config, range(2000, 2016))])
        for name in ("heterogeneous", "predictive", "clairvoyant")
    }
    assert goodput["heterogeneous"] < goodput["predictive"] < goodput["clairvoyant"]
    assert goodput["heterogeneous"] < 0.9 * goodput["clairvoyant"]


def true_goodput(view: TrueView, allocation: Allocation, duration_s: FloatArray) -> FloatArray:
    return np.sum(expected_tokens(view.acceptance_rate, allocation.draft_length), axis=-1) / duration_s


@pytest.mark.parametrize("scenario", ["mobile", "measured"])
def test_the_clairvoyant_s_round_is_better_than_any_other_controller_s(scenario: str) -> None:
    view = simulator(make_config(scenario), 24, rounds=3).true_view()
    value = {}
    for name in ("clairvoyant", "heterogeneous", "predictive", "uniform"):
        played = simulator(make_config(scenario), 24, rounds=3)
        decision = make_controller(name, "llama2").act(view)
        value[name] = true_goodput(view, decision, played.step(decision).latency_s)
    for name in ("heterogeneous", "predictive", "uniform"):
        # Cells of the path and of the simulator's uploads differ by a few per cent of a single upload.
        assert np.all(value["clairvoyant"] > 0.97 * value[name])
        assert value["clairvoyant"].mean() > 1.1 * value[name].mean()


def test_the_clairvoyant_is_not_below_the_optimum_for_the_rates_that_its_uploads_find() -> None:
    view = simulator(make_config("mobile"), 24, rounds=3).true_view()
    config, found = view.config, make_controller("clairvoyant", "llama2").act(view)
    path = RatePath.sampled(lambda t: view.spectral_efficiency_at(view.time_s + t), 0.0076, 1000)

    def value(length: FloatArray) -> FloatArray:
        load = length * (config.payload_bits / config.bandwidth_hz)
        latency_s, _ = equalize_on_path(path, load, length * view.drafting_latency_s)
        return true_goodput(view, Allocation(length, found.bandwidth_share), latency_s + config.verification_latency_s)

    rate = view.observed_spectral_efficiency
    for _ in range(4):
        problem = RoundProblem.from_view(view, acceptance_rate=view.acceptance_rate, spectral_efficiency=rate)
        length = solve_heterogeneous(problem).allocation.draft_length
        assert np.all(value(found.draft_length) > 0.999 * value(length))
        rate = view.spectral_efficiency_at_upload(length)


def test_p2p_serves_one_user_and_centralized_uploads_nothing() -> None:
    config = make_config("paper")
    assert make_controller("p2p", "llama2").transform_config(config).num_users == 1
    central = simulator(make_controller("centralized", "llama2").transform_config(config), 2)
    shape = (2, config.num_users)
    outcome = central.step(Allocation(np.full(shape, 3), np.full(shape, 1.0 / config.num_users)))
    assert np.all(outcome.upload_s < 1e-3)
    assert np.allclose(outcome.drafting_s, 3 * config.num_users * 0.0144)


def test_bad_requests_say_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"controller must be one of p2p, .*clairvoyant, got 'oracle'"):
        make_controller("oracle", "llama2")
    with pytest.raises(ValueError, match=r"model_pair must be one of llama2, .*\.json file, got 'gpt'"):
        make_controller("fixed", "gpt")
    with pytest.raises(ValueError, match=r"rate_margin_std must be a finite number in \[0, 100\], got -1.0"):
        Predictive(-1.0)
    assert tuned_margin_std("another-pair") == tuned_margin_std("llama2")
    with pytest.raises(TypeError, match="clairvoyant needs a TrueView, got RoundView"):
        make_controller("clairvoyant", "llama2").act(simulator(make_config(), 1).view())


def test_names_are_the_registry_s() -> None:
    made: dict[str, Controller] = {name: make_controller(name, "llama2") for name in CONTROLLERS}
    assert {name: controller.name for name, controller in made.items()} == {name: name for name in CONTROLLERS}


def test_a_registered_controller_is_made_by_its_name_and_a_name_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multispin_baselines.CONTROLLERS", dict(CONTROLLERS))
    register_controller("mine", lambda pair: make_controller("fixed", pair.name))
    assert type(make_controller("mine", "llama2")) is type(make_controller("fixed", "llama2"))
    with pytest.raises(ValueError, match="there is another controller 'mine' already"):
        register_controller("mine", lambda pair: make_controller("fixed", pair.name))
    with pytest.raises(ValueError, match="there is another controller 'heterogeneous' already"):
        register_controller("heterogeneous", lambda pair: make_controller("fixed", pair.name))
    for name in ("", "two words", "module:Class", "../fixed"):
        with pytest.raises(ValueError, match="name must be of letters"):
            register_controller(name, lambda pair: make_controller("fixed", pair.name))
    with pytest.raises(TypeError, match="factory must be callable"):
        register_controller("other", make_controller("fixed", "llama2"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "tuned must be an object of model pairs, llama2 among them, got None"),
        ("[]", "tuned must be an object"),
        ("", "is empty"),
        ('{"tuned": {}}', "tuned must be an object of model pairs"),
        ('{"tuned": {"llama2": 0.5}}', "'llama2' must be an object with rate_margin_std, got 0.5"),
        ('{"tuned": {"llama2": {"goodput_tok_s": 0.5}}}', "'llama2' must be an object with rate_margin_std, got"),
        ('{"tuned": {"llama2": {"rate_margin_std": "low"}}}', "'llama2': rate_margin_std must be"),
        ('{"tuned": {"llama2": {"rate_margin_std": 101}}}', r"'llama2': rate_margin_std must be a finite .* got 101"),
        ('{"tuned": {"llama2": {"rate_marg', "column"),
        ('{"tuned": ' + 10_000 * "[", "nested deeper"),
        ('{"tuned": {"llama2": {"rate_margin_std": ' + 400 * "1" + "}}}", "digits"),
    ],
)
def test_constants_that_are_none_are_named(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "tuned.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as raised:
        read_tuned(file)
    assert str(raised.value).startswith(str(file))
