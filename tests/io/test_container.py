"""The safetensors format: the bytes and the judgement of the package that defines it."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

import nnx
from nnx.io import CorruptFile
from nnx.io.container import BITS, KINDS, read_header, write_container

E = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


def file_of(path, header, content=bytes(8)):
    text = header if isinstance(header, bytes) else header.encode("utf-8", "surrogatepass")
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    return path


def is_accepted(path):
    """Whether the package takes a file."""
    safetensors = pytest.importorskip("safetensors")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            file.keys()
    except (safetensors.SafetensorError, UnicodeError, OverflowError):
        return False
    return True


def entry(kind='"F32"', shape="[2]", offsets="[0,8]", more=""):
    return f'{{"a":{{"dtype":{kind},"shape":{shape},"data_offsets":{offsets}{more}}}}}'


MALFORMED = {
    "nothing": "",
    "no object": "[]",
    "a byte order mark": f'\ufeff{{"a":{E}}}',
    "a comma at the end": f'{{"a":{E},}}',
    "more behind it": f'{{"a":{E}}}{{}}',
    "zeros behind it": f'{{"a":{E}}}\0\0',
    "NaN": '{"a":NaN}',
    "no UTF-8": b'{"\xff":{}}',
    "half a surrogate pair": f'{{"\\ud800":{E}}}',
    "a control character": f'{{"a\x01":{E}}}',
    "no arrays, but bytes": "{}",
    "metadata of numbers": f'{{"__metadata__":{{"x":1}},"a":{E}}}',
    "metadata twice": f'{{"__metadata__":{{}},"__metadata__":{{}},"a":{E}}}',
    "an overlap": f'{{"a":{E},"b":{E}}}',
    "a gap": '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
             '"b":{"dtype":"U8","shape":[6],"data_offsets":[2,8]}}',
    "an empty array inside another": f'{{"a":{E},'
                                     '"b":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}}',
    "too few bytes": entry(shape="[3]", offsets="[0,12]"),
    "bytes left": entry(shape="[1]", offsets="[0,4]"),
    "backwards": entry(offsets="[8,0]"),
    "no dtype": '{"a":{"shape":[2],"data_offsets":[0,8]}}',
    "an unknown dtype": entry('"F33"'),
    "a dtype in lower case": entry('"f32"'),
    "no shape": entry(shape="null"),
    "a shape of halves": entry(shape="[2.0]"),
    "a shape of powers": entry(shape="[2e0]"),
    "a negative shape": entry(shape="[-2]"),
    "minus zero": entry(offsets="[-0,8]"),
    "a shape that is true": entry(shape="[true,2]"),
    "a shape of texts": entry(shape='["2"]'),
    "three offsets": entry(offsets="[0,8,8]"),
    "more than 2^64": entry(shape="[18446744073709551616]"),
    "as many as wrap around to 8 bytes": entry(shape="[4611686018427387906]"),
    "as many as wrap around, and none": entry(shape="[9223372036854775808,4,0]", offsets="[0,0]"),
    "half a byte": entry('"F4"', "[15]"),
    "a field twice": entry(more=',"shape":[2]'),
    "a number beyond all": entry(more=',"x":1e999'),
    "nested deeply": entry(more=f',"x":{"[" * 200}{"]" * 200}'),
    "no entry": f'{{"a":{E},"b":null}}',
}  # fmt: skip
UNUSUAL = {
    "space before it": f'  {{"a":{E}}}',
    "space behind it": f'{{"a":{E}}} \n ',
    "no metadata": f'{{"__metadata__":null,"a":{E}}}',
    "more about an array": entry(more=',"x":[[1]]'),
    "an empty name": f'{{"":{E}}}',
    "a zero in a name": f'{{"a\\u0000":{E}}}',
    "out of order": '{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]},'
                    '"b":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]}}',
    "an empty array at the end": f'{{"b":{E},"a":{{"dtype":"U8","shape":[0,3],'
                                 '"data_offsets":[8,8]}}',
    "0-d": entry('"F64"', "[]"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_both_readers_refuse_what_is_malformed(tmp_path, name):
    path = file_of(tmp_path / "odd.safetensors", MALFORMED[name])
    for read in (nnx.load, nnx.io.load, nnx.io.load_state):
        with pytest.raises(CorruptFile, match=r"odd\.safetensors is not a whole safetensors file"):
            read(path)
    assert not is_accepted(path)


@pytest.mark.parametrize("name", UNUSUAL)
def test_both_readers_take_what_is_unusual(tmp_path, name):
    path = file_of(tmp_path / "a", UNUSUAL[name], bytes(range(8)))
    ours = nnx.load(path)
    theirs = pytest.importorskip("safetensors.numpy").load_file(path)
    assert ours.keys() == theirs.keys()
    for key, values in theirs.items():
        assert ours[key].dtype == values.dtype
        np.testing.assert_array_equal(ours[key], values)


@pytest.mark.parametrize(
    "header", [f'{{"a":{E},"a":{E}}}', '{"a":["F32",[2],[0,8]]}', entry('{"F32":null}')]
)
def test_what_only_the_package_takes(tmp_path, header):
    """A name twice, and entries that are no objects: the format forbids them."""
    path = file_of(tmp_path / "a", header)
    with pytest.raises(CorruptFile):
        nnx.load(path)


@pytest.mark.parametrize("size", [0, 7, 8, 9])
def test_a_length_that_is_none(tmp_path, size):
    path = tmp_path / "a"
    for length in (0, 1, 2**31, 2**63, 2**64 - 1):
        path.write_bytes(length.to_bytes(8, "little")[:size] + b"x" * (size - 8))
        with pytest.raises(CorruptFile):
            nnx.load(path)
        assert not is_accepted(path)


def arrays_of_every_dtype():
    rng = np.random.default_rng(0)
    made = {f"{name} ü\n": rng.integers(0, 2, (2, 3)).astype(name) for name in KINDS}
    return made | {"b": np.arange(7.0), "a": np.zeros((0, 4), np.float32), "": np.ones(())}


def test_the_file_is_the_package_s_byte_for_byte(tmp_path):
    save_file = pytest.importorskip("safetensors.numpy").save_file
    arrays = arrays_of_every_dtype()
    save_file(arrays, tmp_path / "theirs", {"note": 'a "text"\t\x01\x7f ü'})
    with (tmp_path / "ours").open("wb") as file:
        held = {name: (KINDS[a.dtype.name], a) for name, a in arrays.items()}
        write_container(file, held, {"note": 'a "text"\t\x01\x7f ü'})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert read_header(tmp_path / "ours")[1] == {"note": 'a "text"\t\x01\x7f ü'}


def test_there_are_the_dtypes_of_the_package(tmp_path):
    """Its error for an unknown one lists them, in the order that arrays are laid out by."""
    safetensors = pytest.importorskip("safetensors")
    path = file_of(tmp_path / "a", entry('"?"'))
    with pytest.raises(safetensors.SafetensorError) as caught:
        safetensors.safe_open(path, framework="numpy").__enter__()
    listed = str(caught.value).partition("expected one of ")[2].partition(" at line")[0]
    known = [name.strip("`") for name in listed.split(", ")]
    assert [name for name in BITS if name in known] == known


def mutants(whole, count, seed=0):
    """The bytes of a file with some changed, cut out, doubled or put in."""
    rng = np.random.default_rng(seed)
    length = 8 + int.from_bytes(whole[:8], "little")
    for k in range(count):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            end = length if rng.random() < 0.8 else len(content)
            at = int(rng.integers(0, max(min(end, len(content)), 1)))
            how = rng.integers(0, 4)
            if how == 0:
                content[at] ^= 1 << int(rng.integers(0, 8))
            elif how == 1:
                content[at : at + 1] = rng.choice(list(b'0123456789{}[]",:x-. \\')).tobytes()[:1]
            elif how == 2:
                del content[at : at + int(rng.integers(1, 9))]
            else:
                content[at:at] = content[at : at + int(rng.integers(1, 9))]
        if k % 2:  # a header that is as long as it says is looked at
            first = content.rfind(b"}") + 1
            content[:8] = max(first - 8, 0).to_bytes(8, "little")
        yield bytes(content)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file of another program's: nothing but the format protects it."""
    path = tmp_path_factory.mktemp("whole") / "a"
    with path.open("wb") as file:
        arrays = {"w": ("F32", np.ones((2, 3), np.float32)), "n": ("I64", np.arange(3))}
        write_container(file, arrays, {"by": "another"})
    return path.read_bytes()


