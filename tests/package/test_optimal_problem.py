"""What a problem admits, how its fields broadcast, and what its errors say."""

import numpy as np
import pytest

from multispin_env.optimal import (
    RoundProblem,
    equalize_bandwidth,
    solve_algorithm1,
    solve_heterogeneous,
    solve_homogeneous,
)

PER_ROUND = (
    "payload_bits",
    "bandwidth_hz",
    "verification_latency_s",
    "verification_per_token_s",
    "verification_free_tokens",
    "time_price",
)
PER_USER = ("drafting_latency_s", "spectral_efficiency", "acceptance_rate", "weight", "token_price")


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


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("drafting_latency_s", [0.02, -0.01, 0.03], ValueError),
        ("drafting_latency_s", [0.02, np.nan, 0.03], ValueError),
        ("drafting_latency_s", [0.02, 1e38, 0.03], ValueError),
        ("drafting_latency_s", ["fast", "slow", "slow"], TypeError),
        ("spectral_efficiency", [1.0, 0.0, 1.0], ValueError),
        ("spectral_efficiency", [1.0, np.inf, 1.0], ValueError),
        ("spectral_efficiency", 1e300, ValueError),
        ("acceptance_rate", [0.5, 1.0 + 1e-9, 0.5], ValueError),
        ("acceptance_rate", [0.5, -1e-9, 0.5], ValueError),
        ("acceptance_rate", [0.5, np.nan, 0.5], ValueError),
        ("acceptance_rate", [0.5, 0.5], ValueError),
        ("weight", -1.0, ValueError),
        ("weight", 1e10, ValueError),
        ("token_price", [0.0, 0.0, -0.1], ValueError),
        ("payload_bits", 0.0, ValueError),
        ("payload_bits", 1e308, ValueError),
        ("payload_bits", 10**400, ValueError),
        ("bandwidth_hz", -1.0, ValueError),
        ("bandwidth_hz", 1e300, ValueError),
        ("bandwidth_hz", "wide", TypeError),
        ("verification_latency_s", 0.0, ValueError),
        ("verification_latency_s", np.inf, ValueError),
        ("verification_per_token_s", -0.1, ValueError),
        ("verification_free_tokens", -1, ValueError),
        ("time_price", -1.0, ValueError),
        ("time_price", 10**400, ValueError),
        ("max_draft_length", 0, ValueError),
        ("max_draft_length", 10_001, ValueError),
        pytest.param("max_draft_length", 10**5000, ValueError, id="more digits than Python prints"),
        ("max_draft_length", 2.5, TypeError),
        ("max_draft_length", True, TypeError),
        ("min_draft_length", -1, ValueError),
        ("min_draft_length", 26, ValueError),
        ("min_draft_length", 1.0, TypeError),
    ],
)
def test_what_it_cannot_mean_is_refused_under_the_name_of_the_field(field, value, error):
    with pytest.raises(error, match=field):
        problem(**{field: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"acceptance_rate": [0.5, 1.5, 0.5]}, "acceptance_rate must be finite, at least 0 and at most 1, got 1.5"),
        ({"payload_bits": 1e308}, r"payload_bits must be finite, at least 1e-06 and at most 1e\+15, got 1e\+308"),
        ({"weight": 10**400}, r"weight must be finite, at least 0 and at most 1e\+09, got 1000"),
        (
            {"max_draft_length": 10**5000},
            "max_draft_length must be an integer from 1 to 10000, got an integer of ",
        ),
        ({"min_draft_length": 30}, "min_draft_length must be an integer from 0 to 25, got 30"),
    ],
    ids=["list", "large number", "long integer", "endless integer", "small integer"],
)
def test_the_message_gives_the_offending_value_and_the_range(changes, message):
    with pytest.raises(ValueError, match=message):
        problem(**changes)


@pytest.mark.parametrize("shape", [(), (0,), (4, 0)])
def test_there_must_be_a_user(shape):
    with pytest.raises(ValueError, match="user"):
        problem(
            drafting_latency_s=np.full(shape, 0.02),
            spectral_efficiency=np.full(shape, 1.0),
            acceptance_rate=np.full(shape, 0.5),
        )


def test_per_user_fields_broadcast_among_each_other():
    batch = problem(drafting_latency_s=0.025, acceptance_rate=np.full((4, 1), 0.8))
    assert all(getattr(batch, name).shape == (4, 3) for name in PER_USER)
    assert batch.bandwidth_hz.shape == (4,)
    assert solve_homogeneous(batch).allocation.bandwidth_share.shape == (4, 3)


