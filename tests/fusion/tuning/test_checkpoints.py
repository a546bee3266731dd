"""What a fit leaves on disk, and how it goes on from there."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusion import FusionClassifier, Training
from fusion.data.samples import Samples
from fusion.tuning import checkpoints
from fusion.tuning.checkpoints import Checkpoints
from tests.conftest import ROOT
from tests.marks import slow_but
from tests.small_fits import COUNT, IMAGES, LABELS, Course, fused, own, resumable, same, snapshot


def states(folder):
    return sorted(path.name for path in folder.iterdir())


def script(*arguments):
    command = [sys.executable, "-m", "tests.small_fits", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def launched(*arguments):
    """Text and exit code of the script as two processes; once more where another process was sooner at their port."""
    for _ in range(3):
        ended = _launched(*arguments)
        if not any("address already in use" in text.lower() for text, _ in ended):
            break
    return ended


def _launched(*arguments):
    """On CPUs `accelerate launch` starts one process, so it is called twice."""
    port = str(random.randrange(20_000, 30_000))  # below those that the system hands out: few others take it meanwhile
    start = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    settings = ["--main_process_port", port, "--num_cpu_threads_per_process", "1", "--mixed_precision", "no"]
    command = [*start, *settings, "--num_machines", "1", "--dynamo_backend", "no", "-m", "tests.small_fits"]
    ranks = [{**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"} for rank in (0, 1)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    both = [subprocess.Popen([*command, *map(str, arguments)], cwd=ROOT, env=env, **pipes) for env in ranks]
    first = both[0].communicate(timeout=300)[0]
    try:
        second = both[1].communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:  # it waits for one that has failed
        os.killpg(both[1].pid, signal.SIGKILL)  # with the process that it launched, which holds the pipe
        second = both[1].communicate()[0]
    return [(first, both[0].returncode), (second, both[1].returncode)]


@pytest.mark.slow
def test_a_fit_that_is_killed_twice_ends_as_if_it_had_not_been(tmp_path):
    undisturbed = resumable(tmp_path, checkpoint=False)
    assert undisturbed.history[-1]["epoch"] == 4
    for epoch in (1, 2):
        assert script("resume", tmp_path, epoch).returncode == -signal.SIGKILL
        assert states(tmp_path / "fit") == [f"epoch-{epoch:06d}", "fit.json"]
    resumed = resumable(tmp_path)
    assert [step["epoch"] for step in resumed.steps] == [2] * 3 + [3] * 3
    assert resumed.steps == undisturbed.steps[6:]
    assert resumed.history == undisturbed.history
    assert same(snapshot(resumed.network), snapshot(undisturbed.network))
    assert resumed.fit.progress.moved == undisturbed.fit.progress.moved
    again = resumable(tmp_path)  # a fit that is through gives its result once more
    assert again.steps == []
    assert same(snapshot(again.network), snapshot(undisturbed.network))
    assert states(tmp_path / "fit") == ["epoch-000004", "fit.json"]
    assert 0 < resumed.fit.earlier < resumed.fit.progress.seconds == again.fit.earlier


@pytest.mark.parametrize("strategy", slow_but(["lp-ft", "lora", "auto-rgn", "l2-sp"], "lp-ft", "lora"))
def test_other_strategies_go_on_as_well(tmp_path, encoder, strategy):
    def stop(course, step):
        if step["epoch"] == 2:
            raise InterruptedError

    more = {"epochs": 3, "validation": Samples(IMAGES[::-1].copy(), LABELS), "patience": 9}
    undisturbed = Course(fused([encoder]), strategy, **more)
    with pytest.raises(InterruptedError):
        Course(fused([encoder]), strategy, each=stop, checkpoint=tmp_path / "fit", **more)
    resumed = Course(fused([encoder]), strategy, checkpoint=tmp_path / "fit", **more)
    assert resumed.steps == undisturbed.steps[6:]
    assert resumed.history == undisturbed.history
    assert same(snapshot(resumed.network), snapshot(undisturbed.network))


def classifier(encoder, folder, **more):
    settings = {"epochs": 1, "batch": 8, "patience": None, "checkpoint": folder, **more.pop("training", {})}
    return FusionClassifier(
        [encoder], training=Training(**settings), device="cpu", **{"strategy": "full", **more}, compare_baselines=False
    )


def test_a_checkpoint_of_another_fit_is_refused(tmp_path, encoder):
    folder = tmp_path / "fit"
    first = classifier(encoder, folder).fit(IMAGES, LABELS)
    other = own(tmp_path, "other", seed=3)
    for model, images, what in [
        (classifier(encoder, folder, training={"learning_rate": 0.5}), IMAGES, "training"),
        (classifier(encoder, folder, strategy="quarter-1"), IMAGES, "stretches"),
        (classifier(encoder, folder, training={"epochs": 2}), IMAGES, "stretches, training"),
        (classifier(encoder, folder, seed=1), IMAGES, "training"),
        (classifier(encoder, folder, head="mean"), IMAGES, "head"),
        (classifier(other, folder), IMAGES, "encoders"),
        (classifier(encoder, folder), IMAGES[::-1], "images"),
    ]:
        with pytest.raises(ValueError, match=rf"checkpoint must hold this fit \(.*fit holds one with another {what}\)"):
            model.fit(images, LABELS)
    assert states(folder) == ["epoch-000001", "fit.json"]
    again = classifier(encoder, folder, training={"workers": 1, "progress": True}).fit(IMAGES, LABELS)
    np.testing.assert_array_equal(again.predict_proba(IMAGES), first.predict_proba(IMAGES))
    assert again.history_ == first.history_


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path, encoder):
    (tmp_path / "file").write_text("taken")
    with pytest.raises(
        OSError, match=r"checkpoint must be a folder to write into \(got '.*file/fit': Not a directory\)"
    ):
        classifier(encoder, tmp_path / "file" / "fit").fit(IMAGES, LABELS)
    with pytest.raises(OSError, match=r"checkpoint must be a folder to write into \(got '.*file': File exists\)"):
        classifier(encoder, tmp_path / "file").fit(IMAGES, LABELS)


def test_what_a_kill_left_half_written_is_not_taken(tmp_path):
    store = Checkpoints(tmp_path / "fit", {"fit": 1})
    assert store.latest() is None
    (tmp_path / "fit" / "part").mkdir()
    (tmp_path / "fit" / "part" / "state.json").write_text("{}")
    assert store.latest() is None
    for epoch in (9, 10):
        (tmp_path / "fit" / f"epoch-{epoch:06d}").mkdir()
    assert store.latest() == tmp_path / "fit" / "epoch-000010"
    assert Checkpoints(None, {}).latest() is None


@pytest.fixture
def kept(tmp_path, encoder):
    """The folder of a fit, after two epochs."""
    Course(fused([encoder]), "full", epochs=2, checkpoint=tmp_path / "fit")
    return tmp_path / "fit"


def resumed(folder, encoder):
    return Course(fused([encoder]), "full", epochs=2, checkpoint=folder)


def test_progress_comes_back_whole(kept, encoder):
    again = resumed(kept, encoder).fit.progress
    assert (again.stretch, again.in_stretch, again.done) == (0, 2, 2)
    assert [row["epoch"] for row in again.history] == [0, 1, 2]
    assert again.best.keys() == fused([encoder]).state_dict().keys()
    assert again.moved


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("spoil", slow_but([flipped, Path.unlink, cut], flipped))
@pytest.mark.parametrize(
    "name", ["progress.json", "best.safetensors", "model.safetensors", "optimizer.bin", "random_states_0.pkl"]
)
def test_a_damaged_state_is_not_taken_up(name, spoil, kept, encoder):
    spoil(next(kept.glob(f"epoch-*/{name}")))
    with pytest.raises(ValueError, match=r"checkpoint .*epoch-000002 must be as it was written \(got .*\)\. Remove"):
        resumed(kept, encoder)


class Bomb:
    """What a hostile pickle does when it is opened."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


