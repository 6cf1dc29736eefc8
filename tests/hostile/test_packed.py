"""Small files that promise or unpack to more than there is: refused, by name, in little memory."""

from __future__ import annotations

import ast
import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from nnx.datasets import read_idx, write_idx
from nnx.io import CorruptFile, TooLarge, limits, load

ROOT = Path(__file__).parent.parent.parent
ZEROS = 300 * 2**20  # bytes in a bomb: beyond what a reader may take, quick to make

SERVER = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
from nnx.datasets import read_idx
from nnx.datasets.reviews import read_archive, read_csv
from nnx.io import read_json, read_text, load
from nnx.io.limits import CorruptFile
from nnx.recipes.pictures import lay_out, read_pictures
from nnx.text import Vocabulary, read_glove
from nnx.train.history import read_csv as read_history
import PIL.Image, PIL.PngImagePlugin
def pictures(path):
    for picture in read_pictures(path):
        lay_out(picture, (28, 28), (20, 20))
READERS = {
    "idx": read_idx, "pictures": pictures, "csv": read_csv, "tar": read_archive, "json": read_json,
    "glove": lambda path: read_glove(path, Vocabulary(["film"])), "load": load,
    "history": lambda path: read_history(read_text(path), path),
}
def read(reader, path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        READERS[reader](Path(path))
        said = "read"
    except (CorruptFile, ValueError) as error:
        said = f"{type(error).__name__}: {error}"
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print((after - before) // 1024, repr(said), flush=True)
for line in sys.stdin:
    child = os.fork()
    if not child:
        signal.alarm(120)
        try:
            read(*line.rstrip("\\n").split("\\t"))
            os._exit(0)
        finally:
            os._exit(1)
    if status := os.waitpid(child, 0)[1]:
        print(-1, repr(f"ended with {os.waitstatus_to_exitcode(status)}"), flush=True)
"""


@cache
def server():
    """A process that has imported all readers, and forks for each file."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module", autouse=True)
def end_of_server():
    yield
    if server.cache_info().currsize:
        server().communicate(timeout=10)
        server.cache_clear()


def child(reader, path):
    """(MiB of memory that reading took, what came of it), in a process of its own."""
    server().stdin.write(f"{reader}\t{path}\n")
    server().stdin.flush()
    took, _, said = server().stdout.readline().strip().partition(" ")
    assert int(took) >= 0, f"reading {path} {said}"
    return int(took), ast.literal_eval(said)


def packed(*parts):
    """A gzip stream of some bytes; a number stands for so many zeros."""
    made, packer = [], zlib.compressobj(6, wbits=31)
    for part in parts:
        if isinstance(part, bytes):
            made.append(packer.compress(part))
        else:
            block = bytes(2**20)
            made += [packer.compress(block) for _ in range(part // 2**20)]
    return b"".join([*made, packer.flush()])


def idx(*shape):
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)


def tar_header(name, size, kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def png(width, height):
    """A picture of zeros, a bit a pixel."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + -(-width // 8))) for _ in range(height)) + rows.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def npy(shape, descr="<f8", extra=""):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}{extra}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


REVIEW = "aclImdb/train/pos/0_9.txt"
BOMBS = {  # name -> reader, contents, what the error says
    "idx-long": ("idx", lambda: packed(idx(4), ZEROS), "too long|unpacked"),
    "idx-promise": ("idx", lambda: idx(2**31, 2**31) + bytes(9), "truncated"),
    "idx-promise-gz": ("idx", lambda: packed(idx(2**31, 2**31), bytes(9)), "truncated"),
    "idx-beyond": ("idx", lambda: packed(idx(2**31 - 1), ZEROS), "truncated|unpacked"),
    "pictures-1x1": ("pictures", lambda: packed(idx(2**21, 1, 1), 2**21), "limits.pictures"),
    "npy-promise": ("pictures", lambda: npy("(1048576, 1048576)") + bytes(80), "promises"),
    "png-large": ("pictures", lambda: png(9400, 9400), "limits.pixels"),
    "csv-line": ("csv", lambda: packed(b"label,review\n1,", ZEROS), "limits.line"),
    "csv-quote": (
        "csv",
        lambda: packed(b'label,review\n1,"', *[b"a" * 999 + b"\n"] * 20_000),
        "limits.line",
    ),
    "csv-columns": ("csv", lambda: b"label,review," + b"a," * 5000 + b"\n", "limits.columns"),
    "csv-rows": ("csv", lambda: packed(b"label,review\n", b"1,\n" * 1_100_000), "limits.rows"),
    "glove-line": ("glove", lambda: packed(ZEROS), "limits.line"),
    "glove-wide": ("glove", lambda: b"film" + b" 1" * 100_000, "limits.columns"),
    "tar-member": (
        "tar",
        lambda: packed(tar_header(REVIEW, ZEROS), ZEROS),
        "limits.line",
    ),
    "tar-pax": (
        "tar",
        lambda: packed(tar_header("x", ZEROS, tarfile.XHDTYPE), ZEROS),
        "limits.header",
    ),
    "tar-name": (
        "tar",
        lambda: packed(tar_header("x", ZEROS, tarfile.GNUTYPE_LONGNAME), ZEROS),
        "limits.header",
    ),
    "tar-skipped": (
        "tar",
        lambda: packed(tar_header("aclImdb/README", ZEROS), ZEROS),
        "no reviews",
    ),
    "json-lists": ("json", lambda: b"[" + b"[]," * 5_000_000 + b"[]]", "limits.items"),
    "json-long": ("json", lambda: b'"' + bytes([97]) * 2**25 + b'"', "limits.text"),
    "history-wide": (
        "history",
        lambda: b"epoch," + b",".join(b"%d" % k for k in range(3000)) + b"\n",
        "up to 64 columns",
    ),
    "safetensors-header": (
        "load",
        lambda: struct.pack("<Q", 2**25) + b"{" + b" " * 2**25,
        "limits.text",
    ),
    "safetensors-lists": (
        "load",
        lambda: (lambda h: struct.pack("<Q", len(h)) + h)(
            json.dumps({"__metadata__": {"nnx": "[" + "[]," * 1_600_000 + "[]]"}}).encode()
        ),
        "limits.items",
    ),
    "safetensors-empty": (
        "load",
        lambda: (lambda h: struct.pack("<Q", len(h)) + h)(
            json.dumps(
                {"w": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}
            ).encode()
        ),
        "CorruptFile: .*NumPy cannot hold|CorruptFile: .*not a whole safetensors",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(tmp_path, name):
    import re

    reader, content, message = BOMBS[name]
    path = tmp_path / name
    path.write_bytes(content())
    took, said = child(reader, path)
    assert took <= 192, f"{took} MiB"
    assert re.search(message, said), said
    assert name in said and len(said) < 2000 and "\n" not in said


@pytest.mark.parametrize(
    ("reader", "content", "promised"),
    [
        ("pictures", lambda: png(8192, 8192), 64),
        ("pictures", lambda: packed(idx(90_000, 1, 1), bytes(range(250)) * 360), 1),
        ("pictures", lambda: packed(idx(1, 8192, 8192), 2**26), 64),
        ("pictures", lambda: npy("(2000, 64, 64)", "<f8") + bytes(2000 * 64 * 64 * 8), 63),
        ("idx", lambda: packed(idx(2**28), 2**28), 256),
        ("csv", lambda: packed(b"label,review\n", b"1,ab\n" * 900_000), 5),
        ("json", lambda: b"[" + b"[]," * 700_000 + b"[]]", 3),
    ],
)
def test_what_is_within_the_limits_takes_no_more_than_thrice(tmp_path, reader, content, promised):
    (tmp_path / "a").write_bytes(content())
    took, said = child(reader, tmp_path / "a")
    assert said == "read" or "there is nothing on this picture" in said
    assert took <= 3 * max(promised, 64), f"{took} MiB"


def test_a_limit_can_be_set(tmp_path, monkeypatch):
    write_idx(tmp_path / "a.gz", np.zeros(5000, np.uint8))
    monkeypatch.setenv("NNX_LIMIT_UNPACKED", "4999")
    with pytest.raises(TooLarge, match=r"limit is 4,999.*limits\.unpacked.*NNX_LIMIT_UNPACKED"):
        read_idx(tmp_path / "a.gz")
    monkeypatch.setenv("NNX_LIMIT_UNPACKED", "6000")
    assert read_idx(tmp_path / "a.gz").shape == (5000,)
    for wrong in ("0", "-1", "²", "many", "9" * 30):
        monkeypatch.setenv("NNX_LIMIT_UNPACKED", wrong)
        with pytest.raises(ValueError, match=r"NNX_LIMIT_UNPACKED=.*whole number"):
            read_idx(tmp_path / "a.gz")
    monkeypatch.delenv("NNX_LIMIT_UNPACKED")
    monkeypatch.setitem(vars(limits), "unpacked", 10)
    with pytest.raises(TooLarge):
        read_idx(tmp_path / "a.gz")
    for wrong in (0, -1, True, 2.5, None):
        with pytest.raises(ValueError, match=r"limits\.pixels must be"):
            limits.pixels = wrong
    with pytest.raises(AttributeError, match="no limit 'memory'"):
        limits.memory = 3


LINKS = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]


@pytest.mark.parametrize("kind", LINKS)
def test_links_in_an_archive_are_refused(tmp_path, kind):
    from nnx.datasets.reviews import read_archive

    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo(REVIEW)
        member.type, member.linkname = kind, REVIEW
        archive.addfile(member)
    with pytest.raises(CorruptFile, match=r"a\.tar: aclImdb/train/pos/0_9\.txt is a link or a dev"):
        read_archive(tmp_path / "a.tar")


def test_a_negative_size_in_an_archive(tmp_path):
    from nnx.datasets.reviews import read_archive

    header = bytearray(tar_header(REVIEW, 0))
    header[124:136] = b"\xff" * 4 + struct.pack(">q", -1024)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(CorruptFile, match=r"a\.tar"):
        read_archive(tmp_path / "a.tar")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
@pytest.mark.parametrize("reader", ["idx", "pictures", "csv", "tar", "json", "glove", "load"])
def test_a_named_pipe_is_not_waited_for(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe")
    took, said = child(reader, tmp_path / "pipe")
    assert "pipe is a named pipe, not a file" in said and took < 64


def test_a_postscript_file_is_not_handed_to_ghostscript(tmp_path, monkeypatch):
    """Pillow would run `gs`, the first on the path."""
    from nnx.recipes.pictures import read_pictures

    gs = tmp_path / "gs"
    gs.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n"
    dos = struct.pack("<IIIIIIIH", 0xC6D3D0C5, 32, len(page), 0, 0, 0, 0, 0xFFFF) + b"\0\0" + page
    for content in (page, dos):
        (tmp_path / "photo.png").write_bytes(content)
        with pytest.raises(CorruptFile, match=r"photo\.png is PostScript, which is not read"):
            list(read_pictures(tmp_path / "photo.png"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "form", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "ICO", "TGA", "JPEG2000"]
)
def test_the_formats_that_are_meant(tmp_path, form):
    from PIL import Image

    from nnx.recipes.pictures import read_pictures

    x = np.zeros((32, 32), np.uint8)
    x[8:24, 12:20] = 255
    path = tmp_path / ("a.tga" if form == "TGA" else "a.bin")
    content = io.BytesIO()
    Image.fromarray(x).convert("RGB").save(content, form)
    path.write_bytes(content.getvalue())
    (picture,) = read_pictures(path)
    assert picture.pixels.shape == (32, 32)
    assert picture.pixels[16, 16] > 0.9 and picture.pixels[2, 2] < 0.1


def test_brackets_in_an_npy_header(tmp_path):
    from nnx.recipes.pictures import read_pictures

    for shape in (
        "(" * 4000,
        "(" * 200 + ")" * 200,
        "(1, 2",
        "3",
        "(-1, 4)",
        "(True, 8)",
        "(1e9,)",
    ):
        (tmp_path / "a.npy").write_bytes(npy(shape) + bytes(64))
        with pytest.raises(CorruptFile, match=r"a\.npy"):
            list(read_pictures(tmp_path / "a.npy"))
    with pytest.raises(CorruptFile, match=r"a\.gz"):
        (tmp_path / "a.gz").write_bytes(gzip.compress(b"\0\0\x08\xff" + bytes(4 * 255)))
        read_idx(tmp_path / "a.gz")


def test_the_header_is_parsed_once_for_all_arrays_in_bfloat16(tmp_path, monkeypatch):
    """Once it was parsed for each: a header of megabytes and 5,000 arrays took minutes."""
    from nnx.io import container

    parsed = []
    parse = container._parsed
    monkeypatch.setattr(container, "_parsed", lambda *a: (parsed.append(a), parse(*a))[1])
    places = {f"w{k}": [2 * k, 2 * k + 2] for k in range(500)}
    entries = {n: {"dtype": "BF16", "shape": [1], "data_offsets": p} for n, p in places.items()}
    header = json.dumps(entries).encode()
    content = struct.pack("<Q", len(header)) + header + b"\x80\x3f" * 500
    (tmp_path / "a").write_bytes(content)
    arrays = load(tmp_path / "a")[0]
    assert len(arrays) == 500 and all(a == 1 for a in arrays.values()) and len(parsed) == 1
