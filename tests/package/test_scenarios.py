"""Scenarios and model pairs: what each of them is, and what cannot be combined."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from multispin_env import MODEL_PAIRS, ConfigError, Simulator, SystemConfig, make_config
from multispin_env.config import (
    LiveConfig,
    MobilityChannelConfig,
    TraceChannelConfig,
)
from multispin_env.profiles import load_model_pair


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"scenario": "papr"},
            "scenario must be one of paper, requests, mobile, thermal, measured, trace, live, got 'papr'",
        ),
        (
            {"model_pair": "llama3"},
            "model_pair must be one of llama2, qwen3.5, smollm2, or the path of a pair's .json file, got 'llama3'",
        ),
        ({"scenario": ["paper"]}, r"scenario must be one of .*, got \['paper'\]"),
        ({"model_pair": None}, "model_pair must be one of .*, got None"),
        ({"model_pair": ["llama2"]}, r"model_pair must be one of .*, got \['llama2'\]"),
    ],
)
def test_an_unknown_scenario_or_pair_is_refused_with_the_known_ones(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_config(**arguments)


@pytest.mark.parametrize(
    ("model_pair", "fixed_s", "per_user_s", "payload_bits", "table_1"),
    [
        ("llama2", 0.02268, 0.01272, 31744, [(0.8582, 0.2472), (0.7390, 0.3133), (0.7393, 0.3127), (0.7126, 0.3333)]),
        ("qwen3.5", 0.07507, 0.01978, 34816, [(0.8100, 0.3413), (0.9340, 0.2089), (0.9318, 0.2232), (0.9650, 0.1538)]),
    ],
)
def test_the_model_pairs_hold_the_papers_numbers(model_pair, fixed_s, per_user_s, payload_bits, table_1):
    pair = load_model_pair(model_pair)
    assert (pair.verification_fixed_s, pair.verification_per_user_s) == (fixed_s, per_user_s)
    assert pair.payload_bits == payload_bits
    assert [task.name for task in pair.tasks] == ["MBPP+", "GSM8K", "MT-Bench", "SQuAD"]
    assert [(task.acceptance_mean, task.acceptance_std) for task in pair.tasks] == table_1


def test_the_paper_scenario_is_the_papers_setting():
    config = make_config("paper")
    assert (config.num_users, config.bandwidth_hz, config.max_draft_length) == (20, 10e6, 25)
    assert (config.channel.path_gain_low, config.channel.path_gain_high) == (0.2, 0.5)
    assert config.drafting_latency_spread == 0.15
    assert config.requests.prompts_per_user == 50
    assert config.channel.kind == "block"
    assert config.requests.acceptance_spread == config.heat.slowdown == 0.0


@pytest.mark.parametrize("model_pair", MODEL_PAIRS)
def test_the_scenarios_build_on_each_other_as_documented(model_pair):
    paper, requests, mobile, thermal = (make_config(n, model_pair) for n in ("paper", "requests", "mobile", "thermal"))
    assert requests == paper.updated({"requests": {"acceptance_spread": 1.0}})
    assert thermal == dataclasses.replace(mobile, heat=thermal.heat)
    assert thermal.heat.slowdown > 0.0
    assert mobile.channel == MobilityChannelConfig(power_to_noise=160.0)
    assert 0.0 < mobile.requests.drift_share < 1.0
    lasting = {"drift_share": 0.0, "drift_correlation_tokens": requests.requests.drift_correlation_tokens}
    assert mobile.updated({"channel": {"kind": "block"}, "requests": lasting}) == requests
    measured = make_config("measured", model_pair)
    assert measured == dataclasses.replace(mobile, channel=TraceChannelConfig())


def test_mobile_is_what_was_measured():
    channel = make_config("mobile").channel
    assert (channel.carrier_frequency_hz, channel.speeds_m_s) == (3.5e9, (0.01, 0.1, 1.4))
    assert (channel.shadowing_std_db, channel.shadowing_decorrelation_m) == (8.0, 13.0)


def test_trace_is_mobile_with_the_pairs_own_requests(traced_pair):
    mobile, trace = (make_config(name, traced_pair) for name in ("mobile", "trace"))
    assert mobile.requests.trace is None
    assert trace == mobile.updated({"requests": {"trace": traced_pair}})
    assert trace.updated({"requests": {"trace": None}}) == mobile
    assert make_config("trace", Path(traced_pair)) == trace


def test_live_is_mobile_with_what_the_shipped_models_are_asked_and_what_the_pair_uploads(traced_pair):
    mobile, live = (make_config(name, traced_pair) for name in ("mobile", "live"))
    pair = load_model_pair(traced_pair)
    assert live.requests.live == LiveConfig(
        retained_entries=pair.retained_entries, probability_bits=pair.probability_bits
    )
    assert live.updated({"requests": {"live": None, "tasks": mobile.requests.tasks}}) == mobile
    assert SystemConfig.from_dict(json.loads(json.dumps(live.to_dict()))) == live
    other = make_config("live", traced_pair, {"requests": {"live": {"draft": "mine"}}}).requests.live
    assert other == dataclasses.replace(live.requests.live, draft="mine")


@pytest.mark.parametrize(
    ("live", "message"),
    [
        ({"target": ""}, "LiveConfig.target must be a non-empty string, got ''"),
        ({"prompts": Path("file")}, "LiveConfig.prompts must be a non-empty string, got .*Path"),
        ("tiny", "live must be a LiveConfig or a dict of its fields, got 'tiny'"),
    ],
)
def test_bad_models_are_refused_with_field_and_value(live, message):
    with pytest.raises(ConfigError, match=message):
        make_config("live", config={"requests": {"live": live}})


def test_requests_are_replayed_or_written_and_not_both():
    with pytest.raises(ConfigError, match=r"RequestConfig\.trace must be None where models run live, got 'llama2'"):
        make_config("live", config={"requests": {"trace": "llama2"}})


def test_a_configuration_without_traces_and_models_says_nothing_of_them():
    assert not {"trace", "live"} & make_config("mobile").to_dict()["requests"].keys()


def test_models_that_cannot_run_are_missed_at_the_first_reset_and_not_before(monkeypatch):
    monkeypatch.setitem(sys.modules, "multispin_env.speculative.models", None)
    simulator = Simulator(make_config("live", config={"requests": {"live": {"draft": "never-loaded"}}}), 1)
    with pytest.raises(ModuleNotFoundError, match=r"scenario 'live' .* pip install 'multispin_env\[live\]'"):
        simulator.reset([np.random.default_rng(0)])


def test_a_pair_without_measured_requests_cannot_be_replayed(traced_pair):
    with pytest.raises(ConfigError, match=r"model_pair must have measured requests to replay: .*, got 'llama2'"):
        make_config("trace", "llama2")
    for pair in ("llama2", "nowhere"):
        config = make_config("trace", traced_pair, {"requests": {"trace": pair}})
        with pytest.raises(ConfigError, match=f"model_pair must .*, got '{pair}'"):
            Simulator(config, 1)
