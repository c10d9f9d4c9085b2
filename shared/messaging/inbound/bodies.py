"""From bytes to a validated message, and what must never get that far."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

from shared.card_numbers import holds_card_number, mask, may_hold_card_number, texts
from shared.contracts.message import Event, Message
from shared.contracts.refusals import Refused
from shared.contracts.values import FieldError

MAX_BODY: Final = 256 * 1024
"""Bytes. Files never travel over the broker."""
_MAX_FIELD_ERRORS: Final = 20
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class _Duplicate(ValueError):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Duplicate
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def parse(body: bytes) -> Any:
    """The JSON value of a body. Raises Refused with `invalid_json`, `duplicate_keys` or `unstorable_text`."""
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_no_constant)
    except _Duplicate:
        raise Refused(
            "duplicate_keys", "The body names a field twice; which one counts is not for us to guess."
        ) from None
    except (ValueError, RecursionError):
        raise Refused("invalid_json", "The body is not JSON in UTF-8.") from None
    # Raw, neither can stand in UTF-8 or in JSON; only an escape can bring one in.
    if b"\\u" in body and any(_UNSTORABLE.search(text) for text in texts(value)):
        raise Refused("unstorable_text", "A text holds a NUL or half a character.")
    return value


def check_envelope(*, size: int, content_type: str | None, content_encoding: str | None) -> None:
    """Raises Refused with `too_large`, `unsupported_content_type` or `unsupported_content_encoding`."""
    if size > MAX_BODY:
        raise Refused("too_large", f"A body may have {MAX_BODY} bytes.", size=size, limit=MAX_BODY)
    if content_encoding:
        raise Refused("unsupported_content_encoding", "Bodies are sent as they are, without compression.")
    media_type, _, parameters = (content_type or "application/json").partition(";")
    if media_type.strip().lower() != "application/json" or parameters.strip().lower() not in ("", "charset=utf-8"):
        raise Refused("unsupported_content_type", "Bodies are application/json in UTF-8.")


def card_number_refused() -> Refused:
    """The refusal of a message that must not be kept as it is."""
    return Refused("card_number", "A text holds what looks like a card number. Only the last four digits may be sent.")


def validate(message: type[Message], body: bytes) -> Message:
    """The message of a body. Raises Refused with a code and, for `invalid_body`, the fields at fault.

    A card number anywhere is refused before anything else looks at the body.
    """
    value = parse(body)
    if may_hold_card_number(body) and any(holds_card_number(text) for text in texts(value)):
        raise card_number_refused()
    try:
        return message.model_validate_json(body, extra="ignore" if issubclass(message, Event) else None)
    except ValidationError as error:
        raise Refused(
            "invalid_body", "The body does not have the form of this message.", errors=_field_errors(error)
        ) from None


def _field_errors(error: ValidationError) -> tuple[FieldError, ...]:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return tuple(
        FieldError(path=_path(fault["loc"]), message=fault["msg"].removeprefix("Value error, "))
        for fault in faults[:_MAX_FIELD_ERRORS]
    )


def _path(location: Sequence[int | str]) -> str:
    """JSON pointer. A name that the sender invented is shown masked and short."""
    return "".join(f"/{mask(str(part))[:60]}" for part in location)


def masked(body: bytes) -> bytes:
    """The body with every card number masked; for copies that people will look at."""
    try:
        value = json.loads(body, object_pairs_hook=_pairs)
        if not any(holds_card_number(text) for text in texts(value)):
            return body
        return json.dumps(_mask_value(value), ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return _masked_text(body)


def _masked_text(body: bytes) -> bytes:
    """Not JSON: masked as text; what then still shows a card number, without NULs (UTF-16) and escapes, is dropped."""
    try:
        masked = mask(body.decode("utf-8")).encode()
    except UnicodeDecodeError:
        masked = mask(body.decode("latin-1")).encode("latin-1")
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), masked.decode("latin-1").replace("\x00", ""))
    return b"(not kept: held a card number)" if holds_card_number(plain) else masked


def _mask_value(value: Any) -> Any:
    """The value with every card number masked in place. No recursion, as in `texts`."""
    top = [value]
    waiting: list[Any] = [top]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            fields = {mask(key): _mask_single(item) for key, item in part.items()}
            part.clear()
            part.update(fields)
            waiting += fields.values()
        elif isinstance(part, list):
            part[:] = map(_mask_single, part)
            waiting += part
    return top[0]


def _mask_single(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, int) and not isinstance(value, bool) and holds_card_number(str(value)):
        return mask(str(value))
    return value
