"""What is shipped for containers, Kubernetes and systemd, judged by the tools of each where they are."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ocs.config.load import load
from tests.helm import MANIFEST, NOTE, binary, render
from tests.servers import ROOT

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd/ocs.service"
PACKAGES = ("protocol", "tariffs", "balances", "ocs", "loadtest")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    told = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout + told.stderr


def tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}")
    return found


def test_the_wheel_has_every_file_that_the_server_reads(tmp_path: Path) -> None:
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, ".")
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".lua", ".sql", ".toml")
    }
    assert ours <= packed, ours - packed


def test_hadolint_finds_nothing_in_the_containerfile() -> None:
    assert run(tool("hadolint"), DEPLOY / "container/Containerfile") == ""


def test_the_containerfile_copies_what_the_ignore_file_lets_through() -> None:
    lines = (DEPLOY / "container/Containerfile").read_text().splitlines()
    copied = {
        name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]
    }
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name.rstrip("/") for name in copied} == let_through


def test_the_configuration_of_containers_loads_with_the_environment_it_is_given() -> None:
    named = {"OCS_REDIS__URL": "redis://store:6379", "OCS_POSTGRES__DSN": "postgresql://ocs:x@db/ocs"}
    config = load(DEPLOY / "container/ocs.toml", environ=named)
    assert str(config.http.listen) == "0.0.0.0:8080"
    assert config.redis.url.reveal() == "redis://store:6379"


def test_the_load_profile_is_admitted_from_every_network_that_an_engine_makes() -> None:
    """Docker's are in 172.16.0.0/12 and 192.168.0.0/16, podman's in 10.0.0.0/8."""
    config = load(DEPLOY / "container/ocs.toml")
    loads = [peer for peer in config.diameter.peers if peer.origin_host.endswith(".load.example.net")]
    assert len(loads) == 2
    for peer in loads:
        assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} == {str(one) for one in peer.addresses}


@pytest.mark.parametrize("file", ["compose.yml", "roles.yml"])
def test_compose_asks_for_nothing_that_only_one_engine_knows(file: str) -> None:
    """podman refuses an owner of a tmpfs; a build of Valkey that is not the image's own refuses other containers."""
    services = composed(file)
    for service in services.values():
        assert all(":" not in path for path in service.get("tmpfs", ()))
    words = services["valkey"]["command"]
    assert words[words.index("--protected-mode") + 1] == "no"
    assert "ports" not in services["valkey"]


def composed(file: str) -> dict[str, Any]:
    """Services by name, with those of the files it includes."""
    written: dict[str, Any] = yaml.safe_load((DEPLOY / "container" / file).read_text())
    services: dict[str, Any] = {}
    for other in written.get("include", ()):
        services |= composed(other)
    services |= written["services"]
    return services


@pytest.mark.parametrize(
    ("file", "roles"),
    [
        ("compose.yml", {"ocs": {"worker", "api", "keeper"}}),
        ("roles.yml", {"worker": {"worker"}, "api": {"api"}, "keeper": {"keeper"}}),
    ],
)
def test_compose_names_files_and_services_that_exist_and_keys_that_are_known(
    file: str, roles: dict[str, set[str]]
) -> None:
    folder = DEPLOY / "container"
    services = composed(file)
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (folder / source).exists(), source
        assert set(service.get("depends_on", ())) <= set(services)
    found = {}
    ports: list[str] = []
    (job,) = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    (scraped,) = job["dns_sd_configs"]
    for name, service in services.items():
        if "build" not in service:
            continue
        stores = {"OCS_REDIS__URL": "redis://x", "OCS_POSTGRES__DSN": "postgresql://x/y"}
        config = load(folder / "ocs.toml", environ=service["environment"] | stores)
        found[name] = set(config.host.roles)
        assert service["networks"]["default"]["aliases"] == scraped["names"]
        assert config.metrics.listen.port == scraped["port"]
        ports += service.get("ports", ())
        # The supervisor drains one process after the other; the keeper has 25 s more, to copy the last records.
        longest = sum(config.diameter.drain_s + (35 if role == "keeper" else 10) for role in config.host.roles)
        assert int(service["stop_grace_period"].removesuffix("s")) >= longest
    assert found == roles
    assert {port.split(":")[-1] for port in ports} == {"3868", "1812/udp", "1813/udp", "8080"}


