"""The manifests: Kubernetes' own schemas, and that they fit together and to the feed."""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from omega_ai.cli.configuration import variable_of
from omega_ai.cli.options import options_of
from omega_ai.tests.conftest import ROOT
from omega_ai.tests.integration.deploy.test_files import parse_serve

DIRECTORY = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.34")

Manifest = dict[str, Any]


def manifests() -> list[Manifest]:
    """Every document of every file that the kustomization names."""
    yaml = pytest.importorskip("yaml", reason="comes with make check")
    listed = yaml.safe_load((DIRECTORY / "kustomization.yaml").read_text())["resources"]
    assert {path.name for path in DIRECTORY.glob("*.yaml")} == {*listed, "kustomization.yaml"}
    return [document for name in listed for document in yaml.safe_load_all((DIRECTORY / name).read_text())]


def of_kind(kind: str) -> dict[str, Manifest]:
    """Manifests of a kind, by name."""
    return {found["metadata"]["name"]: found for found in manifests() if found["kind"] == kind}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_follows_the_schema(version: str) -> None:
    """Strictly: no field that the API does not know."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="comes with make check")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves files open
        _validate(kubernetes_validate, version)


def _validate(kubernetes_validate: Any, version: str) -> None:
    for manifest in manifests():
        kubernetes_validate.validate(manifest, version, strict=True)
    wrong = next(iter(of_kind("Deployment").values()))
    wrong["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)
    gc.collect()


def test_selectors_and_references_lead_to_something() -> None:
    """Services, budgets, policies and the autoscaler select pods that there are; names and ports exist."""
    deployments = of_kind("Deployment")
    labels = [found["spec"]["template"]["metadata"]["labels"] for found in deployments.values()]

    def selects(selector: Manifest) -> bool:
        return sum(selector.items() <= one.items() for one in labels) == 1

    for kind, read in (
        ("Deployment", lambda spec: spec["selector"]["matchLabels"]),
        ("Service", lambda spec: spec["selector"]),
        ("PodDisruptionBudget", lambda spec: spec["selector"]["matchLabels"]),
        ("NetworkPolicy", lambda spec: spec["podSelector"]["matchLabels"]),
    ):
        found = of_kind(kind)
        assert found
        assert all(selects(read(manifest["spec"])) for manifest in found.values()), kind
    (scaler,) = of_kind("HorizontalPodAutoscaler").values()
    assert scaler["spec"]["scaleTargetRef"]["name"] in deployments
    assert "replicas" not in deployments["omega-edge"]["spec"], "the autoscaler's number would be undone"
    (service,) = of_kind("Service").values()
    names = {port["name"] for port in containers()["omega-edge"]["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
    (ingress,) = of_kind("Ingress").values()
    for rule in ingress["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            assert path["backend"]["service"]["name"] == service["metadata"]["name"]
            assert path["backend"]["service"]["port"]["name"] in {p["name"] for p in service["spec"]["ports"]}


def containers() -> dict[str, Manifest]:
    """Deployment -> its container."""
    found = {}
    for name, deployment in of_kind("Deployment").items():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        found[name] = container
    return found


def test_commands_and_variables_are_those_of_the_feed() -> None:
    """Each deployment's arguments with the ConfigMap make valid settings."""
    (config,) = of_kind("ConfigMap").values()
    known = {variable_of(option.name) for option in options_of("serve")}
    assert config["data"].keys() <= known
    assert all(isinstance(value, str) for value in config["data"].values())
    for container in containers().values():
        assert container["args"][0] == "serve"
        secret = {"REDIS_URL": "rediss://redis:6379/0"}
        assert [variable["name"] for variable in container["env"]] == ["REDIS_URL"]
        parse_serve(container["args"][1:], config["data"] | secret)


def test_an_edge_has_time_to_let_its_clients_go() -> None:
    """preStop, drain and good-bye fit into the grace period; no pod is killed while clients leave."""
    edge = of_kind("Deployment")["omega-edge"]["spec"]["template"]["spec"]
    container = containers()["omega-edge"]
    (sleep,) = re.findall(r"sleep\((\d+)\)", container["lifecycle"]["preStop"]["exec"]["command"][-1])
    arguments = container["args"]
    drain = float(arguments[arguments.index("--drain-seconds") + 1])
    assert int(sleep) + drain + 2 + 10 <= edge["terminationGracePeriodSeconds"]
    probe = container["readinessProbe"]
    assert int(sleep) >= probe["periodSeconds"] * probe["failureThreshold"]


@pytest.mark.parametrize("name", ["omega-ingest", "omega-edge"])
def test_pods_run_without_rights(name: str) -> None:
    """What the namespace's ``restricted`` standard asks for, and a file system that cannot be written."""
    pod = of_kind("Deployment")[name]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    context = containers()[name]["securityContext"]
    assert context == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"requests", "limits"} <= containers()[name]["resources"].keys()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert containers()[name][probe]["httpGet"]["path"] in ("/healthz", "/readyz")


def test_at_most_one_pod_is_taken_away_at_a_time() -> None:
    """A budget for each deployment; a roll-out never leaves fewer edges than there were."""
    budgets = of_kind("PodDisruptionBudget")
    assert budgets.keys() == of_kind("Deployment").keys()
    assert all(budget["spec"]["maxUnavailable"] == 1 for budget in budgets.values())
    assert of_kind("Deployment")["omega-edge"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def strings(value: object) -> Iterator[str]:
    """Every text in a manifest."""
    if isinstance(value, dict):
        for child in value.values():
            yield from strings(child)
    elif isinstance(value, list):
        for child in value:
            yield from strings(child)
    elif isinstance(value, str):
        yield value


def test_no_secret_stands_in_a_manifest() -> None:
    """The address of Redis comes from a Secret that the administrator makes."""
    texts = [text for manifest in manifests() for text in strings(manifest)]
    assert not [text for text in texts if re.search(r"rediss?://|password|BEGIN [A-Z ]*KEY", text)]
    assert of_kind("Secret") == {}
