"""Write the parts of the documentation that are made from the code and from committed results.

    python docs/generate.py            rewrite what is stale (`make docs-tables`)
    python docs/generate.py --check    list stale pages and exit with 1 if there are any

A page marks such a part with two comments; what stands between them is replaced:

    <!-- generated: settings HPOConfig algorithm..length -->
    <!-- /generated -->
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
import io
import json
import os
import re
import shlex
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def pages() -> list[Path]:
    """Every Markdown file that may hold generated parts."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "results").glob("*.md"))]


def render(text: str) -> str:
    """A page's text with every generated part made anew."""

    def block(found: re.Match[str]) -> str:
        kind, *arguments = shlex.split(found[2])
        return f"{found[1]}\n" + "\n".join(MAKERS[kind](*arguments)) + f"\n\n{found[3]}"

    return BLOCK.sub(block, text)


# Settings.


def settings(owner: str, *groups: str) -> Sequence[str]:
    """A configuration's own fields; groups: the first and the last of them, as first..last."""
    from hysteretic.config.settings import RunConfig
    from hysteretic.trl import HPOConfig

    kind = {"RunConfig": RunConfig, "HPOConfig": HPOConfig}[owner]
    found = {field.name: field for field in dataclasses.fields(kind)}
    names = [name for name in kind.__annotations__ if name in found]  # in source order, without inherited fields
    first, last = groups[0].split("..") if groups else (names[0], names[-1])
    rows = ["| setting | default | what it does |", "|---|---|---|"]
    for field in (found[name] for name in names[names.index(first) : names.index(last) + 1]):
        default = "not set" if field.default is None else f"`{_as_yaml(field.default)}`"
        text = str(field.metadata["help"]).replace("|", "\\|")
        rows.append(f"| `{field.name}` | {default} | {text} |")
    return rows


def options() -> Sequence[str]:
    """The options of every built-in task and of data files, with their defaults."""
    from hysteretic.tasks import TASKS, FileTask, built_in

    rows = ["| task | options and defaults |", "|---|---|"]
    for name in (*TASKS, "data"):
        factory: Callable[..., Any] = FileTask if name == "data" else built_in(name)
        fields = [f for f in inspect.signature(factory).parameters.values() if f.kind is not f.VAR_KEYWORD]
        listed = [
            f"`{field.name}`" + ("" if field.default is field.empty else f" = `{_as_yaml(field.default)}`")
            for field in fields
            if not (name == "data" and field.name in ("source", "reward"))
        ]
        rows.append(f"| {'a data file or hub data set' if name == 'data' else f'`{name}`'} | {', '.join(listed)} |")
    return rows


