"""Compiles CUDA sources with NVRTC: no driver, no GPU, no CuPy.

The library comes from the wheel `nvidia-cuda-nvrtc-cu12` (or `-cu13`), or from a CUDA toolkit.
"""

from __future__ import annotations

import ctypes
import re
import site
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cuda_cpu.build import cache_folder, digest, write_whole

# What CuPy adds to the options that RawModule is given, when it compiles for a device; a test
# asks CuPy itself whether this is still so.  It also names folders of headers, and our kernels
# include none.
CUPY_ADDS = ("-ftz=true", "-arch=sm_{arch}", "--device-as-default-execution-space")


class Usage(NamedTuple):
    """What a compiled kernel needs, as ptxas reports it."""

    registers: int
    shared: int  # bytes, static
    stack: int  # bytes of local memory
    spills: int  # bytes stored and loaded because registers ran out


class Refused(Exception):
    """NVRTC did not compile; its log."""


def why_unavailable() -> str | None:
    """Why NVRTC cannot be used, or None if it can."""
    try:
        _library()
    except OSError as error:
        return f"NVRTC cannot be loaded ({error}); pip install nvidia-cuda-nvrtc-cu12"
    return None


def compile(code: str, options: Iterable[str], arch: int) -> dict[str, Usage]:
    """Compile as CuPy does, and say what each kernel of the source uses.

    What the same compiler said of the same text and options before is remembered in the cache
    folder of the CPU harness.  Raises Refused with the compiler's log.
    """
    added = [option.format(arch=arch) for option in CUPY_ADDS]
    given = (*options, *added, "--ptxas-options=-v")
    return parse_usage(_remembered("usage", code, given, lambda program, log: log))


def ptx(code: str, options: Iterable[str], arch: int) -> str:
    """The intermediate code, which shows the types of all operations."""
    given = (*options, f"-arch=compute_{arch}", "--device-as-default-execution-space")
    return _remembered("ptx", code, given, lambda program, log: _text(program, "PTX"))


def version() -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return f"{major.value}.{minor.value} {_library()._name}"


def _remembered(
    what: str, code: str, options: tuple[str, ...], result: Callable[[ctypes.c_void_p, str], str]
) -> str:
    """What was read from the compiled program the last time, or now."""
    path = cache_folder() / f"nvrtc-{what}-{digest(code, *options, version())}.txt"
    if not path.exists():
        write_whole(path, _compile(code, options, result))
    return path.read_text()


def _compile(
    code: str, options: tuple[str, ...], result: Callable[[ctypes.c_void_p, str], str]
) -> str:
    lib = _library()
    program = ctypes.c_void_p()
    _check(lib.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"k.cu", 0, None, None))
    try:
        given = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        failed = lib.nvrtcCompileProgram(program, len(options), given)
        log = _text(program, "ProgramLog")
        if failed:
            raise Refused(log)
        return result(program, log)
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))


def _text(program: ctypes.c_void_p, what: str) -> str:
    """One of the texts that a program has: its log, its intermediate code."""
    size = ctypes.c_size_t()
    _check(getattr(_library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    text = ctypes.create_string_buffer(size.value)
    _check(getattr(_library(), f"nvrtcGet{what}")(program, text))
    return text.value.decode()


def parse_usage(log: str) -> dict[str, Usage]:
    """The figures of `ptxas -v`: one paragraph for each function."""
    found = {}
    for part in re.split(r"Compiling entry function ", log)[1:]:
        name = re.match(r"'(\w+)'", part)
        stack, stores, loads = (
            int(n)
            for n in _find(
                r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part
            )
        )
        (registers,) = _find(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        assert name, part
        found[name[1]] = Usage(
            int(registers), int(shared[1]) if shared else 0, stack, stores + loads
        )
    return found


def _find(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    if not match:
        raise ValueError(f"ptxas did not report {pattern!r}:\n{text}")
    return match.groups()


@cache
def _library() -> ctypes.CDLL:
    folders = [*site.getsitepackages(), site.getusersitepackages()]
    wheels = [p for f in folders for p in sorted(Path(f).glob("nvidia/**/libnvrtc.so.1?"))]
    error = OSError("no libnvrtc")
    for path in [*map(str, wheels), "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            # NVRTC looks for this library by name, and a wheel's folder is not among the places.
            for builtins in sorted(Path(path).parent.glob("libnvrtc-builtins.so.*")):
                ctypes.CDLL(str(builtins))
            return ctypes.CDLL(path)
        except OSError as e:
            error = e
    raise error


def _check(result: int) -> None:
    if result:
        _library().nvrtcGetErrorString.restype = ctypes.c_char_p
        raise RuntimeError(_library().nvrtcGetErrorString(result).decode())
