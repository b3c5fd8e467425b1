"""``python -m conformance``, which `./conform` calls."""

import sys

try:
    from conformance.cli import main
except ModuleNotFoundError as error:
    # An installation that was damaged; pip is not asked at each start whether it is whole.
    print(
        f"conform: the Python package {error.name} is missing from {sys.prefix}; "
        "remove that directory and try again",
        file=sys.stderr,
    )
    raise SystemExit(3) from None

raise SystemExit(main())
