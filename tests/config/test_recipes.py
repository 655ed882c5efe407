"""Every recipe is a run that would start: its keys are settings, its batch divides, its task exists."""

import dataclasses

import pytest
from trl import get_peft_config

import hysteretic.tasks
from hysteretic.common.errors import UsageError
from hysteretic.config.recipes import read_recipe, recipes
from hysteretic.config.settings import parse
from hysteretic.presets import ALGORITHMS

NAMES = sorted(recipes())
MODELS = ("qwen2.5-1.5b", "llama-3.2-3b", "qwen2.5-7b")
TASKS = ("countdown-3", "countdown-4", "telelogs", "telelogs-synthetic")

pytestmark = pytest.mark.filterwarnings("error:save_steps is:UserWarning")


def stated(name, *flags):
    """The run as the recipe states it, for the processes that it states. transformers refuses bf16 where there
    is no GPU, unless it is told to use the CPU; nothing else has to be changed to read it on any machine."""
    return parse(["--config", name, "--use_cpu", "true", *flags], processes=0)


@pytest.fixture(scope="module", params=NAMES)
def recipe(request):
    """(name, its settings, the parsed run)."""
    return request.param, read_recipe(request.param), stated(request.param)


def test_every_published_setting_has_its_recipe():
    """Three models, two sizes of Countdown and two sources of TeleLogs, LoRA and all parameters."""
    expected = {f"{model}-{task}-{method}" for model in MODELS for task in TASKS for method in ("lora", "full")}
    assert set(NAMES) == expected | {"tiny-countdown-3", "tiny-telelogs-compact"}
    assert all(recipes().values())


SIZES = {
    ("qwen2.5-1.5b", "full"): (1, 16, 16, 64, "float32", 0.25, 200),
    ("llama-3.2-3b", "full"): (4, 16, 4, 16, "bfloat16", 0.25, 0),
    ("qwen2.5-7b", "full"): (8, 8, 4, 16, "bfloat16", 0.3, 0),
    **{(model, "lora"): (1, 8, 32, 128, "bfloat16", 0.4, 200) for model in MODELS},
}
"""Processes, rows, accumulation and rounds with short prompts; dtype, vLLM's memory, held-out problems."""


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("tiny-")])
def test_a_composed_recipe_has_the_values_it_had_as_one_file(name):
    """What depends on the combination, and a few settings of each part."""
    run, training, model = (getattr(stated(name), part) for part in ("run", "training", "model"))
    of_model = next(each for each in MODELS if name.startswith(each))
    method = name.rpartition("-")[2]
    task = name.removeprefix(f"{of_model}-").removesuffix(f"-{method}")
    processes, rows, accumulation, rounds, dtype, vllm, held_out = SIZES[of_model, method]
    longer = 4 if task.startswith("telelogs") else 1
    assert (run.task, run.processes, run.eval_problems) == (task, processes, held_out)
    assert training.per_device_train_batch_size == rows // longer
    assert training.gradient_accumulation_steps == accumulation * longer
    assert training.steps_per_generation == rounds * longer
    assert (model.dtype, training.vllm_gpu_memory_utilization) == (dtype, vllm)
    assert training.vllm_max_model_length == (4096 if longer == 4 else 1536)
    assert training.learning_rate == (1e-5 if method == "lora" else 1e-6)
    assert run.train_problems == {"telelogs": None, "telelogs-synthetic": 2400}.get(task, 6400)
    assert run.task_options == (None if longer == 4 else {"largest": 99, "largest_target": 100, "prompt": "chat"})
    assert (training.max_steps, training.save_steps, training.num_generations) == (800, 80, 8)
    assert (training.beta, training.temperature, training.max_grad_norm, training.use_vllm) == (0.0, 1.0, 1.0, True)


def written(folder, name, text):
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_file_may_start_from_parts_and_override_them(tmp_path):
    """The parts of a recipe are the recipe; the file's own settings win, and a file may be the base of another."""
    parts = written(tmp_path, "parts.yaml", "base: [qwen2.5-1.5b, countdown-3, lora]\n")
    assert read_recipe(parts) == read_recipe("qwen2.5-1.5b-countdown-3-lora")
    mine = written(tmp_path, "mine.yaml", "base: parts.yaml\nlearning_rate: 1.0e-4\n")
    assert read_recipe(mine) == {**read_recipe(parts), "learning_rate": 1e-4}
    both = read_recipe(written(tmp_path, "both.yaml", "base: [qwen2.5-7b-countdown-3-full, mine.yaml]\nlora_r: 8\n"))
    assert (both["lora_r"], both["learning_rate"]) == (8, 1e-4)


def test_what_depends_on_several_parts_comes_with_the_last_of_them(tmp_path):
    """In any order; a later layer goes over it."""
    for order in ("full, qwen2.5-7b, telelogs", "telelogs, full, qwen2.5-7b"):
        found = read_recipe(written(tmp_path, "a.yaml", f"base: [{order}]\n"))
        assert (found["per_device_train_batch_size"], found["processes"]) == (2, 8)
    written(tmp_path, "rows.yaml", "per_device_train_batch_size: 1\n")
    found = read_recipe(written(tmp_path, "b.yaml", "base: [qwen2.5-7b-telelogs-full, rows.yaml]\n"))
    assert found["per_device_train_batch_size"] == 1


