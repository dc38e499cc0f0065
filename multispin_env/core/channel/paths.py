"""The channels of users that move, as functions of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from multispin_env.core.equations import LN_2, FloatArray, IntArray
from multispin_env.core.records import Float32Array, clarke, gauss_markov

# Moments within a cell of an upload that can be told apart.
STEPS_PER_CELL = 16


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
        return _shadowed(self.snr, self.shadowing_scale, _moved(time_s, self.shadowing_rate) + self.shadowing_place)

    def fading_power(self, time_s: FloatArray) -> Float32Array:
        """Power of the fading, added up over the antennas (maximum-ratio combining), at times (..., users)."""
        return _fading_power(_moved(time_s, self.fading_rate), self.fading_place)

    def spectral_efficiency(self, time_s: FloatArray) -> Float32Array:
        """Rate per hertz in bit/s/Hz, at times (..., users)."""
        snr = self.fading_power(time_s)
        snr *= self.shadowed_snr(time_s)
        return efficiency(snr)

    def walk(self, start_s: FloatArray, cell_s: FloatArray) -> Walk:
        """The same channels in cells of time.

        Args:
            start_s: When each user's cells begin, (users,).
            cell_s: Their length, (users,).
        """
        step_s = cell_s / STEPS_PER_CELL
        return Walk(
            self.snr,
            _moved(start_s, self.fading_rate) + self.fading_place,
            np.rint(step_s * self.fading_rate).astype(np.int64),
            _moved(start_s, self.shadowing_rate) + self.shadowing_place,
            np.rint(step_s * self.shadowing_rate).astype(np.int64),
            self.shadowing_scale,
        )


@dataclass(frozen=True, eq=False)
class Walk:
    """Channels of some users in cells of time, arrays (users,).

    Attributes:
        snr: As in :class:`Paths`.
        fading_place: Where each antenna stands in the record of fading as the first cell begins, (antennas, users).
        fading_step: Places that fading goes on in a step, of which a cell has ``STEPS_PER_CELL``.
        shadowing_place: Where the user stands in the record of shadowing as the first cell begins.
        shadowing_step: Places that shadowing goes on in a step.
        shadowing_scale: As in :class:`Paths`.
    """

    snr: Float32Array
    fading_place: IntArray
    fading_step: IntArray
    shadowing_place: IntArray
    shadowing_step: IntArray
    shadowing_scale: np.float32

    def take(self, users: IntArray | slice) -> Self:
        """Some of the users."""
        return type(self)(
            self.snr[users],
            self.fading_place[:, users],
            self.fading_step[users],
            self.shadowing_place[users],
            self.shadowing_step[users],
            self.shadowing_scale,
        )

    def spectral_efficiency(self, step: IntArray, group_step: IntArray) -> Float32Array:
        """Rates per hertz in bit/s/Hz, (steps, users).

        Args:
            step: When, in steps from the beginning of the first cell, (groups * cells of a group,).
            group_step: When to look up the shadowing of each group, (groups,).
        """
        moved = step[:, np.newaxis] * self.fading_step
        snr = _fading_power(moved, self.fading_place)
        place = group_step[:, np.newaxis] * self.shadowing_step
        place += self.shadowing_place
        by_group = snr.reshape(len(group_step), -1, len(self.snr))
        by_group *= _shadowed(self.snr, self.shadowing_scale, place)[:, np.newaxis]
        return efficiency(snr)


def _moved(time_s: FloatArray, rate: FloatArray) -> IntArray:
    return (time_s * rate).astype(np.int64)


def _fading_power(moved: IntArray, start: IntArray) -> Float32Array:
    """Power of the fading, added up over antennas, as many places (..., users) on from (antennas, users)."""
    power = np.zeros(moved.shape, dtype=np.float32)
    for place in start:
        coefficient = clarke().at(moved + place)
        for part in (coefficient.real, coefficient.imag):
            power += part * part
    return power


def _shadowed(snr: Float32Array, scale: np.float32, place: IntArray) -> Float32Array:
    """Signal to noise ratios times the shadowing at these places of its record, (..., users)."""
    shadowed = gauss_markov().at(place)
    shadowed *= scale
    np.exp(shadowed, out=shadowed)
    shadowed *= snr
    return shadowed


def efficiency(snr: Float32Array) -> Float32Array:
    """``log2(1 + snr)`` in single precision, in place (eq. 8)."""
    np.log1p(snr, out=snr)
    snr *= np.float32(1.0 / LN_2)
    return snr
