"""The command line: argv, printing, exit codes. One module per command, each with `main(arguments) -> int`."""

from hysteretic.cli.dispatch import COMMANDS, main

__all__ = ["COMMANDS", "main"]
