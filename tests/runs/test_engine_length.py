"""vllm_max_model_length below prompt and response is refused: vLLM would cut responses without a word."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from policy import random_policy

from hysteretic.cli import main
from hysteretic.common.errors import UsageError
from hysteretic.runs.problems import check_engine_length
from hysteretic.tasks import load
from hysteretic.tasks.task import Problem

CHAT = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if think %}THINK{% endif %}:"
VLLM = ["--use_vllm", "true", "--vllm_mode", "colocate"]


def check(lengths, whole, limit=10, is_chat=False, use_vllm=True, **options):
    """The check for prompts of these numbers of tokens; the tokenizer makes one of every character."""
    tokenizer = random_policy()[1]
    tokenizer.chat_template = CHAT
    texts = ["x" * length for length in lengths]
    prompts = [[{"role": "user", "content": text}] if is_chat else text for text in texts]
    training = SimpleNamespace(
        use_vllm=use_vllm,
        vllm_max_model_length=whole,
        max_completion_length=limit,
        chat_template_kwargs=options or None,
    )
    problems = [Problem(str(number), prompt, "") for number, prompt in enumerate(prompts)]
    check_engine_length(problems, SimpleNamespace(training=training), tokenizer)


@pytest.mark.parametrize(
    "fitting",
    [
        {"lengths": [5, 20], "whole": 30},
        {"lengths": [5, 19], "whole": 30, "is_chat": True},  # the template adds a colon
        {"lengths": [5, 14], "whole": 30, "is_chat": True, "think": True},
        {"lengths": [500], "whole": None},
        {"lengths": [500], "whole": 30, "use_vllm": False},
    ],
)
def test_what_fits_passes(fitting):
    """Exactly, with the chat template and its options; without vLLM, or without a limit, nothing is cut."""
    check(**fitting)
    if fitting["whole"] is not None and fitting.get("use_vllm", True):
        with pytest.raises(UsageError, match="vLLM would cut responses"):
            check(**{**fitting, "whole": fitting["whole"] - 1})


def test_the_message_says_how_many_and_what_to_set():
    with pytest.raises(UsageError) as raised:
        check([5, 21, 25], 30)
    said = str(raised.value)
    assert "2 of 3 prompts" in said
    assert "vllm_max_model_length to 35 or more, or max_completion_length to at most 5" in said
    with pytest.raises(UsageError) as raised:
        check([30], 30)  # no response fits at all
    assert "max_completion_length to at most" not in str(raised.value)


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_train_and_its_dry_run_refuse_before_vllm_starts(flags, quick, tmp_path, monkeypatch, capsys):
    """Prompts of countdown-3 with small numbers have 8 or more tokens; the response may have 8. No folder is left."""
    monkeypatch.chdir(tmp_path)
    for check in ("check_vllm", "check_heads"):  # as where vLLM is installed
        monkeypatch.setattr(f"hysteretic.runs.train.{check}", lambda *_: None)
    assert main(["train", *flags, *quick, *VLLM, "--vllm_max_model_length", "12"]) == 2
    said = capsys.readouterr().err
    assert "vllm_max_model_length is 12" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_held_out_prompts_are_measured_too(flags, quick, tmp_path, monkeypatch, capsys):
    """Training prompts of 6 tokens or fewer, held-out ones of 60."""
    monkeypatch.chdir(tmp_path)
    for check in ("check_vllm", "check_heads"):
        monkeypatch.setattr(f"hysteretic.runs.train.{check}", lambda *_: None)
    Path("reward.py").write_text("def is_right(response, answer):\n    return True\n", encoding="utf-8")

    def write(prompts):
        lines = [json.dumps({"prompt": prompt, "answer": ""}) for prompt in prompts]
        Path("data.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return load("data.jsonl", reward="reward.py:is_right")

    task = write([str(number) for number in range(200)] + [f"{number:060d}" for number in range(200)])
    short = [problem.prompt for problem in task.problems("train") if len(problem.prompt) < 60]
    write(short + [problem.prompt for problem in task.problems("test") if len(problem.prompt) == 60])
    words = list(quick)
    words[words.index("--task") + 1] = "data.jsonl"
    words = [word for word in words if word != "--task_options" and not word.startswith("{")]
    asked = ["train", *flags, *words, "--reward", "reward.py:is_right", *VLLM, "--vllm_max_model_length", "30"]
    assert main(asked) == 2
    said = capsys.readouterr().err
    assert "but 4 of 20 prompts" in said
    assert "The longest prompt has 60 tokens" in said
