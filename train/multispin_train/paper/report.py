"""The report on the paper's results: its numbers beside ours, and why some differ."""

from __future__ import annotations

from multispin_env import PAPER_PAIRS, make_config
from multispin_env.evaluation.rollout import independent_rounds
from multispin_env.evaluation.tables import markdown_table
from multispin_train.calibrate import mean_goodput
from multispin_train.paper.figures import FIGURE_4_ALPHA, FIGURE_4_THETA_S, FIGURE_4_VERIFICATION_S, figure_4_curves
from multispin_train.paper.points import ROUNDS, SCHEMES, SWEEPS, Points
from multispin_train.paper.values import PAPER_VALUES


def report_text(points: Points, seeds: int) -> str:
    """The report in Markdown; the pictures lie beside it."""
    at_10_mhz = {
        pair: {s: points.point(pair, s, make_config("paper", pair)) for s in ("fixed", "heterogeneous")}
        for pair in PAPER_PAIRS
    }
    totals = ", ".join(
        f"{rows['heterogeneous'].total_goodput / rows['fixed'].total_goodput:.1f} ({pair})"
        for pair, rows in at_10_mhz.items()
    )
    means = ", ".join(
        f"{rows['heterogeneous'].mean_round_goodput / rows['fixed'].mean_round_goodput:.2f} ({pair})"
        for pair, rows in at_10_mhz.items()
    )
    return f"""# The paper's results beside ours

Scenario `paper` through the environment's own step, {seeds} seeds of {
        ROUNDS
    } rounds a point. Goodput on this page is the mean
over rounds, interquartile over seeds.

## Figures 6, 7 and 8: the numbers the paper states

{markdown_table(("figure", "pair", "quantity", "paper", "ours", "deviation"), _comparison_lines(points), 3)}

![figure 6](figure6.png)
![figure 7](figure7.png)
![figure 8](figure8.png)

## The order of the schemes

The paper has heterogeneous > uniform > homogeneous > fixed everywhere. Points of ours where each part holds:

{
        markdown_table(
            ("figure", "pair", "heterogeneous is best", "uniform above homogeneous", "fixed is last"),
            _order_lines(points),
            2,
        )
    }

## Figures 3 and 4: the common draft length

Goodput is unimodal in L for every bandwidth (dots: the optimum).

![figure 3](figure3.png)

L* at the two ends of each axis, with the other quantities at alpha = {FIGURE_4_ALPHA:g}, theta = {
        1e3 * FIGURE_4_THETA_S:g} ms
and T_ver = {1e3 * FIGURE_4_VERIFICATION_S:g} ms, which the paper does not print:

{markdown_table(("against", "from .. to", "paper", "ours"), _figure_4_lines())}

![figure 4](figure4.png)

## Table I: acceptance over requests

What the `requests` scenario draws (2000 x 20 users, first request):

{markdown_table(("pair", "task", "paper", "drawn"), _table_1_lines(), 2)}

## Where we disagree, and why

- **Fitted constants.** The paper prints neither the transmit power over noise, nor the drafting latencies, nor the
  server's drafting time. `multispin calibrate` fits these five numbers (p/N0; T^S and the server's time for each
  pair) to the eleven values above. Cen-SPIN has a constant of its own and agrees by construction; the rest is a
  compromise between level and ratios, and our level at 20 users and 10 MHz stays above the paper's.
- **Mean over rounds or total over total.** In Rayleigh fading an equal share meets a deep fade now and then, and the
  mean of that round's latency does not even converge. Total tokens over total seconds therefore punishes `fixed` far
  more than the paper's curves do. Heterogeneous over fixed at 20 users and 10 MHz is
  {means} by the mean over rounds, and {totals} by totals.
  The paper's 1.2 to 1.9 can only be the former, so this page uses it. The benchmark uses totals, because a user has to
  wait through the fades.
- **The gain at 10 users** is larger than the paper's for `llama2`, and grows less from there to 24. No choice of the
  fitted constants changes that: a higher p/N0 lowers both ends together, and T^S hardly moves the ratio.
- **Fixed** saturates with the number of users, as in the paper, but hardly falls up to 24 users.
- **Uniform against homogeneous.** The paper has optimised lengths with equal shares above optimised shares with one
  length for both pairs; we find it for `qwen3.5` only. What decides is the acceptance rates, as exchanging them between
  the pairs shows (table below). At Llama-2's rates (.71 to .86) the best lengths are about 5, a fast user's surplus is
  cut to whole tokens, and lengths alone cannot make up for unequal channels. Our uniform lengths are the exact optimum
  for equal shares.
- **Figure 4** has the paper's shape, and ends that differ by one token at most places, with three constants of ours.

{markdown_table(("pair", "acceptance of", "uniform over homogeneous"), _exchange_lines(), 2)}
"""


