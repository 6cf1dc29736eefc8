"""Every experiment's first 20 steps: one hash on one rank and on four, of two parts each.

Every layer's on 1, 2, 4 and 8: `tests/parallel/test_data_parallel.py`.
"""

from __future__ import annotations

from itertools import islice

import pytest
from parallel_helpers import digest, on_ranks

import nnx
from nnx.datasets import DataError
from nnx.parallel import DataParallel
from nnx.recipes import NAMES, find

STEPS = 20
SMALL = {
    "char-lm": {"hidden": 32, "length": 32},
    "seq2seq": {"hidden": 32, "examples": 400},
}


class First:
    """The first batches of a loader."""

    def __init__(self, loader):
        self.loader = loader

    def __iter__(self):
        return islice(iter(self.loader), STEPS)

    def __len__(self):
        return STEPS


def first_steps(recipe, o, data):
    nnx.manual_seed(o.seed)
    model = recipe.model(o)
    optimizer = recipe.optimizer(model, o)
    trainer = recipe.trainer(
        DataParallel(model, parts=8),
        recipe.loss(o),
        optimizer,
        list(recipe.metrics),
        recipe.callbacks(optimizer, o),
        False,
    )
    recipe.begin(model, o)
    trainer.fit(First(recipe.loader(data.train, o)), epochs=1)
    assert trainer.step == STEPS
    return digest(trainer.state_dict(), trainer.model.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_the_first_steps_give_one_hash(name):
    recipe = find(name)
    o = recipe.make_options(batch_size=16, **SMALL.get(name, {}))  # two examples a part
    try:
        data = recipe.data(o)
    except DataError as error:
        pytest.skip(str(error))
    o.assets = data.assets
    assert len({on_ranks(n, first_steps, recipe, o, data) for n in (1, 4)}) == 1