@pytest.mark.parametrize("honest", [False, True], ids=["as it is", "with digests that fit"])
def test_no_pickled_code_in_a_state_is_run(honest, kept, encoder, tmp_path):
    for path in [*kept.glob("epoch-*/*"), kept / "fit.json"]:
        if path.name == "state.json":
            continue
        before = path.read_bytes()
        torch.save(Bomb(tmp_path / "fired"), path)
        record = path.parent / "state.json"
        known = record.read_text() if record.exists() else None
        if honest and known:
            record.write_text(json.dumps(checkpoints._digests(path.parent)))
        with contextlib.suppress(ValueError) if honest else pytest.raises(ValueError, match=r"checkpoint .*must"):
            resumed(kept, encoder)
        assert not (tmp_path / "fired").exists(), path
        path.write_bytes(before)
        if known:
            record.write_text(known)


def test_a_state_of_an_earlier_format_is_begun_anew(kept, encoder):
    known = json.loads((kept / "fit.json").read_text())
    (kept / "fit.json").write_text(json.dumps({key: value for key, value in known.items() if key != "format"}))
    assert resumed(kept, encoder).steps[0]["epoch"] == 0


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(tmp_path, encoder):
    files = [tmp_path / f"{i:02d}.png" for i in range(COUNT)]
    for file, image in zip(files, IMAGES, strict=True):
        Image.fromarray(image).save(file)
    train, folder = Samples(files, LABELS), tmp_path / "fit"

    def poison(course, step):
        if (step["epoch"], step["step"]) == (1, 1):
            with torch.no_grad():
                course.network.head.linear.weight.fill_(torch.nan)

    more = {"train": train, "epochs": 3}
    undisturbed = Course(fused([encoder]), "full", **more)
    with pytest.raises(FloatingPointError) as caught:
        Course(fused([encoder]), "full", each=poison, checkpoint=folder, **more)
    named = [str(files[i]) for i in np.random.default_rng([0, 1]).permutation(COUNT)[16:21]]
    assert str(caught.value) == (
        f"loss must be finite (got nan in epoch 2, batch 3: {', '.join(named)}). "
        f"The last good state is in {folder / 'epoch-000001'}. Lower learning_rate, or look at what is named."
    )
    assert states(folder) == ["epoch-000001", "fit.json"]
    resumed = Course(fused([encoder]), "full", checkpoint=folder, **more)
    assert [step["epoch"] for step in resumed.steps] == [1] * 3 + [2] * 3
    assert same(snapshot(resumed.network), snapshot(undisturbed.network))


