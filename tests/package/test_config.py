"""The configuration: round trips, merging, and errors that say what is wrong and what is allowed."""

import copy
import dataclasses
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multispin_env import MODEL_PAIRS, SCENARIOS, ConfigError, SystemConfig, make_config
from multispin_env.config import (
    BlockChannelConfig,
    HeatConfig,
    LiveConfig,
    MobilityChannelConfig,
    RequestConfig,
    TaskConfig,
    TraceChannelConfig,
    shown,
)

SECTIONS = {
    SystemConfig: (),
    BlockChannelConfig: ("channel",),
    MobilityChannelConfig: ("channel",),
    TraceChannelConfig: ("channel",),
    RequestConfig: ("requests",),
    LiveConfig: ("requests", "live"),
    HeatConfig: ("heat",),
}
NUMBERS = [
    pytest.param(section, item, id=f"{section.__name__}.{item.name}")
    for section in SECTIONS
    for item in dataclasses.fields(section)
    if "low" in item.metadata
]


def nested(section, name, value):
    change = {name: value} | ({"kind": section.kind} if hasattr(section, "kind") else {})
    for part in reversed(SECTIONS[section]):
        change = {part: change}
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
    assert changed.channel.speeds_m_s == base.channel.speeds_m_s
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


@pytest.mark.parametrize(("section", "item"), NUMBERS)
def test_a_bad_number_is_refused_with_field_value_and_range(section, item):
    rule = item.metadata
    wrong = [float("nan"), float("inf"), -float("inf"), True, "7", None, [1], rule["low"] - 1, 2 * rule["high"]]
    wrong += [np.bool_(True), np.float64("nan"), np.array([1.0]), 1j, 10**400, -(10**400), 10**5000, 1.7e308]
    if rule["integer"]:
        wrong.append(rule["low"] + 0.5)
    elif rule["low"] > 0.0:
        wrong.append(0.5 * rule["low"])
        wrong += [0] * (not rule["off"])
    form = "d" if rule["integer"] else "g"
    allowed = f"{rule['low']:{form}}, {rule['high']:{form}}"
    for value in wrong:
        with pytest.raises(
            ConfigError, match=f"{section.__name__}.{item.name} must be .*{re.escape(allowed)}"
        ) as caught:
            make_config(config=nested(section, item.name, value))
        assert len(str(caught.value)) < 250
        assert shown(value) in str(caught.value)


@pytest.mark.parametrize(("section", "item"), NUMBERS)
def test_the_ends_of_every_range_are_allowed(section, item):
    rule = item.metadata
    ends = [rule["low"], rule["high"]] + [0.0] * rule["off"]
    fields = make_config("live", config={"channel": {"kind": getattr(section, "kind", "mobility")}}).to_dict()
    for name in SECTIONS[section]:
        fields = fields[name]
    # The upper end of a pair's lower half would cross its upper half.
    opened = {
        f"{part}_{end}": {f"{part}_{other}": rule[other]}
        for part in ("tokens", "path_gain")
        for end, other in (("low", "high"), ("high", "low"))
    }
    for value in ends:
        changed = section(**{**fields, **opened.get(item.name, {}), item.name: value})
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


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_field_is_refused_with_the_known_ones(section):
    with pytest.raises(ConfigError, match="has no field 'bandwith'") as caught:
        make_config(config=nested(section, "bandwith", 1))
    assert section.__name__ in str(caught.value)
    for item in dataclasses.fields(section):
        assert item.name in str(caught.value)


@pytest.mark.parametrize("field", ["fading_correlation_time_s", "shadowing_correlation_time_s"])
@pytest.mark.parametrize("scenario", ["paper", "mobile", "measured"])
def test_fields_of_the_former_channel_are_refused(field, scenario):
    with pytest.raises(ConfigError, match=rf"ChannelConfig has no field '{field}'"):
        make_config(scenario, config={"channel": {field: 1.9}})


def test_a_channel_of_another_kind_takes_over_what_they_have_in_common():
    paper = make_config("paper", config={"channel": {"path_gain_low": 0.4}})
    moving = paper.updated({"channel": {"kind": "mobility", "speeds_m_s": [3]}})
    assert moving.channel == MobilityChannelConfig(power_to_noise=160.0, path_gain_low=0.4, speeds_m_s=(3.0,))
    assert moving.updated({"channel": {"kind": "block"}}) == paper
    traced = moving.updated({"channel": {"kind": "trace", "path": "mine.csv"}})
    assert traced.channel == TraceChannelConfig(path="mine.csv")
    with pytest.raises(ConfigError, match="BlockChannelConfig needs a value for: power_to_noise"):
        traced.updated({"channel": {"kind": "block"}})
    assert make_config("mobile", config={"channel": {"kind": "block"}}).channel == make_config("paper").channel


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ({"kind": "mobil"}, "channel.kind must be one of block, mobility, trace, got 'mobil'"),
        ({"kind": 3}, "channel.kind must be one of block, mobility, trace, got 3"),
        ({"kind": ["block"]}, r"channel.kind must be one of block, mobility, trace, got \['block'\]"),
        ({"kind": "mobility", "speeds_m_s": []}, r"speeds_m_s must be a non-empty list of speeds, got \[\]"),
        ({"kind": "mobility", "speeds_m_s": 1.4}, r"speeds_m_s must be a non-empty list of speeds, got 1\.4"),
        ({"kind": "mobility", "speeds_m_s": "1"}, "speeds_m_s must be a non-empty list of speeds, got '1'"),
        ({"kind": "mobility", "speeds_m_s": [1, -1]}, r"speeds_m_s\[1\] must be .* in \[0, 100\], got -1"),
        ({"kind": "mobility", "doppler_known": 1}, "doppler_known must be True or False, got 1"),
        ({"kind": "trace", "path": ""}, r"TraceChannelConfig\.path must be a non-empty string, got ''"),
    ],
)
def test_a_bad_channel_is_refused(channel, message):
    with pytest.raises(ConfigError, match=message):
        make_config(config={"channel": channel})


def test_a_section_is_of_its_own_kind():
    with pytest.raises(ConfigError, match=r"BlockChannelConfig\.kind must be 'block', got 'mobility'"):
        BlockChannelConfig(power_to_noise=1.0, kind="mobility")


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
        ({"channel": 3}, "channel must be a BlockChannelConfig or a dict of its fields, got 3"),
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
