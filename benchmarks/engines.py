"""Learning curves of one recipe through both engines, TRL and verl, in one picture.

    python benchmarks/engines.py --verl-python .venv-verl/bin/python      (.venv-verl: `make test-verl` makes it)

The recipe of the embedded model on countdown-3: rollouts of 32 problems x 8 responses, 4 updates each. TRL runs it with
`hysteretic train`; verl runs the command that `hysteretic launch verl` prints, on one logical GPU, with the platform
and the rollout server of tests/verl/cpu in place of CUDA and vLLM. Both compute in float32. A seed means other random
numbers in each engine, and another order of the problems.

Finished runs in the folder (--output) are kept. verl's metrics are put into the form of a run folder, and everything
after that is what `hysteretic compare` does: results/engines has its results.json, results.csv and figures, and
`hysteretic report results/engines` makes the page.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hysteretic.common import metric_names as names
from hysteretic.common.files import read_json, write_json, write_text
from hysteretic.compare.figures import save_figures
from hysteretic.compare.folder import ComparisonFolder, Run, finished
from hysteretic.compare.results import collect, write_table
from hysteretic.compare.spec import Arm, Comparison

ROOT = Path(__file__).parents[1]
RECIPE, TASK, ALGORITHM = "tiny-countdown-3", "countdown-3", "adaptive-grpo"
UPDATES, UPDATES_PER_ROLLOUT = 100, 4
TRL, VERL = "TRL", "verl"

OF_VERL = {
    names.REWARD: "critic/rewards/mean",
    names.COMPLETION_LENGTH: "response_length/mean",
    "grad_norm": "actor/grad_norm",
    **{name: name for name in (names.ALPHA, names.POSITIVE_SHARE, names.NEGATIVE_SHARE, names.SILENT_SHARE)},
    names.MEAN_LENGTH: names.MEAN_LENGTH,
}
"""Our metrics, and verl's names for them. Not seconds: a stand-in for vLLM says nothing about verl's speed."""


def flags(model: Path, seed: int) -> list[str]:
    """The recipe's flags, for `train` and `launch verl` alike."""
    words = ["--model", str(model), "--algorithm", ALGORITHM, "--seed", str(seed), "--max_steps", str(UPDATES)]
    return [*words, "--save_strategy", "no"]


def train_trl(run: Run, model: Path) -> None:
    words = ["train", "--config", RECIPE, *flags(model, run.seed), "--eval_samples", "0", "--output", str(run.folder)]
    subprocess.run([sys.executable, "-m", "hysteretic", *words, "--disable_tqdm", "true"], check=True)


def train_verl(run: Run, model: Path, python: str, like: dict[str, Any]) -> None:
    """A run of verl, and its metrics in the form of a run folder. like: run.json of a run of TRL."""
    from launched import launch  # type: ignore[import-not-found]

    work = run.folder.with_name(f"{run.folder.name}-verl")
    # bf16: the recipe turns it off, which ON_CPU does for verl.
    words = [RECIPE, *flags(model, run.seed), "--without", "bf16", "--max-prompt-length", "64"]
    done = launch([*words, "--data", str(work.parent / "data"), "--output", "run"], work, python=python, seconds=3600)
    if done.code:
        raise SystemExit(f"verl failed with exit code {done.code}; see {work / 'output.txt'}.\n{done.output[-2000:]}")
    lines = []
    for step in range(1, UPDATES // UPDATES_PER_ROLLOUT + 1):
        rollout = {ours: done.metrics[step][verls] for ours, verls in OF_VERL.items()}
        first = 1 + (step - 1) * UPDATES_PER_ROLLOUT
        lines += [{"step": first, **rollout}, *({"step": first + i} for i in range(1, UPDATES_PER_ROLLOUT))]
    run.folder.mkdir(parents=True, exist_ok=True)
    write_text(run.folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    evaluation = {"before": accuracy(done.metrics[0]), "after": accuracy(done.metrics[max(done.metrics)])}
    write_json(run.folder / "evaluation.json", evaluation)
    write_json(run.folder / "run.json", {**like, "seed": run.seed})


def accuracy(metrics: dict[str, float]) -> dict[str, Any]:
    """verl's validation: one greedy response per problem."""
    (found,) = (value for key, value in metrics.items() if key.startswith("val-") and key.endswith("/acc/mean@1"))
    return {"greedy": {"pass@1": {"value": found}}}


def versions_of(python: str) -> dict[str, str]:
    program = (
        "import json, importlib.metadata as m; "
        "print(json.dumps({name: m.version(name) for name in ('verl', 'ray', 'torch', 'transformers')}))"
    )
    found = subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout
    return {name if name in ("verl", "ray") else f"{name} (verl)": value for name, value in json.loads(found).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verl-python", default=".venv-verl/bin/python", help="of the environment that has verl")
    parser.add_argument("--output", type=Path, default=Path("runs/engines"), help="folder for the runs")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "engines")
    parser.add_argument("--seeds", type=int, default=4, help="seeds from 0; 4 are the fewest for a verdict")
    options = parser.parse_args()
    sys.path.append(str(ROOT / "tests" / "verl"))
    from launched import make_model

    python = str(Path(options.verl_python).absolute())
    folder = ComparisonFolder(options.output.absolute())
    own = {"algorithm": ALGORITHM}
    comparison = Comparison(
        (Arm(TRL, own), Arm(VERL, own)),
        tuple(range(options.seeds)),
        {"task": TASK, "model": "tiny", "max_steps": UPDATES},
        TRL,
    )
    folder.claim(comparison)
    model = folder.path / "model"
    if not model.is_dir():
        make_model(model)
    like: dict[str, Any] = {}
    for run in folder.runs(comparison, {}):
        if not finished(run) and run.arm.name == TRL:
            train_trl(run, model)
        elif not finished(run):
            train_verl(run, model, python, like)
        like = read_json(run.folder / "run.json") or {}
        print(f"{run.name}: done", flush=True)
    results = collect(folder)
    results["command"] = "python benchmarks/engines.py"
    results["title"] = f"TRL and verl on {results['task']}, the recipe {RECIPE}"
    results["model"] = "tiny"  # make_model's copy of it
    results["versions"] |= versions_of(python)
    results["panels"] = [
        panel for panel in results["panels"] if len(panel["curves"]) == len(comparison.arms) and panel["x"] != "second"
    ]
    options.results.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder.comparison, options.results)
    write_json(options.results / "results.json", results)
    write_table(results, options.results / "results.csv")
    for path in save_figures(results, options.results / "figures"):
        if path.suffix == ".png" and path.stem != "curves":  # the one that pages show
            path.unlink()
    print("\n".join(results["verdicts"]))


if __name__ == "__main__":
    main()
