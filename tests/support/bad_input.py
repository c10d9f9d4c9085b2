"""What others send by mistake or on purpose: bodies and headers that no service may stumble over.

Each case says with which code it must be refused. The cases of one field are made for every field of a message.
"""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

CANARIES: Final = ("4929876543210127", "5105105105105100", "4111111111111111", "378282246310005")
"""Numbers that pass for cards and occur nowhere else; they must not be found anywhere afterwards."""
_GROUPED: Final = " ".join(CANARIES[1][place : place + 4] for place in range(0, 16, 4))
_FULL_WIDTH: Final = CANARIES[2].translate({ord(str(digit)): 0xFF10 + digit for digit in range(10)})
_ARABIC: Final = CANARIES[0].translate({ord(str(digit)): 0x0660 + digit for digit in range(10)})
_ESCAPED: Final = "".join(f"\\u{ord(digit):04x}" for digit in CANARIES[2])
_ZEROS: Final = gzip.compress(b"0" * 50_000_000)
Good = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One bad message, made from a good one."""

    name: str
    code: str
    body: Callable[[Good], bytes]
    headers: dict[str, Any] = field(default_factory=dict)
    """Added to the usual ones; None takes one away."""
    properties: dict[str, Any] = field(default_factory=dict)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _as_it_is(code: str, name: str, body: bytes, **more: Any) -> Case:
    return Case(name, code, lambda _good: body, **more)


def _with(raw: str) -> Callable[[Good], bytes]:
    """The good body with one more field, whose value is this JSON text."""

    def body(good: Good) -> bytes:
        text = json.dumps(good)
        return (f"{text[:-1]}{', ' if good else ''}" + f'"extra": {raw}}}').encode()

    return body


def _beside(code: str, name: str, headers: dict[str, Any] | None = None, **properties: Any) -> Case:
    """A good body with something wrong around it."""
    return Case(name, code, _json, headers or {}, properties)


BODIES: Final = (
    _as_it_is("invalid_json", "empty", b""),
    _as_it_is("invalid_json", "a blank", b" "),
    Case("truncated", "invalid_json", lambda good: _json(good)[:-1]),
    Case("two values", "invalid_json", lambda good: _json(good) * 2),
    Case("UTF-16", "invalid_json", lambda good: json.dumps(good).encode("utf-16")),
    Case("UTF-8 with a byte order mark", "invalid_json", lambda good: b"\xef\xbb\xbf" + _json(good)),
    _as_it_is("invalid_json", "bytes that are no UTF-8", b'{"a": "\xc3\x28\xff"}'),
    _as_it_is("invalid_json", "100,000 lists in each other", b"[" * 100_000 + b"]" * 100_000),
    _as_it_is("invalid_json", "objects in each other", b'{"a":' * 30_000 + b"1" + b"}" * 30_000),
    _as_it_is("invalid_json", "never closed", b'{"a":' * 50_000),
    _as_it_is("invalid_body", "null", b"null"),
    _as_it_is("invalid_body", "a list", b"[]"),
    _as_it_is("invalid_body", "a text", b'"purchase"'),
    _as_it_is("invalid_body", "a number", b"7"),
    Case("not a number", "invalid_json", _with("NaN")),
    Case("infinity", "invalid_json", _with("-Infinity")),
    Case("5,000 digits", "invalid_json", _with("7" * 5000)),
    Case("half a character", "unstorable_text", _with('"\\ud800"')),
    Case("NUL", "unstorable_text", _with('"a\\u0000b"')),
    Case("NUL in a name", "unstorable_text", _with('{"a\\u0000b": 1}')),
    Case("a field twice", "duplicate_keys", _with('1, "extra": 2')),
    Case("a field twice, deep inside", "duplicate_keys", _with('[{"amount": 1, "amount": 999}]')),
    Case("a field twice, written otherwise", "duplicate_keys", _with('{"a": 1, "\\u0061": 2}')),
    Case("1 MB in one text", "too_large", _with(json.dumps("x" * 1_000_000))),
    Case("compressed", "unsupported_content_encoding", lambda good: gzip.compress(_json(good)),
         properties={"content_encoding": "gzip"}),
    Case("a compressed card number", "unsupported_content_encoding", lambda _: gzip.compress(CANARIES[0].encode()),
         properties={"content_encoding": "gzip"}),
    Case("compressed, unsaid", "invalid_json", lambda good: gzip.compress(_json(good))),
    Case("zeros, compressed a thousandfold", "unsupported_content_encoding", lambda _: _ZEROS,
         properties={"content_encoding": "gzip"}),
    Case("card number", "card_number", _with(f'"{CANARIES[0]}"')),
    Case("card number in a sentence", "card_number", _with(f'"pay {_GROUPED}, please"')),
    Case("card number with dashes", "card_number", _with(f'"{_GROUPED.replace(" ", "-")}"')),
    Case("card number, full width", "card_number", _with(f'"{_FULL_WIDTH}"')),
    Case("card number, Arabic digits", "card_number", _with(f'"{_ARABIC}"')),
    Case("card number, escaped", "card_number", _with(f'"{_ESCAPED}"')),
    Case("card number as a number", "card_number", _with(CANARIES[3])),
    Case("card number as a name", "card_number", _with(f'{{"{CANARIES[0]}": 1}}')),
    Case("card number in 500 lists", "card_number", _with("[" * 500 + f'"{CANARIES[0]}"' + "]" * 500)),
    Case("card number in no JSON", "invalid_json", lambda _: f"card={_GROUPED}".encode()),
    Case("card number escaped in no JSON", "invalid_json", lambda _: f'{{"card": "{_ESCAPED}"'.encode()),
    Case("card number in UTF-16", "invalid_json", lambda _: f'"{CANARIES[0]}"'.encode("utf-16")),
    Case("card number in Latin-1", "invalid_json", lambda _: f'"é {CANARIES[0]}"'.encode("latin-1")),
)  # fmt: skip

STRICT_BODIES: Final = (
    Case("a field nobody knows", "invalid_body", _with("true")),
    Case("10,000 things", "invalid_body", _with(json.dumps([0] * 10_000))),
    Case("1e400", "invalid_body", _with("1e400")),
)
"""For commands and queries; of events what is unknown is ignored."""

HUGE: Final = Case("10 MB", "too_large", _with(json.dumps("x" * 10_000_000)))

AROUND: Final = (
    _beside("unsupported_content_type", "said to be text", content_type="text/plain"),
    _beside("unsupported_content_type", "said to be XML", content_type="application/xml"),
    _beside("unsupported_content_type", "said to be UTF-16", content_type="application/json; charset=utf-16"),
    _beside("unsupported_content_type", "nonsense as its type", content_type="\r\nX: y"),
    _beside("client_id_invalid", "no client", {"client-id": None}),
    _beside("client_id_invalid", "client in capitals", {"client-id": "Demo"}),
    _beside("client_id_invalid", "client with a line break", {"client-id": "demo-shop\n"}),
    _beside("client_id_invalid", "client is a number", {"client-id": 7}),
    _beside("client_id_invalid", "client is a list", {"client-id": ["demo-shop"]}),
    _beside("client_id_invalid", "client of 5,000 letters", {"client-id": "a" * 5000}),
    _beside("actor_invalid", "no actor", {"actor": None}),
    _beside("reason_invalid", "reason of two lines", {"reason": "one\ntwo"}),
    _beside("reason_invalid", "reason too long", {"reason": "x" * 256}),
    _beside("actor_invalid", "actor of another kind", {"actor": "root:ada"}),
    _beside("actor_invalid", "actor is a table", {"actor": {"user": "ada"}}),
    _beside("card_number", "card number as client", {"client-id": CANARIES[0]}),
    _beside("card_number", "card number as actor", {"actor": f"user:{CANARIES[0]}"}),
    _beside("card_number", "card number in a header", {"note": _GROUPED}),
    _beside("card_number", "card number as a header", {CANARIES[0]: "note"}),
    _beside("card_number", "card number in a forged header of ours", {"x-aftersale-detail": _GROUPED}),
)

PERSISTENT_ONLY: Final = (
    _beside("message_id_missing", "no id", message_id=None),
    _beside("message_id_missing", "no UUID", message_id="4711"),
    _beside("message_id_missing", "the UUID of nobody", message_id="0" * 8 + "-0000-0000-0000-" + "0" * 12),
    _beside("message_id_missing", "the largest UUID", message_id="f" * 8 + "-ffff-ffff-ffff-" + "f" * 12),
    _beside("message_id_missing", "a UUID in braces", message_id="{0190a5c1-0000-7000-8000-000000000001}"),
    _beside("message_id_missing", "a UUID without dashes", message_id="0190a5c1000070008000000000000001"),
    _beside("message_id_missing", "a card number as id", message_id=_GROUPED),
)
"""Of commands and events; queries need no id."""

ODD_BUT_FINE: Final = (
    _beside("", "no content type", content_type=None),
    _beside("", "charset said", content_type="application/json; charset=UTF-8"),
    _beside("", "1,000 headers", {f"h{number}": "v" for number in range(1000)}),
    _beside("", "header of 100 kB", {"note": "n" * 100_000}),
    _beside("", "headers inside headers", {"note": {"a": [{"b": [1, None, True, 2.5]}]}}),
    _beside("", "traceparent nonsense", {"traceparent": "00-zz"}),
    _beside("", "attempts forged", {"x-aftersale-attempts": 1_000_000_000, "x-attempt": -1}),
    _beside("", "attempts are a text", {"x-aftersale-attempts": "abc"}),
    _beside("", "deaths forged", {"x-death": [{"queue": "purchases.commands", "reason": "expired", "count": 9}]}),
    _beside("", "deliveries forged", {"x-delivery-count": 1_000_000}),
    _beside("", "type with a line break", type="purchase\r\nX: y"),
    _beside("", "highest priority", priority=255),
    _beside("", "not persistent", delivery_mode=1),
)
"""Nothing is wrong with these that anybody must care about."""

ODD_TEXTS: Final = (
    "", " ", "x" * 5000, "a\nb", "a\r\nBcc: eve@example.com", "\u202egnp.exe", "\u200b", "שלום", "مرحبا",
    "e" + "\u0301" * 50,
    "\U0001f469\u200d\U0001f467", "\ufeff",
    "' OR 1=1; DROP TABLE purchase; --", "%_%\\", "{{7*7}}", "${7*7}", "<script>alert(1)</script>", "../../etc/passwd",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "2026-02-29T12:00:00Z", "2026-02-03T24:00:00Z",
    "2016-12-31T23:59:60Z", "2026-02-03T04:05:06", "2026-02-03T04:05:06+14:00", "1770000000000", "4000-01-01T00:00:00Z",
    "XXX", "eur", "JPY", "BHD", "1e400", "NaN", "-0", "0x10", "1_000", "٤٣٢١", "12 4", "12345",
    "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "0190A5C1-0000-7000-8000-00000000000A",
    "{0190a5c1-0000-7000-8000-000000000001}", "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "a@b", "a" * 65 + "@example.com", '"jane doe"@example.com', "jane@exämple.com", "a@example.com,b@example.com",
    "jane@example.com\r\nTo: eve@example.com", "null", "true", "purchases.purchase.record.v99",
)  # fmt: skip
ODD_NUMBERS: Final = ("0", "-1", "1e-9", "0.30000000000000004", "2147483648", "9007199254740993", "9223372036854775808",
                      "1000000000001", "1" + "0" * 30, "1e400", "-1e400", "true")  # fmt: skip
_TOKEN: Final = "@@here@@"
Place = tuple[str | int, ...]


def field_cases(good: Good) -> Iterator[Case]:
    """What cannot be right in any field: another type, half a character, a card number."""
    for place, value in leaves(good):
        wrong = {"invalid_body": ["[[1]]", '{"a": []}'], "unstorable_text": ['"\\ud800"', '"x\\u0000"']}
        wrong["card_number"] = [f'"{_GROUPED}"', f'"{CANARIES[0]}"', f'"{_FULL_WIDTH}"']
        if isinstance(value, int) and not isinstance(value, bool):
            wrong["invalid_body"] += ['"1"', "1.5", "true", "null"]
            wrong["invalid_json"] = ["NaN"]
        elif isinstance(value, str):
            wrong["invalid_body"] += ["true"]
        for code, texts in wrong.items():
            for text in texts:
                yield Case(f"{place} = {text}", code, _replaced(place, text))


def odd_cases(good: Good) -> Iterator[Case]:
    """What may or may not be right in a field: it gets an answer, whatever it is."""
    for place, value in leaves(good):
        for text in ODD_NUMBERS if isinstance(value, int) else map(json.dumps, ODD_TEXTS):
            yield Case(f"{place} = {text[:40]}", "", _replaced(place, text))


def leaves(value: Any, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every single value of a body and where it stands."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if pairs is None:
        yield at, value
        return
    for name, item in pairs:
        yield from leaves(item, (*at, name))


def _replaced(place: Place, text: str) -> Callable[[Good], bytes]:
    def body(good: Good) -> bytes:
        changed = json.loads(json.dumps(good))
        holder = changed
        for part in place[:-1]:
            holder = holder[part]
        holder[place[-1]] = _TOKEN
        return json.dumps(changed).replace(json.dumps(_TOKEN), text).encode()

    return body
