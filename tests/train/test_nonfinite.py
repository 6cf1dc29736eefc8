"""NaN and infinity end the training, and the message says in which step and where."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.io import load_state
from nnx.train import Callback, Checkpoint, NonFinite, Trainer


class Spoil(nn.Module):
    """A layer that gives NaN from its n-th training step on."""

    def __init__(self, at):
        self.at, self.calls = at, 0

    def forward(self, x):
        self.calls += 1
        return x * float("nan") if self.calls >= self.at else x


class Broken(Callback):
    """Writes into something after a step."""

    def __init__(self, step, function):
        self.step, self.function = step, function

    def on_step_end(self, trainer):
        if trainer.step == self.step:
            self.function(trainer)


def model_with(layer):
    return nn.Sequential({"first": nn.Linear(6, 8), "odd": layer, "last": nn.Linear(8, 3)})


def trainer_of(model, callbacks=(), lr=0.01, **options):
    optimizer = optim.SGD(model.parameters(), lr=lr)
    return Trainer(
        model, nn.CrossEntropyLoss(), optimizer, callbacks=callbacks, progress=False, **options
    )


def test_the_layer_where_it_first_appeared_is_named(task_on):
    trainer = trainer_of(model_with(Spoil(at=10)))
    trainer.check_every = 1  # on a device too, where only every 64th step is looked at
    with pytest.raises(NonFinite) as error:
        trainer.fit(task_on.loader(), epochs=3)
    assert (error.value.step, error.value.layer) == (10, "odd")
    assert trainer.step == 9  # the step was not made
    message = str(error.value)
    assert "the loss became nan in step 10 (epoch 2, batch 3)" in message
    assert "first in the output of layer 'odd' (Spoil): 64 NaN of 64 values" in message


def test_the_innermost_module_is_named(task):
    inner = nn.Sequential(nn.Linear(6, 6), Spoil(at=1))
    model = nn.Sequential({"body": nn.Sequential({"inner": inner}), "head": nn.Linear(6, 3)})
    with pytest.raises(NonFinite) as error:
        trainer_of(model).fit(task.loader())
    assert error.value.layer == "body.inner.1"
    model(nnx.Tensor(task.x))  # the hooks are gone: the NaN is nobody's business now


def test_the_same_dropout_masks_are_drawn_again(task):
    """Infinity that some masks let through and others do not is found for certain."""

    class Sometimes(nn.Module):
        def forward(self, x):
            high = nnx.random.uniform((1,)) > 0.9
            return x * float("inf") if bool(high[0]) else x

    nnx.manual_seed(0)
    with pytest.raises(NonFinite) as error:
        trainer_of(model_with(Sometimes())).fit(task.loader(), epochs=50)
    assert error.value.layer == "odd" and error.value.step > 1


def test_a_batch_that_is_not_finite_is_named(task):
    x = task.x.copy()
    x[3, 2] = np.inf
    with pytest.raises(NonFinite, match=r"the batch itself .*array 0: 1 infinite of 300 values"):
        trainer_of(task.model()).fit([(x, task.labels)])


def test_a_gradient_that_was_not_finite_is_named(task):
    """The loss of the step was finite, its gradient was not: seen one step later."""

    def spoil(trainer):
        weight = trainer.model[0].weight
        weight.grad = weight.grad * float("nan")
        weight.data = weight.data + weight.grad

    trainer = trainer_of(task.model(), [Broken(4, spoil)])
    with pytest.raises(NonFinite) as error:
        trainer.fit(task.loader())
    assert error.value.step == 5 and error.value.layer is None
    assert "a parameter is not finite (0.weight: 48 NaN of 48 values)" in str(error.value)
    assert "gradient of the step before was not finite (0.weight: 48 NaN" in str(error.value)


def test_an_update_that_overflows_is_named(task):
    def spoil(trainer):
        trainer.model[3].bias.data = trainer.model[3].bias.data * float("inf")

    trainer = trainer_of(task.model(), [Broken(2, spoil)])
    with pytest.raises(NonFinite, match=r"3\.bias: .*though the gradients .* were finite"):
        trainer.fit(task.loader())


def test_a_loss_function_that_divides_by_zero_is_named(task):
    trainer = trainer_of(task.model())
    loss = trainer.loss
    trainer.loss = lambda output, target: loss(output, target) * float("inf")
    with pytest.raises(NonFinite, match="every layer's output is finite, so it is the loss"):
        trainer.fit(task.loader())


def test_a_rate_that_is_too_high_ends_in_a_clear_message(task):
    """With real overflow, and warnings being errors here: none escapes."""
    trainer = trainer_of(task.model(), lr=1e30)
    with pytest.raises(NonFinite, match="A smaller learning rate") as error:
        trainer.fit(task.loader(), epochs=5)
    assert error.value.step <= 5


def test_the_last_step_of_an_epoch_is_checked_too(task, tmp_path):
    """Nothing would read the loss after it, and the checkpoint would keep the NaN."""

    def spoil(trainer):
        trainer.model[0].weight.data = trainer.model[0].weight.data * float("nan")

    trainer = trainer_of(task.model(), [Checkpoint(tmp_path), Broken(14, spoil)])
    with pytest.raises(NonFinite, match=r"not finite after step 14 \(epoch 2\): 0\.weight"):
        trainer.fit(task.loader(), epochs=3)
    assert load_state(tmp_path / "last.safetensors")[0]["epoch"] == 1, "the good one is kept"


@pytest.mark.parametrize(("every", "noticed"), [(64, 14), (4, 12)])
def test_on_a_device_it_is_noticed_later(task, monkeypatch, every, noticed):
    monkeypatch.setattr("nnx.train.nonfinite.reads_at_once", lambda array: False)
    trainer = trainer_of(model_with(Spoil(at=10)))
    trainer.check_every = every
    what = rf"nan in step 10 \(epoch 2, batch 3\); it was noticed after step {noticed}\."
    with pytest.raises(NonFinite, match=what) as error:
        trainer.fit(task.loader(), epochs=3)
    assert error.value.step == 10


def test_on_a_device_the_layer_is_found_where_each_step_is_looked_at(task, monkeypatch):
    monkeypatch.setattr("nnx.train.nonfinite.reads_at_once", lambda array: False)
    trainer = trainer_of(model_with(Spoil(at=10)))
    trainer.check_every = 1
    with pytest.raises(NonFinite) as error:
        trainer.fit(task.loader(), epochs=3)
    assert (error.value.step, error.value.layer) == (10, "odd")
