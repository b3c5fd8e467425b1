"""The VMI that an object makes: a VirtualMachine, a replica set, a pool.

Sources: kubevirt pkg/virt-controller/watch/{vm,replicaset,pool} for what is made,
pkg/virt-api/webhooks/validating-webhook/admitters/{vms,vmirs,vmpool}-admitter.go for what is
refused and how its fields are called.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from conformance.matrix import instancetypes, kinds
from conformance.matrix.instancetypes import Undecided
from conformance.matrix.reading import read_placement
from conformance.model.expectation import Expectation, Refusal
from conformance.model.release import Release

Json = Mapping[str, Any]

STARTED = frozenset({"Always", "RerunOnFailure", "Once"})
"""Run strategies by which a VirtualMachine makes its VMI at once."""
STOPPED = frozenset({"Halted", "Manual"})
"""Those by which somebody has to start it."""
_IN_VM = "spec.template."
_IN_POOL = "spec.virtualMachineTemplate."


@dataclass(frozen=True)
class Reference:
    """What a VirtualMachine names as its instance type or preference.

    Attributes:
        kind: one of `kinds.TYPES`.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Made:
    """The VMI that an object makes.

    Attributes:
        vmi: its manifest; without a name where that is made up by KubeVirt.
        prefix: what its fields are called by in the object, such as ``spec.template.``.
        refusal: why the object itself must be refused.
    """

    vmi: dict[str, Any]
    prefix: str
    refusal: Refusal | None = None


def is_owner(manifest: Json) -> bool:
    """Whether the object is judged by the VMI that it makes."""
    kind = manifest.get("kind")
    return isinstance(kind, str) and kind in kinds.JUDGED and kind != kinds.VMI


def references(manifest: Json) -> tuple[Reference, ...]:
    """The instance type and preference that an object names; none for a VMI."""
    spec = _virtual_machine(manifest).get("spec")
    spec = spec if isinstance(spec, Mapping) else {}
    found = []
    for key, own, of_cluster in (
        ("instancetype", kinds.INSTANCETYPE, kinds.CLUSTER_INSTANCETYPE),
        ("preference", kinds.PREFERENCE, kinds.CLUSTER_PREFERENCE),
    ):
        matcher = spec.get(key)
        if isinstance(matcher, Mapping) and isinstance(matcher.get("name"), str):
            kind = _kind(matcher.get("kind"), own, of_cluster)
            if kind:
                found.append(Reference(kind, matcher["name"]))
    return tuple(found)


def made_by(manifest: Json, beside: Iterable[Json], release: Release | None) -> Made:
    """The VMI that an object makes.

    Args:
        manifest: a VirtualMachine, VirtualMachineInstanceReplicaSet or VirtualMachinePool.
        beside: the instance types and preferences that there are.
        release: of KubeVirt, None where it is not known.

    Raises:
        Undecided: it cannot be derived.
    """
    try:
        if manifest.get("kind") == kinds.REPLICA_SET:
            return _of_replica_set(manifest)
        if manifest.get("kind") == kinds.POOL:
            return _of_pool(manifest, beside, release)
        return _of_virtual_machine(manifest, beside, release, _name(manifest))
    except (AttributeError, TypeError) as error:
        # What is read of an instance type and a preference is little of what they may hold.
        raise Undecided(f"a value of it has a wrong type: {error}") from error


def expected(
    manifest: Json,
    beside: Iterable[Json],
    release: Release | None,
    of_vmi: Callable[[Json], Expectation],
) -> Expectation:
    """What must be seen of the VMI that an object makes, or of its refusal.

    Args:
        manifest, beside, release: as for `made_by`.
        of_vmi: what must be seen of a VMI.
    """
    try:
        return _expected(manifest, made_by(manifest, beside, release), of_vmi)
    except Undecided as error:
        return Expectation(dedicated=False, undecided=str(error))


def _expected(manifest: Json, made: Made, of_vmi: Callable[[Json], Expectation]) -> Expectation:
    expectation = of_vmi(made.vmi)
    if made.refusal is not None:
        return Expectation(refusal=made.refusal, dedicated=expectation.dedicated)
    refusal = expectation.refusal
    if refusal is not None and manifest.get("kind") == kinds.POOL and references(manifest):
        raise Undecided(
            f"a VirtualMachine of it is refused ({refusal.rule}), which shows in no answer"
        )
    if refusal is None:
        return expectation
    fields = tuple(f"{made.prefix}{field}" for field in refusal.fields)
    return replace(expectation, refusal=replace(refusal, fields=fields))


def _refused(fields: tuple[str, ...], rule: str) -> Refusal:
    """A refusal whose words nobody promises."""
    return Refusal(fields, rule)


def _of_virtual_machine(
    manifest: Json, beside: Iterable[Json], release: Release | None, name: str
) -> Made:
    spec = manifest.get("spec")
    template = spec.get("template") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(template, Mapping):
        field = "spec.template" if isinstance(spec, Mapping) else "spec"
        return Made(_vmi(manifest, {}, name), _IN_VM, _refused((field,), "schema"))
    _require_start(spec)
    alone = _vmi(manifest, template, name)
    if read_placement(alone).misfits:
        return Made(alone, _IN_VM)
    specs = {}
    for key in ("instancetype", "preference"):
        specs[key] = _matched(spec.get(key), key, references(manifest), beside)
    applied = instancetypes.apply(template, specs["instancetype"], specs["preference"], release)
    made = Made(_vmi(manifest, applied.vmi, name), _IN_VM)
    if applied.rule:
        return replace(made, refusal=_refused(applied.conflicts, applied.rule))
    return made


