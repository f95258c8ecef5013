"""Checkpoints: a call that was broken off anywhere ends in the bits of one that ran through."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import cbackprop
from cbackprop import Checkpoint, EarlyStopping, ModelFileError, Network
from cbackprop.optimizers import OPTIMIZERS
from cbackprop.schedules import Cosine, per_step

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(90, 6)).astype(np.float32)
LABELS = X[:, :3].argmax(axis=1)
TARGETS = np.stack([X[:, 0] ** 2, X[:, 1]], axis=1)


def network(seed=0, **about):
    return Network([6, 12, 3], **{"output": "softmax", "rng": seed, **about})


def whole(net, history):
    curves = [history.to_dict(), net.history.to_dict()]
    for curve in curves:
        del curve["seconds"]
    return [x.tobytes() for x in net.weights + net.biases], curves, net.steps


class Breaks:
    """Raises after so many mini-batches of the call."""

    def __init__(self, batches):
        self.batches = batches

    def on_batch_end(self, net, epoch, batch):
        self.batches -= 1
        if self.batches == 0:
            raise KeyboardInterrupt


def broken_and_resumed(path, plan, at, net=network, data=(X, LABELS), threads=1, **options):
    """Broken after each of these numbers of mini-batches, then run to its end."""
    for batches in at:
        with pytest.raises(KeyboardInterrupt):
            net().train(
                *data, checkpoint=Checkpoint(path, **plan), resume=True, n_threads=threads,
                callbacks=[Breaks(batches)], **options,
            )  # fmt: skip
    last = net(seed=99 if os.path.exists(path) else 0)  # whose own weights do not matter then
    history = last.train(*data, checkpoint=Checkpoint(path, **plan), resume=True, **options)
    return whole(last, history)


def unbroken(net=network, data=(X, LABELS), **options):
    one = net()
    return whole(one, one.train(*data, **options))


PLANS = [{"every_epochs": 1}, {"every_batches": 1}, {"every_batches": 4}, {"every_seconds": 0.0}]


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_resumed_is_unbroken_wherever_it_broke(tmp_path, plan):
    options = {"epochs": 3, "batch_size": 20, "learning_rate": 0.1}
    expected = unbroken(**options)
    for at in ([1], [5], [6, 2, 1], [9, 6], [14]):
        path = tmp_path / f"{at}.ckpt"
        assert broken_and_resumed(path, plan, at, **options) == expected, at


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimiser_with_dropout_and_noise(tmp_path, optimizer):
    options = {
        "epochs": 2, "batch_size": 16, "optimizer": optimizer, "dropout": 0.3, "input_noise": 0.1,
        "l2": 0.1, "validation_split": 0.2,
    }  # fmt: skip
    expected = unbroken(**options)
    plan = {"every_batches": 3}
    assert broken_and_resumed(tmp_path / "a", plan, [4, 3], **options) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": Cosine(0.3, 6)},
        {"learning_rate": per_step(lambda step: 0.3 / (1 + step))},
        {"learning_rate": lambda epoch: 0.1 * (epoch + 1)},
        {"validation_data": (X[:30], LABELS[:30]), "monitor": ("training_accuracy",)},
        {"class_weight": {0: 2.0}},
        {"sample_weight": np.linspace(0, 1, 90), "clip_norm": 0.3, "max_norm": 1.0},
        {"shuffle": False, "batch_size": 100},
        {"compute": "bf16"},
    ],
    ids=str,
)
def test_every_kind_of_option(tmp_path, options):
    if "compute" in options and not network()._engine.has_bf16:
        pytest.skip("needs AVX512_BF16")
    options = {"epochs": 4, "batch_size": 16, **options}
    expected = unbroken(**options)
    at = [2] if options["batch_size"] == 100 else [7, 5]
    assert broken_and_resumed(tmp_path / "a", {"every_batches": 2}, at, **options) == expected


def test_real_targets_and_threads(tmp_path):
    def net(seed=0):
        return Network([6, 40, 2], output="identity", rng=seed, dtype="float64")

    options = {"epochs": 3, "batch_size": 16, "learning_rate": 0.05, "data": (X, TARGETS)}
    expected = unbroken(net, **options)
    found = broken_and_resumed(
        tmp_path / "a", {"every_batches": 2}, [7], net=net, threads=3, **options
    )
    assert found == expected


def test_early_stopping_keeps_its_best_weights(tmp_path):
    options = {
        "epochs": 60, "batch_size": 16, "learning_rate": 2.0, "validation_split": 0.3,
        "early_stopping": EarlyStopping(patience=6),
    }  # fmt: skip
    expected = unbroken(**options)
    epochs = len(expected[1][0]["cost"])
    assert epochs < 60
    for plan in ({"every_epochs": 1}, {"every_batches": 3}):
        path = tmp_path / str(plan)
        at = [4 * (epochs - 2) + 1]
        assert broken_and_resumed(path, plan, at, **options) == expected


def test_a_second_call_of_the_same_network(tmp_path):
    def both(path, breaks):
        net = network()
        net.train(X, LABELS, epochs=2, batch_size=16, validation_data=(X, LABELS))
        try:
            history = net.train(
                X, LABELS, epochs=3, batch_size=16, checkpoint=path, resume=True,
                callbacks=[Breaks(breaks)] if breaks else (),
            )  # fmt: skip
        except KeyboardInterrupt:
            return None
        return whole(net, history)

    assert both(tmp_path / "a", 15) is None
    assert both(tmp_path / "a", 0) == both(tmp_path / "b", 0)


def test_the_network_that_was_interrupted_goes_on_itself(tmp_path):
    options = {"epochs": 4, "batch_size": 16}
    net = network()
    plan = Checkpoint(tmp_path / "a", every_batches=4)
    with pytest.raises(KeyboardInterrupt):
        net.train(X, LABELS, checkpoint=plan, callbacks=[Breaks(15)], **options)
    assert net.steps == 15
    history = net.train(X, LABELS, checkpoint=plan, resume=True, **options)
    assert whole(net, history) == unbroken(**options)
    # Another call of this network is not that one.
    with pytest.raises(ValueError, match="epochs trained before was 0, now 4"):
        net.train(X, LABELS, checkpoint=plan, resume=True, **options)


def test_a_callback_cannot_resume_the_network_that_calls_it(tmp_path):
    net = network()
    with pytest.raises(KeyboardInterrupt):
        net.train(X, LABELS, batch_size=16, callbacks=[Breaks(3)],
                  checkpoint=Checkpoint(tmp_path / "a", every_batches=1))  # fmt: skip

    class Resume:
        def on_batch_end(self, net, epoch, batch):
            net.train(X, LABELS, batch_size=16, checkpoint=Checkpoint(tmp_path / "a"), resume=True)

    other = network()
    with pytest.raises(RuntimeError, match="network is busy"):
        other.train(X, LABELS, batch_size=16, callbacks=[Resume()])
    assert other.steps == 1


def test_complete_is_read_not_trained_again(tmp_path):
    path = tmp_path / "a"
    net = network()
    history = net.train(X, LABELS, epochs=3, checkpoint=path)
    again = network(5)
    found = again.train(X, LABELS, epochs=3, checkpoint=path, resume=True,
                        callbacks=[Breaks(1)])  # fmt: skip
    assert whole(again, found) == whole(net, history)
    # And anew, where that is asked for.
    third = network(5)
    third.train(X, LABELS, epochs=3, checkpoint=path)
    assert whole(third, third.history)[0] != whole(net, history)[0]


def test_a_checkpoint_is_a_model_file(tmp_path):
    net = network()
    net.train(X, LABELS, epochs=3, checkpoint=tmp_path / "a", validation_data=(X, LABELS),
              early_stopping=True)  # fmt: skip
    loaded = cbackprop.load(tmp_path / "a")
    assert (loaded.predict(X) == net.predict(X)).all()
    assert loaded.steps == net.steps


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"learning_rate": 0.2}, "learning_rate was 0.1, now 0.2"),
        ({"epochs": 4}, "epochs was 3, now 4"),
        ({"batch_size": 17}, "batch_size was 16, now 17"),
        ({"optimizer": "adam"}, "optimizer was SGD"),
        ({"dropout": 0.5}, "dropout was None"),
        ({"X": X + np.float32(1)}, "X was float32 (90, 6)"),
        ({"X": X[:-1], "y": LABELS[:-1]}, "X was float32 (90, 6)"),
        ({"y": (LABELS + 1) % 3}, "y was int32 (90,)"),
        ({"sample_weight": np.ones(90)}, "sample_weight or class_weight was none"),
        ({"net": {"activation": "relu"}}, "activation was ['sigmoid', 'softmax']"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_another_training_is_named_and_nothing_changes(tmp_path, change, name):
    path = tmp_path / "a"
    common = {"X": X, "y": LABELS, "epochs": 3, "batch_size": 16, "learning_rate": 0.1}
    with pytest.raises(KeyboardInterrupt):
        network().train(**common, checkpoint=path, callbacks=[Breaks(8)])
    change = dict(change)
    net = network(**change.pop("net", {}))
    before, data = net.weights[0].copy(), path.read_bytes()
    with pytest.raises(ValueError, match="is of another training") as raised:
        net.train(**{**common, **change}, checkpoint=path, resume=True)
    assert name in str(raised.value)
    assert (net.weights[0] == before).all()
    assert net.steps == 0
    assert path.read_bytes() == data


def test_files_that_are_none(tmp_path):
    net = network()
    net.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="a model, not a checkpoint"):
        net.train(X, LABELS, checkpoint=tmp_path / "model", resume=True)
    net.train(X, LABELS, checkpoint=tmp_path / "a")
    data = bytearray((tmp_path / "a").read_bytes())
    data[-5] ^= 1
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ModelFileError, match="damaged"):
        net.train(X, LABELS, checkpoint=tmp_path / "a", resume=True)
    with pytest.raises(IsADirectoryError):
        net.train(X, LABELS, checkpoint=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"resume": True}, ValueError, "resume = True without checkpoint="),
        ({"checkpoint": 7}, TypeError, "path = 7, expected a path"),
        ({"checkpoint": "a", "resume": 1}, TypeError, "resume = 1, expected True or False"),
        (
            {"checkpoint": "a", "optimizer": "lbfgs"},
            ValueError,
            "checkpoint with optimizer 'lbfgs'",
        ),
    ],
)
def test_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        network().train(X, LABELS, **arguments)


def test_plans_that_are_none():
    with pytest.raises(ValueError, match="every_epochs and every_batches: give one"):
        Checkpoint("a", every_epochs=1, every_batches=2)
    with pytest.raises(ValueError, match="every_batches = 0"):
        Checkpoint("a", every_batches=0)
    with pytest.raises(ValueError, match="every_seconds = -1"):
        Checkpoint("a", every_seconds=-1)
    with pytest.raises(ValueError, match="checkpoint with blocks"):
        network().train([(X, LABELS)], checkpoint="a")


@pytest.mark.parametrize("plan", [{"every_epochs": 1}, {"every_batches": 1}])
def test_a_checkpoint_that_cannot_be_written_loses_nothing(tmp_path, plan):
    folder = tmp_path / "gone"
    net = network()
    with pytest.raises(FileNotFoundError, match="gone"):
        net.train(X, LABELS, epochs=3, batch_size=16,
                  checkpoint=Checkpoint(folder / "a", **plan))  # fmt: skip
    assert net.steps == (6 if "every_epochs" in plan else 1)
    net.train(X, LABELS, batch_size=16)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_killed_and_resumed(tmp_path):
    program = textwrap.dedent("""
        import sys, hashlib, numpy as np
        from cbackprop import Checkpoint, Network
        X = np.random.default_rng(0).normal(size=(300, 6)); y = X[:, :3].argmax(axis=1)
        net = Network([6, 12, 3], output="softmax", rng=0)
        plan = None if len(sys.argv) == 1 else Checkpoint(sys.argv[1], every_batches=3)
        net.train(X, y, epochs=40, batch_size=7, optimizer="adam", checkpoint=plan,
                  resume=plan is not None)
        history = net.history.to_dict()
        del history["seconds"]
        print(hashlib.sha256(repr(([w.tobytes() for w in net.weights], history)).encode())
              .hexdigest())
    """)
    command = [sys.executable, "-P", "-c", program]
    expected = subprocess.run(command, capture_output=True, check=True).stdout
    kills = 0
    for _ in range(50):
        with subprocess.Popen([*command, str(tmp_path / "a")], stdout=subprocess.PIPE) as process:
            try:
                found = process.communicate(timeout=0.35 + 0.05 * kills)[0]
                break
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
    assert kills > 0
    assert found == expected


def test_killed_at_random_moments():
    if not hasattr(os, "fork"):
        pytest.skip("no fork")
    command = [sys.executable, "-m", "tests.campaigns.resume", "--kills", "10"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": 0 differ" in done.stdout


def test_interrupted_at_random_moments():
    if os.name != "posix":
        pytest.skip("signals of another kind")
    command = [sys.executable, "-m", "tests.campaigns.interrupts", "--signals", "10"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
