"""A random model in a folder, and the flags of a run that takes a second."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "trainer"))
from policy import random_policy


@pytest.fixture(scope="session")
def random_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model, tokenizer = random_policy()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def quick(random_model):
    """Flags for `hysteretic train`: two rollouts of four problems, two updates each."""
    return quick_flags(random_model)


def quick_flags(model):
    return [
        *["--model", str(model), "--task", "countdown-3"],
        *["--task_options", '{"largest": 9, "largest_target": 20, "prompt": "terse"}'],
        *["--train_problems", "16", "--eval_problems", "4", "--eval_samples", "2"],
        *["--num_generations", "4", "--per_device_train_batch_size", "8", "--steps_per_generation", "2"],
        *["--gradient_accumulation_steps", "1", "--max_completion_length", "8", "--max_steps", "4"],
        *["--save_steps", "2", "--use_cpu", "true", "--bf16", "false", "--gradient_checkpointing", "false"],
        *["--disable_tqdm", "true", "--learning_rate", "1e-3", "--lr_scheduler_type", "constant"],
    ]
