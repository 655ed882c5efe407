"""Does a run fit, and how long does it take? Arithmetic from configurations, before any weight is loaded.

gpus.py           what a GPU holds and how fast it is
architecture.py   what a model is made of, counted on the meta device
work.py           what a run asks for
memory.py         bytes a GPU, by part and by way of spreading over GPUs
pace.py           tokens and seconds a rollout and an update
mends.py          the smallest change that makes it fit, and what to be warned of
plan.py           all of it for one run

Uncalibrated: no GPU has been measured against these formulae.
"""
