"""Planners: their futures, the expected end of a round and the drafts' acceptance against the simulator, and gains."""

import itertools

import numpy as np
import pytest
from multispin_baselines import make_controller
from multispin_baselines.planner import Course, LongRun, Stochastic
from multispin_baselines.planner.futures import Futures
from multispin_baselines.planner.known import best_for_known_rates
from multispin_baselines.planner.objective import Objective
from multispin_baselines.planner.search import expected_maximum
from multispin_baselines.texts import expected_progress, prefix_probabilities

from multispin_env import PAPER_PAIRS, Allocation, RoundView, Simulator, SystemConfig, make_config
from multispin_env.core.equations import beta_parameters, expected_tokens
from multispin_env.evaluation.rollout import play
from multispin_env.optimal import RoundProblem, equalize_bandwidth, posterior_acceptance


def simulator(config: SystemConfig, num_envs: int, rounds: int = 0) -> Simulator:
    simulator = Simulator(config, num_envs)
    simulator.reset([np.random.default_rng(seed) for seed in range(num_envs)])
    shape = (num_envs, config.num_users)
    for _ in range(rounds):
        simulator.step(Allocation(np.full(shape, 6), np.full(shape, 1.0 / config.num_users)))
    return simulator


def test_the_expected_maximum_is_that_over_all_combinations_of_samples() -> None:
    rng = np.random.default_rng(0)
    time_s = rng.exponential(size=(2, 3, 4))
    mean, latest = expected_maximum(time_s)
    for number in range(2):
        combinations = list(itertools.product(*time_s[number]))
        assert mean[number] == pytest.approx(np.mean(np.max(combinations, axis=1)))
    assert np.allclose(latest.sum(axis=(1, 2)), 1.0)
    change = 1e-7 * rng.standard_normal(time_s.shape)
    assert np.allclose(expected_maximum(time_s + change)[0] - mean, np.sum(latest * change, axis=(1, 2)), atol=1e-12)


@pytest.mark.parametrize(
    "channel", [{}, {"receive_antennas": 4}, {"doppler_known": False}, {"shadowing_std_db": 0.0}], ids=str
)
def test_futures_are_as_the_channel_goes_on(channel: dict[str, object]) -> None:
    view = simulator(make_config("mobile", config={"channel": channel}), 120).true_view()
    futures = Futures.sampled(view, 64, np.full((120, 1), 1.0))
    for cell in (4, 40, 120):
        now = view.spectral_efficiency_at(view.time_s + (cell + 0.5) / 128)
        # Of independent users the squared error is the variance and no more, if mean and spread are right.
        error = now - futures.rate[..., cell].mean(axis=-1)
        spread = futures.rate[..., cell].var(axis=-1)
        assert abs(error.mean()) < 4.0 * error.std() / np.sqrt(error.size)
        assert np.mean(error**2) == pytest.approx(spread.mean(), rel=0.15)


def test_analogs_of_a_measured_uplink_go_on_as_it_does() -> None:
    view = simulator(make_config("measured"), 200, rounds=2).true_view()
    futures = Futures.sampled(view, 16, np.full((200, 1), 1.0))
    then = view.spectral_efficiency_at(view.time_s + 60.5 * futures.cell_s)
    predicted = futures.rate[..., 60].mean(axis=-1)
    assert predicted.mean() == pytest.approx(then.mean(), rel=0.05)
    assert np.mean((then - predicted) ** 2) < 0.95 * np.mean((then - view.observed_spectral_efficiency) ** 2)


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_the_expected_end_of_rounds_is_the_simulator_s_mean(pair: str) -> None:
    num_envs = 600
    sample = simulator(make_config("mobile", pair), num_envs, rounds=2)
    view = sample.view()
    decided = make_controller("predictive", pair).act(view)
    config = view.config
    futures = Futures.sampled(view, 32, np.full((num_envs, 1), 1.2))
    load = decided.draft_length * (config.payload_bits / config.bandwidth_hz) / decided.bandwidth_share
    expected_s, _ = expected_maximum(futures.arrivals(decided.draft_length * view.drafting_latency_s, load).time_s)
    error_s = sample.step(decided).multi_access_s - expected_s
    assert abs(error_s.mean()) < 3.0 * error_s.std() / np.sqrt(num_envs) + 0.01 * expected_s.mean()


