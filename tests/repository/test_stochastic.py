"""The stochastic optimum: its distributions against the simulator, and what it is worth."""

import numpy as np
import pytest

from baselines import make_controller, posterior_acceptance
from baselines.stochastic import (
    Stochastic,
    _Plan,
    _Round,
    acceptance_powers,
    amplitude_below,
    expected_round_s,
    rate_quantile,
    recent_evidence,
)
from multispin_env import MODEL_PAIRS, Allocation, Simulator, SystemConfig, make_config
from multispin_env.core.round import expected_tokens


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


@pytest.mark.parametrize("pair", MODEL_PAIRS)
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


@pytest.mark.parametrize("pair", MODEL_PAIRS)
def test_in_mobile_it_is_expected_to_beat_the_robust_controller_in_most_rounds(pair: str) -> None:
    sample = simulator(make_config("mobile", pair), 24, rounds=8)
    view, truth = sample.view(), sample.true_view().acceptance_rate
    rounds = _Round(
        view=view,
        powers=truth[..., np.newaxis] ** np.arange(view.config.max_draft_length + 1),
        instant_s=np.tile(np.geomspace(0.05, 20.0, 200), (len(truth), 1)),
    )
    value = {
        name: _Plan.of(rounds, *make_controller(name, pair).act(view)).value
        for name in ("heterogeneous", "robust", "stochastic")
    }
    assert value["stochastic"].mean() > 1.05 * value["robust"].mean() > 1.05 * value["heterogeneous"].mean()
    assert np.mean(value["stochastic"] > value["robust"]) > 0.6
