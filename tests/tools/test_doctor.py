"""`nnx doctor`: one verdict, from the examination that is made here and from made-up ones."""

import importlib.metadata
import subprocess

import pytest

from nnx.parallel.launch import CannotLaunch
from nnx.tools import doctor
from nnx.tools.doctor import NOTE, OK, WRONG, Finding


def test_this_machine_is_well():
    findings = doctor.examine()
    assert [f for f in findings if f.state == WRONG] == []
    names = [f.what for f in findings]
    assert any(n.startswith("gradients on") for n in names)
    assert any(n.startswith("parity of") for n in names)
    assert doctor.verdict(findings).startswith(f"all {len(findings)} checks passed")


def test_a_wrong_finding_is_the_verdict():
    findings = [Finding("a", OK, ""), Finding("b", WRONG, "broken", "mend it")]
    assert doctor.verdict(findings) == "1 of 2 checks failed; first: b"


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    def _boom():
        raise OSError("no such thing")
        yield

    monkeypatch.setattr(doctor, "_blas", _boom)
    broken = [f for f in doctor.examine() if f.state == WRONG]
    assert [(f.what, f.detail) for f in broken] == [("boom", "OSError: no such thing")]


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        ((3.0, 2, "Open MPI v4.1.4", "mpiexec 4.1.4"), OK, "two processes add up: Open MPI v4.1.4"),
        ((1.0, 1, "MPICH 4.2", "mpiexec 4.1.4"), WRONG, "do not match"),
        ((2.0, 2, "Open MPI v4.1.4", "mpiexec 4.1.4"), WRONG, "added 1 and 2 to 2.0"),
        (CannotLaunch("there is no mpiexec: install it"), NOTE, "there is no mpiexec"),
        (subprocess.TimeoutExpired("mpiexec", 30), WRONG, "did not start"),
    ],
)
def test_mpi(monkeypatch, found, state, words):
    def two_ranks():
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(doctor.launch, "two_ranks", two_ranks)
    (finding,) = doctor._mpi()
    assert finding.state == state and words in finding.detail


def pretend(monkeypatch, wheels, cuda):
    def version(name):
        if name in wheels:
            return "14.0.0"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    monkeypatch.setattr(doctor, "_driver_cuda", lambda: cuda)
    (finding,) = doctor._cupy_wheels()
    return finding


@pytest.mark.parametrize(
    "wheels, cuda, state, words",
    [
        ([], None, NOTE, "none installed"),
        ([], 13000, NOTE, "driver for CUDA 13 is here"),
        (["cupy-cuda12x"], 12040, OK, "cupy-cuda12x 14.0.0"),
        (["cupy-cuda12x"], 13000, OK, "cupy-cuda12x 14.0.0"),
        (["cupy-cuda13x"], 12040, WRONG, "needs a newer driver"),
        (["cupy-cuda12x", "cupy-cuda13x"], 13000, WRONG, "2 at once"),
    ],
)
def test_wheels_and_driver(monkeypatch, wheels, cuda, state, words):
    finding = pretend(monkeypatch, wheels, cuda)
    assert finding.state == state and words in finding.detail


def test_the_remedy_names_the_wheel_to_install(monkeypatch):
    assert "pip install cupy-cuda13x" in pretend(monkeypatch, [], 13000).remedy
    assert "pip install cupy-cuda12x" in pretend(monkeypatch, [], 12040).remedy
    both = pretend(monkeypatch, ["cupy-cuda12x", "cupy-cuda13x"], 12040).remedy
    assert both.startswith("pip uninstall") and both.endswith("pip install cupy-cuda12x")


def test_a_wrong_gradient_is_noticed(monkeypatch):
    from nnx.backends.portable.linear import LinearKernels

    for cls in [*type(doctor.active_backend()).__mro__]:
        if "linear_backward" in vars(cls) and cls is not LinearKernels:
            plain = cls.linear_backward

            def wrong(self, gy, x, weight, needs, plain=plain):
                gx, gw, gb = plain(self, gy, x, weight, needs)
                return gx, (None if gw is None else gw * 1.01), gb

            monkeypatch.setattr(cls, "linear_backward", wrong)
            break
    (finding,) = doctor._gradients()
    assert finding.state == WRONG
