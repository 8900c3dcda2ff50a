"""What the packages are made of: what pyproject.toml ships, and scripts of one source."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support import debian
from tixd.commands.sample import SAMPLES

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "scripts" / "packages"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: Scripts of the packages, and the shell that reads each.
SCRIPTS = {
    **{PACKAGES / "deb" / name: "sh" for name in ("postinst", "prerm", "postrm")},
    **{PACKAGES / name: "bash" for name in ("build", "maintain")},
    **{ROOT / "scripts" / name: "bash" for name in ("install", "release")},
    ROOT / "tixd" / "samples" / "tixd-setup": "bash",
    PACKAGES / "one_file": "sh",
}


def scriptlets() -> list[str]:
    """The scripts in the .rpm's description."""
    return re.findall(r"^%(?:pre|post)\w* .*\n((?:[^%\n].*\n)+)", spec(), re.MULTILINE)


def spec() -> str:
    """The .rpm's description."""
    return (PACKAGES / "rpm.spec").read_text()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_has_a_mistake_that_a_shell_or_shellcheck_finds(path):
    words = ("--severity=warning", "-x", "-P", str(ROOT), f"--shell={SCRIPTS[path]}")
    shellcheck = debian.program("shellcheck", "shellcheck")
    for command in ([SCRIPTS[path], "-n"], [shellcheck, *words]):
        done = subprocess.run([*command, path], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_both_packages_call_the_same_script_in_the_same_cases():
    calls = r"/usr/lib/tixd/maintain (\w+)"
    texts = [(PACKAGES / "deb" / name).read_text() for name in ("postinst", "prerm")]
    assert [re.findall(calls, text) for text in texts] == [["configure"], ["remove"]]
    assert re.findall(calls, "".join(scriptlets())) == ["configure", "remove"]
    functions = re.findall(r"^(\w+)\(\)", (PACKAGES / "maintain").read_text(), re.MULTILINE)
    assert {"configure", "remove"} <= set(functions)


def test_what_a_host_needs_is_done_by_one_script_for_every_way_to_install():
    setup = (ROOT / "tixd" / "samples" / "tixd-setup").read_text()
    functions = set(re.findall(r"^(\w+)\(\)", setup, re.MULTILINE)) - {"main"}
    callers = [ROOT / "scripts" / "install", PACKAGES / "maintain"]
    for caller in callers:
        own = set(re.findall(r"^(\w+)\(\)", caller.read_text(), re.MULTILINE))
        assert re.search(r"^\. \S*tixd-setup$", caller.read_text(), re.MULTILINE)
        assert own & functions == set(), "written twice"
    used = "".join(path.read_text() for path in callers)
    assert {"make_user", "make_settings", "fit_units", "restart_active", "switch"} < set(
        re.findall(r"\b\w+\b", used)
    )


def test_the_program_has_what_the_wheel_has():
    text = (PACKAGES / "tixd.spec").read_text()
    assert 'collect_data_files("tixd")' in text
    assert 'collect_submodules("tixd")' in text
    build = (PACKAGES / "build").read_text()
    [extras] = re.findall(r"\$\{wheel\}\[([\w,]+)\]", build)
    left_out = {"test", "plot"}  # pictures: for those with a Python environment of their own
    assert set(extras.split(",")) == set(PROJECT["optional-dependencies"]) - left_out


def test_the_packages_have_every_sample_that_a_host_is_to_have():
    build = (PACKAGES / "build").read_text()
    for name, (place, _) in SAMPLES.items():
        if place in ("/etc/systemd/system/", "/usr/local/bin/"):
            assert re.search(rf"\b{re.escape(name)}[ ;]", build), name


def test_the_files_of_the_rpm_are_those_that_are_laid_out():
    build = (PACKAGES / "build").read_text()
    folders = build.partition('install -d "$root"')[2].partition("\ncp ")[0]
    for name in ("systemd/system", "bash-completion/completions", "zsh/site-functions"):
        assert name in folders
        assert name in spec()


def test_nothing_is_unpacked_where_another_user_can_have_made_the_folder(tmp_path):
    text = (PACKAGES / "one_file").read_text()
    for name, value in {"NAME": "t", "SIZE": str(len(text)), "MEGABYTES": "1"}.items():
        text = text.replace(f"@{name}@", value)
    (script := tmp_path / "tixd").write_text(text)
    script.chmod(0o755)
    cache = tmp_path / "home" / ".cache" / "tixd"
    cache.mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (cache / "programs").symlink_to(tmp_path / "other")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    done = subprocess.run([script], env=env, capture_output=True, text=True)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert list((tmp_path / "other").iterdir()) == []
