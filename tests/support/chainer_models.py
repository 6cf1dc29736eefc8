"""What Chainer computes with its links, recorded: `python tests/support/chainer_models.py`.

It needs Chainer 7.8 and a NumPy before 1.24, so it imports nothing of nnx; the tests read the file.
"""

from pathlib import Path

import numpy as np

RECORDED = Path(__file__).parents[1] / "interop" / "recorded-chainer.npz"


def links(L, F):
    """name -> a link and what it is called with."""
    import chainer

    rng = np.random.default_rng(0)
    rows = rng.standard_normal((4, 3)).astype("float32")
    images = rng.standard_normal((2, 4, 5, 5)).astype("float32")
    steps = rng.standard_normal((5, 2, 3)).astype("float32")
    sequences = [np.ascontiguousarray(steps[:, k]) for k in range(2)]

    def stepped(link):
        def run(steps):
            if isinstance(link, L.StatefulGRU):  # without a state it leaves biases out
                link.set_state(chainer.Variable(np.zeros((2, 4), "float32")))
            return F.stack([link(x) for x in steps])

        return run

    def n_step(link):
        def run(xs):
            *_, ys = link(*[None] * (2 if isinstance(link, LSTMS) else 1), list(xs))
            return F.stack(ys, axis=1)

        return run

    LSTMS = (L.NStepLSTM, L.NStepBiLSTM)
    same = {
        "linear": (L.Linear(3, 4), rows),
        "linear without a bias": (L.Linear(3, 4, nobias=True), rows),
        "conv": (L.Convolution2D(4, 6, (3, 2), 2, 1, groups=2), images),
        "deconv": (L.Deconvolution2D(4, 3, 3, 2), images),
        "embed": (L.EmbedID(5, 3), np.array([[0, 4], [2, 2]], "int32")),
        "batch": (L.BatchNormalization(3), rows),
        "layer": (L.LayerNormalization(3), rows),
        "group": (L.GroupNormalization(2, 4), images),
        "prelu": (L.PReLU(), rows),
        "chain": (
            chainer.Sequential(L.Linear(3, 4), F.tanh, chainer.Sequential(L.Linear(4, 2))), rows
        ),
    }  # fmt: skip
    made = {name: (link, link, x) for name, (link, x) in same.items()}
    for name, link in {
        "lstm": L.LSTM(3, 4),
        "gru": L.StatefulGRU(3, 4),
    }.items():
        made[name] = (link, stepped(link), steps)
    for name, link in {
        "n-step lstm": L.NStepLSTM(2, 3, 4, 0.0),
        "n-step bilstm": L.NStepBiLSTM(2, 3, 4, 0.0),
        "n-step gru": L.NStepGRU(2, 3, 4, 0.0),
        "n-step bigru": L.NStepBiGRU(1, 3, 4, 0.0),
        "n-step tanh": L.NStepRNNTanh(1, 3, 4, 0.0),
        "n-step relu": L.NStepRNNReLU(2, 3, 4, 0.0),
    }.items():
        made[name] = (link, n_step(link), sequences)
    return made


def record():
    import chainer
    import chainer.functions as F
    import chainer.links as L

    rng = np.random.default_rng(1)
    kept = {}
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        for name, (link, run, x) in links(L, F).items():
            for _, parameter in sorted(link.namedparams()):
                values = rng.standard_normal(parameter.shape) / 2
                parameter.array = np.asarray(values, "float32")
            if isinstance(link, L.BatchNormalization):
                link.avg_mean[:] = rng.standard_normal(3)
                link.avg_var[:] = rng.random(3) + 0.5
                link.N = np.asarray(7)
            y = run(x)
            place = RECORDED.with_name("link.npz")
            chainer.serializers.save_npz(place, link)
            with np.load(place) as archive:
                numbers = {k: v for k, v in archive.items() if v.dtype != object}
            place.unlink()
            kept |= {f"{name}/{key}": values for key, values in numbers.items()}
            kept[f"{name}/in"] = np.stack(x, 1) if isinstance(x, list) else x
            kept[f"{name}/out"] = y.array
    np.savez_compressed(RECORDED, **kept)


if __name__ == "__main__":
    record()
