"""Simulation against equations: what many rounds show is what the paper's formulas and the configuration say.

Every seed is fixed, so that a result never changes; tolerances are four standard errors of the estimate.
"""

import numpy as np
import pytest
from scipy import special, stats

from multispin_env import MODEL_PAIRS, PAPER_PAIRS, make_config
from multispin_env.core.equations import beta_parameters, expected_tokens, signal_to_noise_ratio
from multispin_env.core.requests.synthetic import SyntheticRequests
from multispin_env.core.streams import Streams
from multispin_env.profiles import load_model_pair

SIGMAS = 4.0
TASKS = [
    pytest.param(pair, task, id=f"{pair}-{task.name}") for pair in MODEL_PAIRS for task in load_model_pair(pair).tasks
]
# Rounds whose length is known beforehand: nothing to upload, all devices alike.
TIMED = {"payload_bits": 1.0, "bandwidth_hz": 1e12, "drafting_latency_spread": 0.0}


def assert_mean(samples, expected):
    """The samples' mean is the expected one; the samples are independent along the first axis."""
    flat = np.asarray(samples, dtype=np.float64).reshape(len(samples), -1).mean(axis=1)
    error = flat.std(ddof=1) / np.sqrt(len(flat))
    assert abs(flat.mean() - expected) < SIGMAS * error + 1e-12, f"{flat.mean()} +- {error}, expected {expected}"


def assert_std(samples, expected):
    samples = np.ravel(samples)
    deviation = samples - samples.mean()
    # Standard error of the standard deviation, from the fourth moment.
    error = np.sqrt(np.mean(deviation**4) - np.mean(deviation**2) ** 2) / (2.0 * expected * np.sqrt(samples.size))
    assert abs(samples.std() - expected) < SIGMAS * error, f"{samples.std()} +- {error}, expected {expected}"


def assert_correlation(first, second, expected):
    """The correlation of two samples, independent pairs, is the expected one."""
    first, second = (np.ravel(sample - np.mean(sample)) / np.std(sample) for sample in (first, second))
    found = np.mean(first * second)
    # Standard error from the pairs' influence on the correlation.
    error = np.std(first * second - 0.5 * found * (first**2 + second**2)) / np.sqrt(first.size)
    assert abs(found - expected) < SIGMAS * error, f"{found} +- {error}, expected {expected}"
    assert error < 0.015, f"a tolerance of {SIGMAS * error} shows nothing"


def relative_power(view, efficiency):
    """Power of the fading, from a spectral efficiency and the long-term one."""
    return signal_to_noise_ratio(efficiency) / signal_to_noise_ratio(view.long_term_spectral_efficiency)


def prefix_distribution(alpha, length):
    """Probabilities of N = 1 ... L + 1 (eq. 11)."""
    return np.append(alpha ** np.arange(length) * (1.0 - alpha), alpha**length)


def assert_distribution(tokens, alpha, length):
    counts = np.bincount(np.ravel(tokens), minlength=length + 2)[1:]
    assert counts.sum() == np.size(tokens)
    expected = counts.sum() * prefix_distribution(alpha, length)
    assert not counts[expected == 0.0].any()
    common = expected > 5.0
    merged = [np.append(part[common], part[~common].sum()) for part in (counts, expected)]
    observed, expected = (part[merged[1] > 0.0] for part in merged)
    if len(expected) > 1:
        assert stats.chisquare(observed, expected).pvalue > 1e-4
    else:
        assert observed == expected


# Acceptance (eq. 11, 12)


@pytest.mark.parametrize("alpha", [0.0, 0.03, 0.4, 0.8582, 0.99, 1.0])
def test_tokens_of_simulated_rounds_have_the_papers_distribution(alpha, start, equal_allocation):
    tasks = [{"name": "one", "acceptance_mean": alpha}]
    simulator = start(num_envs=20, requests={"tasks": tasks, "tokens_low": 3, "tokens_high": 40})
    length = np.arange(1, 21)
    tokens = np.stack([simulator.step(equal_allocation(simulator, length)).tokens for _ in range(100)])
    for user in (0, 4, 19):
        assert_distribution(tokens[..., user], alpha, length[user])


