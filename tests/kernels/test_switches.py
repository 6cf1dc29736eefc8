"""A missing tool is a skip on a laptop and a failure in CI."""

from __future__ import annotations

import nvrtc
import pytest
from cuda_cpu import build
from cuda_cpu.available import skip_or_fail

SWITCH = "NNX_REQUIRE_HARNESS"


def test_nothing_is_missing():
    skip_or_fail(None, SWITCH)


def test_skip(monkeypatch):
    monkeypatch.delenv(SWITCH, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no g\\+\\+"):
        skip_or_fail("no g++", SWITCH)


def test_fail(monkeypatch):
    monkeypatch.setenv(SWITCH, "1")
    with pytest.raises(pytest.fail.Exception, match=rf"no g\+\+ \({SWITCH}=1\)"):
        skip_or_fail("no g++", SWITCH)


def test_missing_compiler_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert (
        build.why_unavailable() == "the CPU harness for CUDA kernels needs g++, readelf, addr2line"
    )


def test_missing_nvrtc_is_named(monkeypatch):
    def missing():
        raise OSError("no libnvrtc")

    monkeypatch.setattr(nvrtc, "_library", missing)
    assert "pip install nvidia-cuda-nvrtc" in nvrtc.why_unavailable()
