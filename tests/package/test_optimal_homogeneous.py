"""Lemmas 1 and 3, Theorem 1 and the best common length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw

from multispin_env.core.equations import expected_tokens, goodput, upload_latency_s
from multispin_env.optimal import RoundProblem, equalize_bandwidth, optimal_draft_length, solve_homogeneous


def problem(**changes):
    fields = {
        "drafting_latency_s": [0.02, 0.025, 0.03],
        "spectral_efficiency": [0.5, 3.0, 6.0],
        "acceptance_rate": [0.7, 0.8, 0.9],
        "payload_bits": 31744,
        "bandwidth_hz": 10e6,
        "verification_latency_s": 0.277,
        "max_draft_length": 25,
    }
    return RoundProblem(**{**fields, **changes})


def random_problem(seed, *, rows, users, max_draft_length=25, **changes):
    rng = np.random.default_rng(seed)
    shape = (rows, users)
    return problem(
        **{
            "drafting_latency_s": 10 ** rng.uniform(-3, -1, shape),
            "spectral_efficiency": 10 ** -rng.uniform(-4, -1, shape),
            "acceptance_rate": rng.uniform(0.02, 0.99, shape),
            "payload_bits": 1.0,
            "bandwidth_hz": 1.0,
            "verification_latency_s": 10 ** rng.uniform(-2, 0),
            "max_draft_length": max_draft_length,
            **changes,
        }
    )


def goodput_of_common_lengths(problem):
    """Goodput of every common length, shape (L_max, ...), by the round's own equations."""
    lengths = np.arange(1, problem.max_draft_length + 1).reshape(-1, *[1] * problem.acceptance_rate.ndim)
    latency_s, _ = equalize_bandwidth(problem, lengths)
    return goodput(expected_tokens(problem.acceptance_rate, lengths), latency_s, problem.verification_latency_s)


@pytest.mark.parametrize("draft_length", [0, 26, np.nan, [1, 2], [[1], [2], [0]]])
def test_equalize_refuses_lengths_out_of_range_or_shape(draft_length):
    with pytest.raises(ValueError, match="draft_length"):
        equalize_bandwidth(problem(), draft_length)


def test_equalize_refuses_more_users_than_the_problem_has():
    with pytest.raises(ValueError, match="draft_length"):
        equalize_bandwidth(problem(drafting_latency_s=[0.02], spectral_efficiency=1.0, acceptance_rate=0.5), [1, 2])


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), users=st.integers(1, 30))
def test_equalized_users_finish_together_over_the_whole_band(seed, users):
    batch = random_problem(seed, rows=4, users=users)
    length = np.random.default_rng(seed).uniform(1, 25, (4, users))
    latency_s, share = equalize_bandwidth(batch, length)
    np.testing.assert_allclose(share.sum(axis=-1), 1.0, rtol=1e-14)
    upload_s = upload_latency_s(length, 1.0, share, batch.spectral_efficiency)
    finish_s = length * batch.drafting_latency_s + upload_s
    np.testing.assert_allclose(finish_s, np.broadcast_to(latency_s[:, None], finish_s.shape), rtol=1e-9)


def test_equalized_latency_is_the_least_of_any_split():
    latency_s, share = equalize_bandwidth(problem(), [3, 7, 5])
    other = share * np.random.default_rng(0).uniform(0.9, 1.1, (1000, 3))
    other /= other.sum(axis=-1, keepdims=True)
    length = np.array([3, 7, 5])
    upload_s = upload_latency_s(length, 31744, other * 10e6, problem().spectral_efficiency)
    assert ((length * problem().drafting_latency_s + upload_s).max(axis=-1) >= latency_s).all()


