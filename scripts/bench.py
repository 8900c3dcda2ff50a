"""The benchmark's start: `scripts/bench --help`.

Worker processes import this module again, so nothing is imported at its top; what they weigh is
measured, and must not be the benchmark's weight.
"""


def main() -> None:
    """Run the parts that were asked for; ends the process."""
    import sys
    from pathlib import Path

    sys.path.append(str(Path(__file__).parents[1]))
    from benchmarks import table

    table.main()


if __name__ == "__main__":
    main()