HELM = pytest.mark.skipif(binary("helm") is None, reason="no helm")


def rendered(*options: str) -> list[dict[str, Any]]:
    helm = binary("helm")
    assert helm is not None
    return list(yaml.safe_load_all(render(helm, *options)))


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


@HELM
def test_helm_finds_nothing_in_the_chart() -> None:
    helm = binary("helm")
    assert helm is not None
    said = run(helm, "lint", "--strict", DEPLOY / "helm")
    assert "[WARNING]" not in said
    assert "[ERROR]" not in said


@HELM
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--set", "secrets={radius.clients,tls}", "--set", "worker.radius.enabled=false"),
        ("--set", "worker.processes=8,keeper.replicas=3,worker.diameter.type=ClusterIP,image.pullSecrets={reg}"),
        (
            "--set",
            "worker.diameter.annotations.a=b,nodeSelector.disk=fast",
            "--set-json",
            'tolerations=[{"key":"ocs"}]',
        ),
    ],
)
def test_what_the_chart_makes_is_valid_and_fits_together(options: tuple[str, ...]) -> None:
    objects = rendered(*options)
    for one in objects:
        kubernetes_validate.validate(one, "1.31", strict=True)
    roles, budgets = of_kind(objects, "Deployment"), of_kind(objects, "PodDisruptionBudget")
    assert set(roles) == set(budgets) == {"ocs-worker", "ocs-api", "ocs-keeper"}
    named: list[tuple[dict[str, str], set[str]]] = []
    (configured,) = of_kind(objects, "ConfigMap").values()
    for name, role in roles.items():
        assert role["spec"]["replicas"] >= 2
        selector = role["spec"]["selector"]["matchLabels"]
        assert budgets[name]["spec"]["selector"]["matchLabels"] == selector
        pod = role["spec"]["template"]
        assert selector.items() <= pod["metadata"]["labels"].items()
        # A Service named ocs-... would put OCS_... into the environment, and OCS_* are keys of the configuration.
        assert pod["spec"]["enableServiceLinks"] is False
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert container["resources"].keys() == {"requests", "limits"}
        ports = {port["name"] for port in container["ports"]}
        named.append((selector, ports))
        assert {
            container[f"{probe}Probe"]["httpGet"]["port"] for probe in ("readiness", "liveness", "startup")
        } <= ports
        mounted = {volume["name"] for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == mounted
        assert configured["metadata"]["name"] in [
            volume["configMap"]["name"] for volume in pod["spec"]["volumes"] if "configMap" in volume
        ]
    for service in of_kind(objects, "Service").values():
        behind = [ports for labels, ports in named if service["spec"]["selector"].items() <= labels.items()]
        assert behind
        for ports in behind:
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


EVERYTHING = "prometheus.enabled=true,networkPolicy.enabled=true"


@HELM
@pytest.mark.parametrize("radius", [True, False])
def test_the_network_lets_through_to_each_port_whom_the_values_name_and_nobody_else(radius: bool) -> None:
    named = {
        "diameter": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        "radius": [{"ipBlock": {"cidr": "198.51.100.0/24"}}],
        "api": [{"namespaceSelector": {"matchLabels": {"team": "billing"}}}],
        "metrics": [],
    }
    whom = [f"--set-json=networkPolicy.{key}={json.dumps(value)}" for key, value in named.items()]
    objects = rendered("--set", f"{EVERYTHING},worker.radius.enabled={str(radius).lower()}", *whom)
    policies = of_kind(objects, "NetworkPolicy")
    found: dict[str, dict[str, Any]] = {}
    for name, role in of_kind(objects, "Deployment").items():
        policy = policies.pop(name)
        kubernetes_validate.validate(policy, "1.31", strict=True)
        assert policy["spec"]["podSelector"] == role["spec"]["selector"]
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        (container,) = role["spec"]["template"]["spec"]["containers"]
        protocols = {port["name"]: port.get("protocol", "TCP") for port in container["ports"]}
        found[name] = {}
        for rule in policy["spec"]["ingress"]:
            assert rule["from"], "without peers it would be everybody"
            for port in rule["ports"]:
                assert protocols[port["port"]] == port["protocol"]
                found[name][port["port"]] = rule["from"]
    assert not policies
    of_radius = {"radius-auth": named["radius"], "radius-acct": named["radius"]} if radius else {}
    assert found == {
        "ocs-worker": {"diameter": named["diameter"], **of_radius},
        "ocs-api": {"http": named["api"]},
        "ocs-keeper": {},
    }


@HELM
def test_an_operators_prometheus_finds_every_pod_once_and_has_the_rules() -> None:
    objects = rendered("--set", f"{EVERYTHING},prometheus.labels.release=prom")
    (monitor,) = of_kind(objects, "ServiceMonitor").values()
    (rules,) = of_kind(objects, "PrometheusRule").values()
    services = [
        service
        for service in of_kind(objects, "Service").values()
        if monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ]
    assert [service["metadata"]["name"] for service in services] == ["ocs-pods"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in services[0]["spec"]["ports"]}
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "ocs"}]
    assert rules["spec"] == yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())
    for one in (monitor, rules):
        assert one["apiVersion"] == "monitoring.coreos.com/v1"
        assert one["metadata"]["labels"]["release"] == "prom"


