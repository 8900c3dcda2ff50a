"""The program. Worker processes import this module again, so nothing is imported at its top.

In: the command line. Out: an exit code. Rules: processes that `multiprocessing` spawns import the
main module under another name; they need no command line and get none.
"""


def main() -> None:
    """Run `tixd`; ends the process with its exit code."""
    import signal  # noqa: PLC0415 - see above

    from tixd import first_process  # noqa: PLC0415 - see above

    first_process.end_at_sigterm()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # until a service listens: they would end it
    from tixd import cli  # noqa: PLC0415 - takes its time, in which SIGTERM may come

    cli.run()


if __name__ == "__main__":
    main()
