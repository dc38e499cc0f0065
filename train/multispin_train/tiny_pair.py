"""The tiny pair: a byte-level target and a draft distilled from it, made in minutes from the standard library.

It lives in ``multispin_env/speculative/tiny``, so that tests and the scenario ``live`` need no hub. The text is that
of Python's own top-level modules, cut into functions, each followed by an end-of-text token.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
import sysconfig
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from multispin_agents.tensors import read_state, write_state
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import multispin_env
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.files import write_atomically
from multispin_train.display import CommandProgress

END_OF_TEXT = "<|endoftext|>"
# One module in ten is never trained on: prompts and evaluation come from these.
_HELD_OUT_EVERY = 10
_EVALUATION_WINDOWS = 64
_CHECKPOINT_STEPS = 100
_WARMUP_STEPS = 50
_PROMPT_TASKS = ("signature", "docstring", "body")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A Llama of this shape, input and output embedding tied.

    Attributes:
        hidden: Width.
        layers: Depth.
        intermediate: Width of the feed-forward layers.
        heads: Attention heads.
    """

    hidden: int
    layers: int
    intermediate: int
    heads: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the pair is made.

    Attributes:
        seed: Decides initial weights and batches.
        target: The target's shape.
        draft: The draft's shape.
        target_steps: Training steps of the target.
        draft_steps: Training steps of the draft.
        total_variation_steps: The last of them, in which the draft minimises total variation, which is what
            acceptance is made of; before, Kullback-Leibler divergence, whose gradient finds the way.
        windows: Windows of text a step.
        window: Tokens a window; also the longest text that the models read.
        target_learning_rate: Largest learning rate of the target.
        draft_learning_rate: Largest learning rate of the draft.
        prompts_per_task: Prompts to write for each of the tasks.
    """

    seed: int = 0
    target: Shape = field(default_factory=lambda: Shape(hidden=128, layers=3, intermediate=256, heads=4))
    draft: Shape = field(default_factory=lambda: Shape(hidden=48, layers=1, intermediate=128, heads=3))
    target_steps: int = 2000
    draft_steps: int = 1500
    total_variation_steps: int = 750
    windows: int = 8
    window: int = 512
    target_learning_rate: float = 3e-3
    draft_learning_rate: float = 6e-3
    prompts_per_task: int = 32


@dataclass(frozen=True)
class CurveRow:
    """One line of ``results.csv``: a model at a checkpoint, on windows of held-out modules.

    Attributes:
        model: ``target`` or ``draft``.
        step: Steps trained.
        loss_nats: Cross-entropy with the text, nats a byte.
        acceptance: Mean over positions of ``sum_x min(q(x), p(x))``, p the finished target's distribution; 0 for the
            target while there is none.
    """

    model: str
    step: int
    loss_nats: float
    acceptance: float


def functions(source: str) -> list[str]:
    """The functions, methods and classes of a module, each with what follows it, and what stands before the first."""
    pieces = re.split(r"\n\n+(?=[ ]*(?:@|def |class |async def ))", source)
    return [textwrap.dedent(piece).strip("\n") + "\n" for piece in pieces if piece.strip()]


@dataclass(frozen=True)
class Corpus:
    """The functions of Python's top-level modules.

    Attributes:
        modules: Number of modules.
        digest: SHA-256 of their text: another version of Python has another library.
        kept: Functions to train on.
        held_out: Functions of the modules that are never trained on.
    """

    modules: int
    digest: str
    kept: list[str]
    held_out: list[str]


def standard_library() -> Corpus:
    """The text of this Python's own standard library, modules by name."""
    sources = [module.read_text(encoding="utf-8") for module in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))]
    parts: tuple[list[str], list[str]] = ([], [])
    for number, source in enumerate(sources):
        parts[number % _HELD_OUT_EVERY == 0].extend(functions(source))
    return Corpus(len(sources), hashlib.sha256("".join(sources).encode()).hexdigest(), *parts)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with a token for each byte, and one for the end of a text."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: token for token, symbol in enumerate(symbols)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT)  # type: ignore[no-untyped-call]


def write_prompts(path: Path, texts: Sequence[str], per_task: int, generator: np.random.Generator) -> None:
    """Writes prompts as JSON Lines: beginnings of functions, of three kinds of text to go on with.

    A ``signature`` ends before the body, a ``docstring`` in the middle of its first line, a ``body`` after its first
    statements.
    """
    found: dict[str, list[str]] = {task: [] for task in _PROMPT_TASKS}
    for number in generator.permutation(len(texts)):
        if match := re.match(r"(?:async )?def [^\n]*:\n", texts[number]):
            end = match.end()
            rest = texts[number][end:]
            if first_words := re.match(r' +r?"""(?:[^\s"]+ ){2}(?=\w)', rest):
                found["docstring"].append(texts[number][: end + first_words.end()])
            elif statements := re.match(r"(?: +[^\n]+\n){3}(?= +\w)", rest):
                found["body"].append(texts[number][: end + statements.end()])
            else:
                found["signature"].append(texts[number][:end])
    lines = []
    for task, prompts in found.items():
        if len(prompts) < per_task:
            raise ValueError(f"prompts_per_task must be at most {len(prompts)}, the prompts of {task}, got {per_task}")
        lines += [json.dumps({"task": task, "prompt": prompt}) + "\n" for prompt in prompts[:per_task]]
    write_atomically(path, "".join(lines))


