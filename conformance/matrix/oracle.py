"""Derives what the promise says must happen to a VMI, from its manifest and the setting alone.

The oracle never looks at a VMI and shares no code with any stack that it judges. What it knows
of the cluster is its setting, which is read before any VMI is made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from conformance import editions
from conformance.matrix import asked, owners
from conformance.matrix.conditions import conditions, others
from conformance.matrix.pods import expect_pod
from conformance.matrix.reading import SCHEMA, STAGES, STORED, Placement, read_placement
from conformance.matrix.rules import rules
from conformance.model.evidence import Resources
from conformance.model.expectation import Expectation, Refusal, Sidecar
from conformance.model.fields import MACHINE, NUMA_PASSTHROUGH
from conformance.model.setting import UNKNOWN, Setting
from conformance.model.vocabulary import (
    API_VERSIONS,
    CURRENT,
    HUGEPAGES,
    PROFILES,
    REALTIME,
    V1,
    V1ALPHA2,
)

_MASK = re.compile(r"(?P<not>\^)?(?P<first>[0-9]{1,4})(?:-(?P<last>[0-9]{1,4}))?")
SIDECAR_CPU_MILLI = 200
SIDECAR_MEMORY_BYTES = 64_000_000
"""Defaults of a sidecar's CPU and memory: EN-SIDE-4, ZH-SIDE-5."""


def expect(
    manifest: Mapping[str, Any],
    profile: str = V1,
    setting: Setting = UNKNOWN,
    beside: Iterable[Mapping[str, Any]] = (),
) -> Expectation:
    """What must be seen of the VMI of this manifest.

    Args:
        manifest: a VirtualMachineInstance as the user writes it, with any values; what makes one
            (`conformance.matrix.owners`); or one of our own pods (`conformance.matrix.pods`).
        profile: what the VMI is judged by: one of `PROFILES`.
        setting: of the cluster on which it is to run.
        beside: the instance types and preferences that the manifest may name.

    Returns:
        A refusal, or what the admitted VMI must show. When several rules are violated at
        once, the refusal lists the fields of all and joins their ids with ``+``. A manifest that
        violates the schema is refused for that alone: it is asked first.

    Raises:
        ValueError: the profile does not exist.
    """
    if profile not in PROFILES:
        raise ValueError(f"there is no profile {profile!r}; choose one of {', '.join(PROFILES)}")
    if manifest.get("kind") == "Pod":
        return expect_pod(manifest)
    if owners.is_owner(manifest):
        return owners.expected(
            manifest,
            beside,
            setting.kubevirt_release,
            lambda vmi: expect(vmi, profile, setting),
        )
    vmi = read_placement(manifest, profile)
    vmi = replace(vmi, on=conditions(setting, vmi.architecture))
    refusal, doubts = _refusal(vmi, profile), dict[str, str]()
    if profile != V1ALPHA2:
        refusal, doubts = _doubted(vmi, profile, setting, refusal)
    unsupported = setting.unserved(API_VERSIONS[profile])
    if refusal is not None:
        return Expectation(
            refusal=refusal, dedicated=vmi.dedicated, unsupported=unsupported, doubts=doubts
        )
    found = _admitted(vmi, profile, setting)
    return replace(
        found,
        unsupported=unsupported or found.unsupported,
        doubts={**found.doubts, **doubts},
        notes=(*found.notes, *asked.unjudged(manifest, profile)),
    )


def _refusal(vmi: Placement, profile: str) -> Refusal | None:
    for stage in STAGES:
        if misfits := [misfit for misfit in vmi.misfits if misfit.stage == stage]:
            rule = SCHEMA if stage == STORED else stage
            return Refusal(tuple(misfit.path for misfit in misfits), rule)
    violated = {rule.id: fields for rule in rules(profile) if (fields := rule.at_fault(vmi))}
    if not violated:
        return None
    named = dict.fromkeys(field for fields in violated.values() for field in fields)
    return Refusal(tuple(named), "+".join(violated))


