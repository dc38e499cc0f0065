"""The paper's figures 3, 4, 6, 7 and 8, drawn from our system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from multispin_env import PAPER_PAIRS, make_config
from multispin_env.core.equations import FloatArray, expected_tokens, goodput
from multispin_env.evaluation.plots import COLOURS, SHADES, new_figure, save
from multispin_env.evaluation.rollout import independent_rounds
from multispin_env.optimal import RoundProblem, equalize_bandwidth, optimal_draft_length
from multispin_train.paper.points import SCHEMES, SINGLE_SCHEMES, SWEEPS, PointRow, Points
from multispin_train.paper.values import PAPER_VALUES

# Figure 4's fixed values are not printed. These put its curves where the paper's are: about 2..6 against T_ver and
# theta, about 4..14 against alpha.
FIGURE_4_ALPHA, FIGURE_4_THETA_S, FIGURE_4_VERIFICATION_S = 0.7, 0.02, 0.4


def draw_figure_3(path: Path) -> None:
    """Expected goodput against the common draft length, for three bandwidths."""
    figure, axes = new_figure(9.0, 3.6, columns=len(PAPER_PAIRS))
    for pair, panel in zip(PAPER_PAIRS, axes, strict=True):
        for shade, bandwidth_hz in zip(SHADES, (5e6, 10e6, 20e6), strict=True):
            problem = RoundProblem.from_view(
                independent_rounds(make_config("paper", pair, {"bandwidth_hz": bandwidth_hz}), 200)
            )
            lengths = np.arange(1, problem.max_draft_length + 1)
            curve = [homogeneous_goodput(problem, length).mean() for length in lengths]
            best = int(np.argmax(curve))
            panel.plot(lengths, curve, color=shade, label=f"{bandwidth_hz / 1e6:g} MHz")
            panel.plot(lengths[best], curve[best], "o", color=shade)
        panel.set_xlabel("common draft length L")
        panel.set_ylabel("expected goodput, tok/s")
        panel.set_ylim(bottom=0.0)
        panel.set_title(f"{pair}, 20 users")
        panel.legend(title="bandwidth", frameon=False)
    save(figure, path)


def homogeneous_goodput(problem: RoundProblem, length: np.integer) -> FloatArray:
    """Expected goodput of a common length with Lemma 1's bandwidth (eq. 13), (num_envs,)."""
    latency_s, _ = equalize_bandwidth(problem, length)
    return goodput(expected_tokens(problem.acceptance_rate, length), latency_s, problem.verification_s(length))


def figure_4_curves() -> dict[str, tuple[FloatArray, FloatArray]]:
    """Axis and integer optimum L* of figure 4's three panels: T_ver in s, theta in s, alpha."""
    axes = {
        "T_ver": np.linspace(0.1, 0.4, 61),
        "theta": np.linspace(0.02, 0.08, 61),
        "alpha": np.linspace(0.6, 0.9, 61),
    }
    curves = {}
    for name, axis in axes.items():
        alpha = axis if name == "alpha" else np.full_like(axis, FIGURE_4_ALPHA)
        theta_s = axis if name == "theta" else np.full_like(axis, FIGURE_4_THETA_S)
        verification_s = axis if name == "T_ver" else np.full_like(axis, FIGURE_4_VERIFICATION_S)
        below = np.maximum(np.floor(optimal_draft_length(alpha, theta_s, verification_s)), 1.0)
        above = below + 1.0

        def value(
            length: FloatArray, alpha: FloatArray = alpha, t: FloatArray = theta_s, v: FloatArray = verification_s
        ) -> FloatArray:
            return expected_tokens(alpha, length) / (length * t + v)

        curves[name] = (axis, np.where(value(above) > value(below), above, below))
    return curves


def draw_figure_4(path: Path) -> None:
    """L* against T_ver, theta and alpha."""
    figure, axes = new_figure(9.0, 3.2, columns=3)
    labels = {"T_ver": ("T_ver, ms", 1e3), "theta": ("theta, ms per token", 1e3), "alpha": ("alpha", 1.0)}
    for panel, (name, (axis, best)) in zip(axes, figure_4_curves().items(), strict=True):
        label, scale = labels[name]
        panel.step(axis * scale, best, where="mid", color=COLOURS["homogeneous"])
        panel.set_xlabel(label)
        panel.set_ylabel("optimal draft length L*")
        panel.set_ylim(0.0, best.max() + 1.0)
    save(figure, path)


