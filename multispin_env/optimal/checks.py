"""Checks of what a user hands to the optimum: every error names the field, the value and the allowed range."""

from __future__ import annotations

from math import inf
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.config import shown
from multispin_env.core.equations import FloatArray


def real_array(
    name: str, values: ArrayLike, *, low: float = -inf, above: float = -inf, high: float = inf
) -> FloatArray:
    """Converts to float64 and refuses whatever is not finite, below ``low``, not ``above``, or over ``high``."""
    allowed = _range(low, above, high)
    try:
        array = np.asarray(values, dtype=np.float64)
    except OverflowError:
        raise ValueError(f"{name} must be {allowed}, got {shown(values)}") from None
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold real numbers: {error}") from error
    if array.size:
        # NaN passes through min and max and fails every comparison, so two passes check everything.
        smallest, largest = array.min(), array.max()
        if not (smallest >= low and smallest > above and largest <= high and -inf < smallest and largest < inf):
            admitted = np.isfinite(array) & (array >= low) & (array > above) & (array <= high)
            raise ValueError(f"{name} must be {allowed}, got {array[~admitted].flat[0]}")
    return array


def integer(name: str, value: int, *, low: int, high: int | None = None) -> int:
    """Refuses whatever is not an integer from ``low`` to ``high``."""
    allowed = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return int(value)


def common_shape(arrays: dict[str, FloatArray], meaning: str = "(..., users)") -> tuple[int, ...]:
    """Shape to which the named arrays broadcast."""
    try:
        return np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"shapes do not broadcast to {meaning}: {shapes}") from None


def _range(low: float, above: float, high: float) -> str:
    lower = f"above {above:g}" if above > -inf else f"at least {low:g}"
    upper = f" and at most {high:g}" if high < inf else ""
    return f"finite, {lower}{upper}"
