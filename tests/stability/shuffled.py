"""A pytest plugin that tries the cases of a run in an order by chance: ``-p``.

Where the cases of a run are ordered, what needs most comes first. No verdict may depend on it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from unittest.mock import patch

from fixtures import worker

SEED = "CPU_CONFORMANCE_SHUFFLED"
"""Environment variable with the seed of the order."""


def _shuffled(
    cases: Sequence[tuple[str, int, float]], _workers: int, _nodes: Sequence[int]
) -> list[str]:
    names = [case[0] for case in cases]
    random.Random(os.environ[SEED]).shuffle(names)
    return names


patch.object(worker, "packed", _shuffled).start()
