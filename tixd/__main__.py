"""The program. Worker processes import this module again, so nothing is imported at its top.

In: the command line. Out: an exit code. Rules: processes that `multiprocessing` spawns import the
main module under another name; they need no command line and get none.
"""


def main() -> None:
    """Run `tixd`; ends the process with its exit code."""
    from tixd import streams  # noqa: PLC0415 - see above
    from tixd.runtime import signals  # noqa: PLC0415 - see above

    streams.ensure_open()
    signals.begin()
    from tixd import cli  # noqa: PLC0415 - takes its time, in which signals may come

    cli.run()


if __name__ == "__main__":
    main()
