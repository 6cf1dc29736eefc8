"""Averages of the weights: against PyTorch's, resumed, and only lent to the model."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.train import Callback, WeightAverage

LAYER = "0.weight"


class Seen(Callback):
    def __init__(self):
        self.steps, self.epochs = [], []

    def on_step_end(self, trainer):
        self.steps.append(np.array(trainer.model[0].weight.data))

    def on_epoch_end(self, trainer):
        self.epochs.append(np.array(trainer.model[0].weight.data))


@pytest.mark.parametrize("decay", [0.9, None])
def test_it_is_pytorchs(task, decay):
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    seen, average = Seen(), WeightAverage(decay)
    trainer, loader = task.trainer([seen, average])
    trainer.fit(loader, epochs=4)
    theirs = torch.nn.Linear(*seen.steps[0].shape[::-1], bias=False)
    options = {} if decay is None else {"multi_avg_fn": get_ema_multi_avg_fn(decay)}
    averaged = AveragedModel(theirs, **options)
    for weight in seen.epochs if decay is None else seen.steps:
        theirs.weight.data = torch.tensor(weight)
        averaged.update_parameters(theirs)
    expected = averaged.module.weight.detach().numpy()
    np.testing.assert_allclose(average.average[LAYER], expected, rtol=1e-5, atol=1e-6)
    assert average.average[LAYER].dtype == np.float32


def test_it_is_lent_to_the_model(task):
    average = WeightAverage(start=2)
    trainer, loader = task.trainer([average])
    with (
        pytest.raises(ValueError, match="the first is taken while it is trained"),
        average.on(trainer.model),
    ):
        pass
    trainer.fit(loader, epochs=3)
    last = np.array(trainer.model[0].weight.data)
    own = trainer.evaluate(task.arrays())
    with average.on(trainer.model):
        np.testing.assert_array_equal(trainer.model[0].weight.data, average.average[LAYER])
        assert trainer.evaluate(task.arrays())["loss"] != own["loss"]
    np.testing.assert_array_equal(trainer.model[0].weight.data, last)
    assert average.count == 2
    with pytest.raises(ValueError, match="less than 1, got 1"):
        WeightAverage(1)


def test_a_resumed_run_averages_on(task, tmp_path):
    whole = WeightAverage(0.9)
    trainer, loader = task.trainer([whole])
    trainer.fit(loader, epochs=4)
    trainer, loader = task.trainer([WeightAverage(0.9)])
    trainer.fit(loader, epochs=2)
    trainer.save(tmp_path / "a")
    second = WeightAverage(0.9)
    trainer, loader = task.trainer([second], seed=8)
    trainer.load(tmp_path / "a")
    trainer.fit(loader, epochs=2)
    assert second.count == whole.count
    for name, a in whole.average.items():
        assert np.asarray(second.average[name]).tobytes() == np.asarray(a).tobytes()
