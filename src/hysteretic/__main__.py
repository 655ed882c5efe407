"""`python -m hysteretic`, and what `accelerate launch -m hysteretic train …` runs."""

from hysteretic.cli import main

raise SystemExit(main())
