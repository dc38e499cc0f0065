"""Random streams: a function of generator and name alone, and every component's numbers its own."""

import itertools

import numpy as np
import pytest
from scipy import stats

from multispin_env import Allocation, Simulator, make_config
from multispin_env.core import streams as streams_module
from multispin_env.core.equations import signal_to_noise_ratio
from multispin_env.core.streams import RoundDraws, Streams, splitmix64, uniform

ROUNDS, ENVIRONMENTS, USERS = 30, 3, 4
NORMAL, EXPONENTIAL = np.random.Generator.standard_normal, np.random.Generator.standard_exponential


def generators(seed=0, count=ENVIRONMENTS):
    return [np.random.default_rng(seed + number) for number in range(count)]


# The streams


def test_the_hash_is_splitmix64():
    # The first outputs of the published generator for this seed.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    seed = np.full(4, 1234567, dtype=np.uint64)
    np.testing.assert_array_equal(splitmix64(seed, np.arange(4, dtype=np.uint64)), np.array(expected, dtype=np.uint64))


def test_a_stream_depends_on_the_generator_and_the_name_and_on_no_other_stream():
    alone = Streams(generators()).uniform("b", 5)
    streams = Streams(generators())
    for generator in streams.generators("a"):
        generator.standard_normal(1000)
    streams.seeds("c", 7)
    np.testing.assert_array_equal(streams.uniform("b", 5), alone)
    assert len(np.unique([alone, Streams(generators()).uniform("a", 5), Streams(generators(9)).uniform("b", 5)])) == 45


def test_a_stream_as_a_generator_depends_on_no_other_stream():
    alone = [g.random() for g in Streams(generators()).generators("b")]
    streams = Streams(generators())
    streams.uniform("a", 3)
    assert [g.random() for g in streams.generators("b")] == alone
    assert len({*alone, *(g.random() for g in streams.generators("c"))}) == 2 * ENVIRONMENTS


def test_an_environment_has_the_streams_that_it_has_alone():
    together = Streams(generators())
    values, drawn = together.uniform("a", 5), [g.random() for g in together.generators("b")]
    for number in range(ENVIRONMENTS):
        alone = Streams(generators(number, 1))
        np.testing.assert_array_equal(alone.uniform("a", 5)[0], values[number])
        assert alone.generators("b")[0].random() == drawn[number]


def test_generators_go_on_by_the_same_amount_whatever_is_taken():
    some, none = generators(), generators()
    streams = Streams(some)
    streams.uniform("a", 100)
    streams.generators("b")[0].random(100)
    Streams(none)
    assert [g.random() for g in some] == [g.random() for g in none]


@pytest.mark.parametrize("take", [lambda s: s.generators("a"), lambda s: s.seeds("a", 1), lambda s: s.uniform("a", 1)])
def test_a_name_is_taken_once(take):
    streams = Streams(generators())
    take(streams)
    with pytest.raises(ValueError, match="the random stream 'a' is already taken"):
        streams.uniform("a", 2)


def test_uniform_variates_are_uniform_and_never_an_end():
    values = Streams(generators()).uniform("a", 50_000)
    assert stats.kstest(values.ravel(), stats.uniform.cdf).pvalue > 1e-4
    ends = uniform(np.array([0, 2**64 - 1], dtype=np.uint64))
    assert 0.0 < ends[0] < ends[1] < 1.0


def test_streams_of_different_names_users_and_environments_are_independent():
    streams = Streams(generators(count=2000))
    values = np.concatenate([streams.uniform(name, 2) for name in ("a", "b", "channel.fading")], axis=1)
    normals = np.array([g.standard_normal(2) for name in ("c", "d") for g in streams.generators(name)])
    both = np.concatenate([values, normals.reshape(2, 2000, 2).swapaxes(0, 1).reshape(2000, 4)], axis=1)
    correlation = np.corrcoef(np.concatenate([both[1:], both[:-1]], axis=1).T)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 4.5 / np.sqrt(1999)


# Blocks


@pytest.mark.parametrize(("draw", "name"), [(NORMAL, "standard_normal"), (EXPONENTIAL, "standard_exponential")])
@pytest.mark.parametrize("rounds", [1, 19, 64, 65, 130])
@pytest.mark.parametrize("numbers", [1, 100, 2**22])
def test_rounds_are_the_environments_own_streams_in_order_whatever_the_blocks(draw, name, rounds, numbers, monkeypatch):
    monkeypatch.setattr(streams_module, "_BLOCK_NUMBERS", numbers)
    monkeypatch.setattr(streams_module, "_COPY_NUMBERS", numbers)
    draws = RoundDraws(draw, 2, USERS, rounds)
    for _ in range(2):  # a second episode begins anew
        draws.reset(generators())
        drawn = np.stack([draws.next().copy() for _ in range(rounds + 3)])
        for number, generator in enumerate(generators()):
            expected = getattr(generator, name)((rounds + 3, 2, USERS))
            np.testing.assert_array_equal(drawn[:, :, number], expected)


# Whatever is switched on or off leaves everybody else's numbers as they were


