"""Whether a use case that shares its session with others has written anything itself."""

import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstanceState, ORMExecuteState
from sqlalchemy.orm.attributes import instance_state

from shared.messaging.transaction.deferred_inserts import deferred_rows

_Pending = Mapping[InstanceState[Any], tuple[str, Mapping[str, Any]]]
_NOTHING: Final[_Pending] = {}
MANY: Final = 100
"""More records than this are written before the next command: to look at them again each time would cost more."""
_UNCHANGING: Final = frozenset({bool, bytes, datetime, int, str, UUID, type(None)})


class Writes:
    """Tells what one use case changes from what waits to be written since others before it.

    Nothing is flushed for it, so that the changes of a batch go out together. It compares what waits before and after
    the use case; and where a statement of the use case lets the session write what waits, before that.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._async_session = session
        self._session = session.sync_session
        self._before: _Pending | None = None
        self._wrote = False
        self._rows_before = 0
        event.listen(self._session, "before_flush", self._flushing)
        event.listen(self._session, "after_flush", self._flushed)
        event.listen(self._session, "do_orm_execute", self._executed)

    async def begin(self, *, exactly: bool) -> None:
        """A use case begins. Unless `exactly`, what others left waiting counts as its own, which costs nothing now."""
        self._before = self._pending() if exactly else None
        self._wrote = False
        self._rows_before = deferred_rows(self._async_session)
        if self._before and len(self._before) > MANY:
            await self._async_session.flush()

    def found(self) -> bool:
        """Whether the use case has written, or changed what is still to be written."""
        more_rows = deferred_rows(self._async_session) > self._rows_before
        return self._wrote or more_rows or self._pending() != (self._before or _NOTHING)

    def _flushing(self, *_: object) -> None:
        self._wrote = self.found()

    def _flushed(self, *_: object) -> None:
        self._before = None

    def _executed(self, state: ORMExecuteState) -> None:
        if state.is_insert or state.is_update or state.is_delete:
            self._wrote = True

    def _pending(self) -> _Pending:
        """Every record that waits: what is to become of it, and its changed values as they are now."""
        session = self._session
        return {
            state: (fate, _changed_values(state))
            for fate, records in (("new", session.new), ("changed", session.dirty), ("deleted", session.deleted))
            for record in records
            for state in (instance_state(record),)
        }


def _changed_values(state: InstanceState[Any]) -> Mapping[str, Any]:
    """Those that can change in their place as copies. This runs for every waiting record at every command."""
    get = state.dict.get
    return {name: value if type(value := get(name)) in _UNCHANGING else _copy(value) for name in state.committed_state}


def _copy(value: Any) -> Any:
    if type(value) is dict:
        return copy.deepcopy(value)
    return list(value) if isinstance(value, list) else value
