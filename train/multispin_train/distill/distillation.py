"""Distils a draft model from a target: a few of its layers, trained on texts that the target writes itself."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
import transformers
import tyro
from multispin_agents.tensors import read_state, write_state
from rich.progress import Progress
from transformers import LlamaForCausalLM, PreTrainedModel

import multispin_env
from multispin_env.config import real, whole
from multispin_env.evaluation.plots import new_figure, save
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.files import read_json, write_atomically
from multispin_env.speculative.models import LanguagePair, load_pair
from multispin_env.speculative.reader import cache_argument
from multispin_env.speculative.trimmed import TrimmedLlamaForCausalLM, cut
from multispin_train.distill.demonstrations import Batch, Corpus, Judge, fast_type
from multispin_train.distill.texts import write_texts
from multispin_train.options import MOST, CheckedOptions, Model
from multispin_train.prompts import TASKS, compose_prompts

ModelT = TypeVar("ModelT", bound=PreTrainedModel)

# Most probable tokens kept at every position of a text.
KEPT = 64
_TEXTS_PER_FILE = 128
_HELD_OUT_PER_TASK = 32
_STEPS_PER_CHECKPOINT = 200
_WARMUP_STEPS = 20
_EMBEDDING = "model.embed_tokens.weight"


@dataclass(frozen=True)
class CurveRow:
    """One line of ``results.csv``: how often the target would accept the draft's tokens in held-out texts of a task.

    Attributes:
        step: Training steps so far.
        seconds: Time they took, evaluations and texts not counted.
        task: The task.
        acceptance: Mean over its texts of the mean acceptance, sum over x of min(q(x), p(x)), of a text's positions.
        standard_error: Of that mean.
    """

    step: int
    seconds: float
    task: str
    acceptance: float
    standard_error: float


@dataclass(frozen=True, kw_only=True)
class Distillation(CheckedOptions):
    """What is distilled, and how.

    Attributes:
        target: The target model, a Llama: a folder, a GGUF file, a package that carries one, or a name on the hub.
        texts_per_task: Texts to train on, of each task.
        answer_tokens: Longest answer, tokens.
        layers: Which of the target's layers the draft begins from, counted from 0.
        head_size: Number of tokens that the draft can say: the most frequent of the texts.
        epochs: How many times it sees each text.
        batch_texts: Texts in a training step.
        learning_rate: Largest learning rate; it rises over the first steps and falls to a tenth.
        seed: Decides prompts, texts and the order of training.
    """

    target: Model
    texts_per_task: int = whole(1, MOST, default=2048)
    answer_tokens: int = whole(1, MOST, default=128)
    layers: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N [N ...]")] = (0, 1, 2, 29)
    head_size: int = whole(1, MOST, default=6144)
    epochs: int = whole(1, MOST, default=3)
    batch_texts: int = whole(1, MOST, default=4)
    learning_rate: float = real(1e-9, 1.0, default=1e-3)
    seed: int = whole(0, MOST, default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layers or min(self.layers) < 0:
            raise ValueError(f"layers must be at least one, each 0 or more, got {self.layers}")

    def command(self) -> str:
        """The command that makes this draft, less its output folder."""
        words = ["multispin", "distill", "--target", self.target]
        for item in fields(self)[1:]:
            value = getattr(self, item.name)
            if value != item.default:
                words += [f"--{item.name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else [value])]
        return shlex.join(words)

    def open_folder(self, path: Path) -> ResultsFolder[CurveRow]:
        """The folder for this distillation; its manifest holds all that decides it.

        Raises:
            FileExistsError: The folder holds something else.
        """
        return ResultsFolder(path, asdict(self), CurveRow, unique=("step", "task"), allowed={"task": TASKS})


def distill_draft(distillation: Distillation, folder: ResultsFolder[CurveRow], progress: Progress) -> dict[str, Any]:
    """Makes the draft model: writes texts, trains on them, saves the model in the folder's ``draft``.

    ``results.csv`` and ``curve.png`` show how far it is. Texts and checkpoints are kept as they come: an interrupted
    run goes on, and ends as it would have.

    Args:
        distillation: What to distil.
        folder: Where everything goes.
        progress: Where progress is shown.

    Returns:
        What the draft's ``card.json`` holds.

    Raises:
        ValueError: The target is no Llama, or the values do not fit it.
    """
    card = folder.path / "draft" / "card.json"
    if card.exists():
        return read_json(card)
    # Only the target's side of this pair is used.
    pair = load_pair(distillation.target, distillation.target)
    if not isinstance(pair.target, LlamaForCausalLM):
        raise ValueError(f"target must be a Llama, got a {pair.target.config.model_type} ({distillation.target})")
    _write_all_texts(distillation, pair, folder.path / "texts", progress)
    corpora = {split: Corpus.load(folder.path / "texts", split) for split in ("train", "held-out")}
    sayable = corpora["train"].frequent_tokens(distillation.head_size, pair.target.config.vocab_size)
    draft = cut(_cast(pair.target, torch.float32), distillation.layers, sayable)
    _train(distillation, draft, corpora, folder, progress)
    _save(distillation, draft, pair, folder)
    return read_json(card)


def _train(
    distillation: Distillation,
    draft: TrimmedLlamaForCausalLM,
    corpora: dict[str, Corpus],
    folder: ResultsFolder[CurveRow],
    progress: Progress,
) -> None:
    """Trains the draft in place, from the last checkpoint on."""
    # What a token means is left as the target has it: texts of a few hours hold too few of the rare ones.
    draft.model.embed_tokens.requires_grad_(False)
    trained = [parameter for parameter in draft.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=distillation.learning_rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True
    )
    batches = corpora["train"].batches(distillation.epochs, distillation.batch_texts, distillation.seed)
    judge = Judge(draft)
    checkpoint = folder.path / "checkpoint.pt"
    step, seconds = 0, 0.0
    if checkpoint.exists():
        state = read_state(checkpoint)
        step, seconds = state["step"], state["seconds"]
        draft.load_state_dict(state["draft"], strict=False)
        optimizer.load_state_dict(state["optimizer"])
    else:
        _evaluate(judge, corpora["held-out"], step, seconds, folder)
    task = progress.add_task("training", total=len(batches), completed=step)
    while step < len(batches):
        started = time.perf_counter()
        for index in range(step, min(step + _STEPS_PER_CHECKPOINT, len(batches))):
            passed = index / len(batches)
            for group in optimizer.param_groups:
                group["lr"] = distillation.learning_rate * _warmth(index, passed)
            entropy, accepted = judge(Batch.of(corpora["train"], batches[index]))
            # Cross-entropy teaches fast, acceptance is what counts: from the one to the other.
            loss = (1.0 - passed) * entropy.mean() - passed * accepted.mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            progress.advance(task)
        step, seconds = index + 1, seconds + time.perf_counter() - started
        _evaluate(judge, corpora["held-out"], step, seconds, folder)
        _picture(folder)
        weights = {name: value for name, value in draft.state_dict().items() if name != _EMBEDDING}
        write_state(
            checkpoint, {"step": step, "seconds": seconds, "draft": weights, "optimizer": optimizer.state_dict()}
        )


def _warmth(step: int, passed: float) -> float:
    """The learning rate over its largest value: a linear rise, then a cosine down to a tenth."""
    return min(1.0, (step + 1) / _WARMUP_STEPS) * (0.55 + 0.45 * float(np.cos(np.pi * passed)))


@torch.inference_mode()
def _evaluate(judge: Judge, corpus: Corpus, step: int, seconds: float, folder: ResultsFolder[CurveRow]) -> None:
    """Writes a row for each task, unless an interrupted run has done so."""
    if any(row.step == step for row in folder.rows()):
        return
    rows = []
    for task, name in enumerate(TASKS):
        batch = Batch.of(corpus, np.flatnonzero(corpus.task == task))
        accepted = judge(batch)[1]
        texts = (torch.bincount(batch.owner, accepted) / torch.bincount(batch.owner)).numpy()
        error = texts.std(ddof=1) / np.sqrt(len(texts))
        rows.append(CurveRow(step, round(seconds, 1), name, round(float(texts.mean()), 4), round(float(error), 4)))
    folder.append(rows)


def _picture(folder: ResultsFolder[CurveRow]) -> None:
    """The learning curve of every task, ``curve.png``; bars are two standard errors long."""
    figure, (axes,) = new_figure(6.0, 3.6)
    measured = folder.rows()
    for task in TASKS:
        rows = [row for row in measured if row.task == task]
        errors = [row.standard_error for row in rows]
        axes.errorbar([row.step for row in rows], [row.acceptance for row in rows], yerr=errors, label=task)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("training steps")
    axes.set_ylabel("acceptance in held-out texts")
    axes.legend(ncols=len(TASKS), loc="lower right")
    save(figure, folder.path / "curve.png")


def _save(
    distillation: Distillation, draft: TrimmedLlamaForCausalLM, pair: LanguagePair, folder: ResultsFolder[CurveRow]
) -> None:
    """Saves the model, the tokenizer and, last, the card that says how every weight was made."""
    last = folder.rows()[-len(TASKS) :]
    times = {name: _seconds_per_token(model) for name, model in (("draft", draft), ("target", pair.target))}
    card = {
        "made_by": distillation.command(),
        "values": asdict(distillation),
        "weights": {
            "model.embed_tokens": "the target's, unchanged",
            "model.layers": f"the target's layers {', '.join(map(str, distillation.layers))}, then trained",
            "model.norm": "the target's, then trained",
            "lm_head": "the rows of head_tokens of the target's head, then trained",
            "head_tokens": "the tokens that the target is most likely to write in the training texts",
            "licence": "derived from the target's weights, so under the target's licence",
        },
        "training": {"steps": last[0].step, "seconds": last[0].seconds},
        "held_out_acceptance": {
            row.task: {"mean": row.acceptance, "standard_error": row.standard_error} for row in last
        },
        "milliseconds_per_token": {name: round(1e3 * value, 2) for name, value in times.items()},
        "time_ratio": round(times["draft"] / times["target"], 4),
        "versions": {
            "multispin_env": multispin_env.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    path = folder.path / "draft"
    _cast(draft, torch.bfloat16).save_pretrained(path)
    pair.tokenizer.save_pretrained(path)
    write_atomically(path / "card.json", json.dumps(card, indent=2) + "\n")


@torch.inference_mode()
def _seconds_per_token(model: PreTrainedModel) -> float:
    """Time of a token after a context of 128: single precision, batch 1, one thread, from a cache.

    The fastest of many: what else runs on the machine only adds to it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _cast(model, torch.float32)
        name = cache_argument(model)
        cache = model(torch.ones((1, 128), dtype=torch.int64), use_cache=True, logits_to_keep=1)[name]
        times = []
        for _ in range(64):
            started = time.perf_counter()
            model(torch.ones((1, 1), dtype=torch.int64), **{name: cache}, use_cache=True)
            times.append(time.perf_counter() - started)
        return min(times)
    finally:
        torch.set_num_threads(threads)


