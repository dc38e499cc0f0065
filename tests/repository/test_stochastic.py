"""The stochastic optimum: its distributions against the simulator, and what it is worth."""

import numpy as np
import pytest
from multispin_baselines import aged, make_controller
from multispin_baselines.aged import amplitude_below, expected_round_s, rate_quantile
from multispin_baselines.beliefs import acceptance_belief, acceptance_powers, expected_log_tokens, tokens_per_round
from multispin_baselines.stochastic import LongRun, Stochastic, long_run_price, long_run_worth
from scipy import special

from multispin_env import PAPER_PAIRS, Allocation, RoundView, Simulator, SystemConfig, make_config
from multispin_env.core.equations import FloatArray, expected_tokens, signal_to_noise_ratio
from multispin_env.core.requests.synthetic import beta_parameters
from multispin_env.evaluation.rollout import play
from multispin_env.optimal import RoundProblem, average_round, equalize_bandwidth


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
    powers = acceptance_powers(acceptance_belief(view), view.config.max_draft_length)

    def value(allocation: Allocation) -> np.ndarray:
        upload_s = view.config.payload_bits / (view.config.bandwidth_hz * view.observed_spectral_efficiency)
        per_token_s = view.drafting_latency_s + upload_s / allocation.bandwidth_share
        latency_s = np.max(allocation.draft_length * per_token_s, axis=1) + view.config.verification_latency_s
        tokens = np.take_along_axis(np.cumsum(powers, axis=2), allocation.draft_length[..., np.newaxis], axis=2)
        return tokens.sum(axis=(1, 2)) / latency_s

    gain = value(Stochastic().act(view)) / value(make_controller("posterior", "llama2").act(view))
    assert gain.min() >= 1.0
    assert gain.mean() > 1.001


def conjugate_mean(view: RoundView) -> np.ndarray:
    first, second = beta_parameters(view.task_acceptance_mean, view.task_acceptance_std)
    return (first + view.request_accepted) / (first + second + view.request_tested)


def test_without_drift_the_belief_is_the_conjugate_posterior() -> None:
    view = simulator(make_config("requests"), 8, rounds=12).view()
    belief = acceptance_belief(view)
    assert np.allclose(belief.mean, conjugate_mean(view), rtol=1e-12)
    prior = sum(beta_parameters(view.task_acceptance_mean, view.task_acceptance_std))
    assert np.allclose(belief.first + belief.second, prior + view.request_tested, rtol=1e-9)


@pytest.mark.parametrize(("share", "tokens"), [(0.5, 20.0), (0.9, 2.5), (1.0, 10.0)])
def test_with_drift_the_belief_is_better_than_the_conjugate_posterior_and_than_none(
    share: float, tokens: float
) -> None:
    drift = {"requests": {"drift_share": share, "drift_correlation_tokens": tokens}}
    view = simulator(make_config("mobile", config=drift), 60, rounds=12).true_view()
    ours, plain, prior = (
        np.mean((mean - view.acceptance_rate) ** 2)
        for mean in (acceptance_belief(view).mean, conjugate_mean(view), view.task_acceptance_mean)
    )
    assert ours < 0.85 * min(plain, prior)


def test_acceptance_powers_are_the_moments_of_the_belief() -> None:
    view = simulator(make_config("mobile"), 2, rounds=4).view()
    evidence = acceptance_belief(view)
    powers = acceptance_powers(evidence, 6)
    draws = np.random.default_rng(0).beta(evidence.first, evidence.second, (200_000, *evidence.first.shape))
    for length in (0, 1, 6):
        assert np.allclose(powers[..., length], np.mean(draws**length, axis=0), atol=5e-3)
    known = acceptance_belief(simulator(make_config("paper"), 2).view())
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
    view = simulator(make_config("mobile", config={"channel": {"shadowing_std_db": 0.0}}), 1000).true_view()
    lengths = np.full(view.drafting_latency_s.shape, 8)
    low = rate_quantile(view, lengths * view.drafting_latency_s, quantile)
    below = np.mean(view.spectral_efficiency_at_upload(lengths) < low)
    assert below == pytest.approx(quantile, abs=4 * np.sqrt(quantile * (1 - quantile) / low.size))


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_the_expected_duration_is_the_simulator_s_mean(pair: str) -> None:
    # Equal observed worlds, different futures: the fading from one state is drawn anew in every lane.
    lanes, cut_s = 3000, 1.0
    config = make_config("mobile", pair, {"num_users": 6})
    sample = simulator(config, 1, rounds=2)
    view = sample.view()
    allocation = make_controller("predictive", pair).act(view)
    expected_s = expected_round_s(view, allocation, np.linspace(0.01, cut_s, 5000))
    rng = np.random.default_rng(3)
    delay_s = allocation.draft_length * view.drafting_latency_s
    correlation = special.j0(2.0 * np.pi * view.doppler_hz * delay_s)
    mean_snr = signal_to_noise_ratio(view.long_term_spectral_efficiency)
    amplitude = np.sqrt(signal_to_noise_ratio(view.observed_spectral_efficiency) / mean_snr)
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
    for name in ("heterogeneous", "predictive", "stochastic"):
        allocation = make_controller(name, pair).act(view)
        tokens = np.sum(expected_tokens(truth, allocation.draft_length), axis=1)
        value[name] = tokens / expected_round_s(view, allocation, np.geomspace(0.05, 20.0, 200))
    assert value["stochastic"].mean() > 1.05 * value["predictive"].mean() > 1.05 * value["heterogeneous"].mean()
    assert np.mean(value["stochastic"] > value["predictive"]) > 0.6