def _require_start(spec: Json) -> None:
    running, strategy = spec.get("running"), spec.get("runStrategy")
    if (running is None) == (strategy is None):
        both = "both running and runStrategy" if running is not None else "no runStrategy"
        raise Undecided(f"its spec has {both}, which KubeVirt refuses whatever its CPUs are")
    if strategy is not None and strategy not in STARTED | STOPPED:
        raise Undecided(f"its runStrategy is {strategy}, by which no VMI of its own is started")


def _matched(
    matcher: object, key: str, named: Iterable[Reference], beside: Iterable[Json]
) -> Json | None:
    """The spec of the instance type or preference that is asked for."""
    if matcher is None:
        return None
    if not isinstance(matcher, Mapping):
        raise Undecided(f"its spec.{key} is {matcher!r}, no reference")
    if matcher.get("inferFromVolume"):
        raise Undecided(
            f"its {key} is inferred from volume {matcher['inferFromVolume']}: name it instead"
        )
    if matcher.get("revisionName"):
        raise Undecided(
            f"its {key} is of revision {matcher['revisionName']}, which only its cluster has: "
            "leave revisionName out"
        )
    wanted = next((each for each in named if key in each.kind.lower()), None)
    if wanted is None:
        raise Undecided(f"its spec.{key} does not say which: {dict(matcher)}")
    for obj in beside:
        if (obj.get("kind"), _name(obj)) == (wanted.kind, wanted.name):
            if not isinstance(spec := obj.get("spec"), Mapping):
                raise Undecided(f"{wanted} has no spec")
            return spec
    raise Undecided(f"{wanted} is neither in the file nor was it found on a cluster")


def _of_replica_set(manifest: Json) -> Made:
    spec = manifest.get("spec")
    template = spec.get("template") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(template, Mapping):
        field = "spec.template" if isinstance(spec, Mapping) else "spec"
        return Made(_vmi(manifest, {}, ""), _IN_VM, _refused((field,), "schema"))
    if spec.get("paused"):
        raise Undecided("it is paused, and makes no VMI")
    return Made(_vmi(manifest, template, ""), _IN_VM)


def _of_pool(manifest: Json, beside: Iterable[Json], release: Release | None) -> Made:
    machine = _virtual_machine(manifest)
    if (manifest.get("spec") or {}).get("paused"):
        raise Undecided("it is paused, and makes no VirtualMachine")
    made = _of_virtual_machine(machine, beside, release, f"{_name(manifest)}-0")
    if made.refusal is not None:
        if made.refusal.rule != "schema":
            raise Undecided(
                f"a VirtualMachine of it is refused ({made.refusal.rule}), which shows in no answer"
            )
        fields = tuple(f"{_IN_POOL}{field}" for field in made.refusal.fields)
        return replace(made, refusal=replace(made.refusal, fields=fields))
    if references(manifest) and _number_is_elsewhere(machine):
        raise Undecided(
            "its template asks for dedicated CPUs whose number is the instance type's: KubeVirt "
            "validates a pool without it"
        )
    return replace(made, prefix=f"{_IN_POOL}{made.prefix}")


def _number_is_elsewhere(machine: Json) -> bool:
    """Whether a template alone asks for CPUs of which only its instance type says how many."""
    template = ((machine.get("spec") or {}).get("template") or {}).get("spec") or {}
    cpu = (template.get("domain") or {}).get("cpu") or {}
    return bool(cpu.get("dedicatedCpuPlacement") or cpu.get("isolateEmulatorThread"))


def _virtual_machine(manifest: Json) -> Json:
    """The VirtualMachine itself, or the one that a pool makes; empty for anything else."""
    if manifest.get("kind") == kinds.VM:
        return manifest
    spec = manifest.get("spec")
    if manifest.get("kind") != kinds.POOL or not isinstance(spec, Mapping):
        return {}
    template = spec.get("virtualMachineTemplate")
    template = template if isinstance(template, Mapping) else {}
    return {"apiVersion": "kubevirt.io/v1", "kind": kinds.VM, "metadata": {}, **template}


def _kind(written: object, own: str, of_cluster: str) -> str | None:
    """The kind that a matcher means: in any case, singular or plural, that of the cluster by
    default (pkg/instancetype/find/spec.go); None for any other."""
    text = str(written or of_cluster).lower()
    return {name.lower() + end: name for name in (own, of_cluster) for end in ("", "s")}.get(text)


def _vmi(owner: Json, template: Json, name: str) -> dict[str, Any]:
    """A VMI of a template; KubeVirt gives it the template's labels and annotations."""
    metadata = template.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    kept = {
        key: copy.deepcopy(metadata[key]) for key in ("labels", "annotations") if key in metadata
    }
    version = str(owner.get("apiVersion", "")).rpartition("/")[2]
    return {
        "apiVersion": f"kubevirt.io/{version if owner.get('kind') != kinds.POOL else 'v1'}",
        "kind": kinds.VMI,
        "metadata": {**kept, **({"name": name} if name else {})},
        "spec": copy.deepcopy(template.get("spec", {})),
    }


def _name(obj: Json) -> str:
    metadata = obj.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""