@pytest.mark.parametrize(("model_pair", "task"), TASKS)
def test_requests_have_the_mean_and_the_spread_of_table_1(model_pair, task, start):
    tasks = [{"name": task.name, "acceptance_mean": task.acceptance_mean, "acceptance_std": task.acceptance_std}]
    rates = start("requests", model_pair, 2000, requests={"tasks": tasks}).true_view().acceptance_rate
    assert_mean(rates, task.acceptance_mean)
    assert_std(rates, task.acceptance_std)


@pytest.mark.parametrize(("model_pair", "task"), TASKS)
def test_drifting_requests_have_the_mean_of_table_1(model_pair, task, start, equal_allocation):
    tasks = [{"name": task.name, "acceptance_mean": task.acceptance_mean, "acceptance_std": task.acceptance_std}]
    simulator = start("mobile", model_pair, 2000, requests={"tasks": tasks})
    # A draft of one token is accepted with the rate of its own position.
    assert_mean(simulator.step(equal_allocation(simulator, 1)).tokens - 1, task.acceptance_mean)


@pytest.mark.parametrize(("model_pair", "task"), TASKS)
def test_requests_have_a_beta_distribution(model_pair, task, start):
    tasks = [{"name": task.name, "acceptance_mean": task.acceptance_mean, "acceptance_std": task.acceptance_std}]
    rates = start("requests", model_pair, 1000, requests={"tasks": tasks}).true_view().acceptance_rate
    # Bins, for the distribution's upper end is so steep that half of all rates round to 1.
    edges = np.array([0.0, 1e-6, 1e-3, *np.arange(0.1, 0.95, 0.1), 0.99, 0.999, 1.0 - 1e-6, 1.0])
    beta = stats.beta(*beta_parameters(task.acceptance_mean, task.acceptance_std))
    # Those that no rate can be in, at either end, are parts of their neighbours.
    inner = edges[1:-1]
    edges = np.array([0.0, *inner[np.minimum(beta.cdf(inner), beta.sf(inner)) * rates.size > 1e-8], 1.0])
    probability = np.diff(beta.cdf(edges))
    assert probability.sum() == pytest.approx(1.0, abs=1e-12)
    assert stats.chisquare(np.histogram(rates, edges)[0], rates.size * probability).pvalue > 1e-4


@pytest.mark.parametrize("model_pair", MODEL_PAIRS)
def test_tasks_are_drawn_uniformly(model_pair, start):
    view = start("paper", model_pair, 500).view()
    means = [task.acceptance_mean for task in view.config.requests.tasks]
    counts = [np.count_nonzero(view.task_acceptance_mean == mean) for mean in means]
    assert sum(counts) == view.task_acceptance_mean.size
    assert stats.chisquare(counts).pvalue > 1e-4


def test_request_lengths_are_uniform(start, equal_allocation):
    # Requests change when they have their tokens, one a round where everything is rejected.
    config = {"tasks": [{"name": "rejected", "acceptance_mean": 0.0}], "tokens_low": 3, "tokens_high": 8}
    simulator = start(num_envs=500, episode_rounds=8, requests=config)
    ended = np.zeros((500, 20), dtype=np.int64)
    for round_number in range(1, 9):
        simulator.step(equal_allocation(simulator, 2))
        fresh = simulator.view().request_tested == 0
        ended[fresh & (ended == 0)] = round_number
    counts = np.bincount(ended.ravel(), minlength=9)
    assert not counts[:3].any()
    assert stats.chisquare(counts[3:]).pvalue > 1e-4


