"""Texts that are made to cost time or memory, or to steer whoever reads a report.

No test measures time: what is not bounded here does not end, or takes all memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.matrix.files import cases_of
from conformance.matrix.quantity import parse_quantity
from conformance.model.cpuset import MOST_CPUS, CpuSet
from conformance.model.release import Release
from conformance.parsing import cgroups, domain, guest, kubelet, proc
from conformance.parsing.cpulist import cpulist
from conformance.parsing.errors import ParseError
from conformance.parsing.quantity import quantity
from conformance.parsing.setting import setting
from tests.selfproof import recording as good
from tests.truth.evidence import Evidence

LONG = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "0-99999999999",
        f"0-{MOST_CPUS}",
        str(MOST_CPUS),
        "9" * LONG,
        "0" * LONG + "-1x",
        "0," * LONG,
        "0-8191," * LONG,
        "-" * LONG,
        "\u0663",
        "1\x002",
    ],
)
def test_cpu_lists_that_no_kernel_writes(text: str) -> None:
    with pytest.raises(ParseError) as error:
        cpulist(text, "cpuset.cpus")
    assert len(str(error.value)) < 1000


def test_the_largest_machine_is_read() -> None:
    assert len(cpulist(f"0-{MOST_CPUS - 1}", "online")) == MOST_CPUS
    every_other = ",".join(map(str, range(0, MOST_CPUS, 2)))
    assert str(CpuSet.parse(every_other)) == every_other
    assert cpulist("000-003\n", "cpus") == CpuSet({0, 1, 2, 3})


@pytest.mark.parametrize(
    "value",
    [
        *(
            "1e999999999",
            "1e-999999999",
            "1" * LONG,
            "1" * LONG + "x",
            "." * LONG,
            "1" * 5000 + ".",
        ),
        *("1" * 5000 + ".", 10**400, float("nan"), float("inf"), "1" * LONG + "Ki", "\u0663"),
    ],
)
def test_quantities_beyond_all_bounds(value: object) -> None:
    with pytest.raises(ParseError) as error:
        quantity(value, "limits.cpu")
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "1" * LONG])
def test_the_oracle_caps_such_quantities_in_no_time(text: str) -> None:
    assert parse_quantity(text) > 0


def laughing(levels: int = 9) -> str:
    """Ten to the power of the levels values, in as many lines."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def merging(levels: int = 9) -> str:
    """The same by merge keys, which PyYAML copies."""
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


BOMBS = {
    "aliases": laughing(),
    "merges": merging(),
    "a list in itself": "a: &a [*a]\n",
    "depth": "a: " + "[" * LONG,
    "digits": "a: " + "9" * LONG + "\n",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_yaml_of_a_kubelet_has_bounds(bomb: str) -> None:
    with pytest.raises(ParseError) as error:
        kubelet.kubelet(f"kind: KubeletConfiguration\n{BOMBS[bomb]}", "config.yaml")
    assert len(str(error.value)) < 1000


def test_a_number_of_base_60_is_a_text_to_kubernetes() -> None:
    text = "kind: KubeletConfiguration\na: 1" + ":59" * LONG + "\nreservedSystemCPUs: 0-1\n"
    assert kubelet.kubelet(text, "config.yaml").reserved == CpuSet({0, 1})


def test_an_alias_of_a_kubelet_is_read() -> None:
    text = "kind: KubeletConfiguration\nx: &cpus '0-1'\nreservedSystemCPUs: *cpus\n"
    assert kubelet.kubelet(text, "config.yaml").reserved == CpuSet({0, 1})


@pytest.mark.parametrize("bomb", ["aliases", "merges", "a list in itself"])
def test_yaml_of_a_user_has_bounds(bomb: str) -> None:
    text = f"kind: VirtualMachineInstance\napiVersion: kubevirt.io/v1\n{BOMBS[bomb]}"
    with pytest.raises(ValueError, match=r"vmis\.yaml"):
        cases_of(text, "vmis.yaml")


ENTITIES = "".join(
    [
        '<!ENTITY a0 "ha">',
        *(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)),
    ]
)
XML = good.domain().xml


@pytest.mark.parametrize(
    "xml",
    [
        f"<!DOCTYPE domain [{ENTITIES}]><domain type='kvm'><name>&a9;</name></domain>",
        '<!DOCTYPE domain [<!ENTITY x SYSTEM "file:///etc/passwd">]><domain>&x;</domain>',
        "<domain type='kvm'>" + "<a>" * LONG,
        "<domain type='kvm'><vcpu>99999999999</vcpu></domain>",
        "<domain type='kvm'><vcpu>2</vcpu><iothreads>99999999999</iothreads></domain>",
        "<domain type='kvm'><vcpu current='" + "9" * LONG + "'>2</vcpu></domain>",
        XML.replace("</cputune>", "<vcpupin vcpu='7' cpuset='0-9999999'/></cputune>"),
        XML + " " * 2**23,
        "",
        "\0",
    ],
)
def test_xml_has_bounds(xml: str) -> None:
    with pytest.raises(ParseError) as error:
        domain.domain(xml, "virsh dumpxml")
    assert len(str(error.value)) < 1000


def test_a_deep_element_of_a_domain_is_passed_over() -> None:
    """Metadata may be anybody's."""
    deep = "<metadata>" + "<a>" * 5000 + "</a>" * 5000 + "</metadata></domain>"
    assert domain.domain(XML.replace("</domain>", deep), "x").vcpu_pins


CONSOLES = {
    "marks without reports": f"{guest.MARK} {{" * 20_000,
    "lines of marks": f"{guest.MARK} {{\n" * 20_000,
    "depth": guest.MARK + ' {"a":' + "[" * LONG + "\n",
    "escapes": "\x1b[" * LONG + "0" * LONG,
    "megabytes": "x" * 2**25,
}


