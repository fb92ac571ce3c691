"""`ocs`, and `python -m ocs`."""

from ocs.cli.root import cli


def main() -> None:
    cli(prog_name="ocs")


if __name__ == "__main__":
    main()
