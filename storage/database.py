"""One connection to the database's API, as the service role: functions are called and tables are read in pages."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import httpx
from postgrest import AsyncSelectRequestBuilder
from supabase import AsyncClient, AsyncClientOptions

from core.errors import PermanentError
from storage.row_errors import judge_status, mapped

TABLE_PREFIX: Final = "caption_frame_extents_inference_"

PAGE_ROWS: Final = 500
"""Supabase returns at most 1,000 rows, unless it is configured otherwise."""

Narrow = Callable[[AsyncSelectRequestBuilder], AsyncSelectRequestBuilder]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsConfig:
    """How to reach the database's API; ``service_role_key`` is the only key that may write.

    Attributes:
        timeout_seconds: for each of connecting, sending, waiting and reading.
    """

    url: str
    service_role_key: str = field(repr=False)
    schema: str
    timeout_seconds: float


class Database:
    """An async context manager that belongs to one event loop; its calls may overlap. It never retries.

    Every method raises TransientError for temporary errors (5xx, timeouts, connections), ConfigurationError if a setting is
    wrong or a migration missing, and PermanentError for any other refusal by the database.
    """

    def __init__(self, config: RowsConfig) -> None:
        self._schema = config.schema
        self._http = httpx.AsyncClient(timeout=config.timeout_seconds, event_hooks={"response": [judge_status]})
        options = AsyncClientOptions(
            schema=config.schema,
            httpx_client=self._http,
            postgrest_client_retry=False,
            auto_refresh_token=False,
            persist_session=False,
        )
        with mapped("SUPABASE_URL or SUPABASE_SERVICE_ROLE_KEY"):
            self._client = AsyncClient(config.url, config.service_role_key, options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        """Call one of the migrations' functions."""
        with mapped(f"{self._schema}.{function}"):
            return (await self._client.rpc(function, dict(arguments)).execute()).data

    async def pages(self, table: str, narrow: Narrow, order: tuple[str, ...], limit: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """Read the rows that ``narrow`` selects, page by page.

        Args:
            order: columns, each descending, nulls last. The last one must be unique: it identifies rows that are read again
                because rows inserted before them have moved them to a later page.
            limit: the maximum number of rows.
        """
        seen: set[Any] = set()
        begin = 0
        while limit is None or len(seen) < limit:
            rows = await self.page(table, narrow, order, begin, PAGE_ROWS if limit is None else min(PAGE_ROWS, limit - len(seen)))
            for row in rows:
                if row[order[-1]] not in seen:
                    seen.add(row[order[-1]])
                    yield row
            if not rows:
                return
            begin += len(rows)

    async def page(self, table: str, narrow: Narrow, order: tuple[str, ...], begin: int, rows: int) -> list[dict[str, Any]]:
        with mapped(f"{self._schema}.{TABLE_PREFIX}{table}"):
            query = narrow(self._client.table(f"{TABLE_PREFIX}{table}").select("*"))
            for column in order:
                query = query.order(column, desc=True, nullsfirst=False)
            data: Any = (await query.range(begin, begin + rows - 1).execute()).data
        return self._rows(table, data)

    async def count(self, table: str, narrow: Narrow) -> int:
        with mapped(f"{self._schema}.{TABLE_PREFIX}{table}"):
            query = self._client.table(f"{TABLE_PREFIX}{table}").select("*", count="exact", head=True)  # type: ignore[arg-type]  # CountMethod is a str
            return (await narrow(query).execute()).count or 0

    async def update(self, table: str, values: Mapping[str, Any], equal: Mapping[str, Any], **among: list[Any]) -> list[dict[str, Any]]:
        """Change and return the rows in which each column of ``equal`` has its value, and each of ``among`` has one of its values."""
        with mapped(f"{self._schema}.{TABLE_PREFIX}{table}"):
            query = self._client.table(f"{TABLE_PREFIX}{table}").update(dict(values))
            for column, value in equal.items():
                query = query.is_(column, "null") if value is None else query.eq(column, value)
            for column, allowed in among.items():
                query = query.in_(column, allowed)
            data: Any = (await query.execute()).data
        return self._rows(table, data)

    async def insert(self, table: str, rows: list[dict[str, Any]], *, ignore_conflicts_on: str | None = None) -> list[dict[str, Any]]:
        """Insert rows. Returns those that were inserted."""
        with mapped(f"{self._schema}.{TABLE_PREFIX}{table}"):
            target = self._client.table(f"{TABLE_PREFIX}{table}")
            if ignore_conflicts_on is None:
                data: Any = (await target.insert(rows).execute()).data
            else:
                data = (await target.upsert(rows, on_conflict=ignore_conflicts_on, ignore_duplicates=True).execute()).data
        return self._rows(table, data)

    async def delete(self, table: str, equal: Mapping[str, str]) -> list[dict[str, Any]]:
        """Delete the rows in which each column has its value. Returns them."""
        if not equal:
            raise ValueError(f"deleting from {table} needs a condition")
        with mapped(f"{self._schema}.{TABLE_PREFIX}{table}"):
            query = self._client.table(f"{TABLE_PREFIX}{table}").delete()
            for column, value in equal.items():
                query = query.eq(column, value)
            data: Any = (await query.execute()).data
        return self._rows(table, data)

    def _rows(self, table: str, data: Any) -> list[dict[str, Any]]:
        if not isinstance(data, list):
            raise PermanentError(f"{self._schema}.{TABLE_PREFIX}{table}: expected rows, found {type(data).__name__}; check SUPABASE_URL")
        return data