@pytest.mark.parametrize("console", CONSOLES)
def test_consoles_have_bounds(console: str) -> None:
    assert guest.guest(CONSOLES[console], "the console") is None
    report = good.guest_line(good.guest())
    assert guest.guest(f"{CONSOLES[console]}\n{report}\n", "the console") is not None


@pytest.mark.parametrize("text", ["v1." + "9" * LONG, "1" * LONG, "v1.8.0-" + "." * LONG, "v1.8\n"])
def test_versions_have_bounds(text: str) -> None:
    assert Release.parse(text) in {None, Release(1, 8)}


@pytest.mark.parametrize(
    "text", ["", ":" * LONG, "Name:\n" * 10_000, f"Tgid:\t{'9' * LONG}\nPid:\t1\n", "\0" * LONG]
)
def test_status_files_have_bounds(text: str) -> None:
    with pytest.raises(ParseError) as error:
        proc.status(text, "/proc/1/task/1/status")
    assert len(str(error.value)) < 1000


def test_paths_have_bounds(evidence: Evidence) -> None:
    path = f"{cgroups.MOUNT}/kubepods{'/poda' * 20_000}\n/cpuset.cpus"
    evidence.change("nodes", lambda data: data[1].update({path: "0-3"}))
    assert evidence.verdicts()["demo", "CPU-COUNT"] == "not-observed"


@pytest.mark.parametrize("value", [None, [], {}, 7, "x", [[[]]], {"x": {"y": 10**400}}])
@pytest.mark.parametrize("part", ["kubernetes", "kubevirt", "served", "nodes", "unread"])
def test_a_setting_of_another_form_is_not_known(part: str, value: object) -> None:
    found = setting({**good.RECORDED_SETTING, part: value})
    assert found.unread or found
    read = setting(good.RECORDED_SETTING)
    assert read.configured


@pytest.mark.parametrize(("threads", "lists"), [(LONG, 8), (LONG // 10, MOST_CPUS)])
def test_any_number_of_threads_is_judged(evidence: Evidence, threads: int, lists: int) -> None:
    before = evidence.verdicts()
    group = f"{good.CGROUPS}{good.HOUSEKEEPING}"

    def crowd(data: list[Any]) -> None:
        files = data[1]
        for tid in range(LONG, LONG + threads):
            files[f"/proc/{tid}/task/{tid}/status"] = (
                f"Name:\tx\nTgid:\t{tid}\nPid:\t{tid}\nCpus_allowed_list:\t0-{tid % lists}"
            )
        files[f"{group}/cgroup.threads"] += "".join(
            f"{tid}\n" for tid in range(LONG, LONG + threads)
        )

    evidence.change("nodes", crowd)
    found = evidence.verdicts()
    assert found.keys() == before.keys()
    assert found["refused", "ADM-REFUSE"] == "pass"
    if lists == MOST_CPUS:  # more than any node has
        assert found["demo", "PIN-THREADS"] == "not-observed"


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path / "evidence")


STEERING = "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>\u202e\r\n::error::owned"


def steered(value: Any) -> Any:
    """Every text of an object with what steers terminals and browsers behind it."""
    if isinstance(value, dict):
        return {key: steered(each) for key, each in value.items()}
    if isinstance(value, list):
        return [steered(each) for each in value]
    return value + STEERING if isinstance(value, str) else value


@pytest.mark.parametrize(
    "member",
    [
        "vmi",
        "node",
        "events",
        "rejection",
        "unreadable",
        "domain",
        "console",
        "not_observed",
        "torn",
    ],
)
def test_nothing_in_evidence_steers_who_reads_the_reports(
    evidence: Evidence, capsys: pytest.CaptureFixture[str], member: str
) -> None:
    from conformance.cli import main

    def steer(data: dict[str, Any]) -> None:
        data[member] = STEERING if data[member] is None else steered(data[member])

    evidence.change("snapshots", steer)
    evidence.change(
        "nodes", lambda data: [steered(data[0]), {k: steered(v) for k, v in data[1].items()}]
    )
    evidence.change(
        "run.json",
        lambda data: {
            **data,
            "run": {**data["run"], "id": STEERING, "tool_version": STEERING},
            "cluster": {**data["cluster"], "stack": STEERING, "nodes": {STEERING: STEERING}},
            "matrix": STEERING,
            "setting": steered(data["setting"]),
            "capabilities": {
                **data["capabilities"],
                STEERING: {"available": None, "reason": STEERING},
            },
            "phases": {STEERING: 1.0},
            "cases": [{**case, "title": STEERING} for case in data["cases"]],
        },
    )
    (evidence.directory / "faults.jsonl").write_text(json.dumps(STEERING) + "\n{\n")
    (evidence.directory / "problems").mkdir()
    (evidence.directory / "problems" / "a.json").write_text(
        json.dumps({"during": STEERING, "message": STEERING, "case": STEERING, "node": STEERING})
    )
    (evidence.directory / "problems" / "b\x1b[2J.json").write_text("{")
    main(["judge", str(evidence.directory.parent)])
    said = capsys.readouterr()
    texts = {"stdout": said.out, "stderr": said.err} | {
        name: (evidence.directory.parent / name).read_text()
        for name in ("report.html", "report.json", "junit.xml", "summary.md")
    }
    for name, text in texts.items():
        assert "\x1b" not in text, name
        assert "\x07" not in text, name
        assert "\u202e" not in text or name == "report.json", name
        if name.endswith((".html", ".xml", ".md")):
            assert "<script>alert" not in text, name
        assert "\r" not in text, name
