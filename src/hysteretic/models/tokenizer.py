"""The tokenizer of a tiny model: one token per byte, one for each of four tags, and optional extra tokens.

    3,7,5=26:<think>7-3=4,5*4=20;3*7=21,21+5=26</think><answer>(3*7)+5</answer><eos>

Every text round-trips exactly; encoding adds no tokens; decoding is concatenation. The class is Qwen2's, because
AutoTokenizer loads no other for a Qwen2 model: a byte-level BPE, here without merges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAD = "<pad>"
EOS = "<eos>"
TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def build_tokenizer(extra: Sequence[str] = ()) -> PreTrainedTokenizerBase:
    """Build the tokenizer: 262 tokens plus `extra`, left padding, no BOS token, no chat template.

    Only <pad> and <eos> are special, so the tags survive `decode(..., skip_special_tokens=True)`.
    extra: texts that become one token each, for example " 42".
    """
    from tokenizers import AddedToken, pre_tokenizers
    from transformers import Qwen2Tokenizer

    tokens = [PAD, EOS, *TAGS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[],
        unk_token=None,
        pad_token=PAD,
        eos_token=EOS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=256,
    )
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in (*TAGS, *extra)])
    return tokenizer
