"""Complete the SBOM of the program's Python packages; collect the licences of all that is inside.

`python inventory.py SBOM TOC LICENCES` with the Python of the program. SBOM: CycloneDX JSON, to
which Python and the shared libraries of the host and of wheels are added; TOC: PyInstaller's list
of what it put into the folder; LICENCES: the file to write.
"""

from __future__ import annotations

import ast
import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

#: How a file with terms is named, in packages of Python and in those of the host.
_TERMS = re.compile(r"(licen[cs]e|copying|notice|authors|copyright)", re.IGNORECASE)

#: What tells the package of a file: the program, its words before the file, what it prints.
_OWNERS = (
    ("dpkg-query", ("-S",), r"^([\w.+-]+)(?::\w+)?:"),
    ("rpm", ("-qf", "--qf", "%{NAME}"), r"^([\w.+-]+)$"),
)
_VERSIONS = {
    "dpkg-query": ("-W", "-f", "${Version}"),
    "rpm": ("-q", "--qf", "%{VERSION}-%{RELEASE}"),
}


def files_inside(toc: Path) -> Iterator[Path]:
    """Give the origin of each shared library that is inside."""
    for entry in ast.literal_eval(toc.read_text())[0]:
        if entry[2] == "BINARY":
            yield Path(entry[1])


def of_the_host(path: Path) -> tuple[str, str, str]:
    """Return manager, name and version of the host's package that a library is of."""
    merged = Path(str(path.resolve()).removeprefix("/usr"))
    for program, words, form in _OWNERS:
        if not shutil.which(program):
            continue
        for name in (path, path.resolve(), merged):
            found = re.match(form, _said(program, *words, str(name)), re.MULTILINE)
            if found:
                version = _said(program, *_VERSIONS[program], found[1]).split("\n")[0]
                return program.split("-")[0], found[1], version
    return "", path.name.partition(".so")[0], ""


def _said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def component(name: str, version: str, *, purl: str = "", inside: str = "") -> dict[str, Any]:
    """Return a component as CycloneDX has it."""
    made: dict[str, Any] = {"type": "library", "name": name, "bom-ref": f"{name}=={version}"}
    made |= {"version": version} if version else {}
    made |= {"purl": purl} if purl else {}
    return made | ({"description": f"inside the wheel {inside}"} if inside else {})


def beside_python_packages(toc: Path) -> tuple[list[dict[str, Any]], list[Path]]:
    """Return the components that no Python package declares, and the files with their terms."""
    found = {"cpython": component("cpython", platform.python_version())}
    terms = sorted(Path(sys.base_prefix).glob("lib/python3*/LICENSE.txt"))
    for path in sorted(files_inside(toc)):
        if str(path).startswith(sys.base_prefix + "/"):
            continue
        if bundled := re.search(r"/([\w.]+)\.libs/lib(\w+?)[-.].*", str(path)):
            found[path.name] = component(bundled[2], "", inside=bundled[1])
        elif not str(path).startswith(sys.prefix):
            manager, name, version = of_the_host(path)
            kind = {"dpkg": "deb/debian", "rpm": "rpm/redhat"}.get(manager)
            purl = f"pkg:{kind}/{name}@{version}".replace("+", "%2B") if kind else ""
            found[name] = component(name, version, purl=purl)
            terms += [*Path("/usr/share/doc", name).glob("copyright")]
            terms += sorted(Path("/usr/share/licenses", name).glob("*"))
    return [found[name] for name in sorted(found)], list(dict.fromkeys(terms))


def terms_of(distribution: metadata.Distribution) -> Iterator[Path]:
    """Give the files with the terms of a Python package."""
    for file in sorted(distribution.files or [], key=str):
        if ".dist-info/" in str(file) and _TERMS.match(file.name):
            yield Path(str(file.locate()))


def main(sbom: Path, toc: Path, licences: Path) -> None:
    """Write both files."""
    document = json.loads(sbom.read_text())
    names = [component["name"] for component in document["components"]]
    for found in document["components"]:  # the wheel of tixd lies somewhere on this machine
        references = found.pop("externalReferences", [])
        if public := [at for at in references if not at["url"].startswith("file:")]:
            found["externalReferences"] = public
    added, terms = beside_python_packages(toc)
    document["components"] = sorted(document["components"] + added, key=lambda c: c["bom-ref"])
    sbom.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    texts = [(name, list(terms_of(metadata.distribution(name)))) for name in names]
    texts.append(("Python and libraries of the host that it was built on", terms))
    licences.write_text("\n".join(_chapters(texts)))


def _chapters(texts: Iterable[tuple[str, list[Path]]]) -> Iterator[str]:
    for name, files in texts:
        for file in files or [Path("/dev/null")]:
            where = f"{file.parent.name}/{file.name}" if files else "declares its terms in the SBOM"
            yield f"{'=' * 80}\n{name}: {where}\n{'=' * 80}\n"
            yield file.read_text(encoding="utf-8", errors="replace")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
