"""Long records of stationary processes: what varies at random along time, distance or text is read off such a record.

A record is one periodic realisation, a sum of as many sinusoids as it has samples, their powers given by the spectrum
and their phases drawn once and for all. Each path enters it at a place of its own and moves at a speed of its own.
So a path is a pure function of where it has come to, costs two look-ups, and over the places has the mean, variance and
autocorrelation of the spectrum exactly; the marginal is that of a sum of so many sinusoids. (Young and Beaulieu, IEEE
Trans. Commun. 48(7), 2000, generate fading in this way.)

Samples are rounded to single precision, so that the last digits of another machine's FFT do not matter.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from multispin_env.core.equations import IntArray

Float32Array = NDArray[np.float32]
Samples = TypeVar("Samples", NDArray[np.float32], NDArray[np.complex64])

# Places are integers, in this fraction of a sample, so that they wrap around as exactly as they add.
_SUBSAMPLE_BITS = 12
_SUBSAMPLE_MASK = (1 << _SUBSAMPLE_BITS) - 1
LENGTH_BITS = 19
_LENGTH = 1 << LENGTH_BITS

# A place anywhere in a record takes so many random bits, the number of a sample ``LENGTH_BITS``.
PLACE_BITS = LENGTH_BITS + _SUBSAMPLE_BITS

_FADING_SAMPLES = 32
_GAUSS_MARKOV_SAMPLES = 64
_SEED = 20260604


class Record(Generic[Samples]):
    """A periodic function of a real variable, linear between equidistant samples.

    Args:
        samples: One period, float32 or complex64, 2^19 of them.
        samples_per_unit: Samples to a unit of the variable.

    Attributes:
        samples: They, and the first one again.
        samples_per_unit: See above.
        places_per_unit: Places, as :meth:`at` takes them, to a unit of the variable.
    """

    def __init__(self, samples: Samples, samples_per_unit: int) -> None:
        self.samples = np.append(samples, samples[0])
        self.samples_per_unit = samples_per_unit
        self.places_per_unit = float(samples_per_unit << _SUBSAMPLE_BITS)

    def at(self, place: IntArray) -> Samples:
        """The function at integer places, any shape."""
        index = place >> _SUBSAMPLE_BITS
        index &= _LENGTH - 1
        below = self.samples.take(index)
        index += 1
        value = self.samples.take(index)
        value -= below
        part = (place & _SUBSAMPLE_MASK).astype(np.float32)
        part *= np.float32(2.0**-_SUBSAMPLE_BITS)
        value *= part
        value += below
        return value


@lru_cache(maxsize=1)
def clarke() -> Record[NDArray[np.complex64]]:
    """The coefficient of Rayleigh fading in isotropic scattering (Clarke's model), of mean power 1.

    The variable is time in Doppler periods, 1 / f_d. The autocorrelation is ``J0(2 pi f_d dt)``; the record holds
    16 384 periods.
    """
    # The power of a line is what the Doppler spectrum has in its bin; f / f_d runs from -1 to 1 in both halves.
    line = np.fft.fftfreq(_LENGTH, 1.0 / _LENGTH) * (_FADING_SAMPLES / _LENGTH)
    half = 0.5 * _FADING_SAMPLES / _LENGTH
    power = (np.arcsin(np.clip(line + half, -1.0, 1.0)) - np.arcsin(np.clip(line - half, -1.0, 1.0))) / np.pi
    coefficient = np.fft.ifft(np.sqrt(power) * _phasors(_LENGTH, 0), norm="forward")
    return Record(coefficient.astype(np.complex64), _FADING_SAMPLES)


@lru_cache(maxsize=1)
def gauss_markov() -> Record[Float32Array]:
    """A Gaussian variable of mean 0 and variance 1 with the autocorrelation ``exp(-|x|)``.

    The variable is a distance in correlation lengths; the record holds 8 192 of them.
    """
    lag = np.arange(_LENGTH)
    correlation = np.exp(-np.minimum(lag, _LENGTH - lag) / _GAUSS_MARKOV_SAMPLES)
    power = np.maximum(np.fft.rfft(correlation).real, 0.0)
    power[0] = 0.0
    samples = np.fft.irfft(np.sqrt(power) * _phasors(len(power), 1))
    return Record((samples / samples.std()).astype(np.float32), _GAUSS_MARKOV_SAMPLES)


def _phasors(count: int, stream: int) -> NDArray[np.complex128]:
    return np.exp(2j * np.pi * np.random.default_rng((_SEED, stream)).random(count))
