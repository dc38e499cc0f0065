"""Rectangles and text on an array of pixels: what a picture of a table needs, in a few milliseconds.

A figure of matplotlib with some hundred artists takes a tenth of a second or more. Here its font is drawn once, and all
later text is copied from there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

Colour: TypeAlias = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (20, 20, 20)

# A character's cell, in pixels.
CELL_WIDTH, CELL_HEIGHT = 7, 15
_BASELINE = 4
# Advance of DejaVu Sans Mono, the fixed-width font that comes with matplotlib, in em.
_ADVANCE_EM = 0.602
_CHARACTERS = "".join(map(chr, range(32, 127)))


class Raster:
    """An image that is drawn on. The origin is the upper left corner; lengths are pixels.

    Attributes:
        pixels: The image, (height, width, 3).
    """

    def __init__(self, width: int, height: int) -> None:
        self.pixels: NDArray[np.uint8] = np.full((height, width, 3), 255, dtype=np.uint8)

    def fill(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fills a rectangle, whose edges are rounded to whole pixels."""
        self.pixels[_place(top) : _place(bottom), _place(left) : _place(right)] = colour

    def bar(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """The same, at least one pixel wide: something that is there is seen."""
        self.fill(left, top, max(right, _place(left) + 1), bottom, colour)

    def hatch(self, left: float, top: float, right: float, bottom: float) -> None:
        """Strikes white diagonals through a rectangle."""
        part = self.pixels[_place(top) : _place(bottom), _place(left) : _place(right)]
        rows, columns = np.indices(part.shape[:2])
        part[(rows + columns) % 8 < 4] = WHITE

    def text(self, x: float, middle: float, text: str, colour: Colour = BLACK, *, align: str = "left") -> None:
        """Writes a line.

        Args:
            x: Where it begins, ends (``align="right"``) or has its middle (``"centre"``).
            middle: Where the middle of its height is.
            text: Printable ASCII.
            colour: The text's colour.
            align: ``left``, ``right`` or ``centre``.

        Raises:
            DependencyNotInstalled: Matplotlib, whose font it is, is missing.
        """
        codes = np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8) - 32
        ink = np.concatenate(list(_font()[codes]), axis=1) if codes.size else np.zeros((CELL_HEIGHT, 0))
        left = _place(x - text_width(text) * {"left": 0.0, "centre": 0.5, "right": 1.0}[align])
        top = _place(middle - CELL_HEIGHT / 2)
        part = self.pixels[top : top + ink.shape[0], left : left + ink.shape[1]]
        ink = ink[: part.shape[0], : part.shape[1], np.newaxis]
        part[:] = np.rint(part + ink * (np.array(colour) - part))


def text_width(text: str) -> int:
    """Pixels that a line takes."""
    return CELL_WIDTH * len(text)


def _place(position: float) -> int:
    """The pixel at which a position lies; what is left of or above the image begins at its edge."""
    return max(int(np.rint(position)), 0)


@lru_cache(maxsize=1)
def _font() -> NDArray[np.float64]:
    """How much ink each pixel of each printable character has, 0 to 1, (95, CELL_HEIGHT, CELL_WIDTH)."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DependencyNotInstalled(
            'render_mode="rgb_array" needs matplotlib: pip install "multispin_env[plot]"'
        ) from error
    count = len(_CHARACTERS)
    # At 72 dots an inch a point is a pixel. One row of cells.
    figure = Figure(figsize=(count * CELL_WIDTH / 72, CELL_HEIGHT / 72), dpi=72)
    for index, character in enumerate(_CHARACTERS):
        figure.text(
            index / count,
            _BASELINE / CELL_HEIGHT,
            character,
            family="DejaVu Sans Mono",
            size=CELL_WIDTH / _ADVANCE_EM,
            parse_math=False,
        )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = np.asarray(canvas.buffer_rgba())[..., 0]  # type: ignore[no-untyped-call]
    ink = 1.0 - drawn[:, : count * CELL_WIDTH] / 255.0
    return ink.reshape(CELL_HEIGHT, count, CELL_WIDTH).transpose(1, 0, 2)
