"""Any pair that shares a tokenizer is read as it reads itself, or is refused at load with the reason."""

import functools
import json
import shutil

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedTokenizerFast

from multispin_env.speculative.compatibility import check_reading
from multispin_env.speculative.models import TINY, load_pair, tiny_pair
from multispin_env.speculative.reader import NoDistributionError, TextReader, longest_text

pytestmark = pytest.mark.live

VOCABULARY = 40
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
LATENT = {
    **EXPERTS,
    **{"kv_lora_rank": 8, "q_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 6},
    **{"num_key_value_heads": 4, "head_dim": 4, "first_k_dense_replace": 1},
}
WINDOW = {"sliding_window": 16, "head_dim": 8}
LONG = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [16.0] * 4, "rope_theta": 10_000.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 10_000.0}
NEO = {"num_layers": 4, "num_heads": 4, "attention_types": [[["global", "local"], 2]]}

READ = {
    # name: type, changes of the shape, and tokens that a text may have
    "llama": ("llama", {}, 64),
    "gemma2": ("gemma2", WINDOW, 16),
    "sinks": ("gpt_oss", {**EXPERTS, **WINDOW}, 16),
    "window": ("mistral", {"sliding_window": 24}, 24),
    "shared keys": (
        "gemma3n_text",
        {
            **WINDOW,
            "num_kv_shared_layers": 2,
            "vocab_size_per_layer_input": VOCABULARY,
            "hidden_size_per_layer_input": 4,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "activation_sparsity_pattern": None,
            "intermediate_size": 48,
        },
        16,
    ),
    "yarn": ("llama", {"rope_parameters": YARN}, 64),
    "latent 2": ("deepseek_v2", LATENT, 64),
    "latent 3": ("deepseek_v3", LATENT, 64),
    "learned positions": ("gpt2", {}, 64),
    "local": ("gpt_neo", {**NEO, "window_size": 16}, 16),
    "long rope": ("phi3", {"rope_parameters": LONG, "original_max_position_embeddings": 20}, 20),
    "dynamic rope": ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}}, 64),
}


def network_of(kind, changes):
    config_class = CONFIG_MAPPING[kind]
    base = config_class()
    known = {*base.to_dict(), *base.attribute_map}
    config = config_class(**{name: value for name, value in {**SHAPE, **changes}.items() if name in known | {*changes}})
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def reader_of(network, rows):
    return TextReader(network, rows, VOCABULARY, name="draft 'random'")


def check(network):
    check_reading(network, functools.partial(reader_of, network), "draft 'random'")


@pytest.mark.parametrize("name", READ)
def test_what_is_accepted_is_read_as_alone_and_at_once_up_to_the_context(name):
    kind, changes, context = READ[name]
    network = network_of(kind, changes)
    check(network)
    assert longest_text(network) == context
    generator = np.random.default_rng(0)
    lengths = (context, context // 2, 5)
    texts = [generator.integers(3, VOCABULARY, size=length).tolist() for length in lengths]
    reader = reader_of(network, 3)
    while rows := [row for row in generator.permutation(3).tolist() if reader.length[row] < lengths[row]]:
        kept = list(reader.length)
        reader.forward(rows[:1], [generator.integers(3, VOCABULARY, size=min(3, context - kept[rows[0]])).tolist()])
        reader.truncate(rows[0], kept[rows[0]])
        new = [texts[row][kept[row] :][: generator.integers(1, 9)] for row in rows]
        for row, found in zip(rows, reader.forward(rows, new), strict=True):
            with torch.inference_mode():
                logits = network(input_ids=torch.tensor([texts[row]])).logits[0]
            alone = reader.distributions(logits)[kept[row] :][: len(found)]
            np.testing.assert_allclose(found, alone, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "changes", "complaint"),
    [
        ("bert", {"is_decoder": False}, "it reads a text in pieces, .* otherwise than alone and at once"),
        ("bart", {"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "init_std": 0.3}, "otherwise than"),
        ("mamba", {}, "cannot draft or verify"),
        ("openai-gpt", {"n_embd": 32, "n_layer": 2, "n_head": 4}, "a openai-gpt keeps no keys and values"),
        ("bloom", {"n_layer": 2, "n_head": 4}, "a known number of positions, got bloom"),
    ],
)
def test_what_would_be_read_otherwise_is_refused(kind, changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        check(network_of(kind, changes))


def wrapped(network, monkeypatch, change):
    """Has a network's forward called with changed arguments."""
    forward = network.forward

    @functools.wraps(forward)
    def changed(**inputs):
        return forward(**change(inputs))

    monkeypatch.setattr(network, "forward", changed)
    return network


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        # Each is a fault that some architecture has.
        (lambda inputs: inputs | {"attention_mask": None}, "in pieces"),
        (lambda inputs: inputs | {"position_ids": None}, "in pieces"),
        (lambda inputs: {**inputs, "cache": None, "past_key_values": None}, "in pieces"),
    ],
)
def test_a_forward_that_ignores_an_argument_is_found(change, complaint, monkeypatch):
    def known(inputs):
        changed = change(inputs)
        return {name: value for name, value in changed.items() if name in inputs}

    with pytest.raises(ValueError, match=complaint):
        check(wrapped(network_of("llama", {}), monkeypatch, known))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("long rope", "reads a text beside one at other positions otherwise"),
        ("local", "reads a text beside a longer one otherwise"),
    ],
)
def test_a_limit_that_is_not_known_is_found_by_trying(name, complaint, monkeypatch):
    kind, changes, _ = READ[name]
    monkeypatch.setattr("multispin_env.speculative.reader.longest_text", lambda network: 64)
    with pytest.raises(ValueError, match=complaint):
        check(network_of(kind, changes))


