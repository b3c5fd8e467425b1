"""The real kubectl against the server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clusters.reference.apiserver.resources import POD
from tests.unit.reference.apiserver.world import World, running_pod

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

MANIFEST = """\
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstance
metadata:
  name: guest
spec:
  nodeSelector: {zone: a}
  domain:
    cpu: {cores: 2, dedicatedCpuPlacement: true}
    devices: {}
    resources: {limits: {memory: 64Mi}}
"""

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kubectl(world: World, tmp_path: Path) -> Kubectl:
    def run(
        *arguments: str, stdin: str = "", code: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["kubectl", "--cache-dir", str(tmp_path / "cache"), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "KUBECONFIG": str(world.config), **environment},
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def cpu_of(kubectl: Kubectl) -> dict[str, Any]:
    shown = json.loads(kubectl("get", "vmi", "guest", "-o", "json").stdout)
    cpu: dict[str, Any] = shown["spec"]["domain"]["cpu"]
    return cpu


def test_get_prints_the_columns_of_upstream(world: World, kubectl: Kubectl) -> None:
    world.do(world.add_node)
    world.run_pod(running_pod("a"))
    lines = kubectl("get", "nodes,pods", "-o", "wide").stdout.splitlines()
    assert lines[0].split() == [
        "NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE",
        "KERNEL-VERSION", "CONTAINER-RUNTIME",
    ]  # fmt: skip
    assert lines[3].split() == [
        "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED", "NODE",
        "READINESS", "GATES",
    ]  # fmt: skip
    assert lines[4].startswith("pod/a   1/1     Running")


def test_apply_creates_updates_and_removes_fields(kubectl: Kubectl) -> None:
    assert "created" in kubectl("apply", "-f", "-", stdin=MANIFEST).stdout
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=MANIFEST).stdout
    changed = MANIFEST.replace("cores: 2, ", "sockets: 4, ").replace("{zone: a}", "{}")
    difference = kubectl("diff", "-f", "-", stdin=changed, code=1).stdout
    assert "+      sockets: 4" in difference
    assert cpu_of(kubectl) == {"cores": 2, "dedicatedCpuPlacement": True}
    assert "configured" in kubectl("apply", "-f", "-", stdin=changed).stdout
    assert cpu_of(kubectl) == {"sockets": 4, "dedicatedCpuPlacement": True}
    kubectl("diff", "-f", "-", stdin=changed)
    kubectl("delete", "-f", "-", stdin=changed)
    assert "NotFound" in kubectl("get", "vmi", "guest", code=1).stderr


def test_server_side_apply_takes_over(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    done = kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    assert "serverside-applied" in done.stdout
    assert "Warning" not in done.stderr
    kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST.replace("cores: 2, ", ""))
    assert cpu_of(kubectl) == {"dedicatedCpuPlacement": True}


def test_a_pod_is_patched_strategically(kubectl: Kubectl) -> None:
    manifest = """\
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
  - {name: first, image: one}
  - {name: second, image: one}
