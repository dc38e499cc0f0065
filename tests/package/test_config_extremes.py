"""Whatever configuration is admitted can be played: observations and rewards are finite, without a warning."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multispin_env.config import (
    BlockChannelConfig,
    HeatConfig,
    MobilityChannelConfig,
    RequestConfig,
    SystemConfig,
    TraceChannelConfig,
)

CHANNELS = (BlockChannelConfig, MobilityChannelConfig, TraceChannelConfig)
SECTIONS = {SystemConfig: None, RequestConfig: "requests", HeatConfig: "heat"} | dict.fromkeys(CHANNELS, "channel")
# What a test has no time for: users without number.
SMALL = {"num_users": 50}
# A pair of a range's ends, of which the lower follows the upper one.
PAIRS = {"path_gain_low": "path_gain_high", "tokens_low": "tokens_high"}
FIELDS = {
    cls: {item.name: item.metadata for item in dataclasses.fields(cls) if "low" in item.metadata} for cls in SECTIONS
}
ENDS = [
    pytest.param(cls, name, value, id=f"{cls.__name__}.{name}={value:g}")
    for cls, fields in FIELDS.items()
    for name, rule in fields.items()
    for value in (rule["low"], SMALL.get(name, rule["high"]))
]
# The ends of what is no number by itself.
SPEEDS = ([0.0], [100.0], [0.0, 1e-9, 100.0])
TASK = st.sampled_from(
    [(0.0, 0.0), (1.0, 0.0), (1e-300, 0.0), (0.5, 1e-300), (0.5, 0.4999), (0.999, 0.03), (1e-9, 1e-5), (0.7, 0.3)]
)


def playable(changes):
    """The same changes with both ends of a range in order."""
    for section in changes.values():
        if isinstance(section, dict):
            for low, high in PAIRS.items():
                if low in section:
                    section[high] = max(section.get(high, 0), section[low])
                elif high in section:
                    section[low] = section[high]
    return changes


def play(config, scenario="thermal", rounds=4):
    """Rounds of two environments under uniform and extreme actions: all that is seen must be finite."""
    env = gym.make_vec("multispin_env/Heterogeneous-v0", num_envs=2, scenario=scenario, config=config)
    observation, _ = env.reset(seed=0)
    env.action_space.seed(0)
    corners = np.where(env.action_space.sample() > 0.0, 1.0, -1.0).astype(np.float32)
    for number in range(rounds):
        assert np.all(np.isfinite(observation))
        observation, reward, *_, info = env.step(corners if number % 2 else env.action_space.sample())
        assert np.all(np.isfinite(reward))
        assert np.all(reward >= 0.0)
        for name, values in info.items():
            if values.dtype != object:
                assert np.all(np.isfinite(values)), name
    assert np.all(np.isfinite(observation))


@pytest.mark.parametrize("scenario", ["paper", "thermal"])
@pytest.mark.parametrize(("cls", "name", "value"), ENDS)
def test_either_end_of_every_range_can_be_played(cls, name, value, scenario):
    changes = {} if name == "num_users" else {"num_users": 3}
    of_section = changes if SECTIONS[cls] is None else changes.setdefault(SECTIONS[cls], {})
    if cls in CHANNELS:
        of_section["kind"] = cls.kind
    of_section[name] = value
    play(playable(changes), scenario)


@pytest.mark.parametrize("speeds", SPEEDS)
@pytest.mark.parametrize("carrier_frequency_hz", [1e6, 1e11])
def test_any_speed_can_be_played(speeds, carrier_frequency_hz):
    channel = {"kind": "mobility", "speeds_m_s": speeds, "carrier_frequency_hz": carrier_frequency_hz}
    play({"num_users": 5, "channel": channel}, rounds=10)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_ends_together_can_be_played(data):
    channel = data.draw(st.sampled_from(CHANNELS), label="channel")
    changes = {"num_users": 2, "channel": {"kind": channel.kind}}
    for cls, fields in FIELDS.items():
        if cls in CHANNELS and cls is not channel:
            continue
        of_section = changes if SECTIONS[cls] is None else changes.setdefault(SECTIONS[cls], {})
        for name, rule in fields.items():
            end = data.draw(st.sampled_from([None, rule["low"], SMALL.get(name, rule["high"])]), label=name)
            if end is not None:
                of_section[name] = end
    if channel is MobilityChannelConfig:
        changes["channel"]["speeds_m_s"] = data.draw(st.sampled_from(SPEEDS), label="speeds")
    mean, std = data.draw(TASK, label="task")
    changes["requests"]["tasks"] = [{"name": "one", "acceptance_mean": mean, "acceptance_std": std}]
    play(playable(changes), data.draw(st.sampled_from(["paper", "thermal"])), rounds=3)
