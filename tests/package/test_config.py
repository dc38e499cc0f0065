"""The configuration: round trips, merging, and errors that say what is wrong and what is allowed."""

import copy
import dataclasses
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multispin_env import MODEL_PAIRS, SCENARIOS, ConfigError, Simulator, SystemConfig, make_config
from multispin_env.config import ChannelConfig, HeatConfig, LiveConfig, RequestConfig, TaskConfig, shown
from multispin_env.profiles import load_model_pair

SECTIONS = {
    (): SystemConfig,
    ("channel",): ChannelConfig,
    ("requests",): RequestConfig,
    ("requests", "live"): LiveConfig,
    ("heat",): HeatConfig,
}
NUMBERS = [
    pytest.param(path, item, id=".".join([*path, item.name]))
    for path, section in SECTIONS.items()
    for item in dataclasses.fields(section)
    if "low" in item.metadata
]


def nested(path, name, value):
    change = {name: value}
    for section in reversed(path):
        change = {section: change}
    return change


@pytest.mark.parametrize("model_pair", MODEL_PAIRS)
def test_every_preset_survives_a_round_trip_through_json(world):
    config = make_config(**world)
    text = json.dumps(config.to_dict(), allow_nan=False)
    assert SystemConfig.from_dict(json.loads(text)) == config


@given(
    users=st.integers(1, 100_000),
    bandwidth=st.floats(1.0, 1e12),
    std=st.floats(0.0, 0.3),
    low=st.integers(1, 1000),
    more=st.integers(0, 1000),
)
def test_any_valid_configuration_survives_a_round_trip_through_json(users, bandwidth, std, low, more):
    task = {"name": "mine", "acceptance_mean": 0.5, "acceptance_std": std}
    requests = {"tasks": [task], "tokens_low": low, "tokens_high": low + more}
    changes = {"num_users": users, "bandwidth_hz": bandwidth, "requests": requests}
    config = make_config("thermal", "qwen3.5", changes)
    assert (config.num_users, config.bandwidth_hz, config.requests.tokens_high) == (users, bandwidth, low + more)
    assert config.requests.tasks == (TaskConfig(**task),)
    assert SystemConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_numpy_numbers_are_stored_as_plain_ones():
    config = make_config(config={"num_users": np.int64(4), "bandwidth_hz": np.float32(5e6)})
    assert (type(config.num_users), config.num_users) == (int, 4)
    assert (type(config.bandwidth_hz), config.bandwidth_hz) == (float, 5e6)


def test_updated_changes_what_is_named_and_keeps_the_rest_of_a_section():
    base = make_config("mobile")
    changed = base.updated({"num_users": 5, "channel": {"shadowing_std_db": 4.0}, "heat": HeatConfig(slowdown=2.0)})
    assert changed == dataclasses.replace(
        base,
        num_users=5,
        channel=dataclasses.replace(base.channel, shadowing_std_db=4.0),
        heat=HeatConfig(slowdown=2.0),
    )
    assert changed.channel.fading_correlation_time_s == base.channel.fading_correlation_time_s > 0.0
    assert base == make_config("mobile")


def test_a_whole_configuration_is_taken_as_it_is():
    config = make_config("mobile", config={"num_users": 3})
    assert make_config(config=config) is config


def test_an_update_does_not_write_to_the_presets():
    before = copy.deepcopy(SCENARIOS)
    make_config("thermal", config={"heat": {"slowdown": 3.0}, "channel": {"shadowing_std_db": 1.0}})
    assert before == SCENARIOS


def test_a_configuration_is_frozen_and_hashable():
    config = make_config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.num_users = 3
    assert hash(config) == hash(make_config())


@pytest.mark.parametrize(("path", "item"), NUMBERS)
def test_a_bad_number_is_refused_with_field_value_and_range(path, item):
    rule = item.metadata
    wrong = [float("nan"), float("inf"), -float("inf"), True, "7", None, [1], rule["low"] - 1, 2 * rule["high"]]
    wrong += [np.bool_(True), np.float64("nan"), np.array([1.0]), 1j, 10**400, -(10**400), 10**5000, 1.7e308]
    if rule["integer"]:
        wrong.append(rule["low"] + 0.5)
    elif rule["low"] > 0.0:
        wrong.append(0.5 * rule["low"])
        wrong += [0] * (not rule["off"])
    section = SECTIONS[path].__name__
    allowed = f"{rule['low']:g}, {rule['high']:g}"
    for value in wrong:
        with pytest.raises(ConfigError, match=f"{section}.{item.name} must be .*{re.escape(allowed)}") as caught:
            make_config(config=nested(path, item.name, value))
        assert len(str(caught.value)) < 250
        assert shown(value) in str(caught.value)


@pytest.mark.parametrize(("path", "item"), NUMBERS)
def test_the_ends_of_every_range_are_allowed(path, item):
    rule = item.metadata
    ends = [rule["low"], rule["high"]] + [0.0] * rule["off"]
    fields = make_config("live").to_dict()
    for name in path:
        fields = fields[name]
    # The upper end of a pair's lower half would cross its upper half.
    opened = {
        f"{part}_{end}": {f"{part}_{other}": rule[other]}
        for part in ("tokens", "path_gain")
        for end, other in (("low", "high"), ("high", "low"))
    }
    for value in ends:
        changed = SECTIONS[path](**{**fields, **opened.get(item.name, {}), item.name: value})
        assert getattr(changed, item.name) == value


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"channel": value}
    return value


