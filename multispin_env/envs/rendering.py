"""A round for people: a table as text, or a picture as an array."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multispin_env.envs.picture import draw_round

if TYPE_CHECKING:
    from multispin_env.core.simulator import RoundOutcome
    from multispin_env.core.view import RoundView
    from multispin_env.envs.system import BatchedSystem

RENDER_MODES = ("ansi", "rgb_array")


def render_round(mode: str, system: BatchedSystem, index: int) -> str | NDArray[np.uint8]:
    """One environment's last round, and what is known before the next, as text or as a picture (height, width, 3).

    Raises:
        ResetNeeded: There was no reset.
        DependencyNotInstalled: A picture was asked for and matplotlib is missing.
    """
    view, outcome = system.view("render"), system.last_outcome
    if mode == "ansi":
        return _text(view, outcome, index)
    return draw_round(view, outcome, index)


def _text(view: RoundView, outcome: RoundOutcome | None, index: int) -> str:
    if outcome is None:
        lines = ["no round played yet"]
    else:
        finish_s = outcome.drafting_s[index] + outcome.upload_s[index]
        verification_s = outcome.latency_s[index] - outcome.multi_access_s[index]
        lines = [
            f"goodput {outcome.goodput[index]:.1f} tok/s: {outcome.tokens[index].sum()} tokens in "
            f"{outcome.latency_s[index]:.3f} s ({outcome.multi_access_s[index]:.3f} s multi-access, "
            f"{verification_s:.3f} s verification)",
            "user  length  share %  draft s  upload s  tokens",
        ]
        slowest = int(np.argmax(finish_s))
        for user, length in enumerate(outcome.allocation.draft_length[index]):
            lines.append(
                f"{user:4d}  {length:6d}  {100 * outcome.allocation.bandwidth_share[index, user]:7.2f}"
                f"  {outcome.drafting_s[index, user]:7.3f}  {outcome.upload_s[index, user]:8.3f}"
                f"  {outcome.tokens[index, user]:6d}{'  slowest' if user == slowest else ''}"
            )
    lines.append("next round: user  s/token  bit/s/Hz now  long-term  task acceptance  this request")
    for user in range(view.config.num_users):
        lines.append(
            f"{user:16d}  {view.drafting_latency_s[index, user]:7.4f}"
            f"  {view.observed_spectral_efficiency[index, user]:12.2f}"
            f"  {view.long_term_spectral_efficiency[index, user]:9.2f}"
            f"  {view.task_acceptance_mean[index, user]:15.3f}"
            f"  {view.request_accepted[index, user]:6d}/{view.request_tested[index, user]}"
        )
    return "\n".join(lines)
