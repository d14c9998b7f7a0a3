"""ONNX Runtime sessions: which providers compute, with how many threads, and what a graph takes."""

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort

from hunch.errors import ModelError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
SILENT = 4
"""ONNX Runtime's severity `fatal`: what goes wrong is raised, and said once, in a sentence."""
_TYPES = {
    "float": np.float32,
    "double": np.float64,
    "float16": np.float16,
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint64": np.uint64,
    "uint32": np.uint32,
    "uint16": np.uint16,
    "uint8": np.uint8,
    "bool": np.bool_,
    "string": np.object_,
}


def open_session(
    path: Path, providers: Literal["auto"] | Sequence[str], intra_op_threads: int
) -> ort.InferenceSession:
    """Loads a graph; blocks for as long as that takes.

    Raises `ModelError` where it cannot be read, or a provider that was asked for is absent.
    """
    ort.set_default_logger_severity(SILENT)
    wanted = _auto() if providers == "auto" else _checked(providers)
    options = ort.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if CUDA in wanted:
        # CUDA and cuDNN may have come as Python packages, which no loader path names.
        ort.preload_dlls()
    try:
        session = ort.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:  # ONNX Runtime's errors have no root of their own
        raise ModelError(
            f"ONNX Runtime cannot load {path}: {first_line(error)}. Export the model again, or "
            "name another one."
        ) from error
    absent = [name for name in wanted if name not in session.get_providers()]
    if absent and providers != "auto":
        raise _absent(absent[0], "it does not start on this machine")
    return session


def row_type(node: Any, model: str) -> np.dtype[Any]:
    """The numpy type of an input; raises `ModelError` for one that no message can feed."""
    inner = node.type.removeprefix("tensor(").removesuffix(")")
    if inner not in _TYPES:
        raise ModelError(
            f"The model {model} takes {node.type} as {node.name!r}: Hunch feeds tensors of "
            "numbers, truth values and strings."
        )
    return np.dtype(_TYPES[inner])


def first_line(error: Exception) -> str:
    """What a foreign error says, short enough for one sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]


def _auto() -> list[str]:
    return [CUDA, CPU] if CUDA in ort.get_available_providers() and has_cuda() else [CPU]


def _checked(providers: Sequence[str]) -> list[str]:
    installed = ort.get_available_providers()
    for name in providers:
        if name not in installed:
            raise _absent(name, f"this ONNX Runtime has {', '.join(installed)}")
        if name == CUDA and not has_cuda():
            raise _absent(name, "this machine has no CUDA device")
    return list(providers)


def _absent(name: str, why: str) -> ModelError:
    return ModelError(f"providers asks for {name} and {why}: set providers to auto.")


def has_cuda() -> bool:
    """Whether the driver of the machine knows a CUDA device."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return (
        driver.cuInit(0) == 0
        and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
        and count.value > 0
    )
