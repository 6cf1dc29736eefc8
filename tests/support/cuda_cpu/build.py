"""Compiles a `.cu` file, with the run-time, to a shared library; keeps it in a cache folder."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

RUNTIME = Path(__file__).parent / "runtime"
PARTS = ("scheduler", "checker", "callbacks")

COMMON = (
    "-std=c++17 -g -fPIC -fno-strict-aliasing -ffp-contract=off"
    " -fno-extern-tls-init"  # thread_local arrays are plain memory
    " -fno-gnu-unique"  # or two loaded modules share a template's static array
    " -fmax-errors=5 -U_FORTIFY_SOURCE"  # which takes a change of stacks for an attack
)
VARIANTS = {
    "fast": "-O2",
    "check": "-O1 -fsanitize=thread,undefined,float-cast-overflow -fno-sanitize=vptr -Wno-tsan",
}
WARNINGS = "-Wall -Wno-unknown-pragmas -Wno-unused-function -Wno-unused-variable"

# What a launch may ask for: without a special attribute of the function, and with it on Hopper.
MOST_SHARED = 48 * 1024
MOST_SHARED_TOGETHER = 227 * 1024

LAUNCH_BOUNDS = re.compile(r"__launch_bounds__\s*\([^)]*\)\s*")
BOUNDED = re.compile(r"__global__\s+void\s+__launch_bounds__\s*\(\s*(\d+)[^)]*\)\s*(\w+)\s*\(")
KERNEL = re.compile(r"__global__\s+void\s+(\w+)\s*\(")
MACRO = re.compile(r"^#define (\w+)\(([^)]*)\)(.*__global__.*)$", re.MULTILINE)
DYNAMIC_SHARED = re.compile(
    r"extern\s+__shared__\s+(?:__align__\(\d+\)\s+)?(?P<type>[\w ]+?)\s+(?P<name>\w+)\s*\[\s*\]"
)


class SharedVariable(NamedTuple):
    """A `__shared__` variable: where it lies in the module's thread-local storage."""

    offset: int
    size: int
    name: str


class Library(NamedTuple):
    path: Path
    handle: ctypes.PyDLL
    shared: tuple[SharedVariable, ...]


def why_unavailable() -> str | None:
    """Why the harness cannot run on this machine, or None if it can."""
    if sys.platform != "linux":
        return "the CPU harness for CUDA kernels runs on Linux only"
    if missing := [tool for tool in ("g++", "readelf", "addr2line") if not shutil.which(tool)]:
        return f"the CPU harness for CUDA kernels needs {', '.join(missing)}"
    return None


