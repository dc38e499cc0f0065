"""Lemma 3 for rates that are known and vary: the split of the band that lets all users finish at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from multispin_env.core.equations import FloatArray

_MAX_STEPS = 80
_LAST_STEP = 1e-10
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class RatePath:
    """What users' bands carry from the start of a round on, by cells of time with a constant rate.

    Behind the last cell each goes on with its mean rate.

    Attributes:
        cell_s: Length of a cell.
        rate: Spectral efficiencies in bit/s/Hz, (cells + 1, rounds, users); behind the last cell the mean.
        carried: Their integrals until each cell begins, bit/Hz, the same shape.
    """

    cell_s: float
    rate: FloatArray
    carried: FloatArray

    @classmethod
    def sampled(cls, spectral_efficiency_at: Callable[[FloatArray], FloatArray], cell_s: float, cells: int) -> Self:
        """The path of a channel, by its rates in the middle of cells.

        Args:
            spectral_efficiency_at: Maps times since the start of the round, (cells, 1, 1), to (cells, rounds, users).
            cell_s: Length of a cell.
            cells: Their number.
        """
        middle_s: FloatArray = cell_s * (np.arange(cells, dtype=np.float64) + 0.5)
        rate = spectral_efficiency_at(middle_s[:, np.newaxis, np.newaxis])
        carried = np.concatenate([np.zeros_like(rate[:1]), np.cumsum(cell_s * rate, axis=0)])
        return cls(cell_s, np.concatenate([rate, np.mean(rate, axis=0, keepdims=True)]), carried)

    def at(self, time_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What is carried until these times, (..., rounds, users), in bit/Hz, and the rate then, in bit/s/Hz."""
        rounds, users = np.indices(time_s.shape[-2:])
        cell = np.minimum((time_s / self.cell_s).astype(np.int64), len(self.rate) - 1)
        rate = self.rate[cell, rounds, users]
        return self.carried[cell, rounds, users] + rate * (time_s - cell * self.cell_s), rate


def equalize_on_path(path: RatePath, load: FloatArray, drafting_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Splits the band so that every user's draft arrives at the same, earliest possible time.

    With C_k(t) what user k's band carries until t, per hertz, that time phi is the root of ``sum_k load_k / (C_k(phi) -
    C_k(L_k T_k)) = 1``, and the summands are the shares: Lemma 3 (eq. 31-32), to which it comes where rates are
    constant. The sum falls in phi.

    Args:
        path: What the bands carry.
        load: Bits of each draft over the whole band's width, ``Q_tok L_k / B``, in bit/Hz, (..., rounds, users).
        drafting_s: When each draft is ready, ``L_k T_k``, the same shape.

    Returns:
        phi in seconds, (..., rounds), and the shares, (..., rounds, users).
    """
    ready, _ = path.at(drafting_s)
    low = np.max(drafting_s, axis=-1)
    high = np.full_like(low, np.inf)
    phi = low + path.cell_s
    for _ in range(_MAX_STEPS):
        carried, rate = path.at(np.broadcast_to(phi[..., np.newaxis], drafting_s.shape))
        sent = np.maximum(carried - ready, _TINY)
        share = load / sent
        total = np.sum(share, axis=-1)
        slope = np.sum(share * rate / sent, axis=-1)
        above = total > 1.0  # too early
        low = np.where(above, phi, low)
        high = np.where(above, high, phi)
        # Newton on 1 / sum - 1, which is nearly linear; halves the bracket where that leaves it.
        with np.errstate(over="ignore", invalid="ignore"):
            wanted = phi + total * (total - 1.0) / np.maximum(slope, _TINY)
        halved = np.where(np.isfinite(high), 0.5 * (low + high), 2.0 * phi)
        following = np.where((wanted > low) & (wanted < high), wanted, halved)
        done = np.abs(following - phi) <= _LAST_STEP * phi
        phi = following
        if done.all():
            break
    carried, _ = path.at(np.broadcast_to(phi[..., np.newaxis], drafting_s.shape))
    share = load / np.maximum(carried - ready, _TINY)
    return phi, share / np.sum(share, axis=-1, keepdims=True)
