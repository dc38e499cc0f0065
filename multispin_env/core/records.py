"""Long records of stationary processes: what varies at random along time, distance or text is read off such a record.

A record is one periodic realisation, a sum of as many sinusoids as it has samples, their powers given by the spectrum
and their phases drawn once and for all. Each path enters it at a place of its own and moves at a speed of its own.
So a path is a pure function of where it has come to, costs two look-ups, and over the places has the mean, variance and
autocorrelation of the spectrum exactly; the marginal is that of a sum of so many sinusoids. (Young and Beaulieu, IEEE
Trans. Commun. 48(7), 2000, generate fading in this way.)

Samples are rounded to float32, so that the last digits of another machine's FFT do not matter.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from multispin_env.core.equations import FloatArray, IntArray

Float32Array = NDArray[np.float32]

# Places are integers, in this fraction of a sample, so that they wrap around as exactly as they add.
_SUBSAMPLE_BITS = 12
_SUBSAMPLE_MASK = (1 << _SUBSAMPLE_BITS) - 1
LENGTH_BITS = 20
_LENGTH = 1 << LENGTH_BITS

# A place anywhere in a record takes so many random bits, the number of a sample ``LENGTH_BITS``.
PLACE_BITS = LENGTH_BITS + _SUBSAMPLE_BITS

_FADING_SAMPLES = 32
_GAUSS_MARKOV_SAMPLES = 64
_SEED = 20260604


class Record:
    """A periodic function of a real variable, linear between equidistant samples.

    Args:
        samples: One period, 2^20 of them.
        samples_per_unit: Samples to a unit of the variable.

    Attributes:
        samples: They, and the first one again, float32.
        samples_per_unit: See above.
        places_per_unit: Places, as :meth:`at` takes them, to a unit of the variable.
    """

    def __init__(self, samples: FloatArray, samples_per_unit: int) -> None:
        self.samples: Float32Array = np.append(samples, samples[0]).astype(np.float32)
        self.samples_per_unit = samples_per_unit
        self.places_per_unit = float(samples_per_unit << _SUBSAMPLE_BITS)

    def near(self, place: IntArray) -> Float32Array:
        """The function at the samples nearest to integer places, any shape, which are overwritten."""
        place += 1 << (_SUBSAMPLE_BITS - 1)
        place >>= _SUBSAMPLE_BITS
        place &= _LENGTH - 1
        return self.samples.take(place)

    def at(self, place: IntArray) -> Float32Array:
        """The function at integer places, any shape."""
        index = place >> _SUBSAMPLE_BITS
        index &= _LENGTH - 1
        below = self.samples.take(index)
        index += 1
        value = self.samples.take(index)
        value -= below
        value *= (place & _SUBSAMPLE_MASK).astype(np.float32)
        value *= np.float32(2.0**-_SUBSAMPLE_BITS)
        value += below
        return value


@lru_cache(maxsize=1)
def rayleigh_power() -> Record:
    """Power of a Rayleigh fading coefficient in isotropic scattering (Clarke's model), mean 1.

    The variable is time in Doppler periods, 1 / f_d. The coefficient's autocorrelation is ``J0(2 pi f_d dt)``; the
    record holds 32 768 periods.
    """
    # The power of a line is what the Doppler spectrum has in its bin; f / f_d runs from -1 to 1 in both halves.
    line = np.fft.fftfreq(_LENGTH, 1.0 / _LENGTH) * (_FADING_SAMPLES / _LENGTH)
    half = 0.5 * _FADING_SAMPLES / _LENGTH
    power = (np.arcsin(np.clip(line + half, -1.0, 1.0)) - np.arcsin(np.clip(line - half, -1.0, 1.0))) / np.pi
    coefficient = np.fft.ifft(np.sqrt(power) * _phasors(_LENGTH, 0), norm="forward")
    return Record(np.square(coefficient.real) + np.square(coefficient.imag), _FADING_SAMPLES)


@lru_cache(maxsize=1)
def gauss_markov() -> Record:
    """A Gaussian variable of mean 0 and variance 1 with the autocorrelation ``exp(-|x|)``.

    The variable is a distance in correlation lengths; the record holds 16 384 of them.
    """
    lag = np.arange(_LENGTH)
    correlation = np.exp(-np.minimum(lag, _LENGTH - lag) / _GAUSS_MARKOV_SAMPLES)
    power = np.maximum(np.fft.rfft(correlation).real, 0.0)
    power[0] = 0.0
    samples = np.fft.irfft(np.sqrt(power) * _phasors(len(power), 1))
    return Record(samples / samples.std(), _GAUSS_MARKOV_SAMPLES)


def _phasors(count: int, stream: int) -> NDArray[np.complex128]:
    return np.exp(2j * np.pi * np.random.default_rng((_SEED, stream)).random(count))
