"""The layouts of `runtime/runtime.h`, and how arguments are laid out for a call."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from nnx.backends.cuda.kernel import MOST_LISTED, Argument
from nnx.backends.cuda.launcher import PassedList

WRITABLE, STARTS_UNINITIALISED, MUST_BE_WRITTEN = 1, 2, 4


class Index3(ctypes.Structure):
    _fields_ = [("x", ctypes.c_uint), ("y", ctypes.c_uint), ("z", ctypes.c_uint)]


class Buffer(ctypes.Structure):
    _fields_ = [
        ("base", ctypes.c_void_p),
        ("size", ctypes.c_uint64),
        ("granularity", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
    ]


class SharedVariable(ctypes.Structure):
    _fields_ = [("offset", ctypes.c_uint64), ("size", ctypes.c_uint64), ("name", ctypes.c_char_p)]


class Launch(ctypes.Structure):
    _fields_ = [
        ("kernel", ctypes.c_int),
        ("grid", Index3),
        ("block", Index3),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("buffers", ctypes.POINTER(Buffer)),
        ("buffer_count", ctypes.c_int),
        ("shared", ctypes.POINTER(SharedVariable)),
        ("shared_count", ctypes.c_int),
        ("dynamic_shared", ctypes.c_uint64),
        ("check", ctypes.c_int),
        ("order", ctypes.c_int),
        ("seed", ctypes.c_uint),
        ("patience", ctypes.c_uint64),
        ("last_blocks", ctypes.c_uint64),
        ("together", ctypes.c_uint64),
    ]


class Outcome(ctypes.Structure):
    _fields_ = [("message", ctypes.c_char * 1024), ("fault_offset", ctypes.c_uint64)]


def code(argument: Argument, real: np.dtype[Any]) -> str:
    """The type of an argument as `runtime/table.h` writes it: `const float*` is `pf4`."""
    dtype = argument.dtype(real)
    pointer = {"in": "p", "out": "P", "inout": "P"}.get(argument.direction, "")
    return f"{pointer}{dtype.kind}{dtype.itemsize}" + f"*{MOST_LISTED}" * argument.many


def pointers(args: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    """What a kernel launch passes: an address of each argument, and what must stay alive."""
    keep: list[Any] = []
    for value in args:
        if value is None:
            keep.append(ctypes.c_void_p(None))
        elif isinstance(value, PassedList):  # by value
            keep.append(ctypes.create_string_buffer(value.tobytes(), value.nbytes))
        elif isinstance(value, np.ndarray):
            keep.append(ctypes.c_void_p(value.ctypes.data))
        else:
            keep.append(ctypes.create_string_buffer(value.tobytes(), 16))
    addresses = (ctypes.c_void_p * len(args))(*(ctypes.addressof(k) for k in keep))
    return addresses, keep
