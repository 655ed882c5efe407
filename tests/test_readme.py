"""Every code block of the README runs, on a small random model where it names a large one."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
from policy import random_policy

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [line for language, code in BLOCKS if language == "bash" for line in code.splitlines() if line.strip()]

CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}{% if add_generation_prompt %}:{% endif %}"


@pytest.fixture(scope="module")
def instruct_model(tmp_path_factory):
    """A random model with a chat template."""
    folder = tmp_path_factory.mktemp("instruct")
    model, tokenizer = random_policy()
    model.config.max_position_embeddings = 1024
    tokenizer.chat_template = CHAT
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_readme_is_short_and_has_the_blocks_that_are_tested_here():
    assert len((ROOT / "README.md").read_bytes()) <= 10_240
    assert {language for language, _ in BLOCKS} == {"python", "bash", "bibtex"}
    assert len(PYTHON) >= 2
    assert len(COMMANDS) >= 6


def test_every_file_that_the_readme_links_to_exists():
    links = re.findall(r"\]\(([\w./-]+)(#[\w-]+)?\)", (ROOT / "README.md").read_text())
    assert len(links) > 20
    for path, anchor in links:
        assert (ROOT / path).is_file(), path
        if anchor:
            titles = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
            assert anchor[1:] in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_a_python_block_runs(code, instruct_model, tmp_path, monkeypatch):
    """Only sizes are changed: a random model for the 1.5B one, and one short update on this machine's CPU."""
    monkeypatch.chdir(tmp_path)
    code = code.replace("Qwen/Qwen2.5-1.5B-Instruct", str(instruct_model))
    small = "max_steps=1, max_completion_length=4, bf16=False, use_cpu=True, report_to='none', save_strategy='no'"
    code = re.sub(r"HPOConfig\((?=\s*algorithm)", f"HPOConfig({small}, ", code)
    code = code.replace('output_dir="out"', 'output_dir="out", gradient_checkpointing=False')
    exec(compile("from hysteretic.trl import HPOConfig\n" + code, "README.md", "exec"), {"__name__": "readme"})


def test_the_commands_run_in_order(tmp_path, monkeypatch):
    """`hysteretic …` as written, with fewer and shorter updates; `make …` names targets that exist."""
    from hysteretic.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in COMMANDS:
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert words[1] in targets
            continue
        if words[0] == "pip":
            assert words[1:3] == ["install", "-e"]
            continue
        assert words[0] == "hysteretic"
        if words[1] == "train" and "--dry-run" not in words:
            words += ["--disable_tqdm", "true"]
            if "--resume" in words:
                words[words.index("--max_steps") + 1] = "8"
            else:
                words += ["--eval_problems", "4", "--eval_samples", "1", "--train_problems", "32"]
                words += ["--per_device_train_batch_size", "8", "--max_completion_length", "12", "--max_steps", "4"]
        if words[1] == "compare":
            words[words.index("--seeds") + 1] = "1"
            words += ["--max_steps", "4", "--eval_problems", "4", "--eval_samples", "1", "--train_problems", "32"]
            words += ["--per_device_train_batch_size", "8", "--max_completion_length", "12"]
        if words[1] == "probe":
            words += ["--problems", "8", "--samples", "4", "--max-completion-length", "12"]
        if words[1] == "eval":
            words += ["--problems", "4", "--samples", "1"]
        assert main(words[1:]) == 0, line


@pytest.mark.parametrize(
    "name",
    [
        "confirmation",
        "high-rate",
        "screening-sparse",
        "default",
        "same-rate",
        "sparse",
        "easy",
        "telelogs",
        "second-task",
        "small-rate",
        "many-updates",
    ],
)
def test_the_tables_of_results_are_those_of_the_committed_measurements(name):
    """In the README the first of them, in docs/results.md all; docs/generate.py writes them."""
    spec = importlib.util.spec_from_file_location("table", ROOT / "benchmarks" / "evidence" / "table.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    results = json.loads((ROOT / "results" / name / "results.json").read_text())
    assert results["progress"]["finished"] == results["progress"]["planned"]
    for page in ["docs/results.md", *(["README.md"] if name == "confirmation" else [])]:
        assert "\n".join(script.table(results)) in (ROOT / page).read_text()


@pytest.mark.parametrize("work", ["a", "b", "c", "d"])
def test_the_table_of_step_times_is_that_of_the_committed_measurements(work):
    """The least and the most of two machines."""
    files = sorted((ROOT / "results" / "step-time").glob(f"*/{work}.json"))
    measured = [json.loads(file.read_text()) for file in files]
    assert len(measured) == 2

    def between(key):
        ratios = [f"{ratio:.1f}" for ratio in sorted(each[key] for each in measured)]
        return ratios[0] if ratios[0] == ratios[1] else f"{ratios[0]} to {ratios[1]}"

    step = "" if work == "c" else between("step_ratio")  # c does not generate
    ratios = f"{step} | {between('update_ratio')} | {between('memory_ratio')}"
    stock, ours = (f"{100 * measured[0]['gradient_token_share'][which]:.0f} %" for which in ("stock", "ours"))
    row = rf"\| \({work}\) [^|]* \| {re.escape(ratios)} \| {stock} → {ours} \|"
    assert re.search(row, (ROOT / "docs" / "lean.md").read_text())
