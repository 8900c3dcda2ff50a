"""What is counted, in words: for the summary of `tixd once` and for `tixd status`."""

from __future__ import annotations

#: Name of a count -> words, in the order in which people are told.
WORDS = {
    "windows_posted": "windows analysed and posted",
    "windows_stored": "windows analysed and kept in failed-results",
    "windows_without_short": "windows without a short packet, no result",
    "results_reposted": "kept results posted now",
    "results_refused": "kept results refused by the tix-api",
    "results_parked": "kept results parked in failed-results/rejected",
    "reports_deleted": "reports deleted",
    "reports_discarded_source": "reports discarded: the source address changed",
    "reports_discarded_gap": "reports discarded: a gap, too little before it",
    "reports_discarded_crowded": "reports discarded: too many in too short a time",
    "reports_bad": "bad reports set aside in bad-reports",
    "bad_reports_expired": "bad reports expired",
    "observations_duplicate": "observations that came twice, counted once",
    "journals_without_room": "windows without a journal: disk full",
    "jobs_locked": "installations another process works on",
    "jobs_vanished": "installations whose files went away meanwhile",
    "jobs_failed": "installations skipped, see the log",
    "jobs_given_up": "installations given up: workers died, see the log",
    "jobs_waiting": "installations left alone for now: workers died over them",
    "worker_restarts_exit": "workers replaced: they had ended by themselves",
    "worker_restarts_signal": "workers replaced: a signal had ended them",
    "worker_restarts_exception": "jobs given out again: something unexpected, see the log",
    "worker_restarts_time": "workers replaced: their time was up",
    "jobs_not_finished": "installations left unfinished: stopped",
    "jobs_not_begun": "installations not looked at, or not again: stopped",
    "cycles": "scans completed",
    "cycles_failed": "scans that could not list the reports, see the log",
    "cycles_skipped": "cycles skipped: a scan was still running",
    "installations_skipped": "installations skipped: their job was still open",
}
