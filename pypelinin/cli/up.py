"""`pypelinin up` and `down`: a whole cluster on this machine, and its end."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import psutil

from pypelinin.cli import far, keeper, options, settings
from pypelinin.cli.hosts import with_hosts
from pypelinin.cli.supervision import rebuilt
from pypelinin.cli.supervisor import KeptDaemon
from pypelinin.config import DEFAULT_API, DEFAULTS, Settings
from pypelinin.errors import ClusterError
from pypelinin.runtime.places import ProcessMark, RunningCluster, known_clusters, running_clusters

LOG_BYTES_MAX = 16 * 1024 * 1024
AT_ONCE_S = 8.0
"""After the second request to stop; then SIGKILL."""
LOOK_S = 0.02


@options.verb("up", epilog=settings.ORDER)
@options.slots_option
@options.workers_option
@options.store_option
@options.store_options_option
@options.journal_option
@click.option(
    "--api",
    metavar="tcp://HOST:PORT",
    help=f"Where the Router listens.  [default: {DEFAULT_API}, any free port if that is taken]",
)
@click.option("--broadcast", metavar="tcp://HOST:PORT", help="Where it broadcasts.")
@options.keys_option
@options.insecure_option
@options.synchronous_option
@options.monitoring_option
@far.hosts_option
@far.all_hosts_option
@far.ssh_option
@click.option("--no-broker", is_flag=True, help="Run no jobs here.")
@click.option("--no-pipeliner", is_flag=True, help="Let the Router plan all runs itself.")
@click.option("-d", "--detach", is_flag=True, help="Return when all is ready; it goes on.")
@options.json_option
@options.logging_options
def up(
    detach: bool, as_json: bool, no_broker: bool, no_pipeliner: bool, hosts_file: str | None,
    all_hosts: bool, ssh: str, **flags: Any,
) -> None:  # fmt: skip
    """Start Router, Pipeliner and Broker on this machine.

    Safe to repeat: if the cluster of this journal is up already, it says so and that is all. A
    daemon that dies is started again. Stop it with Ctrl-C or `pypelinin down`; what was accepted
    stands in the journal and goes on with the next `up`.

    With --hosts jobs run on those hosts, and here only if `localhost` is one of them. A host
    that cannot be used is told and tried again; the others work meanwhile.
    """
    flags["store_configuration"] = settings.options(flags.pop("store_options"), "--store-option")
    loaded = settings.load(flags)
    if (found := keeper.running(loaded["journal"])) is not None:
        show({**asdict(found), "already": True}, as_json)
        return
    values = plan(loaded, no_broker, no_pipeliner)
    if hosts_file is not None:
        values |= {"all_hosts": all_hosts, "ssh": far.ssh_words(ssh)}
        values = with_hosts(values, far.read_hosts(hosts_file))
    if detach:
        show(start_detached(values), as_json)
        return
    file = keeper.taken(values["journal"])
    if isinstance(file, RunningCluster):
        show({**asdict(file), "already": True}, as_json)
        return
    keeper.Keeper(values, file, lambda document: show(document, as_json)).run()


def plan(loaded: Settings, no_broker: bool, no_pipeliner: bool) -> dict[str, Any]:
    """What the keeper needs to know: the settings, the roles, addresses that can be had."""
    settings.check_binds(loaded)
    values = {**settings.values_of(loaded), "roles": ["router"]}
    if not no_pipeliner:
        values["roles"].append("pipeliner")
    if not no_broker:
        values["roles"].append("broker")
    if loaded.origin("api") == loaded.origin("broadcast") == "default":
        values = keeper.with_free_ports(values)
        for name in ("api", "broadcast"):
            if values[name] != loaded[name]:
                click.echo(f"{loaded[name]} is taken; {name} gets any free port", err=True)
    return values


def start_detached(values: dict[str, Any]) -> dict[str, Any]:
    """Start the keeper in the background and wait until its cluster runs."""
    path = log_file(Path(values["journal"]))
    with open(path, "ab") as log:
        kept = KeptDaemon("supervisor", log)
        try:
            kept.configure({**values, "log": str(path)})
            while kept.read():
                if "ready" in kept.answer:
                    ready: dict[str, Any] = kept.answer["ready"]
                    return ready
        except BaseException:
            kept.process.send_signal(signal.SIGINT)
            kept.process.wait()
            raise
        how = kept.ended()
    if "error" in kept.answer:
        raise rebuilt(kept.answer["error"])
    raise ClusterError(f"The cluster did not start ({how}).", remedy=f"{path} tells more.")


def log_file(journal: Path) -> Path:
    """Where a cluster in the background logs: beside its journal; a long one is put aside."""
    path = journal / "up.log"
    try:
        journal.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(journal / "up.log.1")
        path.touch(mode=0o600)
    except OSError as error:
        raise ClusterError(
            f"The journal directory {journal} cannot be written: {error.strerror}.",
            remedy="Give another one with --journal DIR.",
        ) from None
    return path


def show(document: Mapping[str, Any], as_json: bool) -> None:
    """Say what runs: for people, or as one JSON document."""
    already = bool(document.get("already"))
    if as_json:
        keys = ("api", "broadcast", "journal", "log", "started_at")
        chosen = {key: document[key] for key in keys} | {"already": already}
        chosen |= {"pid": document["supervisor"]["pid"], "nodes": document.get("nodes", [])}
        click.echo(json.dumps(chosen, indent=2))
        return
    api, journal = document["api"], document["journal"]
    click.echo(f"{'already up' if already else 'up'}: API {api}, broadcast {document['broadcast']}")
    for node in document.get("nodes", []):
        click.echo(f"Broker {node['name']}: {node['slots']} slots, {', '.join(node['workers'])}")
    click.echo(f"journal {journal}" + (f", log {document['log']}" if document["log"] else ""))
    if document.get("access"):
        click.echo(f"for programs: export PYPELININ_ACCESS={document['access']}")
    if api != DEFAULT_API or document.get("access"):
        click.echo(f"for programs: export PYPELININ_API={api}")
    where = "" if journal == str(Path(DEFAULTS["journal"]).absolute()) else f" --journal {journal}"
    stop = f"`pypelinin down{where}`"
    click.echo(f"stop it with {stop}" if already or document["log"] else f"Ctrl-C or {stop} stops")
    sys.stdout.flush()


# --- down ------------------------------------------------------------------------------


@options.verb("down")
@options.journal_option
@click.option("--all", "everything", is_flag=True, help="Every cluster you have up here.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Seconds for what runs to finish; it runs again with the next `up` if it does not.",
)
def down(journal: str | None, everything: bool, grace: float) -> None:
    """Stop what `pypelinin up` started, and nothing else.

    Without options that is the cluster of this directory's journal, or the only one you have up.
    It is no error if nothing runs.
    """
    wanted = settings.load({"journal": journal})["journal"]
    chosen = known() if everything else choose(wanted, journal is not None)
    for cluster in chosen:
        how = end(cluster, grace)
        click.echo(f"{how}: API {cluster.api}, journal {cluster.journal}")
    if not chosen:
        click.echo(f"Nothing to stop: no cluster of {wanted} is up.")


def choose(journal: str, is_named: bool) -> list[RunningCluster]:
    own = [cluster for cluster in known() if cluster.journal == journal]
    running = running_clusters()
    if own or is_named or not running:
        return own
    if len(running) > 1:
        listed = "; ".join(f"--journal {cluster.journal}" for cluster in running)
        raise click.UsageError(f"Which of your {len(running)} clusters? {listed}; or --all.")
    return running


def known() -> list[RunningCluster]:
    """Clusters of which something is alive, also if their keeper was killed."""
    return [
        cluster
        for cluster, kept in known_clusters()
        if kept or any(mark.process() for mark in cluster.daemons.values())
    ]


def end(cluster: RunningCluster, grace: float) -> str:
    """Stop *cluster*; says how it went."""
    how = "stopped"
    if not _asked(cluster.supervisor, grace) and not _asked(cluster.supervisor, AT_ONCE_S):
        how = "killed"
    marks = [cluster.supervisor, *cluster.daemons.values()]
    left = [process for mark in marks if (process := mark.process())]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=AT_ONCE_S)
    return how


def _asked(mark: ProcessMark, patience: float) -> bool:
    """Send SIGTERM; whether the process has ended in time."""
    process = mark.process()
    if process is None:
        return True
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    until = time.monotonic() + patience
    while mark.process() is not None:
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_S)
    return True


COMMANDS = {"up": up, "down": down}
