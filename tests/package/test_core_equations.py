"""The paper's equations for one round."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multispin_env.core.equations import (
    expected_tokens,
    goodput,
    signal_to_noise_ratio,
    spectral_efficiency,
    upload_latency_s,
    verification_latency_s,
)


@pytest.mark.parametrize(("snr", "bits"), [(0.0, 0.0), (1.0, 1.0), (3.0, 2.0), (255.0, 8.0)])
def test_spectral_efficiency_is_log2_of_one_plus_snr(snr, bits):
    assert spectral_efficiency(snr) == pytest.approx(bits, abs=1e-15)


def test_spectral_efficiency_of_a_deep_fade_keeps_its_precision():
    assert spectral_efficiency(1e-20) == pytest.approx(1e-20 / math.log(2.0), rel=1e-12)


@given(snr=st.floats(1e-59, 1e30))
def test_the_snr_is_found_again_from_the_rate(snr):
    assert signal_to_noise_ratio(spectral_efficiency(snr)) == pytest.approx(snr, rel=1e-13)


def test_upload_latency_is_payload_times_length_over_rate():
    # 8 tokens of 1000 bits over 500 kHz at 4 bit/s/Hz: 8000 bits at 2 Mbit/s.
    assert upload_latency_s(8, 1000.0, 500e3, 4.0) == pytest.approx(4e-3, rel=1e-15)
    both = upload_latency_s(np.array([8, 4]), 1000.0, np.array([500e3, 250e3]), np.array([4.0, 1.0]))
    np.testing.assert_allclose(both, [4e-3, 16e-3], rtol=1e-15)


def test_verification_latency_is_affine_in_the_batch():
    assert verification_latency_s(20, 0.02268, 0.01272) == pytest.approx(0.27708, rel=1e-12)


@given(alpha=st.floats(0.0, 1.0), length=st.integers(0, 60))
def test_expected_tokens_is_the_mean_of_the_accepted_prefix_distribution(alpha, length):
    prefix = [alpha ** (n - 1) * (1.0 - alpha) for n in range(1, length + 1)]
    mean = sum(n * p for n, p in enumerate(prefix, start=1)) + (length + 1) * alpha**length
    assert expected_tokens(alpha, length) == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize("length", [0, 1, 8, 25, 3.5])
def test_expected_tokens_is_exact_at_and_near_the_ends(length):
    assert expected_tokens(0.0, length) == 1.0
    assert expected_tokens(1.0, length) == length + 1.0
    # To first order in the rejection probability.
    almost = 1.0 - 1e-12
    assert expected_tokens(almost, length) == pytest.approx(length + 1.0 - 1e-12 * length * (length + 1) / 2, rel=1e-14)


def test_goodput_is_all_users_tokens_over_the_rounds_duration():
    tokens = np.array([[3, 5, 2], [1, 1, 1]])
    np.testing.assert_allclose(goodput(tokens, np.array([0.3, 0.1]), 0.2), [20.0, 10.0])
