"""What every room may use: errors and hints, files written whole, checkpoints, subprocesses, the terminal."""