def test_expected_logarithms_are_those_of_the_belief() -> None:
    evidence = acceptance_belief(simulator(make_config("mobile"), 2, rounds=4).view())
    found = expected_log_tokens(evidence, 8)
    draws = np.random.default_rng(0).beta(evidence.first, evidence.second, (100_000, *evidence.first.shape))
    for length in (0, 1, 8):
        assert np.allclose(found[..., length], np.mean(np.log(expected_tokens(draws, length)), axis=0), atol=0.01)
    known = acceptance_belief(simulator(make_config("paper"), 2).view())
    assert np.allclose(expected_log_tokens(known, 9)[..., 9], np.log(expected_tokens(known.mean, 9)))


@pytest.mark.parametrize("drift_share", [0.0, 1.0])
def test_tokens_per_round_are_those_of_a_long_list_of_requests(drift_share: float) -> None:
    """Requests of one rate each take rounds by it; where every round has a rate of its own, rounds are alike."""
    tasks = [{"name": "any", "acceptance_mean": 0.74, "acceptance_std": 0.31}]
    drift = {"drift_share": drift_share, "drift_correlation_tokens": 0.01}
    view = simulator(make_config("requests", config={"num_users": 2, "requests": {"tasks": tasks, **drift}}), 1).view()
    first, second = beta_parameters(0.74, 0.31)
    tokens = expected_tokens(np.random.default_rng(0).beta(first, second, 50_000), 6)
    expected = 1.0 / np.mean(1.0 / tokens) if drift_share == 0.0 else np.mean(tokens)
    assert np.allclose(tokens_per_round(view, 6), expected, rtol=0.02)
    known = simulator(make_config("paper"), 1).view()
    for length in range(1, 21):
        assert np.allclose(tokens_per_round(known, length), expected_tokens(known.task_acceptance_mean, length))


def test_where_acceptance_lasts_the_worth_of_a_draft_is_its_effect_on_tokens_a_round_over_a_long_text() -> None:
    """A text half of whose tokens come at 1.3 a round and half at 6: by the derivative, and by counting."""
    view = simulator(make_config("requests", config={"num_users": 1}), 1).view()

    def rounds_a_token(easy: float, hard: float) -> float:
        return 0.5 / easy + 0.5 / hard

    def worth(tokens: float) -> float:
        return float(long_run_worth(view, np.array([[tokens]]))[0, 0])

    speeds, step = (6.0, 1.3), 1e-5
    ratios = []
    for kind in (0, 1):
        faster = [speed * (1.0 + step * (kind == index)) for index, speed in enumerate(speeds)]
        gained = 1.0 / rounds_a_token(*faster) - 1.0 / rounds_a_token(*speeds)
        share_of_rounds = 0.5 / speeds[kind] / rounds_a_token(*speeds)
        ratios.append(gained / (share_of_rounds * (worth(faster[kind]) - worth(speeds[kind]))))
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-3)


def test_where_acceptance_drifts_a_token_is_worth_a_token() -> None:
    view = simulator(make_config("mobile", config={"num_users": 3}), 2).view()
    tokens = np.array([[1.3, 2.0, 6.0]] * 2)
    assert np.array_equal(long_run_worth(view, tokens), tokens)


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_with_known_rates_the_long_run_s_choice_is_its_best_among_neighbours(pair: str) -> None:
    view = simulator(make_config("requests", pair, {"num_users": 4}), 16, rounds=6).view()
    longest = view.config.max_draft_length
    per_round = tokens_per_round(view, average_round(view.config).draft_length)
    table = per_round[..., np.newaxis] * expected_log_tokens(acceptance_belief(view), longest)
    price = long_run_price(view)

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
    config = make_config("mobile", config={"num_users": users, "channel": {"speeds_m_s": [0.0, 1e-4]}})
    view = simulator(config, 16).view()
    for controller in (Stochastic(), LongRun()):
        decided = controller.act(view)
        assert np.all(decided.bandwidth_share > 0.0)
        assert np.allclose(decided.bandwidth_share.sum(axis=1), 1.0)
        assert decided.draft_length.min() >= 1


@pytest.mark.parametrize("name", ["stochastic", "long-run"])
@pytest.mark.parametrize("users", [3, 5])
def test_the_last_bits_of_a_special_function_do_not_decide(
    users: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SciPy's noncentral chi-square differs by up to 5e-13 between 1.16 and 1.17, its inverse by up to 7e-8.
    view = simulator(make_config("mobile", config={"num_users": users}), 64).view()
    decided = make_controller(name, "llama2").act(view)
    table = aged._amplitude_table()
    noise = 1e-14 * np.random.default_rng(0).uniform(-1.0, 1.0, table.shape)
    quantile_offset = aged._quantile_offset

    def inexact(quantile: float) -> tuple[FloatArray, FloatArray]:
        centre, offset = quantile_offset(quantile)
        return centre, offset + 1e-7 * np.random.default_rng(1).uniform(-1.0, 1.0, offset.shape)

    monkeypatch.setattr(aged, "_amplitude_table", lambda: table + noise)
    monkeypatch.setattr(aged, "_quantile_offset", inexact)
    again = make_controller(name, "llama2").act(view)
    assert np.array_equal(again.draft_length, decided.draft_length)
    assert np.allclose(again.bandwidth_share, decided.bandwidth_share, atol=1e-6)
