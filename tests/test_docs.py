"""The pages under docs/ are true: their Python and commands run, YAML parses, links resolve, tables are current."""

import dataclasses
import importlib.util
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from policy import random_policy
from thorough import thorough

from hysteretic.cli import COMMANDS, main
from hysteretic.config.facts import OWN
from hysteretic.config.run import RunConfig

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
BLOCKS = [
    (page, language, code)
    for page, text in PAGES.items()
    for language, code in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
]
SHELL = [(page, code) for page, language, code in BLOCKS if language == "bash"]
LINES = [(page, line) for page, code in SHELL for line in code.replace("\\\n", "").splitlines()]
COMMAND_LINES = [(page, line) for page, line in LINES if re.match(r"(accelerate launch .* -m )?hysteretic ", line)]
LAUNCHES = [line for _, line in COMMAND_LINES if line.startswith("hysteretic launch")]
SMALL_PAGES = ("index.md", "own-task.md", "troubleshooting.md", "compare.md", "telelogs.md")
"""Their commands on the tiny model are run."""

CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}{% if add_generation_prompt %}:{% endif %}"


def test_there_is_something_to_check():
    """Blocks in another language would not be checked."""
    assert {language for _, language, _ in BLOCKS} <= {"bash", "yaml", "python", "json", "toml", "text", "bibtex"}
    assert len(LAUNCHES) >= 5
    assert len(COMMAND_LINES) >= 15
    assert {"trl.md", "lean.md", "compare.md", "telelogs.md", "own-loop.md", "own-task.md", "method.md"} <= {
        page for page, what, _ in BLOCKS if what == "python"
    }


@pytest.fixture(scope="module")
def generate():
    """docs/generate.py."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


@pytest.mark.parametrize("page", sorted({page for page, language, _ in BLOCKS if language == "python"}))
def test_the_python_of_a_page_runs_in_order(page, instruct_model, tmp_path, monkeypatch):
    """Later blocks use the names of earlier ones. Only sizes are changed: a random model and one short update."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "docs"}
    small = "max_steps=1, max_completion_length=4, bf16=False, use_cpu=True, report_to='none', save_strategy='no'"
    for where, language, code in BLOCKS:
        if (where, language) == (page, "python"):
            code = code.replace("Qwen/Qwen2.5-1.5B-Instruct", str(instruct_model))
            code = re.sub(r"HPOConfig\(\s*(?=algorithm)", f"HPOConfig({small}, gradient_checkpointing=False, ", code)
            exec(compile(code, page, "exec"), names)


def test_the_data_file_of_the_page_on_tasks_is_a_task(tmp_path, monkeypatch):
    """Its two rows, and the function below them."""
    import hysteretic.tasks

    rows = next(code for page, language, code in BLOCKS if (page, language) == ("own-task.md", "json"))
    function = next(code for page, language, code in BLOCKS if (page, language) == ("own-task.md", "python"))
    assert [json.loads(row)["answer"] for row in rows.splitlines()] == ["Paris", "Tokyo"]
    (tmp_path / "capitals.jsonl").write_text(rows)
    (tmp_path / "my_reward.py").write_text(function)
    monkeypatch.chdir(tmp_path)
    task = hysteretic.tasks.load("capitals.jsonl", reward="my_reward.py:is_right")
    problems = {p.answer: p for p in task.problems("train")}
    assert task.score(problems["Paris"], "It is Paris.").reward == 1
    assert task.score(problems["Paris"], "It is Tokyo.").reward == 0


@pytest.mark.parametrize(("page", "code"), SHELL)
def test_shell_blocks_have_no_syntax_errors(page, code):
    """bash -n reads and runs nothing."""
    subprocess.run(["bash", "-n"], input=code, text=True, check=True)


@pytest.mark.parametrize("code", [code for page, what, code in BLOCKS if what == "yaml" and page == "clusters.md"])
def test_yaml_blocks_parse_and_their_scripts_too(code):
    """SkyPilot's setup and run are shell."""
    content = yaml.safe_load(code)
    for key in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=content.get(key, ""), text=True, check=True)


def test_the_comparison_in_yaml_is_one():
    """Arms by name and with settings, and rates to choose from."""
    from hysteretic.compare.spec import read

    code = next(code for page, language, code in BLOCKS if (page, language) == ("compare.md", "yaml"))
    found = read(yaml.safe_load(code), "mine.yaml")
    assert [arm.name for arm in found.arms] == ["grpo", "grpo-adaptive", "gspo-adaptive"]
    assert len(found.seeds) == 8


@pytest.mark.parametrize("line", LAUNCHES)
def test_launch_commands_print_a_command(line, capsys):
    """With shell variables made numbers."""
    words = shlex.split(re.sub(r'"\$\w+"', "8", line).replace("$head", "head"))
    assert main([*words[1:], "--print"]) == 0
    assert "verl.trainer.main_ppo" in capsys.readouterr().out


