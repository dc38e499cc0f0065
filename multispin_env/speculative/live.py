"""Requests whose texts two language models write, in the step: what is accepted is what the target says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multispin_env.config import ConfigError, LiveConfig, SystemConfig
from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.core.requests.base import GenerationState, RequestModel, draw_tasks
from multispin_env.core.streams import Streams
from multispin_env.speculative.prompts import read_prompts
from multispin_env.speculative.sampling import Payload

# Models are imported where they are loaded, so that an environment is made without them.
if TYPE_CHECKING:
    from multispin_env.speculative.decoding import SpeculativeDecoder
    from multispin_env.speculative.models import LanguagePair


@dataclass(frozen=True)
class EncodedPrompt:
    """What a user asks.

    Attributes:
        text: As it stands in the file.
        tokens: As the models read it.
    """

    text: str
    tokens: list[int]


@cache
def load_pair_and_prompts(
    draft: str, target: str, prompts: str
) -> tuple[LanguagePair, Mapping[str, Sequence[EncodedPrompt]]]:
    """The models of a :class:`~multispin_env.config.LiveConfig` and each task's prompts, loaded once a process.

    Raises:
        ModuleNotFoundError: The extra ``live`` is not installed.
        FileNotFoundError: There is no such model or file.
        ConnectionError: A model is not on this machine and the hub cannot be reached.
        ValueError: The models cannot work together, a line of the file is wrong, or a prompt is too long for them.
    """
    try:
        from multispin_env.speculative.models import TINY, load_pair
        from multispin_env.speculative.reader import longest_text
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"scenario 'live' runs language models and needs {error.name}: pip install 'multispin_env[live]'"
        ) from error
    pair = load_pair(draft, target)
    context = min(map(longest_text, (pair.draft, pair.target)))
    by_task: dict[str, list[EncodedPrompt]] = {}
    for line in read_prompts(TINY / "prompts.jsonl" if prompts == "tiny-prompts" else Path(prompts)):
        tokens = pair.encode(line.prompt)
        if len(tokens) >= context:
            raise ValueError(
                f"{prompts}: a prompt must have fewer tokens than the models' context of {context}, got {len(tokens)}: "
                f"{line.prompt[:40]!r}"
            )
        by_task.setdefault(line.task, []).append(EncodedPrompt(line.prompt, tokens))
    return pair, by_task


def complete_characters(text: str, beginning: str) -> int:
    """How much of a text is there when only some of its tokens are.

    Args:
        text: The text of all tokens.
        beginning: That of the first of them, where replacement characters may stand for one that is not complete.

    Returns:
        Number of characters that both begin with.
    """
    same = (one == other for one, other in zip(text, beginning, strict=False))
    return sum(takewhile(bool, same))


class EnvironmentTexts:
    """The texts of one environment's users, and the models at work on them.

    Copies and pickles go without the models, which are the process's: theirs read the texts again.

    Args:
        live: The models.
        most_tokens: Written tokens with which a request ends at the latest.
        requests: Each user's first prompt, and the generator that decides what is written behind it.
    """

    def __init__(
        self, live: LiveConfig, most_tokens: int, requests: Sequence[tuple[EncodedPrompt, np.random.Generator]]
    ) -> None:
        self._live = live
        self._most_tokens = most_tokens
        self._prompts = [prompt for prompt, _ in requests]
        self._generators = [generator for _, generator in requests]
        self._texts = [prompt.tokens for prompt in self._prompts]
        self._decoder: SpeculativeDecoder | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_decoder": None}

    def begin(self, user: int, prompt: EncodedPrompt, generator: np.random.Generator) -> None:
        """Begins a user's next request."""
        self._prompts[user], self._generators[user] = prompt, generator
        self._at_work().begin([user], [prompt.tokens], [generator])

    def round(self, lengths: Sequence[int]) -> list[tuple[int, GenerationState]]:
        """Drafts and verifies; each user's accepted drafts, and its text.

        A draft that would not fit into the models' context is cut: its end cannot be accepted. A character that several
        tokens make up belongs to the one that completes it; what stands for it until then, to the one that began it.
        """
        decoder = self._at_work()
        before = [len(text) for text in self._texts]
        fitting = [min(length, decoder.context - tokens) for length, tokens in zip(lengths, before, strict=True)]
        steps = decoder.round(range(len(lengths)), fitting)
        played = []
        for text, prompt, tokens, step in zip(self._texts, self._prompts, before, steps, strict=True):
            start = len(prompt.tokens)
            written = self._decoded(text[start:])
            ended = step.ended or len(text) - start >= self._most_tokens or len(text) >= decoder.context
            state = GenerationState(
                prompt=prompt.text,
                text=written,
                accepted_start=complete_characters(written, self._decoded(text[start:tokens])),
                server_token_start=complete_characters(written, self._decoded(text[start : tokens + step.accepted])),
                ended=ended,
            )
            played.append((step.accepted, state))
        return played

    def _at_work(self) -> SpeculativeDecoder:
        if self._decoder is None:
            from multispin_env.speculative.decoding import SpeculativeDecoder

            payload = Payload(self._live.retained_entries, self._live.probability_bits)
            self._decoder = SpeculativeDecoder.of_pair(self._pair, len(self._texts), payload)
            self._decoder.begin(range(len(self._texts)), self._texts, self._generators)
            self._texts = self._decoder.texts
        return self._decoder

    @property
    def _pair(self) -> LanguagePair:
        return load_pair_and_prompts(self._live.draft, self._live.target, self._live.prompts)[0]

    def _decoded(self, tokens: list[int]) -> str:
        return self._pair.decode(tokens)


