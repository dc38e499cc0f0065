"""What the study says: tables and pictures on one page, made from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from multispin_env import PAPER_PAIRS
from multispin_env.evaluation.statistics import Estimate
from multispin_env.evaluation.tables import markdown_table
from multispin_env.files import write_atomically
from multispin_train.study.heat import HEAT_CONFIG, HEAT_PLAYERS, HEAT_SETTINGS
from multispin_train.study.pictures import draw_behaviour, draw_curves, draw_goodput, draw_transfer
from multispin_train.study.plan import (
    ACTIONS,
    CONTROLLERS,
    FLAGSHIP,
    HIDDEN_SETTING,
    MAIN,
    OTHER_USERS,
    SCENARIOS,
    SLOW_SEEDS,
    SPEED_SETTINGS,
    TAUGHT,
    TEACHER,
    TRANSFER_CONTROLLERS,
    USER_SETTINGS,
    Study,
    StudyRow,
    cell_name,
)
from multispin_train.study.results import Results

_VERDICT = {True: "met", False: "**missed**"}


def write_report(study: Study, rows: Sequence[StudyRow]) -> Path:
    """Writes ``report.md`` and the pictures into the study's folder; returns the page."""
    results, folder = Results(rows), study.folder.path
    draw_goodput(folder / "goodput.png", results)
    draw_transfer(folder / "transfer.png", results)
    draw_curves(folder / "learning_curves.png", study)
    draw_behaviour(folder / "behaviour.png", study)
    plan = study.plan
    page = folder / "report.md"
    write_atomically(
        page,
        f"""# Learned controllers beside the closed forms

{plan.training_seeds} training seeds of the agents of {" and ".join(MAIN)}, {plan.variant_seeds} of the others, and
{plan.seeds} episodes that no training has seen; 20 users, 10 MHz. Goodput is total tokens over total seconds of an
episode. Figures are interquartile means over training seeds and episodes, with 95 % intervals from a bootstrap over
both; gains are paired by episode. "Training seeds" is the range of the single agents' figures. A decision's time is
that of a single one on one core, shared with other work.

## Targets

{_targets(results)}

## Scenarios

Agents are PPO with equivariant networks and {_listed(ACTIONS)} actions; {_listed(TAUGHT)}
ones first imitate `{TEACHER}`. Those of `mobile` are trained with 5 to 100 users, here they serve 20; the same ones
play in `measured`, on an uplink that they never saw, and in `thermal`. In `paper` zeros of residual actions are the
optimum, so that only the others are trained there. `long-run` plays the first {SLOW_SEEDS} episodes.

![goodput](goodput.png)

{_scenarios(study, results)}

Evaluations in {" / ".join(FLAGSHIP)}, with 5 to 100 users, as the agents learned (mean and range of training seeds):

![learning curves](learning_curves.png)

## Other systems than the one trained on

Trained with 5 to 100 users of all speeds, in {" / ".join(FLAGSHIP)}. Specialists are trained where they are played.

{_transfer_table(study, results)}

![transfer](transfer.png)

## Where nobody tells how fast the channel changes

{_table(results, HIDDEN_SETTING, _present(study, results, HIDDEN_SETTING))}

## What it is worth to look ahead to heat

In `thermal` long drafts heat a device and slow it in the rounds to come; the closed form looks at this round only. Here
devices are the slowest and throttle the strongest and the fastest of those measured, for
{HEAT_CONFIG["episode_rounds"]} rounds. If there were much to gain by sparing them, it would be gained by telling
`predictive` that drafting takes longer than it does.

{_heat_table(results)}

## What the agents do

![behaviour](behaviour.png)

The agents are those of training seed 0, each in worlds of its own making.

Who was not played yet, in an unfinished study, is left out. The rows are in `results.csv`, everything that decides them
in `manifest.json`, the agents in `agents/`.
""",
    )
    return page


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(f"`{name}`" for name in names[:-1]), f"`{names[-1]}`"])


def _present(study: Study, results: Results, setting: str) -> list[str]:
    """Who has played in a setting, the clairvoyant last."""
    asked = study.plan.settings[setting]
    players = (*(who for who in asked.controllers if who != CONTROLLERS[-1]), *asked.cells, CONTROLLERS[-1])
    return [who for who in players if results.has(setting, who)]


def _scenarios(study: Study, results: Results) -> str:
    sections = []
    for scenario in SCENARIOS:
        for pair in PAPER_PAIRS:
            name = f"{scenario}-{pair}"
            players = _present(study, results, name)
            sections.append(f"### {scenario} / {pair}\n\n{_table(results, name, players)}")
    return "\n\n".join(sections)