def _doubted(
    vmi: Placement, profile: str, setting: Setting, refusal: Refusal | None
) -> tuple[Refusal | None, dict[str, str]]:
    """The refusal with every field that may be named, and what else may be right, and why.

    That is the field of a VMI that may be refused after all, or ``admission`` of one that may be
    admitted.
    """
    doubts: dict[str, str] = {}
    for on, why in others(setting, vmi.on, vmi.machine, vmi.architecture):
        other = _refusal(replace(vmi, on=on), profile)
        if refusal is None:
            doubts |= dict.fromkeys(other.fields if other else (), why)
        elif other is None:
            doubts["admission"] = why
        else:
            fields = dict.fromkeys((*refusal.fields, *other.fields))
            refusal = replace(refusal, fields=tuple(fields))
    if refusal is None and not setting.configured:
        why = f"the configuration of KubeVirt is not known: {setting.unconfigured}"
        doubts |= dict.fromkeys(
            (NUMA_PASSTHROUGH, MACHINE) if vmi.numa_passthrough else (MACHINE,), why
        )
    return refusal, doubts


def _admitted(vmi: Placement, profile: str, setting: Setting) -> Expectation:
    sockets, cores, threads, notes = _guest_topology(vmi)
    vcpus = sockets * cores * threads
    policy = _iothreads_policy(vmi)
    supplemental = (vmi.supplemental_iothreads or 0) if policy == "supplementalPool" else 0
    emulator = _emulator_cpus(vmi, vcpus + supplemental, setting) if vmi.dedicated else 0
    sidecars = _sidecars(vmi, profile, setting)
    if vmi.hook_sidecars is None:
        notes += ("the annotation of hook sidecars is not a JSON list: none are expected",)
    return Expectation(
        dedicated=vmi.dedicated,
        vcpus=vcpus,
        max_vcpus=(vmi.max_sockets or 0) * cores * threads or None,
        sockets=sockets,
        cores=cores,
        threads=threads,
        isolate_emulator=vmi.isolate_emulator,
        emulator_cpus=emulator,
        even_parity=vmi.even_parity or setting.even_parity,
        iothreads=supplemental or None,
        iothreads_policy=policy,
        supplemental_iothreads=supplemental if vmi.dedicated else 0,
        # A pool serves all disks together.
        own_iothreads=() if supplemental else tuple(each.name for each in vmi.iothread_disks),
        compute_cpus=vcpus + supplemental + emulator if vmi.dedicated else 0,
        sidecars=sidecars,
        numa_passthrough=vmi.numa_passthrough,
        memory=_memory(vmi),
        page=vmi.page_bytes if vmi.hugepages else None,
        realtime=_realtime(vmi, vcpus) if vmi.realtime else None,
        needs=(
            *((HUGEPAGES,) if vmi.hugepages else ()),
            *((REALTIME,) if vmi.realtime and profile == CURRENT else ()),
        ),
        unsupported=editions.lacking(_features(vmi), setting.kubevirt_release, setting.gates),
        labels=editions.labels(setting.kubevirt_release, profile),
        doubts={} if setting.configured or profile == V1ALPHA2 else _doubts(setting),
        notes=notes,
    )


def _guest_topology(vmi: Placement) -> tuple[int, int, int, tuple[str, ...]]:
    """Sockets, cores and threads that the guest must see (EN-REQ-4, ZH-REQ-7)."""
    if vmi.has_topology:
        # Zero is the API's way to say nothing, outside of dedicated CPUs.
        notes: tuple[str, ...] = ()
        if vmi.resources_cpu is not None and vmi.dedicated:
            notes = ("a topology and CPU resources should not both be given; they agree, so be it",)
        return vmi.sockets or 1, vmi.cores or 1, vmi.threads or 1, notes
    cpus = vmi.resources_cpu
    if not cpus:
        return 1, 1, 1, ("no number of vCPUs is given: the API's default is one",)
    return math.ceil(cpus), 1, 1, ("a number of vCPUs given by resources becomes sockets",)


