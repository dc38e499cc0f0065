"""Work side by side: the same results as alone, and what a lost worker was at is done again."""

import os
import signal
from pathlib import Path

import pytest
from multispin_train.benchmark.protocol import Protocol, Row, run_benchmark
from multispin_train.workers import Workers

from multispin_env import ConfigError

SMALL = {"num_users": 3, "episode_rounds": 5}


def squared(number: int, grave: Path | None = None) -> int:
    """The square; whoever is the first with a grave does not live to tell."""
    if grave is not None and not grave.exists():
        grave.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def doomed(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def failing(number: int) -> int:
    if number == 2:
        raise ValueError("two is not for us")
    return number


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_piece_is_done_once(jobs: int) -> None:
    pieces = [(number,) for number in range(7)]
    done = list(Workers(jobs=jobs).work(squared, pieces))
    assert sorted(done) == [((number,), number * number) for number in range(7)]


def test_what_a_lost_worker_was_at_is_done_again(tmp_path: Path) -> None:
    pieces = [(number, tmp_path / "grave" if number == 3 else None) for number in range(7)]
    done = dict(Workers(jobs=2).work(squared, pieces))
    assert done == {piece: piece[0] ** 2 for piece in pieces}
    assert (tmp_path / "grave").exists()


def test_what_no_worker_survives_is_not_tried_for_ever() -> None:
    with pytest.raises(RuntimeError, match="3 workers were lost in a row"):
        list(Workers(jobs=2).work(doomed, [(1,)]))


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_is_the_caller_s(jobs: int) -> None:
    with pytest.raises(ValueError, match="two is not for us"):
        list(Workers(jobs=jobs).work(failing, [(number,) for number in range(4)]))


def test_here_a_piece_is_asked_for_when_its_turn_has_come() -> None:
    asked = []

    def pieces():
        for number in range(3):
            asked.append(number)
            yield (number,)

    work = Workers().work(squared, pieces())
    assert next(work) == ((0,), 0)
    assert asked == [0]


def test_a_benchmark_by_several_is_row_by_row_that_of_one(tmp_path: Path) -> None:
    protocol = Protocol(scenario="mobile", seeds=33, controllers=("fixed", "heterogeneous"), config=SMALL)
    played: dict[str, int] = {"fixed": 0, "heterogeneous": 0}

    def note(name: str, rounds: int) -> None:
        played[name] += rounds

    def by(jobs: int) -> list[Row]:
        folder = protocol.open_folder(tmp_path / str(jobs))
        return run_benchmark(protocol, folder, note, timed=False, workers=Workers(jobs=jobs))

    alone, together = by(1), by(2)
    assert [str(row) for row in alone] == [str(row) for row in together]  # decision times are NaN
    assert played == {"fixed": 2 * 33 * 5, "heterogeneous": 2 * 33 * 5}


def test_ray_s_workers_come_to_the_same() -> None:
    pytest.importorskip("ray")
    pieces = [(number,) for number in range(5)]
    assert sorted(Workers(jobs=2, backend="ray").work(squared, pieces)) == [(piece, piece[0] ** 2) for piece in pieces]


def test_wrong_workers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"jobs must be an integer in \[1, 10000\], got 0"):
        Workers(jobs=0)
    with pytest.raises(ValueError, match="backend must be one of 'processes', 'ray', got 'dask'"):
        Workers(backend="dask")
    with pytest.raises(ValueError, match=r"address is that of a Ray cluster, for backend ray, got '10.0.0.1:6379'"):
        Workers(address="10.0.0.1:6379")
