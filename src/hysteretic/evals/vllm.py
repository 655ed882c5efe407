"""Responses from vLLM: from an engine that a command starts, or from the one that generates a run's rollouts."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import AutoConfig

from hysteretic.common.errors import UsageError, usage_errors
from hysteretic.evals.evaluate import Generate
from hysteretic.evals.generate import prompt_tokens
from hysteretic.models.loading import check_vllm
from hysteretic.tasks.task import Problem

logger = logging.getLogger(__name__)


def check_heads(path: str, ranks: int = 1) -> None:
    """Raises UsageError, before a weight is loaded, if vLLM cannot compute the attention of a model on this machine.

    path: of the model, or of its adapter. ranks: over which an engine splits the model (vllm_tensor_parallel_size).
    """
    try:
        config = AutoConfig.from_pretrained(_base_of(path)).get_text_config()
    except (OSError, ValueError):
        return  # loading the model says what is wrong
    heads = getattr(config, "num_attention_heads", None)
    if not heads:
        return
    if heads % ranks:
        raise UsageError(
            f"vLLM cannot split the {heads} attention heads of {path} over {ranks} ranks; set "
            f"vllm_tensor_parallel_size to a divisor of {heads}."
        )
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    from vllm.platforms import current_platform  # type: ignore[import-not-found]

    if not current_platform.is_cpu():
        return  # there are several kernels, and vLLM chooses one that has the size
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend  # type: ignore[import-not-found]

    sizes = CPUAttentionBackend.get_supported_head_sizes()
    if sizes and size not in sizes:
        raise UsageError(
            f"The attention heads of {path} have size {size}, and vLLM on a CPU has kernels for {_listed(sizes)} only; "
            "choose another model, or switch vLLM off."
        )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _base_of(path: str) -> str:
    """The model's own path, or for the folder of an adapter that of the model below it."""
    from peft import PeftConfig

    if (Path(path) / "adapter_config.json").is_file():
        return str(PeftConfig.from_pretrained(path).base_model_name_or_path)
    return path


@contextmanager
def engine(path: str, dtype: str, seed: int, longest: int) -> Iterator[Any]:
    """A vLLM engine for a model; an adapter is merged into its model first.

    longest: tokens of a prompt and its response. Raises UsageError.
    """
    check_vllm("--vllm generates with vLLM", "leave --vllm out")
    check_heads(path)
    from vllm import LLM  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory(prefix="hysteretic-merged-") as folder:
        if _base_of(path) != path:
            from peft import AutoPeftModelForCausalLM
            from transformers import AutoTokenizer

            AutoPeftModelForCausalLM.from_pretrained(path, dtype=dtype).merge_and_unload().save_pretrained(folder)
            AutoTokenizer.from_pretrained(path).save_pretrained(folder)
            path = folder
        with usage_errors(" (from vLLM)", kinds=ValueError):  # a response longer than the model's window, ...
            llm = LLM(model=path, dtype=dtype, seed=seed, max_model_len=longest)
        yield llm


def sampled(
    llm: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    samples: int,
    max_new_tokens: int,
    temperature: float = 1.0,
) -> list[list[tuple[str, int]]]:
    """Text and length of the responses to each prompt: `samples` at the temperature, or a greedy one if it is 0."""
    from vllm import SamplingParams

    parameters = SamplingParams(  # no seed per request: every prompt would get the same random numbers
        n=max(samples, 1), temperature=temperature if samples else 0.0, top_p=1.0, max_tokens=max_new_tokens
    )
    found = llm.generate([{"prompt_token_ids": list(prompt)} for prompt in prompts], parameters)
    tokens = [[list(output.token_ids) for output in request.outputs] for request in found]
    return [  # not vLLM's own text, which leaves out what does not end as UTF-8
        list(zip(tokenizer.batch_decode(rows, skip_special_tokens=True), map(len, rows), strict=True))
        for rows in tokens
    ]


@contextmanager
def responses_of(
    path: str,
    dtype: str,
    seed: int,
    tokenizer: Any,
    problems: Sequence[Problem],
    max_new_tokens: int,
    template_options: Mapping[str, Any] | None = None,
) -> Iterator[Generate]:
    """What an engine responds that is started for it. problems: all that it may be asked for. Raises UsageError."""
    longest = max(map(len, prompt_tokens(problems, tokenizer, template_options))) + max_new_tokens

    def respond(llm: Any, some: Sequence[Problem], samples: int) -> list[list[str]]:
        found = sampled(llm, tokenizer, prompt_tokens(some, tokenizer, template_options), samples, max_new_tokens)
        return [[text for text, _ in row] for row in found]

    with engine(path, dtype, seed, longest) as llm:
        yield partial(respond, llm)


def respond_within_run(
    generation: Any,
    tokenizer: Any,
    problems: Sequence[Problem],
    samples: int,
    max_new_tokens: int,
    seed: int = 0,
    template_options: Mapping[str, Any] | None = None,
) -> list[list[str]]:
    """Responses of a run's present weights from the engine of its rollouts. To be called on all ranks, which share the
    work and return the same.

    generation: TRL's VLLMGeneration. samples: at temperature 1, or one greedy response if it is 0. seed: of an engine
    within this process; that of a server is its own.
    """
    accelerator, per_problem = generation.accelerator, max(samples, 1)
    prompts = prompt_tokens(problems, tokenizer, template_options)
    count = -(-len(prompts) // accelerator.num_processes)
    mine = prompts[accelerator.process_index * count :][:count]
    mine += prompts[-1:] * (count - len(mine))  # engines that ranks share want the same number from each
    plain = {
        "temperature": 1.0 if samples else 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "generation_kwargs": {},
        "max_completion_length": max_new_tokens,
    }
    device = accelerator.device
    with _replaced(generation, plain), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed + accelerator.process_index)
        generation.sync_weights()
        _, tokens, _, _ = generation.generate([row for row in mine for _ in range(per_problem)], None, per_problem)
    texts = gather_object(tokenizer.batch_decode(tokens, skip_special_tokens=True))
    rows = [texts[i : i + per_problem] for i in range(0, len(texts), per_problem)]
    return rows[: len(problems)]


@contextmanager
def _replaced(generation: Any, settings: Mapping[str, Any]) -> Iterator[None]:
    before = {name: getattr(generation, name) for name in settings}
    vars(generation).update(settings)
    try:
        yield
    finally:
        vars(generation).update(before)
