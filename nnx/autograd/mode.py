"""Whether operations record themselves on the tape: `no_grad` and `enable_grad`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from inspect import iscoroutinefunction, isgeneratorfunction
from typing import Any

from ..scoped import Block, Scoped

_recording: Scoped[bool] = Scoped("nnx recording")
blocks = _recording.open  # of both kinds in all threads: where there is none, nobody need ask


def is_grad_enabled() -> bool:
    """Whether operations record themselves on the tape."""
    return _recording.get() is not False


class _Mode(Block[bool]):
    """`with mode():`, or `@mode()` above a function, a generator or a coroutine."""

    __slots__ = ()

    def __call__(self, function: Callable[..., Any]) -> Any:
        mode: Callable[[], _Mode] = type(self)
        if isgeneratorfunction(function):

            @wraps(function)
            def generate(*args: Any, **kwargs: Any) -> Any:
                return _stepwise(mode, function(*args, **kwargs))

            return generate
        if iscoroutinefunction(function):

            @wraps(function)
            async def wait(*args: Any, **kwargs: Any) -> Any:
                with mode():
                    return await function(*args, **kwargs)

            return wait

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with mode():
                return function(*args, **kwargs)

        return call


def _stepwise(mode: Callable[[], _Mode], inner: Generator[Any, Any, Any]) -> Any:
    """A generator that runs in `mode`; whoever takes what it yields does not."""
    step: Callable[[], Any] = inner.__next__
    while True:
        try:
            with mode():
                value = step()
        except StopIteration as end:
            return end.value
        try:
            sent = yield value
            step = (lambda x: lambda: inner.send(x))(sent)
        except GeneratorExit:
            with mode():
                inner.close()
            raise
        except BaseException as error:
            step = (lambda e: lambda: inner.throw(e))(error)


class no_grad(_Mode):
    """Compute without recording a tape, in this thread or asynchronous task."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_recording, False)


class enable_grad(_Mode):
    """Record again, inside `no_grad`."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_recording, True)
