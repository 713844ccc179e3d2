"""The SQLite ledger with what is personal sealed on the way in and opened on the way out."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from ledger.entry import Draft
from ledger.journal import Page, Receipt, Unavailable
from ledger.stores.people import People, key_id
from ledger.stores.sqlite import SqliteJournal

MANY = 1_000_000


class PersonalJournal(SqliteJournal):
    """A journal of whose blobs those of `people.PERSONAL` are under a person's key. Set `people` once it is open."""

    people: People | None = None

    async def post(self, tenant: str, drafts: Sequence[Draft]) -> Receipt:
        if self.people is None:
            return await super().post(tenant, drafts)
        try:
            sealed = [self.people.sealed(tenant, draft) for draft in drafts]
        except OSError as error:
            raise Unavailable(f"the keys of people cannot be written: {error}; ask again under the same id") from error
        return await super().post(tenant, sealed)

    async def blob(self, tenant: str, digest: str) -> bytes | None:
        """The bytes of a blob; of one whose key is gone a JSON object that says so, with `erased` or `unreadable`."""
        data = await super().blob(tenant, digest)
        id = key_id(data) if data is not None else None
        if data is None or id is None or self.people is None:
            return data
        found = self.people.opened(data)
        if found is not None:
            return found
        for entry in await self.entries(tenant, stage="ERASED", limit=MANY):
            if entry.body.get("key") == id.hex():
                text = f"with the key of {entry.body.get('person')}, by entry {entry.index}"
                return json.dumps({"erased": text}).encode()
        return json.dumps({"unreadable": f"no key {id.hex()} is at hand"}).encode()

    async def page(self, tenant: str, *, after: int, limit: int, blobs: Collection[str]) -> Page:
        page = await super().page(tenant, after=after, limit=limit, blobs=blobs)
        sealed = {digest for digest, data in page.blobs.items() if key_id(data) is not None}
        opened = {digest: await self.blob(tenant, digest) or b"" for digest in sealed}
        return Page(page.entries, {**page.blobs, **opened}) if opened else page

    async def finish_erasing(self, tenant: str) -> None:
        """Destroy every key of which the log says that it is gone: a crash may have come between. Raises OSError."""
        if self.people is not None:
            for entry in await self.entries(tenant, stage="ERASED", limit=MANY):
                self.people.destroy(bytes.fromhex(str(entry.body["key"])))
