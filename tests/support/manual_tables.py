"""Tables of the manual that are made from the code.

`python -m tests.support.manual_tables` writes them into the pages, between their markers.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import partial

from tests.support import case_tables
from tests.support.manual_pages import ROOT, page, path_of
from tixd.collector import mapping
from tixd.commands import manual, window_values
from tixd.config.values import COLLECTOR, PROCESSING, SettingsTable
from tixd.page import grades


def settings_table() -> str:
    """Every setting of the processing roles: environment, tixd.toml, default, unit, meaning."""
    rows = [
        "| environment | tixd.toml | default | unit | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in PROCESSING.fields:
        facts, default = PROCESSING.facts(name), _default(PROCESSING, name)
        unit, meaning = facts.get("unit", ""), facts["help"] + _choices(PROCESSING, name)
        rows.append(f"| `{facts['env']}` | `{facts['key']}` | {default} | {unit} | {meaning} |")
    return "\n".join(rows)


def collector_settings_table() -> str:
    """Every setting of the collector: key, environment, default, meaning."""
    rows = ["| key | environment | default | meaning |", "| --- | --- | --- | --- |"]
    for name in COLLECTOR.fields:
        facts, default = COLLECTOR.facts(name), _default(COLLECTOR, name)
        unit = f"; {facts['unit']}" if "unit" in facts else ""
        meaning = facts["help"] + unit + _choices(COLLECTOR, name)
        rows.append(f"| `{facts['key']}` | `{facts['env']}` | {default} | {meaning} |")
    return "\n".join(rows)


def key_table() -> str:
    """Every element of a record, and the keys that the collector makes of it."""
    lines = ["| of | element | key | value |", "| --- | --- | --- | --- |"]
    lines += ["| all | the record | type | its name; JobUsageRecord for a UsageRecord too |"]
    lines += ["| all | the record | RawXML | its source |"]
    used: dict[mapping.Rule, dict[str, list[str]]] = {}
    for kind in dict.fromkeys(mapping.KINDS.values()):
        for element, rule in {**kind.writers.rules, "any other": mapping.OTHER}.items():
            used.setdefault(rule, {}).setdefault(kind.name, []).append(element)
    for rule, found in used.items():
        of = "all" if len(found) == len(set(mapping.KINDS.values())) else ", ".join(found)
        elements = ", ".join(next(iter(found.values())))
        lines += (f"| {of} | {elements}{at} | {key} | {value} |" for at, key, value in rule.rows)
    return "\n".join(lines)


def page_list() -> str:
    """Every page of the manual with its first sentence, as the README lists them."""
    sentences = {name: manual.first_sentence(manual.text(name)) for name in manual.PAGES}
    return "\n".join(f"- [{name}](tixd/manual/{name}.md): {s}" for name, s in sentences.items())


def module_table() -> str:
    """Every module of tixd with the first sentence of its docstring; those of packages last."""
    root = ROOT / "tixd"
    paths = (path.relative_to(root) for path in root.rglob("*.py"))
    rows = ["| module | what it is |", "| --- | --- |"]
    for path in sorted(paths, key=lambda path: (len(path.parts) > 1, path)):
        doc = ast.get_docstring(ast.parse((root / path).read_text(encoding="utf-8"))) or ""
        words = manual.first_sentence(f"\n\n{doc}\n\n").replace("|", "\\|")
        is_package = path.stem == "__init__"
        name = f"**{path.parent}/**" if is_package else f"`{path.with_suffix('')}`"
        rows.append(f"| {name.replace('**./**', '**tixd**')} | {words} |")
    return "\n".join(rows)


def members_table(meanings: Mapping[str, str]) -> str:
    """Members of JSON, columns of CSV or words, each with its meaning."""
    escaped = {name: meaning.replace("|", "\\|") for name, meaning in meanings.items()}
    rows = [f"| `{name}` | {meaning} |" for name, meaning in escaped.items()]
    return "\n".join(["| name | meaning |", "| --- | --- |", *rows])


def grades_table() -> str:
    """Words for usage and quality, from which value on each is used, and what it means."""
    rows = ["| value | from | word | meaning |", "| --- | --- | --- | --- |"]
    for value, found in (("usage", grades.USAGE), ("quality", grades.QUALITY)):
        rows += (f"| {value} | {g.least:g} | {g.word} | {g.meaning} |" for g in found)
    return "\n".join(rows)


def _default(table: SettingsTable, name: str) -> str:
    return f"`{shown}`" if (shown := table.default_text(name)) else ""


def _choices(table: SettingsTable, name: str) -> str:
    return f" ({', '.join(choices)})" if (choices := table.choices(name)) else ""


#: Each table by the name in its markers: its page, and what makes it.
TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "settings": ("settings", settings_table),
    "collector settings": ("settings", collector_settings_table),
    "keys": ("collector", key_table),
    "pages": ("README", page_list),
    "modules": ("architecture", module_table),
    "grades": ("glossary", grades_table),
    "sure": ("glossary", partial(members_table, window_values.SURE)),
    "csv columns": ("analyze", partial(members_table, window_values.CSV_COLUMNS)),
    "json members": ("analyze", partial(members_table, window_values.WINDOW_MEMBERS)),
    "agreement members": ("analyze", partial(members_table, window_values.AGREEMENT_MEMBERS)),
    "soak facts": ("cases", case_tables.soak_facts),
    "soak ledgers": ("cases", case_tables.soak_ledgers),
    "soak processes": ("cases", case_tables.soak_processes),
    "soak faults": ("cases", case_tables.soak_faults),
    "kinds": ("cases", case_tables.kind_table),
    "cases": ("cases", case_tables.case_table),
    "as members": ("analyze", partial(members_table, window_values.AS_MEMBERS)),
}


def parts(name: str) -> tuple[str, str, str]:
    """The page of a table: what stands before it, the table, what stands behind it."""
    owner, _ = TABLES[name]
    before, begin, rest = page(owner).partition(f"<!-- {name} -->\n")
    table, end, after = rest.partition(f"\n<!-- /{name} -->")
    assert begin, f"{owner} has no marker {name}"
    assert end, f"{owner} has no marker /{name}"
    return before + begin, table, end + after


def write() -> None:
    """Put every table into its page."""
    for name, (owner, make) in TABLES.items():
        before, _, after = parts(name)
        path_of(owner).write_text(before + make() + after, encoding="utf-8")


if __name__ == "__main__":
    write()
