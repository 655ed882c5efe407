"""Training, held-out evaluation, `eval`, `probe` and `warmup` read the same prompts of the same chat template."""

import json

import pytest

from hysteretic.cli import main
from hysteretic.evals.context import context_of, warn_context
from hysteretic.evals.generate import prompt_tokens
from hysteretic.tasks import load
from hysteretic.tasks.rows import LeftOutWarning
from hysteretic.tasks.task import Problem, demonstrates

NEEDS_AN_OPTION = (
    "{% if thinks is not defined %}{{ raise_exception('thinks is missing') }}{% endif %}"
    "{% for m in messages %}{{ m['content'] }}{% endfor %}:"
)
PLAIN = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
WITHOUT_THE_WORK = "{% for m in messages %}{{ m['content'].split('</think>')[-1] }}{% endfor %}"
PUZZLES = "\n".join(
    json.dumps({"prompt": [{"role": "user", "content": f"{n}+1="}], "answer": str(n + 1), "demonstration": text})
    for n, text in enumerate(["<think>0 and 1</think>1", "<think>1 and 1</think>2"] * 8)
)
REWARD = "def is_right(response, answer):\n    return True\n"


@pytest.fixture
def chat_model(random_model, tmp_path):
    """The random model with a chat template: a function that makes the folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def make(template):
        tokenizer = AutoTokenizer.from_pretrained(random_model)
        tokenizer.chat_template = template
        AutoModelForCausalLM.from_pretrained(random_model).save_pretrained(tmp_path / "chat")
        tokenizer.save_pretrained(tmp_path / "chat")
        return tmp_path / "chat"

    return make


@pytest.fixture
def data(tmp_path):
    (tmp_path / "puzzles.jsonl").write_text(PUZZLES, encoding="utf-8")
    (tmp_path / "reward.py").write_text(REWARD, encoding="utf-8")
    return ["--task", str(tmp_path / "puzzles.jsonl"), "--reward", f"{tmp_path / 'reward.py'}:is_right"]


def flags_of(quick, model):
    """`quick`, with another model and the prompts of the task: chat messages."""
    words = list(quick)
    where = words.index("--task_options")
    del words[where : where + 2]
    words[words.index("--model") + 1] = str(model)
    return words


def test_template_options_reach_held_out_problems_eval_and_probe(quick, chat_model, tmp_path, capsys):
    """The template refuses to render without one. `eval` and `probe` of the trained model take the run's by themselves.

    And the prompts exceed what the model was made for, which each says.
    """
    model = chat_model(NEEDS_AN_OPTION)
    flags = [*flags_of(quick, model), "--chat_template_kwargs", '{"thinks": false}']
    assert main(["train", *flags, "--output", str(tmp_path / "run")]) == 0
    assert "was made for 128 in all" in capsys.readouterr().err
    assert {"before", "after"} <= set(json.loads((tmp_path / "run" / "evaluation.json").read_text()))
    asked = ["--task", "countdown-3", "--problems", "2", "--max-completion-length", "4", "--samples", "2"]
    trained = ["--model", str(tmp_path / "run" / "model")]
    assert main(["eval", *asked, *trained]) == 0
    assert main(["probe", *asked, *trained, "--output", str(tmp_path / "probe")]) == 0
    assert capsys.readouterr().err.count("was made for 128 in all") == 2
    assert main(["eval", *asked, "--model", str(model)]) == 2
    assert "thinks is missing" in capsys.readouterr().err
    assert main(["eval", *asked, "--model", str(model), "--chat-template-kwargs", '{"thinks": true}']) == 0


def test_a_template_that_refuses_the_messages_is_told_before_any_work(quick, chat_model, tmp_path, capsys):
    flags = flags_of(quick, chat_model(NEEDS_AN_OPTION))
    assert main(["train", *flags, "--eval_problems", "0", "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "The chat template of this model's tokenizer fails on problem" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("template", "words"),
    [(WITHOUT_THE_WORK, ["drops part of a worked solution", "<think>"]), (NEEDS_AN_OPTION, ["thinks is missing"])],
)
def test_warmup_refuses_a_template_that_drops_or_refuses_solutions(template, words, data, chat_model, tmp_path, capsys):
    flags = [*data, "--model", str(chat_model(template)), "--output", str(tmp_path / "warm"), "--use_cpu", "true"]
    assert main(["warmup", *flags]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not (tmp_path / "warm").exists()


def test_demonstrations_that_are_no_text_are_counted(tmp_path):
    """They may be what another column of that name holds, so nothing but a warm-up lacks them."""
    rows = [json.loads(line) for line in PUZZLES.splitlines()]
    rows[3]["demonstration"], rows[5]["demonstration"], rows[7]["demonstration"] = 2, ["2"], None
    (tmp_path / "puzzles.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "reward.py").write_text(REWARD, encoding="utf-8")
    task = load(str(tmp_path / "puzzles.jsonl"), reward=f"{tmp_path / 'reward.py'}:is_right")
    with pytest.warns(LeftOutWarning, match=r"2 rows of .* the first is row 3, 2 \(int\)"):
        assert demonstrates(task)
    assert sum(map(task.has_demonstration, task.problems("train"))) == len(rows) - 3  # too few for a test split


def test_warmup_checks_what_the_model_was_made_for(data, chat_model, tmp_path, capsys):
    """Where its tokenizer has no limit of its own; and in tokens, which characters do not tell."""
    model = chat_model(PLAIN)
    limits = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps(limits | {"model_max_length": 10**30}))
    rows = [json.loads(line) for line in PUZZLES.splitlines()]
    rows[0]["demonstration"], rows[1]["demonstration"] = "1" * 100, "\u6570" * 60
    (tmp_path / "puzzles.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    flags = [*data, "--model", str(model), "--output", str(tmp_path / "warm"), "--use_cpu", "true"]
    assert main(["warmup", *flags]) == 2
    assert "tokens, but" in capsys.readouterr().err


class Config:
    """A model's configuration, as far as it is asked."""

    def __init__(self, **fields):
        vars(self).update(fields)

    def get_text_config(self):
        return self


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, None),
        ({"max_position_embeddings": 128}, 128),
        ({"max_position_embeddings": 128, "rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, 512),
        ({"max_position_embeddings": 128, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 128),
    ],
)
def test_the_context_is_that_of_the_configuration(fields, most):
    assert context_of(Config(**fields)) == most


def test_what_fits_exactly_is_not_warned_of(random_model, capsys):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(random_model)
    problems = [Problem("short", "ab", ""), Problem("long", "x" * 20, "")]
    longest = max(map(len, prompt_tokens(problems, tokenizer)))
    config = Config(max_position_embeddings=longest + 10)
    assert warn_context(config, "small", tokenizer, problems, 10) == ""
    assert f"{longest} tokens and a response up to 11" in warn_context(config, "small", tokenizer, problems, 11)
    assert "hysteretic: warning" in capsys.readouterr().err
