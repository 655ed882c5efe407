"""Plain prompts for a model with a chat template: every command warns first of all, unless the user chose."""

import json
import shutil
from types import SimpleNamespace

import pytest
from policy import random_policy

from hysteretic.cli import main
from hysteretic.config.settings import parse
from hysteretic.dry_run.rehearsal import MACHINE, rehearse
from hysteretic.models.loading import warn_plain_prompts
from hysteretic.tasks import load
from hysteretic.tasks.task import Problem

CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}{% if add_generation_prompt %}:{% endif %}"
SIZES = ["--num_generations", "4", "--per_device_train_batch_size", "8", "--steps_per_generation", "2"]
SHORT = ["--gradient_accumulation_steps", "1", "--max_completion_length", "4", "--max_steps", "2", "--use_cpu", "true"]
TRAIN = [*SIZES, *SHORT, "--eval_problems", "0", "--bf16", "false", "--save_strategy", "no"]
FEW = ["--problems", "3", "--samples", "4", "--max-completion-length", "4", "--device", "cpu"]
COMMANDS = {
    "train": ["train", "--output", "out", *TRAIN],
    "dry run": ["train", "--dry-run", *TRAIN],
    "probe": ["probe", "--output", "out", "--group-sizes", "4", *FEW],
    "eval": ["eval", *FEW],
    "warmup": ["warmup", "--output", "out", "--max_steps", "1", "--use_cpu", "true"],
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model with a chat template, and one without."""
    found = {}
    for name, template in (("chat", CHAT), ("base", None)):
        model, tokenizer = random_policy()
        tokenizer.chat_template = template
        found[name] = str(tmp_path_factory.mktemp(name))
        model.save_pretrained(found[name])
        tokenizer.save_pretrained(found[name])
    return found


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Flags of a data file of 60 plain prompts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reward.py").write_text("def is_right(response, answer):\n    return len(response) % 2\n")
    rows = [{"prompt": f"{n} + 1", "answer": str(n + 1), "demonstration": "2"} for n in range(60)]
    (tmp_path / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ["--task", "sums.jsonl", "--reward", "reward.py:is_right"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_chat_model_on_plain_prompts_is_said_first_of_all(command, models, data, capsys):
    """An instruct model answers them with nothing, and the reward or the problems get the blame."""
    assert main([*COMMANDS[command], *data, "--model", models["chat"]]) == 0
    said = capsys.readouterr().err
    assert said.startswith("hysteretic: warning: The prompts of sums are plain text")
    assert said.count("warning: The prompts of sums") == 1
    assert "is_chat" in said.splitlines()[0]


@pytest.mark.parametrize(
    ("model", "options"), [("chat", '{"is_chat": true}'), ("chat", '{"is_chat": false}'), ("base", "{}")]
)
@pytest.mark.parametrize("command", ["dry run", "eval", "warmup"])
def test_a_choice_and_a_base_model_get_no_warning(command, model, options, models, data, capsys):
    """Base models have templates too, so false must be a choice that is respected."""
    assert main([*COMMANDS[command], *data, "--model", models[model], "--task-options", options]) == 0
    assert "warning" not in capsys.readouterr().err


def test_a_comparison_warns_before_its_runs(models, data, capsys):
    """The runs' own warnings go to their logs, which nobody reads while they run."""
    from hysteretic.compare.checks import check_comparison
    from hysteretic.compare.spec import read

    content = {
        "arms": {"grpo": {"algorithm": "grpo"}, "a-hpo": {"algorithm": "a-hpo"}},
        "seeds": 2,
        "settings": {
            **{flag.removeprefix("--"): value for flag, value in zip(TRAIN[::2], TRAIN[1::2], strict=True)},
            "task": "sums.jsonl",
            "reward": "reward.py:is_right",
            "model": models["chat"],
        },
    }
    check_comparison(read(content, "mine.yaml"))
    assert capsys.readouterr().err.count("warning: The prompts of sums are plain text") == 1
    content["settings"]["task_options"] = {"is_chat": True}
    check_comparison(read(content, "mine.yaml"))
    assert capsys.readouterr().err == ""


def test_a_probe_names_the_template_before_it_blames_reward_or_problems(models, data, capsys, tmp_path):
    """The verdict and its advice are read at the end, and on the page."""
    (tmp_path / "reward.py").write_text("def is_right(response, answer):\n    return False\n")
    command = [*COMMANDS["probe"], *data, "--model", models["chat"]]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "Warning: The prompts of sums are plain text" in said
    advice = said.split("Any one of these changes would help:")[1].splitlines()
    assert "warning" in advice[1]
    record = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert "plain text" in record["warnings"][0]
    assert not_of_length(record["warnings"]) == record["warnings"][:1]
    assert "Warning: The prompts of sums" in (tmp_path / "out" / "index.html").read_text()
    assert main([*command, "--task-options", '{"is_chat": true}']) == 0
    assert not_of_length([line for line in capsys.readouterr().out.splitlines() if "Warning" in line]) == []
    assert not_of_length(json.loads((tmp_path / "out" / "probe.json").read_text())["warnings"]) == []


def not_of_length(warnings):
    """Those that are not about responses which reached the limit, as a random model's do."""
    return [words for words in warnings if "so they were cut" not in words]


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("chat", "{}", "plain text, not in its own template"),
        ("chat", '{"is_chat": false}', "plain text, not in its own template"),
        ("chat", '{"is_chat": true}', "messages in its own template"),
        ("base", "{}", "plain text; its own tokenizer"),
    ],
)
def test_a_dry_run_reports_how_prompts_reach_the_model(model, options, said, models, data):
    """It said "its own template" whether or not the template was applied."""
    flags = [*TRAIN, *data, "--model", models[model], "--task_options", options]
    assert said in rehearse(parse(flags, machine=MACHINE)).report.checked["prompts"]


