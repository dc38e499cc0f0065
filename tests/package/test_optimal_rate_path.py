"""Lemma 3 where rates vary: constant rates give the closed form, and on a path all drafts arrive at once."""

import numpy as np
import pytest

from multispin_env import Allocation
from multispin_env.optimal import RoundProblem, equalize_bandwidth
from multispin_env.optimal.rate_path import RatePath, equalize_on_path

BITS_PER_HZ = 0.0064


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return RoundProblem(
        drafting_latency_s=rng.uniform(0.01, 0.05, (6, 7)),
        spectral_efficiency=rng.uniform(0.2, 9.0, (6, 7)),
        acceptance_rate=np.full((6, 7), 0.8),
        payload_bits=5e6 * BITS_PER_HZ,
        bandwidth_hz=5e6,
        verification_latency_s=0.2,
        max_draft_length=25,
    )


@pytest.mark.parametrize("cells", [1, 40, 4000])
def test_constant_rates_give_the_closed_form(cells, problem):
    # Whether the round ends within the path or behind it.
    path = RatePath.sampled(lambda time_s: problem.spectral_efficiency + 0.0 * time_s, 0.01, cells)
    for length in (np.full((6, 7), 1), np.random.default_rng(1).integers(1, 25, (6, 7))):
        load = length * BITS_PER_HZ
        latency_s, share = equalize_on_path(path, load, length * problem.drafting_latency_s)
        expected_s, expected = equalize_bandwidth(problem, length)
        np.testing.assert_allclose(latency_s, expected_s, rtol=1e-8)
        np.testing.assert_allclose(share, expected, rtol=1e-7)


def test_several_lengths_are_compared_at_once(problem):
    rng = np.random.default_rng(2)
    rates = rng.uniform(0.0, 8.0, (100, 6, 7))
    path = RatePath.sampled(lambda time_s: rates, 0.02, 100)
    lengths = rng.integers(1, 25, (5, 6, 7))
    load = lengths * BITS_PER_HZ
    latency_s, share = equalize_on_path(path, load, lengths * problem.drafting_latency_s)
    assert (latency_s.shape, share.shape) == ((5, 6), (5, 6, 7))
    for number in range(5):
        alone_s, alone = equalize_on_path(path, load[number], lengths[number] * problem.drafting_latency_s)
        np.testing.assert_allclose(alone_s, latency_s[number], rtol=1e-9)
        np.testing.assert_allclose(alone, share[number], rtol=1e-8)
    # Shares sum to 1, and what each user's band carries until then is its draft.
    np.testing.assert_allclose(share.sum(axis=-1), 1.0, rtol=1e-12)
    carried = path.at(np.broadcast_to(latency_s[..., np.newaxis], share.shape))[0]
    ready = path.at(lengths * problem.drafting_latency_s)[0]
    np.testing.assert_allclose(share * (carried - ready), load, rtol=1e-6)


@pytest.mark.parametrize("scenario", ["mobile", "measured"])
def test_all_drafts_arrive_at_once_in_the_simulator(scenario, start):
    simulator = start(scenario, num_envs=12)
    config = simulator.config
    for _ in range(5):
        view = simulator.true_view()
        length = np.random.default_rng(3).integers(2, 10, (12, 20))
        path = RatePath.sampled(lambda t, view=view: view.spectral_efficiency_at(view.time_s + t), 0.004, 1000)
        load = length * config.payload_bits / config.bandwidth_hz
        latency_s, share = equalize_on_path(path, load, length * view.drafting_latency_s)
        outcome = simulator.step(Allocation(length, share))
        late = outcome.multi_access_s / latency_s - 1.0
        assert np.all(np.abs(late) < 0.15)
        assert late.mean() < 0.04
        arrival_s = outcome.drafting_s + outcome.upload_s
        assert np.median(np.abs(arrival_s / latency_s[:, np.newaxis] - 1.0)) < 0.01
        assert abs(np.mean(arrival_s / latency_s[:, np.newaxis]) - 1.0) < 0.005
