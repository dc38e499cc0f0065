"""The paper's equations, batched over any leading shape (arXiv 2606.04581).

Every array has the users on its last axis; quantities of a whole round have that axis removed. This is the
one home of these formulas: the simulator, the optimum, the controllers and the figures all call them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LN_2 = float(np.log(2.0))


class Allocation(NamedTuple):
    """One round's decision.

    Attributes:
        draft_length: Tokens that each user drafts, integers from 1 to the system's ``max_draft_length``,
            shape ``(..., users)``.
        bandwidth_share: Each user's fraction of the band, positive and summing to 1 over the users, shape
            ``(..., users)``.
    """

    draft_length: IntArray
    bandwidth_share: FloatArray


def spectral_efficiency(snr: ArrayLike) -> FloatArray:
    """Rate per hertz, ``log2(1 + snr)`` in bit/s/Hz (eq. 8)."""
    return np.log1p(snr) / LN_2


def signal_to_noise_ratio(spectral_efficiency: ArrayLike) -> FloatArray:
    """The linear SNR at which the rate per hertz is ``spectral_efficiency`` in bit/s/Hz: eq. 8 inverted."""
    return np.expm1(np.multiply(LN_2, spectral_efficiency))


def upload_latency_s(
    draft_length: ArrayLike,
    payload_bits: float,
    bandwidth_hz: ArrayLike,
    spectral_efficiency: ArrayLike,
) -> FloatArray:
    """Time to upload a whole draft, ``Q_tok L / (B r)`` in seconds (eq. 9)."""
    return np.multiply(draft_length, payload_bits) / np.multiply(bandwidth_hz, spectral_efficiency)


def verification_latency_s(num_users: int, fixed_s: float, per_user_s: float) -> float:
    """Time to verify one batch, ``T_fix + K T_lin`` in seconds; it does not depend on the lengths (eq. 7)."""
    return fixed_s + num_users * per_user_s


def token_verification_s(num_tokens: ArrayLike, per_token_s: float, free_tokens: int) -> FloatArray:
    """What the tokens of a batch add to its verification (ours), in seconds.

    Args:
        num_tokens: Tokens in the batch, ``sum_k (L_k + 1)``: of each user its draft and the token before it.
        per_token_s: Time of a token.
        free_tokens: Tokens that the batch verifies in the time of eq. 7.

    Returns:
        Seconds, shaped like ``num_tokens``.
    """
    return per_token_s * np.maximum(np.subtract(num_tokens, free_tokens), 0)


def expected_tokens(acceptance_rate: ArrayLike, draft_length: ArrayLike) -> FloatArray:
    """Expected tokens gained, ``(1 - alpha^(L+1)) / (1 - alpha)``, the server's own token included (eq. 12).

    Evaluated through ``expm1``, so that it stays exact as alpha approaches 1, where it tends to ``L + 1``.

    Args:
        acceptance_rate: Probability that a drafted token is accepted, in [0, 1].
        draft_length: Drafted tokens, at least 0; need not be an integer.

    Returns:
        Tokens per round, the broadcast shape of the two arguments.
    """
    alpha = np.asarray(acceptance_rate, dtype=np.float64)
    positions = np.asarray(draft_length, dtype=np.float64) + 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        tokens = np.expm1(positions * np.log(alpha)) / (alpha - 1.0)
    return np.where(alpha < 1.0, tokens, positions)


def goodput(
    tokens: FloatArray | IntArray, multi_access_latency_s: FloatArray, verification_latency_s: FloatArray | float
) -> FloatArray:
    """Sum goodput in tokens per second (eq. 13).

    Args:
        tokens: Tokens per user, expected or realised, shape ``(..., users)``.
        multi_access_latency_s: Time until the slowest draft has arrived, T_ma, shape ``(...)``.
        verification_latency_s: Time of the batched verification, shape ``(...)`` or a number.

    Returns:
        Tokens of all users over the round's duration, shape ``(...)``.
    """
    return tokens.sum(axis=-1) / (multi_access_latency_s + verification_latency_s)


def beta_parameters(mean: ArrayLike, std: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The two shape parameters of the Beta distribution with this mean and standard deviation (std > 0)."""
    mean = np.asarray(mean, dtype=np.float64)
    concentration = mean * (1.0 - mean) / np.square(std) - 1.0
    return mean * concentration, (1.0 - mean) * concentration