def strip_comments(code: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", code, flags=re.DOTALL)


def written_out(code: str) -> str:
    """A source without comments, in which what a macro makes kernels of stands written out.

    Such a macro has arguments, and is used on lines of its own: `SCAN(32, 96, 32)`.
    """
    code = strip_comments(code).replace("\\\n", " ")
    for name, parameters, body in MACRO.findall(code):
        code = code.replace(f"#define {name}({parameters}){body}", "")

        def write(use: re.Match[str], names: str = parameters, text: str = body) -> str:
            for one, value in zip(names.split(","), use[1].split(","), strict=True):
                text = re.sub(rf"(##)?\b{one.strip()}\b", value.strip(), text)
            return text

        code = re.sub(rf"^{name}\((.*)\)$", write, code, flags=re.MULTILINE)
    return code


def kernel_names(code: str) -> list[str]:
    """The names of the `__global__` functions of a source, in order."""
    return KERNEL.findall(LAUNCH_BOUNDS.sub("", written_out(code)))


def launch_bounds(code: str) -> dict[str, int]:
    """The most threads of a block that each kernel is compiled for, where it says so."""
    return {name: int(n) for n, name in BOUNDED.findall(written_out(code))}


def build(code: str, name: str, defines: tuple[str, ...], variant: str) -> Library:
    """The library of the CUDA source `code`; `name` stands in its messages."""
    kernels = kernel_names(code)
    if not kernels:
        raise ValueError(f"{name} has no __global__ function")
    dynamic = set(DYNAMIC_SHARED.findall(strip_comments(code)))
    if len(dynamic) > 1:
        raise ValueError(f"{name}: one extern __shared__ array a file, found {sorted(dynamic)}")

    files = {"kernels.cpp": _kernels_file(code, name, kernels), "tail.cpp": _tail_file(dynamic)}
    flags = f"{COMMON} {VARIANTS[variant]} {WARNINGS} {shlex.join(defines)}"
    key = digest(flags, *files.values(), *_runtime_texts(), _compiler())
    library = cache_folder() / f"{Path(name).stem}-{variant}-{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            _compile(Path(folder), files, flags, defines, library)
    return _load(library)


def _kernels_file(code: str, name: str, kernels: list[str]) -> str:
    """The source itself, then the table through which its kernels are called."""
    table = "".join(f"  CUDA_CPU_KERNEL({k}),\n" for k in kernels)
    return (
        f'#include "cuda.h"\n#line 1 "{name}"\n{code}\n'
        f'#line 1 "table of {name}"\n#include "table.h"\n'
        'extern "C" {\n'
        "extern const KernelEntry cuda_cpu_kernels[];\n"
        f"const KernelEntry cuda_cpu_kernels[] = {{\n{table}  {{0, 0, 0}}}};\n}}\n"
    )


def _tail_file(dynamic: set[tuple[str, str]]) -> str:
    """Storage for the dynamic shared array, if there is one."""
    text, address = "static thread_local volatile char touched;\n", "nullptr"
    for type_, name in dynamic:
        text += (
            f"alignas(16) thread_local {type_} {name}[{MOST_SHARED_TOGETHER} / sizeof({type_})];\n"
        )
        address = f"(void*){name}"
    return text + (
        'extern "C" void* cuda_cpu_dynamic_shared() {\n'
        f"  touched = 1;  // thread-local storage exists from its first use on\n"
        f"  return {address};\n}}\n"
    )


def _compile(
    folder: Path, files: dict[str, str], flags: str, defines: tuple[str, ...], library: Path
) -> None:
    for file, text in files.items():
        (folder / file).write_text(text)
    quote = f"-iquote {shlex.quote(str(RUNTIME))}"
    _run(f"g++ {flags} {quote} -c kernels.cpp -o kernels.o", folder)
    _run(f"g++ {COMMON} -O1 {shlex.join(defines)} -c tail.cpp -o tail.o", folder)
    runtime = " ".join(shlex.quote(str(_runtime_object(part))) for part in PARTS)
    _run(f"g++ -shared -Wl,-z,defs -Wl,-Bsymbolic -o module.so kernels.o tail.o {runtime}", folder)
    # Two processes may build the same library: each renames a whole file into place.
    (folder / "module.so").replace(library)


@cache
def _runtime_object(part: str) -> Path:
    """A part of the run-time as an object file; it is the same for every module."""
    flags = f"{COMMON} -O2 -Wall"
    path = cache_folder() / f"{part}-{digest(flags, *_runtime_texts(), _compiler())}.o"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            source = shlex.quote(str(RUNTIME / f"{part}.cpp"))
            _run(f"g++ {flags} -c {source} -o part.o", Path(folder))
            (Path(folder) / "part.o").replace(path)
    return path


@cache
def _load(library: Path) -> Library:
    # PyDLL: the run-time has one state, so no two threads of Python may be in it at once.
    return Library(library, ctypes.PyDLL(str(library)), tuple(_shared_variables(library)))


def _shared_variables(library: Path) -> list[SharedVariable]:
    """Every thread-local variable of the library, from its symbol table."""
    found = []
    for line in _run(f"readelf --syms --wide --demangle {library}", library.parent).splitlines():
        fields = line.split()
        if len(fields) > 7 and fields[3] == "TLS" and int(fields[2], 0):
            name = " ".join(fields[7:]).split("::")[-1]
            found.append(SharedVariable(int(fields[1], 16), int(fields[2], 0), name))
    return sorted({v for v in found if v.name != "touched"})


@cache
def _runtime_texts() -> tuple[str, ...]:
    return tuple(path.read_text() for path in sorted(RUNTIME.iterdir()))


@cache
def _compiler() -> str:
    return _run("g++ --version", Path.cwd())


@cache
def cache_folder() -> Path:
    """Outside the repository, one for each user: `$NNX_HARNESS_CACHE` or the temporary folder."""
    default = Path(tempfile.gettempdir()) / f"nnx-cuda-cpu-{os.getuid()}"
    folder = Path(os.environ.get("NNX_HARNESS_CACHE", default))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to someone else; set NNX_HARNESS_CACHE")
    return folder


def write_whole(path: Path, text: str) -> None:
    """Write a file such that no other process ever reads half of it."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _run(command: str, folder: Path) -> str:
    done = subprocess.run(
        shlex.split(command), cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command}\n{done.stderr}")
    return done.stdout
