"""What `check` can say of notices of last resort without writing one."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.authorization import notices as apprise_notices
from receiver.commands.findings import FAIL, OK, Finding
from receiver.settings import Settings


def notices(settings: Settings) -> Iterator[Finding]:
    """Whether a notice of last resort can be written, where somebody has an address for one."""
    given = {}
    for name, tenant in settings.tenants.items():
        if tenant.notices is not None:
            given[f"tenants.{name}.notices"] = tenant.notices
        for person, record in tenant.people.items():
            if record.notices is not None:
                given[f"tenants.{name}.people.{person}.notices"] = record.notices
    if given and not apprise_notices.installed():
        yield Finding("notices", FAIL, apprise_notices.MISSING, "pip install 'counterfoil[notices]'")
        return
    for place, secret in given.items():
        found = apprise_notices.addresses(secret.get_secret_value())
        bad = apprise_notices.unreadable(found)
        if bad:  # an address holds a password, so it is named by its place
            text = f"{place}: address {', '.join(map(str, bad))} of {len(found)} is none that apprise knows"
            yield Finding("notices", FAIL, text, "see the wiki of apprise for the form of each service's address")
        else:
            yield Finding("notices", OK, f"{place}: {len(found)} address(es) of last resort")
