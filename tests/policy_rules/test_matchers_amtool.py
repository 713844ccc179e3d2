"""Matchers as Alertmanager's own `amtool` reads them: the same texts are taken, and the same labels match.

Debian's amtool reads the classic grammar, which is the one that counts wherever it can read a text. A text that it
refuses and we take must be one that the UTF-8 grammar of later versions reads: these are NEWER.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from policy_rules.matchers import BadMatcher, matches, parse_matchers

ROUTES = 600
LABEL_SETS = 40
NAMES = ("service", "severity", "_under", "x1", "team")
VALUES = (
    *("checkout", "wallet", "page", "critical", "a", "b", "ab", "abc", "ABC", "aab", "12", "1.5", "-", "é", "日本"),
    *("a b", " lead", "trail ", 'q"uote', "back\\slash", "new\nline", "a,b", "a{b}", "a=b", "a~b", "tab\there"),
    *("'s", "$"),
)
PATTERNS = (
    *("", ".*", ".+", "a|b", "ab?c?", "[ab]+", "[^a].*", "^a$", "(?i)abc", r"\d+", r"\w+", ".", "..", "(a(b|c))+"),
    *("a{2}b", "checkout|wallet", "crit.*", "(?s).*line", ".*line", r"a\.b", r"1\.5", "é", "日.", r"\S+\s\S+"),
    *("page|", "[[:alpha:]]+", r"a\\b", "back.slash", 'q"uote', "(?:a|ab)(?:c|bcd)?", "a.*b|12", r"\Qa=b\E", "$", "^"),
    r"\x61b",
)
FORMS = (
    *(
        "service=a",
        "service = a",
        ' service="a" ',
        "service=",
        'service=""',
        "service=~",
        'service=~""',
        "service!=a b",
    ),
    *('{service="a"}', '{ service="a" , team!="b" }', 'service="a",team="b"', '{service="a",}', 'service="a",', "{}"),
    *(
        "",
        'service="a\\"b"',
        'service="a\\\\b"',
        'service="a\\nb"',
        "service=a\\nb",
        'service="é"',
        "service=日本",
        "a:b=c",
    ),
    *("service=~a|b", 'service!~"a.*"', "service=~[ab]{1,2}", 'service=~"[ab]{1,2}"', "service='a'", "service=a'b"),
    *("service", "=a", "service==a", 'service="a', 'service=a"', "service=~(", 'service=~"["', "service=~*", "1a=b"),
    *('service="a"b', 'service="a" team="b"', "service!a", "ser vice=a", "é=a", "service=~(?<n>a", 'service="a"\\'),
    *('{service="a"', 'service="a"}', '{{service="a"}}', ',service="a"', 'service="a",,team="b"', "service=~a(?=b)"),
    *("-=a", "~a", "service=\\", 'service="\\x"', "service=a\tb", "service=a,b", '"service"="a"', '"my.label"=~"x|y"'),
)
NEWER = ("1a=b", "é=a", "-=a", '"service"="a"', '"my.label"=~"x|y"')  # names that the UTF-8 grammar reads


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def written(rng: random.Random, name: str, operator: str, value: str) -> str:
    """One of the ways to write a matcher: bare where that is read, quoted, with room around its parts."""
    bare = value and not set(value) & set('",{}\\\n\t =~!') and rng.random() < 0.5
    room = rng.choice(["", "", " "])
    return f"{room}{name}{room}{operator}{room}{value if bare else quoted(value)}{room}"


def texts(rng: random.Random) -> Iterator[list[str]]:
    """The matchers of one route: one to three texts, of which each may hold several."""
    while True:
        found = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            one = []
            for _ in range(rng.choice((1, 1, 1, 2))):
                operator = rng.choice(("=", "!=", "=~", "!~"))
                one.append(
                    written(rng, rng.choice(NAMES), operator, rng.choice(PATTERNS if "~" in operator else VALUES))
                )
            text = ",".join(one)
            found.append(f"{{{text}}}" if rng.random() < 0.3 else text)
        yield found


def configuration(path: Path, routes: Sequence[Sequence[str]]) -> Path:
    """A configuration in which route N goes to receiver rN and lets the others have their turn. JSON is YAML."""
    names = [f"r{number}" for number in range(len(routes))]
    whole = {
        "route": {
            "receiver": "none",
            "routes": [
                {"receiver": name, "continue": True, "matchers": list(route)}
                for name, route in zip(names, routes, strict=True)
            ],
        },
        "receivers": [{"name": name} for name in ("none", *names)],
    }
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


def routed(amtool: Path, config: Path, labels: Mapping[str, str]) -> set[str]:
    words = [f"{name}={quoted(value)}" for name, value in labels.items()]
    done = subprocess.run(
        [amtool, "config", "routes", "test", f"--config.file={config}", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.strip().split(",")) - {"none"}


def test_the_same_labels_match(tool: Callable[[str], Path], tmp_path: Path) -> None:
    rng, amtool = random.Random(20261124), tool("amtool")
    drawn = texts(rng)
    routes = [next(drawn) for _ in range(ROUTES)]
    config = configuration(tmp_path / "alertmanager.yml", routes)
    ours = [tuple(m for text in route for m in parse_matchers(text)) for route in routes]
    matched = set()
    for _ in range(LABEL_SETS):
        labels = {name: rng.choice(VALUES) for name in NAMES if rng.random() < 0.7}
        found = {f"r{number}" for number, matchers in enumerate(ours) if matches(matchers, labels)}
        theirs = routed(amtool, config, labels)
        assert {name: routes[int(name[1:])] for name in found ^ theirs} == {}, labels
        matched |= found
    assert len(matched) > ROUTES / 3
    assert len(matched) < ROUTES


@pytest.mark.parametrize("text", FORMS)
def test_the_same_texts_are_taken(tool: Callable[[str], Path], tmp_path: Path, text: str) -> None:
    if taken(tool("amtool"), tmp_path, text) or text in NEWER:
        parse_matchers(text)
        return
    with pytest.raises(BadMatcher):
        parse_matchers(text)


def test_some_are_taken_and_some_are_not(tool: Callable[[str], Path], tmp_path: Path) -> None:
    number = sum(taken(tool("amtool"), tmp_path, text) for text in FORMS)
    assert len(FORMS) / 4 < number < 3 * len(FORMS) / 4
    assert not any(taken(tool("amtool"), tmp_path, text) for text in NEWER)


def taken(amtool: Path, folder: Path, text: str) -> bool:
    config = configuration(folder / "alertmanager.yml", [[text]])
    return (
        subprocess.run([amtool, "check-config", config], capture_output=True, check=False, timeout=60).returncode == 0
    )
