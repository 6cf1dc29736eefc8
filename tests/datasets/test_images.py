import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from nnx.datasets import DataError, DataNotFoundError, load_digits, load_mnist, write_idx
from nnx.datasets import images as source

DIGITS = Path(source.__file__).parent / "digits"


def test_digits_are_the_published_ones():
    reference = pytest.importorskip("sklearn.datasets").load_digits()
    split = load_digits("tail")
    images = np.concatenate([split.train.images, split.test.images])
    labels = np.concatenate([split.train.labels, split.test.labels])
    np.testing.assert_array_equal(images, reference.images)
    np.testing.assert_array_equal(labels, reference.target)


def test_digits():
    train, test = load_digits()
    assert train.images.shape == (1442, 8, 8) and test.images.shape == (355, 8, 8)
    assert len(train) == 1442 and len(test) == 355
    for part in (train, test):
        assert part.images.dtype == np.uint8 and part.labels.dtype == np.int64
        assert part.images.max() == part.maximum == 16
        assert set(part.labels.tolist()) == set(range(10))
        scaled = part.scaled()
        assert scaled.dtype == np.float32 and scaled.shape == part.images.shape
        assert scaled.min() == 0.0 and scaled.max() == 1.0
    content = hashlib.md5(train.images.tobytes() + test.labels.tobytes()).hexdigest()
    assert content == "cd2ae55769925612255cdc06439a7d5b"


def test_the_split_of_digits_is_stratified():
    train, test = load_digits()
    for digit in range(10):
        here, there = (int(np.sum(part.labels == digit)) for part in (train, test))
        assert there == (here + there) // 5
    whole = {image.tobytes() for part in (train, test) for image in part.images}
    assert len(whole) == 1797  # all different, so no image is in both parts


def test_the_other_split_is_the_order_of_the_file():
    train, test = load_digits("tail")
    assert len(train) == 1437 and len(test) == 360
    with pytest.raises(ValueError, match='split must be "stratified" or "tail", got \'random\''):
        load_digits("random")


def test_digits_ship_small_and_with_their_licence():
    assert sum(p.stat().st_size for p in DIGITS.iterdir()) < 100_000
    text = (DIGITS / "SOURCE.md").read_text()
    for part in ("Alpaydin", "Kaynak", "10.24432/C50P49", "CC BY 4.0", "UCI"):
        assert part in text
        assert part in load_digits.__doc__


# ---- MNIST ----


def small_mnist(folder, images=4, labels=4, side=28):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        pixels = rng.integers(0, 256, (images, side, side)).astype(np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", pixels)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(labels, dtype=np.uint8))


def test_mnist_from_files(places):
    data, cache = places
    small_mnist(data / "mnist")
    train, test = load_mnist()
    assert train.images.shape == test.images.shape == (4, 28, 28)
    assert train.labels.tolist() == [0, 1, 2, 3] and train.labels.dtype == np.int64
    assert not np.array_equal(train.images, test.images)
    assert repr(train) == "Images(images=uint8 (4, 28, 28), labels=int64 (4,))"
    assert not cache.exists()


def test_mnist_with_images_and_labels_that_do_not_agree(places):
    data, _ = places
    small_mnist(data / "mnist", labels=3)
    with pytest.raises(DataError, match=r"train-images.* has 4 images, but .*train-labels.* has 3"):
        load_mnist()


def test_mnist_with_files_swapped(places):
    data, _ = places
    small_mnist(data)
    write_idx(data / "train-images-idx3-ubyte.gz", np.zeros(4, np.uint8))
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte.gz: wrong magic number 00 00 08 01"
    ):
        load_mnist()


def test_mnist_with_a_label_that_is_no_digit(places):
    data, _ = places
    small_mnist(data, images=11, labels=11)
    with pytest.raises(DataError, match=r"train-labels.*: label 10 is 10, but labels are 0 to 9"):
        load_mnist()


def test_mnist_nowhere(places, monkeypatch):
    monkeypatch.setattr(source, "_MIRRORS", ("http://127.0.0.1:9/",))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DataNotFoundError, match=r"train-images-idx3-ubyte.gz"):
        load_mnist()


def test_the_real_mnist():
    folder = os.environ.get("NNX_DATA")
    if not folder or not (Path(folder) / "mnist").is_dir():
        pytest.skip("NNX_DATA has no mnist/")
    train, test = load_mnist()
    assert train.images.shape == (60_000, 28, 28) and test.images.shape == (10_000, 28, 28)
    assert train.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert np.bincount(train.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert train.scaled().mean() == pytest.approx(0.1307, abs=5e-5)
