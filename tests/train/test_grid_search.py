"""What holds a Trainer and a DataLoader goes through scikit-learn's search, also in processes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.data import DataLoader

sklearn_base = pytest.importorskip("sklearn.base")
model_selection = pytest.importorskip("sklearn.model_selection")


class Net(sklearn_base.ClassifierMixin, sklearn_base.BaseEstimator):
    def __init__(self, lr=1e-3, hidden=16):
        self.lr, self.hidden = lr, hidden

    def fit(self, x, y):
        nnx.manual_seed(0)
        self.classes_ = np.unique(y)
        model = nn.Sequential(nn.Linear(64, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 10))
        optimizer = optim.Adam(model.parameters(), lr=self.lr)
        self.trainer_ = nnx.Trainer(model, nn.CrossEntropyLoss(), optimizer, progress=False)
        self.loader_ = DataLoader((x, y), batch_size=32, shuffle=True, seed=1)
        self.trainer_.fit(self.loader_, epochs=2)
        return self

    def predict(self, x):
        return np.argmax(self.trainer_.predict(x).numpy(), axis=1)


def test_the_search_gives_the_same_in_two_processes():
    part = nnx.datasets.load_digits().train
    x, y = part.scaled().reshape(-1, 64)[:600], part.labels[:600]
    scores = []
    for jobs in (1, 2):
        search = model_selection.GridSearchCV(Net(), {"lr": [1e-4, 1e-2]}, cv=2, n_jobs=jobs)
        search.fit(x, y)
        scores.append(search.cv_results_["mean_test_score"].tolist())
    assert scores[0] == scores[1] and scores[0][1] > scores[0][0] + 0.2
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(x), search.predict(x))
    assert again.loader_.epoch == 2
