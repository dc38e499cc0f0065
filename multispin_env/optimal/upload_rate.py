"""What an upload's mean rate will be, from what is known before drafting begins."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special

from multispin_env.core.equations import FloatArray, signal_to_noise_ratio, spectral_efficiency
from multispin_env.core.view import EXACT, RoundView
from multispin_env.optimal.average import average_round
from multispin_env.optimal.bandwidth import equalize_bandwidth
from multispin_env.optimal.prediction import RatePredictor, typical_delay_s
from multispin_env.optimal.problem import RoundProblem

# Doppler shift of users whose own is not known, Hz. Ours: of .1 to 2.4 the best compromise between `mobile` with hidden
# Doppler (where .6 is 1 % better) and measured uplinks, whose rates stay longer (.6 is up to 4 % worse there).
ASSUMED_DOPPLER_HZ = 0.3

# Ours: what `multispin tune` finds best for the pairs of the package lies around it (docs/tune).
MARGIN_STD = 2.5
# An upload's mean rate is taken at the middles of so many parts of it.
_PARTS = 6
# Where the power of a Gaussian in the plane lies, by the part of its distribution: finely where it is low, as the
# logarithm is steep there. And the angles between it and the fading that is remembered. (Against 10^6 samples, for mean
# signal to noise ratios of 1 to 300: the mean within .013, the standard deviation within 6 %.)
_POWER_EDGES = np.array([0.0, 0.02, 0.1, 0.3, 0.6, 0.88, 1.0])
_ANGLES = 4
_LAG = np.abs(np.subtract.outer(np.arange(_PARTS), np.arange(_PARTS)))


class UploadRate(NamedTuple):
    """The mean rate per hertz of an upload, in bit/s/Hz, before it begins, (num_envs, num_users).

    Attributes:
        mean: Its expectation.
        std: Its standard deviation.
    """

    mean: FloatArray
    std: FloatArray

    def less(self, margin_std: float) -> FloatArray:
        """About the mean less so many standard deviations, but always above 0: ``mean / (1 + margin std / mean)``."""
        return self.mean / (1.0 + margin_std * self.std / self.mean)


def upload_rate(view: RoundView, start_s: FloatArray, end_s: FloatArray) -> UploadRate:
    """Expectation and spread of the mean rate of an upload, given the rate observed at the round's start.

    Where the observed rates are those of the uploads, it is these. Where they are outdated, the coefficient of the
    fading is taken for a complex Gaussian process with the autocorrelation ``J0(2 pi f_d dt)`` (Clarke's model): given
    its power at the start of the round it is Gaussian around ``J0`` times the coefficient then. The rate (eq. 8) is
    integrated over this Gaussian by quadrature. Two instants' rates are taken to be correlated as their powers are, and
    shadowing to stand still.

    Args:
        view: The round.
        start_s: When each upload begins, since the round's start, (num_envs, num_users).
        end_s: When it ends.
    """
    observed = view.observed_spectral_efficiency
    if view.csi == EXACT:
        return UploadRate(observed, np.zeros_like(observed))
    doppler_hz = view.doppler_hz if view.doppler_known else np.full_like(observed, ASSUMED_DOPPLER_HZ)
    mean_snr = signal_to_noise_ratio(view.long_term_spectral_efficiency)[..., np.newaxis]
    power = signal_to_noise_ratio(observed)[..., np.newaxis] / mean_snr
    apart_s = (end_s - start_s)[..., np.newaxis] * (np.arange(_PARTS) / _PARTS)
    radian_hz = 2.0 * np.pi * doppler_hz[..., np.newaxis]
    remembered = special.j0(radian_hz * (start_s[..., np.newaxis] + apart_s + 0.5 * apart_s[..., 1:2]))
    new = 1.0 - np.square(remembered)  # part of the power that is not remembered

    amount, cosine, weight = _nodes()
    kept, added = (np.square(remembered) * power)[..., np.newaxis], new[..., np.newaxis] * amount
    faded = kept + added + 2.0 * np.sqrt(kept * added) * cosine
    rate = spectral_efficiency(mean_snr[..., np.newaxis] * np.maximum(faded, 0.0))
    mean = rate @ weight
    std = np.sqrt(np.maximum(np.square(rate) @ weight - np.square(mean), 0.0))

    between = special.j0(radian_hz * apart_s)[..., _LAG] - remembered[..., np.newaxis] * remembered[..., np.newaxis, :]
    scale = np.sqrt(new[..., np.newaxis] * new[..., np.newaxis, :])
    correlation = np.square(np.divide(between, scale, out=np.ones_like(scale), where=scale > 0.0))
    variance = np.einsum("...i,...ij,...j->...", std, correlation, std) / _PARTS**2
    return UploadRate(np.mean(mean, axis=-1), np.sqrt(variance))


@lru_cache(maxsize=1)
def _nodes() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Power, cosine of the angle, and weight of each node: of each part of the power the geometric mean."""
    below = np.linspace(_POWER_EDGES[:-1], _POWER_EDGES[1:], 2001)
    power = np.exp(np.mean(np.log(-np.log1p(-0.5 * (below[1:] + below[:-1]))), axis=0))
    cosine = np.cos((np.arange(_ANGLES) + 0.5) * np.pi / _ANGLES)
    weight = np.repeat(np.diff(_POWER_EDGES), _ANGLES) / _ANGLES
    return np.repeat(power, _ANGLES), np.tile(cosine, len(power)), weight


def typical_upload_rate(view: RoundView) -> UploadRate:
    """The same for the time in which an upload typically takes place.

    It is that of the average round's draft length, for all users, arriving together at the predicted rates (Lemma 1).
    """
    if view.csi == EXACT:
        return upload_rate(view, view.drafting_latency_s, view.drafting_latency_s)
    length = average_round(view.config).draft_length
    predicted = RatePredictor(typical_delay_s(view.config))(view)
    end_s, _ = equalize_bandwidth(RoundProblem.from_view(view, spectral_efficiency=predicted), length)
    start_s = length * view.drafting_latency_s
    return upload_rate(view, start_s, np.broadcast_to(end_s[:, np.newaxis], start_s.shape))


def cautious_spectral_efficiency(view: RoundView, margin_std: float = MARGIN_STD) -> FloatArray:
    """Rates per hertz to count on, in bit/s/Hz, (num_envs, num_users): the observed ones where these are exact.

    Where they are outdated, the rate typically expected less a margin: the slowest upload decides how long a round
    takes, so that a rate overestimated costs more than one underestimated.

    Args:
        view: The round.
        margin_std: The margin, in standard deviations of the rate.
    """
    return typical_upload_rate(view).less(margin_std)