def _table(results: Results, setting: str, players: Sequence[str]) -> str:
    header = (
        "player",
        "goodput, tok/s",
        "training seeds",
        "% over heterogeneous",
        "% over predictive",
        "% of long-run",
        "decision, µs",
    )
    lines = []
    for player in players:
        over, over_predictive = (results.gain(setting, player, other) for other in ("heterogeneous", "predictive"))
        low, high = results.training_range(setting, player)
        lines.append(
            (
                player,
                results.mean(setting, player).text(),
                f"{low:.1f} to {high:.1f}" if low < high else "",
                over.text(scale=100.0, sign=True),
                over_predictive.text(scale=100.0, sign=True),
                results.ratio(setting, player, "long-run").text(scale=100.0) if "long-run" in players else "",
                f"{results.decision_us(setting, player):.0f}",
            )
        )
    return markdown_table(header, lines)


def _transfer_table(study: Study, results: Results) -> str:
    header = ("system", *TRANSFER_CONTROLLERS, *ACTIONS, "specialist", *(f"{action}, % of it" for action in ACTIONS))
    lines = []
    for name in (*USER_SETTINGS, *SPEED_SETTINGS):
        agents = [cell_name(*FLAGSHIP, action) for action in ACTIONS]
        texts = [results.mean(name, player).text() for player in (*TRANSFER_CONTROLLERS, *agents)]
        special = ["" for _ in range(1 + len(agents))]
        if name in study.plan.cells:
            shares = (results.ratio(name, agent, name).text(scale=100.0) for agent in agents)
            special = [results.mean(name, name).text(), *shares]
        lines.append((name, *texts, *special))
    return markdown_table(header, lines)


def _targets(results: Results) -> str:
    """Each target of the study with what was measured."""
    lines = []

    def add(target: str, where: str, found: Estimate, wanted: float, met: bool) -> None:
        lines.append((target, where, found.text(scale=100.0), f"{100.0 * wanted:g}", _VERDICT[met]))

    def against(setting: str, agent: str, other: str, wanted: float) -> None:
        if results.has(setting, agent) and results.has(setting, other):
            found = results.ratio(setting, agent, other)
            add(f"against {other}, in {setting}", agent, found, wanted, found.value >= wanted)

    for pair in PAPER_PAIRS:
        for action in ACTIONS:
            paper, requests, mobile, measured = (f"{one}-{pair}" for one in ("paper", "requests", "mobile", "measured"))
            against(paper, f"{paper}-{action}", "clairvoyant", 0.995)
            against(requests, f"{requests}-{action}", "long-run", 0.99)
            agent = f"{mobile}-{action}"
            for other, wanted in (("heterogeneous", 1.2), ("predictive", 1.03)):
                found = results.ratio(mobile, agent, other)
                apart = results.mean(mobile, agent).low > results.mean(mobile, other).high
                text = "intervals apart" if apart else "intervals overlap"
                add(f"against {other} ({text})", agent, found, wanted, found.value >= wanted and apart)
            if results.has(mobile, "long-run"):
                found = results.ratio(mobile, agent, "long-run")
                times = results.decision_us(mobile, "long-run") / results.decision_us(mobile, agent)
                met = found.value >= 0.98 and times >= 100.0
                add(f"against long-run ({times:.0f} times as fast)", agent, found, 0.98, met)
            against(measured, agent, "predictive", 1.0)
    for users in OTHER_USERS:
        for action in ACTIONS:
            name, agent = f"users-{users}", cell_name(*FLAGSHIP, action)
            found = results.ratio(name, agent, name)
            add(f"against a specialist for {users} users", agent, found, 0.97, found.value >= 0.97)
    without, with_memory = (f"{HIDDEN_SETTING}-{agent}" for agent in ("ppo", "recurrent-ppo"))
    for other in (without, "predictive"):
        found = results.ratio(HIDDEN_SETTING, with_memory, other)
        add(f"with hidden Doppler, against {other}", with_memory, found, 1.0, found.low > 1.0)
    header = ("target", "agent", "measured, %", "wanted, %", "verdict")
    return markdown_table(header, lines, text_columns=2)


def _heat_table(results: Results) -> str:
    """Gains over the closed form that is told the truth."""
    told = dict(sorted({**HEAT_PLAYERS, 1.0: "predictive"}.items()))
    lines = []
    for setting in HEAT_SETTINGS:
        gains = (results.gain(setting, player, "predictive").text(scale=100.0, sign=True) for player in told.values())
        lines.append((setting, results.mean(setting, "predictive").text(), *gains))
    header = ("setting", "told the truth, tok/s", *(f"times {factor:g}, %" for factor in told))
    return markdown_table(header, lines)