def test_equalize_at_the_edges():
    users = 2000
    rng = np.random.default_rng(0)
    for drafting_latency_s in (0.0, 1e-3, rng.choice([0.0, 0.05], users)):
        for spectral_efficiency in (1e-6, 1e-6 + rng.uniform(0, 5, users), 1e9):
            edge = problem(
                drafting_latency_s=drafting_latency_s,
                spectral_efficiency=spectral_efficiency,
                acceptance_rate=np.full(users, 0.5),
            )
            latency_s, share = equalize_bandwidth(edge, rng.integers(1, 26, users))
            assert np.isfinite(latency_s)
            assert (share > 0).all()
            np.testing.assert_allclose(share.sum(), 1.0, rtol=1e-12)


def test_who_drafts_nothing_gets_no_band_and_delays_nobody():
    latency_s, share = equalize_bandwidth(problem(min_draft_length=0), [[3, 0, 5], [0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(share > 0, [[True, False, True], [False, False, True], [False, False, False]])
    np.testing.assert_allclose(share.sum(axis=-1), [1, 1, 0], rtol=1e-12)
    alone_s = 0.03 + 31744 / (10e6 * 6.0)
    np.testing.assert_allclose(latency_s[1:], [alone_s, 0.0], rtol=1e-12)
    without, _ = equalize_bandwidth(
        problem(drafting_latency_s=[0.02, 0.03], spectral_efficiency=[0.5, 6.0], acceptance_rate=0.5), [3, 5]
    )
    np.testing.assert_allclose(latency_s[0], without, rtol=1e-12)


def test_lemma_1_share_depends_neither_on_the_length_nor_on_the_acceptance():
    _, share = equalize_bandwidth(problem(), 1)
    for length in (2, 7.5, 25):
        np.testing.assert_allclose(equalize_bandwidth(problem(), length)[1], share, rtol=1e-12)
    other = solve_homogeneous(problem(acceptance_rate=[0.1, 0.99, 0.5]))
    np.testing.assert_allclose(other.allocation.bandwidth_share, share, rtol=1e-12)


def test_lemma_1_share_grows_with_drafting_latency_and_falls_with_spectral_efficiency():
    slower = np.linspace(0.005, 0.1, 30)[:, None]
    share = solve_homogeneous(problem(drafting_latency_s=np.hstack([slower, np.full((30, 2), 0.02)])))
    assert (np.diff(share.allocation.bandwidth_share[:, 0]) > 0).all()
    better = np.linspace(0.1, 10, 30)[:, None]
    share = solve_homogeneous(problem(spectral_efficiency=np.hstack([better, np.full((30, 2), 2.0)])))
    assert (np.diff(share.allocation.bandwidth_share[:, 0]) < 0).all()


@pytest.mark.parametrize("max_draft_length", [1, 2, 8, 25])
@pytest.mark.parametrize("users", [1, 2, 7])
def test_homogeneous_is_the_exhaustive_optimum(users, max_draft_length):
    for seed in range(10):
        batch = random_problem(seed, rows=50, users=users, max_draft_length=max_draft_length)
        best = goodput_of_common_lengths(batch).max(axis=0)
        found = solve_homogeneous(batch)
        np.testing.assert_allclose(found.goodput, best, rtol=1e-13)
        np.testing.assert_array_equal(found.upper_bound, found.goodput)
        assert (found.allocation.draft_length == found.allocation.draft_length[:, :1]).all()


@pytest.mark.parametrize("acceptance", [0.0, 1e-12, 1e-300, 0.5, 1 - 1e-12, 1 - 1e-16, 1.0, [0.0, 1.0, 0.5]])
@pytest.mark.parametrize("drafting_latency_s", [0.0, 0.02, [0.0, 0.02, 0.4]])
def test_homogeneous_is_the_exhaustive_optimum_at_the_edges(acceptance, drafting_latency_s):
    edge = problem(acceptance_rate=acceptance, drafting_latency_s=drafting_latency_s)
    np.testing.assert_allclose(solve_homogeneous(edge).goodput, goodput_of_common_lengths(edge).max(), rtol=1e-13)


def test_homogeneous_batch_equals_each_row_alone():
    batch = random_problem(1, rows=12, users=4)
    together = solve_homogeneous(batch)
    for row in range(12):
        alone = solve_homogeneous(
            problem(
                drafting_latency_s=batch.drafting_latency_s[row],
                spectral_efficiency=batch.spectral_efficiency[row],
                acceptance_rate=batch.acceptance_rate[row],
                payload_bits=1.0,
                bandwidth_hz=1.0,
                verification_latency_s=batch.verification_latency_s[row],
            )
        )
        np.testing.assert_array_equal(alone.allocation.draft_length, together.allocation.draft_length[row])
        np.testing.assert_allclose(alone.goodput, together.goodput[row], rtol=1e-13)


def test_theorem_1_equals_eq_24_where_that_is_stable():
    alpha = np.append(np.linspace(0.3, 0.97, 60), [1 - 1e-3, 1 - 1e-4, 1 - 1e-5])[:, None]
    ratio = np.geomspace(2, 20, 40)
    direct = -np.log(-lambertw(-(alpha ** (ratio - 1)) / np.e, -1).real) / np.log(alpha) - 1
    valid = ratio > (1 - alpha) / (alpha * -np.log(alpha))
    found = optimal_draft_length(alpha, 1.0, ratio)
    assert valid.sum() > 1000
    np.testing.assert_allclose(found[valid], np.maximum(direct, 1.0)[valid], rtol=1e-8)
    assert (found[~valid] == 1).all()


@settings(deadline=None)
@given(alpha=st.floats(0.01, 0.995), theta_s=st.floats(1e-3, 1.0), verification_s=st.floats(1e-3, 100.0))
def test_theorem_1_beside_brute_force(alpha, theta_s, verification_s):
    lengths = np.arange(1, 4000)
    value = expected_tokens(alpha, lengths) / (lengths * theta_s + verification_s)
    found = float(optimal_draft_length(alpha, theta_s, verification_s))
    candidates = np.array([np.floor(found), np.ceil(found)])
    beside = expected_tokens(alpha, candidates) / (candidates * theta_s + verification_s)
    assert beside.max() >= value.max() * (1 - 1e-13)


def test_theorem_1_limits():
    nearly_one = 1 - 2.0 ** -np.arange(20, 50)
    ratio = 10.0
    remark = np.sqrt(2 * (ratio - 1) / -np.log(nearly_one))
    np.testing.assert_allclose(optimal_draft_length(nearly_one, 1.0, ratio) + 1, remark, rtol=1e-2)
    np.testing.assert_allclose(optimal_draft_length(nearly_one[-1], 1.0, ratio) + 1, remark[-1], rtol=1e-6)
    assert optimal_draft_length(1.0, 1.0, ratio) == np.inf
    assert optimal_draft_length(1.0, 1.0, 0.5) == 1
    assert optimal_draft_length(0.0, 1.0, ratio) == 1
    assert optimal_draft_length(0.9, 1.0, 0.5) == 1
    # The argument of W_{-1} is e^-100000 here.
    assert 100 < optimal_draft_length(0.9, 1e-6, 1.0) < 130


def test_remark_1_the_length_grows_with_acceptance_and_verification_and_falls_with_latency():
    assert (np.diff(optimal_draft_length(np.linspace(0.5, 0.99, 50), 0.05, 0.4)) > 0).all()
    assert (np.diff(optimal_draft_length(0.8, 0.05, np.linspace(0.15, 4, 50))) > 0).all()
    assert (np.diff(optimal_draft_length(0.8, np.linspace(0.01, 0.1, 50), 0.4)) < 0).all()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((1.5, 0.1, 0.1), "acceptance_rate"),
        ((0.5, 0.0, 0.1), "per_token_latency_s"),
        ((0.5, 0.1, np.nan), "verification_latency_s"),
    ],
)
def test_theorem_1_refuses_values_out_of_range(arguments, name):
    with pytest.raises(ValueError, match=name):
        optimal_draft_length(*arguments)
