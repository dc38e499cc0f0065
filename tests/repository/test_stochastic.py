"""The stochastic optimum: its distributions against the simulator, and what it is worth."""

import numpy as np
import pytest

from baselines import make_controller, posterior_acceptance
from baselines.aged import amplitude_below, expected_round_s, rate_quantile
from baselines.beliefs import acceptance_powers, expected_log_tokens, recent_evidence, tokens_per_round
from baselines.stochastic import LongRun, Stochastic, long_run_price, long_run_worth
from multispin_env import PAPER_PAIRS, Allocation, Simulator, SystemConfig, make_config
from multispin_env.core.round import expected_tokens
from multispin_env.optimal import RoundProblem, equalize_bandwidth
from train.rollout import play


def simulator(config: SystemConfig, lanes: int, rounds: int = 0) -> Simulator:
    simulator = Simulator(config, lanes)
    simulator.reset([np.random.default_rng(lane) for lane in range(lanes)])
    shape = (lanes, config.num_users)
    for _ in range(rounds):
        simulator.step(Allocation(np.full(shape, 6), np.full(shape, 1.0 / config.num_users)))
    return simulator


def test_where_everything_is_known_it_is_the_heterogeneous_optimum() -> None:
    view = simulator(make_config("paper"), 16, rounds=3).view()
    found, best = Stochastic().act(view), make_controller("heterogeneous", "llama2").act(view)
    assert np.array_equal(found.draft_length, best.draft_length)
    assert np.array_equal(found.bandwidth_share, best.bandwidth_share)


def test_with_known_rates_expected_tokens_over_seconds_are_at_least_the_posterior_controller_s() -> None:
    view = simulator(make_config("requests"), 64, rounds=10).view()
    powers = acceptance_powers(recent_evidence(view), view.config.max_draft_length)

    def value(allocation: Allocation) -> np.ndarray:
        upload_s = view.config.payload_bits / (view.config.bandwidth_hz * view.observed_spectral_efficiency)
        per_token_s = view.drafting_latency_s + upload_s / allocation.bandwidth_share
        latency_s = np.max(allocation.draft_length * per_token_s, axis=1) + view.config.verification_latency_s
        tokens = np.take_along_axis(np.cumsum(powers, axis=2), allocation.draft_length[..., np.newaxis], axis=2)
        return tokens.sum(axis=(1, 2)) / latency_s

    gain = value(Stochastic().act(view)) / value(make_controller("posterior", "llama2").act(view))
    assert gain.min() >= 1.0
    assert gain.mean() > 1.001


def test_evidence_is_the_posterior_without_drift_and_better_than_it_with_drift() -> None:
    steady = simulator(make_config("requests"), 8, rounds=12).view()
    assert np.allclose(recent_evidence(steady).mean, posterior_acceptance(steady), rtol=1e-12)
    drifting = simulator(make_config("mobile"), 40, rounds=12).true_view()
    ours, plain = (
        np.mean((mean - drifting.acceptance_rate) ** 2)
        for mean in (recent_evidence(drifting).mean, posterior_acceptance(drifting))
    )
    assert ours < 0.85 * plain


def test_acceptance_powers_are_the_moments_of_the_belief() -> None:
    view = simulator(make_config("mobile"), 2, rounds=4).view()
    evidence = recent_evidence(view)
    powers = acceptance_powers(evidence, 6)
    draws = np.random.default_rng(0).beta(evidence.first, evidence.second, (200_000, *evidence.first.shape))
    for length in (0, 1, 6):
        assert np.allclose(powers[..., length], np.mean(draws**length, axis=0), atol=5e-3)
    known = recent_evidence(simulator(make_config("paper"), 2).view())
    assert np.allclose(
        np.cumsum(acceptance_powers(known, 9), axis=2)[..., 9], expected_tokens(known.mean, 9), rtol=1e-12
    )


