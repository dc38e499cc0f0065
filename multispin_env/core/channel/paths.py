"""The channels of users that move, as functions of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from multispin_env.core.equations import LN_2, FloatArray, IntArray
from multispin_env.core.records import Float32Array, gauss_markov, rayleigh_power


@dataclass(frozen=True, eq=False)
class Paths:
    """What the channels of some users are made of, arrays (users,).

    Attributes:
        snr: Signal to noise ratio of one antenna without fading and shadowing, linear.
        fading_place: Where each antenna enters the record of fading, (antennas, users).
        fading_rate: Places that fading goes on in a second.
        shadowing_place: Where the user enters the record of shadowing.
        shadowing_rate: Places that shadowing goes on in a second.
        shadowing_scale: Standard deviation of the logarithm of the shadowing.
    """

    snr: Float32Array
    fading_place: IntArray
    fading_rate: FloatArray
    shadowing_place: IntArray
    shadowing_rate: FloatArray
    shadowing_scale: np.float32

    def take(self, users: IntArray | slice) -> Self:
        """Some of the users."""
        return type(self)(
            self.snr[users],
            self.fading_place[:, users],
            self.fading_rate[users],
            self.shadowing_place[users],
            self.shadowing_rate[users],
            self.shadowing_scale,
        )

    def shadowed_snr(self, time_s: FloatArray) -> Float32Array:
        """Signal to noise ratio of one antenna without fading, at times (..., users)."""
        if self.shadowing_scale == 0.0:
            return np.broadcast_to(self.snr, time_s.shape).copy()
        place = (time_s * self.shadowing_rate).astype(np.int64)
        place += self.shadowing_place
        snr = gauss_markov().at(place)
        snr *= self.shadowing_scale
        np.exp(snr, out=snr)
        snr *= self.snr
        return snr

    def fading_power(self, time_s: FloatArray) -> Float32Array:
        """Power of the fading, added up over the antennas (maximum-ratio combining), at times (..., users)."""
        moved = (time_s * self.fading_rate).astype(np.int64)
        record = rayleigh_power()
        power = record.at(moved + self.fading_place[0])
        for place in self.fading_place[1:]:
            power += record.at(moved + place)
        return power


def efficiency(snr: Float32Array) -> Float32Array:
    """``log2(1 + snr)`` in single precision, in place (eq. 8)."""
    np.log1p(snr, out=snr)
    snr *= np.float32(1.0 / LN_2)
    return snr
