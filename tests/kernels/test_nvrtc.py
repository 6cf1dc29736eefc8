"""Every kernel compiles for a GPU: with NVRTC, with the options that CuPy gives it, no device."""

from __future__ import annotations

import nvrtc
import pytest
from cuda_cpu.available import skip_or_fail
from cuda_cpu.build import launch_bounds

import nnx.backends.cuda  # noqa: F401  (fills the registry)
from nnx.backends.cuda.launcher import REGISTRY
from nnx.backends.cuda.sources import kernel_folder, read_source, text_of

ARCHITECTURES = (75, 80, 90)  # Turing, Ampere, Hopper

REGISTERS = 65536  # of a multiprocessor: what its largest block may have together
MOST_STATIC_SHARED = 48 * 1024

SOURCES = sorted(path.name for path in kernel_folder().glob("*.cu"))


@pytest.fixture(autouse=True)
def needs_nvrtc():
    skip_or_fail(nvrtc.why_unavailable(), "NNX_REQUIRE_HARNESS")


def option_sets(source: str) -> list[tuple[str, ...]]:
    """Every set of options that a launch of this source may ask for."""
    kernels = [k for k in REGISTRY.values() if k.source == source]
    return sorted({k.options(real, c) for k in kernels for real, c in k.variants()})


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("source", SOURCES)
def test_every_kernel_compiles(source, arch):
    options = option_sets(source)
    assert options, f"{source} has no kernel in the registry"
    threads = launch_bounds(read_source(source))
    for given in options:
        for name, usage in nvrtc.compile(text_of(source, given), given, arch).items():
            what = f"{name} of {source} with {' '.join(given)} for sm_{arch}: {usage}"
            assert usage.spills == 0 and usage.stack == 0, what
            assert usage.registers * threads[name] <= REGISTERS, what
            assert usage.shared <= MOST_STATIC_SHARED, what


@pytest.mark.parametrize("source", SOURCES)
def test_float_kernels_do_not_compute_in_double(source):
    """A constant without `f` or REAL, or a function without a float form, would show here."""
    for given in option_sets(source):
        if "-DREAL=float" in given:
            lines = nvrtc.ptx(text_of(source, given), given, 80).splitlines()
            found = [line.strip() for line in lines if ".f64" in line]
            assert not found, f"{source} with {' '.join(given)}: {found[:3]}"


def test_double_is_seen():
    code = 'extern "C" __global__ void k(float* y) { y[0] = y[1] * 0.1; }'
    assert ".f64" in nvrtc.ptx(code, (), 80)


def test_cupy_adds_the_options_that_are_tested(monkeypatch):
    """CuPy is asked, up to the point where it would call NVRTC."""
    pytest.importorskip("cupy", minversion="14")  # what is private there may change
    from cupy._core import core
    from cupy.cuda import compiler

    asked = []

    class Program:
        def __init__(self, *args, **kwargs):
            pass

        def compile(self, options=(), log_stream=None):
            asked.append(options)
            return b"//", {}

    class Module:
        load = _set_mapping = lambda self, *args: None

    class NoCache:
        load = save = lambda self, *args: None

    monkeypatch.setattr(compiler, "_NVRTCProgram", Program)
    monkeypatch.setattr(compiler.function, "Module", Module)
    monkeypatch.setattr(compiler, "_kernel_cache_backend", NoCache())
    monkeypatch.setattr(
        compiler, "_get_arch_for_options_for_nvrtc", lambda arch=None: (f"-arch=sm_{arch}", "cubin")
    )
    ours = ("--std=c++17", "-DREAL=float")
    compiler._compile_module_with_cache("", core.assemble_cupy_compiler_options(ours), arch="90")
    options = [o for o in asked[-1] if not o.startswith("-I")]
    assert options == [*ours, *(o.format(arch=90) for o in nvrtc.CUPY_ADDS)]


@pytest.mark.parametrize(
    "code,message",
    [
        ("__global__ void k(REAL* y) { y[0] = INFINITY; }", "INFINITY"),
        ("#include <cstdint>\n__global__ void k(REAL* y) { }", "cstdint"),
        ("__global__ void k(int64_t* y) { }", "int64_t"),
    ],
)
def test_nvrtc_is_the_judge(code, message):
    """What nvcc would take and NVRTC does not is found out here."""
    with pytest.raises(nvrtc.Refused, match=message):
        nvrtc.compile(f'extern "C" {code}' if "#" not in code else code, ("-DREAL=float",), 80)


def test_spills_are_seen():
    """A canary for the figures: a kernel that must spill is reported to."""
    code = """extern "C" __global__ void __launch_bounds__(1024) k(const float* x, float* y) {
        float a[128];
        for (int i = 0; i < 128; ++i) a[i] = x[i * 1024 + threadIdx.x];
        __syncthreads();
        for (int r = 0; r < 8; ++r)
            #pragma unroll
            for (int i = 0; i < 128; ++i) a[i] = a[i] * a[(i * 7 + 1) % 128] + a[(i * 5 + 3) % 128];
        for (int i = 0; i < 128; ++i) y[i * 1024 + threadIdx.x] = a[i];
    }"""
    usage = nvrtc.compile(code, (), 80)["k"]
    assert usage.spills > 0 or usage.stack > 0
