"""What a linter cannot hold: clocks, sizes, broad excepts, documents, planted imports, the wheel's contents."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from prometheus_client import Metric
from pydantic import BaseModel

from receiver.__main__ import COMMANDS, counterfoil
from receiver.auditor import openapi
from receiver.execution import runner_config
from receiver.metrics import Metrics
from receiver.settings import Settings
from receiver.settings_values import SECRET_NAMES
from tests.tools import ROOT

PACKAGES = ("policy_rules", "ledger", "receiver")
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 300, 60

# path → why it may be longer
LONG_FILES: dict[str, str] = {
    "receiver/app.py": "the one place where every concrete class is named and put together",
    "ledger/stores/sqlite.py": "opening, group commit, signing and reading share the state of one connection",
    "receiver/governor/phrases.py": "data: every sentence stands beside itself in the other languages",
    "receiver/papers.py": "values without behaviour: what travels between offices is found in one place",
    "receiver/governor/acting.py": "the order of checks before a dispatch is read in one place",
    "receiver/governor/asking.py": "a proposal, its messages and what becomes of them are one step of the way",
    "policy_rules/permission.py": "every question about an action looks at the same things, in the same order",
    "receiver/incident/agenda.py": "whatever can be due, and when, is read in one place",
    "receiver/incident/book.py": "the fold: one short function a stage, and a stage is found by its neighbours",
}

# path:function → why it may be longer
LONG_FUNCTIONS: dict[str, str] = {"receiver/metrics.py:__init__": "one metric a line"}

# path:function → why it may catch everything
BROAD_EXCEPTS: dict[str, str] = {}

PURE = ("policy_rules/", "receiver/incident/", "ledger/entry.py", "ledger/accounts.py", "ledger/merkle.py")
CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "perf_counter", "sleep", "uuid1", "uuid4", "token_bytes"}


def sources() -> Iterator[tuple[str, ast.Module, str]]:
    """Every module of the product: its path, its syntax tree, its text."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            yield path.relative_to(ROOT).as_posix(), ast.parse(text), text


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_pure_modules_read_no_clock_and_draw_no_number() -> None:
    """`now` is handed in. Imports of clocks are import-linter's; this is about calls like datetime.now()."""
    calls = [
        f"{path}:{node.lineno} {node.func.attr}()"
        for path, tree, _ in sources()
        if path.startswith(PURE)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id in ("self", "match"))
    ]
    assert calls == []


def test_files_are_short() -> None:
    long = {path: len(text.splitlines()) for path, _, text in sources() if len(text.splitlines()) > LINES_OF_A_FILE}
    assert {path: lines for path, lines in long.items() if path not in LONG_FILES} == {}
    assert set(LONG_FILES) <= set(long), "an exception that is no longer needed"


def test_functions_are_short() -> None:
    long = {
        f"{path}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path, tree, _ in sources()
        for function in functions(tree)
        if (function.end_lineno or 0) - function.lineno + 1 > LINES_OF_A_FUNCTION
    }
    assert {name: lines for name, lines in long.items() if name not in LONG_FUNCTIONS} == {}
    assert set(LONG_FUNCTIONS) <= set(long), "an exception that is no longer needed"


def catches_everything(node: ast.AST) -> bool:
    """`except:`, `except Exception`, also in a tuple, and contextlib.suppress(Exception); not what raises it again."""
    if isinstance(node, ast.ExceptHandler):
        last = node.body[-1]
        if isinstance(last, ast.Raise) and last.exc is None:
            return False
        caught = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        caught = list(node.args)
    else:
        return False
    return any(item is None or ast.unparse(item) in ("Exception", "BaseException") for item in caught)


def test_nothing_catches_everything() -> None:
    found = {
        f"{path}:{function.name}"
        for path, tree, _ in sources()
        for function in functions(tree)
        if any(catches_everything(node) for node in ast.walk(function))
    }
    assert found == set(BROAD_EXCEPTS)


