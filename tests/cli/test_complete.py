# SPDX-License-Identifier: BSD-3-Clause
"""What gate --complete offers, and that bash, zsh and fish (where they are) put it
into the line: verbs, options, files, contexts, services and methods."""
import os
import re
import shutil
import subprocess

from cli import CALM, Session, kit

SCRIPTS = os.path.join(kit.ROOT, "share", "completion")
PATIENT = {"gate_complete_ms": 60000, **CALM}


class Complete(Session):
    def setUp(self):
        super().setUp()
        self.home = os.path.join(self.dir, "config")

    def offered(self, *words, **settings):
        """Candidate -> what it is."""
        done = kit.run("--complete", *words, **{
            "xdg_config_home": self.home, **PATIENT, **settings})
        self.assertEqual((done.code, done.err), (0, ""), words)
        return dict(line.split("\t") if "\t" in line else (line, None)
                    for line in done.out.splitlines())

    def at(self, *words, **settings):
        return self.offered(*words, gate_broker=self.broker.front, **settings)

    def test_verbs(self):
        everything = self.offered("")
        for line in kit.run("--help").out.splitlines():
            if re.match(r"  \w+ ", line):
                verb, brief = line.split(None, 1)
                self.assertEqual(everything.pop(verb), brief)
        self.assertEqual(list(everything), ["help"])
        self.assertEqual(list(self.offered("ser")), ["serve", "services"])
        self.assertEqual(set(self.offered("-")), {"--help", "--version"})
        self.assertEqual(list(self.offered("help", "ca")), ["call"])
        self.assertEqual(self.offered("nothing", ""), {})
        self.assertEqual(self.offered("help", "call", ""), {})

    def test_options_are_the_verbs_own(self):
        for verb in ("call", "broker", "zap", "dev"):
            lines = [x.split() for x in kit.run(verb, "--help").out.splitlines()
                     if x.startswith("  --")]
            self.assertEqual({x[0] for x in lines} | {"--help"},
                             set(self.offered(verb, "--")))
        self.assertEqual(list(self.offered("call", "--time")), ["--timeout"])
        self.assertEqual(self.offered("call", "--config", ""), {":files": None})
        self.assertEqual(self.offered("serve", "--demo", ""), {":files": None})
        self.assertEqual(self.offered("call", "--timeout", ""), {})

    def test_services_and_methods(self):
        self.assertEqual(list(self.at("call", "")), ["Demo.", "Gate."])
        methods = self.at("call", "--timeout", "1", "Demo.")
        self.assertEqual(methods["Demo.add"], "a + b, integers or floats")
        self.assertIn("Demo.fib", methods)
        self.assertEqual(list(self.at("call", "Demo.gen_")), ["Demo.gen_boom"])
        self.assertEqual(self.at("call", "Demo.add", ""), {})
        self.assertEqual(list(self.at("inspect", "D")), ["Demo"])
        self.assertEqual(list(self.offered(
            "drain", "--broker", self.broker.front, "")), ["Demo", "Gate"])
        self.assertEqual(list(self.offered(
            "call", "--broker=" + self.broker.front, "De")), ["Demo."])
        self.assertEqual(self.at("call", "Nobody."), {})

    def test_nobody_is_silence(self):
        ms = {"gate_complete_ms": 100}
        self.assertEqual(self.offered("call", "", gate_broker=self.ipc("no"), **ms), {})
        self.assertEqual(self.offered("call", "", gate_broker="nowhere", **ms), {})
        self.assertEqual(self.offered("call", "--context", "none", "", **ms), {})
        self.assertEqual(self.offered(
            "call", "--broker", self.broker.front, "--user", "ann", ""), {})

    def test_contexts(self):
        kit.run("context", "add", "near", "--broker", self.broker.front,
                xdg_config_home=self.home)
        self.assertEqual(list(self.offered("context", "")),
                         ["add", "list", "remove", "use"])
        self.assertEqual(list(self.offered("context", "use", "")), ["near"])
        self.assertEqual(self.offered("context", "list", ""), {})
        self.assertEqual(list(self.offered("call", "--context", "n")), ["near"])
        self.assertEqual(list(self.offered("call", "D")), ["Demo."])

    def shell(self, *words):
        return subprocess.run(words, env=self.environment(), cwd=self.dir, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT,
                              timeout=120 * kit.SLOW).stdout

    def bash(self, line):
        return self.shell("bash", "-c", """
            source "$1"; COMP_LINE=$2; COMP_POINT=${#2}
            _gate; printf '%s\\n' "${COMPREPLY[@]}" """, "-",
                          os.path.join(SCRIPTS, "gate.bash"), line).split()

    def test_bash(self):
        self.assertEqual(self.bash("gate insp"), ["inspect"])
        self.assertEqual(self.bash("gate call De"), ["Demo."])
        self.assertEqual(self.bash("gate call Demo.ec"), ["Demo.echo"])
        self.assertEqual(self.bash("gate services "), [])
        for name in ("one file", "other"):
            open(os.path.join(self.dir, name), "w").close()
        self.assertEqual(self.bash("gate serve ot"), ["other"])
        self.assertEqual(self.bash("gate call $(touch x) D"), [])
        self.assertFalse(os.path.exists(os.path.join(self.dir, "x")))

    def test_fish(self):
        if not shutil.which("fish"):
            self.skipTest("no fish")
        for line, wanted in (("gate insp", ["inspect"]), ("gate call De", ["Demo."]),
                             ("gate call Demo.ec", ["Demo.echo"]),
                             ("gate inspect ", ["Demo", "Gate"])):
            out = self.shell("fish", "--no-config", "-c",
                             "source '%s/gate.fish'; complete -C '%s'" % (SCRIPTS, line))
            self.assertEqual([x.split("\t")[0] for x in out.splitlines()], wanted, out)

    def environment(self):
        env = kit.environment(**PATIENT, gate_broker=self.broker.front)
        # fish makes what is named here, of root's even /nonexistent
        return dict(env, HOME=self.dir, XDG_CONFIG_HOME=self.dir,
                    XDG_DATA_HOME=self.dir, TERM="dumb", PATH=os.path.dirname(
            os.path.abspath(kit.GATE)) + ":" + env["PATH"])

    def zsh(self, *words):
        """What the completion function hands to zsh's own."""
        return self.shell("zsh", "-f", "-c", """
            compadd() { print -rl -- ${(P)@[-1]} }
            _describe() { print -rl -- ${${(P)2}%%:*} }
            _files() { print -- files }
            script=$1; shift
            words=("$@") CURRENT=$# PREFIX=${@[-1]}
            autoload -Uz $script && ${script:t}
            """, "-", os.path.join(SCRIPTS, "_gate"), *words).split()

    def test_zsh(self):
        if not shutil.which("zsh"):
            self.skipTest("no zsh")
        for line, wanted in (("gate insp", ["inspect"]), ("gate call De", ["Demo."]),
                             ("gate call Demo.ech", ["Demo.echo"]),
                             ("gate serve x", ["files"])):
            self.assertEqual(self.zsh(*line.split()), wanted)


if __name__ == "__main__":
    kit.main()
