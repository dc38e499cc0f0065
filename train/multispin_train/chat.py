"""``multispin chat``: users, two models at work and a controller, round after round in the terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated

import numpy as np
import tyro
from multispin_baselines import CONTROLLERS, Controller, make_controller
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from multispin_env import Simulator, SystemConfig, make_config
from multispin_env.config import LiveConfig, real, whole
from multispin_env.core import RoundOutcome
from multispin_env.core.requests import GenerationState
from multispin_env.profiles import load_model_pair
from multispin_train.options import MOST, CheckedOptions, Model, one_of

ACCEPTED, CORRECTION, BONUS = "accepted", "correction", "bonus"
STYLES = {ACCEPTED: "green", CORRECTION: "bold red", BONUS: "bold cyan"}
# The parts of a round as a user lives through them, told apart without colour as well.
PARTS = {
    "drafting": ("━", "bright_blue"),
    "upload": ("═", "yellow"),
    "waiting": ("·", "dim"),
    "verification": ("─", "magenta"),
}

# Slower than this, a round takes hours.
_SLOWEST, _FASTEST = 1e-3, 1e6
_SHARE_CELLS = 10
# Lines of the screen that hold no text: a title, three at the foot, and two of each user.
_FRAME_LINES, _USER_LINES = 4, 2
# Who decides: one of two options.
_DECIDER = tyro.conf.create_mutex_group(required=False, title="decides")
# What would move the cursor is shown as a picture of itself, one character for one.
_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) != "\n"} | {127: 0x2421}


@dataclass(frozen=True, kw_only=True)
class Chat(CheckedOptions):
    """What is played and shown.

    Attributes:
        draft: The draft model: tiny-draft, tiny-target, a folder, a GGUF file, a package that carries one, or a name on
            the hub.
        target: The target model, likewise.
        prompts: What users ask: tiny-prompts, the shipped ones, or a file of JSON Lines with "task" and "prompt".
        model_pair: The pair whose times and payload the system has, a name or the path of a pair's .json file. With
            models or prompts of one's own it is the file that measure wrote of them, as its tasks are those of the
            prompts.
        controller: The controller that decides.
        policy: A learned policy that decides instead: a folder that fit wrote, or the name of a shipped one.
        users: Users.
        rounds: Rounds.
        seed: Decides everything that is random.
        speed: Seconds of the system in a second of the screen, at least 0.001; 0 is as fast as it goes.
    """

    draft: Model = LiveConfig.draft
    target: Model = LiveConfig.target
    prompts: Annotated[str, tyro.conf.arg(metavar="FILE")] = LiveConfig.prompts
    model_pair: Annotated[str, tyro.conf.arg(metavar="PAIR")] = "llama2"
    controller: Annotated[str, tyro.conf.arg(metavar=one_of(CONTROLLERS)), _DECIDER] = "predictive"
    policy: Annotated[str | None, tyro.conf.arg(metavar="PATH"), _DECIDER] = None
    users: int = whole(1, MOST, default=4)
    rounds: int = whole(1, MOST, default=60)
    seed: int = whole(0, MOST, default=0)
    speed: float = real(_SLOWEST, _FASTEST, off=True, default=1.0)

    def decides(self) -> Controller:
        """The controller or policy.

        Raises:
            ValueError: There is no such controller.
            FileNotFoundError: There is no such policy.
        """
        if self.policy is None:
            return make_controller(self.controller, self.model_pair)
        from multispin_agents.policy import LearnedController  # here, as it takes long to import

        return LearnedController.load(self.policy)

    def system(self) -> SystemConfig:
        """The scenario `live` with these models.

        Raises:
            ValueError: A value is out of range.
        """
        live = {"draft": self.draft, "target": self.target, "prompts": self.prompts}
        requests: dict[str, object] = {"live": live}
        if LiveConfig(draft=self.draft, target=self.target, prompts=self.prompts) != LiveConfig():
            requests["tasks"] = [asdict(task) for task in load_model_pair(self.model_pair).tasks]
        changes = {"num_users": self.users, "episode_rounds": self.rounds, "requests": requests}
        return make_config("live", self.model_pair, changes)


@dataclass
class UserText:
    """A user's running request.

    Attributes:
        state: The text; None before the first round.
        parts: Which tokens wrote it: where parts end in the text, and their kinds.
    """

    state: GenerationState | None = None
    parts: list[tuple[int, str]] = field(default_factory=list)

    def add(self, state: GenerationState, own: str) -> None:
        """Goes on with what a round gained; ``own`` is what the server's own token was."""
        if self.state is not None and self.state.ended:
            self.parts = []
        self.state = state
        # A character of several tokens is written anew when it is complete.
        self.parts = [(min(end, state.accepted_start), kind) for end, kind in self.parts]
        self.parts += [(state.server_token_start, ACCEPTED), (len(state.text), own)]

    def styled(self) -> Text:
        """The prompt and the text, its parts in their colours."""
        if self.state is None:
            return Text()
        styled = Text(self.state.prompt.translate(_CONTROLS), style="dim")
        start = 0
        for end, kind in self.parts:
            styled.append(self.state.text[start:end].translate(_CONTROLS), f"not dim {STYLES[kind]}")
            start = max(start, end)
        return styled


