"""What a comparison is: read whole or refused with a reason, kept as it began, never mixed with another."""

import multiprocessing
import os

import pytest
import yaml
from compare.made_up_runs import write_run

from hysteretic.cli import main
from hysteretic.common.errors import UsageError
from hysteretic.common.subprocesses import Command, Workers, run_all
from hysteretic.compare.folder import ComparisonFolder, finished
from hysteretic.compare.spec import read

PLAIN = {"algorithms": "grpo,a-hpo", "seeds": 4, "max_steps": 8}


def test_algorithms_arms_and_varied_settings_become_arms():
    content = {
        "algorithms": ["grpo"],
        "arms": {"mine": {"algorithm": "grpo", "weight": "adaptive"}},
        "vary": {"num_generations": [4, 8]},
        "learning_rate": 1e-3,
    }
    comparison = read(content, "test")
    assert [arm.name for arm in comparison.arms] == [
        f"{name} num_generations={count}" for name in ("grpo", "mine") for count in (4, 8)
    ]
    assert comparison.arms[3].settings == {"algorithm": "grpo", "weight": "adaptive", "num_generations": 8}
    assert comparison.settings == {"learning_rate": 1e-3}
    assert comparison.seeds == tuple(range(8))


def test_an_algorithm_gives_its_arm_its_own_name_however_it_is_spelt():
    """a_hpo, A_HPO and a-hpo are one algorithm, so one arm, also in a folder that knows it already."""
    comparison = read({"algorithms": "grpo,a_hpo,POSITIVE_ONLY", "baseline": "a_hpo"}, "test")
    assert [arm.name for arm in comparison.arms] == ["grpo", "a-hpo", "positive-only"]
    assert [arm.settings["algorithm"] for arm in comparison.arms] == ["grpo", "a-hpo", "positive-only"]
    assert comparison.baseline == "a-hpo"
    assert read({"arms": {"my_arm": {"algorithm": "grpo"}}, "baseline": "my_arm"}, "test").baseline == "my_arm"


def test_seeds_are_a_number_of_them_or_a_list():
    """Also as one word, as a command line gives it."""
    for given, seeds in [(3, (0, 1, 2)), ("3", (0, 1, 2)), ("0,1,5", (0, 1, 5)), ("7,", (7,)), ([4, 2], (4, 2))]:
        assert read({**PLAIN, "seeds": given}, "test").seeds == seeds
    assert read({**PLAIN, "tune_lr": "1e-3", "tuning_seeds": "2000, 2001"}, "test").tuning_seeds == (2000, 2001)


def test_the_baseline_is_grpo_or_the_first_arm():
    assert read({"algorithms": "a-hpo,grpo"}, "test").baseline == "grpo"
    assert read({"algorithms": "a-hpo,sapo"}, "test").baseline == "a-hpo"


def test_what_is_written_is_read_back(tmp_path):
    """The folder's own comparison.yaml repeats it."""
    comparison = read({**PLAIN, "tune_lr": "1e-3,3e-4", "tuning_seeds": 1, "task_options": {"largest": 9}}, "test")
    folder = ComparisonFolder(tmp_path / "c")
    folder.claim(comparison)
    assert folder.read() == comparison
    assert comparison.rates == (3e-4, 1e-3)
    assert comparison.tuning_seeds == (1000,)


