"""One VM or VMI, now: looked at, judged, and told on one page."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from clusters.contract.access import ClusterAccess
from clusters.contract.provider import ClusterError
from clusters.kit.api import Api, ApiError, Json
from conformance.auditing.audit import Wanted, audit
from conformance.auditing.looking import case_of
from conformance.auditing.page import Page, page
from conformance.auditing.states import dedicated, found
from conformance.collecting import api as paths
from conformance.collecting import bundle
from conformance.judging.report import judge
from conformance.model.vocabulary import API_VERSIONS


def check(access: ClusterAccess, subject: str, *, profile: str, wanted: Wanted) -> Page:
    """What is to be said of a VM or VMI.

    Args:
        access: to the cluster.
        subject: ``NAMESPACE/NAME``.
        profile: by which it is judged.
        wanted: how it is looked at; what is looked at is the subject.

    Raises:
        ClusterError: there is no such VM or VMI, or the API does not answer.
    """
    namespace, _, name = subject.partition("/")
    try:
        vmi = _vmi(paths.connect(access.kubeconfig), namespace, name, API_VERSIONS[profile])
        if isinstance(vmi, str):
            return Page(subject, vmi, {})
        state = found(vmi)
        if not dedicated(vmi):
            return Page(subject, f"it is {state}; it asks for no dedicated CPUs", {})
        if not state.judged:
            return Page(subject, f"not judged, it is {state}", {})
        directory = Path(tempfile.mkdtemp(prefix="conform-check-"))
        try:
            audited = audit(
                access,
                "existing",
                "cluster",
                directory / "evidence",
                lambda _line: None,
                profile=profile,
                wanted=replace(wanted, namespace=namespace, name=name),
            )
            document = judge(bundle.read(directory / "evidence"))
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    except ApiError as error:
        raise ClusterError(f"{subject} could not be looked at: {error}") from error
    case = case_of(vmi)
    if case in audited.passed:
        return Page(subject, f"not judged, it is {audited.passed[case]}", {})
    return page(document, subject, case)


def _vmi(api: Api, namespace: str, name: str, version: str) -> Json | str:
    """The VMI, or why there is none. Raises ClusterError without a VM too."""
    vmi = api.find(paths.vmis(version, namespace, name))
    if vmi is not None:
        return vmi
    path = f"/apis/kubevirt.io/{version}/namespaces/{namespace}/virtualmachines/{name}"
    try:
        machine = api.find(path)
    except ApiError as error:
        if error.code != 403:
            raise
        machine = None
    if machine is None:
        raise ClusterError(f"there is no VM and no VMI {namespace}/{name}")
    status = (machine.get("status") or {}).get("printableStatus") or "without a status"
    return f"the VM is {status}: it has no VMI, so that nothing is promised now"
