# SPDX-License-Identifier: BSD-3-Clause
"""How a broker logs in at nats-server: an NKEY as `gate keygen --nats` writes it,
credentials (a JWT and its seed), and both when they are not right; tls:// alone.
Skipped where nats-server is not."""
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess

import kit
from joined import Joined, Nats, call, missing

OPENSSL = shutil.which("openssl")
OPERATOR, ACCOUNT, USER = 14 << 3, 0, 20 << 3
DER = bytes.fromhex("302e020100300506032b657004220420")  # a raw key follows


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xffff
    return crc.to_bytes(2, "little")


def base32(data):
    return base64.b32encode(data + crc16(data)).decode().rstrip("=")


def url64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Key:
    """An NKEY by OpenSSL's command, which signs JWTs with it."""

    def __init__(self, where, kind):
        raw = os.urandom(32)
        self.where, self.file = where, os.path.join(where, "key.der")
        with open(self.file, "wb") as f:
            f.write(DER + raw)
        self.der = DER + raw
        public = self.openssl("pkey", "-inform", "DER", "-in", self.file,
                              "-pubout", "-outform", "DER")[-32:]
        self.public = base32(bytes([kind]) + public)
        self.seed = base32(bytes([18 << 3 | kind >> 5, (kind & 31) << 3]) + raw)

    def openssl(self, *args):
        return subprocess.run([OPENSSL, *args], check=True,
                              stdout=subprocess.PIPE).stdout

    def sign(self, text):
        text_file = os.path.join(self.where, "text")
        with open(self.file, "wb") as f:
            f.write(self.der)
        with open(text_file, "wb") as f:
            f.write(text)
        return self.openssl("pkeyutl", "-sign", "-rawin", "-keyform", "DER",
                            "-inkey", self.file, "-in", text_file)

    def jwt(self, subject, name, kind):
        claims = {"iat": 1700000000, "iss": self.public, "name": name,
                  "sub": subject, "nats": dict(kind, version=2)}
        claims["jti"] = base64.b32encode(hashlib.sha256(json.dumps(
            claims).encode()).digest()).decode().rstrip("=")
        text = url64(b'{"typ":"JWT","alg":"ed25519-nkey"}') + "." + url64(
            json.dumps(claims).encode())
        return text + "." + url64(self.sign(text.encode()))


CREDS = """-----BEGIN NATS USER JWT-----
%s
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
%s
------END USER NKEY SEED------
"""
LIMITS = {"subs": -1, "data": -1, "payload": -1}
ACCOUNT_LIMITS = dict(LIMITS, imports=-1, exports=-1, wildcards=True, conn=-1,
                      leaf=-1)