def test_every_run_has_a_folder_of_its_own(tmp_path):
    comparison = read({**PLAIN, "tune_lr": [1e-3, 3e-4]}, "test")
    folder = ComparisonFolder(tmp_path)
    runs = [*folder.tuning_runs(comparison), *folder.runs(comparison, {"grpo": 1e-3, "a-hpo": 3e-4})]
    assert len({run.folder for run in runs}) == len({run.name for run in runs}) == len(runs) == 8 + 8
    first = runs[-8:][:2]  # seed by seed, so that pairs are complete early
    assert [run.seed for run in first] == [0, 0]
    assert [run.settings(comparison)["learning_rate"] for run in first] == [1e-3, 3e-4]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"algorithms": ""}, ["--algorithms"]),
        ({"algorithms": "grpo,grpo"}, ["'grpo'", "distinct names"]),
        ({"algorithms": 5}, ["algorithms is 5"]),
        ({"algorithms": [None]}, ["algorithms is [None]"]),
        ({"arms": {"GRPO": {"algorithm": "grpo"}}}, ["folder", "'grpo'"]),
        ({"arms": {"..": {"algorithm": "grpo"}}}, ["'..'", "no letter"]),
        ({"arms": {"тест": {"algorithm": "grpo"}}}, ["no letter"]),
        ({"arms": {"a" * 300: {"algorithm": "grpo"}}}, ["300 characters"]),
        ({"arms": {None: {"algorithm": "grpo"}}}, ["None"]),
        ({"arms": {"x": {}}}, ["'x'", "mapping of settings"]),
        ({"arms": {"x": {"algorithm": "grpo", "resume": True}}}, ["'resume'"]),
        ({"vary": {"seed": [1, 2]}}, ["'seed'"]),
        ({"seeds": True}, ["seeds is True"]),
        ({"seeds": 2.7}, ["seeds is 2.7"]),
        ({"seeds": float("inf")}, ["seeds is inf"]),
        ({"tune_lr": True}, ["above 0"]),
        ({"arms": {"x": "grpo"}}, ["'x'", "mapping"]),
        ({"arms": ["grpo"]}, ["arms", "mapping"]),
        ({"vary": {"alpha": 0.5}}, ["vary.alpha", "list"]),
        ({"baseline": "grop"}, ["'grop'", "grpo"]),
        ({"seeds": "many"}, ["seeds", "'many'"]),
        ({"seeds": [1, 1]}, ["distinct"]),
        ({"seeds": "1,1"}, ["'1,1'", "distinct"]),
        ({"seeds": "0,one"}, ["seeds is '0,one'", "number of seeds"]),
        ({"seeds": "0-3"}, ["seeds is '0-3'", "0,1,2,3"]),
        ({"seeds": 0}, ["no seed"]),
        ({"seeds": [1000], "tune_lr": "1e-3"}, ["[1000]", "tuning_seeds"]),
        ({"tune_lr": "1e-3", "tuning_seeds": 0}, ["tuning_seeds"]),
        ({"tune_lr": "fast"}, ["'fast'", "numbers"]),
        ({"tune_lr": "-1"}, ["above 0"]),
        ({"tune_lr": "1e-3", "learning_rate": 1e-3}, ["learning_rate", "tune_lr"]),
        ({"tune_lr": "1e-3", "arms": {"x": {"learning_rate": 1e-3}}}, ["learning_rate", "tune_lr"]),
        ({"seed": 3}, ["'seed'"]),
        ({"output": "x"}, ["'output'"]),
    ],
)
def test_what_cannot_be_carried_out_is_refused_with_a_reason(changes, words):
    with pytest.raises(UsageError) as refused:
        read({**PLAIN, **changes}, "mine.yaml")
    assert all(word in str(refused.value) for word in words), refused.value


def test_a_folder_takes_more_seeds_and_arms_but_nothing_else(tmp_path):
    """Its finished runs stay comparable with the new ones."""
    folder = ComparisonFolder(tmp_path / "c")
    folder.claim(read(PLAIN, "test"))
    folder.release()
    write_run(folder.runs(read(PLAIN, "test"), {})[0].folder, [0.1])
    folder.claim(read({**PLAIN, "seeds": 8, "algorithms": "grpo,a-hpo,hpo"}, "test"))
    folder.release()
    before = folder.comparison.read_text()
    for changes, word in [
        ({"seeds": 4}, "seeds [4, 5, 6, 7] were removed"),
        ({"seeds": 8, "algorithms": "grpo,hpo"}, "'a-hpo' was removed"),
        ({"seeds": 8, "max_steps": 9}, "settings: max_steps was 8 and is 9. "),
        ({"seeds": 8, "beta": 0.1}, "settings: beta was not set and is 0.1. "),
        ({"seeds": 8, "baseline": "hpo"}, "baseline was"),
        ({"seeds": 8, "measure": "early"}, "measure was"),
        ({"seeds": 8, "tune_lr": "1e-3"}, "tune_lr was"),
    ]:
        with pytest.raises(UsageError) as refused:
            folder.claim(read({"algorithms": "grpo,a-hpo,hpo", "max_steps": 8, **changes}, "test"))
        folder.release()
        assert word in str(refused.value)
        assert folder.comparison.read_text() == before