def test_amplitudes_are_rician() -> None:
    rng = np.random.default_rng(1)
    for centre in (0.0, 0.7, 5.0, 80.0):
        drawn = np.hypot(centre + rng.standard_normal(400_000), rng.standard_normal(400_000))
        for amplitude in (centre + 0.3, centre + 1.5):
            below, density = amplitude_below(np.array(centre), np.array(amplitude))
            assert below == pytest.approx(np.mean(drawn < amplitude), abs=6e-3)
            assert density == pytest.approx(np.mean(np.abs(drawn - amplitude) < 0.05) / 0.1, abs=0.03)


@pytest.mark.parametrize("quantile", [0.05, 0.3])
def test_the_rate_s_quantile_is_that_of_the_rate_at_upload(quantile: float) -> None:
    view = simulator(make_config("mobile", config={"channel": {"fading_correlation_time_s": 0.5}}), 1000).true_view()
    lengths = np.full(view.drafting_latency_s.shape, 8)
    low = rate_quantile(view, lengths * view.drafting_latency_s, quantile)
    below = np.mean(view.used_spectral_efficiency(lengths) < low)
    assert below == pytest.approx(quantile, abs=4 * np.sqrt(quantile * (1 - quantile) / low.size))


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_the_expected_duration_is_the_simulator_s_mean(pair: str) -> None:
    # Equal observed worlds, different futures: the fading from one state is drawn anew in every lane.
    lanes, cut_s = 3000, 5.0
    config = make_config("mobile", pair, {"num_users": 6})
    sample = simulator(config, 1, rounds=2)
    view = sample.view()
    allocation = make_controller("robust", pair).act(view)
    expected_s = expected_round_s(view, allocation, np.linspace(0.01, cut_s, 500))
    rng = np.random.default_rng(3)
    delay_s = allocation.draft_length * view.drafting_latency_s
    correlation = np.exp(-delay_s / config.channel.fading_correlation_time_s)
    mean_snr = np.expm1(np.log(2.0) * view.long_term_spectral_efficiency)
    amplitude = np.sqrt(np.expm1(np.log(2.0) * view.observed_spectral_efficiency) / mean_snr)
    noise = rng.standard_normal((2, lanes, 6)) * np.sqrt(0.5 * (1.0 - correlation**2))
    power = (correlation * amplitude + noise[0]) ** 2 + noise[1] ** 2
    rate = np.log2(1.0 + mean_snr * power) * config.bandwidth_hz * allocation.bandwidth_share
    arrival_s = np.max(delay_s + allocation.draft_length * config.payload_bits / rate, axis=1)
    seconds = np.minimum(arrival_s, cut_s) + config.verification_latency_s
    error = 4.0 * seconds.std() / np.sqrt(lanes)
    assert expected_s[0] == pytest.approx(seconds.mean(), abs=error)


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_in_mobile_it_is_expected_to_beat_the_robust_controller_in_most_rounds(pair: str) -> None:
    sample = simulator(make_config("mobile", pair), 24, rounds=8)
    view, truth = sample.view(), sample.true_view().acceptance_rate
    value = {}
    for name in ("heterogeneous", "robust", "stochastic"):
        allocation = make_controller(name, pair).act(view)
        tokens = np.sum(expected_tokens(truth, allocation.draft_length), axis=1)
        value[name] = tokens / expected_round_s(view, allocation, np.geomspace(0.05, 20.0, 200))
    assert value["stochastic"].mean() > 1.05 * value["robust"].mean() > 1.05 * value["heterogeneous"].mean()
    assert np.mean(value["stochastic"] > value["robust"]) > 0.6


def test_expected_logarithms_are_those_of_the_belief() -> None:
    evidence = recent_evidence(simulator(make_config("mobile"), 2, rounds=4).view())
    found = expected_log_tokens(evidence, 8)
    draws = np.random.default_rng(0).beta(evidence.first, evidence.second, (100_000, *evidence.first.shape))
    for length in (0, 1, 8):
        assert np.allclose(found[..., length], np.mean(np.log(expected_tokens(draws, length)), axis=0), atol=0.01)
    known = recent_evidence(simulator(make_config("paper"), 2).view())
    assert np.allclose(expected_log_tokens(known, 9)[..., 9], np.log(expected_tokens(known.mean, 9)))


