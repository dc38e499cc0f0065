"""The simulator: the equations of a round put together, exogenous randomness, views that stay."""

import dataclasses

import numpy as np
import pytest

from multispin_env import Allocation, RoundView, Simulator, make_config
from multispin_env.core import EXACT, TrueView

ROUNDS = 45
MILD = {"name": "mild", "acceptance_mean": 0.6, "acceptance_std": 0.15}
SHORT_REQUESTS = {"tasks": [MILD], "tokens_low": 3, "tokens_high": 12, "prompts_per_user": 4}


def arrays(view):
    fields = {item.name: getattr(view, item.name) for item in dataclasses.fields(view)}
    return {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}


def play(simulator, allocations):
    """The true views before each of the rounds, and their outcomes."""
    views, outcomes = [], []
    for allocation in allocations:
        views.append(simulator.true_view())
        outcomes.append(simulator.step(allocation))
    return views, outcomes


def stacked(records, name):
    return np.stack([getattr(record, name) for record in records])


@pytest.fixture
def two_worlds(start, random_allocation):
    """Two simulations of one seed under different decisions: ``(views, outcomes)`` of each."""

    def play_both(scenario, **config):
        played = []
        for decisions in (1, 2):
            simulator = start(scenario, num_envs=3, seed=11, episode_rounds=ROUNDS, **config)
            rng = np.random.default_rng(decisions)
            played.append(play(simulator, (random_allocation(simulator, rng) for _ in range(ROUNDS))))
        return played

    return play_both


def test_a_round_obeys_the_papers_equations(scenario, start, random_allocation):
    simulator = start(scenario, num_envs=2)
    config, rng = simulator.config, np.random.default_rng(0)
    for _ in range(25):
        view, allocation = simulator.true_view(), random_allocation(simulator, rng)
        outcome = simulator.step(allocation)
        length, share = allocation
        np.testing.assert_allclose(outcome.drafting_s, length * view.drafting_latency_s, rtol=1e-12)
        bits_per_hz = config.payload_bits * length / (share * config.bandwidth_hz)
        if view.csi == EXACT:
            np.testing.assert_allclose(outcome.upload_s, bits_per_hz / view.observed_spectral_efficiency, rtol=1e-12)
        after = simulator.view()
        np.testing.assert_allclose(after.last_upload_spectral_efficiency, bits_per_hz / outcome.upload_s, rtol=1e-12)
        np.testing.assert_allclose(after.time_s - view.time_s, outcome.latency_s[:, np.newaxis], rtol=1e-9)
        arrived_s = (outcome.drafting_s + outcome.upload_s).max(axis=1)
        np.testing.assert_allclose(outcome.multi_access_s, arrived_s, rtol=1e-12)
        np.testing.assert_array_equal(outcome.verification_s, np.full(2, config.verification_latency_s))
        np.testing.assert_allclose(outcome.latency_s, outcome.multi_access_s + outcome.verification_s, rtol=1e-12)
        np.testing.assert_allclose(outcome.goodput, outcome.tokens.sum(axis=1) / outcome.latency_s, rtol=1e-12)
        assert np.all((outcome.tokens >= 1) & (outcome.tokens <= length + 1))
        assert outcome.allocation is allocation


def test_a_view_says_what_the_last_round_brought(start, random_allocation):
    simulator = start("mobile", num_envs=2)
    assert not simulator.view().last_draft_length.any()
    rng = np.random.default_rng(0)
    for _ in range(10):
        allocation = random_allocation(simulator, rng)
        outcome, view = simulator.step(allocation), simulator.view()
        np.testing.assert_array_equal(view.last_draft_length, allocation.draft_length)
        np.testing.assert_array_equal(view.last_accepted, outcome.tokens - 1)
        assert view.config is simulator.config


def test_the_true_view_differs_from_the_view_only_by_what_is_hidden(start):
    simulator = start("thermal", num_envs=2)
    view, truth = simulator.view(), simulator.true_view()
    for name, value in arrays(view).items():
        np.testing.assert_array_equal(getattr(truth, name), value)
    hidden = {item.name for item in dataclasses.fields(TrueView)} - {
        item.name for item in dataclasses.fields(RoundView)
    }
    assert hidden == {"acceptance_rate", "environments", "channel"}
    assert not isinstance(view, TrueView)


@pytest.mark.parametrize("kind", ["view", "true_view"])
def test_an_environment_of_a_view_is_the_view_of_that_environment(kind, start, equal_allocation):
    simulator = start("thermal", num_envs=3)
    simulator.step(equal_allocation(simulator, [[2], [5], [9]]))
    view = getattr(simulator, kind)()
    for index in range(3):
        alone = view.environment(index)
        assert type(alone) is type(view)
        for name, value in arrays(alone).items():
            np.testing.assert_array_equal(value, getattr(view, name)[index : index + 1])
        if kind == "true_view":
            everywhere = view.spectral_efficiency_at_upload(np.full((3, 20), 8))
            np.testing.assert_array_equal(alone.spectral_efficiency_at_upload(np.full((1, 20), 8)), everywhere[[index]])