def tiny_pair(output: Path) -> None:
    """Trains the byte-level pair that the package carries.

    Trains a byte-level target on the functions of Python's standard library and distils a draft from it: some 25
    minutes on one core. Writes results.csv (held-out loss and acceptance, as they come) and the pair with its card in
    DIR/pair. Run again with the same arguments to go on after an interruption.

    Example: multispin tiny-pair --output runs/tiny

    Args:
        output: A new folder, or one to go on with.

    Raises:
        FileExistsError: The folder holds something else.
    """
    console = Console()
    with CommandProgress(console) as progress:
        console.print_json(data=train_tiny_pair(output, progress))
    console.print(f"pair: {output / 'pair'}", highlight=False, markup=False, soft_wrap=True)


def train_tiny_pair(output: Path, progress: Progress, recipe: Recipe | None = None) -> dict[str, Any]:
    """Trains the target, distils the draft from it, and writes both.

    Args:
        output: ``results.csv`` and the checkpoints go here, and the finished pair into ``pair``: the folders
            ``target`` and ``draft``, ``prompts.jsonl`` and ``card.json``. Of an interrupted training, the rest.
        progress: Where to show how far it is.
        recipe: How the pair is made; by default as the committed one was.

    Returns:
        The card.
    """
    recipe = recipe or Recipe()
    corpus = standard_library()
    folder = ResultsFolder(
        output,
        {"recipe": asdict(recipe), "corpus": corpus.digest},
        CurveRow,
        unique=("model", "step"),
        allowed={"model": ("target", "draft")},
    )
    tokenizer = byte_tokenizer()
    text = _stream(tokenizer, corpus.kept)
    evaluation = _windows(_stream(tokenizer, corpus.held_out), recipe.window, _EVALUATION_WINDOWS)

    def batches(salt: int) -> Callable[[int], torch.Tensor]:
        def batch(step: int) -> torch.Tensor:
            start = np.random.default_rng([recipe.seed, salt, step]).integers(
                len(text) - recipe.window, size=(recipe.windows, 1)
            )
            return torch.from_numpy(text[start + np.arange(recipe.window)])

        return batch

    target = _network(recipe.target, recipe, len(tokenizer))
    target_batch, draft_batch = batches(0), batches(1)
    _train(
        _Training("target", target, recipe.target_steps, recipe.target_learning_rate),
        lambda step: _cross_entropy(target, target_batch(step)),
        lambda step: CurveRow(
            "target", step, _evaluate(lambda windows: _cross_entropy(target, windows), evaluation), 0.0
        ),
        folder,
        progress,
    )
    # Distilled from the target as it is stored.
    target.half().float()  # type: ignore[no-untyped-call]

    draft = _network(recipe.draft, recipe, len(tokenizer))

    def distil(step: int) -> torch.Tensor:
        windows = draft_batch(step)
        if step < recipe.draft_steps - recipe.total_variation_steps:
            return _divergence(draft, target, windows)
        return 1.0 - _acceptance(draft, target, windows)

    def evaluated(step: int) -> CurveRow:
        loss = _evaluate(lambda windows: _cross_entropy(draft, windows), evaluation)
        return CurveRow("draft", step, loss, _evaluate(lambda windows: _acceptance(draft, target, windows), evaluation))

    _train(
        _Training("draft", draft, recipe.draft_steps, recipe.draft_learning_rate), distil, evaluated, folder, progress
    )
    networks = {"target": target, "draft": draft}
    pair = output / "pair"
    for name, network in networks.items():
        network.half().save_pretrained(pair / name)  # type: ignore[no-untyped-call]
        tokenizer.save_pretrained(pair / name)
    write_prompts(pair / "prompts.jsonl", corpus.held_out, recipe.prompts_per_task, np.random.default_rng(recipe.seed))
    card = _card(recipe, corpus, networks, folder.rows())
    write_atomically(pair / "card.json", json.dumps(card, indent=2) + "\n")
    return card


