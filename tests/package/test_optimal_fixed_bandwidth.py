"""Lengths for given shares of the band: against exhaustive search, and what is refused."""

import itertools

import numpy as np
import pytest

from multispin_env import Allocation
from multispin_env.optimal import RoundProblem, expected_goodput, solve_fixed_bandwidth, solve_heterogeneous


def rounds(shape, longest=5, **fields):
    rng = np.random.default_rng(5)
    return RoundProblem(
        drafting_latency_s=rng.uniform(0.001, 0.1, shape),
        spectral_efficiency=rng.uniform(0.1, 10.0, shape),
        acceptance_rate=rng.uniform(0.02, 0.99, shape),
        payload_bits=3e4,
        bandwidth_hz=1e6,
        verification_latency_s=0.2,
        max_draft_length=longest,
        **fields,
    )


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("tokens", [{}, {"verification_per_token_s": 0.05, "verification_free_tokens": 7}])
def test_the_lengths_are_the_best_of_all_for_these_shares(tokens, equal):
    problem = rounds((60, 3), **tokens)
    share = np.full(3, 1.0 / 3.0) if equal else np.random.default_rng(0).dirichlet(np.ones(3), 60)
    found = solve_fixed_bandwidth(problem, share)
    every = np.array(list(itertools.product(range(1, 6), repeat=3)))
    shares = np.broadcast_to(share, (60, 3))
    exhaustive = np.max([expected_goodput(problem, Allocation(np.tile(row, (60, 1)), shares)) for row in every], axis=0)
    np.testing.assert_allclose(found.goodput, exhaustive, rtol=1e-12)
    np.testing.assert_array_equal(found.allocation.bandwidth_share, shares)
    np.testing.assert_array_equal(found.upper_bound, found.objective)


def test_with_the_optimum_s_shares_they_are_as_good_as_the_optimum_in_any_shape():
    problem = rounds((2, 7, 12), longest=25)
    best = solve_heterogeneous(problem)
    np.testing.assert_allclose(
        solve_fixed_bandwidth(problem, best.allocation.bandwidth_share).goodput, best.goodput, rtol=1e-9
    )


@pytest.mark.parametrize(
    ("fields", "share", "message"),
    [
        ({}, 0.0, r"bandwidth_share must be finite, at least 1e-12 and at most 1, got 0"),
        ({}, [[0.5, 0.5]], r"shapes do not broadcast"),
        (
            {},
            np.full((4, 2, 3), 0.3),
            r"bandwidth_share must broadcast to the problem's \(2, 3\), got shape \(4, 2, 3\)",
        ),
        ({"weight": 2.0}, 0.3, "weight must be 1 for given shares"),
        ({"token_price": 0.1}, 0.3, "token_price must be 0 for given shares"),
        ({"min_draft_length": 0}, 0.3, "min_draft_length must be 1 for given shares"),
        ({"time_price": 3.0}, 0.3, "time_price must be None for given shares"),
    ],
)
def test_what_it_does_not_cover_is_refused_by_name(fields, share, message):
    with pytest.raises(ValueError, match=message):
        solve_fixed_bandwidth(rounds((2, 3), **fields), share)
