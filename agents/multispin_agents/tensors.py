"""Tensors in files: replaced as a whole, read as tensors and nothing else, checked against what they are to be."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multispin_env.config.validation import shown
from multispin_env.files import write_atomically


def write_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Creates or replaces a file of tensors and plain data by name, as ``torch.save`` writes them.

    Raises:
        OSError: It cannot be written; what was there before is still there.
    """
    data = io.BytesIO()
    torch.save(dict(state), data)
    write_atomically(path, data.getvalue())


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tensors and plain data of a file by name. Whatever else a file holds is refused, and never run.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, or holds something else.
    """
    data = io.BytesIO(Path(path).read_bytes())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a damaged file may look like one of an old format
            held = torch.load(data, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises over a damaged file has no type in common
        raise ValueError(
            f"{os.fspath(path)} must be a whole file of tensors, as torch.save writes it; this one is damaged, or "
            "holds something else than tensors and plain data, which is never loaded"
        ) from error
    if not isinstance(held, dict) or not all(isinstance(name, str) for name in held):
        raise ValueError(f"{os.fspath(path)} must hold tensors by name, got {shown(held)}")
    return dict(held)


def check_tensors(path: str | os.PathLike[str], found: Mapping[str, Any], expected: Mapping[str, Tensor]) -> None:
    """Refuses tensors that are not those expected: by name, shape and type; and numbers that are not finite.

    Args:
        path: The file that they are from, for the message.
        found: What is there.
        expected: Tensors of the names, shapes and types that have to be there. Their values, and so their device, do
            not matter.

    Raises:
        ValueError: A tensor is missing, too many, of another shape or type, or holds NaN or infinity; the message
            names the file and the tensor.
    """
    file = os.fspath(path)
    for name in expected:
        if name not in found:
            raise ValueError(f"{file} lacks the tensor {name!r}")
    for name, tensor in found.items():
        if name not in expected:
            raise ValueError(f"{file} holds {shown(name)}, which belongs to nothing here")
        wanted = expected[name]
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{file}: {name!r} must be a tensor, got {shown(tensor)}")
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ValueError(f"{file}: tensor {name!r} must be dense, got {tensor.layout} on {tensor.device}")
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            raise ValueError(f"{file}: tensor {name!r} must be {_described(wanted)}, got {_described(tensor)}")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{file}: tensor {name!r} must hold finite numbers, got NaN or infinity")


def _described(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)}"
