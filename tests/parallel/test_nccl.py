"""NCCL's side, on a stand-in with its calls over NumPy memory."""

from __future__ import annotations

import ctypes
import threading
from collections import defaultdict
from queue import SimpleQueue

import numpy as np
import pytest
from parallel_helpers import digest

import nnx
from nnx import nn, optim, parallel
from nnx.parallel import DataParallel, LocalWorld
from nnx.parallel.nccl import DTYPES, SUM, UINT8, NcclRank
from nnx.parallel.tree import Nodes, share


class DeviceArray(np.ndarray):
    """Memory of a device, as far as the stand-in knows."""


def on_device(array):
    return np.array(array).view(DeviceArray)


class StandIn:
    """`cupy.cuda.nccl` for threads: what is sent in a group moves when the group ends."""

    def __init__(self):
        self.queues = defaultdict(SimpleQueue)
        self.lock = threading.Lock()
        self.here = threading.local()

    def get_unique_id(self):
        return tuple(range(128))

    def groupStart(self):
        self.here.calls = []

    def groupEnd(self):
        calls, self.here.calls = self.here.calls, None
        for kind in ("send", "recv"):
            for call in calls:
                if call[0] == kind:
                    self._move(*call)

    def _move(self, kind, me, pointer, count, peer):
        memory = (ctypes.c_char * count).from_address(pointer)
        with self.lock:
            queue = self.queues[(me, peer) if kind == "send" else (peer, me)]
        if kind == "send":
            queue.put(bytes(memory))
        else:
            memory[:] = queue.get(timeout=20)

    def NcclCommunicator(self, size, identity, rank):
        assert identity == tuple(range(128))
        return StandInRank(self, size, rank)


class StandInRank:
    def __init__(self, nccl, size, rank):
        self.nccl, self.size, self.rank = nccl, size, rank

    def send(self, pointer, count, dtype, peer, stream):
        assert dtype == UINT8 and stream == 42
        self.nccl.here.calls.append(("send", self.rank, pointer, count, peer))

    def recv(self, pointer, count, dtype, peer, stream):
        assert dtype == UINT8 and stream == 42
        self.nccl.here.calls.append(("recv", self.rank, pointer, count, peer))

    def allReduce(self, source, target, count, dtype, op, stream):
        assert source == target and op == SUM and dtype == DTYPES["float32"]
        own = np.frombuffer((ctypes.c_char * (4 * count)).from_address(source), np.float32)
        self.nccl.groupStart()
        others = [p for p in range(self.size) if p != self.rank]
        got = {p: np.empty(count, np.float32) for p in others}
        for p in others:
            self.send(source, 4 * count, UINT8, p, stream)
            self.recv(got[p].ctypes.data, 4 * count, UINT8, p, stream)
        self.nccl.groupEnd()
        total = sum((got[p] if p != self.rank else own.copy() for p in range(self.size)), 0)
        own[:] = total


class Device:
    """A rank's device on the stand-in; counts how often its stream was waited for."""

    def __init__(self, nccl):
        self.nccl, self.waits = nccl, 0

    def owns(self, array):
        return isinstance(array, DeviceArray)

    def pointer(self, array):
        assert array.flags.c_contiguous
        return array.ctypes.data

    def begin(self):
        return 42

    def finish(self):
        self.waits += 1


@pytest.mark.parametrize("n", range(1, 9))
def test_the_same_tree(n):
    leaves = np.random.default_rng(n).standard_normal((8, 37)).astype(np.float32)
    nccl = StandIn()

    def summed(array):
        ranks = parallel.world()
        if array is on_device:
            ranks = NcclRank(ranks, Device(nccl))
        nodes = Nodes()
        for part in range(*share(8, n, ranks.rank)):
            nodes.add((part, part + 1), array(leaves[part]))
        total = ranks.tree_sum(8, nodes.take())
        assert isinstance(total, DeviceArray) == (array is on_device)
        assert array is not on_device or n == 1 or ranks.device.waits >= 2
        return np.asarray(total)

    host, device = (LocalWorld(n).run(summed, array) for array in (np.array, on_device))
    for a, b in zip(host, device, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_fast_sum_is_the_library_s():
    nccl = StandIn()

    def summed():
        ranks = NcclRank(parallel.world(), Device(nccl))
        return np.asarray(ranks.fast_sum(on_device(np.full(5, 1.5, np.float32)))).tolist()

    assert LocalWorld(4).run(summed) == [[6.0] * 5] * 4


def test_gradients_that_lie_on_a_device_stay_there():
    """Parameters, gradients and buckets on the stand-in's device: the bits of host memory."""
    nccl = StandIn()

    def train(device):
        ranks = parallel.world()
        if device:
            ranks = NcclRank(ranks, Device(nccl))
        nnx.manual_seed(1)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        model = DataParallel(net, ranks, parts=4, bucket_bytes=8)
        made = on_device if device else np.array
        for p in net.parameters():
            p.data = made(p.data)
        opt = optim.SGD(model.parameters(), lr=0.1)
        x = made(np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32))
        for _ in range(3):
            model.backward(lambda b: (model(b[0]).sum(), None, None), (nnx.Tensor(x),))
            assert not device or isinstance(net[0].weight.grad, DeviceArray)
            opt.step()
        assert not device or ranks.size == 1 or ranks.device.waits > 6
        return digest({k: np.asarray(v) for k, v in model.state_dict().items()})

    for n in (1, 2, 3, 4):
        assert len({*LocalWorld(n).run(train, True), *LocalWorld(2).run(train, False)}) == 1


def test_training_with_arrays_in_host_memory_goes_by_the_control():
    def train(wrap):
        ranks = parallel.world()
        if wrap:
            ranks = NcclRank(ranks, Device(StandIn()))
        nnx.manual_seed(1)
        model = DataParallel(nn.Linear(3, 2), ranks, parts=4)
        opt = optim.SGD(model.parameters(), lr=0.1)
        x = nnx.tensor(np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32))
        model.backward(lambda b: (model(b[0]).sum(), None, None), (x,))
        opt.step()
        return digest(model.state_dict())

    assert len({*LocalWorld(4).run(train, True), *LocalWorld(2).run(train, False)}) == 1