@pytest.mark.parametrize("line", sorted({line for _, line in COMMAND_LINES if "hysteretic launch" not in line}))
def test_commands_are_taken_by_their_own_parser(line):
    """Whatever hardware they need: flags, values, and the names of recipes and algorithms."""
    from hysteretic.cli import compare, eval, export, plan, probe, show, train, warmup
    from hysteretic.config import settings
    from hysteretic.config.recipes import read_recipe
    from hysteretic.presets import ALGORITHMS

    command, *words = shlex.split(line.split("hysteretic ", 1)[1], comments=True)
    assert command in COMMANDS
    if command == "train":
        words = train.dry_run_words(words) or words
        words = words if words[0].startswith("-") else ["--config", *words]
        given = settings._given(settings._parser(), words)
        content = read_recipe(given["config"]) if "config" in given else {}
        assert given.get("algorithm", "a-hpo") in ALGORITHMS
        settings.check_known_settings(content, dict.fromkeys(settings.setting_names()), line)
    elif command == "compare":
        _, content = compare._command(words)
        assert set(content["algorithms"].split(",")) <= set(ALGORITHMS)
    elif command == "report":
        assert len(words) == 1
    elif command == "plan":
        options, rest = plan._options(words)
        assert plan.parse_for(options.gpus, rest)
    elif command == "warmup":
        parser = settings.Parser([warmup.WarmupConfig])
        assert parser.parse_args_and_config(words, return_remaining_strings=True)[-1] == []
    else:
        parsers = {"probe": probe.build_parser, "eval": eval.build_parser, "show": show.build_parser}
        (parsers | {"export": export._parser})[command]().parse_args(words)


@thorough
def test_commands_on_the_tiny_model_run_in_order(letter_count, tmp_path, monkeypatch):
    """Those of the pages that a newcomer follows, with fewer and shorter updates."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    small = ["--eval_problems", "4", "--eval_samples", "1", "--train_problems", "32"]
    small += ["--per_device_train_batch_size", "8", "--max_completion_length", "12"]
    for page, line in COMMAND_LINES:
        command, *words = shlex.split(line, comments=True)[1:]
        if page not in SMALL_PAGES or ("wen2.5" in line and "--dry-run" not in line):
            continue
        if command == "train" and "--resume" in words:
            words[words.index("--max_steps") + 1] = "8"
        elif command == "train" and "--dry-run" not in words:
            words += ["--max_steps", "4", "--disable_tqdm", "true", *small]
        elif command == "compare":
            words[words.index("--seeds") + 1] = "1"
            words += ["--max_steps", "4", *small]
        elif command in ("eval", "probe"):
            words += ["--problems", "4", "--samples", "2", "--max-completion-length", "12"]
        assert main([command, *words]) == 0, f"{page}: {line}"


def test_what_a_page_installs_or_makes_exists():
    """Extras of pip, targets of make."""
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    for _, line in LINES:
        for names in re.findall(r'-e "?\.\[([\w,]+)\]', line):
            assert set(names.split(",")) <= set(extras), line
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for page, text in PAGES.items():
        assert set(re.findall(r"`make ([\w-]+)`", text)) <= set(targets), page


def test_links_between_pages_lead_somewhere():
    """In a checkout, where the site's own check does not look."""
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            assert target.startswith("https://") or ((DOCS / page).parent / target).exists(), f"{page}: {target}"


def test_generated_parts_are_current(generate):
    """Tables and help texts are committed, so that the pages are whole without the site."""
    count = 0
    for path in generate.pages():
        text = path.read_text(encoding="utf-8")
        count += len(generate.BLOCK.findall(text))
        made = generate.render(text)
        if path.name == "commands.md":  # Python versions wrap help texts differently
            text, made = " ".join(text.split()), " ".join(made.split())
        assert made == text, f"{path.relative_to(ROOT)} is stale; run `make docs-tables`"
    assert count >= 14


def test_every_setting_of_ours_is_on_the_settings_page():
    """Its tables are cut from HPOConfig by first and last field: one between two of them would be left out."""
    names = [*OWN, *(field.name for field in dataclasses.fields(RunConfig))]
    assert [name for name in names if f"| `{name}` |" not in PAGES["settings.md"]] == []


@pytest.mark.parametrize("name", ["sparse", "easy", "telelogs"])
def test_tables_are_of_finished_comparisons(name):
    """A table made while runs were missing would look the same."""
    results = json.loads((ROOT / "results" / name / "results.json").read_text())
    assert results["progress"]["finished"] == results["progress"]["planned"]


def test_files_named_in_the_text_exist():
    """Paths between backticks, in pages and in the root's files."""
    root = {
        name: (ROOT / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
    }
    named = [
        (page, path)
        for page, text in (PAGES | root).items()
        for path in re.findall(r"`((?:src|tests|docs|recipes|examples|benchmarks|results)/[\w./-]+)`", text)
    ]
    assert len(named) >= 15
    for page, path in named:
        assert (ROOT / path).exists(), f"{page}: {path}"
    for page, text in root.items():
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{page}: {target}"


def test_pages_need_no_extension_of_markdown_to_be_read():
    """On GitHub attributes in braces, snippets and raw spans would show as text."""
    for page, text in PAGES.items():
        prose = re.sub(r"```.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`", "", text, flags=re.DOTALL)
        assert not re.search(r"\{[#:.]|<span|^!!!|^---8<", prose, re.MULTILINE), page


def test_numbers_in_a_link_to_results_are_in_what_it_leads_to():
    """So that a page does not quote what was measured once."""
    quoted = [
        (page, figure, target)
        for page, text in PAGES.items()
        for words, target in re.findall(r"\[([^\]]*\d\.\d[^\]]*)\]\(((?:\.\./)+results/[^)]+)\)", text)
        for figure in re.findall(r"\d+\.\d+", words)
    ]
    assert len(quoted) >= 4
    for page, figure, target in quoted:
        assert figure in ((DOCS / page).parent / target).read_text(encoding="utf-8"), f"{page}: {figure}"
