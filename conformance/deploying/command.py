"""The commands ``image``, ``guest-image`` and ``manifests``."""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from pathlib import Path

from clusters.contract.describing import image_name
from clusters.contract.provider import ClusterError
from clusters.existing.description import namespace_name
from clusters.host import needs, scratch
from conformance import options
from conformance.deploying.manifests import NAMESPACE
from conformance.exits import Exit

Say = Callable[[str], None]
_ARCHIVE = (
    "The archive is an OCI layout and a Docker archive at once: `skopeo copy oci-archive:...`, "
    "`docker load`, `podman load`, `ctr images import` and `kind load image-archive` take it. "
    "--push needs none of them; Docker's configuration says as whom. A registry on localhost is "
    "spoken to in plain HTTP."
)


def declare(add: Callable[..., ArgumentParser], say: Say) -> None:
    """Adds these commands."""
    guest = add(
        "guest-image",
        help="write or push the images that VMIs boot from",
        description="Builds the images guest, disk and sidecar from Debian packages, without "
        f"Docker, into one archive. {_ARCHIVE}",
    )
    _declare_places(guest).set_defaults(command=lambda given: guest_image(given, say))
    own = add(
        "image",
        help="write or push the image of this tool, to run it in a cluster",
        description="Builds the image harness, which runs `conform` as another user than root, "
        "from Debian packages and the locked Python packages, without Docker. It is built in a "
        "checkout. With --push the images of `guest-image` are built and pushed as well. "
        f"{_ARCHIVE}",
    )
    _declare_places(own).set_defaults(command=lambda given: image(given, say))
    _declare_manifests(add).set_defaults(command=lambda given: manifests(given, say))


def _declare_manifests(add: Callable[..., ArgumentParser]) -> ArgumentParser:
    parser = add(
        "manifests",
        help="print what runs this tool in a cluster: rights, a ConfigMap, a Job",
        description="Prints namespace, service account, roles, a ConfigMap for parameters and "
        "results, and a Job or CronJob, as YAML for `kubectl apply -f -`. The Job ends with the "
        "exit code of the command.",
    )
    parser.add_argument("uses", choices=("run", "audit"), help="what the Job does")
    parser.add_argument(
        "--image",
        type=image_name,
        metavar="REF",
        help="the image of this tool (default: harness:latest below --image-prefix)",
    )
    options.declare(parser.add_argument, (options.IMAGE_PREFIX,))
    parser.add_argument(
        *("-n", "--namespace"),
        type=namespace_name,
        metavar="NAME",
        help="a namespace that is there already, for the Job and, of a run, all that it makes; "
        f"without rights on namespaces (default: a new one, {NAMESPACE}, and one for each run)",
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter for the ConfigMap, such as matrix=standard",
    )
    parser.add_argument(
        "--disruptive", action="store_true", help="with the rights and the option of that name"
    )
    parser.add_argument(
        "--libvirt", action="store_true", help="with the rights and the option of that name"
    )
    parser.add_argument(
        "--schedule", default="", metavar="CRON", help="a CronJob, such as '0 3 * * *'"
    )
    parser.add_argument(
        "--volume-claim",
        default="",
        metavar="NAME",
        help="a PersistentVolumeClaim for reports and evidence",
    )
    return parser


def manifests(arguments: Namespace, say: Say) -> int:
    """Prints the objects. Raises ClusterError."""
    from conformance.delivering.parameters import PREFIX, words
    from conformance.deploying.manifests import Deployment
    from conformance.deploying.manifests import manifests as objects

    uses, own, other = (
        arguments.uses,
        *(("disruptive", "libvirt") if arguments.uses == "run" else ("libvirt", "disruptive")),
    )
    parameters = dict(each.partition("=")[::2] for each in arguments.param)
    if uses == "run":
        parameters.setdefault("image-prefix", arguments.image_prefix)
    if getattr(arguments, other):
        say(f"--{other} means nothing to {uses}")
        return Exit.USAGE
    try:
        words({f"{PREFIX}{name}": value for name, value in parameters.items()}, uses)
    except ValueError as error:
        say(str(error))
        return Exit.USAGE
    asked, given = getattr(arguments, own), arguments.namespace
    wanted = Deployment(
        command=uses,
        bases=_bases("namespaced" if given and uses == "run" else uses, own, asked=asked),
        image=arguments.image or f"{arguments.image_prefix}/harness:latest",
        namespace=given or NAMESPACE,
        there=given is not None,
        options=[f"--{own}"] if asked else [],
        parameters=parameters,
        schedule=arguments.schedule,
        claim=arguments.volume_claim,
    )
    import yaml

    yaml.safe_dump_all(objects(wanted), sys.stdout, sort_keys=False)
    return Exit.CONFORMANT


def _bases(uses: str, own: str, *, asked: bool) -> tuple[str, ...]:
    if not asked:
        return (uses,)
    # The base for libvirt holds the one for audits.
    return (own,) if own == "libvirt" else (uses, own)


def _declare_places(parser: ArgumentParser) -> ArgumentParser:
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "-o", dest="output", type=Path, metavar="FILE", help="write the archive, a .tar"
    )
    where.add_argument(
        "--push",
        type=image_name,
        metavar="PREFIX",
        help="push to a registry; names begin with this, as registry.example/team",
    )
    options.declare(parser.add_argument, (options.IMAGE_PREFIX,))
    return parser


def guest_image(arguments: Namespace, say: Say) -> int:
    """Writes or pushes what VMIs boot from. Raises ClusterError."""
    archive = _guests(arguments, say)
    if arguments.push:
        return _pushed([archive])
    _copy(archive, arguments.output)
    return _written(arguments.output, say)


def image(arguments: Namespace, say: Say) -> int:
    """Writes or pushes the image of this tool. Raises ClusterError."""
    from clusters.harness_image.build import build
    from conformance.deploying.sources import lock, sources

    found, locked = sources(), lock()
    needs.prepare(needs.IMAGES)
    name = f"{_prefix(arguments)}/harness:latest"
    with scratch.directory() as directory:
        archive = Path(directory) / "harness.tar"
        build(name, found, locked, archive, progress=say)
        if arguments.push:
            return _pushed([archive, _guests(arguments, say)])
        _copy(archive, arguments.output)
    return _written(arguments.output, say)


def _guests(arguments: Namespace, say: Say) -> Path:
    from clusters.guest_images.build import build

    needs.prepare(needs.IMAGES)
    return build(_prefix(arguments), progress=say)


def _prefix(arguments: Namespace) -> str:
    return str(arguments.push or arguments.image_prefix)


def _pushed(archives: Iterable[Path]) -> int:
    from clusters.kit.registry import push

    for archive in archives:
        for name in push(archive):
            print(name, flush=True)
    return Exit.CONFORMANT


def _copy(archive: Path, output: Path) -> None:
    try:
        shutil.copyfile(archive, output)
    except OSError as error:
        raise ClusterError(f"{output} cannot be written: {error.strerror}") from None


def _written(output: Path, say: Say) -> int:
    from clusters.kit.image_archives import archives

    say(f"the images are in {output}; push or load each of")
    for each in archives(output):
        print("\n".join(dict.fromkeys(each.names)))
    return Exit.CONFORMANT
