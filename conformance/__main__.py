"""``python -m conformance``, which `./conform` calls."""

from conformance.cli import main

raise SystemExit(main())
