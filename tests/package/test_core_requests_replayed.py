"""Measured requests replayed: what a round accepts, whose luck it is, and that replay is live decoding."""

import itertools
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from multispin_env import make_config
from multispin_env.config import ConfigError
from multispin_env.core.equations import expected_tokens
from multispin_env.core.requests.positional import HORIZON
from multispin_env.core.requests.positional import equivalent_rate as rate_of_prefix
from multispin_env.core.requests.replayed import ReplayedRequests, expected_prefix
from multispin_env.core.streams import Streams
from multispin_env.profiles.traces import read_traces

TASKS = [{"name": name, "acceptance_mean": 0.5, "acceptance_std": 0.1} for name in ("first", "second")]


def traces_of(*requests, scale=1):
    """Traces of requests given as (task, outcome probabilities), or (task, outcome probabilities, acceptances)."""
    measured = []
    for task, outcome_probability, *rest in requests:
        acceptance = rest[0] if rest else outcome_probability
        measured.append({"task": task, "acceptance": acceptance, "outcome_probability": outcome_probability})
    return read_traces({"scale": scale, "source": "made up", "requests": measured}, ["first", "second"])


def begin(traces, users=3, num_envs=1, seed=0, tasks=TASKS[:1], **fields):
    config = make_config(config={"num_users": users, "requests": {"tasks": tasks, **fields}})
    requests = ReplayedRequests(config, traces)
    requests.reset(Streams([np.random.default_rng(seed + env_index) for env_index in range(num_envs)]))
    return requests


def equivalent_rate(acceptance):
    return rate_of_prefix(expected_prefix(acceptance))


def verify(requests, length):
    shape = requests.acceptance_rate.shape
    return requests.verify(np.broadcast_to(np.int64(length), shape))


def decided(requests, lengths, end):
    """Plays rounds; the outcome, by (user, number of the request, position), of every draft that a round decided.

    Args:
        requests: One environment, all texts of one length.
        lengths: Draft lengths, (rounds, users).
        end: Tokens of a text.
    """
    outcomes = {}
    users = lengths.shape[1]
    number, position = np.zeros(users, dtype=int), np.zeros(users, dtype=int)
    for length in lengths:
        accepted = verify(requests, length)[0] - 1
        for user in range(users):
            start = position[user]
            for place in range(start, min(start + length[user], start + accepted[user] + 1, end)):
                outcomes[user, number[user], place] = bool(place < start + accepted[user])
        position += accepted + 1
        number += position >= end
        position[position >= end] = 0
    return outcomes


# What a round brings


def test_a_round_accepts_up_to_the_first_rejection_and_gains_the_servers_token():
    requests = begin(traces_of(("first", [1, 1, 0, 1, 0, 0, 1, 1, 1, 1])), users=1)
    # From 0: two and a correction at 2; from 3: one and a correction; a correction at 5; from 6: two and a bonus at 8.
    for length, tokens in ((5, 3), (2, 2), (4, 1), (2, 3)):
        assert verify(requests, length) == tokens
        assert requests.last_accepted == tokens - 1
        assert requests.last_draft_length == length
    assert requests.request_accepted == 2 + 1 + 0 + 2
    assert requests.request_tested == 3 + 2 + 1 + 2
    # From 9: the last token is accepted, the bonus behind the end counts, and the next request begins.
    assert verify(requests, 3) == 2
    assert requests.request_accepted == requests.request_tested == 0
    assert verify(requests, 5) == 3


@pytest.mark.parametrize(("outcome", "rounds"), [(1, [11]), (0, [1] * 10)])
def test_the_tokens_of_a_request_are_its_text_and_at_most_a_bonus_behind_it(outcome, rounds):
    requests = begin(traces_of(("first", [outcome] * 10)), users=1)
    for _ in range(3):
        tokens = [int(verify(requests, 25)[0, 0])]
        while requests.request_tested.any():
            tokens.append(int(verify(requests, 25)[0, 0]))
        assert tokens == rounds


def test_a_text_is_cut_at_the_longest_request():
    requests = begin(traces_of(("first", [1] * 40), ("first", [1] * 5)), tokens_low=1, tokens_high=12)
    assert {*np.unique([verify(requests, 25) for _ in range(10)])} == {6, 13}