def test_tokens_per_round_are_those_of_a_long_list_of_requests() -> None:
    mean, std, length, tokens = 0.74, 0.31, 6, 400
    rng = np.random.default_rng(0)
    concentration = mean * (1.0 - mean) / std**2 - 1.0
    rounds = sum(
        tokens / expected_tokens(alpha, length)
        for alpha in rng.beta(mean * concentration, (1.0 - mean) * concentration, 50_000)
    )
    found = tokens_per_round(np.array([mean, mean]), np.array([std, 0.0]), length)
    assert found[0] == pytest.approx(50_000 * tokens / rounds, rel=0.02)
    assert found[1] == pytest.approx(expected_tokens(mean, length))


def test_the_worth_of_a_draft_is_its_effect_on_tokens_a_round_over_a_long_text() -> None:
    """A text half of whose tokens come at 1.3 a round and half at 6: by the derivative, and by counting."""
    view = simulator(make_config("requests", config={"num_users": 1}), 1).view()

    def rounds_a_token(easy: float, hard: float) -> float:
        return 0.5 / easy + 0.5 / hard

    def worth(tokens: float) -> float:
        return float(long_run_worth(view, np.log([[tokens]]))[0, 0])

    speeds, step = (6.0, 1.3), 1e-5
    ratios = []
    for kind in (0, 1):
        faster = [speed * (1.0 + step * (kind == index)) for index, speed in enumerate(speeds)]
        gained = 1.0 / rounds_a_token(*faster) - 1.0 / rounds_a_token(*speeds)
        share_of_rounds = 0.5 / speeds[kind] / rounds_a_token(*speeds)
        ratios.append(gained / (share_of_rounds * (worth(faster[kind]) - worth(speeds[kind]))))
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-3)


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_with_known_rates_the_long_run_s_choice_is_its_best_among_neighbours(pair: str) -> None:
    view = simulator(make_config("requests", pair, {"num_users": 4}), 16, rounds=6).view()
    longest = view.config.max_draft_length
    table, price = long_run_worth(view, expected_log_tokens(recent_evidence(view), longest)), long_run_price(view)

    def value(length: np.ndarray) -> np.ndarray:
        latency_s, _ = equalize_bandwidth(RoundProblem.from_view(view), length)
        worth = np.take_along_axis(table, length[..., np.newaxis], axis=-1)[..., 0].sum(axis=1)
        return worth - price * latency_s

    chosen = LongRun().act(view).draft_length
    found, scale = value(chosen), np.abs(table[..., -1]).sum(axis=1)
    for user in range(4):
        for move in (-1, 1):
            moved = chosen.copy()
            moved[:, user] = np.clip(moved[:, user] + move, 1, longest)
            assert np.max((value(moved) - found) / scale) < 0.01


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_in_requests_the_long_run_beats_the_optimum_of_each_round_that_knows_the_truth(pair: str) -> None:
    config = make_config("requests", pair, {"num_users": 6, "episode_rounds": 80})
    totals = {}
    for name in ("long-run", "clairvoyant"):
        episodes = play(make_controller(name, pair), config, range(16))
        totals[name] = sum(one.tokens for one in episodes) / sum(one.seconds for one in episodes)
    assert totals["long-run"] > totals["clairvoyant"]


@pytest.mark.parametrize("users", [1, 5])
def test_rates_that_hardly_age_are_no_trouble(users: int) -> None:
    config = make_config("mobile", config={"num_users": users, "channel": {"fading_correlation_time_s": 1000.0}})
    view = simulator(config, 16).view()
    for controller in (Stochastic(), LongRun()):
        decided = controller.act(view)
        assert np.all(decided.bandwidth_share > 0.0)
        assert np.allclose(decided.bandwidth_share.sum(axis=1), 1.0)
        assert decided.draft_length.min() >= 1
