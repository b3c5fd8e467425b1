"""Two independent witnesses on specs that nobody wrote: the oracle, and the reference stack."""

from __future__ import annotations

import functools
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.matrix.oracle import expect
from conformance.model.finding import Verdict
from conformance.parsing.setting import setting
from tests.unit.admitting import GATES, Api, judge
from tests.unit.test_matrix_agreement import differs

HOOKS = "hooks.kubevirt.io/hookSidecars"

Json = dict[str, Any]


def some(*values: object) -> st.SearchStrategy[Any]:
    """One of the values, or nothing; nothing is the most likely of them."""
    return st.none() | st.sampled_from(values)


COUNTS = some(0, 1, 2, 2, 3, 2.0, 1.5, "2", True, -1, 2**31, 2**32, 10**30, [2], {})
FLAGS = some(True, True, True, False, "true", 1)
CPUS = some(
    *(0, 1, 2, 4, "2", "2.0", "2000m", 2.0, 0.5, "1500m", "1999m", "1.9999999", "25e-1", " 2"),
    *(-1, "-1m", "-3G", "3G", "5G", "4Gi", "8Ei", "1e16", "1e19", "1e30", "9" * 20, "-8Ei"),
    *("two", "", "--1", "1,5", "2 cores", True, ["2"], {"cpus": 2}),
)
MEMORY = some(
    *("64Mi", "96Mi", "96M", "97Mi", "1Gi", "1536Mi", "2Gi", "500k", "1M", 0, "0"),
    *(100_000_000, 1e8, "100000000.5", "-64Mi", "96 Mi", "lots", False, {"size": 1}),
)
DISKS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "disk": st.fixed_dictionaries({}, optional={"bus": some("virtio", "sata", "scsi")}),
            "dedicatedIOThread": FLAGS,
        },
    )
    | st.sampled_from([{"cdrom": {"bus": "sata"}, "dedicatedIOThread": True}, {"lun": {}}]),
    max_size=2,
)
DOMAINS = st.fixed_dictionaries(
    {
        "cpu": st.fixed_dictionaries(
            {"dedicatedCpuPlacement": FLAGS},
            optional={
                **dict.fromkeys(("sockets", "cores", "threads", "maxSockets"), COUNTS),
                "isolateEmulatorThread": FLAGS,
                "numa": some({}, {"guestMappingPassthrough": {}}, "all"),
                "realtime": some({}, {"mask": "0-1"}),
                "features": some(
                    [],
                    [{"name": "aes"}],
                    [{"name": "aes", "policy": "require"}, {"name": "vmx", "policy": "prefer"}],
                    "aes",
                ),
            },
        ),
        "devices": st.fixed_dictionaries({}, optional={"disks": DISKS}),
        "resources": st.fixed_dictionaries(
            {},
            optional={
                kind: st.fixed_dictionaries({}, optional={"cpu": CPUS, "memory": MEMORY})
                for kind in ("requests", "limits")
            },
        ),
    },
    optional={
        "memory": st.fixed_dictionaries(
            {},
            optional={
                "guest": MEMORY,
                "hugepages": some({}, *({"pageSize": size} for size in ("2Mi", "1Gi", "large", 2))),
            },
        ),
        "machine": some({}, *({"type": kind} for kind in ("", "q35", "pc", "pc-q35-9.2", 1))),
        "ioThreadsPolicy": some("shared", "auto", "supplementalPool", "Auto", 1),
        "ioThreads": some(
            {}, *({"supplementalPoolThreadCount": count} for count in (0, 1, 2, "2", -1, 2**31))
        ),
    },
)
CONFIGURATIONS = st.fixed_dictionaries(
    {},
    optional={
        "vmRolloutStrategy": st.sampled_from(["Stage", "LiveUpdate"]),
        "emulatedMachines": st.sampled_from([["pc*"], ["q35", "pc-q35-9.2"]]),
        "architectureConfiguration": st.sampled_from(
            [
                {"amd64": {"emulatedMachines": ["pc"]}},
                {"amd64": {"emulatedMachines": ["pc"], "machineType": "pc"}},
            ]
        ),
    },
)


def manifest(domain: Json, annotations: Json) -> Json:
    disks = domain["devices"].get("disks") or ()
    for index, disk in enumerate(disks):
        disk["name"] = f"disk-{index}"
    volumes = [{"name": disk["name"], "emptyDisk": {"capacity": "8Mi"}} for disk in disks]
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": "vm", "annotations": annotations},
        "spec": {"domain": domain, "volumes": volumes},
    }


@functools.cache
def asked(key: str) -> Api:
    return Api(**eval(key))


@settings(max_examples=500, deadline=None)
@given(DOMAINS, CONFIGURATIONS, st.sampled_from([{}, {HOOKS: '[{"image": "x"}]'}, {HOOKS: "[]"}]))
def test_random_specs_are_judged_alike(
    domain: Json, configuration: Json, annotations: Json
) -> None:
    recorded = {
        "kubevirt": {
            "spec": {
                "configuration": {
                    **configuration,
                    "developerConfiguration": {"featureGates": list(GATES)},
                }
            },
            "status": {"observedKubeVirtVersion": "v1.8.4"},
        }
    }
    vmi = manifest(domain, annotations)
    expectation = expect(vmi, "v1", setting(recorded))
    assert not expectation.doubts
    stack = asked(json.dumps(configuration))
    answer = stack.answer(vmi)
    finding = judge(answer, expectation)
    allowed = (Verdict.PASS, Verdict.KNOWN_DIVERGENCE)
    assert finding.verdict in allowed, f"{finding.message}\n{expectation}\n{answer}"
    if answer.stored is not None and expectation.admitted:
        assert differs(answer.stored, expectation, stack) is None
