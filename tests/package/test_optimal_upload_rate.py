"""What is expected of an upload's mean rate: against the channel itself, and its limits."""

import numpy as np
import pytest

from multispin_env.core import EXACT
from multispin_env.optimal import UploadRate, cautious_spectral_efficiency, typical_upload_rate, upload_rate

WINDOWS_S = ((0.02, 0.1), (0.1, 0.3))


@pytest.mark.parametrize("window_s", WINDOWS_S)
@pytest.mark.parametrize("speed_m_s", [0.01, 0.1, 1.4])
def test_expectation_and_spread_are_those_of_the_channel(start, speed_m_s, window_s):
    # Shadowing, which the prediction takes to stand still, is left out.
    channel = {"speeds_m_s": [speed_m_s], "shadowing_std_db": 0.0}
    view = start("mobile", num_envs=1500, channel=channel).true_view()
    start_s, end_s = (np.full(view.observed_spectral_efficiency.shape, time_s) for time_s in window_s)
    expected = upload_rate(view, start_s, end_s)
    times_s = np.linspace(*window_s, 64)
    found = np.mean([view.spectral_efficiency_at(time_s) for time_s in times_s], axis=0)
    error = found - expected.mean
    count = np.sqrt(error.size)
    assert abs(error.mean()) < 4.0 * error.std() / count + 0.005 * found.mean()
    # Where the upload sees several fades the prediction takes too few of them for independent, and is cautious.
    assert 0.95 < np.sqrt(np.mean(expected.std**2)) / np.sqrt(np.mean(error**2)) < 1.4
    # Users whose fade is deep are predicted as well as the others.
    deep = view.observed_spectral_efficiency < 0.5 * view.long_term_spectral_efficiency
    assert abs(error[deep].mean()) < 4.0 * error[deep].std() / np.sqrt(deep.sum()) + 0.01 * found.mean()


def test_where_rates_are_known_they_are_what_is_expected(start):
    view = start("paper", num_envs=3).view()
    assert view.csi == EXACT
    found = typical_upload_rate(view)
    np.testing.assert_array_equal(found.mean, view.observed_spectral_efficiency)
    np.testing.assert_array_equal(found.std, 0.0)
    np.testing.assert_array_equal(cautious_spectral_efficiency(view), view.observed_spectral_efficiency)


def test_one_who_stands_still_is_found_as_observed_and_one_who_runs_at_the_mean(start):
    still = start("mobile", num_envs=50, channel={"speeds_m_s": [0.0]}).view()
    found = typical_upload_rate(still)
    np.testing.assert_allclose(found.mean, still.observed_spectral_efficiency, rtol=1e-6)
    np.testing.assert_allclose(found.std, 0.0, atol=1e-6)
    fast = start("mobile", num_envs=50, channel={"speeds_m_s": [100.0]}).view()
    assert np.corrcoef(typical_upload_rate(fast).mean.ravel(), fast.long_term_spectral_efficiency.ravel())[0, 1] > 0.99


def test_a_margin_is_about_so_many_deviations_and_never_all_of_the_rate():
    rate = UploadRate(np.array([4.0, 1.0]), np.array([0.04, 2.0]))
    np.testing.assert_array_equal(rate.less(0.0), rate.mean)
    assert rate.less(1.0)[0] == pytest.approx(3.96, abs=1e-3)
    assert 0.0 < rate.less(50.0)[1] < 0.02