def world(changes, allocations, scenario="paper", pair="llama2", episodes=2):
    """What rounds of two episodes show, by component."""
    base = {"num_users": USERS, "episode_rounds": len(allocations), "requests": {"tokens_low": 4, "tokens_high": 30}}
    system = make_config(scenario, pair, base).updated(changes)
    simulator, rngs = Simulator(system, ENVIRONMENTS), generators()
    seen = {name: [] for name in ("latency", "task", "path_gain", "fading", "acceptance", "tokens")}
    for _ in range(episodes):
        simulator.reset(rngs)
        for allocation in allocations:
            view = simulator.true_view()
            mean_snr = signal_to_noise_ratio(view.long_term_spectral_efficiency)
            seen["latency"].append(view.drafting_latency_s)
            seen["task"].append(view.task_acceptance_mean)
            seen["path_gain"].append(mean_snr)
            seen["fading"].append(signal_to_noise_ratio(view.observed_spectral_efficiency) / mean_snr)
            seen["acceptance"].append(view.acceptance_rate)
            seen["tokens"].append(simulator.step(allocation).tokens)
    return {name: np.stack(values) for name, values in seen.items()}


@pytest.fixture(scope="module")
def allocations():
    rng = np.random.default_rng(5)
    shape = ENVIRONMENTS, USERS
    shares = rng.dirichlet(np.full(USERS, 2.0), (ROUNDS, ENVIRONMENTS))
    return [Allocation(rng.integers(1, 9, shape), share) for share in shares]


MOVING = {"kind": "mobility"}
CHANNEL, REQUESTS = {"path_gain", "fading"}, {"task", "acceptance", "tokens"}
# A change, and the components that it may change; the others' numbers stay.
SWITCHES = {
    "shadowing": ({"channel": MOVING}, CHANNEL),
    "no shadowing": ({"channel": {**MOVING, "shadowing_std_db": 0.0}}, {"fading"}),
    "path gain": ({"channel": {"path_gain_low": 0.3}}, {"path_gain"}),
    "heat": ({"heat": {"slowdown": 1.0}}, {"latency"}),
    "devices alike": ({"drafting_latency_spread": 0.0}, {"latency"}),
    "slower devices": ({"drafting_latency_s": 0.1}, {"latency"}),
    "acceptance": ({"requests": {"acceptance_spread": 1.0}}, {"acceptance", "tokens"}),
    "drift": ({"requests": {"acceptance_spread": 1.0, "drift_share": 0.5}}, {"acceptance", "tokens"}),
    "longer requests": ({"requests": {"tokens_high": 100}}, {"tokens"}),
    "one prompt": ({"requests": {"prompts_per_user": 1}}, {"tokens"}),
    "one task": ({"requests": {"tasks": [{"name": "one", "acceptance_mean": 0.5}]}}, REQUESTS),
    "bandwidth": ({"bandwidth_hz": 1e6}, set()),
    "payload": ({"payload_bits": 1e5}, set()),
    "verification": ({"verification_fixed_s": 1.0}, set()),
    "longest draft": ({"max_draft_length": 50}, set()),
    "longer episodes": ({"episode_rounds": 500}, set()),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_leaves_everybody_elses_numbers_as_they_were(name, allocations):
    change, may_change = SWITCHES[name]
    before, after = world({}, allocations), world(change, allocations)
    # Rates that users who move have are in single precision.
    rtol = 1e-6 if "channel" in change else 1e-12
    changed = {part for part in before if not np.allclose(before[part], after[part], rtol=rtol, atol=0.0)}
    assert changed <= may_change
    exact = before.keys() - CHANNEL - may_change  # gains are recovered from rates, to rounding
    for part in exact:
        np.testing.assert_array_equal(before[part], after[part])
    assert changed == may_change


@pytest.mark.parametrize("names", [*itertools.combinations(["shadowing", "heat", "drift"], 2)])
def test_two_switches_leave_what_either_leaves(names, allocations):
    (first, first_changes), (second, second_changes) = (SWITCHES[name] for name in names)
    system = make_config("paper").updated(first).updated(second).to_dict()
    changes = {part: system[part] for part in ("channel", "heat", "requests")}
    changes["requests"] |= {"tokens_low": 4, "tokens_high": 30}
    before, after = world({}, allocations), world(changes, allocations)
    for part in before.keys() - first_changes - second_changes - CHANNEL:
        np.testing.assert_array_equal(before[part], after[part])


def test_replayed_requests_leave_channel_devices_and_tasks_as_they_were(allocations, traced_pair):
    before = world({}, allocations, "requests", traced_pair)
    after = world({"requests": {"trace": traced_pair}}, allocations, "requests", traced_pair)
    for part in before.keys() - {"acceptance", "tokens"}:
        np.testing.assert_array_equal(before[part], after[part])
    assert np.any(before["tokens"] != after["tokens"])


def test_what_a_component_draws_does_not_depend_on_its_parameters(allocations):
    spread, wide = (
        world({"drafting_latency_spread": spread}, allocations)["latency"] / make_config().drafting_latency_s - 1.0
        for spread in (0.1, 0.4)
    )
    np.testing.assert_allclose(wide, 4.0 * spread, rtol=1e-9)
    snr = [
        world({"channel": {"path_gain_low": low, "path_gain_high": low + 0.3}}, allocations)["path_gain"]
        for low in (0.2, 0.5)
    ]
    np.testing.assert_allclose(snr[1] - snr[0], 0.3 * make_config().channel.power_to_noise, rtol=1e-9)
    decibels = [
        10.0
        * np.log10(world({"channel": {**MOVING, "shadowing_std_db": std}}, allocations[:1], episodes=1)["path_gain"])
        for std in (0.0, 2.0, 6.0)
    ]
    np.testing.assert_allclose(decibels[2] - decibels[0], 3.0 * (decibels[1] - decibels[0]), atol=1e-3)


def test_the_rare_request_that_begins_does_not_depend_on_how_its_predecessor_was_decided(allocations):
    first, second = (world({"requests": {"acceptance_spread": spread}}, allocations)["task"] for spread in (0.5, 1.0))
    np.testing.assert_array_equal(first, second)
