"""The console script `tropilla`. What containers ask every few seconds does not wait until everything else is imported."""

from __future__ import annotations

import sys


def main() -> int:
    if sys.argv[1:2] == ["health"]:
        from tropilla.compose import health

        return health.main(sys.argv[1:])
    from tropilla.compose import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