@pytest.mark.parametrize(
    ("code", "broad"),
    [
        ("try: pass\nexcept: pass", True),
        ("try: pass\nexcept Exception: pass", True),
        ("try: pass\nexcept (OSError, BaseException): pass", True),
        ("with contextlib.suppress(Exception): pass", True),
        ("try: pass\nexcept (OSError, ValueError): pass", False),
        ("try: pass\nexcept BaseException:\n    undo()\n    raise", False),
        ("with contextlib.suppress(OSError): pass", False),
    ],
)
def test_the_search_for_broad_excepts_finds_them(code: str, broad: bool) -> None:
    assert any(catches_everything(node) for node in ast.walk(ast.parse(code))) is broad


# --- documents -------------------------------------------------------------------------------------------------------


def table(title: str) -> list[str]:
    """The rows of the table in README's section `title`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def leaves(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from leaves(below, (*words, name))
    else:
        yield words


def options(command: click.Command) -> Iterator[str]:
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from options(below)
    for parameter in command.params:
        yield from (name for name in parameter.opts if name.startswith("--"))


def test_every_option_is_named_in_readme() -> None:
    written = set(re.findall(r"--[a-z][a-z-]*", (ROOT / "README.md").read_text(encoding="utf-8")))
    context = click.Context(counterfoil)
    commands = [counterfoil.get_command(context, name) for name in COMMANDS]
    unnamed = {option for command in (counterfoil, *commands) if command is not None for option in options(command)}
    assert unnamed - written == set()


def test_every_command_is_documented() -> None:
    rows = table("Commands")
    context = click.Context(counterfoil)
    for name in COMMANDS:
        command = counterfoil.get_command(context, name)
        assert command is not None
        for words in leaves(command, (name,)):
            written = [row for row in rows if re.search(rf"`(counterfoil )?{words[0]}\b", row)]
            assert any(all(re.search(rf"\b{word}\b", row.split("|")[1]) for word in words) for row in written), words


def settings_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of the file, with its section before it: "ledger.url", "people.roles"."""
    for key, field in model.model_fields.items():
        name = field.alias or key
        below = [part for part in sections(field.annotation) if part is not model]
        for section in below:
            yield from settings_keys(section, f"{name}.")
        if not below:
            yield prefix + (field.alias or name)
            if name in SECRET_NAMES:
                yield f"{prefix}{name}_file"


def sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from sections(part)


def test_every_setting_is_documented() -> None:
    rows = table("Configuration")
    for key in (*settings_keys(Settings), *settings_keys(runner_config._File)):
        section, _, name = key.rpartition(".")
        about = [row for row in rows if section in row] if section else rows
        assert any(re.search(rf"\b{name}\b", row) or f"{name[:-5]}`, `…_file" in row for row in about), key


def test_every_path_of_the_api_is_documented() -> None:
    written = [row.split("|")[1] for row in table("HTTP")]
    for path in openapi.paths():
        _, _, _, about, *below = path.split("/")
        rows = [cell for cell in written if f"/api/v1/{about}" in cell]
        named = [part for part in below if not part.startswith("{")]
        assert any(all(f"/{part}" in cell for part in named) for cell in rows), path


def test_every_metric_is_documented_with_its_labels() -> None:
    documented = {}
    for row in table("Metrics"):
        _, name, labels, *_ = (cell.strip() for cell in row.split("|"))
        documented[name.strip("`")] = {label.strip() for label in labels.split(",") if label.strip()}
    metrics = Metrics()
    metrics.know_tenant("t")
    metrics.know_executor("e")
    families: list[Metric] = list(metrics.registry.collect())
    exposed = {
        family.name.removeprefix("counterfoil_") + ("_total" if family.type == "counter" else "") for family in families
    }
    assert exposed == set(documented)
    for family in families:
        name = family.name.removeprefix("counterfoil_") + ("_total" if family.type == "counter" else "")
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == documented[name], name


