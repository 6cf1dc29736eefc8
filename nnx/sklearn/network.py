"""What both estimators share: the network, and how it is trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from .. import nn, optim
from ..autograd import no_grad
from ..backends import Array, backend_of, copy_beside, dtype_name, use_backend
from ..data import train_test_split
from ..linear_model import checks
from ..linear_model.descent import generator_of
from ..linear_model.estimator import Estimator, warn
from ..nn import Module, init
from ..random import Generator, default_generator, use_generator
from ..tensor import Tensor

ACTIVATIONS: dict[str, Callable[[], Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "identity": nn.Identity,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
_ROWS = 10_000  # predicted at once
_FULL = 200  # a batch of "auto", as in scikit-learn


class Network(Estimator):
    """A network and how it learns; the classes made of it say from what, and towards what."""

    module: Any
    hidden_layer_sizes: Any
    activation: str
    solver: Any
    alpha: float
    batch_size: Any
    learning_rate_init: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    warm_start: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    standardize: bool | str

    module_: Module
    optimizer_: Any
    loss_curve_: list[float]
    validation_scores_: list[float]
    mean_: Array | None
    scale_: Array | None
    loss_: float
    n_iter_: int
    _generator: Generator

    # ---- what the two kinds differ in ----

    def _losses(self, scores: Tensor, targets: Tensor) -> Tensor:
        """The loss of each row, (n,), of scores (n, k)."""
        raise NotImplementedError

    def _goodness(self, scores: Array, targets: Array, weights: Array | None) -> float:
        """How good scores (n, k) are, for early stopping: accuracy, or R²."""
        raise NotImplementedError

    # ---- fitting ----

    def _check_options(self) -> None:
        """Refuse arguments that make no sense.

        Raises:
            ValueError: one of them is not among what is allowed; the message names it.
        """
        self.require(activation=tuple(ACTIVATIONS))
        self.require_number(alpha=0, max_iter=1, tol=0, n_iter_no_change=1)
        name = type(self).__name__
        for option in ("learning_rate_init", "validation_fraction"):
            value = getattr(self, option)
            if not (isinstance(value, int | float | np.number) and value > 0):
                raise ValueError(f"{name}: {option} must be a number above 0, got {value!r}")
        if not self.validation_fraction < 1:
            raise ValueError(
                f"{name}: validation_fraction must be below 1, got {self.validation_fraction!r}"
            )
        if not (self.solver in ("adam", "sgd") or callable(self.solver)):
            raise ValueError(
                f"{name}: solver must be 'adam', 'sgd' or a function that makes an optimizer of "
                f"parameters, got {self.solver!r}"
            )
        size = self.batch_size
        if size != "auto" and not (isinstance(size, int | np.integer) and size >= 1):
            raise ValueError(f"{name}: batch_size must be 'auto' or at least 1, got {size!r}")
        self.require(standardize=(True, False, "auto"))
        if self.module is None:
            sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes))
            if sizes.ndim != 1 or (
                sizes.size and (sizes.dtype.kind not in "iu" or sizes.min() < 1)
            ):
                raise ValueError(
                    f"{name}: hidden_layer_sizes must be whole numbers above 0, "
                    f"got {self.hidden_layer_sizes!r}"
                )

    def _weights(self, sample_weight: Any, X: Array) -> Array | None:
        """The samples' weights (n,) beside X, or None.

        Raises:
            ValueError: they are not (n,), not finite, below 0, or all 0.
        """
        if sample_weight is None:
            return None
        name = type(self).__name__
        if isinstance(sample_weight, int | float):
            sample_weight = np.full(X.shape[0], float(sample_weight))
        weights = checks.numbers(sample_weight, X, name)
        if weights.ndim != 1:
            raise ValueError(
                f"{name}: Sample weights must be 1D array or scalar, got shape {weights.shape}"
            )
        xp = backend_of(weights).xp
        if bool(xp.any(weights < 0)) or not bool(xp.any(weights > 0)):
            raise ValueError(
                f"{name}: each sample_weight must be at least 0, and not all of them zero"
            )
        return weights

    def _standardized(self, X: Array) -> Array:
        """X (n, p) less `mean_`, divided by `scale_`."""
        if self.mean_ is None:
            return X
        return (X - self.mean_) / self.scale_

    def _beside(
        self, X: Array, targets: Array, weights: Array | None
    ) -> tuple[Array, Array, Array | None]:
        """Samples where the network is, which earlier ones may have decided, standardized."""
        like = next((p.data for p in self.module_.parameters()), X)
        home = backend_of(like)
        if backend_of(X) is not home or X.device != like.device or X.dtype != like.dtype:
            X = checks.moved(X, like)
            weights = None if weights is None else checks.moved(weights, like)
            is_class = not backend_of(targets).is_float(targets.dtype)
            targets = checks.moved(targets, like, keep_dtype=is_class)
        return self._standardized(X), targets, weights

    def _measure(self, X: Array, weights: Array | None) -> None:
        """Note the features' means and standard deviations, 1 of those that do not vary."""
        auto = self.module is None if self.standardize == "auto" else self.standardize
        self.mean_ = self.scale_ = None
        if not auto:
            return
        xp = backend_of(X).xp
        w = None if weights is None else xp.expand_dims(weights, axis=1) / xp.sum(weights)

        def mean(x: Array) -> Array:
            return xp.mean(x, axis=0) if w is None else xp.sum(w * x, axis=0)

        self.mean_ = mean(X)
        scale = xp.sqrt(mean((X - self.mean_) ** 2))
        # What varies by rounding alone does not vary.
        least = 10 * float(xp.finfo(X.dtype).eps) * xp.abs(self.mean_)
        self.scale_ = xp.where(scale > least, scale, xp.ones_like(scale))

    def _start(self, X: Array, weights: Array | None, outputs: int, generator: Generator) -> None:
        """A new network beside X, and its optimizer."""
        self._measure(X, weights)
        with use_backend(backend_of(X)), use_generator(generator):
            made = self._new_module(X.shape[1], outputs)
        for parameter in made.parameters():
            parameter.data = copy_beside(X, parameter.data)
        for module in made.modules():
            for name in module._buffers:
                array = getattr(module, name)
                if array is not None:
                    is_float = dtype_name(array.dtype).startswith("float")
                    setattr(module, name, checks.moved(array, X, keep_dtype=not is_float))
        self.module_ = made
        parameters = list(made.parameters())
        if callable(self.solver):
            self.optimizer_ = self.solver(parameters)
        elif self.solver == "adam":
            self.optimizer_ = optim.Adam(parameters, lr=self.learning_rate_init)
        else:
            lr = self.learning_rate_init
            self.optimizer_ = optim.SGD(parameters, lr=lr, momentum=0.9, nesterov=True)
        self.loss_curve_, self.validation_scores_ = [], []
        self.n_iter_ = 0
        self.best_loss_ = math.inf

    def _new_module(self, features: int, outputs: int) -> Module:
        if isinstance(self.module, Module):
            return copy.deepcopy(self.module)
        if self.module is not None:
            made = self.module(features, outputs)
            if not isinstance(made, Module):
                raise TypeError(
                    f"{type(self).__name__}: module must be a Module, or a function of the numbers "
                    f"of features and outputs that makes one; it made {type(made).__name__}"
                )
            return made
        layers: list[Module] = []
        sizes = [features, *np.atleast_1d(self.hidden_layer_sizes).tolist(), outputs]
        for a, b in pairwise(sizes):
            dense = nn.Linear(int(a), int(b))
            bound = math.sqrt((2 if self.activation == "logistic" else 6) / (a + b))
            init.uniform_(dense.weight, -bound, bound)
            if dense.bias is not None:
                init.uniform_(dense.bias, -bound, bound)
            layers += [dense, ACTIVATIONS[self.activation]()]
        return nn.Sequential(*layers[:-1])

    def _train(
        self, X: Array, targets: Array, weights: Array | None, stratify: Any, generator: Generator
    ) -> None:
        """Train until it stops getting better, or for `max_iter` epochs."""
        X, targets, weights = self._beside(X, targets, weights)
        held = None
        if self.early_stopping:
            X, targets, weights, held = self._apart(X, targets, weights, stratify, generator)
        best, unchanged, kept = -math.inf, 0, None
        with use_generator(generator):
            for _ in range(int(self.max_iter)):
                loss = self._epoch(X, targets, weights, generator)
                if not math.isfinite(loss):
                    warn(f"{type(self).__name__}: the loss became {loss}: a smaller rate may help")
                    break
                if held is None:
                    good = -loss
                else:
                    self.module_.eval()
                    good = self._goodness(self._run(held[0]), *held[1:])
                    self.validation_scores_.append(good)
                unchanged = 0 if good > best + self.tol else unchanged + 1
                if good > best:
                    best = good
                    if held is not None:
                        state = self.module_.state_dict()
                        kept = {name: np.array(checks.host(v)) for name, v in state.items()}
                if unchanged > self.n_iter_no_change:
                    break
            else:
                if unchanged <= self.n_iter_no_change:
                    warn(
                        f"{type(self).__name__}: after max_iter={self.max_iter} epochs the "
                        f"{'score' if held else 'loss'} still changed by more than tol={self.tol}"
                    )
        if kept is not None:
            self.module_.load_state_dict(kept)
            self.best_validation_score_ = best
        self.module_.eval()

    def _train_once(
        self, X: Array, targets: Array, weights: Array | None, generator: Generator
    ) -> None:
        """One epoch, for `partial_fit`."""
        X, targets, weights = self._beside(X, targets, weights)
        with use_generator(generator):
            self._epoch(X, targets, weights, generator)
        self.module_.eval()

    def _apart(
        self, X: Array, targets: Array, weights: Array | None, stratify: Any, generator: Generator
    ) -> tuple[Array, Array, Array | None, tuple[Array, Array, Array | None]]:
        """The rows to learn from, and those to look at."""
        learn, look = train_test_split(
            np.arange(X.shape[0]),
            test=float(self.validation_fraction),
            stratify=stratify,
            generator=generator,
        )
        parts = []
        for rows in (learn, look):
            at = _rows(rows, X)
            take = backend_of(X).xp.take
            w = None if weights is None else take(weights, at, axis=0)
            parts.append((take(X, at, axis=0), take(targets, at, axis=0), w))
        return (*parts[0], parts[1])

    def _epoch(
        self, X: Array, targets: Array, weights: Array | None, generator: Generator
    ) -> float:
        """Learn once from all samples; the mean loss of a sample, with the penalty."""
        xp = backend_of(X).xp
        n = X.shape[0]
        size = min(_FULL, n) if self.batch_size == "auto" else min(int(self.batch_size), n)
        whole = size == n
        order = None
        if self.shuffle and not whole:
            order = generator.host_permutation(n)
        penalised = [p for p in self.module_.parameters() if p.ndim > 1] if self.alpha else []
        self.module_.train()
        lost: Any = None
        counted: Any = 0.0
        for k in range(0, n, size):
            x, t, w = X, targets, weights
            if not whole:
                rows = np.arange(k, min(k + size, n)) if order is None else order[k : k + size]
                at = _rows(rows, X)
                x, t = xp.take(X, at, axis=0), xp.take(targets, at, axis=0)
                w = None if weights is None else xp.take(weights, at, axis=0)
            losses = self._losses(self._outputs(x), Tensor(t))
            total: Any = x.shape[0] if w is None else float(xp.sum(w))
            if not total:
                continue
            loss = (losses.sum() if w is None else (losses * Tensor(w)).sum()) / total
            self.optimizer_.zero_grad()
            loss.backward()
            value = loss.data
            for p in penalised:  # ½ α |W|² for a batch
                if p.grad is not None:
                    p.grad = p.grad + (self.alpha / total) * p.data
                value = value + (0.5 * self.alpha / total) * xp.sum(p.data * p.data)
            self.optimizer_.step()
            lost = value * total if lost is None else lost + value * total
            counted += total
        self.loss_ = float(lost) / counted
        self.best_loss_ = min(self.best_loss_, self.loss_)
        self.loss_curve_.append(self.loss_)
        self.n_iter_ += 1
        return self.loss_

    def _outputs(self, x: Array) -> Tensor:
        """The module's output for x, as (n, k)."""
        y = self.module_(Tensor(x))
        if not isinstance(y, Tensor) or y.shape[:1] != x.shape[:1] or y.ndim > 2:
            shape = y.shape if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(
                f"{type(self).__name__}: the module must give (n, outputs), a row for each sample; "
                f"for X of shape {tuple(x.shape)} it gave {shape}"
            )
        return y if y.ndim == 2 else y.reshape((y.shape[0], 1))

    # ---- predicting ----

    def _scores(self, X: Array) -> Array:
        """What the network gives for X (n, p): (n, k), in X's library and dtype, on its device."""
        like = next((p.data for p in self.module_.parameters()), X)
        away = backend_of(X) is not backend_of(like) or X.device != like.device
        x = checks.moved(X, like) if away else X
        if x.dtype != like.dtype:
            x = backend_of(x).xp.astype(x, like.dtype)
        y = self._run(self._standardized(x))
        if away:
            return checks.moved(y, X)
        return y if y.dtype == X.dtype else backend_of(y).xp.astype(y, X.dtype)

    def _run(self, x: Array) -> Array:
        """The network's scores (n, k) for standardized features, a part of the rows at a time."""
        parts = []
        with no_grad():
            for k in range(0, x.shape[0], _ROWS):
                parts.append(self._outputs(x[k : min(k + _ROWS, x.shape[0]), :]).data)
        return parts[0] if len(parts) == 1 else backend_of(x).xp.concat(parts, axis=0)

    def _goes_on(self) -> bool:
        """Whether `fit` goes on with the network there is."""
        return self.warm_start and hasattr(self, "module_")

    def _begin(self, X: Array, weights: Array | None, outputs: int, again: bool) -> Generator:
        """The generator of this fit, and a network to go on with; a new one unless `again`."""
        if again and hasattr(self, "module_"):
            return self._generator
        self._generator = _generator(self.random_state)
        self._start(X, weights, outputs, self._generator)
        return self._generator


def _generator(random_state: Any) -> Generator:
    """Also for NumPy's generators, which scikit-learn's own functions take."""
    if isinstance(random_state, np.random.RandomState):
        return Generator(int(random_state.randint(2**31)))
    if isinstance(random_state, np.random.Generator):
        return Generator(int(random_state.integers(2**31)))
    if random_state is None:
        return Generator(int(default_generator().host_integers(2**31)))
    return generator_of(random_state)


def _rows(rows: np.ndarray, X: Array) -> Array:
    """Numbers of rows as an array beside X."""
    home = backend_of(X)
    return home.xp.asarray(home.from_numpy(np.asarray(rows, np.intp)), device=X.device)


def counting(weights: Array | None, *arrays: Array) -> tuple[Any, ...]:
    """Weights and arrays without the rows that weigh nothing."""
    if weights is None:
        return (None, *arrays)
    kept = checks.host(weights) > 0
    if kept.all():
        return (weights, *arrays)
    at = _rows(np.flatnonzero(kept), weights)
    return tuple(backend_of(a).xp.take(a, at, axis=0) for a in (weights, *arrays))