def draw_figure_6(path: Path, points: Points) -> None:
    """Goodput of P2P-SPIN, Cen-SPIN and Multi-SPIN."""
    figure, axes = new_figure(9.0, 3.4, columns=len(PAPER_PAIRS))
    schemes = (*SINGLE_SCHEMES, "heterogeneous")
    for pair, panel in zip(PAPER_PAIRS, axes, strict=True):
        rows = [points.point(pair, scheme, make_config("paper", pair)) for scheme in schemes]
        values = [row.mean_round_goodput for row in rows]
        errors = [
            [row.mean_round_goodput - row.low for row in rows],
            [row.high - row.mean_round_goodput for row in rows],
        ]
        bars = panel.bar(
            schemes, values, yerr=errors, color=[COLOURS[scheme] for scheme in schemes], capsize=4, width=0.6
        )
        panel.bar_label(bars, fmt="%.0f", padding=3)
        paper = {v.scheme: v.value for v in PAPER_VALUES if v.figure == 6 and v.model_pair == pair and v.over is None}
        ratios = {v.over: v.value for v in PAPER_VALUES if v.figure == 6 and v.model_pair == pair and v.over}
        marks = [paper["heterogeneous"] / ratios[s] if s in ratios else paper.get(s) for s in schemes]
        known = [(place, mark) for place, mark in enumerate(marks) if mark is not None]
        panel.plot(*zip(*known, strict=True), "D", color="black", markersize=5, label="paper")
        panel.set_ylabel("goodput, tok/s")
        panel.set_ylim(top=1.15 * max(values))
        panel.grid(axis="x", visible=False)
        panel.set_title(pair)
        panel.legend(loc="upper left", frameon=False)
    save(figure, path)


def draw_sweep(path: Path, points: Points, field: str) -> None:
    """Figures 7 and 8: the four schemes along a field of the system, and the gain of the best over the fixed one."""
    figure, axes = new_figure(9.0, 6.4, rows=2, columns=len(PAPER_PAIRS))
    label, scale = {"bandwidth_hz": ("bandwidth, MHz", 1e-6), "num_users": ("users K", 1.0)}[field]
    for column, pair in enumerate(PAPER_PAIRS):
        rows = points.sweep(pair, field)
        x = np.array(SWEEPS[field]) * scale
        top, bottom = axes[column], axes[column + len(PAPER_PAIRS)]
        for scheme in SCHEMES:
            _curve(top, x, rows[scheme], scheme)
        gain = [
            100.0 * (best.mean_round_goodput / fixed.mean_round_goodput - 1.0)
            for best, fixed in zip(rows["heterogeneous"], rows["fixed"], strict=True)
        ]
        bottom.plot(x, gain, "o-", color=COLOURS["heterogeneous"], label="ours")
        figure_number = 7 if field == "bandwidth_hz" else 8
        paper = [v for v in PAPER_VALUES if v.figure == figure_number and v.model_pair == pair]
        places = [scale * getattr(v.system(), field) for v in paper]
        bottom.plot(places, [100.0 * (v.value - 1.0) for v in paper], "D", color="black", label="paper")
        top.set_title(pair)
        top.set_ylabel("goodput, tok/s")
        top.set_ylim(bottom=0.0)
        bottom.set_ylabel("heterogeneous over fixed, %")
        bottom.set_ylim(bottom=0.0)
        bottom.set_xlabel(label)
        top.legend(fontsize=8, frameon=False)
        bottom.legend(fontsize=8, frameon=False)
    save(figure, path)


def _curve(panel: Axes, x: FloatArray, rows: Sequence[PointRow], scheme: str) -> None:
    values = [row.mean_round_goodput for row in rows]
    panel.plot(x, values, "o-", color=COLOURS[scheme], markersize=4, label=scheme)
    panel.fill_between(x, [r.low for r in rows], [r.high for r in rows], color=COLOURS[scheme], alpha=0.2, linewidth=0)
