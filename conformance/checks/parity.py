"""Whether CPUs are as even as the KubeVirt CR asks for."""

from __future__ import annotations

from conformance.checks.comparison import Comparison, Unobserved
from conformance.checks.registry import told
from conformance.checks.storytelling import at, owned, require_done, runs
from conformance.checks.witnesses import compute, vmi
from conformance.model.evidence import Story

TAKEN_OVER = "virt-api puts the annotation on VMIs"
"""What the story notes when virt-api has taken over what the KubeVirt CR asks for."""
VCPUS = {"even": 2, "odd": 1}
"""By the VMI of the story: with as many vCPUs, which its emulator thread makes even."""


@told(
    "EMU-PARITY",
    "even-parity",
    look="Look at the gate AlignCPUs and the annotation of the KubeVirt CR, then at the annotation "
    "of the VMI and the CPU limit of its launcher pod.",
)
def cpus_are_even(story: Story, seen: Comparison) -> str:
    """One or two CPUs more than vCPUs, so that the sum is even; and the kubelet takes the pod."""
    for name, vcpus in VCPUS.items():
        found = at(story, name, name)
        require_done(found, TAKEN_OVER, seen)
        runs(found, seen)
        if not vmi(found).even_parity:
            raise Unobserved(f"VMI {name} was stored without the annotation for even parity")
        wanted = vcpus + (2 if vcpus % 2 == 0 else 1)
        limit = compute(found).limits.cpu_milli
        cpus = owned(found, seen)
        seen.saw(f"CPU limit of {name}", f"{limit}m", "compute of the launcher pod, .resources")
        if limit != wanted * 1000:
            seen.wrong(
                f"compute of {name} is limited to {limit}m of CPU instead of {wanted} whole ones: "
                f"{vcpus} vCPUs and what its emulator thread completes to an even number"
            )
        if len(cpus) != wanted:
            seen.wrong(
                f"{name} owns {len(cpus)} pCPUs ({cpus}) instead of {wanted}, an even number"
            )
    return "the emulator thread has two pCPUs beside two vCPUs, and one beside one"
