"""Independent pieces of work, side by side: in processes of this machine or on a Ray cluster, by joblib."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import joblib
import tyro
from joblib.externals.loky.process_executor import BrokenProcessPool

from multispin_env.config import whole
from multispin_env.envs.checks import check_choice
from multispin_train.options import CheckedOptions, one_of

Piece = TypeVar("Piece", bound=tuple[Any, ...])
Result = TypeVar("Result")

PROCESSES, RAY = "processes", "ray"
BACKENDS = (PROCESSES, RAY)
# A piece that so many workers did not survive is the cause itself.
_MOST_LOSSES = 3


@dataclass(frozen=True, kw_only=True)
class Workers(CheckedOptions):
    """Who does the work.

    Attributes:
        jobs: Pieces of work side by side.
        backend: Processes of this machine, or workers of a Ray cluster (extra ray).
        address: The Ray cluster's address, such as 10.0.0.1:6379; a cluster of this machine alone if none is given.
    """

    jobs: int = whole(1, 10_000, default=1)
    backend: Annotated[str, tyro.conf.arg(metavar=one_of(BACKENDS))] = PROCESSES
    address: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("backend", self.backend, BACKENDS)
        if self.address is not None and self.backend != RAY:
            raise ValueError(f"address is that of a Ray cluster, for backend ray, got {self.address!r}")

    def in_this_process(self) -> bool:
        """Whether there is nobody but the caller to work."""
        return self.jobs == 1 and self.backend == PROCESSES

    def work(self, function: Callable[..., Result], pieces: Iterable[Piece]) -> Iterator[tuple[Piece, Result]]:
        """Does every piece once and hands out the results as they come, in any order.

        What a worker was at that is lost, by a machine switched off or memory that ran out, is done again.

        Args:
            function: Of a module; what it does must depend on its arguments alone.
            pieces: The arguments of each. In this process each is asked for when its turn has come.

        Yields:
            A piece and its result.

        Raises:
            RuntimeError: Workers were lost again and again.
            ModuleNotFoundError: The extra ``ray`` is missing.
        """
        if self.in_this_process():
            for piece in pieces:
                yield piece, function(*piece)
            return
        left = dict(enumerate(pieces))
        losses = 0
        while left:
            try:
                for index, result in self._done(function, dict(left)):
                    losses = 0
                    yield left.pop(index), result
            except self._loss() as error:
                losses += 1
                if losses == _MOST_LOSSES:
                    raise RuntimeError(f"{losses} workers were lost in a row, the last one by: {error}") from error

    def _done(
        self, function: Callable[..., Result], pieces: Mapping[int, tuple[Any, ...]]
    ) -> Iterator[tuple[int, Result]]:
        tasks = [joblib.delayed(_numbered)(function, index, piece) for index, piece in pieces.items()]
        if self.backend == PROCESSES:
            yield from joblib.Parallel(self.jobs, "loky", return_as="generator_unordered", batch_size=1)(tasks)
            return
        self._join_ray()
        # Ray's part of joblib hands out all results at once: so one piece a worker at a time.
        for first in range(0, len(tasks), self.jobs):
            with joblib.parallel_config("ray", n_jobs=self.jobs):
                yield from joblib.Parallel(batch_size=1)(tasks[first : first + self.jobs])

    def _join_ray(self) -> None:
        import ray
        from ray.util.joblib import register_ray

        if not ray.is_initialized():
            ray.init(address=self.address, log_to_driver=False)
        register_ray()

    def _loss(self) -> type[Exception]:
        """What is raised where a worker is lost."""
        if self.backend == PROCESSES:
            return BrokenProcessPool
        from ray.exceptions import RayActorError

        return RayActorError


def _numbered(function: Callable[..., Result], index: int, piece: tuple[Any, ...]) -> tuple[int, Result]:
    return index, function(*piece)
