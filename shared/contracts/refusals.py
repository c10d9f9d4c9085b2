"""How a rule or a use case says no, and how it says not now. One way for all of them: a view tells the same."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from shared.contracts.values import AllowedAction, FieldError, Problem

R = TypeVar("R")


class Refused(Exception):
    """A rule forbids what was asked. The caller gets the code, the words and the facts; nothing is written.

    A use case raises it before it writes anything. The refusal is stored under the message id like a success.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        **facts: str | int | bool | None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.facts = facts

    def problem(self) -> Problem:
        """The refusal as problem details."""
        return Problem(
            type=f"urn:aftersale:problem:{self.code}",
            title=self.code.replace("_", " ").capitalize(),
            detail=self.detail,
            code=self.code,
            facts=self.facts,
            errors=self.errors,
        )


class MissingPrerequisite(Refused):
    """What the message builds on is not there yet, such as a purchase that is still on its way.

    A caller who waits is told and may try again; without one the message waits on the retry ladder.
    """


def actions(record: R, checks: Mapping[str, Callable[[R], object]]) -> Iterator[AllowedAction]:
    """What may be done with a record now, and why not. A check is the function that refuses the command too."""
    for name, check in checks.items():
        try:
            check(record)
        except Refused as refusal:
            yield AllowedAction(name=name, allowed=False, code=refusal.code, why_not=refusal.detail)
        else:
            yield AllowedAction(name=name, allowed=True)