def test_a_view_stays_as_it_was_when_rounds_are_played(scenario, start, random_allocation):
    simulator, rng = (
        start(scenario, num_envs=2, episode_rounds=ROUNDS, requests=SHORT_REQUESTS),
        np.random.default_rng(0),
    )
    kept = []
    for _ in range(ROUNDS):
        view = simulator.true_view()
        kept.append((view, {name: value.copy() for name, value in arrays(view).items()}))
        simulator.step(random_allocation(simulator, rng))
    for view, copies in kept:
        for name, value in copies.items():
            np.testing.assert_array_equal(getattr(view, name), value)


def test_a_view_does_not_change_when_the_caller_writes_to_its_allocation(start, equal_allocation):
    simulator = start()
    allocation = equal_allocation(simulator, 8)
    simulator.step(allocation)
    allocation.draft_length[...] = 3
    np.testing.assert_array_equal(simulator.view().last_draft_length, np.full((1, 20), 8))


def test_an_environment_does_not_depend_on_its_neighbours(scenario, start, random_allocation):
    together = start(scenario, num_envs=5, seed=3, episode_rounds=ROUNDS, requests=SHORT_REQUESTS)
    alone = [
        start(scenario, seed=3 + env_index, episode_rounds=ROUNDS, requests=SHORT_REQUESTS) for env_index in range(5)
    ]
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        allocation = random_allocation(together, rng)
        outcome = together.step(allocation)
        for env_index, simulator in enumerate(alone):
            own = simulator.step(Allocation(*(part[[env_index]] for part in allocation)))
            for name in ("tokens", "drafting_s", "upload_s", "latency_s", "goodput"):
                np.testing.assert_array_equal(getattr(own, name)[0], getattr(outcome, name)[env_index])
            for name, value in arrays(simulator.true_view()).items():
                if name != "environments":
                    np.testing.assert_array_equal(value[0], getattr(together.true_view(), name)[env_index])


def test_decisions_do_not_change_the_block_fading_or_the_users(two_worlds):
    (views, _), (others, _) = two_worlds("paper")
    fixed = ("observed_spectral_efficiency", "drafting_latency_s", "task_acceptance_mean", "acceptance_rate")
    for name in (*fixed, "long_term_spectral_efficiency"):
        np.testing.assert_array_equal(stacked(views, name), stacked(others, name))
    assert len(np.unique(stacked(views, "observed_spectral_efficiency"))) == ROUNDS * 3 * 20


def test_decisions_do_not_change_who_the_users_are(scenario, two_worlds):
    (views, _), (others, _) = two_worlds(scenario)
    for name, value in arrays(views[0]).items():
        np.testing.assert_array_equal(getattr(others[0], name), value)
    np.testing.assert_array_equal(stacked(views, "task_acceptance_mean"), stacked(others, "task_acceptance_mean"))
    np.testing.assert_array_equal(views[0].acceptance_rate, others[0].acceptance_rate)


def test_decisions_do_not_change_the_sequence_of_requests(two_worlds):
    (views, outcomes), (others, other_outcomes) = two_worlds("requests", requests=SHORT_REQUESTS)
    pace, other_pace = (stacked(played, "tokens").sum(axis=0) for played in (outcomes, other_outcomes))
    assert np.any(np.abs(pace - other_pace) > 12)  # some user is a request ahead
    first, second = stacked(views, "acceptance_rate"), stacked(others, "acceptance_rate")
    for env_index, user in np.ndindex(first.shape[1:]):
        both = first[:, env_index, user], second[:, env_index, user]
        met = [rates[np.insert(np.diff(rates) != 0, 0, True)] for rates in both]
        common = min(map(len, met))
        assert common > 4  # the list of prompts has wrapped
        np.testing.assert_array_equal(met[0][:common], met[1][:common])


def test_decisions_do_not_change_the_channel(scenario, two_worlds):
    # Block fading is another in every round; else the channel at a time is the same whatever was decided before.
    (views, _), (others, _) = two_worlds(scenario)
    if views[0].csi == EXACT:
        np.testing.assert_array_equal(*(stacked(some, "observed_spectral_efficiency") for some in (views, others)))
        return
    assert np.all(views[-1].time_s != others[-1].time_s)
    for time_s in (0.0, 3.7, views[20].time_s, others[9].time_s + 0.25):
        rates = [view.spectral_efficiency_at(time_s) for view in (views[0], views[-1], others[0], others[-1])]
        for rate in rates[1:]:
            np.testing.assert_array_equal(rate, rates[0])
    if views[0].doppler_known:
        for view in (*views, *others):
            np.testing.assert_array_equal(view.spectral_efficiency_at(view.time_s), view.observed_spectral_efficiency)


