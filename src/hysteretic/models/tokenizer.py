"""Which tokens does a tiny model read and write? One for each byte, one for each of the four tags, and its own.

    3,7,5=26:<think>7-3=4,5*4=20;3*7=21,21+5=26</think><answer>(3*7)+5</answer><eos>

Every text has an exact encoding; encoding adds nothing to a text; decoding is concatenation. The class is
Qwen2's own, because AutoTokenizer gives a Qwen2 model no other: a byte-level BPE, here without any merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAD = "<pad>"
EOS = "<eos>"
TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def build_tokenizer(own: Sequence[str] = ()) -> PreTrainedTokenizerBase:
    """The tokenizer: 262 tokens and `own`, padding on the left, no token that starts a text, no chat template.

    Only <pad> and <eos> are special, so the tags survive `decode(..., skip_special_tokens=True)`.
    own: texts that are one token each, for example " 42".
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
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in (*TAGS, *own)])
    return tokenizer