def test_a_window_of_another_name_is_tried_and_found():
    network = network_of("mistral", {"sliding_window": 24})
    network.config.max_position_embeddings = 64
    layers = network.config.sliding_window
    network.config.layer_types = ["full_attention"] * 4  # so that the reader knows nothing of it
    assert longest_text(network) == 64
    network.config.attention_window = layers
    with pytest.raises(ValueError, match="reads a text of 36 tokens in pieces otherwise than alone"):
        check(network)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("role", ["draft", "target"])
def test_logits_that_are_no_distribution_are_refused_by_name(role, value, tmp_path):
    folders = {"draft": TINY / "draft", "target": TINY / "target"}
    pair = tiny_pair()
    network = getattr(pair, role)
    network.model.norm.weight.data[:] = value
    network.save_pretrained(tmp_path)
    pair.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=rf"^{role} .*{tmp_path.name}.* cannot be used: .* must be finite or -inf, got"
    ):
        load_pair(**{**folders, role: tmp_path})


def spoilt(network, monkeypatch, spoil):
    forward = network.forward

    @functools.wraps(forward)
    def forwarded(**inputs):
        output = forward(**inputs)
        output.logits = spoil(output.logits.clone())
        return output

    monkeypatch.setattr(network, "forward", forwarded)
    return network


def test_a_round_tells_which_text_and_place_and_leaves_the_texts_as_they_are(monkeypatch):
    reader = reader_of(network_of("llama", {}), 3)
    reader.prefill([1, 2], [[5, 6], [7]])

    def spoil(logits):
        logits[1, 2, 4] = torch.nan
        logits[0, 2] = torch.nan  # behind padding anything may stand
        return logits

    spoilt(reader._network, monkeypatch, spoil)
    with pytest.raises(
        NoDistributionError, match=r"draft 'random' has no distribution: .*, got nan, in text 1, behind token 4"
    ):
        reader.forward([2, 1], [[3, 4], [3, 4, 5]])
    assert reader.length == [0, 2, 1]


def test_minus_infinity_is_a_logit_but_not_of_every_token(monkeypatch):
    network = network_of("llama", {})

    def exclude(logits):
        logits[..., 1:] = -torch.inf
        return logits

    spoilt(network, monkeypatch, exclude)
    reader = reader_of(network, 1)
    assert reader.forward([0], [[3]])[0][0].tolist() == [1.0] + [0.0] * (VOCABULARY - 1)
    check(network)
    spoilt(network, monkeypatch, lambda logits: torch.full_like(logits, -torch.inf))
    with pytest.raises(NoDistributionError, match="all logits are -inf, in text 0, behind token 1"):
        reader.forward([0], [[3]])


def tokenizer_of(tokens, folder, end=None):
    """A tokenizer of whole words with these numbers."""
    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end).save_pretrained(folder)


