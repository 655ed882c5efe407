"""What verl's agent loop needs of a tokenizer: a chat template, and for some model types tokens of their own.

verl looks them up in every rollout process, after the weights are loaded; here it takes a second.
"""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, AutoTokenizer

from hysteretic.common.errors import UsageError

_QWEN, _GLM = ("<|im_end|>",), ("<|observation|>", "<|user|>")
_DEEPSEEK = ("<\uff5cend\u2581of\u2581sentence\uff5c>",)
TOKENS = {
    **dict.fromkeys(("qwen2", "qwen3", "qwen3_moe", "qwen3_5", "qwen3_5_moe"), _QWEN),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"), _QWEN),
    **dict.fromkeys(("glm4_moe", "glm_moe_dsa", "glm4v", "glm4v_moe"), _GLM),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3"), _DEEPSEEK),
    **dict.fromkeys(("minimax", "minimax_text_01", "minimax_m2"), ("[e~[",)),
    "gemma4": ("<|tool_response>",),
}
"""Tokens by the model_type in config.json, as in verl/utils/tokenizer/continuous_token.py of verl 0.9.1."""


def check_tokenizer(name: str, revision: str | None = None) -> list[str]:
    """Check a model's tokenizer; returns a note for a hub model that is not on this machine, which is not checked.

    name: a folder or a hub name. Raises UsageError for a tokenizer that verl cannot use, and for a folder without one.
    """
    if name == "tiny":
        return []  # refused anyway
    needs = "verl's agent loop needs a chat template, and for models such as Qwen's the token that ends a turn"
    try:
        model_type = AutoConfig.from_pretrained(name, revision=revision, local_files_only=True).model_type
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, local_files_only=True)
    except (OSError, ValueError) as error:
        if Path(name).is_dir():
            raise UsageError(f"Cannot load the tokenizer in {name}: {str(error).splitlines()[0]}") from error
        return [f"The tokenizer of {name} is not on this machine and was not checked; {needs}."]
    missing = [f"the token {token}" for token in TOKENS.get(model_type, ()) if token not in tokenizer.get_vocab()]
    if not tokenizer.chat_template:
        missing.insert(0, "a chat template")
    if missing:
        raise UsageError(
            f"verl cannot generate with {name}: its tokenizer lacks {' and '.join(missing)}, which verl's agent loop "
            f"asks of every {model_type} model. Use an instruct model, or add them to the tokenizer."
        )
    return []