def test_a_refusal_names_what_differs_and_nothing_else(tmp_path):
    """Among forty settings the one that changed is hard to find."""
    common = {"seeds": 4, "task": "countdown-4", "task_options": {"largest": 9, "prompt": "terse"}, "max_steps": 8}
    arms = {"x": {"algorithm": "hpo", "alpha": 0.3}, "y": {"algorithm": "grpo"}}
    folder = ComparisonFolder(tmp_path / "c")
    before = read({**common, "arms": arms}, "test")
    folder.claim(before)
    folder.release()
    write_run(folder.runs(before, {})[0].folder, [0.1])
    now = {key: value for key, value in common.items() if key != "max_steps"}
    now |= {"task_options": {"largest": 20, "prompt": "terse"}, "arms": {"x": {"algorithm": "hpo", "alpha": 0.5}}}
    with pytest.raises(UsageError) as refused:
        folder.claim(read(now | {"baseline": "x"}, "test"))
    folder.release()
    assert (
        "settings: task_options.largest was 9 and is 20; max_steps was 8 and is no longer set; arm 'x': alpha was "
        "0.3 and is 0.5; arm 'y' was removed. " in str(refused.value)
    )


def test_a_folder_without_a_run_may_begin_otherwise(tmp_path):
    """A mistyped task need not cost the folder."""
    folder = ComparisonFolder(tmp_path / "c")
    folder.claim(read({**PLAIN, "task": "countdwn"}, "test"))
    folder.release()
    folder.claim(read(PLAIN, "test"))
    assert "task" not in folder.read().settings


def test_a_half_written_comparison_is_no_obstacle(tmp_path):
    """Killed before its first file was in place."""
    (tmp_path / "comparison.yaml.123.part").write_text("arms: {gr")
    folder = ComparisonFolder(tmp_path)
    folder.claim(read(PLAIN, "test"))
    assert folder.read() == read(PLAIN, "test")


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        ComparisonFolder(tmp_path).claim(read(PLAIN, "test"))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def hold(path, is_held, may_end):
    folder = ComparisonFolder(path)
    folder.claim(read(PLAIN, "test"))
    is_held.set()
    may_end.wait(60)


def test_two_comparisons_never_write_one_folder_at_once(tmp_path):
    """Also after kill -9: the system frees the lock."""
    context = multiprocessing.get_context("spawn")
    is_held, may_end = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path / "c", is_held, may_end))
    other.start()
    assert is_held.wait(60)
    with pytest.raises(UsageError, match="Another `hysteretic compare`"):
        ComparisonFolder(tmp_path / "c").claim(read(PLAIN, "test"))
    other.kill()
    other.join()
    ComparisonFolder(tmp_path / "c").claim(read(PLAIN, "test"))


def test_a_torn_or_changed_comparison_file_is_named(tmp_path):
    folder = ComparisonFolder(tmp_path)
    folder.comparison.write_text("arms: [")
    with pytest.raises(UsageError, match="not valid YAML"):
        folder.read()
    folder.comparison.write_text("- 1")
    with pytest.raises(UsageError, match="not hold a mapping"):
        folder.read()


def test_a_run_is_finished_when_its_evaluation_is_there(tmp_path):
    """Killed between the last update and the evaluation, it is made again from its checkpoint."""
    run = ComparisonFolder(tmp_path).runs(read(PLAIN, "test"), {})[0]
    assert not finished(run)
    run.folder.mkdir(parents=True)
    (run.folder / "run.json").write_text('{"state": "finished", "held_out_problems": 4}')
    assert not finished(run)
    (run.folder / "evaluation.json").write_text('{"before": {}}')
    assert not finished(run)
    (run.folder / "evaluation.json").write_text('{"before": {}, "after": {}}')
    assert finished(run)
    (run.folder / "run.json").write_text('{"state": "fini')
    assert not finished(run)


def test_commands_run_a_few_at_a_time_and_one_failure_stops_no_other(tmp_path):
    """A list command is the quickest there is; an unknown one fails with its message in the log."""
    words = [("list",), ("lsit",), ("list",), ("list",)]
    commands = [Command(f"c{i}", each, tmp_path / f"{i}.log") for i, each in enumerate(words)]
    over, most = [], []
    run_all(commands, Workers(main, 2), over.append, lambda going: most.append(len(going)))
    assert {one.command.name: one.code for one in over} == {"c0": 0, "c1": 2, "c2": 0, "c3": 0}
    assert max(most) == 2
    failed = next(one for one in over if one.code)
    assert "'lsit'" in failed.last_lines
    assert "countdown-3" in (tmp_path / "0.log").read_text()


