"""Random numbers: one named stream a component and environment, and the variates of rounds drawn from it in blocks.

A stream is a function of the environment's generator and of its name alone. So a component that is switched on or off,
draws more or less, or is reset in another order leaves the numbers of all others as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import DTypeLike, NDArray

from multispin_env.core.equations import FloatArray

UIntArray = NDArray[np.uint64]

# A call of a generator costs about a microsecond, so an environment draws for many rounds at once, as far as the
# buffer, in numbers, goes. How many never changes a stream: a stream holds one kind of variate, in order of rounds.
_BLOCK_ROUNDS = 64
_BLOCK_NUMBERS = 2**22
# Numbers drawn before they are copied into their places, which are far apart: several environments at a time copy
# faster. Freeing pieces of this size (2 MB) also keeps glibc from giving memory back that every round needs again.
_COPY_NUMBERS = 2**18


# As arrays: a Python number takes NumPy as long as the operation on a few users.
_GOLDEN, _FIRST, _SECOND = (
    np.array(factor, dtype=np.uint64) for factor in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_HALF, _SPACING = np.array(0.5), np.array(2.0**-52)
_1, _12, _27, _30, _31 = (np.array(bits, dtype=np.uint64) for bits in (1, 12, 27, 30, 31))


def splitmix64(seed: UIntArray, number: UIntArray) -> UIntArray:
    """Output ``number``, counted from 0, of the generator SplitMix64 with this seed (Steele, Lea and Flood, 2014).

    Any output can be had without those before it, so that chance can be tied to places instead of to an order.
    """
    bits = (number + _1) * _GOLDEN + seed
    bits ^= bits >> _30
    bits *= _FIRST
    bits ^= bits >> _27
    bits *= _SECOND
    bits ^= bits >> _31
    return bits


def uniform(bits: UIntArray) -> FloatArray:
    """Uniform variates in (0, 1), without either end, from uniform integers: their 52 upper bits and a half."""
    return ((bits >> _12).astype(np.float64) + _HALF) * _SPACING


class _Words(ISeedSequence):
    """Words that seed a bit generator as they are: ten times faster than NumPy's own ``SeedSequence``."""

    def __init__(self, words: UIntArray) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: DTypeLike = np.uint32) -> NDArray[Any]:
        """The words; their number and type are those that the bit generator asks for."""
        return self._words


class Streams:
    """The streams of one episode, by name, for every environment.

    A name can be taken once: two components cannot share a stream by accident.

    Args:
        generators: One an environment. Each gives a single number, whatever is then taken.
    """

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self.num_envs = len(generators)
        self._entropy = np.array([g.integers(2**64, dtype=np.uint64) for g in generators], dtype=np.uint64)
        self._taken: set[str] = set()

    def generators(self, name: str) -> tuple[np.random.Generator, ...]:
        """The stream as a generator an environment, for many numbers in a row."""
        words = splitmix64(self._key(name)[:, np.newaxis], np.arange(3, dtype=np.uint64))
        # NumPy's annotation knows SeedSequence only; any ISeedSequence serves.
        return tuple(np.random.Generator(np.random.SFC64(_Words(row))) for row in words)  # type: ignore[arg-type]

    def seeds(self, name: str, num_users: int) -> UIntArray:
        """The stream as an integer a user, (num_envs, num_users): a seed of :func:`splitmix64`."""
        return splitmix64(self._key(name)[:, np.newaxis], np.arange(num_users, dtype=np.uint64))

    def uniform(self, name: str, num_users: int) -> FloatArray:
        """The stream as a uniform variate in (0, 1) a user, (num_envs, num_users)."""
        return uniform(self.seeds(name, num_users))

    def _key(self, name: str) -> UIntArray:
        if name in self._taken:
            raise ValueError(f"the random stream {name!r} is already taken")
        self._taken.add(name)
        digest = np.uint64(int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little"))
        return splitmix64(self._entropy ^ digest, np.zeros(1, dtype=np.uint64))


class RoundDraws:
    """Variates of one kind for every round, environment and user.

    Which numbers come does not depend on decisions. So two controllers on one seed meet the same world, and an
    environment is the same whether it is simulated alone or beside others.

    Args:
        draw: The kind, an unbound method of NumPy's ``Generator``: ``standard_normal`` or ``standard_exponential``.
        per_user: Variates that a round needs for each user.
        num_users: Users.
        rounds: Rounds for which numbers are used, so that blocks do not draw many more.
    """

    def __init__(self, draw: Callable[..., Any], per_user: int, num_users: int, rounds: int) -> None:
        self._draw = draw
        self._per_user, self._num_users, self._rounds = per_user, num_users, rounds
        self._buffer: FloatArray = np.empty((0, per_user, 0, num_users))

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Starts an episode with one generator an environment."""
        self._generators = generators
        self._drawn = self._row = self._filled = 0
        row = (self._per_user, len(generators), self._num_users)
        block = max(1, min(_BLOCK_ROUNDS, self._rounds, _BLOCK_NUMBERS // int(np.prod(row))))
        if self._buffer.shape != (block, *row):
            self._buffer = np.empty((block, *row))

    def next(self) -> FloatArray:
        """The next round's variates, (per_user, num_envs, num_users). Read-only: the buffer is reused."""
        if self._row == self._filled:
            left = self._rounds - self._drawn
            self._filled = min(len(self._buffer), left) if left > 0 else 1
            self._fill(self._filled)
            self._drawn += self._filled
            self._row = 0
        self._row += 1
        return self._buffer[self._row - 1]

    def _fill(self, rounds: int) -> None:
        together = max(1, _COPY_NUMBERS // (rounds * self._per_user * self._num_users))
        for start in range(0, len(self._generators), together):
            generators = self._generators[start : start + together]
            drawn = np.empty((len(generators), rounds, self._per_user, self._num_users))
            for generator, out in zip(generators, drawn, strict=True):
                self._draw(generator, out=out)
            self._buffer[:rounds, :, start : start + len(generators)] = drawn.transpose(1, 2, 0, 3)
