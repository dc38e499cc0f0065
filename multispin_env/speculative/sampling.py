"""The rules of speculative sampling, and the distribution that a device uploads for them.

A draft x ~ q is accepted with probability min(1, p(x)/q(x)) (eq. 4), so x is drafted and accepted with probability
min(q(x), p(x)). After a rejection the server draws a correction from max(0, p - q), normalised (eq. 5); a rejection has
probability sum_x max(0, p(x) - q(x)), so x comes this way with probability max(0, p(x) - q(x)). The two add up to p(x):
the text is the target's own, whatever q is.

That needs the device to draw from *exactly* the q that the server computes with. A device therefore uploads
integers, and draws from them, not from what they were rounded from: truncation and quantisation cost acceptance,
never exactness. What remains is the rounding of p in double precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MOST_PROBABILITY_BITS = 32


@dataclass(frozen=True)
class Proposal:
    """Distributions of a draft model as they are uploaded: truncated, and quantised to integers.

    Attributes:
        tokens: The retained entries' tokens, (..., V_hat).
        weights: Their weights, integers that are at least 0, (..., V_hat): q is the weight over the sum of weights.
    """

    tokens: IntArray
    weights: IntArray

    def probabilities(self) -> FloatArray:
        """The retained entries' q, (..., V_hat)."""
        return self.weights / np.sum(self.weights, axis=-1, keepdims=True)

    def draw(self, generator: np.random.Generator) -> int:
        """Draws a token from one distribution, exactly: in integers."""
        running = np.cumsum(self.weights)
        return int(self.tokens[np.searchsorted(running, generator.integers(running[-1]), side="right")])

    def probability(self, token: ArrayLike) -> FloatArray:
        """Each distribution's q of a token, (...,)."""
        its_weight = np.sum(self.weights * (self.tokens == np.asarray(token)[..., np.newaxis]), axis=-1)
        return its_weight / np.sum(self.weights, axis=-1)

    def acceptance(self, target: FloatArray) -> FloatArray:
        """Probability that a draft is accepted, given the text before it: ``sum_x min(q(x), p(x))``.

        Args:
            target: p, (..., vocabulary).

        Returns:
            (...,), at most 1.
        """
        wanted = np.take_along_axis(target, self.tokens, axis=-1)
        return np.minimum(np.sum(np.minimum(self.probabilities(), wanted), axis=-1), 1.0)


@dataclass(frozen=True)
class Payload:
    """What is uploaded for each drafted token (eq. 9).

    Fewer entries cost acceptance, more cost time. Ours, the tiny pair over its prompts: acceptance .597, .703, .752
    and .763 with 1, 4, 16 and 64 entries, and .763 with all 257.

    Attributes:
        retained_entries: V_hat, the most probable entries that are uploaded, or all where there are fewer; at least 1.
        probability_bits: Q_B, the bits of an entry's weight, 1 to 32. The most probable entry has the largest weight.
    """

    retained_entries: int = 1024
    probability_bits: int = 16

    def __post_init__(self) -> None:
        if self.retained_entries < 1:
            raise ValueError(f"retained_entries must be an integer of at least 1, got {self.retained_entries!r}")
        if not 1 <= self.probability_bits <= _MOST_PROBABILITY_BITS:
            raise ValueError(
                f"probability_bits must be an integer in [1, {_MOST_PROBABILITY_BITS}], got {self.probability_bits!r}"
            )

    def propose(self, probabilities: FloatArray) -> Proposal:
        """Truncates and quantises a draft model's distributions.

        Args:
            probabilities: (..., vocabulary).

        Returns:
            Each distribution's most probable entries. An entry too improbable for a weight of 1 has 0: it stays
            undrafted.
        """
        retained = min(self.retained_entries, probabilities.shape[-1])
        tokens = np.argpartition(probabilities, -retained, axis=-1)[..., -retained:]
        kept = np.take_along_axis(probabilities, tokens, axis=-1)
        largest = 2**self.probability_bits - 1
        weights = np.rint(kept * (largest / np.max(kept, axis=-1, keepdims=True))).astype(np.int64)
        return Proposal(tokens, weights)


@dataclass(frozen=True)
class Draft:
    """What a user uploads in a round.

    Attributes:
        tokens: The drafted tokens.
        proposals: The distribution that each was drawn from.
    """

    tokens: Sequence[int]
    proposals: Sequence[Proposal]


@dataclass(frozen=True)
class VerificationResult:
    """What the server answers.

    Attributes:
        accepted: Length of the accepted prefix, 0 to L.
        token: The server's own token behind it: a correction, or a bonus token where all drafts were accepted.
    """

    accepted: int
    token: int


def verify(draft: Draft, target: FloatArray, generator: np.random.Generator) -> VerificationResult:
    """Verifies a user's drafts.

    Args:
        draft: L drafts.
        target: p at each draft's position and at the one behind the last, (L + 1, vocabulary).
        generator: Decides.
    """
    for position, (token, proposal) in enumerate(zip(draft.tokens, draft.proposals, strict=True)):
        if generator.random() * proposal.probability(token) >= target[position, token]:
            residual = target[position].copy()
            residual[proposal.tokens] -= proposal.probabilities()
            residual = np.maximum(residual, 0.0)
            # Where p is q but for its rounding, nothing is left of it.
            return VerificationResult(position, sample(residual if residual.any() else target[position], generator))
    return VerificationResult(len(draft.tokens), sample(target[-1], generator))


def sample(weights: FloatArray, generator: np.random.Generator) -> int:
    """Draws an index with probability in proportion to its weight, (vocabulary,)."""
    running = np.cumsum(weights)
    return int(np.searchsorted(running, generator.random() * running[-1], side="right"))


def outcome_probability(proposed: ArrayLike, target: ArrayLike) -> FloatArray:
    """Probability that a token of the text was an accepted draft, if one was tried there: ``min(1, q(x)/p(x))``.

    A token is x and an accepted draft with probability min(q(x), p(x)), and x at all with probability p(x), given the
    text before it. So whoever samples a text from the target and then, at each position, whether a draft there was
    accepted, with this probability, has the joint law of text and acceptance that drafting and verifying has: a round
    of L drafts from position t accepts until the first failure and gains one token more, which is the text's next in
    either case, the correction's after a failure (it has the law of x given a rejection) and the bonus token's
    otherwise (p itself). The next round begins behind it. This is how measured requests are replayed.

    Args:
        proposed: q of the text's tokens.
        target: p of the text's tokens, above 0.
    """
    return np.minimum(np.asarray(proposed) / np.asarray(target), 1.0)
