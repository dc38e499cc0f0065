"""The chat in the terminal: what is shown is what happened, on a screen of any size and in a file."""

import io
from itertools import pairwise

import numpy as np
import pytest
from multispin_agents.networks import Actor, NetworkConfig
from multispin_agents.policy import LearnedController
from multispin_train import chat as command
from multispin_train.chat import ACCEPTED, BONUS, CORRECTION, STYLES, Chat, Conversation, converse, rounds
from rich.console import Console

from multispin_env import Simulator, make_config
from multispin_env.core.requests import GenerationState

pytestmark = pytest.mark.live


def console(**options):
    return Console(file=io.StringIO(), **{"width": 100, "height": 30, **options})


def played(screen=None, **settings):
    return converse(Chat(**{"speed": 0.0, "rounds": 6, "users": 3, **settings}), screen or console())


def test_a_file_gets_a_line_a_round_and_the_last_screen_with_whole_texts():
    screen = console()
    conversation = played(screen, rounds=8)
    printed = screen.file.getvalue()
    assert [line.split(":")[0] for line in printed.splitlines() if "gained" in line] == [
        f"round {number}" for number in range(1, 9)
    ]
    assert printed.count("round 8 of 8") == 1
    flat = printed.replace("\n", "")
    for text in conversation.texts:
        assert (text.state.prompt + text.state.text).rstrip().replace("\n", "") in flat
    assert f"{conversation.tokens / conversation.seconds:.1f} tok/s" in printed


def test_accepted_corrected_and_bonus_tokens_are_told_apart():
    settings = Chat(users=4, rounds=15, seed=1)
    system = settings.system()
    simulator = Simulator(system, 1)
    simulator.reset([np.random.default_rng(1)])
    conversation, counted = Conversation("", 15, 4), dict.fromkeys(STYLES, 0)
    expected = dict.fromkeys(STYLES, 0)
    for outcome in rounds(simulator, settings.decides()):
        conversation.add(outcome)
        lengths, tokens = outcome.allocation.draft_length[0], outcome.tokens[0]
        expected[ACCEPTED] += (tokens - 1).sum()
        expected[BONUS] += (tokens > lengths).sum()
        expected[CORRECTION] += (tokens <= lengths).sum()
        assert not any(state.ended for state in outcome.generation_states[0])
    for text in conversation.texts:
        styled = text.styled()
        assert styled.plain == text.state.prompt + text.state.text
        ends = [0, *(end for end, _ in text.parts)]
        assert ends[-1] == len(text.state.text)
        for (start, end), (_, kind) in zip(pairwise(ends), text.parts, strict=True):
            counted[kind] += end - start
        assert {str(span.style).removeprefix("not dim ") for span in styled.spans} <= {*STYLES.values()}
    # A token is a byte.
    assert counted == expected


@pytest.mark.parametrize(("width", "height", "users"), [(80, 24, 4), (100, 30, 3), (60, 50, 2), (120, 18, 4)])
def test_a_frame_fits_the_terminal(width, height, users):
    conversation = played(users=users, rounds=10)
    screen = console(width=width, height=height, force_terminal=True)
    lines = screen.render_lines(conversation, pad=False)
    assert len(lines) <= height
    text = ["".join(segment.text for segment in line) for line in lines]
    assert all(len(line) <= width for line in text)
    assert sum(line.rstrip().endswith("last") for line in text if line.startswith("user ")) == (width >= 80)
    assert sum(line.startswith("user ") for line in text) == users


def test_what_a_model_writes_cannot_move_the_cursor():
    text = command.UserText()
    written = "a\x1b[2J\tb\r\x7f\nc"
    text.add(GenerationState("p\x1b", written, 0, len(written), False), BONUS)
    assert text.styled().plain == "p␛a␛[2J␉b␍␡\nc"