class Drift:
    """Requests whose acceptances along the text show their Gaussian variate."""

    MEAN, STD = 0.6, 0.15

    def __init__(self, **fields):
        task = {"name": "mild", "acceptance_mean": self.MEAN, "acceptance_std": self.STD}
        requests = {"tasks": [task], "acceptance_spread": 1.0, "tokens_low": 64, "tokens_high": 64, **fields}
        self.requests = SyntheticRequests(make_config(config={"num_users": 20_000, "requests": requests}))
        self.requests.reset(Streams([np.random.default_rng(7)]))

    def rates(self):
        """Of the first positions of each running request, (users, positions)."""
        rows = np.arange(20_000)[:, np.newaxis]
        return self.requests._rates[self.requests._grid_points(rows, 0, np.arange(32))]

    def variates(self):
        return special.ndtri(special.betainc(*beta_parameters(self.MEAN, self.STD), self.rates()))


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_drift_leaves_the_marginal_and_has_the_stated_autocorrelation(share):
    memory = 8.0
    drift = Drift(drift_share=share, drift_correlation_tokens=memory)
    rates, variates = drift.rates(), drift.variates()
    for position in (0, 1, 7, 31):
        assert_mean(rates[:, position], Drift.MEAN)
        assert_std(rates[:, position], Drift.STD)
        expected = 1.0 - share + share * np.exp(-position / memory)
        if position:
            assert_correlation(variates[:, 0], variates[:, position], expected)


def test_the_next_request_drifts_from_a_fresh_start_and_a_prompt_keeps_its_places():
    drift = Drift(drift_share=0.9, drift_correlation_tokens=5.0, prompts_per_user=2)
    met = [drift.variates()]
    for _ in range(2):
        while drift.requests._number.min() < len(met) + 1:
            drift.requests.verify(np.full((1, 20_000), 25))
        if drift.requests._number.max() > len(met) + 1:  # some are ahead: only those that are not tell anything
            same = drift.requests._number == len(met) + 1
        else:
            same = np.ones(20_000, dtype=bool)
        met.append(np.where(same[:, np.newaxis], drift.variates(), np.nan))
    fresh = ~np.isnan(met[1][:, 0])
    assert fresh.sum() > 1000
    assert_correlation(met[0][fresh, 0], met[1][fresh, 0], 0.0)
    again = ~np.isnan(met[2][:, 0])
    np.testing.assert_array_equal(met[2][again], met[0][again])


# Latency and goodput (eq. 2, 7, 13)


@pytest.mark.parametrize("model_pair", MODEL_PAIRS)
@pytest.mark.parametrize("users", [1, 7, 20])
def test_verification_takes_the_papers_time(users, model_pair, start, equal_allocation):
    pair = load_model_pair(model_pair)
    expected = pair.verification_fixed_s + users * pair.verification_per_user_s
    assert make_config("paper", model_pair, {"num_users": users}).verification_latency_s == pytest.approx(expected)
    for length in (1, 25):
        simulator = start("paper", model_pair, num_users=users)
        outcome = simulator.step(equal_allocation(simulator, length))
        # None of the paper's pairs counts tokens.
        tokens_s = pair.verification_per_token_s * max(0, users * (length + 1) - pair.verification_free_tokens)
        assert (tokens_s == 0.0) or model_pair not in PAPER_PAIRS
        assert outcome.latency_s - outcome.multi_access_s == pytest.approx(expected + tokens_s, rel=1e-12)


@pytest.mark.parametrize("model_pair", MODEL_PAIRS)
@pytest.mark.parametrize("spread", [0.0, 0.15, 0.5])
def test_drafting_latencies_are_uniform_around_their_mean(spread, model_pair, start):
    view = start("paper", model_pair, 500, drafting_latency_spread=spread).view()
    relative = view.drafting_latency_s / view.config.drafting_latency_s - 1.0
    assert np.all(np.abs(relative) <= spread + 1e-12)
    if spread:
        assert stats.kstest(relative.ravel() / spread, stats.uniform(-1.0, 2.0).cdf).pvalue > 1e-4


