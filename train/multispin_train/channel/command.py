"""The command ``multispin channel``."""

from __future__ import annotations

from pathlib import Path

import tyro
from rich.console import Console

from multispin_env.files import write_atomically
from multispin_train.channel.comparison import Comparison, compare, open_folder, report, summary_text, table
from multispin_train.channel.picture import draw


def channel(comparison: tyro.conf.OmitArgPrefixes[Comparison], output: Path) -> None:
    """Holds measured uplinks against our models of them.

    Says how much each rate varies, how long it remembers and what becomes of it within a round: of files, and of users
    of the scenario's channel, who are watched as long. Writes results.csv (a row for each file and each user of a
    model), summary.json (medians over users), report.md and channel.png; prints the table.

    Example: multispin channel uplink.csv trace.up --output runs/channel

    Args:
        comparison: What is compared.
        output: A new folder, or one of the same files and scenario.

    Raises:
        ValueError: A file is wrong, or the scenario's rates are drawn anew in every round.
        FileExistsError: The folder holds something else.
    """
    sources = compare(comparison)
    folder = open_folder(comparison, output)
    if not folder.rows():
        folder.append([row for source in sources for row in source.rows])
    write_atomically(output / "summary.json", summary_text(sources))
    draw(output / "channel.png", sources)
    write_atomically(output / "report.md", report(sources))
    console = Console()
    console.print(table(sources))
    console.print(f"picture: {output / 'channel.png'}", highlight=False, markup=False, soft_wrap=True)
