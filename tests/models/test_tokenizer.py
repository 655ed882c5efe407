"""The tiny model's tokenizer: exact, plain, and the same after a round trip through the disk."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from hysteretic.models import tiny_model
from hysteretic.models.tokenizer import EOS, PAD, TAGS, build_tokenizer

RESPONSE = "<think>26;7-3=4,5+4=9;7*3=21,21+5=26</think><answer>(7*3)+5</answer>"


@pytest.fixture(scope="module", params=["built", "saved", "shipped"])
def tokenizer(request, tmp_path_factory):
    """Three ways to get it; every trainer uses AutoTokenizer."""
    if request.param == "built":
        return build_tokenizer()
    if request.param == "shipped":
        return AutoTokenizer.from_pretrained(tiny_model())
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "qwen2"}', encoding="utf-8")
    return AutoTokenizer.from_pretrained(folder)


def test_a_tag_is_one_token_and_every_other_character_is_one_token(tokenizer):
    """The warm-up and the length limit count tokens of the response."""
    tags = sum(len(tag) - 1 for tag in TAGS)
    assert len(tokenizer(RESPONSE)["input_ids"]) == len(RESPONSE) - tags
    assert tokenizer.convert_ids_to_tokens(tokenizer("3,7<think>")["input_ids"]) == ["3", ",", "7", "<think>"]


def test_decoding_without_special_tokens_keeps_the_tags(tokenizer):
    """Trainers decode with skip_special_tokens=True, and the verifier needs the tags."""
    ids = tokenizer(RESPONSE)["input_ids"] + [tokenizer.eos_token_id, tokenizer.pad_token_id]
    assert tokenizer.decode(ids, skip_special_tokens=True) == RESPONSE
    assert tokenizer.decode(ids) == RESPONSE + EOS + PAD


def test_padding_is_not_the_end_and_nothing_is_added_to_a_prompt(tokenizer):
    """Padding that doubles as the end hides whether a response ended; a start token would shift the prompt."""
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert (tokenizer.pad_token, tokenizer.eos_token, tokenizer.bos_token) == (PAD, EOS, None)
    assert tokenizer.decode(tokenizer("3,7,5=26:")["input_ids"]) == "3,7,5=26:"


def test_a_batch_is_padded_on_the_left(tokenizer):
    """Generation goes on from the last column."""
    batch = tokenizer(["3,7,5=26:", "1=1:"], padding=True)
    assert batch["attention_mask"][1] == [0] * 5 + [1] * 4


@lru_cache
def built():
    return build_tokenizer()


@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_every_ascii_text_comes_back_exactly(text):
    """Users run their own tasks through the tiny model to try their code; no character may be lost."""
    tokenizer = built()
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
