"""Actions that are draft lengths alone."""

from __future__ import annotations

from multispin_env.core.equations import Allocation, FloatArray
from multispin_env.core.view import RoundView
from multispin_env.envs.actions.base import ActionCodec
from multispin_env.optimal import RoundProblem, cautious_spectral_efficiency, equalize_bandwidth


class LengthsAction(ActionCodec):
    """Draft lengths; the closed form splits the band, so that all drafts arrive together at the rates to count on.

    That is Lemma 3, with one length for all Lemma 1. ``encode`` returns the lengths exactly; shares are no part of the
    action.
    """

    def numbers(self) -> int:
        """The lengths."""
        return self.num_lengths

    def _allocation(self, numbers: FloatArray, view: RoundView) -> Allocation:
        lengths = self.lengths(numbers)
        rate = cautious_spectral_efficiency(view)
        _, shares = equalize_bandwidth(RoundProblem.from_view(view, spectral_efficiency=rate), lengths)
        return Allocation(lengths, shares)

    def _numbers(self, allocation: Allocation, view: RoundView) -> FloatArray:
        return self.length_numbers(allocation.draft_length)