WRONG = [
    deep(100_000),
    {"channel": deep(100_000)},
    {"requests": {"tasks": deep(100_000)}},
    {"requests": {"tasks": [deep(100_000)]}},
    {"requests": {"trace": deep(100_000)}},
    {"num_users": deep(100_000)},
    {3: 4},
    {None: 4},
    {10**5000: 4},
    {("a", "b"): 4},
    {"x" * 1_000_000: 4},
    {"channel": {3: 4}},
    {"requests": {"tasks": [{3: 4}]}},
    {"requests": {"tasks": [{"name": 10**5000, "acceptance_mean": 0.5}]}},
    {"requests": {"tasks": {"name": "a"}}},
    {"requests": {"live": {"draft": ["x"] * 1_000_000}}},
    [("num_users", 3)],
    10**5000,
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_whatever_is_given_is_refused_in_a_short_message(number):
    with pytest.raises(ConfigError) as caught:
        make_config(config=WRONG[number])
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("path", SECTIONS, ids=lambda path: ".".join(path) or "system")
def test_an_unknown_field_is_refused_with_the_known_ones(path):
    with pytest.raises(ConfigError, match="has no field 'bandwith'") as caught:
        make_config(config=nested(path, "bandwith", 1))
    section = SECTIONS[path]
    assert section.__name__ in str(caught.value)
    for item in dataclasses.fields(section):
        assert item.name in str(caught.value)


def test_a_misspelt_field_is_answered_with_the_likely_one():
    with pytest.raises(ConfigError, match=r"has no field 'num_user'; did you mean 'num_users'\? Its fields are"):
        make_config(config={"num_user": 3})


def test_a_missing_field_is_named():
    values = make_config().to_dict()
    del values["payload_bits"], values["requests"]["tasks"]
    with pytest.raises(ConfigError, match=r"SystemConfig needs a value for: payload_bits"):
        SystemConfig.from_dict(values)
    with pytest.raises(ConfigError, match=r"RequestConfig needs a value for: tasks"):
        SystemConfig.from_dict(values | {"payload_bits": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channel": 3}, "channel must be a ChannelConfig or a dict of its fields, got 3"),
        ({"heat": "hot"}, "heat must be a HeatConfig or a dict of its fields, got 'hot'"),
        ({"requests": {"tasks": []}}, r"tasks must be a non-empty list of tasks, got \[\]"),
        ({"requests": {"tasks": "GSM8K"}}, "tasks must be a non-empty list of tasks, got 'GSM8K'"),
        ({"requests": {"tasks": [7]}}, "tasks must be a TaskConfig or a dict of its fields, got 7"),
        ({"requests": {"tokens_low": 300}}, "tokens_high must be at least tokens_low=300, got 256"),
        ({"requests": {"trace": 3}}, "trace must be None or a model pair's name or file as a string, got 3"),
        ({"requests": {"trace": ""}}, "trace must be None or a model pair's name or file as a string, got ''"),
        ({"channel": {"path_gain_low": 0.6}}, "path_gain_high must be at least path_gain_low=0.6, got 0.5"),
        (5, "config must be a SystemConfig or a dict of its fields, got 5"),
    ],
)
def test_a_bad_section_is_refused_with_field_and_value(change, message):
    with pytest.raises(ConfigError, match=message):
        make_config(config=change)


@pytest.mark.parametrize("name", [None, 3, ""])
def test_a_task_needs_a_name(name):
    with pytest.raises(ConfigError, match=r"TaskConfig\.name must be a non-empty string, got") as caught:
        TaskConfig(name=name, acceptance_mean=0.5)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.5), (0.9, 0.3), (0.9, 0.31), (0.0, 0.01), (1.0, 0.01)])
def test_a_spread_that_no_beta_distribution_has_is_refused(mean, std):
    limit = math.sqrt(mean * (1.0 - mean))
    with pytest.raises(ConfigError, match=rf"acceptance_std must be below {limit:.4f}.*mean={mean:g}, got {std!r}"):
        TaskConfig(name="wide", acceptance_mean=mean, acceptance_std=std)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.0), (1.0, 0.0), (0.9, 0.299), (0.5, 0.499)])
def test_a_spread_that_a_beta_distribution_has_is_accepted(mean, std):
    assert TaskConfig(name="fits", acceptance_mean=mean, acceptance_std=std).acceptance_std == std


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scenario": "papr"}, "scenario must be one of paper, requests, mobile, thermal, trace, live, got 'papr'"),
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
    assert config.channel.fading_correlation_time_s == config.channel.shadowing_std_db == 0.0
    assert config.requests.acceptance_spread == config.heat.slowdown == 0.0


@pytest.mark.parametrize("model_pair", MODEL_PAIRS)
def test_the_scenarios_build_on_each_other_as_documented(model_pair):
    paper, requests, mobile, thermal = (make_config(n, model_pair) for n in ("paper", "requests", "mobile", "thermal"))
    assert requests == paper.updated({"requests": {"acceptance_spread": 1.0}})
    assert thermal == dataclasses.replace(mobile, heat=thermal.heat)
    assert thermal.heat.slowdown > 0.0
    assert mobile.channel.fading_correlation_time_s > 0.0
    assert mobile.channel.shadowing_std_db > 0.0
    assert 0.0 < mobile.requests.drift_share < 1.0
    still = {"fading_correlation_time_s": 0.0, "shadowing_std_db": 0.0}
    lasting = {"drift_share": 0.0, "drift_correlation_tokens": requests.requests.drift_correlation_tokens}
    assert mobile.updated({"channel": still, "requests": lasting}) == requests


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