@pytest.mark.parametrize("name", PER_ROUND)
def test_an_array_of_a_per_round_field_makes_as_many_problems(name):
    values = np.linspace(0.5, 4.0, 5) * {"payload_bits": 3e4, "bandwidth_hz": 1e7}.get(name, 0.01)
    extra = {"verification_per_token_s": 0.01} if name == "verification_free_tokens" else {}
    batch = problem(**extra | {name: values})
    found = solve_heterogeneous(batch)
    assert batch.acceptance_rate.shape == found.allocation.draft_length.shape == (5, 3)
    assert found.objective.shape == (5,)
    for value, objective in zip(values, found.objective, strict=True):
        np.testing.assert_allclose(
            solve_heterogeneous(problem(**extra | {name: value})).objective, objective, rtol=1e-12
        )


def test_rounds_of_both_kinds_of_fields_broadcast():
    batch = problem(acceptance_rate=np.full((2, 1, 3), 0.8), bandwidth_hz=[5e6, 1e7, 2e7, 4e7])
    assert batch.acceptance_rate.shape == (2, 4, 3)
    assert batch.verification_latency_s.shape == solve_heterogeneous(batch).goodput.shape == (2, 4)


@pytest.mark.parametrize("name", PER_ROUND)
def test_rounds_that_do_not_broadcast_are_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"leading shape.*{name} \(2,\)"):
        problem(acceptance_rate=np.full((4, 3), 0.5), **{name: [1.0, 1.0]})


def test_tokens_that_cost_more_than_they_are_worth_are_refused_where_waiting_would_pay():
    with pytest.raises(ValueError, match=r"token_price.*round \(1,\).*min_draft_length=0.*time_price"):
        problem(token_price=[[0.1], [9.0]])
    for remedy in ({"min_draft_length": 0}, {"time_price": 1.0}):
        assert np.isfinite(solve_heterogeneous(problem(token_price=9.0, **remedy)).objective)


@pytest.mark.parametrize("solve", [solve_heterogeneous, solve_homogeneous, solve_algorithm1])
@pytest.mark.parametrize("thing", [None, 3, {"bandwidth_hz": 1e6}])
def test_solvers_say_what_they_need(solve, thing):
    with pytest.raises(TypeError, match=f"problem must be a RoundProblem, got {type(thing).__name__}"):
        solve(thing)
    with pytest.raises(TypeError, match="RoundProblem"):
        equalize_bandwidth(thing, 3)


def test_weights_prices_and_their_absence():
    plain = solve_heterogeneous(problem())
    np.testing.assert_array_equal(plain.objective, plain.goodput)
    doubled = solve_heterogeneous(problem(weight=2.0))
    np.testing.assert_allclose(doubled.objective, 2.0 * plain.goodput, rtol=1e-12)
    np.testing.assert_array_equal(doubled.allocation.draft_length, plain.allocation.draft_length)
    dear = solve_heterogeneous(problem(min_draft_length=0, token_price=[0.0, 0.0, 5.0]))
    assert dear.allocation.draft_length[2] == 0
    assert dear.allocation.bandwidth_share[2] == 0
    unequal = solve_heterogeneous(problem(weight=[5.0, 1.0, 0.1]))
    assert unequal.allocation.draft_length[2] < plain.allocation.draft_length[2]
    assert unequal.goodput < plain.goodput < unequal.objective


def test_at_the_price_of_its_own_ratio_a_second_leaves_nothing():
    """Dinkelbach: the best ratio is the price at which the best difference is 0, and both have the same lengths."""
    ratio = solve_heterogeneous(problem())
    difference = solve_heterogeneous(problem(time_price=ratio.objective))
    np.testing.assert_allclose(difference.objective, 0.0, atol=1e-12)
    np.testing.assert_array_equal(difference.allocation.draft_length, ratio.allocation.draft_length)


def test_verification_by_the_token_shortens_the_drafts():
    free = solve_heterogeneous(problem()).allocation.draft_length.sum()
    timed = solve_heterogeneous(problem(verification_per_token_s=0.05)).allocation.draft_length.sum()
    capped = solve_heterogeneous(problem(verification_per_token_s=10.0, verification_free_tokens=11)).allocation
    assert timed < free
    assert capped.draft_length.sum() + 3 == 11
