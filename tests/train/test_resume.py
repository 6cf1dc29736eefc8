"""A run that was stopped and resumed is the run that never stopped, in every bit."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import nnx
from nnx import optim
from nnx.io import CorruptFile, load, load_state
from nnx.metrics import TopK
from nnx.train import Callback, Checkpoint, ClipGradNorm, EarlyStopping, Schedule, Trainer
from nnx.train.interrupt import Interrupts


def bits(value):
    """Everything in a nest of state, as bytes and plain values."""
    if hasattr(value, "dtype"):
        array = np.asarray(value)
        return (array.dtype.name, array.shape, array.tobytes())
    if isinstance(value, dict):
        return {k: bits(v) for k, v in value.items() if k != "seconds"}
    if isinstance(value, list | tuple):
        return [bits(v) for v in value]
    return value


def in_file(path):
    """Weights and state, as they are in a checkpoint."""
    state, weights, _ = load_state(path)
    return bits(weights), bits(state)


def sgd(p):
    return optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4)


OPTIMIZERS = {"sgd": sgd, "adam": lambda p: optim.Adam(p, lr=0.01)}


class Uncounted:
    """Batches whose number is not known."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


class StopAt(Callback):
    """Presses Ctrl-C in a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, trainer):
        if trainer.step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def stirred():
    """Another process, later: the generator was used for other things, and memory too."""
    nnx.manual_seed(99)
    nnx.random.uniform((1000,))


def halves_equal_the_whole(task, folder, make, half):
    whole, loader = task.trainer(optimizer=make)
    whole.fit(loader, task.arrays(), epochs=2 * half)
    whole.save(folder / "whole")

    first, loader = task.trainer(optimizer=make)
    first.fit(loader, task.arrays(), epochs=half)
    first.save(folder / "first")

    second, loader = task.trainer(optimizer=make, seed=8)  # other weights, another shuffle
    second.load(folder / "first")
    stirred()
    second.fit(loader, task.arrays(), epochs=half)
    second.save(folder / "second")

    assert in_file(folder / "second") == in_file(folder / "whole")
    assert in_file(folder / "first") != in_file(folder / "whole")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_5_epochs_and_5_more_are_10(task, tmp_path, optimizer):
    halves_equal_the_whole(task, tmp_path, OPTIMIZERS[optimizer], 5)


def test_1_epoch_and_1_more_are_2_on_every_backend(task_on, tmp_path):
    halves_equal_the_whole(task_on, tmp_path, OPTIMIZERS["adam"], 1)


@pytest.mark.parametrize("step", [1, 10, 14, 20])  # 7 steps an epoch: also right at an epoch's end
def test_ctrl_c_in_the_middle_of_an_epoch_and_on(task, tmp_path, step):
    def callbacks(name):
        return [Checkpoint(tmp_path / name), EarlyStopping(50, restore_best=True)]

    whole, loader = task.trainer(callbacks("whole"))
    whole.fit(loader, task.arrays(), epochs=4)

    first, loader = task.trainer([*callbacks("parts"), StopAt(step)])
    history = first.fit(loader, task.arrays(), epochs=4)
    assert first.interrupted and len(history) == (step - 1) // 7
    assert first.step == step

    second, loader = task.trainer(callbacks("parts"), seed=8)
    second.load(tmp_path / "parts" / "last.safetensors")
    assert second.step == step
    stirred()
    second.fit(loader, task.arrays(), epochs=4 - second.epoch)
    assert not second.interrupted

    for file in ("last", "best"):
        parts = load(tmp_path / "parts" / f"{file}.safetensors")[0]
        assert bits(parts) == bits(load(tmp_path / "whole" / f"{file}.safetensors")[0])
    assert in_file(tmp_path / "parts" / "last.safetensors") == in_file(
        tmp_path / "whole" / "last.safetensors"
    )
    assert [bits(row) for row in second.history.rows] == [bits(row) for row in whole.history.rows]
    assert second.history.step_losses == whole.history.step_losses


def test_ctrl_c_and_on_in_the_same_program(task):
    """As in a notebook: the trainer itself remembers where it was."""
    whole, loader = task.trainer()
    whole.fit(loader, epochs=3)
    parts, loader = task.trainer([StopAt(10)])
    parts.fit(loader, epochs=3)
    assert parts.interrupted and (parts.epoch, parts.batch) == (1, 3)
    stirred()
    parts.fit(loader, epochs=2)
    assert bits(parts.model.state_dict()) == bits(whole.model.state_dict())
    assert parts.history.step_losses == whole.history.step_losses


def test_an_epoch_that_ended_in_an_error_begins_again(task):
    good = (task.x[:8], task.labels[:8])
    trainer, loader = task.trainer()
    with pytest.raises(ValueError, match="linear"):
        trainer.fit([good, (task.x[:8, :2], task.labels[:8])])
    history = trainer.fit(loader, epochs=1)
    assert (trainer.epoch, trainer.batch, trainer.step) == (1, 0, 8)
    assert len(history.step_losses) == 7


def test_ctrl_c_while_evaluating(task, tmp_path):
    class Slow:
        """Validation data during which Ctrl-C is pressed, in the second epoch."""

        def __init__(self, data, at):
            self.data, self.at, self.walks = data, at, 0

        def __iter__(self):
            self.walks += 1
            if self.walks == self.at:
                os.kill(os.getpid(), signal.SIGINT)
            yield from [self.data] * 2

    whole, loader = task.trainer()
    whole.fit(loader, Slow(task.arrays(), 0), epochs=3)
    whole.save(tmp_path / "whole")

    first, loader = task.trainer([Checkpoint(tmp_path)])
    first.fit(loader, Slow(task.arrays(), 2), epochs=3)
    assert first.interrupted and (first.epoch, first.batch) == (1, 7)

    second, loader = task.trainer([Checkpoint(tmp_path)])
    second.load(tmp_path / "last.safetensors")
    second.fit(loader, Slow(task.arrays(), 0), epochs=2)
    assert bits(load(tmp_path / "last.safetensors")[0]) == bits(load(tmp_path / "whole")[0])


def test_batches_that_remember_nothing_are_walked_past(task, tmp_path):
    batches = [(task.x[k::7], task.labels[k::7]) for k in range(7)]
    whole, _ = task.trainer()
    whole.fit(batches, epochs=3)
    first, _ = task.trainer([Checkpoint(tmp_path), StopAt(10)])
    first.fit(batches, epochs=3)
    second, _ = task.trainer([Checkpoint(tmp_path)])
    second.load(tmp_path / "last.safetensors")
    second.fit(batches, epochs=2)
    assert bits(second.model.state_dict()) == bits(whole.model.state_dict())
    assert second.history.step_losses == whole.history.step_losses

    third, _ = task.trainer([Checkpoint(tmp_path / "short")])
    third.load(tmp_path / "last.safetensors")
    third.batch = 3
    with pytest.raises(ValueError, match=r"after 3 batches of an epoch, but .* has only 2"):
        third.fit(batches[:2], epochs=1)
    third.load(tmp_path / "last.safetensors")
    third.batch = 3
    with pytest.raises(ValueError, match=r"after 3 batches of an epoch, but .* has only 2"):
        third.fit(Uncounted(batches[:2]), epochs=1)


def test_a_checkpoint_every_few_steps(task, tmp_path):
    seen = []

    class Look(Checkpoint):
        def on_step_end(self, trainer):
            pass

    class After(Callback):
        last = True

        def on_step_end(self, trainer):
            if (tmp_path / "last.safetensors").exists():
                seen.append(load_state(tmp_path / "last.safetensors")[0]["step"])

    trainer, loader = task.trainer([Checkpoint(tmp_path, every_steps=3), After()])
    trainer.fit(loader, epochs=1)
    assert seen == [3, 3, 3, 6, 6]
    assert load_state(tmp_path / "last.safetensors")[0]["step"] == 7


def test_the_checkpoint_is_open_to_others(task, tmp_path):
    """The model's weights stand under their own names, and load into the bare model."""
    trainer, loader = task.trainer([Checkpoint(tmp_path, config={"layers": 2})])
    trainer.fit(loader, epochs=2)
    for name in ("last", "best"):
        tensors, header = load(tmp_path / f"{name}.safetensors")
        assert header["config"] == {"layers": 2}
        own = trainer.model.state_dict()
        assert {k for k in tensors if not k.startswith("state/")} == set(own)
    assert header["epoch"] in (1, 2) and header["loss"] == min(trainer.history["loss"])
    model = task.model(seed=8)
    model.load_state_dict(tensors)
    assert bits(model.state_dict())


