"""Named tensors in one safetensors file: nothing that can be executed, every size checked before it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from s2s_algo.errors import ClientError


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes tensors, from whatever device.

    Raises:
        OSError: The disk refuses.
    """
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, str(path))
    except SafetensorError as error:
        raise OSError(str(error)) from error
    # safetensors makes its files readable for their owner alone; whoever serves the model may be someone else.
    path.chmod(0o644)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Reads tensors to the CPU.

    Raises:
        ClientError: The file is missing or damaged.
    """
    try:
        return load_file(str(path))
    except FileNotFoundError:
        raise ClientError("the file is missing. Copy the whole folder again.", where=str(path)) from None
    except (SafetensorError, OSError, TypeError, ValueError, RuntimeError) as error:
        raise ClientError(f"not a readable safetensors file ({error}). Copy it again.", where=str(path)) from error


def fill(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copies weights into a model, which may have been built on the meta device.

    Raises:
        ClientError: Naming all tensors that are missing, unknown, or of another shape or type.
    """
    parameters = dict(model.named_parameters())
    problems = [f"{name} is missing" for name in parameters if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in parameters]
    for name in parameters.keys() & tensors.keys():
        have, want = tensors[name], parameters[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            problems.append(
                f"{name} is {_form(have)} instead of {_form(want)}",
            )
    if problems:
        raise ClientError(
            f"the weights do not fit the model's configuration: {'; '.join(sorted(problems))}. "
            "Keep the files of one training job together.",
            where=where,
        )
    empty = any(parameter.is_meta for parameter in parameters.values())
    if empty:
        # What is taken over is cloned: tensors that were read are a view of their file and would change with it.
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    model.load_state_dict(tensors, assign=empty)


def _form(tensor: Tensor) -> str:
    # A hostile file can claim thousands of dimensions.
    shape = ", ".join(str(size) for size in tensor.shape[:4]) + (", …" if tensor.ndim > 4 else "")
    return f"{str(tensor.dtype).removeprefix('torch.')} [{shape}]"