def _as_yaml(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


# Algorithms, tasks and commands.


def algorithms() -> Sequence[str]:
    """The presets and their parts."""
    from hysteretic.presets import ALGORITHMS

    rows = ["| algorithm | ratio | gate | weight | length | scale |", "|---|---|---|---|---|---|"]
    for name, preset in ALGORITHMS.items():
        made = preset()
        parts = [_part(getattr(made, part)) for part in ("ratio", "gate", "weight", "length", "scale")]
        rows.append(f"| `{name}` | {' | '.join(parts)} |")
    return rows


def parts() -> Sequence[str]:
    """The parts that an algorithm is made of, and what each may be by name."""
    from hysteretic.trl.mapping import PARTS

    questions = {
        "ratio": "how far has the policy moved?",
        "gate": "how much of a move is still rewarded?",
        "weight": "how much do failures count?",
        "length": "what is a token divided by?",
        "scale": "what are advantages divided by?",
    }
    rows = ["| part | question | choices |", "|---|---|---|"]
    for key, choices in PARTS.items():
        rows.append(f"| {key} | {questions[key]} | {', '.join(map(_link, choices.values()))} |")
    return rows


def metrics() -> Sequence[str]:
    """Our own metrics, as the trainer logs them."""
    from hysteretic.common.metric_names import MEANINGS

    rows = ["| metric | meaning |", "|---|---|", "| `reward` | Mean reward of the rollout. |"]
    return [*rows, *(f"| `{name}` | {text} |" for name, text in MEANINGS.items())]


def _part(part: Any) -> str:
    values = ", ".join("max length" if key == "max_length" else f"{value:g}" for key, value in vars(part).items())
    return _link(type(part)) + (f" {values}" if values else "")


def _link(kind: type) -> str:
    return f"[{kind.__name__}](api/objectives.md#{kind.__module__}.{kind.__name__})"


def names(what: str) -> Sequence[str]:
    """Tasks or commands, with one line on each."""
    from hysteretic.cli import COMMANDS
    from hysteretic.tasks import TASKS

    found = {"tasks": TASKS, "commands": COMMANDS}[what]
    link = {name: f"[`{name}`](#{name})" if what == "commands" else f"`{name}`" for name in found}
    return [f"| {what[:-1]} | |", "|---|---|", *(f"| {link[name]} | {text} |" for name, text in found.items())]


def help_except(*commands: str) -> Sequence[str]:
    """What `hysteretic COMMAND --help` prints, a section for each command but these."""
    from hysteretic.cli import COMMANDS, main

    lines: list[str] = []
    os.environ.update(COLUMNS="88", NO_COLOR="1")
    for command in (name for name in COMMANDS if name not in commands):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main([command, "--help"])
        # Python 3.13 names an option's value once: --task-options, --task_options TASK_OPTIONS
        text = re.sub(r"(--[\w-]+) (\S+), (--\w+ \2)", r"\1, \3", printed.getvalue().rstrip())
        lines += ["", f"## {command}", "", "```text", text, "```"]
    return lines[1:]


# Results.


def comparison(name: str) -> Sequence[str]:
    """All arms of a committed comparison."""
    spec = importlib.util.spec_from_file_location("table", ROOT / "benchmarks" / "evidence" / "table.py")
    assert spec is not None
    assert spec.loader is not None
    module: types.ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lines: Sequence[str] = module.table(_results(f"{name}/results"))
    return lines


def against(names: str, baselines: str, *arms: str) -> Sequence[str]:
    """Some arms against each of the baselines in some comparisons (a,b), on the measure chosen in advance."""
    starts = {
        "default": "countdown-3, sparse start, own rates",
        "easy": "countdown-3, easier start",
        "telelogs": "telelogs-compact",
    }
    rows = [
        "| start | arm | against | verdict | gain | difference (95 % interval) | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names.split(","):
        words, found = starts[name], _results(f"{name}/results")
        for pair in found["pairs"]:
            known = pair["treatment"] in arms and pair["baseline"] in baselines.split(",")
            if known and pair["measure"] == found["primary"]:
                low, high = pair["interval"]
                difference = f"{pair['mean_difference']:+.4f} ({low:+.4f} to {high:+.4f})"
                gain = f"{100 * pair['relative_gain']:+.0f} %"
                link = f"[{words}](../results/{name}/results.csv)"
                cells = [link, pair["treatment"], pair["baseline"], pair["verdict"], gain, difference, pair["seeds"]]
                rows.append(f"| {' | '.join(map(str, cells))} |")
    return rows


def pooled(*names: str) -> Sequence[str]:
    """What the weight, a length or a scale adds, over all seeds of some comparisons with the same settings."""
    from hysteretic.statistics import paired_comparison

    by_seed: dict[str, dict[int, float]] = {}
    for found in (_results(f"{name}/results") for name in names):
        assert {arm["learning_rate"] for arm in found["arms"]} == {6e-4}
        for run in found["runs"]:
            arm = {"grpo-adaptive": "adaptive-grpo"}.get(run["arm"], run["arm"])
            by_seed.setdefault(arm, {})[run["seed"]] = run["measures"]["area"]
    pairs = {
        "the weight on the default loss": ("a-hpo", "trl-default"),
        "the weight on GRPO's loss": ("adaptive-grpo", "grpo"),
        "the weight on SAPO's": ("adaptive-sapo", "sapo"),
        "the weight on GSPO's": ("adaptive-gspo", "gspo"),
        "the weight that follows entropy, on GRPO's": ("entropy-grpo", "grpo"),
        "the weight and GRPO's length": ("adaptive-grpo", "trl-default"),
        "GRPO's length": ("grpo", "trl-default"),
        "a fixed weight of 0.6 on the default loss": ("hpo", "trl-default"),
        "SAPO": ("sapo", "trl-default"),
        "GSPO": ("gspo", "trl-default"),
        "MaxRL": ("maxrl", "trl-default"),
        "F-GRPO": ("f-grpo", "trl-default"),
    }
    rows = ["| what is added | arm | against | gain (95 % interval) | higher in | seeds |", "|---|---|---|---|---|---|"]
    for words, (ours, theirs) in pairs.items():
        seeds = sorted(by_seed[ours].keys() & by_seed[theirs].keys())
        pair = paired_comparison([by_seed[ours][seed] for seed in seeds], [by_seed[theirs][seed] for seed in seeds])
        gains = [f"{100 * part:+.0f}" for part in (pair.relative_gain, *(pair.relative_interval or ()))]
        gain = f"{gains[0]} %" + (f" ({gains[1]} to {gains[2]})" if len(gains) > 1 else "")
        higher = f"{100 * pair.probability_of_improvement:.0f} % of seeds"
        rows.append(f"| {words} | {ours} | {theirs} | {gain} | {higher} | {len(seeds)} |")
    return rows


STEP_WORKS = {
    "a": "tiny model, countdown-3 from its sparse start: a rollout of 32 x 8 and 4 updates",
    "b": "2 prompts of 2,300 tokens, 8 responses of 64 to 256 tokens each",
    "c": "as (b) with 5 prompts, 4 of them with silent groups; update only",
    "d": "short prompts, equal lengths, no silent group: nothing to save",
    "b-49k": "(b) with a vocabulary of 49,152, update only",
    "c-49k": "(c) with a vocabulary of 49,152",
    "b-151k": "(b) with a vocabulary of 151,936, update only",
    "c-151k": "(c) with a vocabulary of 151,936",
    "c-fsdp2": "(c) on two ranks of FSDP2",
    "b-vllm": "(b) with vLLM generating",
    "d-vllm": "(d) with vLLM generating",
}


def step_times() -> Sequence[str]:
    """TRL's trainer over HPOTrainer: time, memory, tokens with a gradient; least and most over machines."""
    rows = ["| workload | step | update | peak memory | update tokens with a gradient |", "|---|---|---|---|---|"]
    for name, words in STEP_WORKS.items():
        found = [each for _, each in _step_times(name)]
        if not found:
            continue
        generates = found[0]["setting"]["generates"]
        cells = [f"({name}) {words}", _range(found, "step_ratio") if generates else "", _range(found, "update_ratio")]
        cells.append(_range(found, "memory_ratio") if found[0]["memory_ratio"] else "")
        stock, ours = (f"{100 * found[0]['gradient_token_share'][which]:.0f} %" for which in ("stock", "ours"))
        rows.append(f"| {' | '.join(cells)} | {stock} → {ours} |")
    return rows


def step_seconds() -> Sequence[str]:
    """The same by machine, with seconds and the update's share of a step."""
    rows = [
        "| work | machine | | stock, s | ours, s | ratio | update's share of a step, stock and ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in STEP_WORKS:
        for folder, found in _step_times(name):
            for phase in ("step", "update") if found["setting"]["generates"] else ("update",):
                stock, ours = (found["seconds"][f"{which} {phase}"] for which in ("stock", "ours"))
                seconds = (
                    f"{each['median']:.2f} ({each['least']:.2f} to {each['most']:.2f})" for each in (stock, ours)
                )
                shares = [
                    found["seconds"][f"{which} update"]["median"] / found["seconds"][f"{which} step"]["median"]
                    for which in ("stock", "ours")
                ]
                share = " and ".join(f"{each:.0%}".replace("%", " %") for each in shares) if phase == "step" else ""
                cells = [name, folder, phase, *seconds, f"{found[f'{phase}_ratio']:.2f}", share]
                rows.append(f"| {' | '.join(cells)} |")
            if found["memory_ratio"]:
                peaks = (f"{found['peak_bytes'][which] / 1e9:.2f} GB" for which in ("stock", "ours"))
                cells = [name, folder, "peak memory of the update", *peaks, f"{found['memory_ratio']:.2f}", ""]
                rows.append(f"| {' | '.join(cells)} |")
    return rows


def step_growth() -> Sequence[str]:
    """How the update grows with group size, prompt length and rows, on the machine where it was measured last."""
    machine, found = _step_times("growth")[-1]
    rows = [
        f"| on {machine} | stock, s | ours, s | ratio | tokens, stock | tokens, ours |",
        "|---|---|---|---|---|---|",
    ]
    for name, case in found["cases"].items():
        stock, ours = (case["seconds"][f"{which} update"]["median"] for which in ("stock", "ours"))
        tokens = [f"{case['update_tokens'][which]:.0f}" for which in ("stock", "ours")]
        rows.append(f"| {name} | {stock:.2f} | {ours:.2f} | {case['update_ratio']:.2f} | {' | '.join(tokens)} |")
    for name, exponents in found.get("exponents", {}).items():
        name = name.removesuffix(" of")
        rows.append(f"| exponent, {name} | {exponents['stock']:.2f} | {exponents['ours']:.2f} | | | |")
    return rows


def _step_times(work: str) -> list[tuple[str, dict[str, Any]]]:
    """What was measured of a work, by machine."""
    files = sorted((ROOT / "results" / "step-time").glob(f"*/{work}.json"))
    return [(file.parent.name, json.loads(file.read_text(encoding="utf-8"))) for file in files]


def _range(found: Sequence[dict[str, Any]], key: str) -> str:
    """Least and most of a ratio."""
    least, most = (f"{choose(each[key] for each in found):.1f}" for choose in (min, max))
    return least if least == most else f"{least} to {most}"


def time_to_reward(work: str) -> Sequence[str]:
    """How much sooner HPOTrainer reaches a held-out pass@1 than TRL's trainer, by threshold."""
    results = _results(f"time-to-reward-{work}")
    module = _benchmark("time_to_reward")
    header = ["held-out pass@1", "TRL, median", "ours, median", "times sooner", "fewer tokens", "fewer updates"]
    rows = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    for threshold in map(str, module.THRESHOLDS[work]):
        seconds = [module.median_seconds(results, arm, threshold) for arm in ("stock", "adaptive")]
        found = [
            module.ratios(results["runs"], "adaptive", threshold, what) for what in ("seconds", *module.COUNTED[2:])
        ]
        cells = [*(f"{each:.0f} s" for each in seconds), *map(module.with_interval, found)]
        rows.append(f"| {threshold} | {' | '.join(cells)} |")
    return rows


def time_to_reward_arms(work: str) -> Sequence[str]:
    """The whole table of the benchmark."""
    rows: Sequence[str] = _benchmark("time_to_reward").summary(_results(f"time-to-reward-{work}"))
    return rows


def _benchmark(name: str) -> Any:
    """A script of benchmarks/ as a module; it imports others there."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def _results(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return found


MAKERS: dict[str, Callable[..., Sequence[str]]] = {
    "settings": settings,
    "options": options,
    "parts": parts,
    "algorithms": algorithms,
    "list": names,
    "metrics": metrics,
    "help-except": help_except,
    "comparison": comparison,
    "against": against,
    "pooled": pooled,
    "step-times": step_times,
    "step-seconds": step_seconds,
    "step-growth": step_growth,
    "time-to-reward": time_to_reward,
    "time-to-reward-arms": time_to_reward_arms,
}


def main(arguments: Sequence[str]) -> int:
    """Rewrite stale pages, or only name them."""
    stale = 0
    for path in pages():
        text = path.read_text(encoding="utf-8")
        made = render(text)
        if made != text:
            stale = 1
            print(f"{path.relative_to(ROOT)}: {'stale' if '--check' in arguments else 'written'}")
            if "--check" not in arguments:
                path.write_text(made, encoding="utf-8")
    return stale if "--check" in arguments else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