def test_the_best_epoch_is_kept(task, tmp_path):
    """By the watched column: accuracy is better where it is higher, a loss where it is lower."""
    for monitor, best in (("val_accuracy", max), ("val_loss", min)):
        folder = tmp_path / monitor
        trainer, loader = task.trainer([Checkpoint(folder, monitor)])
        history = trainer.fit(loader, task.arrays(), epochs=6)
        column = history[monitor]
        _, header = load(folder / "best.safetensors")
        assert header["epoch"] == column.index(best(column)) + 1
        again = Trainer(task.model(), trainer.loss, trainer.optimizer, metrics=["accuracy"])
        again.model.load_state_dict(load(folder / "best.safetensors")[0])
        assert again.evaluate(task.arrays())[monitor[4:]] == pytest.approx(best(column))


def test_another_model_optimizer_or_callbacks_are_refused(task, tmp_path):
    trainer, loader = task.trainer([EarlyStopping(3)])
    trainer.fit(loader, epochs=1)
    trainer.save(tmp_path / "a.safetensors")

    other, _ = task.trainer()
    with pytest.raises(ValueError, match=r"a\.safetensors was written with the callbacks .*Early"):
        other.load(tmp_path / "a.safetensors")
    other, _ = task.trainer([EarlyStopping(3)], metrics=[])
    with pytest.raises(ValueError, match=r"a\.safetensors was written with 1 metrics"):
        other.load(tmp_path / "a.safetensors")
    other, _ = task.trainer([EarlyStopping(3)])
    other.model.append(nnx.nn.Linear(3, 3))
    with pytest.raises(
        ValueError, match=r"a\.safetensors: load_state_dict(.|\n)*missing: 4\.weight"
    ):
        other.load(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-9])
    with pytest.raises(CorruptFile, match=r"b\.safetensors"):
        other.load(tmp_path / "b.safetensors")