def folder_of(path, tokens, end=None, **changes):
    network = network_of("llama", changes)
    network.generation_config.eos_token_id = tokens.get(end) if end else None
    network.save_pretrained(path)
    tokenizer_of(tokens, path, end)
    return path


def test_a_draft_that_cannot_read_all_that_the_target_writes_is_refused(tmp_path):
    tokens = {f"w{number}": number for number in range(30)}
    wide, narrow = folder_of(tmp_path / "wide", tokens), folder_of(tmp_path / "narrow", tokens, vocab_size=20)
    with pytest.raises(ValueError, match=r"draft .*narrow.* it can read 20 different tokens, and texts have 30"):
        load_pair(narrow, wide)
    # The target writes 20 of them only, and the draft reads more.
    pair = load_pair(wide, narrow)
    assert pair.reader(pair.draft, 1).vocabulary == 20
    with pytest.raises(ValueError, match=r"prompt must have tokens below 20, .* got 25 in 'w3 w25'"):
        pair.encode("w3 w25")
    # Embeddings padded to different widths are nothing special.
    padded = folder_of(tmp_path / "padded", tokens, vocab_size=36)
    assert load_pair(padded, wide).vocabulary == load_pair(wide, padded).vocabulary == 30


def test_numbers_with_gaps_reach_the_last_token_and_skip_those_that_are_none(tmp_path):
    tokens = {"a": 0, "b": 1, "end": 7, "c": 9}
    pair = load_pair(*[folder_of(tmp_path / name, tokens, "end") for name in ("draft", "target")])
    assert pair.end_tokens == {7}
    for network in (pair.draft, pair.target):
        (distributions,) = pair.reader(network, 1).forward([0], [[0, 1]])
        assert np.flatnonzero(distributions.min(axis=0)).tolist() == [0, 1, 7, 9]


def test_a_tokenizer_without_tokens_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"target .*its tokenizer has no tokens"):
        load_pair(folder_of(tmp_path / "draft", {"a": 0}), folder_of(tmp_path / "target", {}))


def test_an_end_that_the_target_cannot_write_is_refused(tmp_path):
    tokens = {f"w{number}": number for number in range(30)}
    target = folder_of(tmp_path / "target", tokens, "w25", vocab_size=20)
    with pytest.raises(ValueError, match=r"can write tokens below 20, so a text would never end with 25"):
        load_pair(folder_of(tmp_path / "draft", tokens, "w25"), target)


def tiny_copy(path, **config):
    shutil.copytree(TINY / "draft", path)
    file = path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | config), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "cannot be loaded: "),
        ({"model_type": "nothing"}, "cannot be loaded: "),
        ({"model_type": "t5"}, "cannot be loaded: "),
        ({"hidden_size": 96}, "cannot be loaded: "),
        ({"hidden_size": "many"}, "cannot be loaded: "),
        ({"num_hidden_layers": 9}, "cannot be loaded: it lacks weights, model.layers.1.*, ..."),
    ],
)
def test_a_folder_that_cannot_be_loaded_is_named(config, complaint, tmp_path):
    with pytest.raises((ValueError, OSError), match=rf"^draft .*copy' {complaint}"):
        load_pair(tiny_copy(tmp_path / "copy", **config), TINY / "target")


@pytest.mark.parametrize("end", ["end", [256, None, "end"], 1.5])
def test_an_end_that_is_no_number_is_named(end, tmp_path):
    target = shutil.copytree(TINY / "target", tmp_path / "copy")
    file = target / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"eos_token_id": end}), encoding="utf-8")
    with pytest.raises((ValueError, OSError), match=r"^target .*cannot be (used|loaded)"):
        load_pair(TINY / "draft", target)


@pytest.mark.parametrize("device", ["x", "cuda:99", "meta", "cpu:x"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(ValueError, match=rf"device must be one that PyTorch can use here, .*, got '{device}'"):
        load_pair("tiny-draft", "tiny-target", device)


def test_half_precision_weights_and_training_mode_read_the_same(tmp_path):
    network = network_of("llama", {"attention_dropout": 0.5}).bfloat16().train()
    network.save_pretrained(tmp_path)
    tokenizer_of({f"w{number}": number for number in range(30)}, tmp_path)
    pair = load_pair(tmp_path, tmp_path)
    assert pair.draft.dtype == torch.float32
    assert not pair.draft.training
    check(network_of("llama", {}).bfloat16())
