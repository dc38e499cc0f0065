"""Texts that the target writes, and how a draft would fare at every position of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from multispin_env.speculative.reader import TextReader
from multispin_env.speculative.sampling import Payload, outcome_probability, sample


@dataclass(frozen=True)
class Recording:
    """A text and its drafts' chances, one entry a token.

    Attributes:
        tokens: The text, without the prompt; the last one may be its end.
        acceptance: Probability that a draft at the position is accepted, given the text before it.
        outcome_probability: Probability that the text's token was an accepted draft, if one was tried there;
            :func:`multispin_env.speculative.sampling.outcome_probability` tells how to replay it.
        other_acceptance: ``acceptance`` under each of the other payloads.
    """

    tokens: list[int] = field(default_factory=list)
    acceptance: list[float] = field(default_factory=list)
    outcome_probability: list[float] = field(default_factory=list)
    other_acceptance: list[tuple[float, ...]] = field(default_factory=list)


def record(
    draft: TextReader,
    target: TextReader,
    prompts: Sequence[Sequence[int]],
    generators: Sequence[np.random.Generator],
    payload: Payload,
    end_tokens: frozenset[int],
    max_tokens: int,
    other_payloads: Sequence[Payload] = (),
) -> list[Recording]:
    """Lets the target write a text behind each prompt, side by side, and the draft model read along.

    Args:
        draft: A fresh reader of the draft model, with a row for each prompt.
        target: A fresh reader of the target.
        prompts: Tokens of the prompts, at least one each.
        generators: One for each text.
        payload: What is uploaded of the draft's distribution.
        end_tokens: Tokens that end a text.
        max_tokens: Tokens after which a text is cut.
        other_payloads: Payloads whose acceptance is wanted for comparison.

    Raises:
        ValueError: A text is longer than a model's context.
    """
    longer = [row for row, prompt in enumerate(prompts) if len(prompt) > 1]
    for reader in (draft, target):
        if longer:
            reader.prefill(longer, [prompts[row][:-1] for row in longer])
    recordings = [Recording() for _ in prompts]
    last = [prompt[-1] for prompt in prompts]
    writing = list(range(len(prompts)))
    while writing:
        news = [[last[row]] for row in writing]
        found = np.concatenate(target.forward(writing, news))
        drafted = np.concatenate(draft.forward(writing, news))
        proposal = payload.propose(drafted)
        tokens = [sample(distribution, generators[row]) for row, distribution in zip(writing, found, strict=True)]
        chances = zip(
            writing,
            tokens,
            proposal.acceptance(found),
            outcome_probability(proposal.probability(tokens), found[np.arange(len(tokens)), tokens]),
            *[other.propose(drafted).acceptance(found) for other in other_payloads],
            strict=True,
        )
        for row, token, acceptance, outcome, *others in chances:
            recording = recordings[row]
            recording.tokens.append(token)
            recording.acceptance.append(float(acceptance))
            recording.outcome_probability.append(float(outcome))
            recording.other_acceptance.append(tuple(map(float, others)))
            last[row] = token
        writing = [row for row in writing if last[row] not in end_tokens and len(recordings[row].tokens) < max_tokens]
    return recordings