def test_a_dry_run_without_the_tokenizer_says_that_it_may_have_a_template(data, capsys):
    """Nothing is downloaded, so it cannot know."""
    flags = [*TRAIN, *data, "--model", "Qwen/Qwen2.5-1.5B-Instruct"]
    assert "without a chat template (no tokenizer" in rehearse(parse(flags, machine=MACHINE)).report.checked["prompts"]
    assert "is not available here, and may have a chat template" in capsys.readouterr().err


class Mine:
    name = "mine"


class Chosen(Mine):
    is_chat = False


@pytest.mark.parametrize(
    ("task", "prompt", "is_warned"),
    [
        (Mine(), "1 + 1", True),
        (Mine(), [{"role": "user", "content": "1 + 1"}], False),
        (Chosen(), "1 + 1", False),
        (load("countdown-3", prompt="plain"), "1 + 1", False),
        (load("telelogs-synthetic", prompt="plain"), "1 + 1", False),
        (load("telelogs", is_chat=False), "1 + 1", False),
    ],
)
def test_other_tasks_follow_the_same_rule(task, prompt, is_warned, capsys):
    """Built-in tasks are plain only where the user chose it; a task of one's own can say so."""
    words = warn_plain_prompts(SimpleNamespace(chat_template=CHAT), Problem("a", prompt, ""), task, "org/model")
    assert bool(words) == is_warned
    assert capsys.readouterr().err == (f"hysteretic: warning: {words}\n" if is_warned else "")
    assert not is_warned or ("is_chat = False" in words and '"role": "user"' in words)


@pytest.mark.parametrize("command", ["train", "probe", "eval"])
def test_is_chat_is_in_the_help(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "is_chat" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["probe", "eval"])
def test_a_chat_template_that_fails_is_reported_with_the_problem(command, models, data, tmp_path, capsys):
    """Some models take no system message; jinja's own error is a traceback."""
    tokenizer = random_policy()[1]
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    model = shutil.copytree(models["chat"], tmp_path / "model")
    tokenizer.save_pretrained(model)
    assert main([*COMMANDS[command], *data, "--model", str(model), "--task-options", '{"is_chat": true}']) == 2
    said = capsys.readouterr().err
    assert "fails on problem sums:" in said
    assert "System role not supported" in said
    assert not (tmp_path / "out").exists()