def outcomes_by_position(views, outcomes):
    """What came of every draft that was decided, by environment, user, number of the request and position in it."""
    found = {}
    shape = outcomes[0].tokens.shape
    number, position = np.zeros(shape, dtype=int), np.zeros(shape, dtype=int)
    for round_number, outcome in enumerate(outcomes[:-1]):
        accepted = outcome.tokens - 1
        for place in np.ndindex(shape):
            drafted = outcome.allocation.draft_length[place]
            for offset in range(min(drafted, accepted[place] + 1)):
                found[*place, number[place], position[place] + offset] = bool(offset < accepted[place])
        ended = views[round_number + 1].request_tested == 0
        position = np.where(ended, 0, position + outcome.tokens)
        number += ended
    return found


@pytest.mark.parametrize("scenario", ["paper", "mobile", "measured"])
def test_decisions_do_not_change_the_luck_of_any_position(scenario, two_worlds):
    one, other = (outcomes_by_position(*world) for world in two_worlds(scenario, requests=SHORT_REQUESTS))
    common = one.keys() & other.keys()
    assert len(common) > 3000
    assert all(one[place] == other[place] for place in common)


def test_tokens_take_time_to_verify(start, equal_allocation):
    times = {"verification_per_token_s": 0.001, "verification_free_tokens": 120}
    simulator = start("mobile", num_envs=2, **times)
    for length, seconds in ((1, 0.0), (5, 0.0), (6, 0.02), (25, 0.4)):
        outcome = simulator.step(equal_allocation(simulator, length))
        expected = simulator.config.verification_latency_s + seconds
        np.testing.assert_allclose(outcome.verification_s, expected, rtol=1e-12)
        np.testing.assert_allclose(outcome.latency_s, outcome.multi_access_s + expected, rtol=1e-12)


def test_a_longer_draft_never_accepts_less_of_the_same_request(scenario, start, equal_allocation):
    before = None
    for length in (1, 2, 5, 8, 13, 25):
        simulator = start(scenario, num_envs=20, seed=4)
        tokens = simulator.step(equal_allocation(simulator, length)).tokens
        if before is not None:
            assert np.all(tokens >= before)
            assert np.any(tokens > before)
        before = tokens


def test_bandwidth_and_time_do_not_change_what_is_accepted(start, random_allocation):
    worlds = []
    for seed in (1, 2):
        simulator = start("mobile", num_envs=3, episode_rounds=ROUNDS, requests=SHORT_REQUESTS)
        lengths, shares = np.random.default_rng(0), np.random.default_rng(seed)
        allocations = [
            Allocation(
                random_allocation(simulator, lengths).draft_length, random_allocation(simulator, shares).bandwidth_share
            )
            for _ in range(ROUNDS)
        ]
        worlds.append(play(simulator, allocations))
    (views, outcomes), (others, other_outcomes) = worlds
    np.testing.assert_array_equal(stacked(outcomes, "tokens"), stacked(other_outcomes, "tokens"))
    np.testing.assert_array_equal(stacked(views, "acceptance_rate"), stacked(others, "acceptance_rate"))
    assert np.all(stacked(outcomes, "latency_s") != stacked(other_outcomes, "latency_s"))


def test_what_was_seen_is_outdated_the_sooner_the_faster_users_move(start):
    truth = start("mobile", num_envs=100).true_view()
    off = {}
    for speed in np.unique(truth.doppler_hz):
        of_speed = truth.doppler_hz == speed
        for length in (0, 1, 8, 25):
            rate = truth.spectral_efficiency_at_upload(np.full((100, 20), length))
            off[speed, length] = np.abs(rate - truth.observed_spectral_efficiency)[of_speed].mean()
    slow, _, fast = np.unique(truth.doppler_hz)
    assert off[slow, 0] == off[fast, 0] == 0.0
    assert off[slow, 1] < off[slow, 8] < off[slow, 25]
    assert off[slow, 8] < 0.2 * off[fast, 8]


@pytest.mark.parametrize("allocation", ["equal", "observed"])
def test_no_round_lasts_a_minute(allocation, start, equal_allocation):
    simulator = start("mobile", num_envs=64)
    for _ in range(200):
        decision = equal_allocation(simulator, 8)
        if allocation == "observed":
            share = 1.0 / np.maximum(simulator.view().observed_spectral_efficiency, 0.5)
            decision = Allocation(decision.draft_length, share / share.sum(axis=1, keepdims=True))
        assert simulator.step(decision).latency_s.max() < 60.0


