"""The commands with vLLM, each as a user runs it; those in processes of their own have engines of their own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from one_engine import COLOCATED
from quick_runs import quick_flags
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from hysteretic.cli import main
from hysteretic.common.files import read_lines
from hysteretic.evals import generate
from hysteretic.tasks.files import FileTask

HERE = Path(__file__).parent
USED = [word for key, value in COLOCATED.items() for word in (f"--{key}", str(value))]


@pytest.fixture(scope="session")
def flags(policy_folder, tmp_path_factory):
    """Flags for a run of 4 updates on a data file, with a reward that a random model often gets."""
    folder = tmp_path_factory.mktemp("data")
    data, rewards = folder / "data.jsonl", folder / "rewards.py"
    data.write_text("".join(json.dumps({"prompt": f"{i:03d}:", "answer": i}) + "\n" for i in range(200)))
    rewards.write_text("def score(response, answer):\n    return float(sum(map(ord, response)) % 2)\n")
    quick = quick_flags(policy_folder)
    quick = [word for word in quick if word != "--task_options" and not word.startswith("{")]
    quick[quick.index("countdown-3")] = str(data)
    return [*quick, "--reward", f"{rewards}:score"]


def run(*words, check=True):
    """A `hysteretic` command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "hysteretic", *map(str, words)], capture_output=True, text=True, timeout=300
    )
    assert not check or done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    return done


@pytest.fixture(scope="module")
def compared(flags, tmp_path_factory):
    """Two arms side by side, a colocated engine in each."""
    out = tmp_path_factory.mktemp("compare") / "out"
    pairs = dict(zip(flags[::2], flags[1::2], strict=True))
    words = [word for pair in pairs.items() if pair[0] != "--disable_tqdm" for word in pair]
    run("compare", *words, *USED, "--algorithms", "grpo,a-hpo", "--seeds", "1", "--jobs", "2", "--output", out)
    return out


def test_compare_runs_two_jobs_with_vllm(compared):
    folders = sorted(path.parent for path in (compared / "runs").rglob("metrics.jsonl"))
    assert len(folders) == 2
    for folder in folders:
        lines = read_lines(folder / "metrics.jsonl")
        assert [line["step"] for line in lines] == [1, 2, 3, 4]
        assert all("sampling/sampling_logp_difference/max" in line for line in lines[::2])
        assert json.loads((folder / "evaluation.json").read_text()).keys() == {"before", "after"}
    assert (compared / "report.html").is_file()


@pytest.fixture(scope="module")
def trained(flags, tmp_path_factory):
    """A run in a process of its own."""
    out = tmp_path_factory.mktemp("train") / "run"
    run("train", *flags, *USED, "--output", out)
    return out


def test_a_run_goes_on_bit_for_bit_with_a_new_engine(trained, tmp_path):
    """As after a kill that followed the checkpoint at update 2: vLLM draws with the random state of the checkpoint."""
    again = tmp_path / "run"
    shutil.copytree(trained, again)
    shutil.rmtree(again / "checkpoint-4")
    shutil.rmtree(again / "model")
    record = json.loads((again / "run.json").read_text())
    (again / "run.json").write_text(json.dumps({**record, "state": "running"}))
    run("train", "--resume", "--output", again)
    state, expected = (load_file(folder / "model" / "model.safetensors") for folder in (again, trained))
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    start = load_file(trained / "checkpoint-2" / "model.safetensors")
    assert not all(torch.equal(start[name], expected[name]) for name in expected)
    lines, uninterrupted = (read_lines(folder / "metrics.jsonl") for folder in (again, trained))
    for name in ("loss", "reward", "entropy", "sampling/sampling_logp_difference/max", "hpo/forwarded_tokens"):
        assert [line.get(name) for line in lines] == [line.get(name) for line in uninterrupted], name


def greedy_of(flags, model):
    """Greedy responses of a saved model to the held-out problems of these flags, by transformers, in float32."""
    task = FileTask(flags[flags.index("--task") + 1], reward=flags[flags.index("--reward") + 1])
    problems = task.problems("test", seed=0, count=4)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    return problems, generate.respond(loaded, AutoTokenizer.from_pretrained(model), problems, 0, 8)


def test_held_out_problems_are_answered_by_the_engine_of_the_run(engine, flags, policy_folder, tmp_path, monkeypatch):
    """Before and after training, as transformers would answer with the weights of that moment."""
    monkeypatch.setattr("hysteretic.runs.held_out.respond", None)
    out = tmp_path / "run"
    assert main(["train", *flags, *USED, "--learning_rate", "1e-2", "--output", str(out)]) == 0
    rows = [row for row in read_lines(out / "samples.jsonl") if row["decoding"] == "greedy"]
    found = {when: [row["response"] for row in rows if row["when"] == when] for when in ("before", "after")}
    for when, model in [("before", policy_folder), ("after", out / "model")]:
        problems, expected = greedy_of(flags, model)
        assert [[text] for text in found[when]] == expected
    assert found["before"] != found["after"]
    taken = json.loads((out / "evaluation.json").read_text())
    assert taken["after"]["sampled"]["responses_per_problem"] == 2
    assert len(taken["after"]["sampled"]["correct_by_problem"]) == len(problems)


def test_an_evaluation_leaves_the_rollouts_as_they_are(engine, flags, tmp_path):
    """The settings of generation and the random state are put back: the same updates as without held-out problems."""
    losses = []
    for name, problems in [("with", "4"), ("without", "0")]:
        out = tmp_path / name
        assert main(["train", *flags, *USED, "--eval_problems", problems, "--output", str(out)]) == 0
        losses.append([(line["loss"], line.get("reward")) for line in read_lines(out / "metrics.jsonl")])
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4


def test_eval_and_probe_sample_with_vllm(flags, policy_folder, tmp_path):
    """In float32, greedy, the responses are those of transformers; the probe says what it sampled with."""
    task = [word for key in ("--task", "--reward") for word in (key, flags[flags.index(key) + 1])]
    words = [*task, "--model", str(policy_folder), "--max-completion-length", "8", "--dtype", "float32"]
    words += ["--problems", "16", "--samples"]
    evaluation = ["eval", *words, "4", "--split", "test", "--output"]
    probe = ["probe", *words, "8", "--vllm", "--group-sizes", "4,8", "--output", str(tmp_path / "probe")]
    sampled = [[*evaluation, str(tmp_path / "vllm.json"), "--vllm"], probe]
    command = [sys.executable, HERE / "vllm_one_process.py", json.dumps(sampled)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    assert main([*evaluation, str(tmp_path / "plain.json"), "--device", "cpu"]) == 0
    ours, theirs = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("vllm", "plain"))
    assert ours["greedy"] == theirs["greedy"]
    assert ours["sampled"] != theirs["sampled"]
    record = json.loads((tmp_path / "probe" / "probe.json").read_text())
    assert record["sampled_by"] == "vLLM"
    assert [len(rewards) for rewards in record["rewards"].values()] == [8] * 16
    assert len({reward for rewards in record["rewards"].values() for reward in rewards}) == 2


def test_two_ranks_have_engines_of_their_own(policy_folder, tmp_path):
    """Each is given the updated weights; ranks draw different rollouts, end with the same weights, and share the
    held-out problems."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [*launch, HERE / "vllm_ranks_worker.py", policy_folder, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=540)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["leaves out"]
    assert max(found["differences"]) < 1e-4
    assert found["moved"] > 1e-2
    assert found["weights apart"] == 0
    assert found["rollouts are equal"] is False
    assert found["responses"] == found["expected"]