@HELM
def test_without_being_asked_the_chart_makes_nothing_that_a_bare_cluster_does_not_know() -> None:
    assert not {"ServiceMonitor", "PrometheusRule", "NetworkPolicy"} & {one["kind"] for one in rendered()}


@HELM
@pytest.mark.parametrize(("notice_s", "answers_s", "processes"), [(6, 5, 2), (30, 60, 3)])
def test_each_role_of_the_chart_starts_with_what_it_is_given_and_has_time_to_end(
    tmp_path: Path, notice_s: int, answers_s: int, processes: int
) -> None:
    """The server itself reads configuration, environment and arguments of each pod."""
    drain = f"drain.noticeSeconds={notice_s},drain.answersSeconds={answers_s}"
    objects = rendered("--set", f"{drain},worker.processes={processes},api.processes={processes}")
    (written,) = of_kind(objects, "ConfigMap").values()
    (file := tmp_path / "ocs.toml").write_text(written["data"]["ocs.toml"])
    secret = {
        "redis": "redis+sentinel://a,b,c/main",
        "postgres": "postgresql://ocs@db1,db2/ocs",
        "admin-token": "t" * 40,
    }
    for key, value in secret.items():
        (tmp_path / key).write_text(value)
    for deployment in of_kind(objects, "Deployment").values():
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        at = next(one["mountPath"] for one in container["volumeMounts"] if one["name"] == "secret-0")
        given = {one["name"]: one["value"].replace(at, str(tmp_path)) for one in container["env"]}
        role = container["args"][container["args"].index("--roles") + 1]
        config = load(file, overrides=(f"host.roles=[{role!r}]",), environ=given)
        assert config.host.roles == (role,)
        assert config.redis.url.reveal() == secret["redis"]
        assert config.postgres.dsn.reveal() == secret["postgres"]
        assert (config.host.notice_s, config.diameter.drain_s) == (notice_s, answers_s)
        probe = container["readinessProbe"]
        assert notice_s >= probe["periodSeconds"] * probe["failureThreshold"] + 1
        count = {"worker": config.workers, "api": config.http.processes, "keeper": 1}[role]
        assert count == (1 if role == "keeper" else processes)
        longest = notice_s + count * (answers_s + (35 if role == "keeper" else 10))
        assert longest < pod["terminationGracePeriodSeconds"] <= longest + 30
        listening = {
            "diameter": str(config.diameter.listen),
            "radius-auth": str(config.radius.auth_listen),
            "radius-acct": str(config.radius.acct_listen),
            "http": str(config.http.listen),
            "metrics": str(config.metrics.listen),
        }
        for port in container["ports"]:
            assert listening[port["name"]] == f"0.0.0.0:{port['containerPort']}"
        assert (role == "api") == (config.access.admin_token.reveal() == secret["admin-token"])