class Conversation:
    """What the screen shows after a round: every user's text, what was decided, how long it took and what it gained.

    Args:
        title: Who and what is at work.
        rounds: Rounds that will be played.
        users: Users.
    """

    def __init__(self, title: str, rounds: int, users: int) -> None:
        self.title = title
        self.rounds = rounds
        self.texts = [UserText() for _ in range(users)]
        self.played = 0
        self.tokens = 0
        self.seconds = 0.0
        self.last: RoundOutcome | None = None

    def add(self, outcome: RoundOutcome) -> None:
        """Goes on with a round of one environment that models wrote."""
        assert outcome.generation_states is not None
        lengths, gained = outcome.allocation.draft_length[0], outcome.tokens[0]
        states = outcome.generation_states[0]
        for text, state, length, tokens in zip(self.texts, states, lengths, gained, strict=True):
            text.add(state, BONUS if tokens > length else CORRECTION)
        self.played += 1
        self.tokens += int(gained.sum())
        self.seconds += float(outcome.latency_s[0])
        self.last = outcome

    def summary(self) -> str:
        """The last round in one line.

        Raises:
            ValueError: No round was played.
        """
        if self.last is None:
            raise ValueError("summary needs a round, none was played")
        drafted = " ".join(map(str, self.last.allocation.draft_length[0]))
        gained = " ".join(map(str, self.last.tokens[0]))
        return (
            f"round {self.played}: drafted {drafted}, gained {gained}, {self.last.latency_s[0]:.3f} s, "
            f"user {_straggler(self.last)} last; {self.tokens / self.seconds:.1f} tok/s so far"
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _line((f"round {self.played} of {self.rounds}", "bold"), f"  {self.title}")
        outcome = self.last
        if outcome is None:
            return
        # A file has room for everything.
        shown = (console.height - _FRAME_LINES) // len(self.texts) - _USER_LINES if console.is_terminal else None
        for user, text in enumerate(self.texts):
            yield _decision(outcome, user)
            yield _timeline(outcome, user, options.max_width)
            lines = text.styled().wrap(console, options.max_width)
            yield Text("\n").join(lines if shown is None else lines[-max(shown, 1) :])
        yield _times(outcome)
        yield _line(
            f"this round {int(outcome.tokens[0].sum())} tokens, {outcome.goodput[0]:.1f} tok/s; so far {self.tokens} "
            f"tokens in {self.seconds:.2f} s: ",
            (f"{self.tokens / self.seconds:.1f} tok/s", "bold"),
        )
        yield _line(
            *((f"{kind}  ", style) for kind, style in STYLES.items()),
            *((f"{character} {part}  ", style) for part, (character, style) in PARTS.items()),
        )


def _line(*parts: str | tuple[str, str]) -> Text:
    """Texts, or texts and their styles, on one line, cut where the screen ends."""
    return Text.assemble(*parts, overflow="ellipsis", no_wrap=True)


def _straggler(outcome: RoundOutcome) -> int:
    return int(np.argmax(outcome.drafting_s[0] + outcome.upload_s[0]))


def _decision(outcome: RoundOutcome, user: int) -> Text:
    """What a user was told to do and what came of it."""
    length = int(outcome.allocation.draft_length[0, user])
    share = float(outcome.allocation.bandwidth_share[0, user])
    accepted = int(outcome.tokens[0, user]) - 1
    filled = round(share * _SHARE_CELLS)
    own = CORRECTION if accepted < length else BONUS
    return _line(
        (f"user {user}", "bold"),
        f"  drafts {length:2d}: ",
        (f"{accepted:2d} accepted", STYLES[ACCEPTED]),
        " + ",
        (f"{own:<10}", STYLES[own]),
        "  band ",
        ("█" * filled + "░" * (_SHARE_CELLS - filled), "yellow"),
        f" {100.0 * share:4.1f} %",
        ("  last", "bold") if user == _straggler(outcome) else "",
    )


def _timeline(outcome: RoundOutcome, user: int, width: int) -> Text:
    """A user's round on a line: drafting, upload, waiting for the others, verification."""
    drafting_s, upload_s = outcome.drafting_s[0, user], outcome.upload_s[0, user]
    ends_s = np.array([drafting_s, drafting_s + upload_s, outcome.multi_access_s[0], outcome.latency_s[0]])
    cells = np.rint(ends_s / outcome.latency_s[0] * width).astype(int)
    line = Text()
    for (character, style), count in zip(PARTS.values(), np.diff(cells, prepend=0), strict=True):
        line.append(character * int(count), style)
    return line


def _times(outcome: RoundOutcome) -> Text:
    """The parts of the round, of the user who arrived last."""
    last = _straggler(outcome)
    return _line(
        f"{outcome.latency_s[0]:.3f} s: user {last} drafted {outcome.drafting_s[0, last]:.3f} s and uploaded "
        f"{outcome.upload_s[0, last]:.3f} s, verification {outcome.verification_s[0]:.3f} s"
    )


def rounds(simulator: Simulator, controller: Controller) -> Iterator[RoundOutcome]:
    """Plays an episode of a simulator that was reset."""
    controller.reset(simulator.num_envs)
    for _ in range(simulator.config.episode_rounds):
        view = simulator.true_view() if controller.privileged else simulator.view()
        yield simulator.step(controller.act(view))


def chat(settings: tyro.conf.OmitArgPrefixes[Chat]) -> None:
    """Shows two models writing for a few users, round after round.

    Both models run; the controller or policy decides draft lengths and bandwidth in every round of the scenario live.
    Shows each user's text as it grows, with accepted, corrected and bonus tokens in colours of their own, its draft
    length and bandwidth, who was last, the parts of the round, and the goodput. Where the output is no terminal: a line
    a round, and the last screen.

    Example: multispin chat --controller heterogeneous --users 4 --speed 0.5

    Args:
        settings: What is played and shown.
    """
    converse(settings, Console())


def converse(settings: Chat, console: Console) -> Conversation:
    """Plays and shows; where the console is no terminal, a line a round and the last screen. Ends when interrupted.

    Args:
        settings: What to play.
        console: Where.

    Returns:
        The conversation as it stands at the end.

    Raises:
        ValueError: A setting cannot be used.
        FileNotFoundError: There is no such model, policy or file of prompts.
        ConnectionError: A model is not on this machine and the hub cannot be reached.
        ModuleNotFoundError: The extra ``live`` is not installed.
    """
    from transformers.utils import logging as transformers_logging  # here, as it needs the extra `live`

    controller = settings.decides()
    system = controller.transform_config(settings.system())
    simulator = Simulator(system, 1)
    # Transformers' own would run across ours.
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with console.status(f"loading {settings.draft} and {settings.target}"):
        simulator.reset([np.random.default_rng(settings.seed)])
    title = f"{controller.name}: {settings.draft} drafts for {settings.target}, times of {settings.model_pair}"
    conversation = Conversation(title, system.episode_rounds, system.num_users)
    with Live(conversation, console=console, auto_refresh=False) as live, contextlib.suppress(KeyboardInterrupt):
        begin = time.monotonic()
        for outcome in rounds(simulator, controller):
            conversation.add(outcome)
            if settings.speed > 0.0:
                time.sleep(max(0.0, begin + conversation.seconds / settings.speed - time.monotonic()))
            if console.is_terminal:
                live.refresh()
            else:
                console.print(conversation.summary(), highlight=False, soft_wrap=True)
    return conversation
