"""The configuration: what is wrong stops the start and says where; secrets stay secret."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from msgspec.structs import replace

from ocs.charging.services import QUOTAS
from ocs.cli.effects import unsafe, without_effect
from ocs.config.charging import Quotas
from ocs.config.host import cores, workers_for
from ocs.config.load import ConfigError, load
from ocs.config.table import OFF, ConfigTable
from ocs.config.tree import Config
from ocs.config.values import Listen, Secret
from ocs.net.radius.clients import NasClients

EXAMPLE = Path(__file__).parents[2] / "deploy" / "ocs.toml"


def from_file(text: str, path: Path, **more: Any) -> Config:
    file = path / "my.toml"
    file.write_text(text)
    return load(file, environ={}, **more)


CLUSTER_URL = "redis+cluster://ocs:p%40ss@10.0.0.1:7000,[::1]:7001,h"


def test_defaults_are_those_of_the_contract() -> None:
    found = load(environ={})
    assert (found.diameter.listen.host, found.diameter.listen.port) == ("127.0.0.1", 3868)
    assert (found.http.listen, found.metrics.listen) == ("127.0.0.1:8080", "127.0.0.1:9464")
    assert (found.radius.auth_listen, found.radius.acct_listen) == ("127.0.0.1:1812", "127.0.0.1:1813")
    assert not found.diameter.tls_listen
    assert (found.diameter.origin_host, found.diameter.origin_realm) == ("ocs.example.net", "example.net")
    assert (found.durability, found.open_without_postgres, found.charging.validity_s) == ("always", False, 600)
    assert found.data == Path("ocs-data")
    assert found.redis.embedded
    assert found.postgres.embedded
    assert not found.diameter.admit_loopback


def test_a_quota_of_the_file_is_of_all_services_that_say_none(tmp_path: Path) -> None:
    text = "[charging.quota]\nseconds = { minimum = 5 }\n[charging.services.voice]\nseconds = { default = 300 }\n"
    rows = from_file(text, tmp_path).charging.table().by_name
    assert (rows["data"].seconds.minimum, rows["data"].seconds.default, rows["voice"].seconds.minimum) == (5, 300, 30)


def test_demo_admits_this_machine_unless_told_otherwise() -> None:
    assert load(environ={}, demo=True).diameter.admit_loopback
    assert not load(environ={}, demo=True, overrides=["diameter.admit_loopback=false"]).diameter.admit_loopback


def test_the_later_wins(tmp_path: Path) -> None:
    text = 'workers = 2\n[http]\nlisten = "127.0.0.1:1"\n[diameter]\nwatchdog_s = 7\n'
    (tmp_path / "my.toml").write_text(text)
    environ = {"OCS_HTTP__LISTEN": "127.0.0.1:2", "OCS_WORKERS": "3", "HOME": "/"}
    found = load(tmp_path / "my.toml", ["workers=4"], environ)
    assert (found.workers, found.http.listen.port, found.diameter.watchdog_s) == (4, 2, 7)


def test_a_core_is_left_to_the_live_store_and_there_are_two_workers_at_least() -> None:
    assert [workers_for(cores) for cores in (1, 2, 3, 4, 16, 1_000)] == [2, 2, 2, 3, 15, 256]
    assert load(environ={}).workers == workers_for(cores())


def test_values_from_the_command_line_have_the_type_of_their_key() -> None:
    found = load(
        environ={},
        overrides=[
            "diameter.origin_host=12.34",
            "http.listen=[::1]:0",
            "metrics.listen=off",
            "charging.validity_jitter=0.25",
            'diameter.peers=[{origin_host="pgw", addresses=["10.0.0.0/8"], profile={reuses_numbers=true}}]',
            "charging.quota.octets.default=2000000",
            'charging.services.data.final={action="redirect", address="http://x"}',
        ],
    )
    assert found.diameter.origin_host == "12.34"
    assert (found.http.listen.host, found.http.listen.port) == ("::1", 0)
    assert found.metrics.listen == OFF
    assert found.diameter.peers[0].profile.reuses_numbers
    assert found.charging.table().by_name["data"].octets.default == 2_000_000
    assert found.charging.table().by_name["data"].final.address == "http://x"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("workers=0", "--set workers: workers: expected int >= 1, found 0"),
        ("workers=many", "--set workers: workers: expected int, got str, found 'many'"),
        ("workerz=1", "--set workerz: workerz: no such key"),
        ("http.listens=1", "--set http.listens: http.listens: no such key"),
        ("workers", "--set workers: expected key=value"),
        ("=2", "--set =2: expected key=value"),
        ("transfers.limit=ten", '--set transfers.limit: transfers.limit: expected an amount such as "100.00", found'),
        ('vouchers.keys=["abc"]', "--set vouchers.keys: vouchers.keys[0]: expected 32 octets in hex or base64"),
        ("http=5", "--set http: http: expected object, got int, found 5"),
        ("http.listen=localhost", "http.listen: expected host:port with a port from 0 to 65535, or off"),
        ("http.listen=:80", "http.listen: expected host:port"),
        ("http.listen=a:65536", "http.listen: expected host:port"),
        ("diameter.watchdog_s=5", "diameter.watchdog_s: expected int >= 6, found 5"),
        ("diameter.origin_host=a b", "diameter.origin_host: expected a name without blanks"),
        ("radius.radsec_listen=0.0.0.0:2083", "radius: expected tls_cert, tls_key and tls_ca beside radsec_listen"),
        ('radius.clients=[{address="10.0.0.1"}]', "radius.clients[0]: expected secret, or tls_subject, to be given"),
        ("diameter.tls_listen=0.0.0.0:5658", "diameter: expected tls_cert, tls_key and tls_ca beside tls_listen"),
        ('diameter.peers=[{origin_hos="a"}]', "diameter.peers[0].origin_hos: no such key"),
        ("diameter.peers=[{}]", "diameter.peers[0]: expected origin_host to be given"),
        ('diameter.peers=[{origin_host="a"},{origin_host="a"}]', "diameter: expected each origin_host in peers[] once"),
        ('diameter.peers=[{origin_host="a",addresses=["x"]}]', "diameter.peers[0]: expected an IP address or network"),
        (
            'diameter.peers=[{origin_host="a",profile={ignore_vendors=["acme"]}}]',
            "peers[0].profile: expected ignore_vendors to be numbers or names of cisco, nokia, ericsson,",
        ),
        ('diameter.peers=[{origin_host="a",profile={ignore_vendors=[0]}}]', "profile.ignore_vendors[0]: expected int"),
        (
            "http.listen=127.0.0.1:9464",
            "metrics.listen: expected an address of its own, but 127.0.0.1:9464 is http.listen",
        ),
        ("log.level=loud", "log.level: expected one of debug, info, warning, error, found 'loud'"),
        ("charging.quota.octets.minimum=99999999", "charging.quota.octets: expected minimum <= default <= maximum"),
        ("charging.services.data.validity=1", ": charging.services.data.validity: no such key"),
        ("charging.services.data.unit=parsec", ": charging.services.data.unit: expected one of money, octets,"),
        (
            "charging.services.data.on_suspend=explode",
            "data.on_suspend: expected one of reauthorize,",
        ),
        ('charging.services.tv={contexts=["a@b"]}', ": charging.services.tv: expected unit to be given"),
        ('diameter.peers=[{origin_host="a.b"},{origin_host="A.B"}]', "diameter: expected each origin_host in peers[]"),
        ("charging.identity_order=['fax']", "charging.identity_order[0]: expected one of msisdn, imsi,"),
        (
            'radius.home={servers=[{address="home.example.net:1812",secret="x"}]}',
            "radius.home.servers[0]: expected address as numbers, not 'home.example.net'",
        ),
        (
            'radius.clients=[{address="::1",secret="x",message_authenticator="no"}]',
            "expected one of learn, require, check",
        ),
        ("redis.url=http://x", "redis: expected url as one of redis://, rediss://, unix://"),
        ("redis.url=redis://a,b", "of several plain servers nobody says which one is the primary"),
        ("redis.url=redis://a,b", "redis+sentinel://"),
        ("events.redis.url=redis+sentinel://a", "events.redis: expected url with the service that the Sentinels watch"),
        ("events.redis.url=http://a", "events.redis: expected url as one of redis://"),
        ("redis.replicas_on_disk=true", "redis.replicas_on_disk: expected durability = replicated"),
        ("redis.url=redis+sentinel://a,b", "redis: expected url with the service that the Sentinels watch"),
        ("durability=replicated", "durability: expected always or everysec: the embedded Valkey has no replicas"),
        ("redis.url=redis+cluster://h/1", "redis: expected url without a database: a cluster has only 0"),
        ("redis.url=redis+cluster://", "redis: expected url with a host"),
        ("redis.url=redis+cluster://h1,,h2", "redis: expected url with a host"),
        ("redis.url=redis+cluster://u@h1", "redis: expected url with a password for its user"),
        ("redis.url=redis+cluster://h1?ssl_ca_certs=/x", "redis: expected url with nothing behind its path"),
        ("redis.url=rediss+cluster://h1?ssl_ca_certs=/nowhere", "redis: expected url with certificates that can be"),
        ("postgres.dsn=mysql://x", "postgres: expected dsn as postgresql://"),
        ("postgres.dsn=env:NOT_SET", "postgres.dsn: expected an environment variable after env:, but NOT_SET is not"),
        ("postgres.dsn=file:/nowhere", "postgres.dsn: expected a readable file after file:"),
        ("redis.url=redis://:6379/0", "redis: expected url with a host"),
        ("redis.url=redis://:@h/0", "redis: expected url with the password"),
        ("redis.url=unix://", "redis: expected url with the path of its socket"),
        ("postgres.dsn=postgresql://ocs@/ocs", "postgres: expected dsn with a host"),
        ("postgres.dsn=postgresql://ocs@db1,,db3/ocs", "postgres: expected dsn with a host between its commas"),
        ("postgres.dsn=postgresql:///ocs?host=a,b&port=1,2,3", "postgres: expected 2 hosts and 3 ports"),
        ("redis.url=redis://h/0?db=3", "redis: expected url with nothing behind its path, not 'db'"),
        ("redis.url=unix:///run/valkey.sock?db=2", "redis: expected url with nothing behind its path, not 'db'"),
        ("redis.url=redis://h/ocs", "redis: expected url with the number of a database, not 'ocs'"),
        ('diameter.peers=[{origin_host="a"},{origin_host="A"}]', "diameter: expected each origin_host in peers[] once"),
        (
            'diameter.peers=[{origin_host="a",addresses=["10.20.30.40/8"]}]',
            "expected 10.20.30.40 alone or the network 10.0.0.0/8, not '10.20.30.40/8'",
        ),
        (
            'diameter.peers=[{origin_host="a",connect_tls=true}]',
            "diameter.peers[0]: expected connect beside connect_tls",
        ),
        ("workers=2\ndemo=true", "workers: expected int, got str, found '2\\ndemo=true'"),
    ],
)
def test_what_is_wrong_is_named(override: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(environ={}, overrides=[override])
    assert says in str(refused.value)


def test_a_fault_in_the_file_names_the_file(tmp_path: Path) -> None:
    for text, says in (
        ("[diameter]\nwatchdog_s = 1", "my.toml: diameter.watchdog_s: expected int >= 6, found 1"),
        ("[diamter]", "my.toml: diamter: no such key"),
        ("[webhooks]\ntls_ca = 5", "my.toml: webhooks.tls_ca: expected a text in quotes, got a number, found 5"),
        ("workers = ", "my.toml: not TOML"),
    ):
        with pytest.raises(ConfigError, match=re.escape(says)):
            from_file(text, tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "nowhere.toml", environ={})
    with pytest.raises(ConfigError, match=re.escape("environment OCS_HTTP__LISTENS: http.listens: no such key")):
        load(environ={"OCS_HTTP__LISTENS": "x"})


def test_secrets_are_followed_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("redis://:swordfish@h/0\n")
    monkeypatch.setenv("MY_DSN", "postgresql://u:swordfish@h/x")
    found = load(environ={}, overrides=[f"redis.url=file:{tmp_path / 'secret'}", "postgres.dsn=env:MY_DSN"])
    assert found.redis.url.reveal() == "redis://:swordfish@h/0"
    assert found.postgres.dsn.reveal() == "postgresql://u:swordfish@h/x"
    assert "swordfish" not in f"{found} {found.redis.url} {found.postgres!r}"
    with pytest.raises(ConfigError) as refused:
        load(environ={}, overrides=["redis.url=http://:swordfish@h"])
    assert "swordfish" not in str(refused.value)
    client = 'radius.clients=[{address="10.0.0.1",secret=5}]'
    with pytest.raises(ConfigError, match="secret: expected text, not int"):
        load(environ={}, overrides=[client])


def test_it_travels_to_other_processes() -> None:
    found = load(environ={}, overrides=["redis.url=redis://h", "http.listen=127.0.0.1:0"], demo=True)
    assert pickle.loads(pickle.dumps(found)) == found


def test_listen() -> None:
    assert (Listen("a:1").host, Listen("a:1").port, bool(Listen("a:1")), bool(OFF)) == ("a", 1, True, False)
    assert Secret("x") == Secret("x")
    assert Secret("x") != Secret("y")


def leaves(kind: Any, prefix: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(kind).items():
        parts = [one for one in (hint, *get_args(hint)) if isinstance(one, type) and issubclass(one, ConfigTable)]
        if parts and name != "profile":
            yield from leaves(parts[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_the_example_has_every_key_with_its_default(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    commented = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    found = from_file(commented, tmp_path, overrides=["workers=1"])
    plain = load(environ={}, overrides=["workers=1"])
    said, found = found.charging.quota.said(), replace(found, charging=replace(found.charging, quota=Quotas()))
    assert (found, said) == (plain, QUOTAS)
    assert load(EXAMPLE, ["workers=1"], environ={}) == found
    everything = re.sub(r"^## ?(\[|\w+ = )", r"\1", commented, flags=re.MULTILINE)
    everything = re.sub("file:/run/secrets/(nas|home)", "secret", everything)
    everything = everything.replace("file:/run/secrets/ocs-admin", "a" * 32)
    with_examples = from_file(everything, tmp_path)
    assert [peer.origin_host for peer in with_examples.diameter.peers] == ["pgw1.example.net"]
    assert "tv" in with_examples.charging.table().by_name
    missing = [key for key in leaves(Config) if not re.search(rf"\b{key.rpartition('.')[2]} = ", text)]
    assert missing == ["radius.profiles", "radius.inputs", "charging.services"], "tables that the operator names"


@pytest.mark.parametrize("key", ["redis.url", "postgres.dsn"])
def test_an_empty_secret_is_an_error_and_never_an_embedded_store(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").write_text(" \n")
    monkeypatch.setenv("E", "")
    monkeypatch.setenv("BLANK", " ")
    monkeypatch.delenv("UNSET", raising=False)
    name = f"OCS_{key.upper().replace('.', '__')}"
    for value, says in (
        ("env:E", "E is empty"),
        ("env:BLANK", "BLANK is empty"),
        ("env:UNSET", "UNSET is not set"),
        ("env:", "is not set"),
        (f"file:{tmp_path / 'empty'}", "is empty"),
        ("", "leave the key out"),
    ):
        for given in ({"overrides": [f"{key}={value}"]}, {"environ": {name: value}}):
            with pytest.raises(ConfigError, match=rf"{re.escape(key)}: expected .*{says}"):
                load(**{"environ": {}, **given})  # type: ignore[arg-type]
        table, _, last = key.partition(".")
        with pytest.raises(ConfigError, match=rf"my.toml: {re.escape(key)}: expected .*{says}"):
            from_file(f'[{table}]\n{last} = "{value}"\n', tmp_path)
    assert load(environ={}, overrides=[f"{key}=embedded"]) == load(environ={})


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("data=", "data"),
        ("http.listen=", "http.listen"),
        ("log.level=", "log.level"),
        ("diameter.tls_ca= ", "diameter.tls_ca"),
        ('diameter.peers=[{origin_host="a", tls_subject=""}]', "diameter.peers[0].tls_subject"),
        ('diameter.peers=[{origin_host="a", addresses=[""]}]', "diameter.peers[0].addresses[0]"),
        ('radius.clients=[{address="::1", secret=""}]', "radius.clients[0].secret"),
        ('charging.services.data.final={action="redirect", address=""}', "charging.services.data.final.address"),
    ],
)
def test_an_empty_text_is_never_a_default(override: str, key: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f": {key}: expected a value, but it is empty")):
        load(environ={}, overrides=[override])


def test_what_has_no_effect_is_told() -> None:
    def told(*overrides: str) -> list[str]:
        return [text.partition(":")[0] for text in without_effect(load(environ={}, overrides=overrides))]

    assert told() == told("redis.memory_bytes_max=100000000", "radius.auth_listen=127.0.0.1:1812") == []
    assert told('radius.clients=[{address="10.0.0.0/8",secret="x"}]') == []
    assert told("radius.auth_listen=127.0.0.1:0") == ["radius"]
    assert told("redis.url=redis://h", "redis.memory_bytes_max=100000000") == ["redis.memory_bytes_max"]
    assert told("diameter.tls_cert=a", "diameter.tls_key=b") == ["diameter.tls_cert, tls_key"]
    tls = [f"diameter.tls_{name}=x" for name in ("cert", "key", "ca")]
    assert told("diameter.tls_listen=127.0.0.1:0", *tls) == []


def test_addresses_of_stores_as_people_write_them() -> None:
    for url in ("redis://h", "rediss://u:p@h:1/2", "unix:///run/valkey.sock", "redis://[::1]:6379/0", CLUSTER_URL):
        assert load(environ={}, overrides=[f"redis.url={url}"]).redis.url.reveal() == url
    for dsn in ("postgresql://h/x", "postgres://u:p@h:1/x", "postgresql://u@/x?host=%2Frun%2Fpg&port=5432"):
        assert load(environ={}, overrides=[f"postgres.dsn={dsn}"]).postgres.dsn.reveal() == dsn


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        pytest.param('radius.profiles={own={speed=["Nobody = 1"]}}', "profiles.own.speed: .*no attribute", id="line"),
        pytest.param(
            'radius.inputs={pool="Nobody"}', "radius.inputs: .*for pool, but none has the name Nobody", id="input"
        ),
        pytest.param(
            'radius.clients=[{address="10.0.0.1", secret="x", profile="mikrotic"}]',
            r"clients\[0\].profile as one of .*mikrotik.*, not 'mikrotic'",
            id="profile",
        ),
    ],
)
def test_a_vendor_profile_that_cannot_be_used_is_refused_at_the_start(setting: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(overrides=[setting], environ={})


def test_what_no_nas_could_be_told_of_a_subscriber_is_refused_at_the_start() -> None:
    row = 'charging.services={data={subscriber_defaults={framed_ip_netmask="24"}}}'
    client = 'radius.clients=[{address="10.0.0.1", secret="x"}]'
    said = r"charging\.services\.data\.subscriber_defaults\.framed_ip_netmask: .*Framed-IP-Netmask"
    with pytest.raises(ConfigError, match=said):
        load(overrides=[row, client], environ={})
    load(overrides=[row], environ={})


def test_a_client_may_have_a_profile_of_the_operators_own() -> None:
    own = 'radius.profiles={bras={based_on="mikrotik"}}'
    client = 'radius.clients=[{address="10.0.0.1", secret="x", profile="bras", coa="10.0.0.2:1700"}]'
    config = load(overrides=[own, client], environ={})
    assert (config.radius.clients[0].coa.host, config.radius.clients[0].coa.port) == ("10.0.0.2", 1700)


def test_clients_whose_answers_may_be_forged_are_told_of() -> None:
    def told(**policies: str) -> list[str]:
        said = "".join(f',{key}="{policy}"' for key, policy in policies.items())
        config = load(environ={}, overrides=[f'radius.clients=[{{address="10.0.0.1",secret="x"{said}}}]'])
        return [text.partition(" takes")[0] for text in unsafe(config)]

    assert told() == told(message_authenticator="require") == []
    assert told(message_authenticator="check") == ['radius.clients[0] (10.0.0.1): message_authenticator = "check"']
    assert told(limit_proxy_state="check") == ['radius.clients[0] (10.0.0.1): limit_proxy_state = "check"']


ACME = """VENDOR Acme 99999
BEGIN-VENDOR Acme
ATTRIBUTE Acme-Rate-Down 1 integer
ATTRIBUTE Acme-Plan 2 integer
VALUE Acme-Plan Gold 7
END-VENDOR Acme
"""


def test_profiles_may_name_attributes_of_dictionary_files(tmp_path: Path) -> None:
    (tmp_path / "dictionary.acme").write_text(ACME)
    lines = "speed = ['Acme-Rate-Down = {down_kbps}', 'Acme-Plan = Gold']"
    text = f"""[radius]
