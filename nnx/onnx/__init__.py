"""ONNX: models written as files that other runtimes read, and such files read as modules.

    nnx.onnx.export(model, x, "model.onnx")
    model = nnx.onnx.load("model.onnx")

`docs/onnx.md` shows both.  The package onnx is imported when one of them is called.
"""

from .export import export
from .loading.graph import Graph
from .loading.load import load
from .loading.node import LoadError
from .recording.source import ExportError

__all__ = ["ExportError", "Graph", "LoadError", "export", "load"]