@pytest.mark.parametrize(
    ("scenario", "share", "tokens", "tolerance"),
    [("mobile", 0.9, 5.0, 0.05), ("mobile", 0.5, 20.0, 0.12), ("requests", 0.0, 10.0, 0.05)],
)
def test_prefix_probabilities_are_how_often_drafts_are_accepted(
    scenario: str, share: float, tokens: float, tolerance: float
) -> None:
    drift = {"requests": {"drift_share": share, "drift_correlation_tokens": tokens}}
    sample, length = simulator(make_config(scenario, config=drift), 200, rounds=6), 6
    shape = 200, sample.config.num_users
    accepted, expected = [], []
    for _ in range(10):
        view = sample.view()
        expected.append(np.cumsum(prefix_probabilities(view), axis=-1)[..., length] - 1.0)
        sample.step(Allocation(np.full(shape, length), np.full(shape, 1.0 / shape[1])))
        accepted.append(sample.view().last_accepted)
    found, wanted = np.array(expected), np.array(accepted)
    assert found.mean() == pytest.approx(wanted.mean(), rel=tolerance)
    for low, high in ((0.0, 1.5), (1.5, 3.0), (3.0, 6.0)):
        some = (found >= low) & (found < high)
        assert found[some].mean() == pytest.approx(wanted[some].mean(), abs=4.0 * tolerance)


def test_without_drift_prefix_probabilities_are_the_moments_of_the_posterior() -> None:
    view = simulator(make_config("requests"), 8, rounds=12).view()
    alpha, beta = beta_parameters(view.task_acceptance_mean, view.task_acceptance_std)
    alpha, beta = alpha + view.request_accepted, beta + view.request_tested - view.request_accepted
    probabilities = prefix_probabilities(view)
    for length in (0, 1, 6, 20):
        steps = np.arange(length)[:, np.newaxis, np.newaxis]
        moments = np.prod((alpha + steps) / (alpha + beta + steps), axis=0)
        assert np.allclose(probabilities[..., length], moments, atol=2e-3)
    known = simulator(make_config("paper"), 2).view()
    assert np.allclose(prefix_probabilities(known)[..., 9], known.task_acceptance_mean**9)


def conjugate_mean(view: RoundView) -> np.ndarray:
    alpha, beta = beta_parameters(view.task_acceptance_mean, view.task_acceptance_std)
    return (alpha + view.request_accepted) / (alpha + beta + view.request_tested)


def test_without_drift_the_posterior_acceptance_is_the_conjugate_one() -> None:
    view = simulator(make_config("requests"), 8, rounds=12).view()
    assert np.allclose(posterior_acceptance(view), conjugate_mean(view), rtol=1e-12)


@pytest.mark.parametrize(("share", "tokens"), [(0.5, 20.0), (0.9, 2.5), (1.0, 10.0)])
def test_with_drift_the_posterior_acceptance_is_better_than_the_conjugate_posterior_and_than_none(
    share: float, tokens: float
) -> None:
    drift = {"requests": {"drift_share": share, "drift_correlation_tokens": tokens}}
    view = simulator(make_config("mobile", config=drift), 60, rounds=12).true_view()
    ours, plain, prior = (
        np.mean((mean - view.acceptance_rate) ** 2)
        for mean in (posterior_acceptance(view), conjugate_mean(view), view.task_acceptance_mean)
    )
    assert ours < 0.85 * min(plain, prior)