def test_a_misspelt_modality_leaves_the_checkpoint_free(tmp_path, encoder):
    more = {"checkpoint": tmp_path / "fit", "epochs": 1}
    with pytest.raises(ValueError, match="modality must be one of"):
        Course(fused([encoder]), "full", augment="xray", **more)
    assert Course(fused([encoder]), "full", augment="x-ray", **more).history[-1]["epoch"] == 1


def test_trackers_write_into_the_checkpoint(tmp_path, encoder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "fit"
    more = {"trackers": ["tensorboard"], "checkpoint": folder, "epochs": 2}
    course = Course(fused([encoder]), "full", validation=Samples(IMAGES, LABELS), **more)
    (events,) = folder.rglob("events.out.tfevents.*")
    read = EventAccumulator(str(events.parent)).Reload()
    told = {tag: [event.value for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
    assert told["loss"] == pytest.approx([row["loss"] for row in course.history[1:]])
    assert told["validation_auc"] == pytest.approx([row["validation_auc"] for row in course.history])
    assert states(folder) == ["epoch-000002", "fit.json", "sslzoo"]


@pytest.mark.slow
def test_two_processes_take_the_same_steps_as_one(tmp_path):
    assert script("steps", tmp_path, 8).returncode == 0
    ended = launched("steps", tmp_path, 4)
    assert [code for _, code in ended] == [0, 0], ended
    one, two = (json.loads((tmp_path / f"batch-{batch}.json").read_text()) for batch in (8, 4))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert len(one["losses"]) == 6
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5)


@pytest.mark.slow
def test_a_process_without_a_batch_is_said(tmp_path):
    said = "".join(text for text, _ in launched("steps", tmp_path, COUNT))
    assert "batch must leave one for each of 2 processes (got 1 of 24 images)" in said