def test_another_task_drops_the_options_of_the_one_before(tmp_path):
    """Countdown's `largest` is not an option of TeleLogs."""
    text = "base: qwen2.5-1.5b-countdown-3-lora\ntask: telelogs-synthetic\n"
    assert not {"task_options", "train_problems"} & set(read_recipe(written(tmp_path, "a.yaml", text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base: [qwen2.5-1.5, lora]\n", ["mine.yaml", "Did you mean 'qwen2.5-1.5b'"]),
        ("base: {a: 1}\n", ["mine.yaml", "a name or a list of names"]),
        ("base: mine.yaml\n", ["mine.yaml", "extends itself"]),
        ("base: other.yaml\n", ["other.yaml", "'lerning_rate'", "'learning_rate'"]),
        ("base: twice.yaml\n", ["twice.yaml sets 'beta' twice"]),
    ],
)
def test_a_mistake_in_a_base_is_named_with_its_file(text, words, tmp_path):
    written(tmp_path, "other.yaml", "lerning_rate: 1\n")
    written(tmp_path, "twice.yaml", "beta: 1\nbeta: 2\n")
    with pytest.raises(UsageError) as error:
        parse(["--config", written(tmp_path, "mine.yaml", text)])
    assert all(word in str(error.value) for word in words), error.value


def test_every_key_reaches_a_configuration(recipe):
    """A value that parse would silently drop or change is not what the file promises."""
    _, content, request = recipe
    for key, value in content.items():
        holders = [part for part in (request.run, request.training, request.model) if hasattr(part, key)]
        assert holders, f"{key} is a field of none of the three configurations"
        found = [getattr(part, key) for part in holders]
        if key in ("use_cpu", "lora_target_modules"):  # given by the fixture; a list of one becomes its string
            continue
        assert any(str(each).removeprefix("SchedulerType.").lower() == str(value).lower() for each in found), key


def test_the_objective_is_that_of_the_algorithm_named(recipe):
    """An epsilon or a part left in a recipe would follow every --algorithm that it is compared with."""
    _, content, request = recipe
    assert request.training.algorithm == content.get("algorithm", "a-hpo")
    assert request.training.objective() == ALGORITHMS[request.training.algorithm]()
    other = stated(recipe[0], "--algorithm", "gspo")
    assert other.training.objective() == ALGORITHMS["gspo"]()


def test_rollouts_divide_into_groups_and_updates(recipe):
    """Whole groups in a rollout, whole accumulations in it, several updates, and checkpoints between rollouts."""
    training = recipe[2].training
    assert training.generation_batch_size % training.num_generations == 0
    assert training.steps_per_generation % training.gradient_accumulation_steps == 0
    assert training.updates_per_rollout() > 1
    assert training.save_steps % training.updates_per_rollout() == 0
    assert training.max_steps % training.updates_per_rollout() == 0


def test_published_settings_share_one_batch(recipe):
    """The comparison between models is of 128 prompts x 8 responses, whatever the number of GPUs."""
    name, _, request = recipe
    if name.startswith("tiny-"):
        return
    rows = request.run.processes * request.training.per_device_train_batch_size
    assert rows * request.training.steps_per_generation == 1024
    assert rows * request.training.gradient_accumulation_steps == 256


def test_the_task_loads_and_is_the_one_of_the_name(recipe):
    """Its options are the task's own."""
    name, _, request = recipe
    task = hysteretic.tasks.load(request.run.task, **request.run.load_options())
    assert task.name in name
    if task.name != "telelogs":  # its data is the user's own
        assert len(task.problems("train", count=2)) == 2


def test_lora_recipes_train_an_adapter_and_the_others_do_not(recipe):
    """What the name says; and without dropout, which would move the importance ratios."""
    name, _, request = recipe
    adapter = get_peft_config(request.model)
    assert (adapter is not None) == name.endswith("-lora")
    if adapter is not None:
        assert adapter.target_modules == "all-linear"
        assert adapter.lora_dropout == 0


def test_full_recipes_keep_fp32_weights_somewhere(recipe):
    """At a learning rate of 1e-6 a bf16 weight near 0.02 is the same number after the step."""
    name, _, request = recipe
    if name.endswith("-full") and request.model.dtype == "bfloat16":
        assert "zero" in recipes()[name]


def test_what_nobody_asked_for_is_as_the_classes_have_it():
    """A switch that is on by default (--share_prompts beside --no_share_prompts) must not be off from a terminal."""
    request = parse(["--model", "some/model"])
    for part in (request.run, request.training, request.model):
        fields = {field.name for field in dataclasses.fields(part)}
        plain = type(part)(**{name: value for name, value in request.asked.items() if name in fields})
        changed = {name for name in fields if getattr(part, name) != getattr(plain, name)}
        assert not changed
    assert request.training.share_prompts
    assert request.training.drop_silent
    assert not parse(["--no_share_prompts"]).training.share_prompts
    assert not parse(["--share_prompts", "false"]).training.share_prompts


def test_the_tiny_model_learns_any_task_with_settings_of_its_size():
    """TRL's defaults (1e-6, one group of 8 an update) are for large models: with them a tiny one would not move."""
    own, known = parse(["--task", "mine.jsonl", "--reward", "x.py:f"]), parse(["--task", "countdown-3"])
    for name in ("learning_rate", "generation_batch_size", "num_generations", "max_steps", "use_cpu"):
        assert getattr(own.training, name) == getattr(known.training, name), name
    assert own.run.task == "mine.jsonl"
    assert own.run.task_options is None
    assert own.run.train_problems is None