def test_looking_at_the_truth_does_not_change_it(start, random_allocation):
    worlds = []
    for looks in (0, 3):
        simulator, rng = start("thermal", num_envs=2), np.random.default_rng(0)
        outcomes = []
        for _ in range(25):
            for length in range(looks):
                simulator.true_view().spectral_efficiency_at_upload(np.full((2, 20), length + 1))
            outcomes.append(simulator.step(random_allocation(simulator, rng)))
        worlds.append(stacked(outcomes, "latency_s"))
    np.testing.assert_array_equal(*worlds)


def test_sustained_drafting_slows_the_devices_and_rest_cools_them(start, equal_allocation):
    simulator = start("thermal", num_envs=2, bandwidth_hz=1e9)  # rounds of little else than drafting and verification
    config = simulator.config
    cold = simulator.view().drafting_latency_s

    def after(length, rounds):
        for _ in range(rounds):
            simulator.step(equal_allocation(simulator, length))
        return simulator.view().drafting_latency_s

    hot = after(25, 100)
    assert np.all(hot > 1.1 * cold)
    assert np.all(hot < (1.0 + config.heat.slowdown) * cold)
    cooler = after(1, 100)
    assert np.all(cooler < hot)
    assert np.all(cooler > cold)


def test_devices_without_heat_keep_their_pace(start, equal_allocation):
    simulator = start("mobile", num_envs=2)
    cold = simulator.view().drafting_latency_s
    for _ in range(20):
        simulator.step(equal_allocation(simulator, 25))
    np.testing.assert_array_equal(simulator.view().drafting_latency_s, cold)


@pytest.mark.parametrize("rounds", [1, 63, 64, 65, 130])
def test_an_episode_of_any_length_has_an_observation_after_its_last_round(rounds, scenario, start, equal_allocation):
    simulator = start(scenario, episode_rounds=rounds)
    seen = []
    for _ in range(rounds):
        seen.append(simulator.view().observed_spectral_efficiency)
        simulator.step(equal_allocation(simulator, 8))
    seen.append(simulator.view().observed_spectral_efficiency)
    assert len(np.unique(np.stack(seen))) > 0.9 * (rounds + 1) * 20


@pytest.mark.parametrize("rounds", [1, 5, 64, 65])
def test_no_round_is_played_after_the_end_of_an_episode(rounds, start, equal_allocation):
    simulator = start(episode_rounds=rounds)
    for _ in range(rounds):
        simulator.step(equal_allocation(simulator, 8))
    with pytest.raises(RuntimeError, match=f"the episode ended after {rounds} rounds; call reset first"):
        simulator.step(equal_allocation(simulator, 8))
    simulator.reset([np.random.default_rng(0)])
    simulator.step(equal_allocation(simulator, 8))


def test_a_second_episode_goes_on_with_the_generators():
    config = make_config("requests", config={"episode_rounds": 5})
    simulator, generators = Simulator(config, 2), [np.random.default_rng(env_index) for env_index in range(2)]
    simulator.reset(generators)
    first = simulator.view()
    simulator.reset(generators)
    second = simulator.view()
    assert np.all(first.observed_spectral_efficiency != second.observed_spectral_efficiency)
    assert np.all(first.drafting_latency_s != second.drafting_latency_s)


def test_what_is_no_system_is_refused():
    with pytest.raises(TypeError, match="config must be a SystemConfig, as make_config returns, got 'paper'"):
        Simulator("paper", 1)
    for number in (0, -1, True, 1.0, "2", None, 10**400):
        with pytest.raises(ValueError, match=r"num_envs must be an integer in \[1, 1000000\], got "):
            Simulator(make_config(), number)
    with pytest.raises(ValueError, match="generators must be 2, one an environment, got 1"):
        Simulator(make_config(), 2).reset([np.random.default_rng(0)])


def test_nothing_is_played_or_seen_before_a_reset(equal_allocation):
    simulator = Simulator(make_config(), 1)
    for use in (simulator.view, simulator.true_view, lambda: simulator.step(equal_allocation(simulator, 8))):
        with pytest.raises(RuntimeError, match="there was no reset; call reset first"):
            use()


@pytest.mark.parametrize(
    ("allocation", "error", "message"),
    [
        (None, TypeError, "allocation must be an Allocation, got None"),
        ((np.ones((1, 20)), np.ones((1, 20))), TypeError, "allocation must be an Allocation, got "),
        (Allocation(8, np.ones((1, 20))), ValueError, r"draft_length must be an array of shape \(1, 20\), got int"),
        (
            Allocation(np.ones((1, 20), dtype=int), np.ones(20)),
            ValueError,
            r"bandwidth_share must be an array of shape \(1, 20\), got \(20,\)",
        ),
    ],
)
def test_what_is_no_allocation_is_refused(allocation, error, message, start):
    with pytest.raises(error, match=message):
        start().step(allocation)
