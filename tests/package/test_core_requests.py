"""Requests: outcomes that belong to positions, the bookkeeping of what is known, and the list of prompts."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from multispin_env import make_config
from multispin_env.config import TaskConfig
from multispin_env.core.equations import beta_parameters
from multispin_env.core.requests.outcomes import WINDOW, ConstantOutcomes, WindowedOutcomes, luck_limit
from multispin_env.core.requests.synthetic import SyntheticRequests
from multispin_env.core.streams import Streams

# A task whose requests have distinct rates that are far from 0 and 1.
MILD = TaskConfig(name="mild", acceptance_mean=0.6, acceptance_std=0.15)


def begin(users=4, num_envs=2, longest=25, **fields):
    requests = {"tasks": (MILD,), "acceptance_spread": 1.0, **fields}
    config = make_config(config={"num_users": users, "max_draft_length": longest, "requests": requests})
    model = SyntheticRequests(config)
    model.reset(Streams([np.random.default_rng(env_index) for env_index in range(num_envs)]))
    return model


def decided(requests, lengths):
    """Plays rounds; the outcome, by (row, number of the request, position), of every draft that a round decided."""
    outcomes = {}
    shape = requests.acceptance_rate.shape
    number, position = np.zeros(shape, dtype=int), np.zeros(shape, dtype=int)
    for length in lengths:
        accepted = requests.verify(length) - 1
        for row in np.ndindex(shape):
            for place in range(position[row], position[row] + min(length[row], accepted[row] + 1)):
                outcomes[row, number[row], place] = bool(place < position[row] + accepted[row])
        ended = requests.request_tested == 0
        position = np.where(ended, 0, position + accepted + 1)
        number += ended
    return outcomes


# Luck


def windowed(rows, probability, seed=0):
    """Outcomes of texts whose positions have these probabilities, over and over."""
    table = luck_limit(np.asarray(probability))

    def limits(rows, number):
        return table[(WINDOW * number[:, np.newaxis] + np.arange(WINDOW)) % len(table)]

    outcomes = WindowedOutcomes(rows, limits)
    outcomes.begin(np.arange(rows), np.random.default_rng(seed).integers(2**64, size=rows, dtype=np.uint64))
    return outcomes


def constant(rows, rate, seed=0):
    outcomes = ConstantOutcomes(rows)
    outcomes.set_rates(np.arange(rows), np.full(rows, rate))
    outcomes.begin(np.arange(rows), np.random.default_rng(seed).integers(2**64, size=rows, dtype=np.uint64))
    return outcomes


def rejections(outcomes, rows, end, length):
    """Positions up to ``end`` at which drafts of this length were rejected, a set for every row, and those passed."""
    position = np.zeros(rows, dtype=np.int64)
    found, passed = [set() for _ in range(rows)], [set() for _ in range(rows)]
    while position.min() < end:
        wanted = np.full(rows, length)
        runs = outcomes.runs(position, wanted)
        for row, run in enumerate(runs.tolist()):
            place = int(position[row]) + min(run, length)
            (found if run < length else passed)[row].add(place)
        position = position + np.minimum(runs, length) + 1
    return found, passed


@pytest.mark.parametrize("make", [lambda: constant(50, 0.8), lambda: windowed(50, [0.8, 0.95, 0.2, 1.0, 0.6] * 7)])
def test_outcomes_belong_to_positions_whatever_is_drafted(make):
    # A draft is rejected where any other is, but for the positions at which the server's own token stood.
    worlds = [rejections(make(), 50, 400, length) for length in (1, 3, 8, 40, 100)]
    for (found, _), (others, others_passed) in itertools.permutations(worlds, 2):
        for row in range(50):
            assert not {place for place in found[row] - others[row] - others_passed[row] if place < 400}
    assert sum(map(len, worlds[0][0])) > 1000


@pytest.mark.parametrize("longest", [3, 25, 150])
def test_outcomes_are_the_same_among_few_and_many_texts(longest):
    probability = np.random.default_rng(0).choice([0.5, 0.9, 0.99, 1.0], size=500)
    many, luck = windowed(2000, probability), np.random.default_rng(0).integers(2**64, size=2000, dtype=np.uint64)
    few = windowed(7, probability)
    few.begin(np.arange(7), luck[:7])
    position, rng = np.zeros(2000, dtype=np.int64), np.random.default_rng(1)
    for _ in range(60):
        length = rng.integers(1, longest, size=2000)
        runs = np.minimum(many.runs(position, length), length)
        np.testing.assert_array_equal(np.minimum(few.runs(position[:7], length[:7]), length[:7]), runs[:7])
        position = position + runs + 1
        again = rng.random(2000) < 0.05
        position[again] = 0
        many.begin(again.nonzero()[0], luck[again])
        few.begin(again[:7].nonzero()[0], luck[:7][again[:7]])


@pytest.mark.parametrize("rate", [0.0, 0.03, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("length", [1, 8, 70])
def test_runs_have_their_probability(rate, length):
    rows = 20_000
    for outcomes in (constant(rows, rate), windowed(rows, [rate])):
        position = np.zeros(rows, dtype=np.int64)
        for _ in range(3):
            runs = np.minimum(outcomes.runs(position, np.full(rows, length)), length)
            counts = np.bincount(runs, minlength=length + 1)
            expected = rows * np.append(rate ** np.arange(length) * (1.0 - rate), rate**length)
            common = expected > 5.0
            assert not counts[expected == 0.0].any()
            if common.sum() > 1:
                observed, wanted = (np.append(part[common], part[~common].sum()) for part in (counts, expected))
                keep = wanted > 0.0
                assert stats.chisquare(observed[keep], wanted[keep]).pvalue > 1e-4
            position = position + runs + 1


def test_each_position_has_its_own_probability():
    probability = np.random.default_rng(1).uniform(0.0, 1.0, 75)
    probability[[3, 40]] = 0.0, 1.0
    outcomes = windowed(30_000, probability)
    position = np.zeros(30_000, dtype=np.int64)
    for place in range(75):
        accepted = outcomes.runs(position, np.ones(30_000, dtype=np.int64)) > 0
        assert stats.binomtest(int(accepted.sum()), 30_000, probability[place]).pvalue > 1e-5
        position = position + 1  # the next round begins behind this draft, whatever came of it
        outcomes.runs(position, np.zeros(30_000, dtype=np.int64))


def test_luck_belongs_to_user_request_and_position_whatever_is_decided():
    for fields in ({"drift_share": 0.0}, {"drift_share": 0.9, "drift_correlation_tokens": 5.0}):
        worlds = []
        for decisions, longest in enumerate((3, 8, 25)):
            requests = begin(users=5, num_envs=3, tokens_low=10, tokens_high=60, prompts_per_user=2, **fields)
            lengths = np.random.default_rng(decisions).integers(1, longest, (80, 3, 5), endpoint=True)
            worlds.append(decided(requests, lengths))
        for one, other in itertools.combinations(worlds, 2):
            common = one.keys() & other.keys()
            assert len({place[:2] for place in common}) > 20
            assert all(one[place] == other[place] for place in common)


def test_the_luck_of_a_prompt_is_new_when_it_comes_again():
    requests = begin(users=300, num_envs=1, tokens_low=20, tokens_high=20, prompts_per_user=1)
    outcomes = decided(requests, np.ones((40, 1, 300), dtype=int))
    first = {(row, place): accepted for (row, number, place), accepted in outcomes.items() if number == 0}
    again = {(row, place): accepted for (row, number, place), accepted in outcomes.items() if number == 1}
    rate = np.repeat(requests.acceptance_rate.ravel(), 20).reshape(300, 20)
    both = [(first[key] - rate[key[0][1], 0], again[key] - rate[key[0][1], 0]) for key in first.keys() & again.keys()]
    assert len(both) > 1000
    assert abs(np.corrcoef(np.array(both).T)[0, 1]) < 4.0 / np.sqrt(len(both))


# Requests


@given(mean=st.floats(0.05, 0.95), share=st.floats(0.05, 0.95))
def test_beta_parameters_give_the_mean_and_the_spread(mean, share):
    std = share * math.sqrt(mean * (1.0 - mean))
    beta = stats.beta(*beta_parameters(mean, std))
    assert beta.mean() == pytest.approx(mean, rel=1e-9)
    assert beta.std() == pytest.approx(std, rel=1e-9)


def test_requests_are_counted_by_what_verification_decided():
    requests = begin(tokens_low=20, tokens_high=20, drift_share=0.0)
    rng = np.random.default_rng(0)
    shape = requests.acceptance_rate.shape
    gained, tested, accepted = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    finished_once = np.zeros(shape, dtype=bool)
    for _ in range(60):
        length = rng.integers(1, 12, shape)
        tokens = requests.verify(length)
        assert np.all((tokens >= 1) & (tokens <= length + 1))
        gained += tokens
        accepted += tokens - 1
        # The correction after a rejected draft is decided as well; a bonus token after a full draft tests nothing more.
        tested += np.where(tokens == length + 1, length, tokens)
        ended = gained >= 20
        for count in (gained, tested, accepted):
            count[ended] = 0
        finished_once |= ended
        np.testing.assert_array_equal(requests.request_tested, tested)
        np.testing.assert_array_equal(requests.request_accepted, accepted)
        np.testing.assert_array_equal(requests.last_draft_length, length)
        np.testing.assert_array_equal(requests.last_accepted, tokens - 1)
    assert finished_once.all()


def test_the_list_of_prompts_is_worked_through_over_and_over():
    requests = begin(tokens_low=5, tokens_high=5, prompts_per_user=3)
    shape = requests.acceptance_rate.shape
    rates = [[rate] for rate in requests.acceptance_rate.ravel()]
    for _ in range(60):
        requests.verify(np.full(shape, 1))
        for user in np.flatnonzero(requests.request_tested.ravel() == 0):
            rates[user].append(requests.acceptance_rate.ravel()[user])
    for met in rates:
        assert len(met) > 9
        assert met[:3] == met[3:6] == met[6:9]
        assert len(set(met[:3])) == 3


def test_the_tokens_beyond_a_requests_end_count_and_are_not_owed_by_the_next():
    sure = TaskConfig(name="sure", acceptance_mean=1.0)
    requests = begin(tasks=(sure,), tokens_low=10, tokens_high=10)
    assert np.all(requests.verify(np.full((2, 4), 25)) == 26)
    assert not requests.request_tested.any()
    assert np.all(requests.verify(np.full((2, 4), 8)) == 9)
    assert np.all(requests.request_tested == 8)
    assert np.all(requests.verify(np.full((2, 4), 1)) == 2)
    assert not requests.request_tested.any()


@pytest.mark.parametrize("low", [1, 4])
def test_request_lengths_stay_in_their_range_and_reach_both_ends(low):
    # A draft that is always rejected gains one token a round.
    never = TaskConfig(name="never", acceptance_mean=0.0)
    requests = begin(users=50, num_envs=4, tasks=(never,), tokens_low=low, tokens_high=low + 3)
    gained, seen = np.zeros((4, 50), dtype=np.int64), set()
    for _ in range(40):
        gained += requests.verify(np.ones((4, 50), dtype=np.int64))
        ended = requests.request_tested == 0
        seen |= set(gained[ended].tolist())
        gained[ended] = 0
    assert seen == set(range(low, low + 4))


def test_a_longest_draft_of_any_length_is_played():
    sure, likely = (TaskConfig(name="sure", acceptance_mean=mean) for mean in (1.0, 0.999))
    for fields in ({}, {"acceptance_spread": 1.0, "drift_share": 0.5}):
        for task, least in ((sure, 3001), (likely, 1)):
            requests = begin(tasks=(task,), longest=3000, tokens_low=10_000, tokens_high=20_000, **fields)
            tokens = requests.verify(np.full((2, 4), 3000))
            assert np.all((tokens >= least) & (tokens <= 3001))


def test_a_drifting_request_keeps_its_own_part():
    drifting = begin(drift_share=0.5, drift_correlation_tokens=5.0, prompts_per_user=1, tokens_low=100)
    still = begin(drift_share=0.0, prompts_per_user=1, tokens_low=100)
    for requests, changes in ((drifting, True), (still, False)):
        before = requests.acceptance_rate
        requests.verify(np.full(before.shape, 8))
        assert np.all((requests.acceptance_rate != before) == changes)


def test_acceptance_varies_within_a_draft():
    # Of drafts of two that all begin at position 0: the rate of the second differs, and is correlated with the first's.
    requests = begin(users=3000, num_envs=1, drift_share=1.0, drift_correlation_tokens=2.0)
    place = np.arange(3000)
    points = requests._grid_points(place[:, np.newaxis], 0, np.arange(WINDOW))
    rates = requests._rates[points]
    for lag in (1, 2, 5, 20):
        found = np.corrcoef(rates[:, 0], rates[:, lag])[0, 1]
        assert found == pytest.approx(np.exp(-lag / 2.0), abs=0.06)


@pytest.mark.parametrize("fields", [{"acceptance_spread": 0.0}, {"acceptance_spread": 0.0, "drift_share": 0.7}])
def test_without_spread_every_request_has_its_tasks_mean(fields):
    requests = begin(**fields, tokens_low=1, tokens_high=4)
    shape = requests.acceptance_rate.shape
    for _ in range(10):
        np.testing.assert_array_equal(requests.acceptance_rate, np.full(shape, 0.6))
        np.testing.assert_array_equal(requests.task_acceptance_std, np.zeros(shape))
        requests.verify(np.full(shape, 2))


@pytest.mark.parametrize("spread", [1e-15, 1e-9, 1e-5])
def test_with_hardly_any_spread_every_request_has_about_its_tasks_mean(spread):
    requests = begin(acceptance_spread=spread)
    np.testing.assert_allclose(requests.acceptance_rate, 0.6, atol=1e-4)


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_tasks_that_reject_or_accept_everything_are_allowed(mean):
    requests = begin(tasks=(TaskConfig(name="sure", acceptance_mean=mean),))
    shape = requests.acceptance_rate.shape
    for _ in range(20):
        np.testing.assert_array_equal(requests.verify(np.full(shape, 6)), np.full(shape, 7 if mean else 1))
