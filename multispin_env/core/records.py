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

from multispin_env.core.equations import FloatArray
from multispin_env.core.streams import UIntArray

Float32Array = NDArray[np.float32]
PlaceArray = NDArray[np.uint32]
Samples = TypeVar("Samples", NDArray[np.float32], NDArray[np.complex64])

# Places are unsigned integers of 32 bits, in a fraction of a sample, so that they wrap around as exactly as they add.
LENGTH_BITS = 18
_LENGTH = 1 << LENGTH_BITS
_SUBSAMPLE_BITS = 32 - LENGTH_BITS
# As arrays: a Python number takes NumPy as long as the operation on a few users.
_SHIFT = np.array(_SUBSAMPLE_BITS, dtype=np.uint32)
_SUBSAMPLE_MASK = np.array((1 << _SUBSAMPLE_BITS) - 1, dtype=np.uint32)
_SAMPLES_PER_PLACE = np.array(2.0**-_SUBSAMPLE_BITS, dtype=np.float32)
_MOST_PASSED = np.array(2.0**62)

_FADING_SAMPLES = 16
_GAUSS_MARKOV_SAMPLES = 32
_SEED = 20260604


class Record(Generic[Samples]):
    """A periodic function of a real variable, linear between equidistant samples.

    Args:
        samples: One period, 2^18 of them, and the first one again.
        samples_per_unit: Samples to a unit of the variable.

    Attributes:
        samples: See above.
        samples_per_unit: See above.
        places_per_unit: Places, as :meth:`at` takes them, to a unit of the variable.
    """

    def __init__(self, samples: Samples, samples_per_unit: int) -> None:
        self.samples: Samples = samples
        self.samples_per_unit = samples_per_unit
        self.places_per_unit = float(samples_per_unit << _SUBSAMPLE_BITS)

    def at(self, place: PlaceArray) -> Samples:
        """The function at places, any shape."""
        index = (place >> _SHIFT).astype(np.intp)
        below = self.samples.take(index, mode="wrap")  # faster than NumPy's default, which looks for wrong indices
        value = self.samples[1:].take(index, mode="wrap")
        value -= below
        part = (place & _SUBSAMPLE_MASK).astype(np.float32)
        part *= _SAMPLES_PER_PLACE
        value *= part
        value += below
        return value


def places(bits: UIntArray) -> PlaceArray:
    """Places anywhere in a record, from uniform 64-bit integers."""
    return (bits >> np.uint64(32)).astype(np.uint32)


def places_passed(units: FloatArray, rate: FloatArray) -> PlaceArray:
    """How many places so many units take at a rate of places a unit; beyond 2^62 as many as 2^62."""
    passed = units * rate
    np.minimum(passed, _MOST_PASSED, out=passed)
    return passed.astype(np.int64).astype(np.uint32)


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
    return Record(_closed(coefficient).astype(np.complex64), _FADING_SAMPLES)


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
    return Record(_closed(samples).real.astype(np.float32), _GAUSS_MARKOV_SAMPLES)


def _closed(samples: NDArray[np.complex128] | FloatArray) -> NDArray[np.complex128]:
    """The samples and the first one again, scaled so that the line between them has a mean power of 1."""
    # Over a straight line from a to b it is (|a|^2 + |b|^2 + Re(a* b)) / 3.
    following = np.roll(samples, -1)
    power = np.mean(2.0 * np.abs(samples) ** 2 + (samples.conj() * following).real) / 3.0
    return np.append(samples, samples[0]).astype(np.complex128) / np.sqrt(power)


def _phasors(count: int, stream: int) -> NDArray[np.complex128]:
    return np.exp(2j * np.pi * np.random.default_rng((_SEED, stream)).random(count))