"""
    kubectl("apply", "-f", "-", stdin=manifest)
    kubectl("apply", "-f", "-", stdin=manifest.replace("second, image: one", "second, image: two"))
    kubectl("set", "image", "pod/a", "first=three")
    images = kubectl("get", "pod", "a", "-o", "jsonpath={.spec.containers[*].image}").stdout
    assert images == "three two"


def test_a_mistake_is_refused_in_words(kubectl: Kubectl) -> None:
    typo = MANIFEST.replace("cores", "coores")
    refused = kubectl("apply", "-f", "-", stdin=typo, code=1).stderr
    assert 'unknown field "spec.domain.cpu.coores"' in refused
    warned = kubectl("apply", "--validate=warn", "-f", "-", stdin=typo).stderr
    assert 'Warning: unknown field "spec.domain.cpu.coores"' in warned
    wrong = MANIFEST.replace("cores: 2", "cores: two")
    assert "must be of type integer" in kubectl("create", "-f", "-", stdin=wrong, code=1).stderr
    alone = MANIFEST.replace("dedicatedCpuPlacement", "isolateEmulatorThread").replace(
        "guest", "other"
    )
    refused = kubectl("create", "-f", "-", stdin=alone, code=1).stderr
    assert "spec.domain.cpu.isolateEmulatorThread: should be only set" in refused


def test_edit_label_and_annotate(world: World, kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nexec sed -i "s/cores: 2/cores: 3/" "$1"\n')
    editor.chmod(0o755)
    kubectl("edit", "vmi", "guest", EDITOR=str(editor))
    assert cpu_of(kubectl)["cores"] == 3
    world.do(world.add_node)
    kubectl("label", "node", "node-1", "cpumanager=false", "--overwrite")
    kubectl("label", "node", "node-1", "node-role.kubernetes.io/worker-")
    kubectl("annotate", "node", "node-1", "note=text")
    metadata = world.request("GET", "/api/v1/nodes/node-1").json["metadata"]
    assert metadata["labels"] == {"cpumanager": "false"}
    assert metadata["annotations"] == {"note": "text"}


def test_explain_knows_the_fields(kubectl: Kubectl) -> None:
    text = kubectl("explain", "vmi.spec.domain.cpu").stdout
    assert "dedicatedCpuPlacement\t<boolean>" in text
    assert (
        "containerPort\t<integer> -required-"
        in kubectl("explain", "pod.spec.containers.ports").stdout
    )


def test_describe(world: World, kubectl: Kubectl) -> None:
    world.do(world.add_node)
    world.run_pod(running_pod("a"))
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    node = kubectl("describe", "node", "node-1").stdout
    assert "Non-terminated Pods:          (1 in total)" in node
    assert "node-1/" in kubectl("describe", "pod", "a").stdout
    assert "Dedicated Cpu Placement:  true" in kubectl("describe", "vmi", "guest").stdout
    assert "Status:       Active" in kubectl("describe", "namespace", "default").stdout


def test_logs(world: World, kubectl: Kubectl) -> None:
    world.run_pod(running_pod("a", "x", "y"), "one\ntwo\n")
    done = kubectl("logs", "a", "--tail=1")
    assert done.stdout == "two\n"
    assert 'Defaulted container "x" out of: x, y' in done.stderr
    world.mutate(POD, "a", "default", phase="Succeeded")
    assert kubectl("logs", "-f", "a", "-c", "y").stdout == "one\ntwo\n"


def test_exec(world: World, kubectl: Kubectl) -> None:
    world.run_pod(running_pod("a"))
    done = kubectl("exec", "a", "--", "echo", "hi")
    assert (done.stdout, done.stderr) == ("echo hi\n", "complaint\n")
    failed = kubectl("exec", "a", "--", "exit", "3", code=3)
    assert "exit code 3" in failed.stderr
    assert kubectl("exec", "-i", "a", "--", "cat", stdin="typed\n").stdout == "typed\n"


def test_exec_over_spdy_is_refused_in_words(world: World, kubectl: Kubectl) -> None:
    world.run_pod(running_pod("a"))
    refused = kubectl("exec", "a", "--", "echo", code=1, KUBECTL_REMOTE_COMMAND_WEBSOCKETS="false")
    assert "SPDY is not spoken here" in refused.stderr


def test_wait_and_get_watch(world: World, kubectl: Kubectl) -> None:
    world.run_pod(running_pod("a"))
    kubectl("wait", "--for=condition=Ready", "pod/a", "--timeout=20s")
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/a", "--timeout=20s")
    kubectl("delete", "pod", "a", "--wait=false")
    watched = kubectl("get", "pods", "-w", "--request-timeout=1s").stdout
    assert "Terminating" in watched
    kubectl("delete", "pod", "a", "--grace-period=0", "--force")
    kubectl("wait", "--for=delete", "pod/a", "--timeout=20s")


def test_what_kubectl_creates_by_itself(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "extra")
    kubectl("create", "configmap", "a", "-n", "extra", "--from-literal=key=value")
    kubectl("create", "secret", "generic", "b", "-n", "extra", "--from-literal=key=value")
    kubectl("create", "serviceaccount", "c", "-n", "extra")
    read = kubectl("get", "cm", "a", "-n", "extra", "-o", "jsonpath={.data.key}").stdout
    assert read == "value"
    kubectl("delete", "namespace", "extra")
    assert "extra" not in kubectl("get", "namespaces").stdout


def test_rights_and_versions(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "delete", "nodes").stdout == "yes\n"
    assert "*.*" in kubectl("auth", "can-i", "--list").stdout
    assert "Server Version" in kubectl("version").stdout
    assert "virtualmachineinstances" in kubectl("api-resources").stdout


def test_drain_evicts_pods(world: World, kubectl: Kubectl) -> None:
    world.do(world.add_node)
    world.run_pod(running_pod("a"))
    kubectl("drain", "node-1", "--force", "--timeout=1s", code=1)
    assert world.request("GET", "/api/v1/nodes/node-1").json["spec"]["unschedulable"]
    pod = world.request("GET", "/api/v1/namespaces/default/pods/a").json
    assert pod["metadata"]["deletionTimestamp"]