dictionaries = ["{tmp_path}/dictionary.acme"]
clients = [{{address = "10.0.0.1", secret = "x", profile = "acme"}}]
[radius.profiles.acme]
{lines}
"""
    client = NasClients(from_file(text, tmp_path).radius).of("10.0.0.1")
    assert client is not None
    vsa = (99999).to_bytes(4)
    rate, plan = (b"\x1a\x0c" + vsa + bytes((kind, 6)) + number.to_bytes(4) for kind, number in ((1, 2_000), (2, 7)))
    assert client.vendor.sends("speed", {"down_kbps": 2_000}) == rate + plan


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "radius: expected dictionaries that can be read, but "),
        ("ATTRIBUTE Acme-Rate 1 nonsense\n", "dictionary.acme:1"),
    ],
    ids=["no-file", "no-type"],
)
def test_a_dictionary_file_that_is_wrong_is_named(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "dictionary.acme"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(says)) as refused:
        load(environ={}, overrides=[f'radius.dictionaries=["{file}"]'])
    assert "dictionary.acme" in str(refused.value)


def test_roles_are_chosen_for_a_host() -> None:
    stores = ("redis.url=redis://h/0", "postgres.dsn=postgresql://h/ocs")
    assert load(None, (), {}).host.roles == ("worker", "api", "keeper")
    assert load(None, stores, {}, roles="worker, api").host.roles == ("worker", "api")
    assert load(None, stores, {"OCS_HOST__ROLES": '["keeper"]'}).host.roles == ("keeper",)


@pytest.mark.parametrize(
    ("roles", "why"),
    [
        ("worker,api", "without keeper nobody opens embedded stores"),
        ("worker,keper", "host.roles"),
        ("keeper,keeper", "each once"),
        ("", "host.roles"),
    ],
)
def test_roles_that_cannot_be_are_refused(roles: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load(None, (), {}, roles=roles)
