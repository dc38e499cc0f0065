"""Per-user lengths: the certified optimum against exhaustive search, a general-purpose solver and Algorithm 1."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from multispin_env.core.equations import expected_tokens, goodput
from multispin_env.optimal import (
    RoundProblem,
    equalize_bandwidth,
    solve_algorithm1,
    solve_heterogeneous,
    solve_homogeneous,
)

PAPER_RATES = (0.7126, 0.7390, 0.7393, 0.8582)


def random_problem(rng, *, rows, users, max_draft_length=8, uniform=False, **changes):
    shape = (rows, users)

    def between(low, high, size=None):
        return rng.uniform(low, high, size) if uniform else np.exp(rng.uniform(np.log(low), np.log(high), size))

    fields = {
        "drafting_latency_s": between(1e-3, 0.1, shape),
        "spectral_efficiency": 1 / between(1e-4, 0.1, shape),
        "acceptance_rate": rng.uniform(0.02, 0.99, shape),
        "payload_bits": 1.0,
        "bandwidth_hz": 1.0,
        "verification_latency_s": float(between(0.01, 1.0)),
        "max_draft_length": max_draft_length,
    }
    return RoundProblem(**{**fields, **changes})


def paper_problem(rng, *, rows, users=20, **changes):
    shape = (rows, users)
    fields = {
        "drafting_latency_s": 0.025 * rng.uniform(0.85, 1.15, shape),
        "spectral_efficiency": np.log2(1 + 200 * rng.uniform(0.2, 0.5, shape) * rng.exponential(size=shape)),
        "acceptance_rate": rng.choice(PAPER_RATES, shape),
        "payload_bits": 31744,
        "bandwidth_hz": 10e6,
        "verification_latency_s": 0.277,
        "max_draft_length": 25,
        **changes,
    }
    fields["drafting_latency_s"] = np.broadcast_to(fields["drafting_latency_s"], shape)
    return RoundProblem(**fields)


def row_of(problem, row):
    return RoundProblem(
        drafting_latency_s=problem.drafting_latency_s[row],
        spectral_efficiency=problem.spectral_efficiency[row],
        acceptance_rate=problem.acceptance_rate[row],
        payload_bits=problem.payload_bits[row],
        bandwidth_hz=problem.bandwidth_hz[row],
        verification_latency_s=problem.verification_latency_s[row],
        max_draft_length=problem.max_draft_length,
    )


def exact_goodput(problem, length):
    latency_s, _ = equalize_bandwidth(problem, length)
    return goodput(expected_tokens(problem.acceptance_rate, length), latency_s, problem.verification_latency_s)


def assert_sound(problem, solution):
    length, share = solution.allocation
    assert length.dtype == np.int64
    assert length.shape == share.shape == problem.acceptance_rate.shape
    assert length.min() >= 1
    assert length.max() <= problem.max_draft_length
    assert share.min() > 0
    np.testing.assert_allclose(share.sum(axis=-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(share, equalize_bandwidth(problem, length)[1], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(solution.goodput, exact_goodput(problem, length), rtol=1e-12)


def test_never_below_slsqp_rounded():
    rng = np.random.default_rng(5)
    problem = paper_problem(rng, rows=6, users=8)
    found = solve_heterogeneous(problem).goodput
    for row in range(6):
        alone = row_of(problem, row)
        relaxed = minimize(
            lambda length: -exact_goodput(alone, np.clip(length, 1, 25)),  # noqa: B023
            np.full(8, 5.0),
            bounds=[(1, 25)] * 8,
            method="SLSQP",
        ).x.clip(1, 25)
        for rounded in (np.floor(relaxed), np.rint(relaxed), np.ceil(relaxed)):
            assert found[row] >= exact_goodput(alone, rounded) * (1 - 1e-12)


@pytest.mark.parametrize("users", [1, 2, 8, 9, 20, 60])
def test_lies_between_the_homogeneous_optimum_and_the_bound(users):
    rng = np.random.default_rng(users)
    for problem in (paper_problem(rng, rows=64, users=users), random_problem(rng, rows=64, users=users)):
        found = solve_heterogeneous(problem)
        assert_sound(problem, found)
        assert (found.goodput >= solve_homogeneous(problem).goodput * (1 - 1e-12)).all()
        assert (found.upper_bound >= found.goodput).all()


def test_is_certified_within_one_percent_in_the_papers_setting():
    found = solve_heterogeneous(paper_problem(np.random.default_rng(0), rows=256))
    assert (found.upper_bound / found.goodput - 1).max() < 0.01


def test_no_single_move_improves_the_papers_setting():
    problem = paper_problem(np.random.default_rng(1), rows=64)
    found = solve_heterogeneous(problem)
    for user, change in itertools.product(range(20), (-1, 1)):
        length = found.allocation.draft_length.copy()
        length[:, user] = (length[:, user] + change).clip(1, 25)
        assert (exact_goodput(problem, length) <= found.goodput * (1 + 1e-9)).all()


@pytest.mark.parametrize("users", [3, 12])
def test_batch_equals_each_row_alone_whatever_its_leading_shape(users):
    problem = random_problem(np.random.default_rng(2), rows=24, users=users)
    together = solve_heterogeneous(problem)
    for row in range(24):
        alone = solve_heterogeneous(row_of(problem, row))
        assert alone.goodput.shape == ()
        np.testing.assert_allclose(alone.goodput, together.goodput[row], rtol=1e-12)
        np.testing.assert_allclose(alone.upper_bound, together.upper_bound[row], rtol=1e-9)
    folded = solve_heterogeneous(row_of(problem, np.arange(24).reshape(2, 3, 4)))
    assert folded.allocation.draft_length.shape == (2, 3, 4, users)
    np.testing.assert_allclose(folded.goodput, together.goodput.reshape(2, 3, 4), rtol=1e-12)


def test_goodput_and_bound_improve_with_bandwidth_and_acceptance():
    rng = np.random.default_rng(6)
    problem = paper_problem(rng, rows=32)
    row = {name: getattr(problem, name) for name in ("drafting_latency_s", "spectral_efficiency", "acceptance_rate")}
    more_band = solve_heterogeneous(paper_problem(rng, rows=32, **row, bandwidth_hz=12e6))
    row["acceptance_rate"] = row["acceptance_rate"] + 0.05
    more_accepted = solve_heterogeneous(paper_problem(rng, rows=32, **row))
    before = solve_heterogeneous(problem)
    for after in (more_band, more_accepted):
        assert (after.goodput > before.goodput).all()
        assert (after.upper_bound > before.upper_bound).all()


def test_remark_2_bandwidth_rewards_acceptance():
    """Users alike but for their acceptance: at the optimum whoever is accepted more has more length and bandwidth."""
    acceptance = np.linspace(0.3, 0.95, 12)
    problem = RoundProblem(
        drafting_latency_s=0.02,
        spectral_efficiency=2.0,
        acceptance_rate=acceptance,
        payload_bits=31744,
        bandwidth_hz=10e6,
        verification_latency_s=0.3,
        max_draft_length=100,
    )
    length, share = solve_heterogeneous(problem).allocation
    assert (np.diff(length) >= 0).all()
    assert (np.diff(share) >= -1e-15).all()
    assert length[-1] > length[0] + 3
    assert share[-1] > 2 * share[0]


EDGES = {
    "none accepted": {"acceptance_rate": 0.0},
    "hardly any accepted": {"acceptance_rate": 1e-12},
    "all accepted": {"acceptance_rate": 1.0},
    "nearly all accepted": {"acceptance_rate": 1 - 1e-12},
    "one ulp below all accepted": {"acceptance_rate": 1 - 2.0**-53},
    "mixed acceptance": {"acceptance_rate": np.tile([0.0, 1.0, 1e-12, 1 - 1e-12, 0.5], 4)},
    "no drafting time": {"drafting_latency_s": 0.0},
    "some draft at once": {"drafting_latency_s": np.tile([0.0, 0.03], 10)},
    "deep fade": {"spectral_efficiency": 1e-6},
    "some in deep fade": {"spectral_efficiency": np.tile([1e-6, 5.0, 2.0, 1e-6], 5)},
    "length one": {"max_draft_length": 1},
    "length a thousand": {"max_draft_length": 1000},
    "identical users": {"drafting_latency_s": np.full(20, 0.03), "spectral_efficiency": 2.0, "acceptance_rate": 0.8},
    "instant verification": {"verification_latency_s": 1e-6},
    "endless verification": {"verification_latency_s": 1e6},
}


@pytest.mark.parametrize("second", EDGES)
@pytest.mark.parametrize("first", EDGES)
def test_edges_are_solved_without_warnings(first, second):
    for rows, users in ((1, 1), (5, 5), (5, 20)):
        changes = {
            name: value[:users] if isinstance(value, np.ndarray) else value
            for name, value in {**EDGES[first], **EDGES[second]}.items()
        }
        problem = paper_problem(np.random.default_rng(7), rows=rows, users=users, **changes)
        found = solve_heterogeneous(problem)
        assert_sound(problem, found)
        assert (found.goodput >= solve_homogeneous(problem).goodput * (1 - 1e-12)).all()
        assert (found.upper_bound >= found.goodput).all()
        assert np.isfinite(found.upper_bound).all()


def test_two_thousand_users():
    problem = paper_problem(np.random.default_rng(9), rows=2, users=2000)
    found = solve_heterogeneous(problem)
    assert_sound(problem, found)
    assert (found.goodput >= solve_homogeneous(problem).goodput).all()
    assert (found.upper_bound / found.goodput - 1 < 0.01).all()


def test_algorithm_1_lies_between_the_homogeneous_optimum_and_the_certified_one():
    problem = paper_problem(np.random.default_rng(10), rows=8, users=10)
    printed = solve_algorithm1(problem)
    certified = solve_heterogeneous(problem)
    assert_sound(problem, printed)
    assert np.isnan(printed.upper_bound).all()
    assert (printed.goodput <= certified.upper_bound).all()
    assert (printed.goodput <= certified.goodput * (1 + 5e-4)).all()
    assert printed.goodput.mean() <= certified.goodput.mean()
    assert (printed.goodput >= certified.goodput * (1 - 1e-3)).all()
    assert printed.goodput.mean() >= certified.goodput.mean() * (1 - 1e-4)


def test_algorithm_1_comes_closer_on_a_finer_grid():
    problem = random_problem(np.random.default_rng(11), rows=40, users=3)
    best = solve_heterogeneous(problem).goodput
    coarse, fine = (1 - solve_algorithm1(problem, size, size).goodput / best for size in (8, 100))
    assert fine.min() >= -1e-12
    assert fine.mean() < coarse.mean()
    assert fine.mean() < 2e-3


@pytest.mark.parametrize("edge", EDGES)
def test_algorithm_1_at_the_edges(edge):
    problem = paper_problem(np.random.default_rng(12), rows=2, **EDGES[edge])
    found = solve_algorithm1(problem, 12, 12)
    assert_sound(problem, found)


@pytest.mark.parametrize(
    ("counts", "error"), [((0, 5), ValueError), ((5, 0), ValueError), ((5, 10**400), ValueError), ((2.5, 5), TypeError)]
)
def test_algorithm_1_refuses_empty_grids(counts, error):
    problem = paper_problem(np.random.default_rng(0), rows=1)
    with pytest.raises(error, match="num_"):
        solve_algorithm1(problem, *counts)


@pytest.mark.parametrize(
    "beyond",
    [
        {"weight": 2.0},
        {"token_price": 0.1},
        {"time_price": 0.0},
        {"verification_per_token_s": 0.1},
        {"min_draft_length": 0},
    ],
)
def test_algorithm_1_refuses_by_name_what_eq_37_does_not_cover(beyond):
    with pytest.raises(ValueError, match=next(iter(beyond))):
        solve_algorithm1(paper_problem(np.random.default_rng(0), rows=1, **beyond))
