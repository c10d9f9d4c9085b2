"""Whether a changed contract still keeps the old promise: the forms before and after are compared.

What others send to us must still be accepted: every body that was valid stays valid. What we send must still be
understood: every body we send now was possible before, except for new fields and new values of enumerations, which
readers ignore or treat as unknown.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Schema = Mapping[str, Any]

LOWER_BOUNDS: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_BOUNDS: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
EXACT: Final = ("pattern", "format", "multipleOf", "uniqueItems")


def breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What in the snapshot of a message breaks the promise of its predecessor; empty if nothing does."""
    if old["kind"] != new["kind"]:
        return [f"was {_article(old['kind'])}, is {_article(new['kind'])}"]
    found = list(_sent(old["message"], new["message"]) if old["kind"] == "event" else _taken(old, new))
    if "reply" in old:
        found += [f"reply: {fault}" for fault in _sent(old["reply"]["schema"], new["reply"]["schema"])]
    return found


def _taken(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield from _Comparison(old["message"], new["message"], sent=False).faults()
    yield from _changed_defaults(old["message"], new["message"])


def _sent(old: Schema, new: Schema) -> Iterator[str]:
    yield from _Comparison(new, old, sent=True).faults()


@dataclass
class _Comparison:
    """Does every value of the narrow form fit the wide one? For what we send the narrow form is the new one."""

    narrow: Schema
    wide: Schema
    sent: bool
    seen: set[tuple[str, str]] = field(default_factory=set)

    def faults(self) -> Iterator[str]:
        yield from self._fits(self.narrow, self.wide, "body")

    def _fits(self, narrow: Schema, wide: Schema, path: str) -> Iterator[str]:
        if "$ref" in narrow and "$ref" in wide:
            pair = (narrow["$ref"], wide["$ref"])
            if pair in self.seen:
                return
            self.seen.add(pair)
        narrow_forms, wide_forms = _forms(narrow, self.narrow), _forms(wide, self.wide)
        for form in narrow_forms:
            tried = [list(self._form_fits(form, other, path)) for other in wide_forms]
            if tried and all(tried):
                same_type = [
                    faults
                    for faults, other in zip(tried, wide_forms, strict=True)
                    if other.get("type") == form.get("type")
                ]
                yield from min(same_type or tried, key=len)

    def _form_fits(self, narrow: Schema, wide: Schema, path: str) -> Iterator[str]:
        if not _type_fits(narrow.get("type"), wide.get("type")):
            before, now = self._in_time(narrow.get("type"), wide.get("type"))
            yield f"{path} was {_article(before)}, is {_article(now)}"
            return
        yield from self._values_fit(narrow, wide, path)
        yield from self._bounds_fit(narrow, wide, path)
        yield from self._object_fits(narrow, wide, path)
        for part in ("items", "additionalProperties"):
            if isinstance(narrow.get(part), Mapping) and isinstance(wide.get(part), Mapping):
                yield from self._fits(narrow[part], wide[part], f"{path}[]")

    def _values_fit(self, narrow: Schema, wide: Schema, path: str) -> Iterator[str]:
        allowed, possible = _values(wide), _values(narrow)
        if allowed is None:
            return
        if possible is None:
            before, now = self._in_time("any value", "fixed values")
            yield f"{path} had {before}, has {now}"
        elif not self.sent and (gone := sorted(possible - allowed)):
            yield f"{path} no longer takes {', '.join(gone)}"

    def _bounds_fit(self, narrow: Schema, wide: Schema, path: str) -> Iterator[str]:
        for bound in (*LOWER_BOUNDS, *UPPER_BOUNDS, *EXACT):
            if bound not in wide:
                continue
            has, must = narrow.get(bound), wide[bound]
            fits = has is not None and (
                has >= must if bound in LOWER_BOUNDS else has <= must if bound in UPPER_BOUNDS else has == must
            )
            if not fits:
                before, now = self._in_time(has, must)
                yield f"{path}: {bound} was {_said(before)}, is {_said(now)}"

    def _object_fits(self, narrow: Schema, wide: Schema, path: str) -> Iterator[str]:
        has, takes = narrow.get("properties", {}), wide.get("properties", {})
        for name in wide.get("required", ()):
            if name not in narrow.get("required", ()) and (name in has or not self.sent):
                yield f"{path}.{name} " + ("may be missing now" if self.sent else "is required now")
        for name, form in has.items():
            if name in takes:
                yield from self._fits(form, takes[name], f"{path}.{name}")
            elif not self.sent and (wide.get("additionalProperties") is False or "properties" in wide):
                yield f"{path}.{name} is not taken any more"
        if self.sent:
            yield from (f"{path}.{name} is not sent any more" for name in takes if name not in has)

    def _in_time(self, narrow: Any, wide: Any) -> tuple[Any, Any]:
        """Before and now: for what others send, the narrow form is the old one."""
        return (wide, narrow) if self.sent else (narrow, wide)


def _changed_defaults(old: Schema, new: Schema) -> Iterator[str]:
    """A sender that leaves a field out relies on what that means."""
    forms = {"body": (old, new)}
    for name, definition in old.get("$defs", {}).items():
        if name in new.get("$defs", {}):
            forms[name] = (definition, new["$defs"][name])
    for path, (before, now) in forms.items():
        for name, form in before.get("properties", {}).items():
            later = now.get("properties", {}).get(name)
            if later is not None and "default" in form and form["default"] != later.get("default"):
                yield f"{path}.{name} left out meant {_said(form['default'])}, means {_said(later.get('default'))}"


def _forms(schema: Schema, root: Schema) -> Sequence[Schema]:
    """The alternatives of a form, references followed."""
    if "$ref" in schema:
        return _forms(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root)
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives:
        return [form for alternative in alternatives for form in _forms(alternative, root)]
    return [schema]


def _values(schema: Schema) -> set[str] | None:
    if "const" in schema:
        return {_said(schema["const"])}
    return {_said(value) for value in schema["enum"]} if "enum" in schema else None


def _type_fits(narrow: Any, wide: Any) -> bool:
    return wide is None or narrow == wide or (narrow == "integer" and wide == "number")


def _said(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)


def _article(word: Any) -> str:
    word = str(word or "anything")
    return word if word == "anything" else f"an {word}" if word[0] in "aeio" else f"a {word}"
