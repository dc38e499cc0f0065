"""The picture of a round: a row a user, its times along one axis, what it was given and what is known of it now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multispin_env.core.equations import FloatArray, upload_latency_s
from multispin_env.envs.raster import CELL_WIDTH, Colour, Raster, text_width

if TYPE_CHECKING:
    from multispin_env.core.simulator import RoundOutcome
    from multispin_env.core.view import RoundView

# Users beyond these are left out: the rows would no longer be readable.
MAX_ROWS = 40
WIDTH = 1200
_MARGIN, _GAP = 12, 14
_TITLE_HEIGHT, _HEADING_HEIGHT, _AXIS_HEIGHT = 46, 38, 34
_ROWS_HEIGHT, _ROW_LOW, _ROW_HIGH = 400, 18, 44

_DRAFT: Colour = (119, 170, 221)
_UPLOAD: Colour = (238, 204, 102)
_VERIFICATION: Colour = (204, 153, 187)
_ACCEPTED: Colour = (34, 136, 51)
_DRAFTED: Colour = (187, 187, 187)
_SHARE: Colour = (102, 136, 170)
_CHANNEL: Colour = (68, 170, 153)
_GREY: Colour = (110, 110, 110)
_LINE: Colour = (205, 205, 205)
_STRIPE: Colour = (245, 245, 245)
_SLOWEST: Colour = (255, 240, 205)

_BAR, _TOKENS_BAR = 50, 60
# Spectral efficiency at which a bar is full, bit/s/Hz.
_FULL_EFFICIENCY = 8.0
# A user whose draft arrives later than this many times the median's stands behind a break of the axis, if that makes
# the rest of the axis at least twice as long.
_OUTLYING = 3.0
_BREAK_WIDTH = 34


def draw_round(view: RoundView, outcome: RoundOutcome | None, index: int) -> NDArray[np.uint8]:
    """One environment's last round and what is known before the next, as a picture of a size that depends on the users.

    Before the first round the times are those of one drafted token, at equal shares of the band.

    Args:
        view: What is known now.
        outcome: The last round, or None where none was played.
        index: The environment's place in the batch.

    Returns:
        Pixels, (height, width, 3).

    Raises:
        DependencyNotInstalled: Matplotlib is missing.
    """
    return _Picture(view, outcome, index).draw()


@dataclass(frozen=True)
class TimeAxis:
    """From seconds to pixels: proportional, but for a break that passes over the time in which only outliers upload.

    Attributes:
        seconds: Times that increase, 0 first.
        pixels: Where they lie.
    """

    seconds: FloatArray
    pixels: FloatArray

    @classmethod
    def fitted(cls, finish_s: FloatArray, end_s: float, left: float, right: float) -> TimeAxis:
        """The axis of a round.

        Args:
            finish_s: When each user's draft arrives.
            end_s: When the round ends, at least the latest of them.
            left: The pixel of time 0.
            right: The pixel of the end.
        """
        latest = float(np.max(finish_s))
        typical = float(np.quantile(finish_s, 0.5, method="lower"))
        cut = 1.25 * float(np.max(finish_s[finish_s <= _OUTLYING * typical]))
        resume = latest - 0.2 * cut
        kept = cut + end_s - resume
        if not 2.0 * kept < end_s:
            return cls(np.array([0.0, end_s]), np.array([left, right]))
        per_second = (right - left - _BREAK_WIDTH) / kept
        at_cut = left + cut * per_second
        return cls(np.array([0.0, cut, resume, end_s]), np.array([left, at_cut, at_cut + _BREAK_WIDTH, right]))

    def __call__(self, time_s: float) -> float:
        """The pixel at which a time lies."""
        return float(np.interp(time_s, self.seconds, self.pixels))

    @property
    def gap(self) -> tuple[float, float] | None:
        """The pixels between which the axis is broken."""
        return (float(self.pixels[1]), float(self.pixels[2])) if len(self.pixels) > 2 else None

    def ticks(self) -> list[float]:
        """Round times up to the break or the end, at most seven."""
        last = float(self.seconds[1])
        exponent = np.floor(np.log10(last / 6.0))
        step = next(step for factor in (1, 2, 5, 10) if 6.0 * (step := factor * 10.0**exponent) >= last)
        return [number * step for number in range(int(last / step + 1e-9) + 1)]


class _Picture:
    def __init__(self, view: RoundView, outcome: RoundOutcome | None, index: int) -> None:
        config = view.config
        self._view, self._outcome, self._index, self._config = view, outcome, index, config
        if outcome is None:
            self._drafting_s = view.drafting_latency_s[index]
            self._upload_s = upload_latency_s(
                1, config.payload_bits, config.bandwidth_hz / config.num_users, view.observed_spectral_efficiency[index]
            )
        else:
            self._drafting_s, self._upload_s = outcome.drafting_s[index], outcome.upload_s[index]
        self._finish_s = self._drafting_s + self._upload_s
        self._arrival_s = float(np.max(self._finish_s))
        self._end_s = self._arrival_s if outcome is None else float(outcome.latency_s[index])
        latest = np.argsort(-self._finish_s, kind="stable")[:MAX_ROWS]
        self._users = np.sort(latest)
        self._slowest = int(latest[0])

        rows = len(self._users)
        self._row_height = min(max(_ROWS_HEIGHT // rows, _ROW_LOW), _ROW_HIGH)
        self._top = _TITLE_HEIGHT + _HEADING_HEIGHT
        self._bottom = self._top + rows * self._row_height
        # Video codecs want even sizes.
        self._raster = Raster(WIDTH, (self._bottom + _AXIS_HEIGHT + 1) // 2 * 2)
        self._lay_out()

    def _lay_out(self) -> None:
        """Where the columns begin and end; the time axis has what the others leave."""
        user = max(4, len(str(self._config.num_users - 1)))
        tokens = 2 * len(str(self._config.max_draft_length)) + 1
        self._user_right = _MARGIN + user * CELL_WIDTH
        self._tokens_left = self._user_right + _GAP
        self._tokens_right = self._tokens_left + _TOKENS_BAR + max(tokens, 7) * CELL_WIDTH
        self._share_left = self._tokens_right + _GAP
        self._share_right = self._share_left + _BAR + 7 * CELL_WIDTH

        self._request_right = WIDTH - _MARGIN
        self._acceptance_right = self._request_right - 8 * CELL_WIDTH
        self._latency_right = self._acceptance_right - 6 * CELL_WIDTH
        self._channel_right = self._latency_right - 7 * CELL_WIDTH
        self._channel_left = self._channel_right - _BAR - 12 * CELL_WIDTH
        self._rule = self._channel_left - _GAP
        self._rate_right = self._rule - _GAP
        self._rate_left = self._rate_right - _BAR - 6 * CELL_WIDTH

        played = self._outcome is not None
        self._time_left = (self._share_right if played else self._user_right) + _GAP
        self._time_right = (self._rate_left if played else self._rule) - 2 * _GAP
        self._axis = TimeAxis.fitted(self._finish_s, self._end_s, self._time_left, self._time_right)

    def draw(self) -> NDArray[np.uint8]:
        for row, user in enumerate(self._users):
            top = self._top + row * self._row_height
            if user == self._slowest or row % 2 == 0:
                colour = _SLOWEST if user == self._slowest else _STRIPE
                self._raster.fill(0, top, WIDTH, top + self._row_height, colour)
        self._draw_titles()
        self._draw_axis()
        for row, user in enumerate(self._users):
            middle = self._top + (row + 0.5) * self._row_height
            self._raster.text(self._user_right, middle, str(user), align="right")
            self._draw_times(user, middle)
            if self._outcome is not None:
                self._draw_decision(self._outcome, user, middle)
            self._draw_known(user, middle)
        if self._axis.gap is not None:
            self._raster.hatch(self._axis.gap[0] + 6, self._top, self._axis.gap[1] - 6, self._bottom)
        self._raster.fill(self._rule, _TITLE_HEIGHT - 4, self._rule + 1, self._bottom, _LINE)
        return self._raster.pixels

    def _draw_titles(self) -> None:
        raster, outcome, index = self._raster, self._outcome, self._index
        if outcome is None:
            title = "no round played yet; times are those of one drafted token at equal shares of the band"
        else:
            tokens, seconds = outcome.tokens[index].sum(), outcome.latency_s[index]
            title = f"{_three_digits(outcome.goodput[index])} tok/s: {tokens} tokens in {_three_digits(seconds)} s"
        if self._config.num_users > MAX_ROWS:
            title += f" (the {MAX_ROWS} slowest of {self._config.num_users} users)"
        raster.text(_MARGIN, 14, title)

        x = float(self._time_left)
        legend = [("draft", _DRAFT), ("upload", _UPLOAD)]
        if outcome is not None:
            verification_s = self._end_s - self._arrival_s
            legend.append((f"verification {_three_digits(verification_s)} s", _VERIFICATION))
        for name, colour in legend:
            raster.fill(x, 29, x + 10, 39, colour)
            raster.text(x + 15, 34, name)
            x += 15 + text_width(name) + _GAP
        headings = [
            (self._user_right, "", "user", "right"),
            (self._time_left, f"time, {self._unit}", "", "left"),
            (self._channel_left, "bit/s/Hz now", "/ long-term", "left"),
            (self._latency_right, "ms/", "token", "right"),
            (self._acceptance_right, "task", "rate", "right"),
            (self._request_right, "request", "so far", "right"),
        ]
        if outcome is not None:
            raster.text(_MARGIN, 34, "last round", _GREY)
            raster.text(self._channel_left, 34, "next round", _GREY)
            headings += [
                (self._tokens_left, "accepted/", "drafted", "left"),
                (self._share_left, "share of", "the band", "left"),
                (self._rate_left, "bit/s/Hz", "in upload", "left"),
            ]
        for place, upper, lower, align in headings:
            raster.text(place, _TITLE_HEIGHT + 9, upper, _GREY, align=align)
            raster.text(place, _TITLE_HEIGHT + 24, lower, _GREY, align=align)

    @property
    def _scale(self) -> float:
        """Units of the axis in a second."""
        return 1.0 if self._axis.seconds[1] >= 0.1 else 1e3

    @property
    def _unit(self) -> str:
        return "s" if self._scale == 1.0 else "ms"

    def _draw_axis(self) -> None:
        raster, axis = self._raster, self._axis
        places = [(time_s, f"{time_s * self._scale:g}") for time_s in axis.ticks()]
        if axis.gap is not None:
            places += [(time_s, _three_digits(time_s * self._scale)) for time_s in (self._end_s, self._arrival_s)]
        taken: list[tuple[float, float]] = []
        written: set[str] = set()
        for time_s, label in places:
            x, half = axis(time_s), 0.5 * text_width(label) + 4
            raster.fill(x, self._top, x + 1, self._bottom + 4, _LINE)
            if label not in written and all(x + half <= left or x - half >= right for left, right in taken):
                raster.text(x, self._bottom + 14, label, _GREY, align="centre")
                taken.append((x - half, x + half))
                written.add(label)
        raster.fill(axis.pixels[0], self._bottom, axis.pixels[-1] + 1, self._bottom + 1, _GREY)
        if self._outcome is not None:
            raster.bar(axis(self._arrival_s), self._top, axis(self._end_s), self._bottom, _VERIFICATION)

    def _draw_times(self, user: int, middle: float) -> None:
        raster, axis = self._raster, self._axis
        half = 0.32 * self._row_height
        start, sent, arrived = axis(0.0), axis(self._drafting_s[user]), axis(self._finish_s[user])
        raster.fill(arrived, middle, axis(self._arrival_s), middle + 1, _GREY)
        raster.bar(start, middle - half, sent, middle + half, _DRAFT)
        raster.bar(sent, middle - half, arrived, middle + half, _UPLOAD)
        if axis.gap is not None and arrived > axis.gap[0]:
            label = f"{_three_digits(self._upload_s[user] * self._scale)} {self._unit}"
            raster.text(axis.gap[0] - 2, middle, label, align="right")

    def _draw_decision(self, outcome: RoundOutcome, user: int, middle: float) -> None:
        raster, config = self._raster, self._config
        half = 0.25 * self._row_height
        length, share = (part[self._index, user] for part in outcome.allocation)
        accepted = outcome.tokens[self._index, user] - 1
        left, per_token = self._tokens_left, _TOKENS_BAR / config.max_draft_length
        raster.bar(left, middle - half, left + length * per_token, middle + half, _DRAFTED)
        raster.fill(left, middle - half, left + accepted * per_token, middle + half, _ACCEPTED)
        raster.text(self._tokens_right, middle, f"{accepted}/{length}", align="right")

        widest = float(np.max(outcome.allocation.bandwidth_share[self._index]))
        left = self._share_left
        raster.bar(left, middle - half, left + _BAR * share / widest, middle + half, _SHARE)
        raster.text(self._share_right, middle, f"{100.0 * share:.1f}%", align="right")

        bandwidth_hz = share * config.bandwidth_hz
        efficiency = length * config.payload_bits / (bandwidth_hz * self._upload_s[user])
        self._draw_channel(self._rate_left, middle, efficiency, None)
        raster.text(self._rate_right, middle, _number(efficiency, 2), align="right")

    def _draw_known(self, user: int, middle: float) -> None:
        raster, view, index = self._raster, self._view, self._index
        now = view.observed_spectral_efficiency[index, user]
        long_term = view.long_term_spectral_efficiency[index, user]
        self._draw_channel(self._channel_left, middle, now, long_term)
        raster.text(self._channel_right, middle, f"{_number(now, 1)}/{_number(long_term, 1)}", align="right")
        milliseconds = 1e3 * view.drafting_latency_s[index, user]
        raster.text(self._latency_right, middle, _number(milliseconds, 1), align="right")
        raster.text(self._acceptance_right, middle, f"{view.task_acceptance_mean[index, user]:.2f}", align="right")
        request = f"{view.request_accepted[index, user]}/{view.request_tested[index, user]}"
        raster.text(self._request_right, middle, request, align="right")

    def _draw_channel(self, left: float, middle: float, efficiency: float, long_term: float | None) -> None:
        """A bar of a spectral efficiency, and a mark at the long-term one."""
        half = 0.25 * self._row_height
        per_unit = _BAR / _FULL_EFFICIENCY
        self._raster.fill(left, middle + half - 1, left + _BAR, middle + half, _LINE)
        self._raster.bar(left, middle - half, left + min(efficiency * per_unit, _BAR), middle + half, _CHANNEL)
        if long_term is not None:
            x = left + min(long_term * per_unit, _BAR)
            self._raster.fill(x, middle - half - 1, x + 2, middle + half + 1, (0, 0, 0))


def _number(value: float, decimals: int) -> str:
    """A number in at most five characters."""
    text = f"{value:.{decimals}f}"
    return text if len(text) <= 5 else f"{value:.1f}" if value < 999.0 else f"{value:.0e}"


def _three_digits(value: float) -> str:
    """Three significant digits, but no exponent below a million."""
    return f"{value:.3g}" if value < 100.0 or value >= 1e6 else f"{value:.0f}"
