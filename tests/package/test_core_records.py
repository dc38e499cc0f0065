"""The records that fading, shadowing and acceptance are read off: their laws."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from multispin_env.core.records import LENGTH_BITS, clarke, gauss_markov, places_passed

RECORDS: dict[str, Callable[[], Any]] = {"Clarke": clarke, "Gauss-Markov": gauss_markov}


def places(number=200_000, seed=0):
    return np.random.default_rng(seed).integers(0, 2**32, number, dtype=np.uint32)


def after(place, record, units):
    return place + places_passed(np.full(len(place), units), record.places_per_unit)


def test_fading_has_an_exponential_power_of_mean_1():
    power = np.abs(clarke().at(places(1_000_000)).astype(np.complex128)) ** 2
    assert power.min() > 0.0
    assert power.mean() == pytest.approx(1.0, abs=0.01)
    assert np.mean(power**2) == pytest.approx(2.0, abs=0.03)
    # Deep fades, which decide over uploads, are as frequent as they should be.
    for depth in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0):
        assert np.mean(power < depth) == pytest.approx(1.0 - np.exp(-depth), rel=0.08)


@pytest.mark.parametrize("periods", [1 / 16, 1 / 8, 0.25, 0.38, 0.5, 0.75, 1.0, 1.5, 3.0, 10.0])
def test_fading_has_the_autocorrelation_of_isotropic_scattering(periods):
    record, place = clarke(), places()
    first, second = (record.at(start).astype(np.complex128) for start in (place, after(place, record, periods)))
    assert np.mean(first.conj() * second) == pytest.approx(special.j0(2.0 * np.pi * periods), abs=0.01)
    assert abs(np.mean(first * second)) < 0.02  # no direction is preferred
    # The power of a complex Gaussian coefficient correlates as the square.
    powers = np.abs(first) ** 2, np.abs(second) ** 2
    assert np.corrcoef(*powers)[0, 1] == pytest.approx(special.j0(2.0 * np.pi * periods) ** 2, abs=0.015)


def test_shadowing_is_gaussian():
    value = gauss_markov().at(places()).astype(np.float64)
    assert value.mean() == pytest.approx(0.0, abs=0.01)
    assert value.std() == pytest.approx(1.0, abs=0.01)
    assert stats.kstest(value, "norm").statistic < 0.01


@pytest.mark.parametrize("lengths", [0.1, 0.5, 1.0, 2.0, 5.0])
def test_shadowing_forgets_exponentially(lengths):
    record, place = gauss_markov(), places()
    first, second = (record.at(start).astype(np.float64) for start in (place, after(place, record, lengths)))
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(np.exp(-lengths), abs=0.012)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_periodic_and_linear_between_samples(name):
    record = RECORDS[name]()
    period = len(record.samples) - 1
    assert record.samples[0] == record.samples[-1]
    place, sample = places(1000), np.uint32(2 ** (32 - LENGTH_BITS))
    turns = after(place, record, 3 * period / record.samples_per_unit)
    np.testing.assert_array_equal(record.at(turns), record.at(place))
    corner = place - place % sample
    np.testing.assert_array_equal(record.at(corner), record.samples[corner // sample])
    between = 0.25 * record.at(corner + sample) + 0.75 * record.at(corner)
    np.testing.assert_allclose(record.at(corner + sample // np.uint32(4)), between, rtol=1e-4, atol=1e-5)
