"""FreeRADIUS as a home server that speaks EAP, and a supplicant that logs in there by way of us."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.ocs.net.test_third_party_clients import certify
from tests.ocs.running import RunningServer
from tests.protocol.radius.freeradius import SERVER, FreeRadius

EAPOL_TEST: Final = shutil.which("eapol_test")
MISSING: Final = EAPOL_TEST is None or SERVER is None or shutil.which("openssl") is None
WHY: Final = "FreeRADIUS, eapol_test or openssl is not installed"

USERS: Final = """
491700000001    Cleartext-Password := "demo"
                Session-Timeout = 1200,
                Termination-Action = RADIUS-Request,
                Class = 0x686f6d65,
                Acct-Interim-Interval = 10,
                Mikrotik-Rate-Limit = "1M/1M",
                Tunnel-Type:1 = VLAN,
                Tunnel-Password:1 = "sesame"
491700000002    Cleartext-Password := "demo"
stranger        Cleartext-Password := "demo"
"""
CONFIGURATION: Final = """
confdir = {home}
run_dir = {home}
db_dir = {home}
logdir = {home}
libdir = {libraries}
hostname_lookups = no
security {{
    status_server = yes
    max_attributes = 200
}}
modules {{
    always reject {{
        rcode = reject
    }}
    pap {{
    }}
    mschap {{
        use_mppe = yes
    }}
    files {{
        filename = {home}/users
    }}
    eap {{
        default_eap_type = md5
        md5 {{
        }}
        tls-config tls-common {{
            private_key_file = {certificates}/home-key.pem
            certificate_file = {certificates}/home-cert.pem
            ca_file = {certificates}/home-cert.pem
            tls_min_version = "1.2"
            tls_max_version = "1.2"
            cipher_list = "DEFAULT"
            ecdh_curve = ""
        }}
        ttls {{
            tls = tls-common
            default_eap_type = md5
            virtual_server = inner
        }}
        peap {{
            tls = tls-common
            default_eap_type = mschapv2
            virtual_server = inner
        }}
        mschapv2 {{
        }}
    }}
}}
client here {{
    ipaddr = 127.0.0.1
    secret = {secret}
    require_message_authenticator = yes
}}
server inner {{
    authorize {{
        mschap
        eap {{
            ok = return
        }}
        files
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
        Auth-Type MS-CHAP {{
            mschap
        }}
        eap
    }}
    post-auth {{
        update outer.session-state {{
            &User-Name := &request:User-Name
        }}
        update {{
            &outer.session-state: += &reply:
        }}
        update outer.session-state {{
            &EAP-Message !* ANY
            &Message-Authenticator !* ANY
            &MS-MPPE-Encryption-Policy !* ANY
            &MS-MPPE-Encryption-Types !* ANY
            &MS-MPPE-Send-Key !* ANY
            &MS-MPPE-Recv-Key !* ANY
        }}
    }}
}}
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {auth}
    }}
    authorize {{
        files
        eap
    }}
    authenticate {{
        eap
    }}
    post-auth {{
        update reply {{
            &User-Name !* ANY
            &reply: += &session-state:
        }}
    }}
}}
"""
METHODS: Final = {
    "md5": "eap=MD5",
    "ttls-pap": 'eap=TTLS phase2="auth=PAP"',
    "peap-mschapv2": 'eap=PEAP phase2="auth=MSCHAPV2"',
}
MAC: Final = "02:00:00:00:00:01"


def home_server(folder: Path) -> FreeRadius:
    """Its users are those of the demo, and a stranger."""
    folder.mkdir()
    certify(folder, "home.example.net", "home-")
    return FreeRadius(folder, CONFIGURATION, USERS, certificates=folder)


def supplicant(
    server: RunningServer, folder: Path, method: str, user: str, password: str = "demo", mac: str = MAC
) -> str:
    """What eapol_test has to say about a login."""
    assert EAPOL_TEST is not None
    outer = "" if method == "md5" else ' anonymous_identity="anonymous@example.net"'
    lines = ["network={", " key_mgmt=IEEE8021X", *(f" {line}" for line in METHODS[method].split(" ", 1))]
    lines += [f' identity="{user}"', f' password="{password}"', outer, " eapol_flags=0", "}"]
    settings = folder / "eapol.conf"
    settings.write_text("\n".join(lines))
    host, port = server.address("radius_auth")
    command = [EAPOL_TEST, "-c", str(settings), "-a", host, "-p", str(port), "-s", "testing123", "-t", "25", "-M", mac]
    command += ["-N", "32:s:wifi1", "-N", "5:d:7"] + (["-n"] if method == "md5" else [])
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return done.stdout + done.stderr