def test_prompts_are_of_the_users_task_and_worked_through_over_and_over():
    # Acceptance tells the request: ten of the first task below those of the second.
    levels = {"first": range(10, 20), "second": range(60, 70)}
    traces = traces_of(*((task, [0], [level]) for task, some in levels.items() for level in some), scale=100)
    requests = begin(traces, users=40, tasks=TASKS, prompts_per_user=4)
    rates = []
    for _ in range(12):
        rates.append(requests.acceptance_rate)
        verify(requests, 1)
    for later in (rates[4:8], rates[8:]):
        np.testing.assert_array_equal(later, rates[:4])
    second = np.stack(rates) > equivalent_rate(np.array([[0.4]]))
    assert np.all(second == second[0])
    assert 0.2 < second[0].mean() < 0.8
    for task in (second, ~second):
        assert len(np.unique(np.stack(rates)[task])) == 10


def test_what_is_revealed_of_a_task_are_the_pairs_mean_and_spread():
    tasks = [TASKS[0], TASKS[1] | {"acceptance_mean": 0.7, "acceptance_std": 0.2}]
    requests = begin(traces_of(("first", [0]), ("second", [1])), users=40, tasks=tasks)
    second = requests.acceptance_rate > 0.0
    np.testing.assert_array_equal(requests.task_acceptance_mean, np.where(second, 0.7, 0.5))
    np.testing.assert_array_equal(requests.task_acceptance_std, np.where(second, 0.2, 0.1))


def test_a_task_of_which_nothing_was_measured_is_refused():
    with pytest.raises(ConfigError, match="tasks must be among those of the measured requests, first, got 'second'"):
        begin(traces_of(("first", [1])), tasks=TASKS)


# The truth


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.7, 0.99, 1.0])
def test_a_steady_acceptance_is_its_own_rate(rate):
    found = equivalent_rate(np.full((2, 30), rate))
    np.testing.assert_allclose(found[:, : 31 - HORIZON], rate, atol=1e-6)


def test_the_rate_gives_a_draft_the_expected_accepted_prefix_of_the_text_ahead():
    acceptance = np.random.default_rng(0).uniform(0.0, 1.0, (3, 20))
    acceptance[1, 12:] = 0.0
    rates = equivalent_rate(acceptance)
    for request, position in itertools.product(range(3), range(20)):
        prefix = np.cumprod(acceptance[request, position : position + HORIZON]).sum()
        assert expected_tokens(rates[request, position], HORIZON) - 1.0 == pytest.approx(prefix, abs=1e-5)


def test_the_truth_is_that_of_the_position_where_the_text_stands():
    acceptance = [30, 90, 60, 10, 80, 50]
    requests = begin(traces_of(("first", [0] * 6, acceptance), scale=100), users=1)
    expected = equivalent_rate(np.array([acceptance]) / 100)
    found = []
    for _ in range(12):
        found.append(requests.acceptance_rate[0, 0])
        verify(requests, 4)
    np.testing.assert_allclose(found, np.tile(expected[0], 2), rtol=1e-12)


# Luck


@pytest.mark.parametrize("prompts", [1, 5])
def test_luck_belongs_to_user_request_and_position_whatever_is_decided(prompts):
    users, end, rng = 20, 30, np.random.default_rng(7)
    traces = traces_of(*(("first", rng.integers(0, 256, end).tolist()) for _ in range(4)), scale=255)
    worlds = []
    for decisions, longest in enumerate((3, 8, 25)):
        lengths = np.random.default_rng(decisions).integers(1, longest, (150, users), endpoint=True)
        worlds.append(decided(begin(traces, users, prompts_per_user=prompts), lengths, end))
    for one, other in itertools.combinations(worlds, 2):
        common = one.keys() & other.keys()
        assert len({(user, number) for user, number, _ in common}) > 100
        assert all(one[place] == other[place] for place in common)


