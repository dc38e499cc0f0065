"""Simulation against equations: what many rounds show is what the paper's formulas and the configuration say.

Every seed is fixed, so that a result never changes; tolerances are four standard errors of the estimate.
"""

import numpy as np
import pytest
from scipy import special, stats

from multispin_env import MODEL_PAIRS, PAPER_PAIRS, make_config
from multispin_env.config import RequestConfig, TaskConfig
from multispin_env.core.channel.gauss_markov import GaussMarkovFading
from multispin_env.core.equations import expected_tokens, signal_to_noise_ratio
from multispin_env.core.requests.synthetic import SyntheticRequests, accepted_tokens, beta_parameters
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


@pytest.mark.parametrize("length", [1, 8, 25])
@pytest.mark.parametrize("alpha", [0.0, 0.03, 0.5, 0.8582, 0.99, 1.0])
def test_accepted_tokens_have_the_papers_distribution(alpha, length):
    outcome = np.random.default_rng(1).standard_exponential(100_000)
    tokens = 1 + accepted_tokens(np.full(outcome.shape, alpha), np.full(outcome.shape, length), outcome)
    assert_distribution(tokens, alpha, length)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 0.9, 1.0])
def test_tokens_of_simulated_rounds_have_the_papers_distribution(alpha, start, equal_allocation):
    tasks = [{"name": "one", "acceptance_mean": alpha}]
    simulator = start(lanes=20, requests={"tasks": tasks, "tokens_low": 3, "tokens_high": 40})
    length = np.arange(1, 21)
    tokens = np.stack([simulator.step(equal_allocation(simulator, length)).tokens for _ in range(100)])
    for user in (0, 4, 19):
        assert_distribution(tokens[..., user], alpha, length[user])


@pytest.mark.parametrize(("model_pair", "task"), TASKS)
def test_requests_have_the_mean_and_the_spread_of_table_1(model_pair, task, start):
    tasks = [{"name": task.name, "acceptance_mean": task.acceptance_mean, "acceptance_std": task.acceptance_std}]
    for scenario in ("requests", "mobile"):
        rates = start(scenario, model_pair, 2000, requests={"tasks": tasks}).true_view().acceptance_rate
        assert_mean(rates, task.acceptance_mean)
        assert_std(rates, task.acceptance_std)


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
    simulator = start(lanes=500, episode_rounds=8, requests=config)
    ended = np.zeros((500, 20), dtype=np.int64)
    for round_number in range(1, 9):
        simulator.step(equal_allocation(simulator, 2))
        fresh = simulator.view().request_tested == 0
        ended[fresh & (ended == 0)] = round_number
    counts = np.bincount(ended.ravel(), minlength=9)
    assert not counts[:3].any()
    assert stats.chisquare(counts[3:]).pvalue > 1e-4


class Drift:
    """Requests whose acceptance shows its Gaussian variate, and which gain exactly ``step`` tokens a round."""

    MEAN, STD, STEP = 0.6, 0.15, 5

    def __init__(self, **fields):
        task = TaskConfig(name="mild", acceptance_mean=self.MEAN, acceptance_std=self.STD)
        self.requests = SyntheticRequests(RequestConfig(tasks=(task,), acceptance_spread=1.0, **fields), 20_000, 10)
        self.requests.reset(Streams([np.random.default_rng(7)]))

    def variate(self):
        beta = beta_parameters(self.MEAN, self.STD)
        return special.ndtri(special.betainc(*beta, self.requests.acceptance_rate))

    def step(self):
        drafts = np.full(self.requests.acceptance_rate.shape, self.STEP - 1)
        self.requests.advance(drafts, drafts)


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_drift_leaves_the_marginal_and_has_the_stated_autocorrelation(share):
    memory = 20.0
    drift = Drift(drift_share=share, drift_correlation_tokens=memory, tokens_low=10_000, tokens_high=10_000)
    first = drift.variate()
    for rounds in range(1, 11):
        drift.step()
        if rounds in (1, 2, 4, 10):
            assert_mean(drift.requests.acceptance_rate.T, Drift.MEAN)
            assert_std(drift.requests.acceptance_rate, Drift.STD)
            remembered = np.exp(-rounds * Drift.STEP / memory)
            assert_correlation(first, drift.variate(), 1.0 - share + share * remembered)


def test_the_next_request_drifts_from_a_fresh_start():
    # With a single prompt a user's own part stays for ever, and what drifts is all that is new.
    drift = Drift(drift_share=0.5, drift_correlation_tokens=1e6, tokens_low=10, tokens_high=10, prompts_per_user=1)
    first = drift.variate()
    drift.step()
    np.testing.assert_allclose(drift.variate(), first, atol=0.05)
    drift.step()
    assert_correlation(first, drift.variate(), 0.5)
    assert_std(drift.requests.acceptance_rate, Drift.STD)


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
        assert outcome.latency_s - outcome.multi_access_s == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("model_pair", MODEL_PAIRS)
@pytest.mark.parametrize("spread", [0.0, 0.15, 0.5])
def test_drafting_latencies_are_uniform_around_their_mean(spread, model_pair, start):
    view = start("paper", model_pair, 500, drafting_latency_spread=spread).view()
    relative = view.drafting_latency_s / view.config.drafting_latency_s - 1.0
    assert np.all(np.abs(relative) <= spread + 1e-12)
    if spread:
        assert stats.kstest(relative.ravel() / spread, stats.uniform(-1.0, 2.0).cdf).pvalue > 1e-4


