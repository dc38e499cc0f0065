"""Speculative decoding of several users' texts: they draft, and the server verifies all drafts in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multispin_env.speculative.models import LanguagePair
from multispin_env.speculative.reader import TextReader
from multispin_env.speculative.sampling import Draft, Payload, Proposal, VerificationResult, verify


@dataclass(frozen=True)
class Step:
    """What a round did to a user's text.

    Attributes:
        drafted: The drafted tokens.
        accepted: How many of them the server accepted.
        tokens: What the text gained: the accepted drafts and one token of the server's own. Of a text that ended, the
            tokens up to its end.
        ended: Whether the text ended.
    """

    drafted: tuple[int, ...]
    accepted: int
    tokens: tuple[int, ...]
    ended: bool


class SpeculativeDecoder:
    """Texts of K users and the two models that write them.

    A user's generator decides all that is random about its text: what it drafts and what the server makes of it. Users
    share batches, so who else is there changes the last digits of the probabilities, and nothing else: a text
    differs only where a draw falls between two such values.

    Args:
        draft: Reads the users' texts with the small model.
        target: Reads them with the large one.
        end_tokens: Tokens that end a text.
        payload: What is uploaded of a draft's distribution.
    """

    def __init__(self, draft: TextReader, target: TextReader, end_tokens: frozenset[int], payload: Payload) -> None:
        self._draft = draft
        self._target = target
        self._end_tokens = end_tokens
        self._payload = payload
        self.context = min(draft.context, target.context)
        self.texts: list[list[int]] = [[] for _ in draft.length]
        self._generators: dict[int, np.random.Generator] = {}

    @classmethod
    def of_pair(
        cls, pair: LanguagePair, users: int, payload: Payload | None = None, temperature: float = 1.0
    ) -> SpeculativeDecoder:
        """A decoder for a number of users of a pair; the temperature is that of both models."""
        draft, target = (pair.reader(network, users, temperature) for network in (pair.draft, pair.target))
        return cls(draft, target, pair.end_tokens, payload or Payload())

    def begin(
        self, users: Sequence[int], prompts: Sequence[Sequence[int]], generators: Sequence[np.random.Generator]
    ) -> None:
        """Begins new texts.

        Args:
            users: Whose.
            prompts: A prompt's tokens each, at least one.
            generators: One for each text.

        Raises:
            ValueError: A prompt is empty or longer than the context of the models.
        """
        for user, prompt, generator in zip(users, prompts, generators, strict=True):
            if not prompt:
                raise ValueError(f"prompt of user {user} must have at least one token, got none")
            self.texts[user] = list(prompt)
            self._generators[user] = generator
        # The last token is left for the first round, whose distributions stand behind it.
        for reader in (self._draft, self._target):
            for user in users:
                reader.truncate(user, 0)
            longer = [user for user in users if len(self.texts[user]) > 1]
            if longer:
                reader.prefill(longer, [self.texts[user][:-1] for user in longer])

    def round(self, users: Sequence[int], lengths: Sequence[int]) -> list[Step]:
        """One round: drafting, verification, feedback.

        Args:
            users: Who takes part.
            lengths: How many tokens each of them drafts, at least 1.

        Raises:
            ValueError: A length is below 1, a user has no text, or a text would be longer than the context of the
                models.
        """
        if empty := [user for user in users if not self.texts[user]]:
            raise ValueError(f"user {empty[0]} has no text; begin one first")
        drafts = self.draft(users, lengths)
        verdicts = self.verify(users, drafts)
        return [self._feed_back(*each) for each in zip(users, drafts, verdicts, strict=True)]

    def draft(self, users: Sequence[int], lengths: Sequence[int]) -> list[Draft]:
        """The first part of a round: drafts tokens one by one, the users side by side. The texts stay as they are."""
        if min(lengths) < 1:
            raise ValueError(f"draft length must be an integer of at least 1, got {min(lengths)}")
        unread = self._unread(self._draft, users)
        tokens: list[list[int]] = [[] for _ in users]
        proposals: list[list[Proposal]] = [[] for _ in users]
        for step in range(max(lengths)):
            drafting = [number for number, length in enumerate(lengths) if length > step]
            found = self._draft.forward([users[number] for number in drafting], [unread[number] for number in drafting])
            proposed = self._payload.propose(np.stack([distributions[-1] for distributions in found]))
            for number, *entries in zip(drafting, proposed.tokens, proposed.weights, strict=True):
                proposal = Proposal(*entries)
                token = proposal.draw(self._generators[users[number]])
                tokens[number].append(token)
                proposals[number].append(proposal)
                unread[number] = [token]
        return [Draft(*each) for each in zip(tokens, proposals, strict=True)]

    def verify(self, users: Sequence[int], drafts: Sequence[Draft]) -> list[VerificationResult]:
        """The second part: verifies all drafts in one pass of the target. The texts stay as they are."""
        unread = self._unread(self._target, users)
        found = self._target.forward(
            users, [[*last, *draft.tokens] for last, draft in zip(unread, drafts, strict=True)]
        )
        return [
            verify(draft, distributions[-1 - len(draft.tokens) :], self._generators[user])
            for user, draft, distributions in zip(users, drafts, found, strict=True)
        ]

    def _unread(self, reader: TextReader, users: Sequence[int]) -> list[list[int]]:
        """What a model has not read of the texts: at least the last token, as drafts stand behind it."""
        for user in users:
            reader.truncate(user, len(self.texts[user]) - 1)
        return [self.texts[user][reader.length[user] :] for user in users]

    def _feed_back(self, user: int, draft: Draft, verdict: VerificationResult) -> Step:
        for reader in (self._draft, self._target):
            reader.truncate(user, len(self.texts[user]) + verdict.accepted)
        gained = [*draft.tokens[: verdict.accepted], verdict.token]
        ends = [place for place, token in enumerate(gained, start=1) if token in self._end_tokens]
        gained = gained[: ends[0]] if ends else gained
        self.texts[user] += gained
        return Step(tuple(draft.tokens), min(verdict.accepted, len(gained)), tuple(gained), bool(ends))