def test_the_optimizers_and_the_metrics_must_be_the_same(task, tmp_path):
    def saved(name, **options):
        trainer, loader = task.trainer(**options)
        trainer.fit(loader, epochs=1)
        trainer.save(tmp_path / name)
        return tmp_path / name

    path = saved("sgd", optimizer=sgd)
    for other in (OPTIMIZERS["adam"], lambda p: optim.AdamW(p, lr=0.01)):
        trainer, _ = task.trainer(optimizer=other)
        before = bits(trainer.model.state_dict())
        with pytest.raises(ValueError, match=r"with the optimizer SGD, this trainer has Adam"):
            trainer.load(path)
        assert bits(trainer.model.state_dict()) == before  # nothing was half loaded
    path = saved("top2", metrics=["top2"])
    for other in (["accuracy"], ["top3"], [TopK(2, ignore_index=1)]):
        trainer, _ = task.trainer(metrics=other)
        with pytest.raises(ValueError, match=r"with the metrics TopK\('top2'.*this trainer has"):
            trainer.load(path)


def test_a_run_that_stopped_early_stays_stopped(task, tmp_path):
    def made():
        return task.trainer([EarlyStopping(2, "lr", restore_best=True), Checkpoint(tmp_path)])

    first, loader = made()
    first.fit(loader, epochs=9)
    assert first.epoch == 3
    second, loader = made()
    second.load(tmp_path / "last.safetensors")
    second.fit(loader, epochs=6)
    assert second.epoch == 3 and second.stopped == first.stopped
    assert bits(second.model.state_dict()) == bits(first.model.state_dict())
    second.fit(loader, epochs=1)  # who asks again gets more
    assert second.epoch == 4


def test_more_epochs_under_a_cosine_follow_the_longer_one(task, tmp_path):
    def made(epochs):
        schedule = []

        def optimizer(p):
            schedule.append(optim.SGD(p, lr=0.4))
            return schedule[0]

        trainer, loader = task.trainer(optimizer=optimizer)
        cosine = optim.lr_scheduler.CosineAnnealingLR(schedule[0], epochs)
        trainer.callbacks.append(Schedule(cosine))
        return trainer, loader

    whole, loader = made(8)
    whole.fit(loader, epochs=8)
    first, loader = made(4)
    first.fit(loader, epochs=4)
    first.save(tmp_path / "a")
    second, loader = made(8)
    second.load(tmp_path / "a")
    second.fit(loader, epochs=4)
    assert second.history["lr"][4:] == whole.history["lr"][4:]
    assert min(second.history["lr"]) > 0