class Login(kit.Case):
    def write(self, name, text, mode=0o600):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def keygen(self, name):
        path = os.path.join(self.dir, name)
        done = kit.run("keygen", "--nats", path)
        self.assertEqual((done.code, done.out), (0, "%s %s_secret\n" % (
            path, path)), done.err)
        with open(path) as f:
            return path, f.read().strip()

    def server(self, conf):
        return self.keep(Nats(args=("-c", self.write("nats.conf", conf))))

    def joined(self, url, **settings):
        a, b = (self.keep(Joined(url, n, **settings)) for n in "AB")
        self.keep(kit.OurService(b.back))
        self.until(lambda: "Demo" in a.services(), 30, "Demo at A")
        self.assertEqual(call(a, "Demo.add", "2", "3").out.strip(), "5")

    def away(self, url, text, **settings):
        broker = self.keep(Joined(url, "R", **settings))
        self.until(lambda: text in "".join(broker.err), 30, text)

    def refused(self, text, *options, **settings):
        done = kit.run("broker", "--frontend", "tcp://127.0.0.1:*",
                       "--backend", "tcp://127.0.0.1:*", "--uplink",
                       "nats://127.0.0.1:%d" % kit.free_port(), *options,
                       **settings)
        self.assertNotEqual(done.code, 0)
        self.assertIn(text, done.err)

    def test_an_nkey(self):
        path, public = self.keygen("broker")
        self.assertEqual(os.stat(path + "_secret").st_mode & 0o777, 0o600)
        self.assertRegex(public, "^U[A-Z2-7]{55}$")
        raw = base64.b32decode(public)
        self.assertEqual(crc16(raw[:-2]), raw[-2:])
        nats = self.server("""accounts { GATE: { users: [ { nkey: %s,
            permissions: { publish: ["gate.default.>"],
            subscribe: ["gate.default.all", "gate.default.n.*"] } } ] } }
            """ % public)
        self.joined(nats.url, uplink_nkey=path + "_secret")
        other, _ = self.keygen("other")
        self.away(nats.url, "Authorization Violation",
                  uplink_nkey=other + "_secret")

    def test_keys_are_not_written_over(self):
        path, public = self.keygen("once")
        done = kit.run("keygen", "--nats", path)
        self.assertEqual(done.code, 1)
        self.assertIn("exists already", done.err)
        with open(path) as f:
            self.assertEqual(f.read().strip(), public)
        self.assertNotEqual(kit.run("keygen", "--nats", "--name", "x",
                                    path + "2").code, 0)
        done = kit.run("keygen", "--nats", os.path.join(path, "no"))
        self.assertIn("cannot be written", done.err)

    def test_an_nkey_that_is_none(self):
        path, public = self.keygen("key")
        with open(path + "_secret") as f:
            seed = f.readline()
        for text in ("", seed, public, "hello\n", seed + "U123\n"):
            self.refused("its public key (U...)",
                         uplink_nkey=self.write("bad", text))
        os.chmod(path + "_secret", 0o644)
        self.refused("key_secret", uplink_nkey=path + "_secret")
        self.refused("none", uplink_nkey=os.path.join(self.dir, "none"))

    def test_one_login_alone(self):
        path, _ = self.keygen("key")
        both = {"uplink_nkey": path + "_secret", "uplink_user": "joe"}
        self.refused("one of them", **both)
        self.refused("goes with uplink_user",
                     uplink_password_file=self.write("pw", "x\n"))

    def test_credentials(self):
        if OPENSSL is None:
            self.skipTest("no openssl to sign with")
        operator, account, user = (Key(self.dir, kind) for kind in
                                   (OPERATOR, ACCOUNT, USER))
        conf = "operator: %s\nresolver: MEMORY\nresolver_preload: {%s: %s}\n" % (
            self.write("op.jwt", operator.jwt(operator.public, "O",
                                              {"type": "operator"})),
            account.public, operator.jwt(account.public, "GATE", {
                "type": "account", "limits": ACCOUNT_LIMITS}))
        nats = self.server(conf)
        jwt = account.jwt(user.public, "broker", dict(LIMITS, type="user"))
        creds = self.write("creds", CREDS % (jwt, user.seed))
        self.joined(nats.url, uplink_creds=creds)
        stranger = Key(self.dir, USER)
        self.away(nats.url, "Authorization Violation",
                  uplink_creds=self.write("forged", CREDS % (
                      jwt, stranger.seed)))
        self.refused("nowhere", uplink_creds=os.path.join(self.dir, "nowhere"))

    def test_tls_is_never_left_out(self):
        nats = self.keep(Nats())
        self.away(nats.url.replace("nats:", "tls:"),
                  "Secure Connection not available")

    def test_files_that_are_not_there(self):
        for name in ("uplink_ca", "uplink_cert"):
            more = {"uplink_key": self.write("k", "")} if "cert" in name else {}
            self.refused(name, **more, **{name: os.path.join(self.dir, "no")})

    def test_a_warning_without_tls(self):
        for url, warned in (("nats://127.0.0.1:1", False),
                            ("nats://localhost:1,nats://[::1]:1", False),
                            ("nats://127.0.0.1:1,nats://10.255.255.1:1", True),
                            ("tls://10.255.255.1:1", False)):
            broker = self.keep(Joined(url, "W"))
            self.until(lambda: "no NATS server" in "".join(broker.err), 30,
                       "a try")
            self.assertEqual(bool(re.search("without TLS", "".join(
                broker.err))), warned, broker.err)

    def test_addresses_that_are_none(self):
        for url in ("garbage", "http://h:1", "nats://", "nats://:4222",
                    "nats://h:99999", "nats://h:abc", "nats://h:0", "nats://h:",
                    "nats:// h", "nats://h:1/path", "nats://[::1:4222",
                    "nats://a:1,b", "nats://h\x1b:1"):
            done = kit.run("broker", "--frontend", "tcp://127.0.0.1:*",
                           "--backend", "tcp://127.0.0.1:*", "--uplink", url)
            self.assertEqual(done.code, 2, url)
            self.assertIn("is no address of a NATS server", done.err)
            self.assertNotIn("\x1b", done.err)
        for url, text in ((" , ", "no NATS server in it"),
                          (",".join(["nats://h:1"] * 17), "at most 16")):
            done = kit.run("broker", "--frontend", "tcp://127.0.0.1:*",
                           "--backend", "tcp://127.0.0.1:*", "--uplink", url)
            self.assertEqual(done.code, 2, url)
            self.assertIn(text, done.err)


if __name__ == "__main__":
    reason = missing()
    if reason:
        print("skipped: " + reason)
        raise SystemExit(77)
    kit.main()
