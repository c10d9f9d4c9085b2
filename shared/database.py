"""Engine, sessions and the conventions of every table."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from sqlalchemy import DateTime, MetaData, Table, func
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.messaging.transaction.tables import inbox_table, outbox_table
from shared.staff.tables import staff_table

CONSTRAINT_NAMES: Mapping[str, str] = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class ServiceTables(DeclarativeBase):
    """Root of a service's tables. Each service derives one root of its own, so that metadata is never shared."""

    __abstract__ = True

    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: DateTime(timezone=True)}
    __table__: ClassVar[Table]
    """For rows that are only written: an insert into the table itself spares the bookkeeping of loaded rows."""
    inbox: ClassVar[Table]
    outbox: ClassVar[Table]
    staff: ClassVar[Table]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if ServiceTables in cls.__bases__:
            cls.metadata = MetaData(naming_convention=dict(CONSTRAINT_NAMES))
            cls.inbox = inbox_table(cls.metadata)
            cls.outbox = outbox_table(cls.metadata)
            cls.staff = staff_table(cls.metadata)
        super().__init_subclass__(**kwargs)


class Stamped:
    """Columns of a record that people change: who made it and when, who touched it last, and its version."""

    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_by: Mapped[str]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    changed_by: Mapped[str]


_LIMITS: Final = {
    "lock_timeout": "5000",
    "statement_timeout": "30000",
    "idle_in_transaction_session_timeout": "60000",
    "timezone": "UTC",
}
_SHORT: Final = {"default_transaction_read_only": "on", "jit": "off", "max_parallel_workers_per_gather": "0"}
"""Of queries. To compile one, or to start workers for it, takes longer than a page of anything."""
_PLANNED_ONCE: Final = {"plan_cache_mode": "force_generic_plan", "enable_bitmapscan": "off"}
"""To plan a search anew takes longer than to run it. Without the values the planner cannot know how soon a walk in
order has filled its page, and must not gather all that the walk might see instead."""


def create_engine(url: str, *, service: str, pool_size: int = 8) -> AsyncEngine:
    """An engine whose statements end: a lock is waited for 5 s, a statement runs 30 s, an idle transaction 60 s."""
    return _create_engine(url, service, _LIMITS, pool_size=pool_size)


def create_reading_engine(url: str, *, service: str, pool_size: int, planned_once: bool) -> AsyncEngine:
    """An engine for queries: it cannot write, and each statement is a transaction and one round trip.

    The connection that was used last is used first, because it has the statements prepared. `planned_once`: every
    statement is a walk through an index, for any values.
    """
    settings = _LIMITS | _SHORT | (_PLANNED_ONCE if planned_once else {})
    return _create_engine(url, service, settings, pool_size=pool_size, pool_use_lifo=True, isolation_level="AUTOCOMMIT")


def _create_engine(url: str, service: str, settings: Mapping[str, str], **given: Any) -> AsyncEngine:
    return create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://", 1),
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=False,
        hide_parameters=True,
        connect_args={"timeout": 5, "server_settings": {"application_name": f"aftersale-{service}", **settings}},
        **given,
    )


def create_sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Sessions that keep loaded rows usable after the commit."""
    return async_sessionmaker(engine, expire_on_commit=False)
