"""What others say to us and we pass on or keep: the words of a payment provider, of a mail server.

It is made fit here and never refused: a refusal would leave undone what the words were about.
"""

from typing import Final

from shared.card_numbers import mask
from shared.contracts.values import LONGEST_LINE, as_line

_SEARCHED: Final = 4000
"""Characters that are looked at, so that the cut cannot go through a card number; nobody reads further."""


def outside_line(text: str, *, fallback: str, longest: int = LONGEST_LINE) -> str:
    """One line without card numbers, of at most `longest` characters; the `fallback` where nothing is left.

    Listeners refuse a message that holds what looks like a card number, and mail servers like long numbers.
    """
    line = mask(as_line(text, fallback=fallback, longest=_SEARCHED))
    return mask(as_line(line, fallback=fallback, longest=longest))
