"""Drafts distilled from a tiny target: what it writes, what is learned from it, and the folder that comes of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from multispin_train.distill import demonstrations as distill_lessons
from multispin_train.distill import distillation as distill
from multispin_train.distill.demonstrations import Batch, Corpus, Judge
from multispin_train.distill.texts import Texts, write_texts
from multispin_train.prompts import SPLITS, TASKS, compose_prompts, write_prompts
from rich.progress import Progress
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from multispin_env.speculative.models import load_pair
from multispin_env.speculative.prompts import read_prompts
from multispin_env.speculative.trimmed import cut

pytestmark = pytest.mark.live

END = 0


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights, large enough for uneven distributions, that reads and writes bytes."""
    folder = tmp_path_factory.mktemp("target")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(["<end>", *letters])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=END,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def llama(target: Path) -> LlamaForCausalLM:
    return AutoModelForCausalLM.from_pretrained(target).eval()


def prompts(count: int) -> list[list[int]]:
    generator = np.random.default_rng(0)
    return [generator.integers(1, 257, size=3 + index % 5).tolist() for index in range(count)]


def log_probabilities(model: LlamaForCausalLM, tokens: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.from_numpy(tokens[None].astype(np.int64))).logits[0].log_softmax(-1)


def split(texts: Texts) -> list[tuple[int, np.ndarray, slice]]:
    """Prompt length, tokens and answer positions of each text."""
    found, token, answer = [], 0, 0
    for prompt, length in zip(texts.prompt_length, texts.answer_length, strict=True):
        found.append((prompt, texts.tokens[token : token + prompt + length], slice(answer, answer + length)))
        token, answer = token + prompt + length, answer + length
    return found