def test_the_luck_of_a_prompt_is_new_when_it_comes_again():
    requests = begin(traces_of(("first", [1] * 60), scale=2), users=200, prompts_per_user=1)
    outcomes = decided(requests, np.ones((120, 200), dtype=int), 60)
    again = {(user, place): accepted for (user, number, place), accepted in outcomes.items() if number == 1}
    first = {(user, place): accepted for (user, number, place), accepted in outcomes.items() if number == 0}
    both = np.array([(first[place], again[place]) for place in first.keys() & again.keys()])
    assert len(both) > 1000
    assert abs(np.corrcoef(both.T)[0, 1]) < 4.0 / np.sqrt(len(both))


def test_drafts_are_accepted_as_often_as_was_measured():
    probability = np.array([0, 255, 1, 254, 20, 64, 100, 128, 150, 191, 230, 250, 255, 0])
    requests = begin(traces_of(("first", probability.tolist()), scale=255), users=3000)
    lengths = np.random.default_rng(0).integers(1, 12, (30, 3000))
    found = {place: [] for place in range(len(probability))}
    for (_, _, place), accepted in decided(requests, lengths, len(probability)).items():
        found[place].append(accepted)
    for place, accepted in found.items():
        assert len(accepted) > 1000
        assert stats.binomtest(sum(accepted), len(accepted), probability[place] / 255).pvalue > 1e-4


# Replay is live decoding: two tokens, laws that depend on the token before, texts of four tokens, drafts of two.

TARGET = np.array([[0.75, 0.25], [0.25, 0.75]])
DRAFT = np.array([[0.50, 0.50], [0.90, 0.10]])
END, LENGTH = 4, 2


def live_round(before, drafts):
    """Every way in which a round may go: its tokens, the last of them, and the probability (eq. 4 and 5)."""
    target, draft = TARGET[before], DRAFT[before]
    if drafts == 0:
        yield from ((1, bonus, target[bonus]) for bonus in (0, 1))
        return
    accept = np.minimum(1.0, target / draft)
    for token in (0, 1):
        for tokens, last, probability in live_round(token, drafts - 1):
            yield 1 + tokens, last, draft[token] * accept[token] * probability
    residual = np.maximum(target - draft, 0.0)
    for correction in (0, 1):
        yield 1, correction, (draft @ (1.0 - accept)) * residual[correction] / residual.sum()


def live_law(before=0, position=0):
    """Probability of every sequence of tokens gained by the rounds of one request, decoded live."""
    if position >= END:
        return {(): 1.0}
    law = Counter()
    for tokens, last, probability in live_round(before, min(LENGTH, END - position)):
        for rest, further in live_law(last, position + tokens).items():
            law[tokens, *rest] += probability * further
    return law


def replayed(part):
    """How often every such sequence comes when measured requests are replayed, ``part`` deciding the outcomes."""
    measured = []
    for text in itertools.product((0, 1), repeat=END):
        before = (0, *text[:-1])
        acceptance = [np.minimum(TARGET[b], DRAFT[b]).sum() for b in before]
        outcome = [min(1.0, DRAFT[b, x] / TARGET[b, x]) for b, x in zip(before, text, strict=True)]
        probability = {"acceptance": acceptance, "outcome_probability": outcome}[part]
        copies = np.prod([TARGET[b, x] for b, x in zip(before, text, strict=True)]) * 4**END
        measured += round(copies) * [("first", [round(10**9 * some) for some in probability])]
    users = 20_000
    requests = begin(traces_of(*measured, scale=10**9), users=users, prompts_per_user=1)
    rounds = np.stack([verify(requests, LENGTH)[0] for _ in range(END)])
    going = np.cumsum(rounds, axis=0) - rounds < END
    return Counter(tuple(gained[played].tolist()) for gained, played in zip(rounds.T, going.T, strict=True))


@pytest.mark.parametrize(("part", "same"), [("outcome_probability", True), ("acceptance", False)])
def test_replay_has_the_law_of_live_decoding_and_would_not_with_the_mean_acceptance(part, same):
    law, found = live_law(), replayed(part)
    assert sum(law.values()) == pytest.approx(1.0)
    assert found.keys() == law.keys()
    counts = np.array([found[rounds] for rounds in law])
    pvalue = stats.chisquare(counts, np.array(list(law.values())) * counts.sum()).pvalue
    assert pvalue > 1e-4 if same else pvalue < 1e-12
