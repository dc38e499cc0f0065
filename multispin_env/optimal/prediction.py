"""Rates that uploads may expect, from what is known before drafting begins."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from multispin_env.config import SystemConfig
from multispin_env.core.equations import FloatArray
from multispin_env.core.view import EXACT, RoundView
from multispin_env.optimal.average import average_round

# Weight of the rate that the last upload had where no Doppler shift is known: the mean over a while, as an upload is
# one. Measured in `mobile`, llama2, Doppler hidden, tok/s (standard error 1.7) of the closed form and of equal lengths
# of 5: 115 and 93 with weight 0, 116 and 107 with .3; with the synthetic uplink of `measured` 133 and 130 either way.
_LAST_UPLOAD_WEIGHT = 0.3


def typical_delay_s(config: SystemConfig) -> float:
    """Time from the observation to the middle of an upload, in the average round."""
    average = average_round(config)
    drafted_s = average.draft_length * config.drafting_latency_s
    return 0.5 * (drafted_s + average.multi_access_s)


class RatePredictor:
    """The rates per hertz to expect after a delay, round after round, in a few operations.

    For what can be counted on when more time is at hand see :func:`~multispin_env.optimal.upload_rate`.

    Where the observed rates are those of the uploads, it is these. Where they are outdated, the fading's power has the
    conditional mean ``J0^2 observed + (1 - J0^2) long-term`` with ``J0(2 pi f_d delay)``, Clarke's autocorrelation. The
    same mixture is taken of the rates: as these are concave in the power, it lies below the rate at the mean power, and
    nearer to the mean rate. Where no Doppler shift is known, it is the rate observed, moderated by that which the last
    upload had.

    Args:
        delay_s: Time between observation and upload, a number or (num_envs, num_users); see :func:`typical_delay_s`.
    """

    def __init__(self, delay_s: ArrayLike) -> None:
        self._delay_s = np.asarray(delay_s)
        self._doppler_hz: FloatArray | None = None

    def __call__(self, view: RoundView) -> FloatArray:
        """Spectral efficiencies in a round, bit/s/Hz, (num_envs, num_users)."""
        observed = view.observed_spectral_efficiency
        if view.csi == EXACT:
            return observed
        if view.doppler_known:
            long_term = view.long_term_spectral_efficiency
            return long_term + self._remembered(view.doppler_hz) * (observed - long_term)
        last = view.last_upload_spectral_efficiency
        return np.where(last > 0.0, (1.0 - _LAST_UPLOAD_WEIGHT) * observed + _LAST_UPLOAD_WEIGHT * last, observed)

    def _remembered(self, doppler_hz: FloatArray) -> FloatArray:
        """The square of the fading's autocorrelation; an episode's views share the Doppler shifts, and so do calls."""
        if doppler_hz is not self._doppler_hz:
            self._doppler_hz = doppler_hz
            self._memory: FloatArray = np.square(special.j0(2.0 * np.pi * doppler_hz * self._delay_s))
        return self._memory