@pytest.mark.parametrize("model_pair", PAPER_PAIRS)
def test_goodput_of_a_fixed_allocation_is_the_papers_formula(model_pair, start, random_allocation):
    # A channel that stands still: one coefficient a user for the whole episode.
    still = {"kind": "mobility", "speeds_m_s": [0.0], "shadowing_std_db": 0.0}
    num_envs, rounds = 10, 400
    simulator = start("paper", model_pair, num_envs, channel=still, episode_rounds=rounds)
    allocation = random_allocation(simulator, np.random.default_rng(5))
    length, share = allocation
    view, config = simulator.view(), simulator.config
    alpha = view.task_acceptance_mean
    per_token_s = view.drafting_latency_s + config.payload_bits / (
        share * config.bandwidth_hz * view.observed_spectral_efficiency
    )
    duration_s = np.max(length * per_token_s, axis=1) + config.verification_latency_s
    expected = np.sum((1.0 - alpha ** (length + 1)) / (1.0 - alpha), axis=1) / duration_s

    outcomes = [simulator.step(allocation) for _ in range(rounds)]
    tokens = np.stack([outcome.tokens for outcome in outcomes])
    simulated_s = np.stack([outcome.latency_s for outcome in outcomes])
    np.testing.assert_allclose(simulated_s, np.broadcast_to(duration_s, simulated_s.shape), rtol=1e-5)
    goodput = tokens.sum(axis=(0, 2)) / simulated_s.sum(axis=0)

    gains = np.arange(1, config.max_draft_length + 2)
    variance = np.empty(length.shape)
    for place in np.ndindex(length.shape):
        probability = np.append(prefix_distribution(alpha[place], length[place]), np.zeros(25 - length[place]))
        mean = probability @ gains
        assert mean == pytest.approx(expected_tokens(alpha[place], length[place]), rel=1e-12)
        variance[place] = probability @ gains**2 - mean**2
        error = np.sqrt(variance[place] / rounds)
        assert abs(tokens[(slice(None), *place)].mean() - mean) < (SIGMAS + 1.0) * error  # one of 200
    error = np.sqrt(variance.sum(axis=1) / rounds) / duration_s
    assert np.all(np.abs(goodput - expected) < SIGMAS * error)
    assert np.all(error < 0.02 * expected)


# The channel


def test_path_gains_are_uniform(start):
    view = start("paper", num_envs=500).view()
    gain = signal_to_noise_ratio(view.long_term_spectral_efficiency) / view.config.channel.power_to_noise
    assert stats.kstest(gain.ravel(), stats.uniform(0.2, 0.3).cdf).pvalue > 1e-4


def test_block_fading_is_exponential_and_independent_across_rounds(start, equal_allocation):
    simulator = start("paper", num_envs=500)
    power = []
    for _ in range(3):
        view = simulator.view()
        power.append(relative_power(view, view.observed_spectral_efficiency))
        simulator.step(equal_allocation(simulator, 8))
    for values in power:
        assert stats.kstest(values.ravel(), stats.expon.cdf).pvalue > 1e-4
    assert_correlation(power[0], power[1], 0.0)
    assert_correlation(power[1], power[2], 0.0)
    assert_correlation(power[0], power[2], 0.0)


@pytest.fixture(scope="module")
def moving(start):
    """The truth of many environments of 20 users with one path gain, and the speeds of the users."""
    simulator = start("mobile", num_envs=1500, channel={"path_gain_low": 0.3, "path_gain_high": 0.3})
    truth = simulator.true_view()
    channel = truth.config.channel
    return truth, truth.doppler_hz * 299_792_458.0 / channel.carrier_frequency_hz


@pytest.mark.parametrize("delay_s", [0.005, 0.02, 0.2, 0.7, 3.0])
def test_observed_fading_has_clarkes_autocorrelation(delay_s, moving):
    truth, speed = moving
    # Shadowing moves little in so short a time, and is divided out at its value at the start.
    powers = [relative_power(truth, truth.spectral_efficiency_at(time_s)) for time_s in (0.0, delay_s)]
    for value in np.unique(speed):
        of_speed = speed == value
        if value * delay_s > 0.3:  # of 13 m
            continue
        doppler_hz = truth.doppler_hz[of_speed][0]
        first, second = (power[of_speed] for power in powers)
        assert stats.kstest(first, stats.expon.cdf).pvalue > 1e-4
        # The power of a complex Gaussian coefficient correlates as its square.
        assert_correlation(first, second, special.j0(2.0 * np.pi * doppler_hz * delay_s) ** 2)


