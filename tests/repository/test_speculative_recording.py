"""A recorded text, replayed, is live decoding: the same joint law of texts and accepted drafts."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import LlamaConfig, LlamaForCausalLM

from multispin_env.speculative.decoding import SpeculativeDecoder
from multispin_env.speculative.models import TINY, tiny_pair
from multispin_env.speculative.prompts import read_prompts
from multispin_env.speculative.reader import TextReader
from multispin_env.speculative.recording import record
from multispin_env.speculative.sampling import Payload

pytestmark = pytest.mark.live

VOCABULARY = 3
PAYLOAD = Payload(retained_entries=2, probability_bits=4)


def network(seed):
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 2}
    tokens = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": None, "max_position_embeddings": 32}
    return LlamaForCausalLM(LlamaConfig(**shape, **tokens, initializer_range=0.4)).eval()


def readers(rows):
    return [TextReader(network(seed), rows, VOCABULARY) for seed in (7, 2)]


def replayed_prefix(outcome_probability, start, length, generator):
    """Accepted drafts of a round that starts at a position of a recorded text, and where the next one starts."""
    chances = np.asarray(outcome_probability[start : start + length])
    accepted = int(np.cumprod(generator.random(len(chances)) < chances).sum())
    return accepted, start + accepted + 1


def test_texts_and_accepted_drafts_of_two_rounds_have_the_law_of_live_decoding():
    users, lengths = 2500, (3, 2)
    prompts = [[0, 1]] * users
    draft, target = readers(users)
    live = SpeculativeDecoder(draft, target, frozenset(), PAYLOAD)
    live.begin(range(users), prompts, [np.random.default_rng([0, user]) for user in range(users)])
    rounds = [live.round(range(users), [length] * users) for length in lengths]
    found = Counter((*(step.accepted for step in steps), *steps[0].tokens[:2]) for steps in zip(*rounds, strict=True))

    # A text is worth many replays: their law given the text is known.
    draft, target = readers(users)
    recordings = record(
        draft, target, prompts, [np.random.default_rng([1, user]) for user in range(users)], PAYLOAD, frozenset(), 7
    )
    expected: Counter[tuple[int, ...]] = Counter()
    generator = np.random.default_rng(2)
    for recording in recordings:
        first, start = replayed_prefix(recording.outcome_probability, 0, lengths[0], generator)
        second, _ = replayed_prefix(recording.outcome_probability, start, lengths[1], generator)
        expected[first, second, *recording.tokens[: min(2, first + 1)]] += 1
    table = np.array([[counts[event] for event in {*found, *expected}] for counts in (found, expected)])
    common = table.sum(axis=0) >= 20
    table = np.column_stack([table[:, common], table[:, ~common].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    assert table.shape[1] > 12
    assert stats.chi2_contingency(table).pvalue > 0.01
    # The same counts tell replays apart that accept half as often again.
    assert len({event[0] for event in found}) == lengths[0] + 1


def test_a_recording_says_how_likely_its_tokens_were_accepted_drafts():
    users = 400
    found = []
    for ends in (frozenset[int](), frozenset([0])):
        draft, target = readers(users)
        generators = [np.random.default_rng(user) for user in range(users)]
        found.append(record(draft, target, [[1]] * users, generators, PAYLOAD, ends, 6))
    recordings, again = found
    acceptance = np.array([recording.acceptance for recording in recordings])
    outcome = np.array([recording.outcome_probability for recording in recordings])
    assert acceptance.shape == outcome.shape == (users, 6)
    assert np.unique(acceptance[:, 0]).size == 1
    difference = (outcome - acceptance).mean(axis=1)
    assert abs(difference.mean()) < 4.0 * difference.std() / np.sqrt(users)
    for whole, cut in zip(recordings, again, strict=True):
        ended = whole.tokens.index(0) + 1 if 0 in whole.tokens else 6
        assert cut.tokens == whole.tokens[:ended]


def test_replays_of_the_tiny_pair_accept_as_live_decoding_does():
    pair, length = tiny_pair(), 6
    prompts = [pair.encode(prompt.prompt) for prompt in read_prompts(TINY / "prompts.jsonl")]
    count = len(prompts)
    generators = [np.random.default_rng([3, number]) for number in range(count)]
    live = SpeculativeDecoder.of_pair(pair, count, Payload(64, 16))
    live.begin(range(count), prompts, generators)
    prefixes: list[list[int]] = [[] for _ in prompts]
    writing = list(range(count))
    while writing := [user for user in writing if len(live.texts[user]) - len(prompts[user]) < 40]:
        steps = live.round(writing, [length] * len(writing))
        for user, step in zip(writing, steps, strict=True):
            prefixes[user].append(step.accepted)
        writing = [user for user, step in zip(writing, steps, strict=True) if not step.ended]

    draft, target = (pair.reader(network, count) for network in (pair.draft, pair.target))
    recordings = record(draft, target, prompts, generators, Payload(64, 16), pair.end_tokens, 40 + length)
    replays: list[list[int]] = []
    for recording, generator in zip(recordings, generators, strict=True):
        replays.append([])
        start = 0
        while start < min(40, len(recording.tokens)):
            accepted, start = replayed_prefix(recording.outcome_probability, start, length, generator)
            replays[-1].append(accepted)
    means = [np.array([np.mean(accepted) for accepted in lists]) for lists in (prefixes, replays)]
    error = np.sqrt(sum(mean.var() / count for mean in means))
    assert means[0].mean() == pytest.approx(means[1].mean(), abs=3.0 * error)
    assert error < 0.2


def test_a_target_that_loses_its_numbers_in_mid_text_is_not_recorded_as_accepting():
    pair = tiny_pair()
    draft, target = (pair.reader(network, 1) for network in (pair.draft, pair.target))
    calls = []

    def spoil(module, arguments, logits):
        calls.append(1)
        return logits * float("nan") if len(calls) > 4 else logits

    handle = pair.target.lm_head.register_forward_hook(spoil)
    try:
        with pytest.raises(
            ValueError, match=r"^target .* has no distribution: .* got nan, in text 0, behind token \d+"
        ):
            record(draft, target, [pair.encode("def f")], [np.random.default_rng(0)], Payload(), frozenset(), 20)
    finally:
        handle.remove()
