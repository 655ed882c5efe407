"""A small tokenizer for the stand-in model: one token per byte, and its family's special tokens and chat template.

The model's own template is used where its tokenizer is available locally, else a short rewrite of its family's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hysteretic.common.errors import UsageError
from hysteretic.models.loading import check_template
from hysteretic.sizing.prompts import SMALLEST
from hysteretic.tasks.task import Problem

LARGEST = 1000
"""The largest vocabulary that is used unchanged."""


@dataclass(frozen=True)
class Family:
    """Special tokens and chat template shared by a family of instruct models."""

    name: str
    special: tuple[str, ...]
    eos: str | None
    pad: str | None
    bos: str | None
    template: str | None


CHATML = Family(
    "ChatML, as in Qwen2.5",
    ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    eos="<|im_end|>",
    pad="<|endoftext|>",
    bos=None,
    template="{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
)
LLAMA3 = Family(
    "Llama 3's headers",
    ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    eos="<|eot_id|>",
    pad=None,  # as published: TRL then pads with the end token
    bos="<|begin_of_text|>",
    template="{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content.strip() + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
)
FAMILIES = {"llama": LLAMA3}
"""By model_type; ChatML for all others."""


def small_tokenizer(own: Any, model_type: str) -> Any:
    """A tokenizer with a few hundred tokens. own: the model's, or None if it is not available."""
    if own is None:
        return build(_family(model_type))
    if len(own) <= LARGEST:
        return own
    template = own.chat_template if isinstance(own.chat_template, str) else None
    ends = [token for token in (own.bos_token, own.eos_token, own.pad_token) if token]
    named = [token for token in own.added_tokens_encoder if token in ends or token in (template or "")]
    special = tuple(dict.fromkeys([*ends, *named]))
    return build(Family("", special, own.eos_token, own.pad_token, own.bos_token, template))


def _family(model_type: str) -> Family:
    return FAMILIES.get(model_type, CHATML)


def prompts_as_read(problem: Problem, own: Any, model_type: str) -> str:
    """How the prompts of a run reach the model. own: the model's tokenizer, or None if it is not available."""
    is_plain = isinstance(problem.prompt, str)
    if own is None:
        template = "without a chat template" if is_plain else f"in {_family(model_type).name}"
        return f"{template} (no tokenizer available)"
    if is_plain:
        return "plain text, not in its own template" if own.chat_template else "plain text; its own tokenizer"
    return "messages in its own template"


def own_tokenizer(path: str, revision: str | None) -> Any:
    """The model's tokenizer if it is available locally; otherwise None. Nothing is downloaded."""
    try:
        found = AutoTokenizer.from_pretrained(path, revision=revision, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError):
        return None  # transformers raises many errors for a folder without one
    return found if len(found) > SMALLEST else None


def build(family: Family) -> Any:
    """The tokenizer of a family: its special tokens and the 256 bytes."""
    tokens = [*family.special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=family.eos,
        pad_token=family.pad,
        bos_token=family.bos,
        additional_special_tokens=list(family.special),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = family.template
    return tokenizer


def check_prompts_kept(tokenizer: Any, problems: Sequence[Problem], options: Any, model: str, task: str) -> None:
    """Raises UsageError if a chat template is missing, fails, or drops the last message."""
    for problem in problems:
        check_template(tokenizer, problem, model, task)
        if isinstance(problem.prompt, str):
            continue
        text = _render(tokenizer, problem, options or {}, model)
        words = str(problem.prompt[-1]["content"]).strip()
        if words not in text:
            raise UsageError(
                f"The chat template of {model} drops the prompt: the text of problem {problem.id} is "
                f"{_short(text)!r}, without the message {_short(words)!r}. Fix chat_template in its tokenizer."
            )


def _render(tokenizer: Any, problem: Problem, options: Any, model: str) -> str:
    from jinja2 import TemplateError

    try:
        rendered: str = tokenizer.apply_chat_template(
            problem.prompt, tokenize=False, add_generation_prompt=True, **options
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise UsageError(
            f"The chat template of {model} fails on problem {problem.id}: {error} Fix chat_template in its tokenizer."
        ) from error
    return rendered


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:60] + " ... " + text[-15:]
