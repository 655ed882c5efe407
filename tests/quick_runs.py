"""The flags of a training run that takes a second."""


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