def test_500_mutations_are_refused_or_read_whole_as_the_package_does(tmp_path, whole):
    path, read = tmp_path / "m", 0
    for content in mutants(whole, 500):
        path.write_bytes(content)
        try:
            ours = nnx.load(path)
        except CorruptFile:
            continue
        theirs = pytest.importorskip("safetensors.numpy").load_file(path)
        assert ours.keys() == theirs.keys()
        for name, values in theirs.items():
            assert ours[name].tobytes() == values.tobytes() and ours[name].shape == values.shape
        read += 1
    assert 10 < read < 250  # values and names alone have no check but a checksum


def test_500_mutations_of_a_saved_model_are_refused_or_change_nothing(tmp_path):
    model = nnx.nn.Sequential(nnx.nn.Linear(3, 2), nnx.nn.ReLU())
    path = tmp_path / "m"
    nnx.save(model, path)
    before = nnx.load(path)
    refused = 0
    for content in mutants(path.read_bytes(), 500, seed=1):
        path.write_bytes(content)
        try:
            found = nnx.load(path)
        except CorruptFile:
            refused += 1
            continue
        changed = b'"nnx"' not in content  # the note with the checksum is not found any more
        assert changed or all(np.array_equal(found[name], before[name]) for name in before)
    assert refused > 450


@pytest.mark.ci
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork is a process that saves at once")
def test_30_kills_during_a_save_leave_a_whole_file(tmp_path):
    path = tmp_path / "a.safetensors"
    nnx.io.save(path, {"w": np.full(50_000, -1)}, {"k": -1})
    seen = set()
    for kill in range(30):
        before, end = path.stat().st_mtime_ns, time.monotonic() + 30
        child = os.fork()
        if child == 0:
            try:
                for k in range(1000 * kill, 10**9):
                    nnx.io.save(path, {"w": np.full(50_000, k)}, {"k": k})
            finally:
                os._exit(1)
        while path.stat().st_mtime_ns == before and time.monotonic() < end:
            time.sleep(0.001)  # until a first save is done, however busy the machine is
        time.sleep(0.0007 * kill)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        tensors, metadata = nnx.io.load(path)
        assert tensors["w"].shape == (50_000,) and np.all(tensors["w"] == metadata["k"])
        seen.add(metadata["k"])
    assert len(seen) == 30  # each child had saved before it was killed
    nnx.io.save(path, {})
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
