"""Manifests as users write them, and what is read of a file of them."""

from __future__ import annotations

from conformance.matrix.cases import Case
from conformance.matrix.files import UserFile, user_file

VMI = """\
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstance
metadata: {name: fast}
spec:
  domain:
    cpu: {cores: 2, dedicatedCpuPlacement: true}
    memory: {guest: 1Gi}
    devices: {}
"""
VM = """\
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: fast}
spec:
  runStrategy: Always
  instancetype: {name: four, kind: VirtualMachineInstancetype}
  template:
    spec: {domain: {devices: {}}}
"""
TYPE = """\
apiVersion: instancetype.kubevirt.io/v1beta1
kind: VirtualMachineInstancetype
metadata: {name: four}
spec:
  cpu: {guest: 4, dedicatedCPUPlacement: true}
  memory: {guest: 1Gi}
"""
PREFERENCE = """\
apiVersion: instancetype.kubevirt.io/v1beta1
kind: VirtualMachinePreference
metadata: {name: shape}
spec: {cpu: {preferredCPUTopology: cores}}
"""


def read(*documents: str) -> UserFile:
    return user_file([("mine.yaml", "---\n".join(documents))])


def only(*documents: str) -> Case:
    (case,) = read(*documents).cases
    return case
