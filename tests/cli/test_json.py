# SPDX-License-Identifier: BSD-3-Clause
"""gate call: words to msgpack and back to JSON."""
from cli import Session, kit


class Json(Session):
    def echo(self, *words):
        out, = self.call("Demo.echo", *words)
        self.assertTrue(out.startswith('{"args":[') and
                        out.endswith('],"kwargs":{}}'), out)
        return out[len('{"args":['):-len('],"kwargs":{}}')]

    def test_what_comes_back_as_it_went(self):
        for word in ("0", "1", "-1", "-3.5", "true", "false", "null", '""',
                     '"x"', "[]", "{}", "[1,[2,[3]]]", '{"a":{"b":null}}',
                     '"\u00e9\u4e2d"', "9223372036854775807",
                     "-9223372036854775808", "18446744073709551615",
                     '{"$bin":"AAECAw=="}', '{"$bin":""}', '{"$bin":"/+8="}',
                     '[{"$bin":"AA=="}]', '{"$bin":"AA==","x":1}',
                     '{"$bin":5}', "[18446744073709551615]",
                     '{"id":9223372036854775808}', '{"\\u0000":1}',
                     '{"$ext":[5,"AAE="]}', '{"$ext":[-128,""]}',
                     '[{"$float":"nan"},{"$float":"inf"},{"$float":"-inf"}]',
                     '{"$map":[[1,2],["1",3]]}', '{"$map":[[[1],{}]]}',
                     '{"$map":[["$ext",5]]}', '{"$map":[["$map",1]]}',
                     "[" * 100 + "]" * 100, '"\U0001f600"', "1e+300"):
            self.assertEqual(self.echo(word), word)

    def test_order_of_keys(self):
        word = '{"z":1,"a":2,"m":3}'
        self.assertEqual(self.echo(word), word)

    def test_plain_strings(self):
        for word in ("abc", "two words", "1.2.3", "", "nul", "\u00e9", "-",
                     "NaN", "1,2", "01"):
            self.assertEqual(self.echo(word), '"%s"' % word)
        self.assertEqual(self.echo("--", "-x"), '"-x"')

    def test_what_begins_as_json_and_is_none(self):
        for word, why in (
                ("{", "a key in quotes expected, at byte 1"),
                ("[1,", "a value expected, at byte 3"),
                ('{"a":1', '"," or "}" expected, at byte 6'),
                ('"x', "a string that does not end, at byte 2"),
                ('"\\', "a string that does not end, at byte 2"),
                ('{"a":1} x', "something follows the value, at byte 8"),
                ("[01]", "no number, at byte 1"),
                ('["\\x"]', "no such escape"), ('["\\ud800"]', "no such escape"),
                ('{"a":1,"b":2,"a":3}', "a key comes twice"),
                ("[" * 600 + "]" * 600, "nested too deep"),
                ('{"$ext":[1,"A"]}', "the string of $ext is not base64"),
                ('{"$float":"x"}', "$float is nan, inf or -inf")):
            done = self.gate("call", "Demo.echo", "--", word)
            self.assertEqual((done.code, done.out), (2, ""), word)
            self.assertIn(why, done.err)
            self.assertIn("usage: gate call", done.err)

    def test_escapes(self):
        self.assertEqual(self.echo('"a\\u0000b"'), '"a\\u0000b"')
        self.assertEqual(self.echo('a"b\\c\nd'), '"a\\"b\\\\c\\nd"')

    def test_several_and_keywords(self):
        self.assertEqual(
            self.call("Demo.echo", "1", "--kw", "a=2", "b", "--kw=c=[3]",
                      "--kw", "d=x=y", "--kw", "e="),
            ['{"args":[1,"b"],"kwargs":{"a":2,"c":[3],"d":"x=y","e":""}}'])

    def test_dashes(self):
        self.assertEqual(self.echo("--", "--kw", "-3"), '"--kw",-3')

    def test_bad_input(self):
        for words in (["18446744073709551616"], ["-9223372036854775809"],
                      ["[18446744073709551616]"], ["1e999"], ["-x"],
                      ["--kw", "a=1", "--kw", "a=2"], [b"--kw=\xff=1"],
                      ['{"$bin":"A"}'], ['{"$bin":"A==="}'],
                      ['{"$bin":"A*=="}'], [b"\xff"], ["--kw", "a"],
                      ["--kw", "=1"], ["--timeout", "x"],
                      ["--timeout", "-1"]):
            done = self.gate("call", "Demo.echo", *words)
            self.assertEqual((done.code, done.out), (2, ""), words)
            self.assertIn("usage: gate call", done.err)

    def test_raw(self):
        done = kit.run("call", "--broker", self.broker.front, "--raw",
                       "Demo.huge", "5", "zeros", text=False)
        self.assertEqual((done.code, done.out), (0, b"\0" * 5), done.err)
        done = self.gate("call", "--raw", "Demo.upper", "abc")
        self.assertEqual(done.out, "ABC")
        done = self.gate("call", "--raw", "Demo.add", "1", "2")
        self.assertEqual(done.out, "3\n")

    def test_float_results(self):
        self.assertEqual(self.call("Demo.add", "1", "2.0"), ["3.0"])
        self.assertEqual(self.call("Demo.add", "0.1", "0.2"),
                         ["0.30000000000000004"])


kit.main()
