"""Requests: the accepted prefix, the bookkeeping of what is known, and the list of prompts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from multispin_env.config import RequestConfig, TaskConfig
from multispin_env.core.requests.synthetic import SyntheticRequests, accepted_tokens, beta_parameters
from multispin_env.core.streams import Streams

RATES = st.floats(0.0, 1.0)
OUTCOMES = st.floats(0.0, 40.0)
MILD = TaskConfig(name="mild", acceptance_mean=0.6, acceptance_std=0.15)
# A task whose requests have distinct rates that are far from 0 and 1.


def begin(users=4, lanes=2, **fields):
    requests = SyntheticRequests(RequestConfig(**{"tasks": (MILD,), "acceptance_spread": 1.0, **fields}), users, 60)
    requests.reset(Streams([np.random.default_rng(lane) for lane in range(lanes)]))
    return requests


def accept_all(requests, length):
    """A round of drafts of one length, all of them accepted."""
    drafts = np.full(requests.acceptance_rate.shape, length)
    requests.advance(drafts, drafts)


@given(rate=RATES, outcome=OUTCOMES, length=st.integers(1, 100))
def test_the_accepted_prefix_is_the_geometric_quantile_cut_at_the_draft(rate, outcome, length):
    # Position i is accepted as long as i tokens in a row have a chance of at least exp(-outcome).
    if rate == 0.0:
        expected = 0
    elif rate == 1.0:
        expected = length
    else:
        expected = min(length, int(outcome / -math.log(rate)))
    accepted = accepted_tokens(np.array([rate]), np.array([length]), np.array([outcome]))
    assert accepted.dtype == np.int64
    assert accepted[0] == expected


@given(rates=st.tuples(RATES, RATES), lengths=st.tuples(*2 * [st.integers(1, 100)]), outcome=OUTCOMES)
def test_more_length_or_more_acceptance_never_accepts_less(rates, lengths, outcome):
    low, high = (
        accepted_tokens(np.array([pick(rates)]), np.array([pick(lengths)]), np.array([outcome]))[0]
        for pick in (min, max)
    )
    assert low <= high


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
    met = []
    for _ in range(9):
        met.append(requests.acceptance_rate.copy())
        accept_all(requests, 4)
    np.testing.assert_array_equal(met[:3], met[3:6])
    np.testing.assert_array_equal(met[:3], met[6:])
    assert np.all(met[0] != met[1])
    assert np.all(met[1] != met[2])


def test_the_tokens_beyond_a_requests_end_count_and_are_not_owed_by_the_next():
    requests = begin(tokens_low=10, tokens_high=10)
    first = requests.acceptance_rate.copy()
    accept_all(requests, 25)
    second = requests.acceptance_rate.copy()
    assert np.all(second != first)
    accept_all(requests, 8)
    np.testing.assert_array_equal(requests.acceptance_rate, second)
    accept_all(requests, 1)
    assert np.all(requests.acceptance_rate != second)


@pytest.mark.parametrize("low", [1, 4])
def test_request_lengths_stay_in_their_range_and_reach_both_ends(low):
    requests = begin(users=50, lanes=4, tokens_low=low, tokens_high=low + 3)
    shape = requests.acceptance_rate.shape
    length, seen = np.zeros(shape, dtype=np.int64), set()
    for _ in range(40):
        # A draft that is always rejected gains one token a round.
        before = requests.acceptance_rate
        requests.advance(np.ones(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64))
        length += 1
        ended = requests.acceptance_rate != before
        seen |= set(length[ended])
        length[ended] = 0
    assert seen == set(range(low, low + 4))


def test_a_drifting_request_keeps_its_own_part():
    drifting = begin(drift_share=0.5, drift_correlation_tokens=5.0, prompts_per_user=1)
    still = begin(drift_share=0.0, prompts_per_user=1)
    for requests, changes in ((drifting, True), (still, False)):
        before = requests.acceptance_rate
        accept_all(requests, 3)
        assert np.all((requests.acceptance_rate != before) == changes)


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
    for outcome in (0.0, 1e-300, 1.0, 700.0):
        accepted = accepted_tokens(requests.acceptance_rate, np.full(shape, 6), np.full(shape, outcome))
        np.testing.assert_array_equal(accepted, np.full(shape, 6 if mean else 0))
    np.testing.assert_array_equal(requests.verify(np.full(shape, 6)), np.full(shape, 7 if mean else 1))
