"""The collector's pages over a real collector: who sent what, whatever they call themselves."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.browser import NARROW, WIDE, chromium, looking
from tests.support.bundles import HOSTILE, PING, form
from tests.support.collector import Collector, Pair, with_history
from tests.support.direct import QUEUE, bound_queue, identities, to_broker
from tests.support.program import until
from tests.support.senders import Senders
from tests.support.spreadsheet import formulas
from tests.support.terminal import screen

#: Names that lead astray where an address or a form is made of them.
ASTRAY = (
    *("a/b", "a%2Fb", "a%252Fb", "a b", "a+b", "a?b=1#c", "..", ".", "../collector", "base64/YQ"),
    *("x.json", "x.csv", "x", "~", "\u00e9" * 300, "\U0001f409" * 300, "192.0.2.1"),
    *("<script>alert(1)</script>", "<img src=//evil.example/x onerror=alert(1)>", "{{7*7}}"),
    *("\u0645\u0631\u062d\u0628\u0627 1", "javascript:alert(1)", "//evil.example/", "a\\b"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """A collector that keeps a history."""
    with Collector(tmp_path, with_history(tmp_path)) as running:
        running.becomes_ready()
        until(lambda: not page(running)["no_history"])
        yield running


def page(collector: Collector, path: str = "/collector") -> dict[str, Any]:
    """A page as JSON, once the collector is not too busy to make it."""
    path, _, query = path.partition("?")
    answers: list[tuple[int, bytes]] = []

    def has_come() -> bool:
        answers.append(collector.ask("GET", f"{path}.json?{query}"))
        return answers[-1][0] not in (0, 503)

    until(has_come)
    return dict(json.loads(answers[-1][1]))


def seen(collector: Collector, count: int) -> list[dict[str, Any]]:
    """The rows of so many senders, once the history has them."""
    until(lambda: len(page(collector)["rows"]) >= count)
    return list(page(collector)["rows"])


def url(collector: Collector, path: str = "/collector") -> str:
    return f"http://127.0.0.1:{collector.port}{path}"


def test_the_page_agrees_with_what_was_sent_with_the_command_and_with_the_output(
    tmp_path, collector
):
    assert collector.send("ce1", "a", "b") == collector.send("ce2", "c") == 200
    assert collector.send("ce2", "d", bundlesize="7") == 400
    assert collector.post(PING) == 200
    rows = {row["sender"]: row for row in seen(collector, 3)}
    own = {"RUNTIME_DIRECTORY": str(collector.runtime_folder)}
    lines = screen("probes", "--format", "json", columns=200, environment=own).lines
    assert list(rows) == [json.loads(line)["sender"] for line in lines]
    for told in map(json.loads, lines):
        row = rows[told["sender"]]
        assert (row["state"], row["bundles"]) == (told["state"], told["taken"])
        assert (row["last_seen_at"], row["address"]) == (told["last_seen"], told["address"])
        assert row["failed"] == told["refused"] + told["not_taken"]
    found = page(collector)
    output = (tmp_path / "records").read_text().splitlines()
    assert found["records"] == sum(row["records"] for row in rows.values()) == 3
    assert len(output) == 3
    assert {row["code"]: row["count"] for row in found["answers"]} == {"200": 3, "400": 1}
    assert rows["ce2"]["last_failure_reason"].startswith("Error handling request: number of ")


def test_with_a_broker_the_page_tells_of_the_records_in_the_queue_and_why_none_comes(
    tmp_path, broker
):
    direct = bound_queue(broker)
    history = {"historyFile": str(tmp_path / "collector.sqlite")}
    with Collector(tmp_path, to_broker(broker.port, **history)) as collector:
        collector.becomes_ready()
        assert collector.send("ce1", "a", "b") == collector.send("ce2", "c") == 200
        until(lambda: page(collector).get("total", {}).get("JobUsageRecord") == 3)
        assert sorted(identities(direct)) == ["a", "b", "c"]
        direct.delete(QUEUE)
        until(lambda: collector.send("ce1", "d") == 503)
        until(lambda: page(collector)["states"].get("failing") == 1)
        [output] = page(collector)["outputs"]
        assert "no queue is bound" in output["last_refusal"]
        text = collector.ask("GET", "/collector")[1].decode()
        assert "no queue is bound to exchange" in text
        assert [row["sender"] for row in page(collector)["rows"]] == ["ce1", "ce2"]


def test_a_sender_has_a_page_with_its_hours_its_answers_and_its_last_refusal(collector, browser):
    assert collector.send("ce1", "a", "b") == 200
    assert collector.send("ce1", "c", bundlesize="7") == 400
    until(lambda: [(r["bundles"], r["failed"]) for r in page(collector)["rows"]] == [(1, 1)])
    [row] = page(collector)["rows"]
    found = page(collector, row["page"])
    assert (found["sender"], found["records"], found["failed"]) == ("ce1", 2, 1)
    assert sum(hour["JobUsageRecord"] for hour in found["rows"]) == 2
    assert {answer["code"]: answer["count"] for answer in found["answers"]} == {"200": 1, "400": 1}
    with looking(browser, url(collector)) as look:
        look.page.get_by_role("link", name="ce1").click()
        look.page.wait_for_url("**/collector/senders/ce1")
        text = look.text()
        assert "NOTHING TAKEN since " in text
        assert "400, Error handling request: number of records in bundle" in text
        look.page.get_by_role("link", name="7 days").click()
        look.page.wait_for_url("**?span=week")


def test_the_address_of_a_sender_leads_to_it_whatever_it_calls_itself(collector):
    names = {**dict.fromkeys(ASTRAY), **dict.fromkeys(HOSTILE)}
    for name in names:
        assert collector.send(name, "a", bundlesize="7") == 400
    assert collector.post(form(["a"], **{"from": ""})) == 400
    rows = seen(collector, len(names) + 1)
    assert len({row["page"] for row in rows}) == len(rows) == len(names) + 1
    for row in rows:
        found = page(collector, row["page"])
        assert (found["sender"], found["last_failure_code"]) == (row["sender"], 400)
        assert collector.ask("GET", row["page"])[0] == 200
        assert collector.ask("GET", f"{row['page']}.csv")[0] == 200


def test_a_name_is_text_in_the_browser_and_no_formula_in_a_spreadsheet(collector, browser):
    names = [*ASTRAY, *HOSTILE]
    for name in names:
        assert collector.send(name, "a", bundlesize="7") == 400
    rows = seen(collector, len(names))
    assert formulas(collector.ask("GET", "/collector.csv")[1].decode()) == []
    with looking(browser, url(collector)) as look:
        links = look.page.locator("th.sender a")
        shown = {link.inner_text(): link.get_attribute("href") for link in links.all()}
        assert shown == {row["sender"]: row["page"] for row in rows}
        for name, path in shown.items():
            look.page.goto(url(collector, path or ""))
            assert look.page.locator("h1").inner_text() == name
            assert not look.overflows()
        assert look.asked == {f"127.0.0.1:{collector.port}"}
        assert look.complaints == []


@pytest.mark.parametrize(
    ("scheme", "count"),
    [
        ("light", 60),
        *(
            pytest.param(scheme, count, marks=pytest.mark.long)
            for scheme, count in (("light", 0), ("dark", 1), ("dark", 60))
        ),
    ],
)
def test_both_pages_are_whole_at_both_widths(collector, browser, scheme, count):
    for number in range(count):
        assert collector.send(f"ce{number}.grid.example.org", f"{number}") == 200
    rows = seen(collector, min(count, 50))
    for path in ("/collector", *(row["page"] for row in rows[:1])):
        for width in (NARROW, WIDE):
            with looking(browser, url(collector, path), width=width, scheme=scheme) as look:
                assert not look.overflows()
                assert look.findings() == []
                assert look.asked == {f"127.0.0.1:{collector.port}"}
                assert look.complaints == []


def test_senders_are_searched_and_shown_a_page_at_a_time(collector, browser):
    for number in range(51):
        assert collector.send(f"ce{number:02}", f"{number}") == 200
    seen(collector, 50)
    until(lambda: page(collector)["states"] == {"well": 51})
    assert [row["sender"] for row in page(collector, "/collector?page=2")["rows"]] == ["ce50"]
    assert len(page(collector, "/collector?page=99")["rows"]) == 1
    with looking(browser, url(collector), script=False) as look:
        look.page.get_by_label("Name or address").fill("E07")
        look.page.get_by_role("button", name="Search").click()
        look.page.wait_for_url("**search=E07")
        assert look.page.locator("th.sender").all_inner_texts() == ["ce07"]
        assert "1 sender: " in look.text()
        look.page.goto(url(collector, "/collector?search=nobody"))
        assert "No sender fits" in look.text()
        assert "has been seen yet" not in look.text()


def test_without_a_sender_without_a_history_and_without_such_a_sender_it_says_what_to_do(
    tmp_path, collector
):
    assert b"point one at /gratia-servlets/rmi" in collector.ask("GET", "/collector")[1]
    code, text = collector.ask("GET", "/collector/senders/nobody")
    assert (code, b"No such sender is known" in text) == (404, True)
    assert collector.ask("GET", "/collector/senders/base64/!!!")[0] == 404
    (tmp_path / "two").mkdir()
    settings = with_history(tmp_path / "two")
    del settings["historyFile"]
    with Collector(tmp_path / "two", settings) as other:
        other.becomes_ready()
        code, text = other.ask("GET", "/collector")
        assert (code, b"set historyFile to a file" in text) == (200, True)


@contextlib.contextmanager
def looked_at(collector: Collector, lookers: int = 3) -> Iterator[list[int]]:
    """Have so many look at the page without a pause; yields the answers they get."""
    stop, asked = threading.Event(), list[int]()

    def look() -> None:
        while not stop.is_set():
            asked.append(collector.ask("GET", "/collector")[0])

    threads = [threading.Thread(target=look) for _ in range(lookers)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def test_every_bundle_of_a_flood_is_taken_while_the_page_is_looked_at(tmp_path, collector):
    with (
        Senders(collector.port, count=4, size=5) as senders,
        looked_at(collector) as asked,
    ):
        senders.until_accepted(400)
        until(lambda: 200 in asked)
    assert set(senders.statuses()) == {200}
    assert set(asked) <= {200, 503}
    output = (tmp_path / "records").read_text().splitlines()
    assert {json.loads(line)["RecordId"] for line in output} == senders.accepted
    until(lambda: page(collector)["total"]["JobUsageRecord"] == len(senders.accepted))


def test_collectors_that_share_a_port_each_have_a_page_of_their_own_history(tmp_path):
    pair = Pair(tmp_path, with_history(tmp_path))
    histories = [{"historyFile": str(tmp_path / f"{number}.sqlite")} for number in (0, 1)]
    with pair.collector(0, **histories[0]) as one, pair.collector(1, **histories[1]) as other:
        until(lambda: pair.ready(0, 1))
        for number in range(100):
            assert one.send("ce1", f"{number}") == 200

        def records(number: int) -> int:
            rows = json.loads(pair.ask(number, "/collector.json")).get("rows", ())  # no file yet
            return sum(row["records"] for row in rows)

        until(lambda: records(0) + records(1) == 100)
        assert [records(0), records(1)] == [pair.records(0), pair.records(1)]
        for number, process in enumerate((one, other)):
            text = pair.ask(number, "/collector")
            assert f"this is the history of process {process.pid} only" in text
            assert histories[number]["historyFile"] in text


def test_nobody_looking_costs_a_bundle_nothing(tmp_path):
    """Templates are loaded, and a thread is made, for a page alone."""

    def loaded() -> bool:
        return "markupsafe" in Path(f"/proc/{collector.pid}/maps").read_text()

    def threads() -> int:
        return len(list(Path(f"/proc/{collector.pid}/task").iterdir()))

    with Collector(tmp_path, with_history(tmp_path)) as collector:
        collector.becomes_ready()
        assert [collector.send("ce1", f"first {number}") for number in range(20)] == [200] * 20
        before = threads()
        assert [collector.send("ce1", f"{number}") for number in range(50)] == [200] * 50
        until(lambda: threads() <= before)  # one of the start may have ended, none is new
        assert not loaded()
        assert collector.ask("GET", "/collector")[0] == 200
        assert loaded()
        after = threads()  # libraries may keep one of their own
        assert [collector.ask("GET", "/collector")[0] for _ in range(5)] == [200] * 5
        until(lambda: threads() <= after)
