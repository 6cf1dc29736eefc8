import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nnx.datasets import DataNotFoundError, cache_folder
from nnx.datasets.download import DataFile, find, locate

CONTENT = b"the published file"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """The address of a server on this machine that has one file, good.gz."""
    folder = tmp_path_factory.mktemp("mirror")
    (folder / "good.gz").write_bytes(CONTENT)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_the_order_of_places(places):
    data, cache = places
    file = DataFile("mnist", "good.gz")
    for path in (
        cache / "mnist/good",
        cache / "mnist/good.gz",
        data / "good",
        data / "good.gz",
        data / "mnist/good",
        data / "mnist/good.gz",
    ):
        put(path)
        assert locate(file) == path
    assert find("mnist", ["other", "good.gz"]) == data / "mnist/good.gz"
    assert find("mnist", ["other"]) is None


def test_the_cache_alone(places, monkeypatch):
    data, cache = places
    put(data / "mnist/good.gz")
    path = put(cache / "mnist/good.gz")
    for nothing in ("", None):
        if nothing is None:
            monkeypatch.delenv("NNX_DATA")
        else:
            monkeypatch.setenv("NNX_DATA", nothing)
        assert locate(DataFile("mnist", "good.gz")) == path


def test_the_cache_is_the_systems():
    assert cache_folder().name == "nnx" or "nnx" in cache_folder().parts


def test_download_into_the_cache(places, mirror):
    _, cache = places
    file = DataFile("mnist", "good.gz", (mirror + "good.gz",), SHA256)
    assert locate(file) == cache / "mnist/good.gz"
    assert (cache / "mnist/good.gz").read_bytes() == CONTENT
    assert locate(DataFile("mnist", "good.gz")) == cache / "mnist/good.gz"  # no mirror needed now


def test_the_second_mirror_is_tried(places, mirror):
    _, cache = places
    file = DataFile("mnist", "good.gz", (mirror + "missing.gz", mirror + "good.gz"), SHA256)
    assert locate(file) == cache / "mnist/good.gz"


def test_a_wrong_checksum_leaves_nothing_behind(places, mirror):
    _, cache = places
    file = DataFile("mnist", "good.gz", (mirror + "good.gz",), "0" * 64)
    with pytest.raises(DataNotFoundError, match=SHA256):
        locate(file)
    assert not list(cache.rglob("good*"))


def test_what_to_do_without_network_and_data(places):
    data, cache = places
    closed = "http://127.0.0.1:9/mnist/good.gz"
    with pytest.raises(DataNotFoundError) as error:
        locate(DataFile("mnist", "good.gz", (closed,), SHA256))
    message = str(error.value)
    for part in (
        "good.gz (mnist) is not on this machine",
        f"looked in    {data / 'mnist'}",
        f"looked in    {cache / 'mnist'}",
        f"no download  {closed}: ",
        f"fetch {closed}",
        "DATA/mnist/good.gz",
        "NNX_DATA=DATA",
        f"or at {cache / 'mnist' / 'good.gz'}",
    ):
        assert part in message, part
    assert "is not set" not in message


def test_what_to_do_without_a_mirror(places, monkeypatch):
    monkeypatch.delenv("NNX_DATA")
    with pytest.raises(DataNotFoundError) as error:
        locate(DataFile("hs300", "hs300.csv", instead="something else"))
    message = str(error.value)
    for part in ("NNX_DATA     is not set", "cannot be downloaded", "Or: something else"):
        assert part in message, part


def test_nnx_data_must_be_a_folder(places, monkeypatch):
    data, _ = places
    monkeypatch.setenv("NNX_DATA", str(data / "nowhere"))
    with pytest.raises(DataNotFoundError, match=r"NNX_DATA=.*nowhere is not a folder; set it to"):
        locate(DataFile("mnist", "good.gz"))
