import csv
import gzip
import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from nnx.datasets import DataError, DataNotFoundError, load_imdb
from nnx.datasets import reviews as source

REVIEWS = [
    (1, 'Great,<br />"really" great.'),
    (0, "Bad\nin two lines"),
    (1, ""),
    (0, "Für die Füße 🎬"),
]


def write_csv(path, rows=REVIEWS):
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["label", "review"])
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = out.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_folder(folder):
    """The published layout; numbers repeat between pos and neg, and 10 sorts after 9."""
    for part in ("train", "test"):
        for kind in ("pos", "neg", "unsup"):
            (folder / part / kind).mkdir(parents=True)
        for number in (9, 10, 0):
            (folder / part / "pos" / f"{number}_8.txt").write_text(
                f"{part} pos {number} ü", "utf-8"
            )
            (folder / part / "neg" / f"{number}_2.txt").write_text(f"{part} neg {number}", "utf-8")
        (folder / part / "unsup" / "3_0.txt").write_text("without a label")
        (folder / part / "urls_pos.txt").write_text("http://")


def check_published(data):
    for name, part in zip(("train", "test"), data, strict=True):
        assert part.texts == [
            f"{name} {kind}"
            for kind in ("neg 0", "pos 0 ü", "neg 9", "pos 9 ü", "neg 10", "pos 10 ü")
        ]
        assert part.labels.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_csv(places, suffix):
    data, _ = places
    write_csv(data / f"imdb/train.csv{suffix}")
    write_csv(data / f"imdb/test.csv{suffix}", REVIEWS[:1])
    train, test = load_imdb()
    assert train.texts == [text for _, text in REVIEWS]
    assert train.labels.tolist() == [1, 0, 1, 0] and train.labels.dtype == "int64"
    assert len(train) == 4 and len(test) == 1
    assert repr(train) == "Texts(texts=[4 strings], labels=int64 (4,))"


@pytest.mark.parametrize("where", ["aclImdb", "imdb/aclImdb"])
def test_the_published_folder(places, where):
    data, _ = places
    write_folder(data / where)
    check_published(load_imdb())


@pytest.mark.parametrize("where", ["data/imdb", "cache/imdb"])
def test_the_published_archive(places, tmp_path, where):
    write_folder(tmp_path / "unpacked" / "aclImdb")
    (tmp_path / where).mkdir(parents=True)
    with tarfile.open(tmp_path / where / "aclImdb_v1.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "unpacked" / "aclImdb", "aclImdb")
    check_published(load_imdb())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "train.csv: the first line must name the columns .* it names nothing"),
        (b"text,label\nx,1\n", "must name the columns label and review, it names text, label"),
        (b'label,review\n1,a\n2,"b\nc"\n', "line 4: a review needs a label 0 or 1 .* label '2'"),
        (b"label,review\n1\n", "line 2: a review needs"),
        (b"label,review\n1,a,b\n", "line 2: .* and 3 columns"),
        (b'label,review\n1,"unfinished', "after line 1: unexpected end of data"),
        (b"label,review\n1,\xff\n", "not UTF-8 text: invalid start byte, in line 1 or soon after"),
        (
            gzip.compress(b"label,review\n1,abcdefgh\n", mtime=0)[:-4],
            "truncated: the gzip stream ends early",
        ),
    ],
)
def test_a_bad_csv_file_is_named_with_its_fault(places, content, message):
    data, _ = places
    write_csv(data / "imdb/test.csv")
    (data / "imdb/train.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        load_imdb()
    assert str(data / "imdb/train.csv") in str(error.value)


def test_a_byte_order_mark_is_no_part_of_a_name(places):
    data, _ = places
    write_csv(data / "imdb/test.csv")
    (data / "imdb/train.csv").write_bytes(b"\xef\xbb\xbflabel,review\n1,a\n")
    assert load_imdb().train.texts == ["a"]


def test_one_of_the_two_csv_files_is_not_enough(places):
    data, _ = places
    write_csv(data / "imdb/train.csv")
    with pytest.raises(DataNotFoundError, match=r"test.csv.gz .*\n(.*\n)*.*remove .*train.csv"):
        load_imdb()


def test_bad_folders_and_archives(places):
    data, _ = places
    write_folder(data / "aclImdb")
    stray = data / "aclImdb/test/neg/readme.txt"
    stray.write_text("no review")
    with pytest.raises(DataError, match=r"readme.txt: a review's file name is its number"):
        load_imdb()
    stray.unlink()
    (data / "aclImdb/test/pos/1_9.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"1_9.txt: not UTF-8 text"):
        load_imdb()
    for path in (data / "aclImdb/test/pos").iterdir():
        path.unlink()
    (data / "aclImdb/test/pos").rmdir()
    with pytest.raises(DataError, match="test: there must be a folder pos/"):
        load_imdb()
    (data / "aclImdb").rename(data / "elsewhere")
    with tarfile.open(data / "aclImdb_v1.tar.gz", "w:gz") as archive:
        archive.add(data / "elsewhere/train", "aclImdb/train")
    with pytest.raises(DataError, match="there are no reviews aclImdb/test/"):
        load_imdb()
    whole = (data / "aclImdb_v1.tar.gz").read_bytes()
    (data / "aclImdb_v1.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"tar.gz: truncated: the gzip stream ends early"):
        load_imdb()


def test_nowhere(places, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(
        source, "_ARCHIVE", replace(source._ARCHIVE, urls=("http://127.0.0.1:9/x.tar.gz",))
    )
    with pytest.raises(DataNotFoundError, match=r"aclImdb_v1(.|\n)*Or: train.csv.gz and test.csv"):
        load_imdb()


def test_the_real_reviews():
    folder = os.environ.get("NNX_DATA")
    if not folder or not (Path(folder) / "imdb" / "train.csv.gz").is_file():
        pytest.skip("NNX_DATA has no imdb/train.csv.gz")
    train, test = load_imdb()
    assert (len(train), len(test)) == (4996, 1400)
    assert abs(train.labels.mean() - 0.5) < 0.01 and abs(test.labels.mean() - 0.5) < 0.01
    assert not set(train.texts) & set(test.texts)
    assert any("<br />" in text for text in train.texts)
