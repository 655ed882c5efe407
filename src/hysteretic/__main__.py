"""`python -m hysteretic`, and what `accelerate launch -m hysteretic train …` runs."""

from hysteretic.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
