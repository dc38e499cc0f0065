"""What commands show while they work: progress, and warnings in one line each."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

# Where there is no terminal, a task that goes on says so about this often.
_SECONDS_BETWEEN_LINES = 60.0


class CommandProgress(Progress):
    """A bar a task on a terminal; elsewhere, as in a pipe, a line a minute of a task and one when it has finished.

    A task's time and rate are its own: they count from its start, and what an earlier run has done is not in the rate.
    One that is added with ``start=False`` waits for ``begin``.

    Args:
        console: Where to show it.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _RateColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        # When a task last had its line, and those that have had their last.
        self._said_at: dict[TaskID, float] = {}
        self._finished: set[TaskID] = set()

    def add_task(
        self,
        description: str,
        start: bool = True,
        total: float | None = 100.0,
        completed: int = 0,
        visible: bool = True,
        **fields: Any,
    ) -> TaskID:
        """Adds a task, of which an earlier run has done ``completed``."""
        task_id = super().add_task(description, start, total, completed, visible, held=completed, **fields)
        self._said_at[task_id] = self.get_time()
        return task_id

    def begin(self, task_id: TaskID, held: float) -> None:
        """Starts the clock of a task, of which an earlier run has done so much."""
        self.start_task(task_id)
        self.update(task_id, completed=held, held=held)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Moves a task on."""
        super().advance(task_id, advance)
        self._say(task_id)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Changes a task."""
        super().update(task_id, **changes)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        if not self.disable or task_id in self._finished:
            return
        task, now = self._tasks[task_id], self.get_time()
        if task.finished:
            self._finished.add(task_id)
        elif now - self._said_at[task_id] < _SECONDS_BETWEEN_LINES:
            return
        self._said_at[task_id] = now
        line = f"{task.description:<24} {task.completed:.0f}/{task.total or 0:.0f}"
        if task.elapsed:
            line += f" {timedelta(seconds=round(task.elapsed))} {_rate(task)}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(_rate(task), style="progress.data.speed")


def _rate(task: Task) -> str:
    """What a task has done in a second of its own time."""
    elapsed = task.finished_time or task.elapsed
    done = task.completed - task.fields.get("held", 0)
    if not elapsed or not done:
        return ""
    rate = done / elapsed
    return f"{rate:,.0f}/s" if rate >= 10.0 else f"{rate:.1f}/s"


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Shows every warning once, as one line on standard error."""
    shown: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in shown:
            shown.add(text)
            print(f"warning: {text}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
