"""Actions: what they mean, both ways."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from multispin_env import MODEL_PAIRS, Allocation
from multispin_env.core import EXACT
from multispin_env.envs.actions import ACTIONS
from multispin_env.optimal import (
    RatePredictor,
    RoundProblem,
    cautious_spectral_efficiency,
    equalize_bandwidth,
    forecast,
    solve_heterogeneous,
    solve_homogeneous,
    typical_delay_s,
)

KINDS = ("Homogeneous", "Heterogeneous")
UNIT = st.floats(-1.0, 1.0, width=32)


def make(kind="Heterogeneous", users=20, longest=25, **arguments):
    config = {"num_users": users, "max_draft_length": longest}
    env = gym.make(f"multispin_env/{kind}-v0", config=config, **arguments).unwrapped
    env.reset(seed=0)
    return env


ENVS = {(kind, action): make(kind, 5, action=action) for kind in KINDS for action in ACTIONS}


def random_lengths(env, kind, rng):
    users, longest = env.config.num_users, env.config.max_draft_length
    return rng.integers(1, longest, 1 if kind == "Homogeneous" else users, endpoint=True) * np.ones(users, np.int64)


def one_takes_all(users, rest):
    """All but the last user have ``rest``."""
    return np.append(np.full(users - 1, rest), 1.0 - rest * (users - 1))


def within_reach(env, lengths, rng):
    """Shares that tilts in [-1, 1] of equal uploads at the predicted rates can reach."""
    rate = RatePredictor(typical_delay_s(env.config))(env.round_view())[0]
    weights = lengths / rate * np.exp(rng.uniform(-1.0, 1.0, len(lengths)))
    return weights / weights.sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("longest", [1, 2, 25, 1000, 10_000])
@pytest.mark.parametrize("users", [1, 2, 20, 400])
@pytest.mark.parametrize("scenario", ["paper", "mobile"])
def test_an_allocation_within_reach_survives_its_direct_encoding(scenario, users, longest, kind):
    env, rng = make(kind, users, longest, scenario=scenario), np.random.default_rng(0)
    for _ in range(3):
        lengths = random_lengths(env, kind, rng)
        allocation = Allocation(lengths, within_reach(env, lengths, rng))
        action = env.encode_action(allocation)
        assert env.action_space.contains(action)
        decoded = env.decode_action(action)
        np.testing.assert_array_equal(decoded.draft_length, allocation.draft_length)
        np.testing.assert_allclose(decoded.bandwidth_share, allocation.bandwidth_share, rtol=1e-6)
        env.step(action)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_allocation_beyond_reach_has_an_action_near_it(kind, action):
    env, rng = make(kind, 5, action=action), np.random.default_rng(0)
    for rest in (1e-9, 1e-3):
        lengths = random_lengths(env, kind, rng)
        encoded = env.encode_action(Allocation(lengths, one_takes_all(5, rest)))
        assert env.action_space.contains(encoded)
        decoded = env.decode_action(encoded)
        if action != "residual":
            np.testing.assert_array_equal(decoded.draft_length, lengths)
        if action == "direct":
            assert encoded[-1] == 1.0
            assert np.all(encoded[-5:-1] == -1.0) or rest > 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scenario", ["requests", "mobile"])
def test_a_residual_action_explains_what_a_residual_action_chose(scenario, kind):
    env, rng = make(kind, scenario=scenario, action="residual"), np.random.default_rng(0)
    for _ in range(5):
        tilts = rng.uniform(-0.5, 0.5, env.action_space.shape)
        if kind == "Homogeneous":
            tilts[20:] = tilts[20]
        chosen = env.decode_action(tilts)
        again = env.decode_action(env.encode_action(chosen))
        assert np.mean(np.abs(again.draft_length - chosen.draft_length)) < 1.0
        assert np.abs(np.log(again.bandwidth_share / chosen.bandwidth_share)).mean() < 0.3
        env.step(tilts)


@pytest.mark.parametrize("action", ["direct", "lengths"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("longest", [1, 2, 7, 25, 10_000])
def test_every_length_survives_its_encoding(longest, kind, action):
    env = make(kind, 1, longest, action=action)
    for length in {*range(1, min(longest, 500) + 1), longest // 2 + 1, longest - longest // 3, longest}:
        decoded = env.decode_action(env.encode_action(Allocation(np.array([length]), np.ones(1))))
        assert decoded.draft_length == length


@pytest.mark.parametrize(("kind", "kind_of_action"), ENVS)
@given(data=st.data())
def test_every_action_in_the_box_is_a_valid_work_conserving_allocation(kind, kind_of_action, data):
    env = ENVS[kind, kind_of_action]
    action = data.draw(arrays.arrays(np.float32, env.action_space.shape, elements=UNIT))
    length, share = env.decode_action(action)
    assert length.dtype == np.int64
    assert length.shape == share.shape == (5,)
    assert np.all((length >= 1) & (length <= 25))
    assert kind == "Heterogeneous" or len(set(length)) == 1
    assert np.all(share > 0.0)
    assert share.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("longest", [1, 3, 25])
def test_lengths_cut_the_range_into_bins_of_equal_ratio(longest):
    env = make(users=1, longest=longest)

    def length(number):
        return int(env.decode_action(np.array([number, 0.0], dtype=np.float32)).draft_length[0])

    assert (length(-1.0), length(1.0)) == (1, longest)
    numbers = np.linspace(-1.0, 1.0, 1001, dtype=np.float32)
    lengths = np.array([length(number) for number in numbers])
    assert np.all(np.diff(lengths) >= 0)
    counts = np.bincount(lengths, minlength=longest + 1)[1:]
    every = np.arange(1, longest + 1)
    np.testing.assert_allclose(counts, 1001 * np.log1p(1.0 / every) / np.log(longest + 1.0), atol=2)


@pytest.mark.parametrize("kind", KINDS)
def test_direct_zeros_draft_five_tokens_and_upload_in_equal_time(world, kind):
    env = make(kind, **world)
    view = env.round_view()
    length, share = env.decode_action(np.zeros(env.action_space.shape))
    assert set(length) == {5}
    rate = RatePredictor(typical_delay_s(env.config))(view)[0]
    upload = length / (share * rate)
    np.testing.assert_allclose(upload, upload[0], rtol=1e-12)


def test_a_tilt_multiplies_a_share_by_its_exponential():
    env = make(users=3, scenario="mobile")
    lengths, tilts = np.array([-0.9, 0.0, 0.7]), np.array([-1.0, 0.25, 1.0])
    plain = env.decode_action(np.concatenate([lengths, np.zeros(3)]))
    tilted = env.decode_action(np.concatenate([lengths, tilts]))
    ratio = tilted.bandwidth_share / plain.bandwidth_share
    np.testing.assert_allclose(ratio / ratio[1], np.exp(tilts - 0.25), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_have_the_band_split_so_that_all_arrive_together_at_rates_to_count_on(world, kind):
    env, rng = make(kind, action="lengths", **world), np.random.default_rng(1)
    for _ in range(10):
        action = rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)
        view, allocation = env.round_view(), env.decode_action(action)
        rate = cautious_spectral_efficiency(view)
        problem = RoundProblem.from_view(view, spectral_efficiency=rate)
        latency_s, shares = equalize_bandwidth(problem, allocation.draft_length)
        info = env.step(action)[4]
        np.testing.assert_array_equal(info["bandwidth_share"], shares[0])
        if view.csi == EXACT:
            assert info["multi_access_s"] == pytest.approx(latency_s[0], rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_residual_zeros_are_the_closed_form_at_the_rates_to_count_on_to_the_bit(world, kind):
    env = make(kind, action="residual", **world)
    solve = solve_homogeneous if kind == "Homogeneous" else solve_heterogeneous
    for _ in range(3):
        view, zeros = env.round_view(), np.zeros(env.action_space.shape)
        told = forecast(view)
        if view.csi == EXACT:
            np.testing.assert_array_equal(told.spectral_efficiency, view.observed_spectral_efficiency)
        wanted = solve(told).allocation
        played = env.step(zeros)[4]
        np.testing.assert_array_equal(played["draft_length"], wanted.draft_length[0])
        np.testing.assert_array_equal(played["bandwidth_share"], wanted.bandwidth_share[0])


def test_a_residual_tilt_is_what_the_closed_form_is_told():
    env = make(scenario="mobile", action="residual")
    view, tilts = env.round_view(), np.random.default_rng(0).uniform(-1.0, 1.0, 40)
    expected = forecast(view)
    mean = expected.acceptance_rate
    told = replace(
        expected,
        spectral_efficiency=expected.spectral_efficiency * np.exp(tilts[:20]),
        acceptance_rate=1.0 / (1.0 + (1.0 - mean) / mean * np.exp(-3.0 * tilts[20:])),
    )
    ours, theirs = env.decode_action(tilts), solve_heterogeneous(told).allocation
    np.testing.assert_array_equal(ours.draft_length, theirs.draft_length[0])
    np.testing.assert_allclose(ours.bandwidth_share, theirs.bandwidth_share[0], rtol=1e-9)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("users", [20, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_gaussian_policy_earns_a_third_of_what_zeros_earn(world, kind, users, action):
    envs = gym.make_vec(f"multispin_env/{kind}-v0", 8, action=action, config={"num_users": users}, **world)
    rng, earned = np.random.default_rng(0), []
    for std in (0.0, 1.0):
        envs.reset(seed=0)
        actions = (np.clip(std * rng.standard_normal(envs.action_space.shape), -1.0, 1.0) for _ in range(20))
        earned.append(np.mean([envs.step(numbers)[1] for numbers in actions]))
    assert earned[1] > 0.3 * earned[0] > 0.0


@pytest.mark.parametrize("model_pair", MODEL_PAIRS)
@pytest.mark.parametrize("users", [5, 20, 40])
def test_the_best_allocation_within_direct_reach_is_as_good_as_the_optimum(model_pair, users):
    envs: Any = gym.make_vec(
        "multispin_env/Heterogeneous-v0", 128, scenario="paper", model_pair=model_pair, config={"num_users": users}
    ).unwrapped
    envs.reset(seed=0)
    problem = RoundProblem.from_view(envs.round_view())
    best = solve_heterogeneous(problem)
    within = envs.decode_action(envs.encode_action(best.allocation))
    np.testing.assert_array_equal(within.draft_length, best.allocation.draft_length)
    round_s = [
        np.max(draft_length * (problem.drafting_latency_s + problem.full_band_upload_s / share), axis=1)
        + problem.verification_latency_s
        for draft_length, share in (best.allocation, within)
    ]
    assert np.mean(round_s[0] / round_s[1]) > 0.99


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_step_allocation_plays_any_allocation_exactly(kind, action):
    env, rng = make(kind, action=action), np.random.default_rng(0)
    for share in (np.full(20, 0.05), one_takes_all(20, 0.01), one_takes_all(20, 1e-4)):
        allocation = Allocation(random_lengths(env, kind, rng), share)
        info = env.step_allocation(allocation)[4]
        np.testing.assert_array_equal(info["draft_length"], allocation.draft_length)
        np.testing.assert_array_equal(info["bandwidth_share"], share)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_step_is_the_step_of_the_allocation_it_decodes_to(action, mode):
    made = {"action": action, "scenario": "mobile", "config": {"episode_rounds": 3}, "autoreset_mode": mode}
    ours: Any
    theirs: Any
    ours, theirs = (gym.make_vec("multispin_env/Heterogeneous-v0", 2, **made).unwrapped for _ in range(2))
    ours.reset(seed=0)
    theirs.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(8):
        numbers = rng.uniform(-1.0, 1.0, ours.action_space.shape)
        one, other = ours.step(numbers), theirs.step_allocation(theirs.decode_action(numbers))
        for ours_has, theirs_has in zip(one[:4], other[:4], strict=True):
            np.testing.assert_array_equal(ours_has, theirs_has)
        np.testing.assert_array_equal(one[4]["episode_tokens"], other[4]["episode_tokens"])
        assert one[4].keys() == other[4].keys()


def test_step_allocation_needs_a_reset_and_a_round_to_play():
    env: Any = gym.make("multispin_env/Heterogeneous-v0", config={"episode_rounds": 1, "num_users": 3}).unwrapped
    allocation = Allocation(np.ones(3, dtype=np.int64), np.full(3, 1.0 / 3.0))
    for use in (env.step_allocation, env.encode_action):
        with pytest.raises(ResetNeeded, match=f"{use.__name__} was called before the first reset"):
            use(allocation)
    env.reset(seed=0)
    assert env.step_allocation(allocation)[3]
    with pytest.raises(ResetNeeded, match="the episode ended after 1 rounds"):
        env.step_allocation(allocation)


@pytest.mark.parametrize("use", ["encode_action", "step_allocation"])
def test_a_batch_of_one_is_taken_as_controllers_return_it(use):
    results = []
    for shape in ((20,), (1, 20)):
        env = make()
        allocation = Allocation(np.arange(1, 21).reshape(shape), np.full(shape, 0.05))
        results.append(np.asarray(getattr(env, use)(allocation)[0]))
    np.testing.assert_array_equal(*results)
