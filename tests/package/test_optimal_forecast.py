"""What a closed form is told of a round: what is known to the bit, and of what is not what can be counted on."""

import numpy as np
import pytest

from multispin_env import Allocation
from multispin_env.optimal import (
    RoundProblem,
    average_round,
    cautious_spectral_efficiency,
    forecast,
    posterior_acceptance,
    relative_rounds,
)


def seasoned(start, scenario, rounds=12, **changes):
    """A view of requests that have shown something."""
    simulator = start(scenario, num_envs=60, **changes)
    shape = simulator.view().drafting_latency_s.shape
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        simulator.step(Allocation(rng.integers(1, 12, shape), np.full(shape, 1.0 / shape[1])))
    return simulator.view()


def test_where_all_is_known_it_is_what_is_observed_to_the_bit(start):
    view = seasoned(start, "paper")
    told, observed = forecast(view), RoundProblem.from_view(view)
    np.testing.assert_array_equal(told.spectral_efficiency, observed.spectral_efficiency)
    np.testing.assert_array_equal(told.acceptance_rate, observed.acceptance_rate)
    np.testing.assert_array_equal(told.weight, 1.0)


def test_in_mobile_it_is_the_rates_with_a_margin_and_the_acceptance_in_the_middle_of_a_draft(start):
    view = seasoned(start, "mobile")
    told = forecast(view, 1.5)
    np.testing.assert_array_equal(told.spectral_efficiency, cautious_spectral_efficiency(view, 1.5))
    length = average_round(view.config).draft_length
    np.testing.assert_allclose(told.acceptance_rate, posterior_acceptance(view, 0.5 * length), rtol=1e-12)
    whole = posterior_acceptance(view, 1e9)
    np.testing.assert_allclose(told.weight, relative_rounds(view.task_acceptance_mean, whole, length), rtol=1e-12)


def test_a_token_of_a_hard_request_weighs_more(start):
    view = seasoned(start, "requests")
    told = forecast(view)
    hard = told.acceptance_rate < view.task_acceptance_mean
    assert np.all(told.weight[hard] > 1.0)
    assert np.all(told.weight[told.acceptance_rate > view.task_acceptance_mean] < 1.0)


def test_what_drafts_have_shown_fades_along_the_text_as_far_as_acceptance_drifts(start):
    steps = np.array([0.0, 1.0, 5.0, 20.0, np.inf])[:, np.newaxis, np.newaxis]
    kept = seasoned(start, "mobile", requests={"drift_share": 0.0})
    np.testing.assert_allclose(*np.broadcast_arrays(posterior_acceptance(kept, steps), posterior_acceptance(kept)))
    drifting = seasoned(start, "mobile", requests={"drift_share": 1.0})
    told = np.abs(posterior_acceptance(drifting, steps) - drifting.task_acceptance_mean)
    assert np.all(np.diff(told, axis=0) <= 1e-12)
    assert told[0].mean() > 0.05
    np.testing.assert_allclose(told[-1], 0.0, atol=1e-12)


@pytest.mark.parametrize("tokens_ahead", [3, 8])
def test_a_place_ahead_is_estimated_better_by_what_reaches_it_than_by_what_holds_now(start, tokens_ahead):
    # Whole drafts of the text that follows are watched: the outcome of one position tells its acceptance.
    simulator = start("mobile", num_envs=400)
    shape = simulator.view().drafting_latency_s.shape
    share, error = np.full(shape, 1.0 / shape[1]), {0: [], tokens_ahead: []}
    for number in range(24):
        view = simulator.view()
        simulator.step(Allocation(np.full(shape, tokens_ahead + 1), share))
        after = simulator.view()
        # Only where all before it were accepted is the position reached; that is the same for both estimates.
        reached = (after.request_tested > view.request_tested) & (after.last_accepted >= tokens_ahead)
        if number < 4:
            continue
        accepted = after.last_accepted[reached] > tokens_ahead
        for ahead, errors in error.items():
            errors.append(np.square(posterior_acceptance(view, ahead)[reached] - accepted))
    now, there = (np.concatenate(errors) for errors in error.values())
    assert (now - there).mean() > 4.0 * (now - there).std() / np.sqrt(now.size)


def test_relative_rounds_are_the_rounds_that_texts_take():
    rng, tokens, length = np.random.default_rng(0), 4000, 6
    rounds = []
    for rate in (0.8, 0.5):
        gained = 1 + np.cumprod(rng.random((tokens, length)) < rate, axis=1).sum(axis=1)
        rounds.append(np.searchsorted(np.cumsum(gained), tokens))
    assert rounds[1] / rounds[0] == pytest.approx(relative_rounds(np.array(0.8), np.array(0.5), length), rel=0.05)
    assert relative_rounds(np.array(0.8), np.array(0.8), length) == 1.0