def test_the_next_request_begins_behind_the_end_of_the_last():
    text = command.UserText()
    text.add(GenerationState("first", "abc", 0, 2, True), CORRECTION)
    assert text.styled().plain == "firstabc"
    text.add(GenerationState("second", "xy", 0, 1, False), BONUS)
    assert text.parts == [(1, ACCEPTED), (2, BONUS)]
    assert text.styled().plain == "secondxy"


def test_a_character_of_two_rounds_is_that_of_the_token_that_completes_it():
    text = command.UserText()
    # An accepted draft and a correction, each half of an emoji; then its end, accepted, and a bonus token.
    text.add(GenerationState("p", "ab\ufffd", 0, 2, False), CORRECTION)
    assert text.parts == [(2, ACCEPTED), (3, CORRECTION)]
    text.add(GenerationState("p", "ab😀c", 2, 3, False), BONUS)
    styled = text.styled()
    assert styled.plain == "pab😀c"
    spans = {styled.plain[span.start : span.end]: str(span.style).removeprefix("not dim ") for span in styled.spans}
    assert spans == {"p": "dim", "ab": STYLES[ACCEPTED], "😀": STYLES[ACCEPTED], "c": STYLES[BONUS]} or spans == {
        "ab": STYLES[ACCEPTED],
        "😀": STYLES[ACCEPTED],
        "c": STYLES[BONUS],
    }


def test_the_same_seed_shows_the_same():
    first, again, other = (console() for _ in range(3))
    for screen, seed in ((first, 3), (again, 3), (other, 4)):
        played(screen, seed=seed, controller="clairvoyant")
    assert first.file.getvalue() == again.file.getvalue() != other.file.getvalue()


def test_rounds_take_their_time_at_the_speed_asked_for(monkeypatch):
    slept = []
    monkeypatch.setattr("multispin_train.chat.time.monotonic", lambda: sum(slept))
    monkeypatch.setattr("multispin_train.chat.time.sleep", slept.append)
    conversation = played(speed=2.0)
    assert len(slept) == 6
    assert sum(slept) == pytest.approx(conversation.seconds / 2.0)


def test_an_interrupted_chat_ends_with_its_last_screen(monkeypatch):
    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("multispin_train.chat.time.sleep", interrupted)
    screen = console()
    assert played(screen, speed=1.0).played == 1
    assert "round 1 of 6" in screen.file.getvalue()


def test_a_policy_decides(tmp_path):
    config = make_config("mobile")
    made = LearnedController("mine", Actor(NetworkConfig.of("equivariant", 8, config)), "residual", config)
    made.save(tmp_path / "mine", {})
    with pytest.warns(UserWarning, match="'mine' was trained on another system"):
        conversation = played(policy=str(tmp_path / "mine"))
    assert conversation.title.startswith("mine: ")
    assert conversation.played == 6


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"speed": -1.0}, ValueError, r"speed must be 0 or a finite number in \[0.001, 1e\+06\], got -1.0"),
        ({"speed": float("nan")}, ValueError, r"speed must be 0 or a finite number in \[0.001, 1e\+06\], got nan"),
        ({"speed": 1e-320}, ValueError, r"speed must be 0 or a finite number in \[0.001, 1e\+06\], got 1e-320"),
        ({"users": 0}, ValueError, r"^users must be an integer in \[1, 1000000000\], got 0"),
        ({"rounds": 0}, ValueError, r"^rounds must be an integer in \[1, 1000000000\], got 0"),
        ({"seed": -1}, ValueError, r"^seed must be an integer in \[0, 1000000000\], got -1"),
        ({"controller": "best"}, ValueError, "controller must be one of .*, got 'best'"),
        ({"policy": "best"}, FileNotFoundError, "no policy is called 'best'"),
        # Models of one's own need the tasks of a pair measured over these prompts.
        ({"draft": "tiny-target"}, ValueError, r"tasks must be among those of the prompts, .*, got 'MBPP\+'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        played(**settings)
