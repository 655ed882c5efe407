"""Arms by seeds: the specification, the scheduler, measures, verdicts, results and their page."""
