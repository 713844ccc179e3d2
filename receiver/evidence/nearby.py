"""Which series may have to do with an incident: those that share its labels, and those of what these name. Pure.

A series of the incident's own service says where it stands (a node, a pod) and on what it leans (a database, another
service). What stands or leans there may be the cause, and carries none of the incident's own labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from receiver.evidence.moving import is_counter
from receiver.evidence.promql import escaped, is_name, matchers, selector
from receiver.papers import Words, words

# Labels that say something of the alert, and not of a thing that has series.
OF_ALERTS = frozenset(
    {"alertname", "alertstate", "severity", "priority", "prometheus", "prometheus_replica", "monitor", "receiver"}
    | {"team", "owner", "rule"}
)
# Labels whose values hold so much that they say little; they are looked at where there is nothing narrower.
BROAD = frozenset(
    {"cluster", "region", "zone", "datacenter", "dc", "env", "environment", "stage", "tenant", "namespace", "job"}
)
# Where something runs: the same label, of others.
PLACES = ("node", "instance", "host", "hostname", "nodename", "pod", "database", "db", "queue", "topic", "volume")
# On what something leans: the value names another service.
LEANS = (
    *("dependency", "upstream", "downstream", "target", "destination", "destination_service", "peer", "peer_service"),
    *("backend", "remote", "remote_service", "callee", "server"),
)
ITSELF = ("service", "app", "application", "job")  # the label by which a thing is named, if the incident has none of it
HOPS_MAX = 8
SELECTOR_SERIES_MAX = 3_000
EVERYTHING_SERIES_MAX = 20_000  # of a server that is small enough to look at all that it has
SERIES_MAX = 600  # of each distance
SERIES_EACH_MAX = 20  # of one metric; of more than these their sum or their extreme is asked
BATCH_SERIES = 150
BATCH_NAMES = 60
TOGETHER_MAX = 16  # metrics of so many series that are asked as one
RATE_SECONDS = 120
NEVER = ("ALERTS", "ALERTS_FOR_STATE")
NEVER_ENDS = ("_bucket", "_created")  # a histogram is read as its mean, from sum and count


@dataclass(frozen=True, slots=True)
class Found:
    """The metrics under a selector, and of how many series each is.

    distance: 0 for the incident's own labels, 1 for what these name, 2 for the rest of the server.
    """

    chosen: str  # the matchers, without braces
    distance: int
    series: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Question:
    """A range query. name: of the one metric that it gives without its name; rated: it gives rates already."""

    promql: str
    distance: int
    name: str = ""
    rated: bool = False
    slow: bool = False  # of gauges, which may have moved for hours
    of: int = 0  # series that it stands for, where they are asked as one


def own_labels(labels: Mapping[str, str]) -> list[dict[str, str]]:
    """The selectors of the incident itself: each narrow label of it; where there is none, the broad ones together."""
    about = {name: value for name, value in labels.items() if value and is_name(name) and name not in OF_ALERTS}
    narrow = [{name: value} for name, value in sorted(about.items()) if name not in BROAD]
    return narrow or ([about] if about else [])


def hops(own: Sequence[Mapping[str, str]], rows: Iterable[Mapping[str, str]]) -> tuple[list[dict[str, str]], int]:
    """The selectors of what the incident's series name, those named most often first; and how many are left out."""
    names = [name for one in own for name in one if name in ITSELF] or list(ITSELF[:1])
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        for label in PLACES:
            if row.get(label):
                counts[label, row[label]] = counts.get((label, row[label]), 0) + 1
        for label in LEANS:
            for name in names if row.get(label) else ():
                counts[name, row[label]] = counts.get((name, row[label]), 0) + 1
    known = {pair for one in own for pair in one.items()}
    found = sorted((pair for pair in counts if pair not in known), key=lambda pair: (-counts[pair], pair))
    return [{name: value} for name, value in found[:HOPS_MAX]], max(0, len(found) - HOPS_MAX)


def wide(labels: Mapping[str, str], own: Sequence[Mapping[str, str]], everything: bool) -> list[str]:
    """The matchers of what lies beyond the incident's own series: of a small server all, else by its broad labels."""
    beyond = ",".join(f'{name}!="{escaped(value)}"' for one in own for name, value in sorted(one.items()))
    if everything:
        return [beyond]
    about = [matchers({name: value}) for name, value in sorted(labels.items()) if value and name in BROAD]
    return [f"{one},{beyond}" for one in about if {one} != {matchers(two) for two in own}]


def names_query(chosen: str) -> str:
    # Prometheus takes no selector that an empty label could match in every part.
    return f'count by (__name__) ({{__name__!="",{chosen}}})'


def links_query(labels: Mapping[str, str]) -> str:
    return f"group by ({', '.join((*PLACES, *LEANS))}) ({{{matchers(labels)}}})"


def plan(found: Sequence[Found]) -> tuple[list[Question], list[Words]]:
    """What to ask, the nearest and narrowest first, and what is left out, one sentence each."""
    questions: list[Question] = []
    cut: list[Words] = []
    together = TOGETHER_MAX
    rooms = {one.distance: SERIES_MAX for one in found}
    for one in sorted(found, key=lambda one: (one.distance, sum(one.series.values()))):
        total = sum(one.series.values())
        if total > SELECTOR_SERIES_MAX:
            cut.append(words("selector too large", of=f"{{{one.chosen}}}", count=f"{total:,}"))
            continue
        few: list[tuple[str, int]] = []
        left = 0
        for name, number in sorted(one.series.items(), key=lambda item: (item[1], item[0])):
            if name in NEVER or name.endswith(NEVER_ENDS) or not is_name(name):
                continue
            if number > SERIES_EACH_MAX and together > 0:
                questions += as_one(name, one, number)
                together -= 1
            elif number <= min(rooms[one.distance], SERIES_EACH_MAX):
                few.append((name, number))
                rooms[one.distance] -= number
            else:
                left += number
        if left:
            cut.append(words("series not asked for", count=left, of=f"{{{one.chosen}}}"))
        for slow in (False, True):
            batches = _batches([item for item in few if is_counter(item[0]) is not slow])
            questions += [Question(selector(names, one.chosen), one.distance, slow=slow) for names in batches]
    return sorted(questions, key=lambda question: question.distance), cut


def as_one(name: str, found: Found, number: int) -> list[Question]:
    """A metric of many series as one number: what a counter grows by in all, the extreme of what a gauge shows."""
    chosen = selector([name], found.chosen)
    if is_counter(name):
        return [Question(f"sum(rate({chosen}[{RATE_SECONDS}s]))", found.distance, name, rated=True, of=number)]
    return [Question(f"{how}({chosen})", found.distance, f"{how}({name})", of=number) for how in ("max", "min")]


def _batches(few: Sequence[tuple[str, int]]) -> Iterable[list[str]]:
    batch: list[str] = []
    series = 0
    for name, number in few:
        if batch and (series + number > BATCH_SERIES or len(batch) >= BATCH_NAMES):
            yield batch
            batch, series = [], 0
        batch.append(name)
        series += number
    if batch:
        yield batch
