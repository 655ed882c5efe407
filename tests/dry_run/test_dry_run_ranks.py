"""`hysteretic train --dry-run` in two processes: DDP, and FSDP2 over gloo, which is TRL's way with a sharded model."""

import os
import re
import subprocess
import sys

import pytest

FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
}
"""What `accelerate launch` makes of TRL's own fsdp2.yaml."""
FP32 = ["--bf16", "false", "--dtype", "float32"]


def on_two(tmp_path, *words, **environment):
    """Exit code and all output of a dry run in two processes; nothing may be left of it."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "hysteretic"]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TMPDIR": str(tmp_path), **environment}
    done = subprocess.run(
        [*command, "train", "--dry-run", *words], capture_output=True, text=True, env=variables, timeout=180
    )
    assert not list(tmp_path.glob("hysteretic*"))
    return done.returncode, done.stdout + done.stderr


def figures(printed):
    """Loss and gradient norm of the update."""
    return [float(number) for number in re.search(r"loss (\S+), gradient norm (\S+);", printed).groups()]


def test_ddp_with_lora_bf16_and_gradient_checkpointing(tmp_path):
    """A group's responses lie on both ranks; the report is printed once."""
    code, printed = on_two(tmp_path, "llama-3.2-3b-countdown-3-lora")
    assert code == 0, printed[-3000:]
    assert printed.count("passed in") == 1
    assert "2 (DDP)" in printed
    assert "autocast to bf16; gradient checkpointing on" in printed
    assert "14 of 28 trainable tensors changed, and no others" in printed


def test_fsdp2_with_lora_bf16_and_gradient_checkpointing(tmp_path):
    """Each rank holds about a half of 4,812 frozen and 2,432 adapter parameters."""
    code, printed = on_two(tmp_path, "llama-3.2-3b-countdown-3-lora", **FSDP2)
    assert code == 0, printed[-3000:]
    held = re.search(r"2 \(FSDP2\), ([\d,]+) parameters in this process", printed)
    assert held
    assert 3000 < int(held.group(1).replace(",", "")) < 4200
    assert "4,812 in bfloat16, 2,432 in float32; autocast to bf16; gradient checkpointing on" in printed
    assert "14 of 28 trainable tensors changed, and no others" in printed
    assert "the model is sharded" in printed  # the lean parts stay out of the way


def test_fsdp2_makes_the_update_of_ddp(tmp_path):
    """The same responses, loss and gradient norm in float32, all parameters, untied embeddings."""
    found = []
    for environment in ({}, FSDP2):
        code, printed = on_two(tmp_path, "qwen2.5-7b-countdown-3-full", *FP32, **environment)
        assert code == 0, printed[-3000:]
        assert "27 of 27 trainable tensors" in printed
        found.append(figures(printed))
    assert found[0] == pytest.approx(found[1], rel=2e-3)
    assert found[0][1] > 0


def test_a_sharded_state_dict_saves_no_model_and_is_reported(tmp_path):
    """transformers' save_model writes none with SHARDED_STATE_DICT: better known before the run than after it."""
    sharded = FSDP2 | {"FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT"}
    code, printed = on_two(tmp_path, "qwen2.5-1.5b-countdown-3-full", **sharded)
    assert code == 1
    assert "model was written without weights. Set fsdp_state_dict_type to FULL_STATE_DICT" in printed


def test_fsdp_1_is_rejected_with_the_fix(tmp_path):
    code, printed = on_two(tmp_path, "qwen2.5-1.5b-countdown-3-full", **(FSDP2 | {"FSDP_VERSION": "1"}))
    assert code != 0
    assert "FSDP_VERSION=2" in printed
