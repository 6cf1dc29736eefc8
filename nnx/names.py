"""Names that people bring from PyTorch and NumPy, and what they are called here.

An attribute, a function or an argument that is not there is an error in any case; what is added is
the name that was meant.  `nnx/ops` has the operations, by the array API's names.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from types import ModuleType
from typing import Any, TypeVar

__all__ = [
    *["ARGUMENTS", "FUNCTIONS", "METHODS", "MODULE_NAMES", "PLACES"],
    *["Absent", "Count", "answers", "arguments_of", "meant", "module_has_not", "names_ours"],
    *["present", "put_absent", "refuse_arguments", "refuse_theirs", "room_has_not", "say_ours"],
]

F = TypeVar("F", bound=Callable[..., Any])

_TOLD: set[Callable[..., Any]] = set()  # what `say_ours` made

# A method -> what is written instead.
METHODS = {
    "bfloat16": 'x.astype("bfloat16")',
    "bool": 'x.astype("bool")',
    "clone": "nnx.asarray(x, copy=True), or x itself: operations never change it",
    "contiguous": "x itself: its layout is the array's",
    "copy": "nnx.asarray(x, copy=True), or x itself: operations never change it",
    "cpu": 'x.to("numpy")',
    "cuda": 'x.to("cupy")',
    "data_ptr": "x.data, the array",
    "dim": "x.ndim",
    "double": 'x.astype("float64")',
    "element_size": "x.data.itemsize",
    "expand": "nnx.broadcast_to(x, shape)",
    "expand_as": "nnx.broadcast_to(x, y.shape)",
    "fill_": "x.copy_(value)",
    "flatten": "x.reshape(-1), or nnx.nn.Flatten",
    "float": 'x.astype("float32")',
    "get_device": "x.device",
    "grad_fn": "x.creator",
    "half": 'x.astype("float16")',
    "int": 'x.astype("int32")',
    "is_contiguous": "x.data, the array, which has its layout",
    "is_cuda": "x.device",
    "is_leaf": "x.creator is None",
    "is_floating_point": 'nnx.isdtype(x.dtype, "real floating")',
    "item_size": "x.data.itemsize",
    "long": 'x.astype("int64")',
    "nbytes": "x.data.nbytes",
    "ndimension": "x.ndim",
    "nelement": "x.size",
    "new_full": "nnx.full_like(x, value)",
    "new_ones": "nnx.ones_like(x)",
    "new_tensor": "nnx.asarray(values)",
    "new_zeros": "nnx.zeros_like(x)",
    "numel": "x.size",
    "ravel": "x.reshape(-1)",
    "repeat": "nnx.tile(x, repetitions); nnx.repeat repeats each slice",
    "split": "nnx.split(x, sections, axis), into so many parts or at these places",
    "reshape_as": "x.reshape(y.shape)",
    "resize_": "x.reshape(*shape)",
    "short": 'x.astype("int16")',
    "stride": "x.data, the array, which has its layout",
    "strides": "x.data, the array, which has its layout",
    "t": "x.T",
    "detach_": "x = x.detach()",
    "transpose": "x.mT for the last two axes, x.permute_dims(*axes) for all",
    "swapaxes": "x.mT for the last two axes, x.permute_dims(*axes) for all",
    "swapdims": "x.mT for the last two axes, x.permute_dims(*axes) for all",
    "type": "x.dtype, or x.astype(dtype)",
    "type_as": "x.astype(y.dtype)",
    "view": "x.reshape(*shape)",
    "view_as": "x.reshape(y.shape)",
    "zero_": "x.copy_(0)",
    "normal_": "nnx.nn.init.normal_(x)",
    "uniform_": "nnx.nn.init.uniform_(x)",
}
# PyTorch's (or NumPy's) function -> ours, in `nnx`; with an end "_", the same in place.
FUNCTIONS = {
    "absolute": "abs",
    "amax": "max",
    "amin": "min",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "as_tensor": "asarray",
    "bmm": "matmul",
    "broadcast_tensors": "broadcast_arrays",
    "cat": "concat",
    "chunk": "split",
    "clamp": "clip",
    "clamp_max": "minimum",
    "clamp_min": "maximum",
    "concatenate": "concat",
    "cumprod": "cumulative_prod",
    "cumsum": "cumulative_sum",
    "diag": "diagonal",
    "div": "divide",
    "dot": "vecdot",
    "eq": "equal",
    "from_numpy": "asarray",
    "gather": "take_along_axis",
    "ge": "greater_equal",
    "gt": "greater",
    "hstack": "concat",
    "index_add": "scatter_add",
    "index_select": "take",
    "le": "less_equal",
    "logsigmoid": "log_sigmoid",
    "lt": "less",
    "masked_select": "getitem",
    "mm": "matmul",
    "movedim": "moveaxis",
    "mul": "multiply",
    "mv": "matmul",
    "narrow": "getitem",
    "ne": "not_equal",
    "neg": "negative",
    "outer": "linalg.outer",
    "permute": "permute_dims",
    "power": "pow",
    "repeat_interleave": "repeat",
    "select": "getitem",
    "sub": "subtract",
    "take_along_dim": "take_along_axis",
    "true_divide": "divide",
    "unbind": "unstack",
    "unique": "unique_values",
    "unsqueeze": "expand_dims",
    "vstack": "concat",
    **{name: f"linalg.{name}" for name in (
        "cholesky", "cross", "det", "eigh", "inv", "matrix_power", "pinv", "qr", "slogdet", "solve",
        "svd",
    )},
    "inverse": "linalg.inv",
    "ger": "linalg.outer",
    "argwhere": "nonzero",
    "randint": "random.integers",
    "randperm": "random.permutation",
    "inference_mode": "no_grad",
}  # fmt: skip
# What lies elsewhere, in no room, or is not needed -> what is written instead.
PLACES = {
    "nnx.Generator": "nnx.random.Generator",
    "nnx.allclose": "numpy.allclose(x.numpy(), y.numpy())",
    "nnx.autograd.Variable": "nnx.tensor",
    "nnx.autograd.grad": "nnx.grad",
    "nnx.autograd.gradcheck": "nnx.gradcheck",
    "nnx.bfloat16": '"bfloat16", a dtype by name',
    "nnx.compile": "kernels compile themselves; nnx.capture records a step on a GPU",
    "nnx.cuda": 'nnx.set_backend("cupy")',
    "nnx.data.BatchSampler": "nnx.data.DataLoader(batch_size=)",
    "nnx.data.ConcatDataset": "numpy.concatenate of the arrays, or a data set of one's own",
    "nnx.data.IterableDataset": "any iterable of batches, which nnx.Trainer takes",
    "nnx.data.TensorDataset": "nnx.data.ArrayDataset",
    "nnx.data.WeightedRandomSampler": "a nnx.data.Sampler of one's own",
    "nnx.data.default_collate": "nnx.data.DataLoader stacks by itself",
    "nnx.device": 'nnx.set_backend("cupy"), x.to("cupy")',
    "nnx.double": "nnx.float64",
    "nnx.flatten": "x.reshape(len(x), -1), or nnx.nn.Flatten",
    "nnx.float": "nnx.float32",
    "nnx.float16": '"float16", a dtype by name',
    "nnx.func": "nnx.grad, nnx.hvp, nnx.jacobian",
    "nnx.half": '"float16", a dtype by name',
    "nnx.int": "nnx.int32",
    "nnx.jit": "kernels compile themselves; nnx.capture records a step on a GPU",
    "nnx.long": "nnx.int64",
    "nnx.nn.DataParallel": "nnx.parallel.DataParallel",
    "nnx.nn.parameter": "nnx.nn.Parameter",
    "nnx.nn.utils.parametrize": "nnx.nn.utils.parametrizations",
    "nnx.optim.lr_scheduler._LRScheduler": "nnx.optim.lr_scheduler.LRScheduler",
    "nnx.rand": "nnx.random.uniform(shape), the shape one tuple",
    "nnx.rand_like": "nnx.random.uniform(x.shape)",
    "nnx.randn": "nnx.random.normal(shape), the shape one tuple",
    "nnx.randn_like": "nnx.random.normal(x.shape)",
    "nnx.random.rand": "nnx.random.uniform(shape)",
    "nnx.random.randint": "nnx.random.integers(low, high, shape)",
    "nnx.random.randn": "nnx.random.normal(shape)",
    "nnx.random.randperm": "nnx.random.permutation(n)",
    "nnx.random.seed": "nnx.manual_seed",
    "nnx.random.shuffle": "x[nnx.random.permutation(len(x))]",
    "nnx.set_default_dtype": 'model.to(dtype="float64")',
    "nnx.set_default_device": 'nnx.set_backend("cupy")',
    "nnx.set_grad_enabled": "nnx.no_grad, nnx.enable_grad",
    "nnx.train.LRScheduler": "nnx.train.Schedule",
    "nnx.train.LearningRateScheduler": "nnx.train.Schedule",
    "nnx.train.ModelCheckpoint": "nnx.train.Checkpoint",
    "nnx.utils": "nnx.data for data sets and loaders, nnx.checkpoint for checkpointing",
    "nnx.vmap": "operations take leading axes",
    **{
        f"nnx.nn.utils.{name}":
            'nnx.nn.utils.parametrizations.remove_parametrizations(layer, "weight")'
        for name in ("remove_spectral_norm", "remove_weight_norm")
    },
    **{
        f"nnx.nn.init.{name}": f"nnx.nn.init.{name}_"
        for name in ("constant", "eye", "kaiming_normal", "kaiming_uniform", "normal", "orthogonal",
                     "uniform", "xavier_normal", "xavier_uniform")
    },
    **{
        f"nnx.nn.Lazy{kind}": f"nnx.nn.{kind}, with its sizes, which nnx.summary shows"
        for kind in ("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d",
                     "ConvTranspose3d", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
    },
}  # fmt: skip
# A method of a module -> what an error adds.
MODULE_NAMES = {
    "bfloat16": '; here: model.to("bfloat16")',
    "cpu": '; here: model.to("numpy")',
    "cuda": '; here: model.to("cupy")',
    "half": '; here: model.to("float16")',
    "type": '; here: model.to(dtype="float64")',
}
# An argument -> ours.
ARGUMENTS = {
    "dim": "axis",
    "dims": "axis",
    "axes": "axis",
    "keepdim": "keepdims",
    "input": "x",
    "unbiased": "correction",
    "device": "backend",
}


class Absent:
    """The place of a name that people bring: to ask for it is an AttributeError that says ours.

    A class with `__getattr__` would look for every attribute in a slower way, on Python 3.11.

    Args:
        name: the attribute.
        say: the class's name and the attribute's -> what the error says.
    """

    __slots__ = ("name", "say")

    def __init__(self, name: str, say: Callable[[str, str], str]) -> None:
        self.name, self.say = name, say

    def __get__(self, owner: Any, kind: type) -> Any:
        # Without `obj`: with it Python adds the name of ours that is spelt most like theirs.
        raise AttributeError(self.say(kind.__name__, self.name), name=self.name)


def put_absent(kind: type, names: Iterable[str], say: Callable[[str, str], str]) -> None:
    """Give a class the places of the names that it has not.

    Args:
        kind: the class.
        names: of the attributes.
        say: as in `Absent`.
    """
    held = set(dir(kind))
    for name in names:
        if name not in held:
            setattr(kind, name, Absent(name, say))


def module_has_not(kind: str, name: str) -> str:
    """What an AttributeError for a name of `MODULE_NAMES` says.

    Args:
        kind: the module's class.
        name: the attribute.
    """
    return f"{kind!r} object has no attribute {name!r}{MODULE_NAMES[name]}"


def present(kind: type) -> list[str]:
    """The attributes of a class, and of what it makes, without those that are `Absent`.

    Args:
        kind: the class.
    """
    held = ((name, inspect.getattr_static(kind, name)) for name in dir(kind))
    return [name for name, value in held if not isinstance(value, Absent)]


def meant(kind: str, name: str, functions: Iterable[str], methods: Iterable[str]) -> str:
    """What an AttributeError for a name says: the usual, and what was meant, where that is known.

    Args:
        kind: what has no such attribute, "Tensor".
        name: the attribute.
        functions: the operations that are there.
        methods: and those that are methods.
    """
    text = f"{kind!r} object has no attribute {name!r}"
    if name in METHODS:
        return f"{text}; here: {METHODS[name]}"
    if name.startswith("__"):
        return text
    plain = name.removesuffix("_")
    ours = FUNCTIONS.get(plain, plain)
    if ours == "getitem":
        call = "x[...]"
    elif ours in methods:
        call = f"x.{ours}(...)"
    elif ours in functions or ours.startswith("linalg."):
        call = f"nnx.{ours}(x, ...)"
    else:
        return text
    return f"{text}; here: {call}" if plain == name else f"{text}; here: x = {call}"


def room_has_not(room: str, name: str) -> AttributeError:
    """The error of a room (a module of Python) for a name: the usual, and ours, where it is known.

    Args:
        room: its `__name__`.
        name: the attribute.
    """
    ours = PLACES.get(f"{room}.{name}")
    if ours is None and room in ("nnx", "nnx.functional", "nnx.ops"):
        ours = FUNCTIONS.get(name)
        ours = {None: None, "getitem": "x[...]"}.get(ours, f"nnx.{ours}")
    text = f"module {room!r} has no attribute {name!r}"
    if not ours:
        return AttributeError(text)
    # Without `obj`: with it Python adds the name of ours that is spelt most like theirs.
    return AttributeError(f"{text}; here: {ours}", name=name)


def answers(room: str) -> Callable[[str], Any]:
    """The `__getattr__` of a room that has nothing beyond what is written in it.

    Args:
        room: its `__name__`.
    """

    def __getattr__(name: str) -> Any:
        raise room_has_not(room, name)

    return __getattr__


class Count(int):
    """A number that says what it is where it is called, as `x.size()` is in PyTorch."""

    __slots__ = ()

    def __call__(self, *args: Any) -> Any:
        """Raise TypeError.

        Args:
            args: an axis, in PyTorch.
        """
        axis = f"x.shape[{args[0]!r}]" if args else "x.shape, a tuple"
        raise TypeError(f"x.size is the number of elements, {int(self)}; the shape is {axis}")


def refuse_arguments(function: Any, given: Iterable[str], taken: Iterable[str]) -> None:
    """Look for arguments that have another name here.

    Args:
        function: what was called.
        given: the names of the arguments.
        taken: the names that it takes.

    Raises:
        TypeError: one of them has, and says which.
    """
    for theirs in given:
        ours = ARGUMENTS.get(theirs, theirs)
        if ours in taken and theirs not in taken:
            raise TypeError(
                f"{function.__name__}: the argument is {ours}=, not {theirs}="
            ) from None


def refuse_theirs(kind: Any, known: Any, given: Iterable[str], table: Mapping[str, str]) -> None:
    """Look for arguments of another library's class of this name.

    Args:
        kind: the class that is called.
        known: the class of ours; one derived from it may have arguments of its own.
        given: the names of the arguments.
        table: an argument of theirs -> what is done here.

    Raises:
        TypeError: one of them is in it.
    """
    for name in given if kind.__init__ is known.__init__ else ():
        if name in table:
            raise TypeError(f"{kind.__name__}: there is no argument {name}=; here: {table[name]}")


def arguments_of(function: Any) -> tuple[str, ...]:
    """The names of a function's arguments; `inspect.signature` takes milliseconds for all of ops.

    Args:
        function: written in Python; decorators that say what they wrap are looked through.
    """
    code = inspect.unwrap(function).__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]  # type: ignore[no-any-return]


def names_ours(function: F) -> F:
    """A function that, called with an argument by PyTorch's name, says what it is called here.

    Args:
        function: one that has an argument `axis`, `keepdims` or the like; what it returns, in its
            shape, is returned.
    """
    taken = arguments_of(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError:
            refuse_arguments(function, kwargs, taken)
            raise

    return call  # type: ignore[return-value]


def say_ours(room: ModuleType, names: Iterable[str]) -> None:
    """Let functions that have an `axis` or `keepdims` say so to whoever gives `dim` or `keepdim`.

    Args:
        room: the module that shows them.
        names: theirs; each is changed there and where it is written, which is where pickle looks.
    """
    for name in names:
        function = getattr(room, name)
        if function not in _TOLD and {"axis", "keepdims"}.intersection(arguments_of(function)):
            ours = names_ours(function)
            _TOLD.add(ours)
            for place in (room, sys.modules[function.__module__]):
                setattr(place, name, ours)
