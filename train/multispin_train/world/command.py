"""The command ``multispin world``."""

from __future__ import annotations

from pathlib import Path

from multispin_baselines import CONTROLLERS, REFERENCE_CONTROLLERS
from rich.console import Console

from multispin_env import PAPER_PAIRS, make_config
from multispin_env.evaluation.results import ResultsFolder, claim_folder
from multispin_env.files import write_atomically
from multispin_train.channel.comparison import Comparison, compare, summary_text
from multispin_train.channel.comparison import table as channel_table
from multispin_train.channel.picture import draw as draw_comparison
from multispin_train.display import CommandProgress
from multispin_train.options import check_count
from multispin_train.world.fades import REMEDIES, draw_fades, try_remedy
from multispin_train.world.fades import markdown as fades_markdown
from multispin_train.world.latencies import LatencyRow, draw_latencies, markdown, play_latencies, table
from multispin_train.world.pictures import draw_channel, draw_upload, find_upload

# Those whose latencies are drawn; the table has everyone's.
_DRAWN = ("uniform", "heterogeneous", "posterior", "predictive", "clairvoyant")


def world(
    output: Path, seeds: int = 64, uplinks: tuple[str, ...] = ("example",), controllers: tuple[str, ...] = ()
) -> None:
    """Draws what the world of mobile is like.

    A user's channel at each speed, one upload under way, how long rounds last by controller for both of the paper's
    pairs, what it costs to trust a deep fade, and the channel beside measured uplinks: channel.png, upload.png,
    latency.png, fades.png, measured.png, and in report.md the tables of latencies and remedies. Rows of latencies come
    as they are played; run again with the same arguments to go on after an interruption.

    Example: multispin world --output runs/world

    Args:
        output: A new folder, or one to go on with.
        seeds: Episodes of each controller.
        uplinks: Measured uplinks, files as multispin channel takes them; example is the shipped one.
        controllers: Controllers whose rounds are timed, beside those that are drawn; by default the reference ones.

    Raises:
        ValueError: There is no seed or no such controller, or an uplink is wrong.
        FileExistsError: The folder holds something else.
    """
    check_count("seeds", seeds)
    comparison = Comparison(files=uplinks)
    names = [name for name in CONTROLLERS if name in {*_DRAWN, *(controllers or REFERENCE_CONTROLLERS)}]
    systems = {pair: make_config("mobile", pair) for pair in PAPER_PAIRS}
    claim_folder(output, {"seeds": seeds, "uplinks": comparison.identity()})
    folder = ResultsFolder(
        output / "latency",
        {"seeds": seeds, "systems": {pair: system.to_dict() for pair, system in systems.items()}},
        LatencyRow,
        unique=("model_pair", "controller", "longer"),
        allowed={"model_pair": PAPER_PAIRS},
    )
    first = systems[PAPER_PAIRS[0]]
    draw_channel(output / "channel.png", first)
    draw_upload(output / "upload.png", find_upload(first))
    sources = compare(comparison)
    draw_comparison(output / "measured.png", sources)
    write_atomically(output / "measured.json", summary_text(sources))

    console = Console()
    done = {(row.model_pair, row.controller) for row in folder.rows()}
    with CommandProgress(console) as progress:
        for pair, system in systems.items():
            for name in names:
                if (pair, name) not in done:
                    task = progress.add_task(f"{name} / {pair}", total=system.episode_rounds)
                    folder.append(play_latencies(name, pair, system, seeds, lambda: progress.advance(task)))  # noqa: B023
        task = progress.add_task("fades", total=len(systems) * len(REMEDIES))
        remedies = []
        for pair, system in systems.items():
            for told in REMEDIES:
                remedies.append(try_remedy(told, pair, system, seeds))
                progress.advance(task)
    rows = folder.rows()
    draw_latencies(output / "latency.png", rows, _DRAWN)
    draw_fades(output / "fades.png", remedies)
    sections = {"How long rounds of mobile last": markdown(rows), "To trust a deep fade": fades_markdown(remedies)}
    page = "\n".join(f"# {title}\n\n{table_text}\n" for title, table_text in sections.items())
    write_atomically(output / "report.md", page)
    console.print(channel_table(sources))
    console.print(table(rows))
    console.print(f"pictures: {output}", highlight=False, markup=False, soft_wrap=True)