def test_a_comparison_in_yaml_reads_as_it_says(tmp_path):
    """Those of benchmarks/evidence are the published ones."""
    evidence = os.path.join(os.path.dirname(__file__), "..", "..", "benchmarks", "evidence")
    for name, seeds in (("sparse", 16), ("easy", 8)):
        with open(os.path.join(evidence, f"{name}.yaml"), encoding="utf-8") as file:
            comparison = read(yaml.safe_load(file), name)
        assert len(comparison.seeds) == seeds
        assert [arm.name for arm in comparison.arms][:5] == ["grpo", "gspo", "sapo", "hpo", "a-hpo"]
        assert len(comparison.arms) == 7
    with open(os.path.join(evidence, "telelogs.yaml"), encoding="utf-8") as file:
        comparison = read(yaml.safe_load(file), "telelogs")
    assert len(comparison.seeds) == 6
    assert [arm.settings.get("alpha") for arm in comparison.arms if arm.name.startswith("hpo")] == [0.0, 0.3, 0.6, 1.0]
    assert len(comparison.arms) == 8


def test_seeds_are_added_as_many_as_there_were_up_to_the_most(tmp_path):
    comparison = read({"algorithms": "grpo,a-hpo", "seeds": 4, "most_seeds": 10}, "test")
    assert comparison.looks == (4, 8, 10)
    assert comparison.all_seeds == tuple(range(10))
    assert read(comparison.as_yaml(), "test") == comparison
    listed = read({"algorithms": "grpo,a-hpo", "seeds": "7,3,5,9", "most_seeds": "6"}, "test")
    assert listed.all_seeds == (7, 3, 5, 9, 10, 11)
    folder = ComparisonFolder(tmp_path)
    assert {run.seed for run in folder.runs(comparison, {})} == {0, 1, 2, 3}
    (tmp_path / "runs" / "a-hpo" / "seed-4").mkdir(parents=True)
    assert {run.seed for run in folder.runs(comparison, {})} == set(range(8))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"most_seeds": 4}, "most_seeds is 4 and there are 4 seeds"),
        ({"seeds": 3, "most_seeds": 8}, "begin with at least 4"),
        ({"most_seeds": "many"}, "must be a whole number"),
        ({"aa": "yes"}, "aa is 'yes'"),
        ({"most_seeds": 8, "tune_lr": "1e-4", "tuning_seeds": "5,6"}, "used both for tuning"),
    ],
)
def test_what_seeds_may_be_added_is_checked(changes, words):
    with pytest.raises(UsageError, match=words):
        read({"algorithms": "grpo,a-hpo", "seeds": 4, **changes}, "test")


def test_the_plan_of_looks_stays(tmp_path):
    """Other looks would need other corrections: neither the most nor the first seeds may change once runs exist."""
    content = {"algorithms": "grpo,a-hpo", "seeds": 4, "most_seeds": 8}
    folder = ComparisonFolder(tmp_path / "c")
    folder.claim(read(content, "test"))
    folder.release()
    write_run(folder.runs(read(content, "test"), {})[0].folder, [0.1] * 4)
    for change in ({"most_seeds": 12}, {"seeds": 5}, {"most_seeds": None}):
        with pytest.raises(UsageError, match="seeds"):
            folder.claim(read({**content, **change}, "test"))
        folder.release()
    folder.claim(read({**content, "algorithms": "grpo,a-hpo,gspo"}, "test"))
    folder.release()


def test_the_baseline_runs_again_with_other_random_numbers(tmp_path):
    comparison = read({"algorithms": "grpo,a-hpo", "seeds": 4, "aa": True}, "test")
    assert [arm.name for arm in comparison.arms] == ["grpo", "a-hpo", "grpo-aa"]
    assert comparison.second_baseline == "grpo-aa"
    assert read(comparison.as_yaml(), "test") == comparison
    runs = {run.name: run.settings(comparison) for run in ComparisonFolder(tmp_path).runs(comparison, {})}
    first, again = runs["grpo seed 2"], runs["grpo-aa seed 2"]
    assert first.pop("seed") == 2
    assert again.pop("seed") == 1_000_002
    assert first == again
