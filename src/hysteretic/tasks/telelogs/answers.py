"""The label that a response gives: the content of its last \\boxed{...}, if that is exactly one of the options.

    \\boxed{C3}   \\boxed{{c 3}}   \\boxed{\\text{C3}.}   $\\boxed{C3}$          C3
    \\boxed{C3 or C4}   \\boxed{C３}   \\boxed{}   \\boxed{C3   C3 is it        no label, reward 0
    \\boxed{3}                                                             3 if the options are digits, else none

Model text is only compared, never executed, in time linear in its length.
"""

from __future__ import annotations

import re
from collections.abc import Collection

OPENING = "\\boxed"
LONGEST = 64
"""Most characters in a box; a label with its LaTeX is far shorter."""

_WRAPPED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|bf|rm|it)\b")
_PUNCTUATION = str.maketrans("", "", "{}()[]$*_.,:;!'\"`\\ \t\r\n")


def boxed(response: str) -> str | None:
    """The content of the last \\boxed{...} with inner braces; None if there is none, or it is unclosed or too long."""
    at = response.rfind(OPENING)
    if at < 0:
        return None
    window = response[at + len(OPENING) : at + len(OPENING) + LONGEST + 16]
    rest = window.lstrip(" ")
    if not rest.startswith("{"):
        return None
    depth = 0
    for index, character in enumerate(rest):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return rest[1:index]
    return None


def label_of(response: str, labels: Collection[str]) -> str | None:
    """The option that the response gives, ignoring case; None for no option or more than one."""
    content = boxed(response)
    if content is None:
        return None
    said = _WRAPPED.sub("", content).translate(_PUNCTUATION).casefold()
    return {label.casefold(): label for label in labels}.get(said)