class LiveRequests(RequestModel):
    """Requests that a draft and a target model write. The models are loaded by the first reset.

    A request ends where the target ends its text, with the round that reaches ``tokens_high``, or where the models'
    context is full. No draft behind the end of a text is accepted, but the server's own token there counts, as with
    measured requests.

    Tasks, prompts and the generator of every request come from the episode's seed alone: users ask the same under all
    controllers. What they are told depends on the decisions, as drafts and verdicts take the generator's numbers one
    after the other. So here, unlike elsewhere, controllers on one seed share the questions and not the luck.

    A text that is not written yet has no acceptance that anyone could know: the true one is said to be the task's mean.

    Every environment has caches of its own, so that it is the same beside others as alone, to the last digit.

    Args:
        config: The system; its requests name tasks, models, prompts and the longest request.
    """

    def __init__(self, config: SystemConfig) -> None:
        super().__init__(config)
        assert config.requests.live is not None
        self._config = config.requests
        self._live = config.requests.live
        self._num_users = config.num_users

    @property
    def acceptance_rate(self) -> FloatArray:
        """See :class:`RequestModel`; the task's mean."""
        return self.task_acceptance_mean

    def reset(self, streams: Streams) -> None:
        """See :class:`RequestModel`.

        Raises:
            ConfigError: There is no prompt of some task.
            ModuleNotFoundError, FileNotFoundError, ConnectionError, ValueError: As :func:`load_pair_and_prompts`.
        """
        config, live, users = self._config, self._live, self._num_users
        _, by_task = load_pair_and_prompts(live.draft, live.target, live.prompts)
        for task in config.tasks:
            if task.name not in by_task:
                raise ConfigError(
                    f"RequestConfig.tasks must be among those of the prompts, {', '.join(by_task)}, got {task.name!r}"
                )
        self._prompts = [by_task[task.name] for task in config.tasks]
        self._task = draw_tasks(config, streams, users)
        self._prompt_seed = streams.seeds("requests.prompt", users)
        self._luck_seed = streams.seeds("requests.outcome", users)
        self._number = np.zeros(self._task.shape, dtype=np.int64)
        self.task_acceptance_mean = self._task_mean[self._task]
        self.task_acceptance_std = self._task_std[self._task]
        self._begin_record(self._task.shape)
        self.generation_states = None
        self._texts = [
            EnvironmentTexts(live, config.tokens_high, [self._request(env_index, user) for user in range(users)])
            for env_index in range(streams.num_envs)
        ]

    def verify(self, draft_length: IntArray) -> IntArray:
        """See :class:`RequestModel`."""
        rounds = [texts.round(lengths.tolist()) for texts, lengths in zip(self._texts, draft_length, strict=True)]
        accepted = np.array([[accepted for accepted, _ in played] for played in rounds])
        self.generation_states = tuple(tuple(state for _, state in played) for played in rounds)
        finished = np.array([[state.ended for state in states] for states in self.generation_states])
        tokens = self._record(draft_length, accepted, finished.ravel().nonzero()[0])
        self._number += finished
        for env_index, user in np.argwhere(finished):
            self._texts[env_index].begin(user, *self._request(env_index, user))
        return tokens

    def _request(self, env_index: int, user: int) -> tuple[EncodedPrompt, np.random.Generator]:
        """A user's request: its prompt and the generator that decides its text."""
        number = int(self._number[env_index, user])
        prompts = self._prompts[self._task[env_index, user]]
        place = number % self._config.prompts_per_user
        chosen = np.random.default_rng([int(self._prompt_seed[env_index, user]), place]).integers(len(prompts))
        return prompts[chosen], np.random.default_rng([int(self._luck_seed[env_index, user]), number])
