"""`counterfoil ledger verify`: read-only and beside a running service; a proof needs nothing but a key."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import checkpoint as notes
from ledger import proofs
from ledger.audit import Audit, NotALedger, verify_store
from ledger.posting_again import POSTED_AGAIN_MAX
from receiver.commands.client import fail
from receiver.commands.ledger.common import json_option, line_of, settings_of, tenant_option
from receiver.commands.ledger.kept import (
    Remark,
    Witnessed,
    against_checkpoints,
    against_former,
    against_messages,
    restores,
)
from receiver.commands.ledger.replayed import Replayed, replay_logs
from receiver.commands.ledger.verify_folder import verify_folder
from receiver.settings import Settings

MAX_PROOF_BYTES = 16_000_000
TOLD_EVERY = 10_000  # entries, on a terminal


@click.command()
@click.option("--key", metavar="VKEY", help="A verifier key that you trust, or a file with it; else our own.")
@click.option(
    "--from",
    "kept",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Checkpoints that you kept.",
)
@click.option(
    "--witnessed", metavar="INDEX:HEX", type=Witnessed(), multiple=True, help="What a message on a phone says."
)
@click.option(
    "--former", metavar="FILE", type=click.Path(path_type=Path), help="The sealed ledger that this one goes on from."
)
@tenant_option
@click.option("--proof", metavar="FILE", type=click.Path(path_type=Path), help="Check this proof, and no ledger.")
@click.option(
    "--export", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Check this folder, and no ledger."
)
@click.option("--replay", is_flag=True, help="Also let policy decide every verdict again, on what the ledger holds.")
@click.option(
    "--post-again",
    is_flag=True,
    help="Also post every entry again, under the rules of an empty database; without it a log of up to "
    f"{POSTED_AGAIN_MAX:,} entries is.",
)
@json_option
@click.pass_obj
def verify(
    config: Path,
    key: str | None,
    kept: Path | None,
    witnessed: tuple[tuple[int, str], ...],
    former: Path | None,
    tenant: str,
    proof: Path | None,
    folder: Path | None,
    replay: bool,
    post_again: bool,
    as_json: bool,
) -> None:
    """Check every byte, leaf, root, checkpoint, blob and posting rule of every tenant.

    Prints "OK: N entries, root …", or the first fault and where it is, and then exits with 1. --tenant is whose message
    --witnessed tells of. With --replay each verdict that comes out otherwise is named, with the comparison that
    decided it.
    """
    if proof is not None:
        _verify_proof(config, proof, key, as_json)
        return
    if folder is not None:
        verify_folder(config, folder, _key_text(key), replay=replay, as_json=as_json)
    settings = settings_of(config)
    try:
        audits = audits_of(settings, key, post_again=post_again or None)
        remarks = [] if any(audit.fault for audit in audits) else restores(settings)
        remarks += against_checkpoints(settings, kept, [audit.tenant for audit in audits]) if kept else []
        whole = [audit.tenant for audit in audits if audit.fault is None]
        remarks += against_former(settings, former, whole) if former else []
        remarks += against_messages(settings, tenant, witnessed)
        again = replay_logs(settings, audits) if replay else []
    except (NotALedger, notes.BadKey) as error:
        fail(str(error), 2)
    if not audits:
        fail(f"{settings.ledger.path}: it holds no entries; `counterfoil serve` begins the log of each tenant", 1)
    if as_json:
        click.echo(json.dumps([_row(audit, remarks, again) for audit in audits], indent=2))
    else:
        for audit in audits:
            click.echo(f"{audit.tenant}: {audit}" if len(audits) > 1 else str(audit))
        for line in (*remarks, *again):
            click.echo(str(line))
    faults = any(audit.fault for audit in audits) or any(remark.fault for remark in remarks)
    sys.exit(1 if faults or any(each.differences for each in again) else 0)


def audits_of(settings: Settings, key: str | None, *, post_again: bool | None = None) -> list[Audit]:
    """Every log, verified with that key, or with our own; `post_again` as in `verify_store`.

    Raises NotALedger and BadKey.
    """
    return verify_store(
        settings.ledger.path,
        origin=settings.ledger.origin,
        public=_trusted(key)[1] if key else notes.load_key_file(settings.ledger.key_file).public_key(),
        newest=key is None,
        anchor_path=settings.ledger.anchor_file,
        post_again=post_again,
        tell=tell_entries if sys.stderr.isatty() else lambda tenant, entries: None,
    )


def tell_entries(tenant: str, entries: int) -> None:
    """How far a long log was read, on a line of its own that the next one overwrites."""
    if entries % TOLD_EVERY == 0:
        click.echo(f"\r{tenant}: {entries} entries\r", err=True, nl=False)


def _key_text(key: str | None) -> str | None:
    """The verifier key that was given, as text; exit code 2 where it is none."""
    try:
        return _trusted(key)[0] if key is not None else None
    except notes.BadKey as error:
        fail(str(error), 2)


def _row(audit: Audit, remarks: list[Remark], again: list[Replayed]) -> dict[str, Any]:
    own = [remark.to_json() for remark in remarks if remark.tenant == audit.tenant]
    fault = str(audit.fault) if audit.fault else None
    row: dict[str, Any] = {"tenant": audit.tenant, "entries": audit.entries, "root": audit.root, "fault": fault}
    replayed = [each.to_json() for each in again if each.tenant == audit.tenant]
    return row | ({"kept": own} if remarks else {}) | ({"replay": replayed[0]} if replayed else {})


def _trusted(key: str) -> tuple[str, Ed25519PublicKey]:
    """The key that was given, as text or in a file: the vkey and the key in it. Raises BadKey."""
    path = Path(key)
    try:
        text = path.read_text(encoding="utf-8").strip() if path.is_file() else key
    except OSError as error:
        raise notes.BadKey(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise notes.BadKey(f"{path}: it is no text, and so no verifier key") from error
    return text, notes.parse_verifier_key(text)[1]


def _verify_proof(config: Path, path: Path, key: str | None, as_json: bool) -> None:
    """Whether the entry in the file stands in the log, by the key alone; the entry, in a line, if it does."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_PROOF_BYTES).decode()
        if key is None:
            settings = settings_of(config)
            name = notes.log_origin(settings.ledger.origin, proofs.tenant_of(text))
            vkey = notes.verifier_key(name, notes.load_key_file(settings.ledger.key_file).public_key())
        else:
            vkey, _ = _trusted(key)
        proved = proofs.verify(text, vkey)
    except notes.BadKey as error:
        fail(str(error), 2)
    except OSError as error:
        fail(f"{path}: {error.strerror}", 2)
    except UnicodeDecodeError:
        fail(f"{path}: it is no text, and so no proof", 2)
    except proofs.BadProof as error:
        click.echo(f"FAULT: {path}: {error}")
        sys.exit(1)
    head = proved.checkpoint
    if as_json:
        row = {"origin": head.origin, "entries": head.size, "root": head.root.hex(), "entry": proved.entry.to_json()}
        click.echo(json.dumps(row, indent=2))
        return
    click.echo(f"OK: entry {proved.entry.index} of the {head.size} in {head.origin}, root {head.root.hex()}")
    click.echo(line_of(proved.entry))