def _exchange_lines() -> list[list[str]]:
    """Uni-BW over Homo by eq. 13 with each pair's own acceptance and the other's."""
    lines = []
    for pair in PAPER_PAIRS:
        for tasks_of in PAPER_PAIRS:
            system = make_config("paper", pair, {"requests": make_config("paper", tasks_of).to_dict()["requests"]})
            ratio = mean_goodput(pair, "uniform", system) / mean_goodput(pair, "homogeneous", system)
            lines.append([pair, tasks_of, f"{ratio:.3f}"])
    return lines


def _table_1_lines() -> list[list[str]]:
    """Mean and spread over requests of the acceptance that the `requests` scenario draws, beside Table I."""
    lines = []
    for pair in PAPER_PAIRS:
        config = make_config("requests", pair)
        view = independent_rounds(config, 2000)
        for task in config.requests.tasks:
            rates = view.acceptance_rate[view.task_acceptance_mean == task.acceptance_mean]
            lines.append(
                [
                    pair,
                    task.name,
                    f"{task.acceptance_mean:.4f} ± {task.acceptance_std:.4f}",
                    f"{rates.mean():.4f} ± {rates.std():.4f}",
                ]
            )
    return lines


def _comparison_lines(points: Points) -> list[list[str]]:
    lines = []
    for value in PAPER_VALUES:
        ours = value.ours(points.goodput)
        digits = 2 if value.over else 0
        lines.append(
            [
                str(value.figure),
                value.model_pair,
                value.text(),
                f"{value.value:.{digits}f}",
                f"{ours:.{digits}f}",
                f"{100.0 * (ours / value.value - 1.0):+.0f} %",
            ]
        )
    return lines


def _order_lines(points: Points) -> list[list[str]]:
    """Which of Uni-BW and Homo comes out ahead, and whether the rest of the paper's order holds."""
    lines = []
    for field, values in SWEEPS.items():
        for pair in PAPER_PAIRS:
            best, uniform_ahead, above_fixed = 0, 0, 0
            for value in values:
                at = {
                    s: points.point(pair, s, make_config("paper", pair, {field: value})).mean_round_goodput
                    for s in SCHEMES
                }
                best += max(at, key=lambda scheme: at[scheme]) == "heterogeneous"
                uniform_ahead += at["uniform"] > at["homogeneous"]
                above_fixed += min(at, key=lambda scheme: at[scheme]) == "fixed"
            lines.append(
                [
                    "7" if field == "bandwidth_hz" else "8",
                    pair,
                    *(f"{count} of {len(values)}" for count in (best, uniform_ahead, above_fixed)),
                ]
            )
    return lines


def _figure_4_lines() -> list[list[str]]:
    paper = {"T_ver": "about 2 .. 6", "theta": "about 6 .. 2", "alpha": "about 4 .. 14"}
    return [
        [name, f"{axis[0]:g} .. {axis[-1]:g}", paper[name], f"{best[0]:.0f} .. {best[-1]:.0f}"]
        for name, (axis, best) in figure_4_curves().items()
    ]
