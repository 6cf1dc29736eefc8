"""NumPy is the only compiled package that training, saving and loading need."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib.machinery, sys, sysconfig

folder = sys.argv[1]
COMPILED = ("safetensors scipy PIL numba llvmlite matplotlib torch cupy h5py onnx sklearn pandas "
            "ml_dtypes array_api_strict").split()


class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in COMPILED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hidden)
import numpy as np
import nnx
from nnx import nn

run = nnx.recipes.train("digits", epochs=3, out=folder, progress=False)
assert run.result["accuracy"] > 0.8, run.result
images = nnx.datasets.load_digits().test
labels = run.predict(images.scaled()).numpy().argmax(axis=1)
assert abs(np.mean(labels == images.labels) - run.result["accuracy"]) < 1e-6

model = nn.Sequential(nn.Linear(4, 3), nn.LSTM(3, 2, batch_first=True))
nnx.save(model, f"{folder}/a.safetensors", dtype="bfloat16")
nnx.load(f"{folder}/a.safetensors", model, verify=True)
nnx.save(model, f"{folder}/a.npz")
nnx.load(f"{folder}/a.npz", model)

standard = sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")
for name, module in list(sys.modules.items()):
    file = getattr(module, "__file__", None) or ""
    if file.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
        own = file.startswith(standard) and "site-packages" not in file
        assert own or name.startswith("numpy."), f"{name} is compiled: {file}"
print("trained")
"""


def test_a_network_is_trained_saved_and_loaded(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("trained\n")