def test_early_stopping_counts_on(task, tmp_path):
    """Two epochs without improvement, a resume, and one more are three."""

    def stopping():
        return [EarlyStopping(3, monitor="lr", restore_best=True)]

    first, loader = task.trainer(stopping())
    first.fit(loader, epochs=3)
    first.save(tmp_path / "a")
    second, loader = task.trainer(stopping())
    second.load(tmp_path / "a")
    second.fit(loader, epochs=5)
    assert second.epoch == 4 and "not improved for 3 epochs" in second.stopped
    whole, loader = task.trainer(stopping())
    whole.fit(loader, epochs=1)  # the best epoch: the rate never improves on the first
    assert bits(second.model.state_dict()) == bits(whole.model.state_dict())


def test_a_checkpoint_that_is_only_copied_stays_what_it_was(task, tmp_path):
    first, loader = task.trainer([StopAt(10)])
    first.fit(loader, epochs=2)
    first.save(tmp_path / "a")
    second, _ = task.trainer(seed=8)
    second.load(tmp_path / "a")
    stirred()
    second.save(tmp_path / "b")
    assert in_file(tmp_path / "a") == in_file(tmp_path / "b")


def test_state_that_is_no_trainer_s_is_refused(task, tmp_path):
    nnx.io.save_state(tmp_path / "odd.safetensors", {"epoch": 3})
    trainer, _ = task.trainer()
    with pytest.raises(
        CorruptFile, match=r"odd\.safetensors is no checkpoint of a Trainer: .*step"
    ):
        trainer.load(tmp_path / "odd.safetensors")


def test_another_batch_size_is_refused(task, tmp_path):
    trainer, loader = task.trainer()
    trainer.fit(loader, epochs=1)
    trainer.save(tmp_path / "a")
    trainer, _ = task.trainer()
    trainer.load(tmp_path / "a")
    with pytest.raises(ValueError, match="batch_size 8, this one has 16"):
        trainer.fit(nnx.data.DataLoader(task.arrays(), batch_size=16, shuffle=True), epochs=1)


# ---- Ctrl-C ----


def test_ctrl_c_lets_the_step_finish_and_a_second_one_does_not(capsys):
    before = signal.getsignal(signal.SIGINT)
    with Interrupts().heard() as interrupts:
        interrupts.check()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.pending
        assert "Ctrl-C: ending after this step" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_somebody_else_s_handler_is_left_alone():
    def theirs(number, frame):
        pass

    before = signal.signal(signal.SIGINT, theirs)
    try:
        with Interrupts().heard():
            assert signal.getsignal(signal.SIGINT) is theirs
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_a_thread_works(task):
    from threading import Thread

    trainer, loader = task.trainer()
    thread = Thread(target=trainer.fit, args=(loader,))
    thread.start()
    thread.join()
    assert trainer.epoch == 1


def test_clipping_is_part_of_the_resumed_run(task, tmp_path):
    def run(epochs, load_from=None):
        trainer, loader = task.trainer([ClipGradNorm(0.1)])
        if load_from:
            trainer.load(load_from)
        trainer.fit(loader, epochs=epochs)
        trainer.save(tmp_path / "latest")
        return in_file(tmp_path / "latest")

    whole = run(4)
    run(2)
    (tmp_path / "latest").rename(tmp_path / "half")
    assert run(2, tmp_path / "half") == whole


def test_the_handler_goes_with_its_block():
    """As where the second Ctrl-C strikes in `__exit__`, before it has done anything."""
    before, interrupts = signal.getsignal(signal.SIGINT), Interrupts()
    block = interrupts.heard()
    block.__enter__()
    os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.pending and signal.getsignal(signal.SIGINT) is not before
    del block
    assert signal.getsignal(signal.SIGINT) is before and not interrupts.pending
    interrupts.check()  # whoever asks later is not stopped by it
