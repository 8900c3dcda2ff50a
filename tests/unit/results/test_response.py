"""What a response means; Retry-After is that of RFC 9110."""

from __future__ import annotations

import pytest

from tixd.results import response

NOW = 784111700.0  # 77 seconds before the date that RFC 9110 uses as its example


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        ("accepted", (200, 201, 204, 299)),
        ("unauthorised", (401, 403)),
        ("later", (408, 429, 500, 502, 503, 504, 599, 100, 999)),
        ("refused", (300, 301, 302, 304, 307, 308, 400, 404, 405, 409, 413, 422, 499)),
    ],
)
def test_every_status_belongs_to_one_outcome(outcome, statuses):
    answers = [response.of_status(status, None, NOW) for status in statuses]
    assert {a.outcome for a in answers} == {outcome}
    assert [a.status for a in answers] == list(statuses)
    assert not any(a.unreachable for a in answers)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("0", 0.0),
        ("7200", 3600.0),
        ("9" * 5000, 3600.0),
        ("-5", None),
        ("1e9", None),
        ("soon", None),
        ("\u0661", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 77.0),
        ("Sun, 06 Nov 1994 08:40:00 GMT", 0.0),
        ("Sun, 06 Nov 2094 08:49:37 GMT", 3600.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_capped(header, seconds):
    assert response.of_status(503, header, NOW).retry_after_seconds == seconds


def test_the_reason_names_the_status_in_our_words():
    assert response.of_status(503, None, NOW).reason == "HTTP 503 Service Unavailable"
    assert response.of_status(599, None, NOW).reason == "HTTP 599"


@pytest.mark.parametrize("status", [300, 301, 308])
def test_a_redirect_says_which_settings_to_correct(status):
    reason = response.of_status(status, None, 0.0).reason
    hint = "redirects are not followed: correct TIX_API_HOST, TIX_API_PORT, TIX_API_SSL"
    assert response.with_hint(reason) == f"{reason} ({hint})"


def test_what_is_held_has_no_status():
    assert response.skipped("no credentials") == response.PostOutcome("skipped", "no credentials")
