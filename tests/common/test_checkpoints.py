"""Which checkpoint is whole? Each way of being torn is found, and only bad ones are taken out of the way."""

import errno
import json
import os

import pytest
import torch
from safetensors.torch import save_file

from hysteretic.common import checkpoints
from hysteretic.common.checkpoints import atomic_checkpoint, find_corruption, keep_newest, numbered, seal, set_aside


def checkpoint(folder, number=2, is_sealed=True):
    path = folder / f"checkpoint-{number}"
    path.mkdir(parents=True)
    save_file({"a": torch.arange(1000.0), "b": torch.zeros(3, 3)}, path / "model.safetensors", {"format": "pt"})
    torch.save({"state": torch.arange(500)}, path / "optimizer.pt")
    (path / "trainer_state.json").write_text(json.dumps({"global_step": number}))
    if is_sealed:
        seal(path)
    return path


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_whole_checkpoint_has_no_flaw(is_sealed, tmp_path):
    assert find_corruption(checkpoint(tmp_path, is_sealed=is_sealed)) is None


@pytest.mark.parametrize("is_sealed", [True, False])
@pytest.mark.parametrize("cut", [1, 100, 3000])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt"])
def test_a_file_that_is_cut_off_is_found_with_and_without_a_seal(name, cut, is_sealed, tmp_path):
    path = checkpoint(tmp_path, is_sealed=is_sealed)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-cut])
    assert name in find_corruption(path)


def test_a_missing_file_is_found_by_the_seal(tmp_path):
    path = checkpoint(tmp_path)
    (path / "optimizer.pt").unlink()
    assert find_corruption(path) == "optimizer.pt is missing"


@pytest.mark.parametrize("state", ["", '{"global', "[1]", None])
def test_a_checkpoint_without_its_last_file_was_not_written_to_its_end(state, tmp_path):
    path = checkpoint(tmp_path)
    (path / "trainer_state.json").unlink() if state is None else (path / "trainer_state.json").write_text(state)
    assert find_corruption(path) == "it is incomplete"


def test_zeros_in_place_of_weights_have_no_header(tmp_path):
    """What a power cut leaves of a file that was never flushed."""
    path = checkpoint(tmp_path, is_sealed=False)
    (path / "model.safetensors").write_bytes(bytes(5000))
    assert find_corruption(path) == "model.safetensors has no readable header"


def test_checkpoints_are_numbered_newest_first_and_copies_are_none(tmp_path):
    for number in (2, 10, 4):
        checkpoint(tmp_path, number)
    (tmp_path / "checkpoint-4-copy").mkdir()
    (tmp_path / "torn-12").mkdir()
    (tmp_path / "checkpoint-99").write_text("a file")
    assert list(numbered(tmp_path)) == [10, 4, 2]


def test_a_bad_one_that_was_whole_is_kept_aside_and_one_that_never_was_is_removed(tmp_path):
    assert set_aside(checkpoint(tmp_path, 2)) == "kept as torn-2"
    assert (tmp_path / "torn-2" / "model.safetensors").is_file()
    assert set_aside(checkpoint(tmp_path, 4, is_sealed=False)) == "removed"
    assert [path.name for path in tmp_path.iterdir()] == ["torn-2"]


@pytest.mark.parametrize(("count", "left"), [(None, [6, 4, 2]), (0, [6, 4, 2]), (2, [6, 4]), (1, [6])])
def test_older_ones_go(count, left, tmp_path):
    for number in (2, 4, 6):
        checkpoint(tmp_path, number)
    keep_newest(tmp_path, count)
    assert list(numbered(tmp_path)) == left


def test_the_best_one_stays(tmp_path):
    for number in (2, 4, 6):
        checkpoint(tmp_path, number)
    keep_newest(tmp_path, 1, also=str(tmp_path / "checkpoint-2"))
    assert list(numbered(tmp_path)) == [6, 2]


@pytest.mark.parametrize(("is_full", "raised"), [(True, OSError), (False, RuntimeError)])
def test_what_could_not_be_written_is_removed_and_a_full_disk_named(is_full, raised, tmp_path, monkeypatch):
    """torch's own error for a full disk says nothing of it."""
    monkeypatch.setattr(checkpoints, "_is_full", lambda folder: is_full)
    path = tmp_path / "checkpoint-2"

    def write():
        with atomic_checkpoint(path):
            checkpoint(tmp_path, is_sealed=False)
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")

    with pytest.raises(raised) as error:
        write()
    assert not path.exists()
    assert not is_full or error.value.errno == errno.ENOSPC


def test_a_seal_is_of_what_is_there_now(tmp_path):
    """Written over, a checkpoint is no longer sealed until it is whole again."""
    path = checkpoint(tmp_path)
    with atomic_checkpoint(path):
        assert not (path / "sealed.json").exists()
        (path / "more.bin").write_bytes(b"x" * 10)
        os.remove(path / "more.bin")
        seal(path)
    assert find_corruption(path) is None
