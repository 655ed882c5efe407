"""Every file of recipes/ is a run that would start: its keys are settings, its batches divide, its task exists."""

import dataclasses

import pytest
import yaml
from trl import get_peft_config

import hysteretic.tasks
from hysteretic.config.recipes import recipes
from hysteretic.config.settings import parse
from hysteretic.presets import ALGORITHMS

NAMES = sorted(recipes())
MODELS = ("qwen2.5-1.5b", "llama-3.2-3b", "qwen2.5-7b")
TASKS = ("countdown-3", "countdown-4", "telelogs", "telelogs-synthetic")

pytestmark = pytest.mark.filterwarnings("error:save_steps is:UserWarning")


@pytest.fixture(scope="module", params=NAMES)
def recipe(request):
    """(name, what the file says, the parsed request). transformers refuses bf16 where there is no GPU, unless it is
    told to use the CPU; nothing else of a recipe has to be changed to be read on any machine."""
    content = yaml.safe_load(recipes()[request.param].read_text(encoding="utf-8"))
    return request.param, content, parse(["--config", request.param, "--use_cpu", "true"])


def test_every_published_setting_has_its_recipe():
    """Three models, two sizes of Countdown and two sources of TeleLogs, LoRA and all parameters."""
    expected = {f"{model}-{task}-{tuning}" for model in MODELS for task in TASKS for tuning in ("lora", "full")}
    assert expected <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_is_a_sentence(name):
    """`hysteretic list` shows it."""
    first = recipes()[name].read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_a_launch_command_in_the_comments_names_its_own_recipe(name):
    """Many files alike: a copied command would start another run."""
    lines = recipes()[name].read_text(encoding="utf-8").splitlines()
    named = [line.split("--config ")[1].split()[0] for line in lines if line.startswith("#") and "--config " in line]
    assert set(named) <= {name}
    assert named or name.startswith("tiny-")


def test_every_key_reaches_a_configuration(recipe):
    """A value that parse would drop or change in silence is not what the file promises."""
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
    other = parse(["--config", recipe[0], "--use_cpu", "true", "--algorithm", "gspo"])
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
    lines = recipes()[name].read_text(encoding="utf-8").split("--num_processes ")
    processes = int(lines[1].split()[0])
    training = request.training
    assert processes * training.per_device_train_batch_size * training.steps_per_generation == 1024
    assert processes * training.per_device_train_batch_size * training.gradient_accumulation_steps == 256


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
        assert "zero" in recipes()[name].read_text(encoding="utf-8")


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