def test_texts_carry_the_probabilities_that_the_model_gives_them_alone(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    asked = prompts(24)
    # Half of all tokens end a text, so that rows leave the batch.
    ends = frozenset(range(0, 257, 2))
    texts = write_texts(llama, ends, asked, 6, 5, torch.Generator().manual_seed(1), lambda: None)
    texts.save(tmp_path / "texts.npz")
    texts = Texts.load(tmp_path / "texts.npz")
    assert len(set(texts.answer_length)) > 3
    for (prompt, tokens, where), original in zip(split(texts), asked, strict=True):
        assert tokens[:prompt].tolist() == original
        answer = tokens[prompt:]
        assert not ends & set(answer[:-1].tolist())
        assert len(answer) == 6 or answer[-1] in ends
        expected = log_probabilities(llama, tokens)[prompt - 1 : -1]
        written = expected.gather(1, torch.from_numpy(answer.astype(np.int64))[:, None])[:, 0].numpy()
        np.testing.assert_allclose(texts.log_probability[where], written, atol=1e-4)
        np.testing.assert_allclose(texts.likely_log_probability[where], expected.topk(5).values, atol=1e-2)
        kept = torch.from_numpy(texts.likely_tokens[where].astype(np.int64))
        np.testing.assert_allclose(expected.gather(1, kept), expected.topk(5).values, atol=1e-4)


def test_a_model_s_texts_have_its_own_frequencies(llama: LlamaForCausalLM) -> None:
    count = 4000
    texts = write_texts(llama, (END,), [[5, 6, 7]] * count, 1, 1, torch.Generator().manual_seed(1), lambda: None)
    written = np.bincount(texts.tokens[3::4], minlength=257) / count
    probability = log_probabilities(llama, np.array([5, 6, 7]))[-1].exp().numpy()
    assert 0.5 * np.abs(written - probability).sum() < np.sqrt(257 / count) / 2


def test_a_cut_model_says_some_of_the_target_s_tokens(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    tokens = torch.arange(3, 200, 2)
    cut(llama, (0, 1, 2), tokens).save_pretrained(tmp_path)
    draft = AutoModelForCausalLM.from_pretrained(tmp_path)
    text = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        ours, theirs = draft(text).logits, llama(text).logits
    torch.testing.assert_close(ours[..., tokens], theirs[..., tokens])
    assert torch.isinf(ours).sum() == 3 * (257 - len(tokens))
    fewer = cut(llama, (2,), tokens)
    assert torch.equal(fewer.model.layers[0].mlp.up_proj.weight, llama.model.layers[2].mlp.up_proj.weight)
    with pytest.raises(ValueError, match=r"layers must be some of the target's, 0 to 2, got \(3,\)"):
        cut(llama, (3,), tokens)


def test_acceptance_and_cross_entropy_are_estimated_without_bias(
    llama: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill_lessons, "fast_type", lambda: torch.float32)
    draft, count = cut(llama, (0, 2), torch.arange(50, 257)), 4000
    prompt = [5, 6, 7]
    texts = write_texts(llama, (END,), [prompt] * count, 1, 2, torch.Generator().manual_seed(1), lambda: None)
    places = np.arange(count)
    corpus = Corpus(texts, 0 * places, 4 * places, places)
    with torch.inference_mode():
        entropy, accepted = (found.numpy() for found in Judge(draft)(Batch.of(corpus, places)))
        p = log_probabilities(llama, np.array(prompt))[-1].exp()
        log_q = draft(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    exact = torch.minimum(p, log_q.exp()).sum().item()
    assert 0.02 < exact < 0.9
    assert abs(accepted.mean() - exact) < 4 * accepted.std() / np.sqrt(count)
    sayable = -(p * log_q)[50:].sum().item()
    assert abs(entropy.mean() - sayable) < 4 * entropy.std() / np.sqrt(count)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_TEXTS_PER_FILE": 4, "_HELD_OUT_PER_TASK": 3, "_STEPS_PER_CHECKPOINT": 4, "KEPT": 16}.items():
        monkeypatch.setattr(distill, name, value)


def distilled(target: Path, output: Path, **changes: object) -> tuple[dict[str, object], list[distill.CurveRow]]:
    values = {"texts_per_task": 6, "answer_tokens": 8, "layers": (0, 2), "head_size": 200, "epochs": 5}
    values |= {"target": str(target), "batch_texts": 8, "learning_rate": 0.01, **changes}
    distillation = distill.Distillation(**values)
    folder = distillation.open_folder(output)
    with Progress(disable=True) as progress:
        return distill.distill_draft(distillation, folder, progress), folder.rows()


def weights(output: Path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(output / "draft").state_dict()


@pytest.mark.usefixtures("small")
def test_a_distillation_interrupted_anywhere_ends_as_the_one_that_was_not(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, whole = distilled(target, tmp_path / "whole")
    judge, write = Judge.__call__, write_texts
    calls: list[int] = []

    def interrupted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) in (3, 20):  # while texts are written, and between two checkpoints
            raise KeyboardInterrupt
        return (judge if isinstance(arguments[0], Judge) else write)(*arguments)

    monkeypatch.setattr(distill, "write_texts", interrupted)
    monkeypatch.setattr(Judge, "__call__", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            distilled(target, tmp_path / "cut")
    cut_card, cut_rows = distilled(target, tmp_path / "cut")
    assert [(row.step, row.task, row.acceptance) for row in cut_rows] == [
        (row.step, row.task, row.acceptance) for row in whole
    ]
    ours, theirs = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert cut_card["held_out_acceptance"] == card["held_out_acceptance"]


@pytest.mark.usefixtures("small")
def test_a_draft_learns_and_makes_a_pair_with_its_target(target: Path, tmp_path: Path) -> None:
    card, rows = distilled(target, tmp_path / "run")
    assert [(row.step, row.task) for row in rows] == [(step, task) for step in (0, 4, 8, 12, 15) for task in TASKS]
    first, last = rows[: len(TASKS)], rows[-len(TASKS) :]
    assert sum(row.acceptance for row in last) > sum(row.acceptance for row in first)
    assert card == json.loads((tmp_path / "run" / "draft" / "card.json").read_text())
    assert (tmp_path / "run" / "curve.png").stat().st_size > 5000
    assert distilled(target, tmp_path / "run") == (card, rows)  # nothing is left to do
    assert str(card["made_by"]).startswith("multispin distill --target")
    assert "--layers 0 2 --head-size 200" in card["made_by"]
    pair = load_pair(tmp_path / "run" / "draft", target)
    unchanged = pair.target.model.embed_tokens.weight.bfloat16()
    assert torch.equal(pair.draft.model.embed_tokens.weight.bfloat16(), unchanged)


@pytest.mark.usefixtures("small")
def test_bad_values_and_folders_are_refused(target: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"epochs must be an integer in \[1, 1000000000\], got 0"):
        distill.Distillation(target=str(target), epochs=0)
    with pytest.raises(ValueError, match="layers must be some of the target's, 0 to 2, got"):
        distilled(target, tmp_path / "layers", layers=(7,))
    with pytest.raises(ValueError, match="head_size must be at most the target's vocabulary, 257, got 300"):
        distilled(target, tmp_path / "head", head_size=300)
    with pytest.raises(FileExistsError, match="holds results for another head_size"):
        distilled(target, tmp_path / "head", head_size=20)


def test_prompts_of_the_two_splits_ask_about_different_things(tmp_path: Path) -> None:
    train, held_out = (compose_prompts(name, 40) for name in SPLITS)
    assert [prompt.task for prompt in train[: len(TASKS)]] == list(TASKS)
    assert not set(train) & set(held_out)
    assert compose_prompts("train", 3) == train[: 3 * len(TASKS)]
    assert compose_prompts("train", 3, seed=1) != train[: 3 * len(TASKS)]
    functions = [{p.prompt.split("`")[1] for p in part if p.task == "code"} for part in (train, held_out)]
    assert not functions[0] & functions[1]
    write_prompts(tmp_path / "prompts.jsonl", held_out)
    assert read_prompts(tmp_path / "prompts.jsonl") == held_out
    with pytest.raises(ValueError, match="split must be one of train, held-out, got 'test'"):
        compose_prompts("test", 1)
    with pytest.raises(ValueError, match=r"per_task must be at most 240 \(held-out prompts of chat\), got 241"):
        compose_prompts("held-out", 241)