def _memory(vmi: Placement) -> int | None:
    """Bytes of the guest: as it says, else by request, else by limit, else one huge page."""
    amount = vmi.guest_memory or vmi.requests_memory or vmi.limits_memory or vmi.page_bytes
    return None if not amount else math.ceil(amount)


def _realtime(vmi: Placement, vcpus: int) -> frozenset[int] | None:
    """The vCPUs of a mask such as ``0-3,^1``; all without one, None where it is none (UG-RT-2)."""
    if vmi.realtime_mask is None:
        return frozenset(range(vcpus))
    chosen, excluded = set[int](), set[int]()
    for part in vmi.realtime_mask.split(","):
        found = _MASK.fullmatch(part.strip())
        if found is None:
            return None
        first, last = int(found["first"]), int(found["last"] or found["first"])
        if found["not"] and found["last"]:
            return None
        into = excluded if found["not"] else chosen
        into.update(range(first, min(last, vcpus - 1) + 1))
    return frozenset(vcpu for vcpu in chosen - excluded if vcpu < vcpus)


def _iothreads_policy(vmi: Placement) -> str:
    """The policy in force: a disk with an IOThread of its own implies ``shared``."""
    if vmi.iothreads_policy is not None:
        return vmi.iothreads_policy
    return "shared" if vmi.iothread_disks else "none"


def _features(vmi: Placement) -> tuple[str, ...]:
    """What it asks for that not every release or configuration has."""
    asked = {
        "supplemental-pool": vmi.iothreads_policy == "supplementalPool",
        "numa": vmi.numa_passthrough,
        "hook-sidecars": vmi.asks_for_hooks,
        "even-parity": vmi.even_parity and vmi.isolate_emulator,
    }
    return tuple(name for name, is_asked in asked.items() if is_asked)


def _doubts(setting: Setting) -> Mapping[str, str]:
    """What KubeVirt's configuration could change, where that is not known."""
    why = setting.unconfigured
    return {
        "emulator": f"the KubeVirt CR may ask for even parity, which is not known: {why}",
        "sidecars": f"the KubeVirt CR may set supportContainerResources, which is not known: {why}",
    }


def _emulator_cpus(vmi: Placement, others: int, setting: Setting) -> int:
    """pCPUs of the isolated emulator thread (ZH-EMU-2), two where that makes the sum even.

    Even parity is asked for by the VMI, or for every one of them by the KubeVirt CR.
    """
    if not vmi.isolate_emulator:
        return 0
    return 2 if (vmi.even_parity or setting.even_parity) and others % 2 == 0 else 1


def _sidecars(vmi: Placement, profile: str, setting: Setting) -> tuple[Sidecar, ...]:
    """The containers that the promise puts beside compute (EN-SIDE-2, ZH-SIDE-3).

    Their defaults hold for VMIs with dedicated CPUs, unless the KubeVirt CR sets others. The
    older guide gives them to the container of a registry disk too; later releases let it cost
    less, so that for v1 only those of hooks are fixed.
    """
    # renderresources.go, sidecarResources: requests of dedicated VMIs become the limits.
    configured = setting.support_limits.get("sidecar", Resources(None, None))
    default = (
        configured.cpu_milli or SIDECAR_CPU_MILLI,
        configured.memory_bytes or SIDECAR_MEMORY_BYTES,
    )
    open_ = (None, None)
    hooks = default if vmi.dedicated else open_
    disks = default if vmi.dedicated and profile == V1ALPHA2 else open_
    return (
        *(Sidecar(f"hook-sidecar-{index}", *hooks) for index in range(vmi.hook_sidecars or 0)),
        *(Sidecar(f"volume{name}", *disks) for name in vmi.container_disks),
    )