@pytest.mark.parametrize("delay_s", [2.0, 10.0, 40.0])
def test_shadowing_has_its_spread_and_forgets_with_distance(delay_s, start):
    simulator = start("mobile", num_envs=1000, channel={"path_gain_low": 0.3, "path_gain_high": 0.3})
    config = simulator.config

    def shadowing_db():
        snr = signal_to_noise_ratio(simulator._channel.long_term_spectral_efficiency)
        return 10.0 * np.log10(snr / (config.channel.power_to_noise * 0.3))

    speed = simulator.view().doppler_hz * 299_792_458.0 / config.channel.carrier_frequency_hz
    before = shadowing_db()
    simulator._channel.begin_round(np.full((1000, 1), delay_s))
    after = shadowing_db()
    for decibels in (before, after):
        assert_mean(decibels, 0.0)
        assert_std(decibels, 8.0)
        assert stats.kstest(decibels.ravel() / 8.0, stats.norm.cdf).pvalue > 1e-4
    for value in np.unique(speed):
        of_speed = speed == value
        found = np.corrcoef(before[of_speed], after[of_speed])[0, 1]
        # Within .4 m, a sample of the record, shadowing is a straight line.
        assert found == pytest.approx(np.exp(-value * delay_s / 13.0), abs=0.05 if value > 1.0 else 0.012)


def test_users_are_independent_of_each_other_and_of_their_speeds(moving):
    truth, speed = moving
    power = relative_power(truth, truth.observed_spectral_efficiency)
    shadowing = truth.long_term_spectral_efficiency
    for values in (power, shadowing):
        assert_correlation(values, np.roll(values, 1, axis=1), 0.0)
        assert_correlation(values, np.roll(values, 1, axis=0), 0.0)
        assert_correlation(values, np.log(speed), 0.0)
    assert_correlation(power, shadowing, 0.0)


def test_channel_luck_and_drift_are_independent(scenario, start, equal_allocation):
    # One task with a spread that never sticks at 0 or 1, and the first round alone, so that all pairs are independent.
    tasks = [{"name": "mild", "acceptance_mean": 0.6, "acceptance_std": 0.15}]
    simulator = start(scenario, num_envs=1000, requests={"tasks": tasks, "tokens_low": 100})
    before = simulator.true_view()
    used = before.spectral_efficiency_at_upload(np.full((1000, 20), 8))
    outcome = simulator.step(equal_allocation(simulator, 8))
    after = simulator.true_view()
    channel = {
        "observed": before.observed_spectral_efficiency,
        "long-term": before.long_term_spectral_efficiency,
        "aged": used - before.observed_spectral_efficiency,
        "shadowed": after.long_term_spectral_efficiency - before.long_term_spectral_efficiency,
        "next": after.observed_spectral_efficiency,
    }
    others = {
        "tokens": outcome.tokens,
        "rate": before.acceptance_rate,
        "drift": after.acceptance_rate - before.acceptance_rate,
        # The fading's power hides the sign of its innovations.
        "drift squared": (after.acceptance_rate - before.acceptance_rate) ** 2,
        "device": before.drafting_latency_s,
    }
    varying = [{name: v for name, v in some.items() if np.std(v) > 1e-9} for some in (channel, others)]
    assert {"observed", "long-term", "next"} <= varying[0].keys()
    assert {"tokens", "device"} <= varying[1].keys()
    for seen in varying[0].values():
        for other in varying[1].values():
            assert_correlation(seen, other, 0.0)
            assert_correlation(np.roll(seen, 1, axis=1), other, 0.0)  # the neighbouring user
            assert_correlation(np.roll(seen, 1, axis=0), other, 0.0)  # the neighbouring environment