def _card(
    recipe: Recipe, corpus: Corpus, networks: Mapping[str, LlamaForCausalLM], rows: Sequence[CurveRow]
) -> dict[str, Any]:
    """What the pair is, for whoever finds it."""
    last = {row.model: row for row in rows}
    return {
        "command": "multispin tiny-pair --output DIR",
        "how": "Both models are trained from random weights and stored as 16-bit floats. The target learns the "
        "corpus by cross-entropy. The draft learns the target's distribution on the same corpus, by "
        "Kullback-Leibler divergence and then by total variation. A token is a byte.",
        "corpus": {
            "text": f"{corpus.modules} top-level modules of the standard library of Python "
            f"{platform.python_version()} (PSF licence), in functions; every tenth module is held out",
            "sha256": corpus.digest,
        },
        "recipe": asdict(recipe),
        "parameters": {name: network.num_parameters() for name, network in networks.items()},
        "held_out": {
            "loss_nats_per_byte": {name: last[name].loss_nats for name in networks},
            "acceptance": last["draft"].acceptance,
        },
        "versions": {
            "python": platform.python_version(),
            "multispin_env": multispin_env.__version__,
            "numpy": np.__version__,
            "tokenizers": tokenizers.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


@dataclass(frozen=True)
class _Training:
    name: str
    network: LlamaForCausalLM
    steps: int
    learning_rate: float


def _train(
    training: _Training,
    loss: Callable[[int], torch.Tensor],
    evaluate: Callable[[int], CurveRow],
    folder: ResultsFolder[CurveRow],
    progress: Progress,
) -> None:
    """Trains to the end, from the last checkpoint if there is one. A step is decided by its number alone."""
    optimizer = torch.optim.AdamW(training.network.parameters(), lr=training.learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warm_cosine(step, training.steps))
    state: dict[str, Any] = {"network": training.network, "optimizer": optimizer, "schedule": schedule}
    checkpoint = folder.path / f"{training.name}.pt"
    done = 0
    if checkpoint.exists():
        saved = read_state(checkpoint)
        for name, part in state.items():
            part.load_state_dict(saved[name])
        done = saved["steps"]

    task = progress.add_task(training.name, total=training.steps, completed=done)
    for step in range(done, training.steps):
        optimizer.zero_grad()
        loss(step).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(training.network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.advance(task)
        if (step + 1) % _CHECKPOINT_STEPS == 0 or step + 1 == training.steps:
            if not any((row.model, row.step) == (training.name, step + 1) for row in folder.rows()):
                folder.append([evaluate(step + 1)])
            write_state(checkpoint, {"steps": step + 1, **{name: part.state_dict() for name, part in state.items()}})


def _warm_cosine(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / _WARMUP_STEPS) * (0.51 + 0.49 * math.cos(math.pi * min(1.0, step / steps)))


def _network(shape: Shape, recipe: Recipe, vocabulary: int) -> LlamaForCausalLM:
    torch.manual_seed(recipe.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            intermediate_size=shape.intermediate,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=recipe.window,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=vocabulary - 1,
        )
    )


def _stream(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> NDArray[np.int64]:
    """All texts as one line of tokens, each with its end."""
    ends = [text + END_OF_TEXT for text in texts]
    return np.concatenate([np.asarray(tokens, dtype=np.int64) for tokens in tokenizer(ends)["input_ids"]])


def _windows(stream: NDArray[np.int64], window: int, count: int) -> torch.Tensor:
    """Windows evenly spaced, (count, window)."""
    starts = np.linspace(0, len(stream) - window, count).astype(np.int64)
    return torch.from_numpy(stream[starts[:, np.newaxis] + np.arange(window)])


def _evaluate(measure: Callable[[torch.Tensor], torch.Tensor], windows: torch.Tensor) -> float:
    with torch.inference_mode():
        return float(np.mean([measure(batch).item() for batch in torch.split(windows, 8)]))


def _cross_entropy(network: LlamaForCausalLM, windows: torch.Tensor) -> torch.Tensor:
    logits = network(input_ids=windows).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


def _divergence(draft: LlamaForCausalLM, target: LlamaForCausalLM, windows: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of the draft from the target, nats a token."""
    with torch.no_grad():
        wanted = torch.log_softmax(target(input_ids=windows).logits, dim=-1)
    found = torch.log_softmax(draft(input_ids=windows).logits, dim=-1)
    return torch.nn.functional.kl_div(found, wanted, log_target=True, reduction="none").sum(-1).mean()


def _acceptance(draft: LlamaForCausalLM, target: LlamaForCausalLM, windows: torch.Tensor) -> torch.Tensor:
    """Mean probability that a draft is accepted."""
    with torch.no_grad():
        wanted = torch.softmax(target(input_ids=windows).logits, dim=-1)
    return torch.minimum(torch.softmax(draft(input_ids=windows).logits, dim=-1), wanted).sum(-1).mean()