def test_every_folder_that_the_readme_links_to_is_there() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "contrib").rglob("*.md"), *ROOT.glob("*/README.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.relative_to(ROOT)} → {target}"


def test_nothing_names_the_place_where_it_was_written() -> None:
    place = re.compile("|".join(("/wo" + "rk/", r"\.\./sha" + "red")))
    named = []
    for path in ROOT.rglob("*"):
        below = path.relative_to(ROOT)
        if not path.is_file() or below.parts[0] in (".git", ".venv", ".tools", "build", "dist"):
            continue
        if any(
            part.endswith(("_cache", ".egg-info")) or part in ("__pycache__", ".hypothesis") for part in below.parts
        ):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        named += [f"{below}: {match}" for match in place.findall(text)]
    assert named == []


# --- who imports whom ------------------------------------------------------------------------------------------------

# (contract, a module, what it must not import): planted one at a time, and that contract must find it
PLANTS = (
    ("apart", "policy_rules/verdict.py", "import ledger.merkle"),
    ("apart", "ledger/reconcile.py", "import policy_rules.verdict"),
    ("below", "ledger/journal.py", "import receiver.papers"),
    ("below", "policy_rules/permission.py", "import receiver.incident.states"),
    ("layers", "receiver/papers.py", "import receiver.governor.loop"),
    ("layers", "receiver/incident/book.py", "import receiver.execution.webhook"),
    ("layers", "receiver/intake/replies.py", "import receiver.governor.loop"),  # siblings
    ("layers", "receiver/authorization/codes.py", "import receiver.execution.signature"),
    ("offices", "receiver/execution/signature.py", "import receiver.settings"),
    ("offices", "receiver/authorization/wording.py", "def later():\n    import ledger.entry"),
    ("offices", "receiver/diagnosis/prompt.py", "import policy_rules.verdict"),
    ("evidence", "receiver/evidence/prometheus.py", "import policy_rules.verdict"),
    ("anthropic", "receiver/diagnosis/prompt.py", "import anthropic"),
    ("twilio", "receiver/intake/replies.py", "def later():\n    from twilio.rest import Client"),
    ("pure", "receiver/incident/agenda.py", "import time"),
    ("pure", "policy_rules/recovery.py", "import asyncio"),
    ("pure", "ledger/merkle.py", "import os"),
    ("stand-ins", "receiver/demo/claude.py", "import receiver.papers"),
    ("stand-ins", "receiver/demo/shop.py", "import ledger.entry"),
)


def lint_imports(folder: Path) -> str:
    code = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as c; c()"
    command = [sys.executable, "-c", code, "--no-cache"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    return result.stdout + result.stderr


def copy_of_the_tree(folder: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def contract_names() -> dict[str, str]:
    """id → name, as pyproject.toml has them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return dict(re.findall(r'\[\[tool\.importlinter\.contracts\]\]\nid = "(.*)"\nname = "(.*)"', text))


def test_each_contract_of_imports_holds_and_finds_a_planted_violation(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path)
    names = contract_names()
    assert set(names) == {contract for contract, _, _ in PLANTS}
    report = lint_imports(tree)
    assert [name for name in names.values() if f"{name} KEPT" not in report] == [], report
    for contract, path, line in PLANTS:
        file, module = tree / path, path.removesuffix(".py").replace("/", ".")
        if not file.exists():  # a module that has grown into a package
            file = tree / path.removesuffix(".py") / "__init__.py"
        assert file.is_file(), f"{contract}: {path} is gone, plant elsewhere"
        clean = file.read_text(encoding="utf-8")
        file.write_text(f"{clean}\n\n{line}\n", encoding="utf-8")
        report = lint_imports(tree)
        file.write_text(clean, encoding="utf-8")
        assert f"{names[contract]} BROKEN" in report, report
        assert module in report.partition("Broken contracts")[2], report


# --- the wheel -------------------------------------------------------------------------------------------------------

MUST_BE_IN_IT = {
    "ledger/exporting/README.txt",
    "ledger/stores/sqlite.sql",
    "policy_rules/starter.yml",
    "receiver/commands/templates/counterfoil.yml",
    "receiver/commands/templates/counterfoil.service",
    "receiver/commands/templates/nginx.conf",
}
DIST_INFO = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}


def test_the_wheel_holds_the_three_packages_and_nothing_else(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path / "tree")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(tree)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = tmp_path.glob("counterfoil-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (info,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        assert archive.read(f"{info}/top_level.txt").split() == [b"ledger", b"policy_rules", b"receiver"]
        assert b"counterfoil = receiver.__main__:main" in archive.read(f"{info}/entry_points.txt")
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if not name.startswith(info)} == expected
    assert {name.removeprefix(f"{info}/") for name in names if name.startswith(info)} == DIST_INFO
    assert expected >= MUST_BE_IN_IT
