import gzip
import struct

import numpy as np
import pytest

from nnx.datasets import DataError, read_idx, write_idx

DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 5), (1, 1, 1, 1)])
@pytest.mark.parametrize("name", ["a-idx", "a-idx.gz"])
def test_round_trip(tmp_path, dtype, shape, name):
    array = (np.random.default_rng(0).standard_normal(shape) * 50).astype(np.int8).astype(dtype)
    write_idx(tmp_path / name, array)
    back = read_idx(tmp_path / name)
    assert back.dtype == array.dtype and back.dtype.isnative
    assert back.flags.writeable
    np.testing.assert_array_equal(back, array)


def test_the_bytes_are_the_published_format(tmp_path):
    write_idx(tmp_path / "f", np.asarray([[1, 258]], np.int16))
    expected = bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 1, 2])
    assert (tmp_path / "f").read_bytes() == expected


def test_strided_and_readonly_arrays_are_written(tmp_path):
    array = np.arange(20, dtype=np.uint8).reshape(4, 5).T[::2]
    array.flags.writeable = False
    write_idx(str(tmp_path / "f"), array)
    np.testing.assert_array_equal(read_idx(str(tmp_path / "f")), array)


def test_gzip_is_seen_by_content_and_written_reproducibly(tmp_path):
    array = np.arange(7, dtype=np.uint8)
    write_idx(tmp_path / "a.gz", array)
    write_idx(tmp_path / "b.gz", array)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[4:8] == bytes(4)  # no time of writing
    (tmp_path / "a.gz").rename(tmp_path / "unnamed")
    np.testing.assert_array_equal(read_idx(tmp_path / "unnamed"), array)


IMAGES = struct.pack(">HBBIII", 0, 8, 3, 2, 2, 3) + bytes(range(12))
LABELS = struct.pack(">HBBI", 0, 8, 1, 2) + bytes([7, 1])

BAD = {
    "empty": (b"", "truncated: an IDX file begins with 4 bytes, this has 0"),
    "magic": (b"\x89PNG" + IMAGES, "not an IDX file: its magic number is 89 50 4e 47"),
    "no type": (b"\0\0\x0a\x03" + IMAGES[4:], "not an IDX file: its magic number is 00 00 0a 03"),
    "no axes": (b"\0\0\x08\x00", "not an IDX file"),
    "header": (IMAGES[:10], "truncated: the header for 3 axes takes 16 bytes, the file has 10"),
    "values": (
        IMAGES[:-1],
        r"truncated: .* promises 12 bytes .* shape \(2, 2, 3\), the file has 11",
    ),
    "trailing": (IMAGES + b"\0", r"too long: .* promises 12 bytes .* the file has 13"),
    "huge": (b"\0\0\x08\x03" + b"\xff" * 12, "truncated: the header promises 79228162458924105385"),
    "labels": (LABELS, "wrong magic number 00 00 08 01: expected uint8 with 3 axes .00 00 08 03."),
    "floats": (
        struct.pack(">HBBIII", 0, 0x0D, 3, 1, 1, 1) + b"abcd",
        "expected uint8 with 3 axes .*, this holds float32 with 3",
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_its_fault(tmp_path, name, packed):
    content, message = BAD[name]
    path = tmp_path / f"train-{name}"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match=message) as error:
        read_idx(path, expect=("uint8", 3))
    assert str(path) in str(error.value)


@pytest.mark.parametrize("length", [10, 30, 40, -1])
def test_a_truncated_gzip_file(tmp_path, length):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(IMAGES * 5, mtime=0)[:length])
    with pytest.raises(DataError, match="truncated: the gzip stream ends early") as error:
        read_idx(path)
    assert str(path) in str(error.value)


def test_every_flipped_bit_of_a_gzip_file_is_noticed(tmp_path):
    """CRC and length guard the contents; bits of the header's name and time do not matter."""
    path = tmp_path / "images.gz"
    good = gzip.compress(IMAGES, mtime=0)
    for at in range(10, len(good)):
        bad = bytearray(good)
        bad[at] ^= 16
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"images.gz: (damaged|truncated)"):
            read_idx(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        read_idx(tmp_path / "nothing-here")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3, np.int64), "write_idx: IDX has uint8, .* but not int64; .*out.gz"),
        (np.zeros(3, bool), "but not bool"),
        (np.asarray(np.uint8(3)), r"an IDX file has 1 to 255 axes; shape \(\); .*out.gz"),
    ],
)
def test_what_idx_cannot_hold(tmp_path, array, message):
    with pytest.raises(ValueError, match=message):
        write_idx(tmp_path / "out.gz", array)
    assert not (tmp_path / "out.gz").exists()
