"""Pictures of a round: a table as text, a figure as an array. Matplotlib is imported when a figure is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

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
    return _figure(view, outcome, index)


def _text(view: RoundView, outcome: RoundOutcome | None, index: int) -> str:
    if outcome is None:
        lines = ["no round played yet"]
    else:
        finish_s = outcome.drafting_s[index] + outcome.upload_s[index]
        lines = [
            f"goodput {outcome.goodput[index]:.1f} tok/s: {outcome.tokens[index].sum()} tokens in "
            f"{outcome.latency_s[index]:.3f} s ({outcome.multi_access_s[index]:.3f} s multi-access, "
            f"{outcome.verification_s:.3f} s verification)",
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


def _figure(view: RoundView, outcome: RoundOutcome | None, index: int) -> NDArray[np.uint8]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise DependencyNotInstalled(
            'render_mode="rgb_array" needs matplotlib: pip install "multispin_env[plot]"'
        ) from error
    figure = Figure(figsize=(8.0, 5.0), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    timeline, bars = figure.subplots(2, 1, height_ratios=(3, 2), sharex=True)
    users = np.arange(view.config.num_users)
    if outcome is None:
        timeline.set_title("no round played yet", loc="left")
    else:
        drafting_s, upload_s = outcome.drafting_s[index], outcome.upload_s[index]
        timeline.bar(users, drafting_s, color="#4477aa", label="drafting")
        timeline.bar(users, upload_s, bottom=drafting_s, color="#ccbb44", label="upload")
        timeline.axhline(
            outcome.multi_access_s[index], color="black", linewidth=1, linestyle=":", label="batch complete"
        )
        tokens, seconds = outcome.tokens[index].sum(), outcome.latency_s[index]
        timeline.set_title(f"{outcome.goodput[index]:.0f} tok/s: {tokens} tokens in {seconds:.2f} s", loc="left")
        bars.bar(users, outcome.allocation.draft_length[index], color="#bbbbbb", label="drafted")
        bars.bar(users, outcome.tokens[index] - 1, color="#228833", width=0.5, label="accepted")
        for axes in (timeline, bars):  # above the axes, where no bar is
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False, borderaxespad=0.2)
    timeline.set_ylabel("seconds")
    bars.set_ylabel("tokens")
    bars.set_ylim(0, view.config.max_draft_length)
    bars.set_xlim(-0.7, len(users) - 0.3)
    bars.xaxis.set_major_locator(MaxNLocator(nbins=20, integer=True))
    bars.set_xlabel("user")
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