def _write_all_texts(distillation: Distillation, pair: LanguagePair, folder: Path, progress: Progress) -> None:
    """Writes the texts that the folder lacks: files of one task each, the tasks in turn."""
    folder.mkdir(exist_ok=True)
    model = _cast(pair.target, fast_type())
    for split, per_task in (("held-out", _HELD_OUT_PER_TASK), ("train", distillation.texts_per_task)):
        prompts = compose_prompts(split, per_task, distillation.seed)
        files = -(-per_task // _TEXTS_PER_FILE)
        task = progress.add_task(f"{split} texts", total=files * len(TASKS) * distillation.answer_tokens)
        advance = partial(progress.advance, task)
        for index in range(files * len(TASKS)):
            name = TASKS[index % len(TASKS)]
            first = index // len(TASKS) * _TEXTS_PER_FILE
            file = folder / f"{split}-{name}-{first:05d}.npz"
            if not file.exists():
                asked = [prompt.prompt for prompt in prompts if prompt.task == name][first : first + _TEXTS_PER_FILE]
                texts = write_texts(
                    model,
                    pair.end_tokens,
                    [pair.encode(prompt) for prompt in asked],
                    distillation.answer_tokens,
                    KEPT,
                    torch.Generator().manual_seed(_seed(f"{distillation.seed} {file.stem}")),
                    advance,
                )
                texts.save(file)
            progress.update(task, completed=(index + 1) * distillation.answer_tokens)


def _seed(purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4])


def _cast(model: ModelT, dtype: torch.dtype) -> ModelT:
    """The model itself, in another precision; Transformers hides what its own method takes and returns."""
    return torch.nn.Module.to(model, dtype)