@HELM
@pytest.mark.parametrize(
    "wrong",
    [
        "worker.replica=3",
        "drain.noticeSeconds=1",
        "keeper.replicas=0",
        "redis.url=x",
        "networkPolicy.http={}",
        "prometheus.interval=soon",
    ],
)
def test_the_chart_refuses_values_that_it_does_not_know_or_that_cannot_be(wrong: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        rendered("--set", wrong)
    assert wrong.split("=")[0].split(".")[-1] in refused.value.stderr or wrong.split(".")[0] in refused.value.stderr


@HELM
def test_another_configuration_replaces_the_pods() -> None:
    def marks(*options: str) -> set[str]:
        pods = of_kind(rendered(*options), "Deployment").values()
        return {pod["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for pod in pods}

    assert marks() == marks()
    assert not marks() & marks("--set", "config=[http]")


@HELM
def test_the_manifest_is_what_the_chart_makes() -> None:
    helm = binary("helm")
    assert helm is not None
    assert MANIFEST.read_text() == NOTE + render(helm), "run `make manifests`"


def test_kubectl_puts_the_manifest_into_a_namespace() -> None:
    kubectl = binary("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl")
    objects = list(yaml.safe_load_all(run(kubectl, "kustomize", DEPLOY / "kubernetes")))
    for one in objects:
        kubernetes_validate.validate(one, "1.31", strict=True)
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "ocs"
    assert len(objects) == len(list(yaml.safe_load_all(MANIFEST.read_text()))) + 1


@pytest.mark.parametrize("unit", [UNIT.name, "ocs@.service"])
def test_systemd_understands_the_unit_and_finds_it_closed(unit: str, tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    there = tmp_path / unit.replace("@", "@worker")
    there.write_text((UNIT.parent / unit).read_text().replace("/opt/ocs/bin/ocs", "/bin/true"))
    verified = subprocess.run([analyze, "verify", "--man=no", there], capture_output=True, text=True, check=False)
    assert there.name not in verified.stderr, verified.stderr
    run(analyze, "security", "--offline=true", "--threshold=20", there)


def test_the_unit_of_several_servers_differs_in_names_alone() -> None:
    def lines(name: str) -> list[str]:
        text = (UNIT.parent / name).read_text().replace("-%i", "").replace(" (%i)", "").replace("%i.toml", "ocs.toml")
        return [line for line in text.splitlines() if not line.startswith("#")]

    assert lines("ocs@.service") == lines("ocs.service")
    assert "%i" in (UNIT.parent / "ocs@.service").read_text()


def test_the_units_wait_for_the_last_process() -> None:
    """Some workers, the keeper, the API, each as long as the supervisor gives it."""
    (timeout,) = (line for line in UNIT.read_text().splitlines() if line.startswith("TimeoutStopSec="))
    assert int(timeout.split("=")[1]) >= 2 * 10 + 35 + 10


def test_logrotate_understands_its_file(tmp_path: Path) -> None:
    logrotate = shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if logrotate is None:
        pytest.skip("no logrotate")
    (log := tmp_path / "ocs.log").write_text("{}\n")
    text = (UNIT.parent / "ocs.logrotate").read_text().replace("/var/log/ocs/", f"{tmp_path}/")
    assert f"{tmp_path}/*.log {{" in text
    (there := tmp_path / "rotate").write_text(text.replace("su ocs ocs", "").replace("delaycompress", ""))
    tmp_path.chmod(0o755)
    run(logrotate, "--force", "--state", tmp_path / "state", there)
    assert log.read_text() == ""
    assert (tmp_path / "ocs.log.1.gz").exists()
