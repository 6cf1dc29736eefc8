import os
from pathlib import Path

import numpy as np
import pytest

from nnx.datasets import DataError, DataNotFoundError, curve, load_csi300, load_curve


def test_the_split_is_by_time(places):
    data, _ = places
    lines = [f"{d}  , {1000 + d}.5 , {d * 2}, {d * 3}" for d in range(1, 12)]
    (data / "hs300.csv").write_text("\n".join(lines))
    train, test = load_csi300()
    assert train.day.tolist() == list(range(1, 10)) and test.day.tolist() == [10, 11]
    np.testing.assert_array_equal(test.values(), [[1010.5, 20, 30], [1011.5, 22, 33]])
    assert train.day.dtype == np.int64 and train.close.dtype == np.float64
    assert len(train) == 9 and train[2:4].close.tolist() == [1003.5, 1004.5]
    assert len(load_csi300(test_share=0.5).test) == 6
    assert len(load_csi300(test_share=0.999).train) == len(load_csi300(test_share=1e-6).test) == 1
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="test_share must be between 0 and 1"):
            load_csi300(test_share=share)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "truncated: there must be at least two days, it has 0"),
        ("1,2,3,4", "truncated: there must be at least two days, it has 1"),
        ("1,2,3,4\n2,3,4", r"line 2 must be four numbers .*, it is '2,3,4'"),
        ("1,2,3,4\n2,3,x,5", "line 2 must be four numbers"),
        ("1,2,3,nan\n2,3,3,5", "line 1 must be four numbers"),
        ("1,2,3,4\n\n2,3,3,5", "line 2 must be four numbers"),
        ("2,2,3,4\n1,2,3,4", "line 2: day 1 follows day 2"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(places, content, message):
    data, _ = places
    (data / "hs300").mkdir()
    (data / "hs300/hs300.csv").write_text(content)
    with pytest.raises(DataError, match=message) as error:
        load_csi300()
    assert str(data / "hs300/hs300.csv") in str(error.value)


def test_nowhere(places):
    with pytest.raises(DataNotFoundError, match=r"hs300.csv \(hs300\) is not on this machine"):
        load_csi300()


def test_the_real_index():
    folder = os.environ.get("NNX_DATA")
    if not folder or not (Path(folder) / "hs300").is_dir():
        pytest.skip("NNX_DATA has no hs300/")
    train, test = load_csi300()
    assert len(train) + len(test) == 3457 and len(test) == 691
    assert train.values()[0].tolist() == [982.794, 74.1287, 44.3198]
    assert test.day[0] == train.day[-1] + 1


def test_the_curve_is_the_textbooks():
    """x = 0: cos 0; x = 1.5: 1 + 0 + 0; x = 3: 0 - 1 + 0; x = 0.75: sqrt(1/2) twice, and 1."""
    np.testing.assert_allclose(curve([0, 1.5, 3, 0.75]), [1, 1, -1, 1 + 2**0.5], atol=1e-12)
    x = np.linspace(0, 6, 50)
    np.testing.assert_allclose(curve(x), curve(x + 6), atol=1e-12)


def test_windows_follow_one_another():
    train, test = load_curve()
    assert train.inputs.shape == (10_000, 10, 1) and train.targets.shape == (10_000, 1)
    assert len(train) == 10_000 and len(test) == 1_000
    for part in (train, test):
        assert part.inputs.dtype == part.targets.dtype == part.clean.dtype == np.float32
        np.testing.assert_array_equal(part.inputs[1:, -1, 0], part.targets[:-1, 0])
        np.testing.assert_array_equal(part.inputs[5:, 0, 0], part.inputs[:-5, 5, 0])
        noise = part.targets - part.clean
        assert 0.049 < np.abs(noise).max() <= 0.0501
        assert abs(noise.mean()) < 4 * 0.05 / np.sqrt(3 * len(part))
        np.testing.assert_allclose(part.clean, curve(part.x), rtol=1e-6, atol=1e-6)
    assert train.x.max() == pytest.approx(100.1) and train.x.max() < test.x.min()
    assert test.x.max() == pytest.approx(110.2)


def test_longer_targets_and_no_noise():
    train, _ = load_curve(steps=4, ahead=3, noise=0.0)
    assert train.inputs.shape == (10_002 - 4, 4, 1) and train.targets.shape == (10_002 - 4, 3)
    np.testing.assert_array_equal(train.targets, train.clean)
    np.testing.assert_array_equal(train.targets[1:, 0], train.targets[:-1, 1])


def test_the_noise_follows_the_seed():
    a, b, c = load_curve(seed=1), load_curve(seed=1), load_curve(seed=2)
    np.testing.assert_array_equal(a.train.inputs, b.train.inputs)
    assert not np.array_equal(a.train.inputs, c.train.inputs)


@pytest.mark.parametrize(
    "arguments", [{"steps": 0}, {"ahead": 0}, {"ahead": 1001}, {"noise": -1.0}]
)
def test_errors(arguments):
    with pytest.raises(ValueError, match=r"load_curve: .* must "):
        load_curve(**arguments)
