"""Stand-ins for ``docker`` and ``kind``: they record what they are told and answer as the real.

Run as ``python standins.py TOOL ARGUMENTS...`` with a directory in STANDINS. What they say was
taken from docker 20.10.24 and kind 0.27.0 (Debian), where a real answer could be had.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
STATE = Path(os.environ.get("STANDINS", "."))
LABEL = "label=io.x-k8s.kind.cluster="
KUBELET = "var/lib/kubelet/config.yaml"
CPUSET = "sys/fs/cgroup/cpuset.cpus.effective"


def main() -> int:
    tool, *args = sys.argv[1:]
    environment = {name: os.environ.get(name) for name in ("KIND_EXPERIMENTAL_PROVIDER",)}
    with (STATE / "calls").open("a") as calls:
        print(json.dumps({"tool": tool, "args": args, **environment}), file=calls)
    return docker(args) if tool == "docker" else kind(args)


def settings() -> Any:
    return json.loads((STATE / "settings.json").read_text())


def nodes(cluster: str) -> list[str]:
    return sorted(
        path.name
        for path in (STATE / "nodes").iterdir()
        if (path / "cluster").read_text() == cluster
    )


def docker(args: list[str]) -> int:
    match args:
        case ["info", "--format", "{{json .}}"]:
            print(json.dumps(settings()["info"]))
        case ["ps", "--filter", label, "--format", "{{.Names}}"]:
            stopped = settings().get("stopped", [])
            print("\n".join(n for n in nodes(label.removeprefix(LABEL)) if n not in stopped))
        case ["update", "--cpuset-cpus", cpus, node]:
            if not (STATE / "nodes" / node).exists():
                return fail(f"Error response from daemon: No such container: {node}")
            if "update" in settings():
                return fail(settings()["update"])
            if not settings().get("deaf"):
                (STATE / "nodes" / node / CPUSET).write_text(f"{cpus}\n")
            print(node)
        case ["exec", "--interactive", node, "bash", "-ec", script]:
            place = STATE / "nodes" / node
            path = f"{HERE / 'node-bin'}:{os.environ['PATH']}"
            inside = script.replace("/var/lib", f"{place}/var/lib")
            environment = {**os.environ, "PATH": path, "NODE": str(place)}
            return subprocess.run(["bash", "-ec", inside], env=environment, check=False).returncode
        case ["exec", "--interactive", node, *command]:
            if not (STATE / "nodes" / node).exists():
                return fail(f"Error: No such container: {node}")
            root = str(STATE / "nodes" / node)
            lines = sys.stdin.read().splitlines()
            patterns = "".join(f"{root}{line}\n" if line else "\n" for line in lines)
            ended = subprocess.run(
                command, input=patterns.encode(), capture_output=True, check=False
            )
            sys.stdout.buffer.write(ended.stdout.replace(root.encode(), b""))
        case ["load", "--input", archive]:
            print(f"Loaded image: {Path(archive).name}")
        case _:
            return fail(f"docker: this stand-in does not know {args}")
    return 0


def kind(args: list[str]) -> int:
    match args:
        case ["get", "clusters"]:
            found = {(path / "cluster").read_text() for path in (STATE / "nodes").iterdir()}
            print("\n".join(sorted(found)))
            if not found:
                print("No kind clusters found.", file=sys.stderr)
        case ["create", "cluster", *options]:
            return create(dict(itertools.pairwise(options)), "--retain" in options)
        case ["load", "image-archive", _, "--name", cluster]:
            if not nodes(cluster):
                return fail(f'ERROR: no nodes found for cluster "{cluster}"')
        case ["export", "logs", directory, "--name", cluster]:
            if not nodes(cluster):
                return fail(f'ERROR: unknown cluster "{cluster}"')
            for node in nodes(cluster):
                (Path(directory) / node).mkdir()
                (Path(directory) / node / "kubelet.log").write_text("what the kubelet said\n")
            print(directory)
        case ["delete", "cluster", "--name", cluster, "--kubeconfig", _]:
            print(f'Deleting cluster "{cluster}" ...', file=sys.stderr)
            if settings().get("delete") == "fail":
                return fail(f'ERROR: failed to delete cluster "{cluster}": failed to delete nodes')
            for node in nodes(cluster):
                shutil.rmtree(STATE / "nodes" / node)
        case _:
            return fail(f"kind: this stand-in does not know {args}")
    return 0


def create(options: dict[str, str], retain: bool) -> int:
    name, how = options["--name"], settings().get("create", "ok")
    config = yaml.safe_load(Path(options["--config"]).read_text())
    say(f'Creating cluster "{name}" ...')
    say(" • Preparing nodes 📦 📦   ...")
    counts: dict[str, int] = {}
    made = []
    for node in config["nodes"]:
        number = counts[node["role"]] = counts.get(node["role"], 0) + 1
        made.append(STATE / "nodes" / f"{name}-{node['role']}{number if number > 1 else ''}")
        (made[-1] / CPUSET).parent.mkdir(parents=True)
        (made[-1] / CPUSET).write_text(settings().get("all", "0-99") + "\n")
        (made[-1] / "cluster").write_text(name)
        (made[-1] / "config.json").write_text(json.dumps(node))
        (made[-1] / KUBELET).parent.mkdir(parents=True)
        (made[-1] / KUBELET).write_text(kubelet_config(node))
    if how == "hang":
        (STATE / "hangs").write_text(str(os.getpid()))
        time.sleep(600)
    if how == "fail":
        if not retain:
            for path in made:
                shutil.rmtree(path)
        say(" ✗ Preparing nodes 📦 📦")
        return fail(
            "ERROR: failed to create cluster: command "
            f'"docker run --name {name}-worker" failed with error: exit status 125\n\n'
            "Command Output: docker: Error response from daemon: failed to create shim task"
        )
    if how == "warn":
        say(" • WARNING: Timed out waiting for Ready ⚠️")
    shutil.copy(STATE / "kubeconfig", options["--kubeconfig"])
    say(f'Set kubectl context to "kind-{name}"')
    return 0


def kubelet_config(node: Any) -> str:
    """As kubeadm writes it where a node joins: the cluster's, with the patches of the node."""
    config = {"kind": "KubeletConfiguration", "cgroupRoot": "/kubelet"}
    mounts = {m["containerPath"]: m["hostPath"] for m in node.get("extraMounts", ())}
    for text in node.get("kubeadmConfigPatches", ()):
        directory = (yaml.safe_load(text).get("patches") or {}).get("directory")
        if directory in mounts and not settings().get("old"):
            for path in Path(mounts[directory]).glob("kubeletconfiguration*+merge.yaml"):
                config |= yaml.safe_load(path.read_text())
    return yaml.safe_dump(config)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def fail(line: str) -> int:
    say(line)
    return 1


if __name__ == "__main__":
    sys.exit(main())
