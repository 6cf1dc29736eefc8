"""Readers given damaged files: each ends in arrays, or in one of the errors it promises.

    python tests/hostile/fuzz.py                         1,000 files for each reader
    python tests/hostile/fuzz.py --count 100000          the long run
    python tests/hostile/fuzz.py --reader idx --seed 7

A file is made of whole ones: bits flipped, bytes set to odd values, cut off, pieces repeated,
left out, exchanged or put in from another file, numbers replaced by odd ones.  What is looked
for: an exception that is not promised, more than SLOW seconds, memory that grows, a message
longer than a screen.  A file that finds something is kept in --keep.  `guided.py` lets atheris,
where it is installed, make the files by what code they reach.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import resource
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from nnx.datasets import read_idx, write_idx
from nnx.datasets import series as series_module
from nnx.datasets.reviews import read_archive, read_csv
from nnx.io import load, load_state, load_weights, read_json, read_text, save, save_state
from nnx.io.npy import read_npy
from nnx.recipes.pictures import lay_out, read_pictures
from nnx.text import TextEncoder, Tokenizer, Vocabulary, read_glove
from nnx.train.history import read_csv as read_history

SLOW = 20.0  # seconds of computing for one file: what hangs
GROWTH = 200 * 2**10  # KiB that the process may grow by
PROMISED = (ValueError, OSError)  # TypeError: see below
LONGEST = 2500  # characters of a message


def read_picture(path: Path) -> None:
    for picture in read_pictures(path):
        try:
            lay_out(picture, (28, 28), (20, 20))
        except ValueError as error:
            if "nothing on this picture" not in str(error):
                raise


def read_days(path: Path) -> None:
    found = series_module.locate
    series_module.locate = lambda file: path
    try:
        series_module.load_csi300()
    finally:
        series_module.locate = found


def read_encoder(path: Path) -> None:
    encoder = TextEncoder.from_dict(read_json(path))
    encoder(["A good film."])


def tokenize(path: Path) -> None:
    Tokenizer()(path.read_bytes().decode("utf-8", "replace"))


READERS: dict[str, Callable[[Path], object]] = {
    "idx": read_idx,
    "npy": read_npy,
    "picture": read_picture,
    "csv": read_csv,
    "days": read_days,
    "tar": read_archive,
    "glove": lambda path: read_glove(path, Vocabulary(["film", "good", "bad"])),
    "tensors": load,
    "state": load_state,
    "weights": load_weights,
    "json": read_json,
    "vocabulary": Vocabulary.load,
    "encoder": read_encoder,
    "history": lambda path: read_history(read_text(path), path),
    "tokenizer": tokenize,
}


def whole_files(folder: Path) -> dict[str, list[bytes]]:
    """Files that each reader reads."""
    rng = np.random.default_rng(0)
    path = folder / "whole"

    def written(write: Callable[[Path], object], name: str = "whole") -> bytes:
        write(folder / name)
        return (folder / name).read_bytes()

    idx = [
        written(lambda p, d=d: write_idx(p, rng.integers(0, 99, (3, 4, 5)).astype(d)))
        for d in ("uint8", "int16", "float32", "float64")
    ]
    npy = [
        written(lambda p, a=a: np.save(p, a), "whole.npy")
        for a in (
            np.eye(5),
            np.zeros((2, 8, 8), np.uint8),
            np.asfortranarray(np.ones((3, 4), ">f4")),
        )
    ]
    pictures = []
    x = np.uint8(255 * (np.add.outer(np.arange(24), np.arange(24)) % 7 == 0))
    for form in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "ICO", "JPEG2000"):
        for mode in ("L", "RGB"):
            made = io.BytesIO()
            Image.fromarray(x).convert(mode).save(made, form)
            pictures.append(made.getvalue())
    for mode in ("P", "RGBA", "LA", "1", "I;16"):
        made = io.BytesIO()
        Image.fromarray(x).convert("L" if mode == "I;16" else mode).save(made, "PNG")
        pictures.append(made.getvalue())
    csv = [
        b'label,review\n1,"Good, ""really"" good."\n0,bad\n\n',
        b"\xef\xbb\xbfreview,label\r\nx,1\r\n",
    ]
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for part in ("train", "test"):
            for k, kind in enumerate(("pos", "neg")):
                member = tarfile.TarInfo(f"aclImdb/{part}/{kind}/{k}_9.txt")
                member.size, member.pax_headers = 5, {"comment": "é" * 60}
                archive.addfile(member, io.BytesIO(b"Good."))
    tar = made.getvalue()
    weights = {"0.weight": np.ones((3, 2), np.float32), "0.bias": np.zeros(3, np.float16)}
    tensors = written(lambda p: save(p, weights, {"layers": [1, (2, 3)], "x": {1: None}}))
    nest = {"step": 3, "state": {0: {"exp_avg": np.ones(4)}}, "betas": (0.9, 0.999), "best": None}
    state = written(lambda p: save_state(p, nest, weights, {"config": {"lr": 0.1}}))
    header = b'{"w":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}'
    halves = len(header).to_bytes(8, "little") + header + bytes(8)
    words = Vocabulary(["good", "bad", "film"])
    encoder = TextEncoder(Tokenizer(["the"]), words, 20)
    path.unlink()
    return {
        "idx": [*idx, *map(gzip.compress, idx)],
        "npy": npy,
        "picture": [*pictures, *npy, idx[0], gzip.compress(idx[0])],
        "csv": [*csv, *map(gzip.compress, csv)],
        "days": [b"1,2.5,3,4\n2,3,4,5\n3,4,5,6\n", b"\xef\xbb\xbf1, 2,3,4\r\n2,3,4,5e3\r\n\r\n"],
        "tar": [tar, gzip.compress(tar)],
        "glove": [b"film 0.1 0.2\ngood 1 -2\n", b"3 2\nfilm 1 2\nbad  3 4\n\n"],
        "tensors": [tensors, state, halves],
        "state": [state, tensors],
        "weights": [state, tensors],
        "json": [b'{"a": [1, 2.5, null, true, "x\\u00e9"], "b": {}}'],
        "vocabulary": [written(lambda p: words.save(p))],
        "encoder": [json.dumps(encoder.to_dict()).encode()],
        "history": [b"epoch,loss,val_loss\n1,0.5,0.6\n2,0.4,\n"],
        "tokenizer": [
            "It isn't <b>bad</b> &amp; İt &#65; é e\u0301 \U0001f44d\U0001f3fd!".encode()
        ],
    }


ODD = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF, 0x0A, 0x22, 0x2C, 0x7B, 0x5B)
NUMBERS = (b"-1", b"0", b"1e999", b"nan", b"9" * 30, b"4294967296", b"9223372036854775807", b"1.5")
TOKENS = (
    *(b"null", b"{}", b"[]", b'""', b"[[[[", b'{"$tensor":', b"$items", b"__metadata__"),
    *(b"\xff\xfe", b"\r\n", b"&#", b"\x00" * 8, b"\x1b[31m", b"\xed\xa0\x80"),
    "\u0301".encode() * 40,
)


def mutated(rng: random.Random, whole: list[bytes]) -> bytes:
    """A damaged file."""
    data = bytearray(rng.choice(whole))
    packed = bytes(data[:2]) == b"\x1f\x8b"
    if packed and rng.random() < 0.7:  # damage what is in it, not the packing
        data = bytearray(gzip.decompress(bytes(data)))
    else:
        packed = False
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 4, 8, 64, 512)))
        how = rng.randrange(10)
        if how == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1 and at < len(data):
            data[at] = rng.choice(ODD)
        elif how == 2:
            del data[at:]
        elif how == 3:
            del data[at:end]
        elif how == 4:
            data[at:at] = data[at:end] * rng.choice((1, 2, 50))
        elif how == 5:
            other = rng.choice(whole)
            start = rng.randrange(len(other) + 1)
            data[at:end] = other[start : start + (end - at)]
        elif how == 6:
            data[at:end] = bytes(rng.randrange(256) for _ in range(end - at))
        elif how == 7:
            size = rng.choice((2, 4, 8))
            number = rng.choice((0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)) % 256**size
            data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        elif how == 8:
            data[at:end] = rng.choice(NUMBERS + TOKENS)
        else:
            digits = [k for k, c in enumerate(data) if 48 <= c < 58]
            if digits:
                at = rng.choice(digits)
                data[at : at + 1] = rng.choice(NUMBERS)
    made = bytes(data[: 2**20])
    return gzip.compress(made, 1) if packed else made


def checked(reader: str, path: Path) -> str | None:
    """Read a file; what was wrong about it, if anything."""
    began = time.process_time()
    wrong = None
    try:
        READERS[reader](path)
    except PROMISED as error:
        if len(str(error)) > LONGEST:
            wrong = f"a message of {len(str(error))} characters"
    except MemoryError as error:
        wrong = None if path.name in str(error) else f"MemoryError without the name: {error}"
    except BaseException as error:
        wrong = f"{type(error).__name__}: {error}"
    took = time.process_time() - began
    return f"{took:.1f} s" if wrong is None and took > SLOW else wrong


def fuzz(reader: str, count: int, seed: int, keep: Path | None = None) -> list[str]:
    """What was found in so many damaged files."""
    rng = random.Random(f"{reader} {seed}")
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        whole = whole_files(Path(folder))[reader]
        path = Path(folder) / "fuzzed"
        for content in whole:
            path.write_bytes(content)
            if (wrong := checked(reader, path)) is not None:
                found.append(f"{reader}: a whole file: {wrong}")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for k in range(count):
            content = mutated(rng, whole)
            path.write_bytes(content)
            if (wrong := checked(reader, path)) is not None:
                found.append(f"{reader}: file {k} of seed {seed}: {wrong}")
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{reader}-{seed}-{k}").write_bytes(content)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if grown > GROWTH:
            found.append(f"{reader}: the process grew by {grown >> 10} MiB")
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--reader", choices=READERS, action="append")
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "nnx-fuzz")
    given = options.parse_args()
    found = []
    for reader in given.reader or READERS:
        began = time.perf_counter()
        some = fuzz(reader, given.count, given.seed, given.keep)
        print(f"{reader:12} {given.count:,} files, {time.perf_counter() - began:.0f} s, "
              f"{len(some)} found", *some[:20], sep="\n    ", flush=True)  # fmt: skip
        found += some
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