@pytest.mark.parametrize(("share", "tolerance"), [(0.0, 0.03), (0.9, 0.13)])
def test_progress_is_the_rounds_that_drafts_save(share: float, tolerance: float) -> None:
    """Rounds of three tokens until a text has some forty more, the first of them of nine tokens or of three."""
    text = {"tokens_low": 400, "tokens_high": 400, "drift_share": share, "drift_correlation_tokens": 5.0}
    config = make_config("requests", config={"requests": text})
    shape = 300, config.num_users
    target = 40 + np.arange(config.num_users) % 4  # as rounds of easy texts have four tokens

    def decided(length: int) -> Allocation:
        return Allocation(np.full(shape, length), np.full(shape, 1.0 / config.num_users))

    needed = []
    for first in (3, 9):
        sample = simulator(config, shape[0])
        for _ in range(6):
            sample.step(decided(3))
        view = sample.view()
        tokens = sample.step(decided(first)).tokens
        rounds = np.ones(shape)
        for _ in range(42):
            rounds += tokens < target
            tokens = tokens + sample.step(decided(3)).tokens
        needed.append(rounds)
    progress = expected_progress(view, 3)
    # A round like all others is a round on the way, whatever is known of the text.
    for task in np.unique(view.task_acceptance_mean):
        assert np.ptp(progress[view.task_acceptance_mean == task][:, 3]) < 1e-6
    saved = progress[..., 9] / progress[..., 3] - 1.0
    found = needed[0] - needed[1]
    for some in (saved < np.median(saved), saved >= np.median(saved)):
        deviation = 4.0 * found[some].std() / np.sqrt(np.sum(some))
        assert found[some].mean() == pytest.approx(saved[some].mean(), abs=deviation, rel=tolerance)


def test_where_acceptance_is_known_or_always_new_a_token_is_a_token() -> None:
    known = simulator(make_config("paper"), 2).view()
    new = {"drift_share": 1.0, "drift_correlation_tokens": 0.01}
    always_new = simulator(make_config("mobile", config={"num_users": 3, "requests": new}), 2).view()
    for view, tolerance in ((known, 1e-9), (always_new, 0.03)):
        tokens = np.cumsum(prefix_probabilities(view), axis=-1)
        assert np.allclose(expected_progress(view, 4), tokens, rtol=tolerance)


def test_where_everything_is_known_it_is_the_heterogeneous_optimum() -> None:
    view = simulator(make_config("paper"), 16, rounds=3).view()
    found, best = Stochastic().act(view), make_controller("heterogeneous", "llama2").act(view)
    assert np.array_equal(found.draft_length, best.draft_length)
    assert np.allclose(found.bandwidth_share, best.bandwidth_share)


@pytest.mark.parametrize("price", [None, 60.0])
@pytest.mark.parametrize("scenario", ["paper", "requests"])
def test_with_known_rates_it_is_the_best_of_all_lengths(scenario: str, price: float | None) -> None:
    config = make_config(scenario, config={"num_users": 3, "max_draft_length": 8})
    view = simulator(config, 40, rounds=6).view()
    problem = RoundProblem.from_view(view, acceptance_rate=posterior_acceptance(view))
    objective = Objective(expected_progress(view, 4), None if price is None else np.full(40, price))

    def value(length: np.ndarray) -> np.ndarray:
        latency_s, _ = equalize_bandwidth(problem, length)
        utility = np.sum(objective.of_drafts(length), axis=-1)
        return objective.value(utility, latency_s + problem.verification_s(length))

    every = np.array(list(itertools.product(range(1, 9), repeat=3)))[:, np.newaxis].repeat(40, axis=1)
    best = value(every).max(axis=0)
    found = value(best_for_known_rates(problem, objective).draft_length)
    assert np.mean(found >= best - 1e-9 * np.abs(best)) > 0.9
    # In tokens, or in tokens a second of some fifty.
    assert np.all(found >= best - (0.02 * best if price is None else 0.2))


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_in_requests_the_long_run_beats_the_optimum_of_each_round_that_knows_the_truth(pair: str) -> None:
    config = make_config("requests", pair, {"num_users": 6, "episode_rounds": 80})
    totals = {}
    for name in ("long-run", "clairvoyant"):
        episodes = play(make_controller(name, pair), config, range(16), timed=False)
        totals[name] = sum(one.tokens for one in episodes) / sum(one.seconds for one in episodes)
    assert totals["long-run"] > totals["clairvoyant"]


