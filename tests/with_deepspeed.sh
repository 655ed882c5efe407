#!/bin/sh
# Does the lean update work under DeepSpeed? Run from the repository's root, after `make test` has made .venv:
#     sh tests/with_deepspeed.sh [arguments of pytest]
# The environment .venv-deepspeed sees the packages of .venv (VENV chooses another) and adds DeepSpeed. At the first run
# DeepSpeed compiles a library, which takes minutes.
set -eu

venv=${VENV:-.venv}
here=.venv-deepspeed

if [ ! -e "$here/complete" ]; then
    "$venv/bin/python" -m venv --clear "$here"
    below=$("$venv/bin/python" -c "import site; print(site.getsitepackages()[0])")
    own=$("$here/bin/python" -c "import site; print(site.getsitepackages()[0])")
    echo "import site; site.addsitedir('$below')" > "$own/below.pth"
    # Without their dependencies, of which .venv has the others: torch must stay the build that is there.
    DS_BUILD_OPS=0 "$here/bin/pip" install --quiet --no-deps \
        deepspeed==0.19.8 hjson ninja py-cpuinfo msgpack einops
    touch "$here/complete"
fi

export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
PATH=$PWD/$here/bin:$PATH  # ninja
TORCH_EXTENSIONS_DIR=$PWD/$here/extensions
export PATH TORCH_EXTENSIONS_DIR
# One process first: two that compile at once wait for each other's lock.
"$here/bin/python" -c "from deepspeed.ops.op_builder.cpu.comm import ShareMemCommBuilder; ShareMemCommBuilder().load()"
[ $# -gt 0 ] || set -- tests/trl/test_sharded.py
exec "$here/bin/python" -m pytest -p no:cacheprovider "$@"
