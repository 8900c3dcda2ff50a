"""The soak's start: `scripts/soak --help`.

Worker processes import this module again, so nothing is imported at its top.
"""


def main() -> None:
    """Run what was asked for; ends the process."""
    import sys
    from pathlib import Path

    sys.path.append(str(Path(__file__).parents[1]))
    from soaking import command

    sys.exit(command.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