@pytest.mark.parametrize("model_pair", MODEL_PAIRS)
def test_goodput_of_a_fixed_allocation_is_the_papers_formula(model_pair, start, random_allocation):
    # A channel that stands still: one coefficient a user for the whole episode.
    still = {"fading_correlation_time_s": 1e18}
    lanes, rounds = 10, 400
    simulator = start("paper", model_pair, lanes, channel=still, episode_rounds=rounds)
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
    np.testing.assert_allclose(simulated_s, np.broadcast_to(duration_s, simulated_s.shape), rtol=1e-3)
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
    view = start("paper", lanes=500).view()
    gain = signal_to_noise_ratio(view.long_term_spectral_efficiency) / view.config.channel.power_to_noise
    assert stats.kstest(gain.ravel(), stats.uniform(0.2, 0.3).cdf).pvalue > 1e-4


def test_block_fading_is_exponential_and_independent_across_rounds(start, equal_allocation):
    simulator = start("paper", lanes=500)
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


def test_the_fading_coefficient_forgets_exponentially_in_real_time():
    memory_s, users = 1.9, 20_000
    delay_s = np.array([[0.0], [0.1], [0.4], [0.7]])
    remaining_s = np.array([[0.3], [0.2], [0.05], [1.5]])
    fading = GaussMarkovFading(memory_s, users, 3)
    fading.reset(Streams([np.random.default_rng(lane) for lane in range(4)]))
    first, passed_s = fading.begin_round(), np.zeros(4)
    for _ in range(3):
        at_upload = fading.after(np.broadcast_to(delay_s, (4, users)))
        for lane in range(4):
            for part in range(2):
                expected = np.exp(-(passed_s[lane] + delay_s[lane, 0]) / memory_s)
                if expected < 1.0:
                    assert_correlation(first[part, lane], at_upload[part, lane], expected)
                assert_std(at_upload[part, lane], 1.0)
        fading.end_round(at_upload, np.broadcast_to(remaining_s, (4, users)))
        passed_s += (delay_s + remaining_s)[:, 0]
        later = fading.begin_round()
        for lane in range(4):
            assert_correlation(first[0, lane], later[0, lane], np.exp(-passed_s[lane] / memory_s))
            assert_correlation(first[0, lane], later[1, lane], 0.0)


@pytest.fixture(scope="module")
def timed_rounds(start, equal_allocation):
    """Each lane's draft length of 1, 10 or 25, views before each of six mobile rounds, and a round's duration."""
    lengths = np.repeat([1, 10, 25], 400)
    # A single path gain, so that what changes is the fading and the shadowing.
    simulator = start("mobile", lanes=len(lengths), channel={"path_gain_low": 0.3, "path_gain_high": 0.3}, **TIMED)
    config = simulator.config
    duration_s = lengths * config.drafting_latency_s + config.verification_latency_s
    views = []
    for _ in range(6):
        views.append(simulator.view())
        outcome = simulator.step(equal_allocation(simulator, lengths[:, np.newaxis]))
        # What there is to upload takes no time, but in the deepest of fades.
        assert np.quantile(np.abs(outcome.latency_s / duration_s - 1.0), 0.99) < 1e-3
    return lengths, views, duration_s


@pytest.mark.parametrize("rounds", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 10, 25])
def test_observed_fading_forgets_exponentially_over_rounds_of_any_length(length, rounds, timed_rounds):
    lengths, views, duration_s = timed_rounds
    lanes = lengths == length
    before, after = (
        relative_power(view, view.observed_spectral_efficiency)[lanes] for view in (views[0], views[rounds])
    )
    coefficient = np.exp(-rounds * duration_s[lanes][0] / views[0].config.channel.fading_correlation_time_s)
    # The power of a complex Gaussian coefficient correlates as its square.
    assert_correlation(before, after, coefficient**2)
    assert stats.kstest(after.ravel(), stats.expon.cdf).pvalue > 1e-4


@pytest.mark.parametrize("rounds", [1, 5])
@pytest.mark.parametrize("length", [1, 10, 25])
def test_shadowing_has_its_spread_and_forgets_exponentially(length, rounds, timed_rounds):
    lengths, views, duration_s = timed_rounds
    lanes, channel = lengths == length, views[0].config.channel

    def shadowing_db(view):
        snr = signal_to_noise_ratio(view.long_term_spectral_efficiency[lanes])
        return 10.0 * np.log10(snr / (channel.power_to_noise * 0.3))

    before, after = shadowing_db(views[0]), shadowing_db(views[rounds])
    for decibels in (before, after):
        assert_mean(decibels, 0.0)
        assert_std(decibels, 8.0)
        assert stats.kstest(decibels.ravel() / 8.0, stats.norm.cdf).pvalue > 1e-4
    assert_correlation(before, after, np.exp(-rounds * duration_s[lanes][0] / 14.0))


@pytest.mark.parametrize("model_pair", PAPER_PAIRS)
def test_what_is_used_after_eight_tokens_correlates_point_nine_with_what_was_seen(model_pair, start):
    simulator = start("mobile", model_pair, 2000, drafting_latency_spread=0.0)
    truth = simulator.true_view()
    coefficient = np.exp(-8 * truth.config.drafting_latency_s / truth.config.channel.fading_correlation_time_s)
    assert coefficient == pytest.approx(0.9, abs=0.025)
    used = truth.spectral_efficiency_at_upload(np.full((2000, 20), 8))
    seen = relative_power(truth, truth.observed_spectral_efficiency)
    assert_correlation(seen, relative_power(truth, used), coefficient**2)


def test_channel_luck_and_drift_are_independent(scenario, start, equal_allocation):
    # One task with a spread that never sticks at 0 or 1, and the first round alone, so that all pairs are independent.
    tasks = [{"name": "mild", "acceptance_mean": 0.6, "acceptance_std": 0.15}]
    simulator = start(scenario, lanes=1000, requests={"tasks": tasks, "tokens_low": 100})
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
            assert_correlation(np.roll(seen, 1, axis=0), other, 0.0)  # the neighbouring lane
