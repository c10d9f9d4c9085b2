"""Card numbers must not be kept, not even in a note: found, refused, and masked before anything is stored.

Of a card only the last four digits may exist here (PCI DSS 4.0.1, 3.3 to 3.5). Digits in groups, with single blanks
or dashes between them, count as a card number where neighbouring groups have 13 to 19 digits together and pass the
Luhn check. Exempt are ids, of which one in some hundreds would pass by chance (a UUID, an id of exactly 32 hexadecimal
digits, a W3C trace context), and international telephone numbers (they begin with a `+`).
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

_RUN: Final = re.compile(r"(?P<plus>\+ ?)?\d(?:[ \-\u00a0\u2010-\u2015]?\d){12,}")
_RUN_OF_BYTES: Final = re.compile(rb"\d(?:[ \-]?\d){12}")
_GROUP: Final = re.compile(r"\d+")
_ID: Final = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
    r"|(?<![0-9a-z])(?:[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|[0-9a-f]{32})(?![0-9a-z])",
    re.ASCII | re.IGNORECASE,
)
_SHORTEST: Final = 13
_LONGEST: Final = 19


def holds_card_number(text: str) -> bool:
    """Whether a text holds something that must be taken for a card number."""
    return any(True for _ in _card_spans(text))


def may_hold_card_number(body: bytes) -> bool:
    """Whether a JSON text must be searched at all. Says no only if no text in it can hold a card number."""
    return not body.isascii() or b"\\u" in body or _RUN_OF_BYTES.search(body) is not None


def mask(text: str) -> str:
    """The text with all but the last four digits of every run that holds a card number replaced by `*`."""
    characters = list(text)
    for start, end in _card_spans(text):
        digits = [place for place in range(start, end) if characters[place].isdigit()]
        for place in digits[:-4]:
            characters[place] = "*"
    return "".join(characters)


def texts(value: Any) -> Iterator[str]:
    """Every text in a parsed JSON value, keys included, and whole numbers long enough to be a card number."""
    waiting = [value]  # no recursion: a body may be nested more deeply than calls may
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            yield from part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, int) and part >= 10 ** (_SHORTEST - 1):
            yield str(part)


def _card_spans(text: str) -> Iterator[tuple[int, int]]:
    if len(text) < _SHORTEST:
        return
    plain = text if text.isascii() else _ascii_digits(text)
    if _RUN.search(plain) is None:
        return
    ids = [match.span() for match in _ID.finditer(plain)]
    for run in _RUN.finditer(plain):
        if run["plus"] or any(start <= run.start() and run.end() <= end for start, end in ids):
            continue
        if _holds_card(_GROUP.findall(run.group())):
            yield run.span()


def _holds_card(groups: list[str]) -> bool:
    """Whether neighbouring groups of digits make a card number; another number may stand right beside it."""
    for first in range(len(groups)):
        digits = ""
        for group in groups[first:]:
            digits += group
            if len(digits) > _LONGEST:
                break
            if len(digits) >= _SHORTEST and _luhn([int(digit) for digit in digits]):
                return True
    return False


def _luhn(digits: list[int]) -> bool:
    if not any(digits):
        return False
    total = 0
    for index, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if index % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled  # noqa: PLR2004 - the digit sum of the Luhn check
    return total % 10 == 0


def _ascii_digits(text: str) -> str:
    return "".join(str(unicodedata.decimal(character)) if character.isdecimal() else character for character in text)
