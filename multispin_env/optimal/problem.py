"""What the optimum needs to know of one round, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from numbers import Integral
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.core.equations import Allocation, FloatArray
from multispin_env.core.view import RoundView


class Solution(NamedTuple):
    """A solver's answer, batched like the problem.

    Attributes:
        allocation: Draft lengths and bandwidth shares, both of shape ``(..., users)``.
        goodput: Expected sum goodput of that allocation in tokens per second, shape ``(...)``.
        upper_bound: A goodput that no allocation of the solver's kind exceeds (one common length for
            ``solve_homogeneous``, any lengths for ``solve_heterogeneous``), the value of the problem with real-valued
            lengths, shape ``(...)``. NaN where a solver certifies nothing.
    """

    allocation: Allocation
    goodput: FloatArray
    upper_bound: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundProblem:
    """One round's allocation problem, or a batch of them: choose lengths and bandwidths to maximise eq. 13.

    The three per-user fields take anything that NumPy reads as real numbers, and are broadcast to a common float64
    shape ``(..., users)``: a field that is the same for all rounds or all users may be given once.

    Attributes:
        drafting_latency_s: Time in which each user drafts one token, T_k^S, at least 0.
        spectral_efficiency: Each user's uplink rate per hertz, r_k in bit/s/Hz, above 0.
        acceptance_rate: Probability that a token drafted by the user is accepted, alpha_k in [0, 1].
        payload_bits: Upload per drafted token, Q_tok, above 0.
        bandwidth_hz: Band that the users share, B, above 0.
        verification_latency_s: Time of the batched verification, T_ver, above 0.
        max_draft_length: Longest draft allowed, L_max, an integer from 1.

    Raises:
        TypeError: A field is not of real numbers, or ``max_draft_length`` is not an integer.
        ValueError: A value is out of its range, infinite or NaN, there is no user, or the shapes do not broadcast.
    """

    drafting_latency_s: FloatArray
    spectral_efficiency: FloatArray
    acceptance_rate: FloatArray
    payload_bits: float
    bandwidth_hz: float
    verification_latency_s: float
    max_draft_length: int

    def __post_init__(self) -> None:
        per_user = {
            "drafting_latency_s": real_array("drafting_latency_s", self.drafting_latency_s, low=0.0),
            "spectral_efficiency": real_array("spectral_efficiency", self.spectral_efficiency, above=0.0),
            "acceptance_rate": real_array("acceptance_rate", self.acceptance_rate, low=0.0, high=1.0),
        }
        shape = common_shape(per_user)
        if not shape or shape[-1] == 0:
            raise ValueError(f"the last axis must hold at least one user, but the fields have the common shape {shape}")
        for name, values in per_user.items():
            object.__setattr__(self, name, values if values.shape == shape else np.broadcast_to(values, shape))
        for name in ("payload_bits", "bandwidth_hz", "verification_latency_s"):
            number = real_array(name, getattr(self, name), above=0.0)
            if number.ndim:
                raise ValueError(f"{name} must be a single number, got an array of shape {number.shape}")
            object.__setattr__(self, name, float(number))
        object.__setattr__(self, "max_draft_length", positive_integer("max_draft_length", self.max_draft_length))

    @classmethod
    def from_view(
        cls,
        view: RoundView,
        *,
        acceptance_rate: FloatArray | None = None,
        spectral_efficiency: FloatArray | None = None,
    ) -> Self:
        """The problem that a view poses to a controller which takes what it sees for the truth.

        Args:
            view: The round.
            acceptance_rate: An estimate to use in place of the task's mean, (lanes, users).
            spectral_efficiency: An estimate to use in place of what was observed, (lanes, users) in bit/s/Hz.
        """
        if spectral_efficiency is None:
            spectral_efficiency = view.observed_spectral_efficiency
        config = view.config
        return cls(
            drafting_latency_s=view.drafting_latency_s,
            spectral_efficiency=spectral_efficiency,
            acceptance_rate=view.task_acceptance_mean if acceptance_rate is None else acceptance_rate,
            payload_bits=config.payload_bits,
            bandwidth_hz=config.bandwidth_hz,
            verification_latency_s=config.verification_latency_s,
            max_draft_length=config.max_draft_length,
        )

    @property
    def full_band_upload_s(self) -> FloatArray:
        """Time to upload one token over the whole band, ``q_k = Q_tok / (B r_k)``, shape ``(..., users)``."""
        return self.payload_bits / (self.bandwidth_hz * self.spectral_efficiency)


def real_array(
    name: str, values: ArrayLike, *, low: float = -inf, above: float = -inf, high: float = inf
) -> FloatArray:
    """Converts to float64 and refuses whatever is not finite, below ``low``, not ``above``, or over ``high``."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold real numbers: {error}") from error
    if array.size:
        # NaN passes through min and max and fails every comparison, so two passes check everything.
        smallest, largest = array.min(), array.max()
        if not (smallest >= low and smallest > above and largest <= high and -inf < smallest and largest < inf):
            admitted = np.isfinite(array) & (array >= low) & (array > above) & (array <= high)
            lower = f"above {above:g}" if above > -inf else f"at least {low:g}"
            upper = f" and at most {high:g}" if high < inf else ""
            raise ValueError(f"{name} must be finite, {lower}{upper}, got {array[~admitted].flat[0]}")
    return array


def positive_integer(name: str, value: int) -> int:
    """Refuses whatever is not an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer of at least 1, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return int(value)


def common_shape(arrays: dict[str, FloatArray]) -> tuple[int, ...]:
    """Shape to which the named arrays broadcast."""
    try:
        return np.broadcast(*arrays.values()).shape
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"shapes do not broadcast to (..., users): {shapes}") from None