def test_in_mobile_the_long_run_beats_the_paper_s_controller() -> None:
    config = make_config("mobile", config={"num_users": 8, "episode_rounds": 40})
    planned, paper = (
        np.array([one.goodput_tok_s for one in play(controller, config, range(8), timed=False)])
        for controller in (LongRun(32), make_controller("heterogeneous", "llama2"))
    )
    assert np.mean(planned) > 1.05 * np.mean(paper)


def test_where_acceptance_is_known_a_planner_beats_predictive() -> None:
    config = make_config("mobile", config={"num_users": 8, "requests": {"acceptance_spread": 0.0}})
    sample = simulator(config, 60, rounds=4)
    view = sample.view()
    judge = Futures.sampled(view, 512, np.full((60, 1), 1.5))

    def goodput(allocation: Allocation) -> np.ndarray:
        length, share = allocation
        load = length * (config.payload_bits / config.bandwidth_hz) / share
        latency_s, _ = expected_maximum(judge.arrivals(length * view.drafting_latency_s, load).time_s)
        tokens = expected_tokens(view.task_acceptance_mean, length).sum(axis=1)
        return tokens / (latency_s + config.verification_latency_s)

    planned, predicted = (
        goodput(controller.act(view)) for controller in (Stochastic(64), make_controller("predictive", "llama2"))
    )
    assert np.mean(planned) > np.mean(predicted)


def test_decisions_are_always_the_same() -> None:
    view = simulator(make_config("mobile", config={"num_users": 4}), 3, rounds=2).view()
    first, second = (Stochastic(8).act(view) for _ in range(2))
    assert np.array_equal(first.draft_length, second.draft_length)
    assert np.array_equal(first.bandwidth_share, second.bandwidth_share)


def test_more_samples_gain_less_and_less() -> None:
    """The value of plans, by many other futures; each fourfold number of samples brings less than the one before."""
    view = simulator(make_config("mobile", config={"num_users": 8}), 32, rounds=4).view()
    config, utility = view.config, np.cumsum(prefix_probabilities(view), axis=-1)
    judge = Futures.sampled(view, 1024, np.full((32, 1), 1.0))

    def value(samples: int) -> float:
        length, share = Stochastic(samples).act(view)
        load = length * (config.payload_bits / config.bandwidth_hz) / share
        latency_s, _ = expected_maximum(judge.arrivals(length * view.drafting_latency_s, load).time_s)
        tokens = np.take_along_axis(utility, length[..., np.newaxis], axis=-1).sum(axis=(1, 2))
        return float(np.mean(tokens / (latency_s + config.verification_latency_s)))

    few, some, many = (value(samples) for samples in (4, 16, 64))
    assert few < some
    assert abs(many - some) < some - few


@pytest.mark.parametrize("users", [1, 5])
def test_rates_that_hardly_age_are_no_trouble(users: int) -> None:
    config = make_config("mobile", config={"num_users": users, "channel": {"speeds_m_s": [0.0, 1e-4]}})
    view = simulator(config, 16).view()
    for controller in (Stochastic(), LongRun(course=Course(4, 2.0))):
        decided = controller.act(view)
        assert np.all(decided.bandwidth_share > 0.0)
        assert np.allclose(decided.bandwidth_share.sum(axis=1), 1.0)
        assert decided.draft_length.min() >= 1
    problem = RoundProblem.from_view(view)
    decided = Stochastic().act(view)
    latency_s, _ = equalize_bandwidth(problem, decided.draft_length)
    upload_s = decided.draft_length * problem.full_band_upload_s / decided.bandwidth_share
    assert np.all(np.max(decided.draft_length * view.drafting_latency_s + upload_s, axis=1) < 1.05 * latency_s)
