"""Whether Claude can be asked at all: the model is looked up, which costs nothing, and nothing of ours is sent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from receiver.diagnosis.claude import OFFICIAL_URL, known_errors, make_client
from receiver.diagnosis.failures import read_failure
from receiver.papers import NoDiagnosis


async def look_up(
    *, api_key: str, model: str, base_url: str | None, timeout_seconds: float
) -> tuple[str, datetime | None] | NoDiagnosis:
    """The model's lifecycle ("active", "deprecated", "retired") and when it retires, or why that is not known."""
    try:
        client = await asyncio.to_thread(make_client, api_key, base_url or OFFICIAL_URL)
    except ImportError as error:
        return NoDiagnosis("not_installed", f"the anthropic package cannot be imported: {error}")
    errors: tuple[type[BaseException], ...] = (*known_errors(), OSError, RuntimeError, TypeError, ValueError)
    try:
        async with asyncio.timeout(timeout_seconds):
            found = await client.models.retrieve(model, timeout=timeout_seconds)
        return str(getattr(found, "lifecycle", "active")), getattr(found, "retires_at", None)
    except TimeoutError:
        return NoDiagnosis("timeout", f"no answer within {timeout_seconds:g} s")
    except errors as error:
        failure = read_failure(error, datetime.now(UTC))
        return NoDiagnosis(failure.outcome, failure.detail)
    finally:
        await client.close()
