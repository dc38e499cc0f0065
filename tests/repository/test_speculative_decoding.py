"""Speculative decoding writes the target's own text, whoever drafts, and whoever else is in the batch."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from multispin_env.speculative import decoding, reader
from multispin_env.speculative.decoding import SpeculativeDecoder
from multispin_env.speculative.reader import TextReader
from multispin_env.speculative.sampling import Payload, Proposal, VerificationResult, sample

pytestmark = pytest.mark.live

VOCABULARY = 4
PROMPT = [1, 2]
COARSE = Payload(retained_entries=3, probability_bits=3)


def llama(seed, **changes):
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32, "num_attention_heads": 2}
    tokens = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": None, "max_position_embeddings": 40}
    return LlamaForCausalLM(
        LlamaConfig(**{**shape, **tokens, "num_key_value_heads": 1, "initializer_range": 0.5, **changes})
    ).eval()


def gpt2(seed):
    torch.manual_seed(seed)
    tokens = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": None, "n_positions": 40}
    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, initializer_range=0.5, **tokens)).eval()


def probabilities(network, text):
    """The distribution behind every token of a text, from one plain pass, uncached and alone."""
    with torch.inference_mode():
        return torch.softmax(network(input_ids=torch.tensor([text])).logits[0].double(), dim=-1).numpy()


def decoder(users, payload=COARSE, end_tokens=frozenset()):
    draft, target = (TextReader(network, users, VOCABULARY) for network in (llama(5), llama(0)))
    return SpeculativeDecoder(draft, target, end_tokens, payload)


def texts(decoder, users, tokens, seed):
    """Texts of that many tokens behind the prompt, all users in one batch, their draft lengths 1 to 4."""
    generators = [np.random.default_rng([seed, user]) for user in range(users)]
    decoder.begin(range(users), [PROMPT] * users, generators)
    wanted = len(PROMPT) + tokens
    while writing := [user for user in range(users) if len(decoder.texts[user]) < wanted]:
        decoder.round(writing, [1 + user % 4 for user in writing])
    return [tuple(text[len(PROMPT) : wanted]) for text in decoder.texts]


def accept_always(draft, target, generator):
    return VerificationResult(len(draft.tokens), sample(target[-1], generator))


def correct_from_the_target(draft, target, generator):
    for position, (token, proposal) in enumerate(zip(draft.tokens, draft.proposals, strict=True)):
        if generator.random() * proposal.probability(token) >= target[position, token]:
            return VerificationResult(position, sample(target[position], generator))
    return VerificationResult(len(draft.tokens), sample(target[-1], generator))


def draw_something_else(proposal, generator):
    return int(generator.choice(proposal.tokens))


@pytest.mark.parametrize(
    ("place", "name", "rule"),
    [
        (None, "", None),
        (decoding, "verify", accept_always),
        (decoding, "verify", correct_from_the_target),
        (Proposal, "draw", draw_something_else),
    ],
    ids=["as it is", "accepts always", "corrects from the target", "draws from another q than is uploaded"],
)
def test_lossless_and_not_so_when_the_rule_is_broken(place, name, rule, monkeypatch):
    if place:
        monkeypatch.setattr(place, name, rule)
    users, tokens = 2500, 3
    counts = dict.fromkeys(itertools.product(range(VOCABULARY), repeat=tokens), 0)
    for text in texts(decoder(users), users, tokens, seed=1):
        counts[text] += 1
    expected = []
    for text in counts:
        behind = probabilities(llama(0), [*PROMPT, *text])[len(PROMPT) - 1 :]
        expected.append(users * np.prod([behind[place, token] for place, token in enumerate(text)]))
    # Texts too rare to be tested each are tested together.
    order = np.argsort(expected)
    found, expected = np.array(list(counts.values()))[order], np.array(expected)[order]
    rare = np.searchsorted(np.cumsum(expected), 8.0) + 1
    found, expected = (np.append(values[rare:], values[:rare].sum()) for values in (found, expected))
    chance = stats.chisquare(found, expected).pvalue
    if rule is None:
        assert chance > 0.01
    else:
        assert chance < 1e-6


def test_a_text_does_not_depend_on_who_else_is_in_the_batch():
    together = texts(decoder(6), users=6, tokens=12, seed=2)
    for user in (0, 3, 5):
        alone = decoder(1)
        alone.begin([0], [PROMPT], [np.random.default_rng([2, user])])
        while len(alone.texts[0]) < len(PROMPT) + 12:
            alone.round([0], [1 + user % 4])
        assert tuple(alone.texts[0][len(PROMPT) : len(PROMPT) + 12]) == together[user]


@pytest.mark.parametrize("network", [llama(0), llama(3, num_key_value_heads=2), gpt2(1)], ids=["llama", "mha", "gpt2"])
def test_reading_in_padded_batches_from_a_cache_is_reading_alone_and_at_once(network):
    generator = np.random.default_rng(0)
    whole = [generator.integers(VOCABULARY, size=length).tolist() for length in (12, 7, 30)]
    batch = TextReader(network, 3, VOCABULARY)
    batch.prefill([0, 1, 2], [whole[0][:3], [3, 3, 3, 3, 3, 3], whole[2][:5]])
    batch.truncate(1, 0)  # another request takes the row
    batch.prefill([1], [whole[1][:2]])
    batch.forward([2, 0], [[1, 2, 3, 0], [1, 1]])  # drafts, rejected
    batch.truncate(0, 3)
    batch.truncate(2, 5)
    for stop in (6, 30):  # the rest in two passes of ragged rows
        rows = [row for row in range(3) if batch.length[row] < len(whole[row])]
        start = {row: batch.length[row] for row in rows}
        found = batch.forward(rows, [whole[row][start[row] : stop] for row in rows])
        for row, distributions in zip(rows, found, strict=True):
            alone = probabilities(network, whole[row])[start[row] : stop]
            np.testing.assert_allclose(distributions, alone, atol=1e-5)


def test_temperature_divides_the_logits():
    hot, plain = (TextReader(llama(0), 1, VOCABULARY, temperature) for temperature in (2.0, 1.0))
    (hotter,), (distributions,) = hot.forward([0], [PROMPT]), plain.forward([0], [PROMPT])
    flattened = np.sqrt(distributions)
    np.testing.assert_allclose(hotter, flattened / flattened.sum(axis=-1, keepdims=True), atol=1e-6)


def test_a_round_gains_the_accepted_drafts_and_one_token_and_a_text_stops_at_its_end():
    end = 3
    running = decoder(40, end_tokens=frozenset([end]))
    running.begin(range(40), [PROMPT] * 40, [np.random.default_rng(user) for user in range(40)])
    writing, ended = list(range(40)), 0
    for _ in range(3):
        before = [len(running.texts[user]) for user in writing]
        steps = running.round(writing, [4] * len(writing))
        for user, length, step in zip(writing, before, steps, strict=True):
            assert tuple(running.texts[user][length:]) == step.tokens
            assert step.tokens[: step.accepted] == step.drafted[: step.accepted]
            assert step.ended == (end in step.tokens)
            if step.ended:
                assert step.tokens.index(end) == len(step.tokens) - 1
                ended += 1
            else:
                assert len(step.tokens) == step.accepted + 1
        writing = [user for user, step in zip(writing, steps, strict=True) if not step.ended]
    assert 0 < ended < 40


def test_a_model_that_drafts_for_itself_is_accepted_but_for_the_rounding():
    same = SpeculativeDecoder(
        TextReader(llama(0), 8, VOCABULARY), TextReader(llama(0), 8, VOCABULARY), frozenset(), Payload()
    )
    same.begin(range(8), [PROMPT] * 8, [np.random.default_rng(user) for user in range(8)])
    assert [step.accepted for step in same.round(range(8), range(1, 9))] == list(range(1, 9))


def test_what_cannot_be_decoded_is_refused_by_name():
    for temperature in (0.0, -1.0, 1e-300, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=rf"temperature must be a number in \[1e-6, 1e6\], got {temperature}"):
            TextReader(llama(0), 1, VOCABULARY, temperature)
    running = decoder(2)
    with pytest.raises(ValueError, match="user 1 has no text"):
        running.round([1], [3])
    with pytest.raises(ValueError, match="prompt of user 0 must have at least one token"):
        running.begin([0], [[]], [np.random.default_rng(0)])
    with pytest.raises(ValueError, match="at most 40 tokens, the context of the model, got 41"):
        running.begin([0], [[1] * 42], [np.random.default_rng(0)])
    running.begin([0], [[1] * 38], [np.random.default_rng(0)])
    with pytest.raises(ValueError, match="draft length must be an integer of at least 1, got 0"):
        running.round([0], [0])


def test_a_sliding_window_limits_the_text_and_a_running_state_is_refused():
    assert reader.longest_text(llama(0)) == 40
    network = llama(0)
    network.config.sliding_window = 16
    assert reader.longest_text(network) == 16
    network.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ValueError, match="running state cannot forget"):
        reader.longest_text(network)
