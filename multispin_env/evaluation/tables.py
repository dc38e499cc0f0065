"""How our tables look: in a terminal of 80 columns, and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

NAME_WIDTH = 24


def new_table(title: str, caption: str = "") -> Table:
    """A table for the terminal, in our style and without columns yet."""
    return Table(
        title=escape(title),
        title_style="bold",
        title_justify="left",
        caption=escape(caption),
        caption_style="dim",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )


def terminal_table(
    title: str, caption: str, header: Sequence[str], lines: Sequence[Sequence[str]], text_columns: int = 1
) -> Table:
    """A table for the terminal: columns of text first, then numbers, to the right.

    Numbers are never broken over lines, and neither are texts of up to ``NAME_WIDTH`` characters.

    Args:
        title: Above it.
        caption: Below it.
        header: The columns' titles; a newline breaks one.
        lines: The cells, a line a row.
        text_columns: How many columns are text.
    """
    table = new_table(title, caption)
    for number, name in enumerate(header):
        if number < text_columns:
            longest = max((len(line[number]) for line in lines), default=0)
            table.add_column(name, overflow="fold", min_width=min(longest, NAME_WIDTH))
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table: columns of text first, then numbers, to the right."""
    rule = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))
