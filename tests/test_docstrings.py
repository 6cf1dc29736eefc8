"""What every public docstring says, held by reading them; there is no list of exceptions.

Of each name in a room's `__all__`, and of each public method of its classes:

- a first line that ends as a sentence does;
- every argument by its name, in `Args:` or, where a formula or a sentence says enough, in that;
- where a tensor or an array comes back, its shape: in words, or written out as (N, C);
- under `Raises:` every error that it raises itself, or that a check which it calls raises for it (a
  function called check..., require... or matching).

A class's docstring speaks for its `__init__`.  A method without a docstring has the one of the
method that it overrides, and its class's beside it: that is where a layer's formula stands.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from importlib import import_module

import pytest

import nnx

ROOMS = (
    "ops nn nn.init nn.utils optim optim.lr_scheduler train metrics linear_model data datasets io "
    "text plots parallel random"
).split()

CHECK = re.compile(r"_?(check|require|matching)")
SHAPE = re.compile(
    r"\bshapes?\b|elementwise|->|scalar|\b(one|a) number\b|\baxis\b|\baxes\b|0-d"
    r"|\((?:\*?\w+(?:\[[^\]]*\])?|\.\.\.)?(?:, ?(?:\*?\w[\w*/+-]*|\.\.\.))*,?\)"
)


def everything(room):
    """(name, object, class or None) of all public callables of a room, each class once."""
    module = import_module(f"nnx.{room}")
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.ismodule(thing) or not getattr(thing, "__module__", "").startswith("nnx"):
            continue
        if inspect.isclass(thing):
            yield f"{room}.{name}", thing, None
            for key, member in vars(thing).items():
                function = getattr(member, "__func__", member)
                if not key.startswith("_") and inspect.isfunction(function):
                    yield f"{room}.{name}.{key}", function, thing
        elif callable(thing):
            yield f"{room}.{name}", thing, None


def said(thing, owner):
    """The text that speaks for a callable."""
    if owner is None or thing.__doc__:
        return inspect.cleandoc(thing.__doc__ or "")
    inherited = inspect.getdoc(getattr(owner, thing.__name__)) or ""
    return f"{inherited}\n{inspect.getdoc(owner) or ''}"


def arguments(thing):
    function = thing.__init__ if inspect.isclass(thing) else thing
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:  # of a class made in C
        return []
    return [n for n in names if n not in ("self", "cls", "args", "kwargs") and n[0] != "_"]


@functools.cache
def body(function):
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    except (OSError, TypeError):  # an `__init__` that a dataclass made
        return None
    return ast.parse(source).body[0]


def raised(function, deeper=True):
    """The names of the errors that a function raises: itself, and by its checks."""
    tree = body(function)
    if tree is None:
        return set()
    found = set()
    caught = {n for h in ast.walk(tree) if isinstance(h, ast.ExceptHandler) for n in ast.walk(h)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = getattr(node.exc.func, "id", None)
            if name and name.endswith(("Error", "Exception")) and name != "NotImplementedError":
                found.add(name)
        elif deeper and isinstance(node, ast.Call) and node not in caught:
            name = getattr(node.func, "id", "")
            helper = inspect.unwrap(function).__globals__.get(name)
            if CHECK.match(name) and inspect.isfunction(helper):
                found |= raised(helper, deeper=False)
    return found


def faults(thing, owner):
    text = said(thing, owner)
    if not text.strip():
        return ["says nothing"]
    found = []
    if not re.search(r"[.:?)]$", text.split("\n\n")[0].strip()):
        found.append("its first sentence has no end")
    for name in arguments(thing):
        if not re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text):
            found.append(f"does not explain {name}")
    function = thing.__init__ if inspect.isclass(thing) else thing
    if not inspect.isclass(thing):
        returned = str(inspect.signature(thing).return_annotation)
        if re.search(r"\b(Tensor|Array|ndarray)\b", returned) and not SHAPE.search(text):
            found.append("does not say which shape comes back")
    if inspect.isfunction(function) and function.__module__.startswith(("nnx", __name__)):
        listed = re.split(r"^ *Raises[^\n]*:$", text, maxsplit=1, flags=re.M)[1:]
        found += [f"does not list {e}" for e in sorted(raised(function)) if e not in str(listed)]
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_public_is_explained(room):
    seen = {name: faults(thing, owner) for name, thing, owner in everything(room)}
    assert seen
    wrong = [f"{name} {fault}" for name, found in seen.items() for fault in found]
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_rule_finds_what_is_missing():
    """Each of its clauses, on a function that breaks it."""

    def nothing(x):
        pass

    def silent(x, width) -> nnx.Tensor:
        """The x"""
        if width < 0:
            raise ValueError("silent: width must not be negative")

    assert faults(nothing, None) == ["says nothing"]
    assert faults(silent, None) == [
        "its first sentence has no end",
        "does not explain width",
        "does not say which shape comes back",
        "does not list ValueError",
    ]
