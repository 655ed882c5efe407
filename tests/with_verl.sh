#!/bin/sh
# Does hysteretic work in verl? Run from the repository's root:
#     sh tests/with_verl.sh [arguments of pytest]
# The environment .venv-verl is made once and kept; PYTHON chooses another interpreter, TORCH another torch. TRL is in it
# because `hysteretic launch verl` reads the recipes that `hysteretic train` reads.
#
# All of tests/verl runs with the newest supported verl; what depends on verl's own code runs again with the oldest,
# which is laid over the newest (they have the same dependencies). test_training.py needs 6 GiB of free memory; where
# there is less it is skipped, or fails if HYSTERETIC_REQUIRE_VERL=1 (as in CI).
set -eu

python=${PYTHON:-python3}
torch=${TORCH:-$(grep '^torch==' constraints-verl.txt)}
here=.venv-verl
oldest=$(sed -n 's/^OLDEST = "\(.*\)"/\1/p' src/hysteretic/verl/supported.py)

if [ ! -e "$here/complete" ] || [ constraints-verl.txt -nt "$here/complete" ]; then
    "$python" -m venv --clear "$here"
    # torch by itself first: the rest must not replace it by another build.
    "$here/bin/pip" install --quiet "$torch"
    "$here/bin/pip" install --quiet --constraint constraints-verl.txt \
        verl cachetools fastapi uvicorn TransferQueue trl peft pytest hypothesis
    "$here/bin/pip" install --quiet --no-deps --target "$here/oldest" "verl==$oldest"
    touch "$here/complete"
fi
# Every time: an entry point is only known to an installed package.
"$here/bin/pip" install --quiet --no-deps --editable .

export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" HF_HUB_OFFLINE=1 RAY_USAGE_STATS_ENABLED=0 TOKENIZERS_PARALLELISM=false
pytest() {
    "$here/bin/python" -W ignore -c "from importlib.metadata import version
print(*(f'{name} {version(name)}' for name in ('verl', 'ray', 'torch', 'transformers', 'TransferQueue')), sep=', ')"
    # A process of Ray that hangs must not hang the build.
    timeout --signal INT --kill-after 20 "${HYSTERETIC_VERL_SECONDS:-1800}" "$here/bin/python" -W ignore -m pytest "$@"
}

if [ $# -gt 0 ]; then
    pytest "$@"
    exit
fi
pytest tests/verl
export PYTHONPATH="$here/oldest"
pytest tests/verl/test_estimator.py tests/verl/test_losses.py tests/verl/test_gradients.py tests/verl/test_launch.py \
    tests/verl/test_registration.py tests/verl/test_model.py
