"""The smoke matrix: one example of everything, small enough for one node of ten CPUs."""

from __future__ import annotations

from conformance.matrix.cases import Case, case
from conformance.matrix.manifests import SMALL_MEMORY, Images, Wish
from conformance.matrix.mapped import EXAMPLE
from conformance.matrix.today import EXAMPLES
from conformance.model.vocabulary import CURRENT, V1, V1ALPHA2

_COMMON: tuple[tuple[str, str, Wish], ...] = (
    ("cores-2", "two vCPUs by cores", Wish(cores=2)),
    ("requests-1", "one vCPU by the CPU request alone", Wish(requests_cpu=1)),
    ("limits-2", "two vCPUs by the CPU limit alone", Wish(limits_cpu=2)),
    (
        "equal-1",
        "one vCPU by a CPU request that equals the limit",
        Wish(requests_cpu="1", limits_cpu="1000m", requests_memory=SMALL_MEMORY),
    ),
    ("hook", "a hook sidecar beside one pinned vCPU", Wish(cores=1, hooks=1)),
    ("disk", "a containerDisk beside one pinned vCPU", Wish(cores=1, container_disk=True)),
    ("shared", "a VMI without dedicated CPUs, as a bystander", Wish(cores=1, dedicated=None)),
    ("no-requests-half", "a CPU request of one and a half is refused", Wish(requests_cpu="1500m")),
    ("no-limits-half", "a CPU limit of a half is refused", Wish(limits_cpu="0.5")),
    (
        "no-cpu-differs",
        "a CPU request that differs from the limit is refused",
        Wish(requests_cpu=1, limits_cpu=2),
    ),
    (
        "no-memory-differs",
        "a memory request that differs from the limit is refused",
        Wish(cores=1, requests_memory="64Mi"),
    ),
    (
        "no-memory",
        "dedicated CPUs without any memory are refused",
        Wish(cores=1, limits_memory=None),
    ),
    (
        "no-disagree",
        "cores and a CPU limit that disagree are refused",
        Wish(cores=2, limits_cpu=3),
    ),
    ("no-quantity", "a malformed CPU request is refused", Wish(requests_cpu="two")),
)

_V1: tuple[tuple[str, str, Wish], ...] = (
    ("sockets-2", "two vCPUs by sockets", Wish(sockets=2, cores=1, threads=1)),
    ("smt-1x2x2", "four vCPUs as two cores of two threads", Wish(1, 2, 2)),
    ("grid-2x2x1", "four vCPUs as two sockets of two cores", Wish(2, 2, 1)),
    ("isolate", "an isolated emulator thread beside two vCPUs", Wish(limits_cpu=2, isolate=True)),
    (
        "isolate-io",
        "IOThreads join the isolated emulator thread when their policy is auto",
        Wish(sockets=1, isolate=True, iothreads_policy="auto"),
    ),
    (
        "no-isolate-shared",
        "isolating the emulator thread without dedicated CPUs is refused",
        Wish(sockets=1, dedicated=None, isolate=True),
    ),
    ("no-threads-3", "three threads a core are refused", Wish(1, 1, 3)),
)

_V1ALPHA2: tuple[tuple[str, str, Wish], ...] = (
    ("cores-4", "four vCPUs by cores", Wish(cores=4)),
    ("cores-5", "five vCPUs by cores", Wish(cores=5)),
    ("hook-2", "two hook sidecars beside one pinned vCPU", Wish(cores=1, hooks=2)),
    ("no-number", "dedicated CPUs without a number of vCPUs are refused", Wish()),
)


def smoke(profile: str = V1, images: Images | None = None) -> tuple[Case, ...]:
    """The cases of one profile, admitted ones first."""
    # What needs nearly all of the node comes last: it would wait for the others meanwhile.
    today = EXAMPLES if profile == CURRENT else ()
    wishes = _V1ALPHA2 + _COMMON if profile == V1ALPHA2 else (*_V1, *_COMMON, *today, EXAMPLE)
    cases = [case(*wish, profile=profile, images=images) for wish in wishes]
    return tuple(sorted(cases, key=lambda case: not case.expectation.admitted))
