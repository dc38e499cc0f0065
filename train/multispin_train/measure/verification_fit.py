"""Verification time as a function of users and tokens: the constants of eq. 7, and of what tokens add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import lsq_linear

from multispin_env.core.equations import FloatArray, token_verification_s
from multispin_env.profiles import ModelPair

# The least that a user can add: what times are rounded to.
LEAST_PER_USER_S = 1e-7


class VerificationFit(NamedTuple):
    """Constants of ``T_ver = T_fix + K T_lin + per_token_s * max(0, sum(L_k + 1) - free_tokens)``.

    Attributes:
        fixed_s: T_fix of eq. 7.
        per_user_s: T_lin of eq. 7.
        per_token_s: What each token adds beyond those that are free; 0 where lengths do not count.
        free_tokens: Tokens of a batch that add nothing; 0 where lengths do not count.
    """

    fixed_s: float
    per_user_s: float
    per_token_s: float
    free_tokens: int

    @classmethod
    def of(cls, pair: ModelPair) -> VerificationFit:
        """The constants that a pair has."""
        return cls(
            pair.verification_fixed_s,
            pair.verification_per_user_s,
            pair.verification_per_token_s,
            pair.verification_free_tokens,
        )

    def seconds(self, batch: FloatArray, draft_length: FloatArray) -> FloatArray:
        """Verification time of so many users with drafts of one length."""
        tokens = batch * (draft_length + 1.0)
        extra_s = token_verification_s(tokens, self.per_token_s, self.free_tokens)
        return self.fixed_s + self.per_user_s * batch + extra_s


def fit_verification(
    batch: Sequence[int], draft_length: Sequence[int], seconds: Sequence[float], digits: int = 7
) -> VerificationFit:
    """The constants with the least squared relative error.

    Relative, as times differ by a factor of ten and more over a grid, and their noise with them. For each number of
    free tokens the other constants are a linear problem, none of them negative; every number is tried.

    Args:
        batch: Users of each point.
        draft_length: Tokens that each of them has verified.
        seconds: The times, medians of repetitions for instance.
        digits: Decimals that seconds are rounded to.

    Raises:
        ValueError: Verification takes no longer for more users or tokens.
    """
    users, times = np.asarray(batch, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    tokens = users * (np.asarray(draft_length) + 1.0)

    def solved(free: int) -> tuple[float, FloatArray]:
        columns = np.stack([np.ones_like(users), users, np.maximum(tokens - free, 0.0)], axis=1)
        scaled = columns / times[:, np.newaxis]
        found = lsq_linear(scaled, np.ones_like(times), bounds=([0.0, LEAST_PER_USER_S, 0.0], np.inf), method="bvls")
        return float(found.cost), found.x

    # From the largest batch on nothing would be left to see.
    free = min(range(int(tokens.max())), key=lambda number: solved(number)[0])
    fixed_s, per_user_s, per_token_s = (round(float(value), digits) for value in solved(free)[1])
    if per_token_s == 0.0:
        free = 0
        if per_user_s <= LEAST_PER_USER_S:
            raise ValueError(
                "verification must take longer for more users or tokens, got medians that fall; measure undisturbed"
            )
    return VerificationFit(fixed_s, per_user_s, per_token_s, free)
