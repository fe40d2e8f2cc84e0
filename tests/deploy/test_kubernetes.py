"""The manifests are valid for Kubernetes, and in step with each other and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.commands import check_command, check_environment, size
from tests.integration.cli.commands import ROOT

FILES = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")

pytestmark = pytest.mark.needs_all


def documents() -> list[dict[str, Any]]:
    import yaml

    return [found for path in FILES for found in yaml.safe_load_all(path.read_text())]


def workloads() -> dict[str, dict[str, Any]]:
    """StatefulSet and Deployments by name."""
    kinds = ("StatefulSet", "Deployment")
    return {found["metadata"]["name"]: found for found in documents() if found["kind"] in kinds}


def pods() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, pod, its one container)."""
    for name, workload in workloads().items():
        pod = workload["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        yield name, pod, container


def validate(document: dict[str, Any]) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_kubernetes_knows_every_word() -> None:
    for document in documents():
        validate(document)


def test_a_word_it_does_not_know_is_seen() -> None:
    import kubernetes_validate

    document = workloads()["broker"]
    document["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        validate(document)


def test_all_parts_are_there() -> None:
    found = sorted((d["kind"], d["metadata"]["name"]) for d in documents())
    assert found == [
        ("Deployment", "broker"),
        ("Deployment", "pipeliner"),
        ("NetworkPolicy", "pypelinin-nobody"),
        ("NetworkPolicy", "pypelinin-router"),
        ("Secret", "pypelinin-access"),
        ("Service", "router"),
        ("StatefulSet", "router"),
    ]
    router = workloads()["router"]["spec"]
    assert router["replicas"] == 1
    assert router["volumeClaimTemplates"][0]["metadata"]["name"] == "journal"


def test_selectors_find_what_they_are_for() -> None:
    labels = {n: w["spec"]["template"]["metadata"]["labels"] for n, w in workloads().items()}
    for name, workload in workloads().items():
        assert workload["spec"]["selector"]["matchLabels"] == labels[name]
    for document in documents():
        if document["kind"] == "Service":
            assert document["spec"]["selector"] == labels["router"]
        if document["kind"] == "NetworkPolicy":
            wanted = document["spec"]["podSelector"]["matchLabels"].items()
            chosen = {name for name, own in labels.items() if wanted <= own.items()}
            everyone = document["metadata"]["name"] == "pypelinin-nobody"
            assert chosen == (set(labels) if everyone else {"router"})


def test_containers_start_daemons_with_settings_that_exist() -> None:
    for name, _, container in pods():
        assert container["args"][0] == name
        check_command(["pypelinin", *container["args"]])
        check_environment({entry["name"]: entry["value"] for entry in container["env"]})


def test_probes_ask_by_the_command_line_and_leave_it_the_time() -> None:
    for name, _, container in pods():
        probes = [container[kind] for kind in PROBES if kind in container]
        assert len(probes) == (3 if name == "router" else 1)
        for probe in probes:
            words = probe["exec"]["command"]
            check_command(words)
            assert float(words[words.index("--deadline") + 1]) < probe["timeoutSeconds"]
            api = words[words.index("--api") + 1]
            assert api == f"tcp://{'127.0.0.1' if name == 'router' else 'router'}:5555"


def test_nothing_runs_as_root_or_writes_where_it_should_not() -> None:
    for _, pod, container in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted - {"journal"} == {volume["name"] for volume in pod["volumes"]}


def test_a_broker_offers_less_memory_than_its_container_may_use() -> None:
    (broker,) = (container for name, _, container in pods() if name == "broker")
    offered = next(e["value"] for e in broker["env"] if e["name"] == "PYPELININ_MEMORY")
    assert size(offered) < size(broker["resources"]["limits"]["memory"])
