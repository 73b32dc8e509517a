#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""reference.py FOLDER -- the API reference as HTML, from the public headers: a page
for each header, one for the errors, one for C++, and an index of all names. Names in
texts and prototypes are links. Nothing but Python's own library, no script in the
pages. tests/house/test_reference.py: each name has its text, each link an end."""
import html
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "script"))
import headers  # noqa: E402

STYLE = """\
body{font:15px/1.5 system-ui,sans-serif;color:#111;background:#fff;
max-width:54em;margin:1.5em auto;padding:0 1em}
a{color:#0b57a4;text-decoration:none}a:hover{text-decoration:underline}
h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ccc}
h3{font:600 1em ui-monospace,monospace;margin:1.6em 0 .3em}
pre{font:13px/1.45 ui-monospace,monospace;background:#f4f5f7;padding:.5em .7em;
overflow-x:auto;margin:.3em 0}
p.says,div.about{white-space:pre-wrap;margin:.3em 0}
table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;
padding:.2em .8em .2em 0;border-bottom:1px solid #ddd}
ul.names{columns:3 14em;list-style:none;padding:0;font:13px/1.6 ui-monospace,monospace}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#16181b}
a{color:#79b8ff}pre{background:#22252a}h2,td,th{border-color:#444}}
"""
ERROR = re.compile(r'^GATE_X\((\w+),\s*"(\w*)",\s*(\d+),\s*"([^"]*)"\)', re.M | re.S)
CPP = ("gate.hpp", "cpp/value.hpp", "cpp/client.hpp", "cpp/service.hpp")


def errors():
    return [("GATE_" + code, *rest) for code, *rest in ERROR.findall(
        headers.read("errors.def"))]


def is_shown(item):
    """What is plumbing of macros has no text, and no place here."""
    return item.kind != "macro" or bool(item.says())


def page_of(header):
    return header[:-2] + ".html"


class Links:
    """name -> where its text is."""

    def __init__(self, all_headers):
        self.of = {x: "errors.html#" + x for x, *_ in errors()}
        for header in all_headers:
            self.of[header.name] = page_of(header.name)
            for item in filter(is_shown, header.items()):
                self.of.setdefault(item.name, page_of(header.name) + "#" + item.name)
                for x in re.findall(r"\bGATE_[A-Z0-9_]+\b", headers.COMMENT.sub(
                        "", item.code)) if item.kind == "type" else ():
                    self.of.setdefault(x, page_of(header.name) + "#" + item.name)

    def text(self, text, here=""):
        """As HTML, with links; here: the name that needs none."""
        def link(match):
            word = match.group(0)
            to = self.of.get(word)
            return word if to is None or word == here else \
                '<a href="%s">%s</a>' % (to, word)
        return re.sub(r"\b\w+\.h\b|\b(?:gate|GATE)_\w+", link,
                      html.escape(text, quote=False))


def page(title, body, up=True):
    way = '<p><a href="index.html">gaterpc reference</a></p>\n' if up else ""
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
            '<meta name="viewport" content="width=device-width"/>'
            "<title>%s</title>\n<style>\n%s</style></head>\n<body>\n%s"
            "<h1>%s</h1>\n%s</body></html>\n" % (
                html.escape(title), STYLE, way, html.escape(title), body))


def code_of(item):
    """A function's or a macro's one line; of a type all of it."""
    if item.kind != "type":
        return headers.prototype(item)
    return "\n".join(x for x in item.code.split("\n") if not x.startswith("#"))


def entry(item, twin, links):
    """A name's place; a macro and its function with a _ behind tell of each other."""
    says = list(dict.fromkeys(x.says() for x in (*twin, item) if x.says()))
    out = '<h3 id="%s">%s</h3>\n<pre>%s</pre>\n' % (
        item.name, item.name, links.text(code_of(item), item.name))
    out += "".join('<p class="says">%s</p>\n' % links.text(x, item.name) for x in says)
    if twin:
        out += '<p>See <a href="#%s">%s</a>.</p>\n' % (twin[0].name, twin[0].name)
    return out


def header_page(header, links):
    of = {i.name: i for i in header.items()}
    about = re.sub(r"^\w+\.h -- ", "", header.about)
    body = '<pre>#include &lt;gaterpc.h&gt;  /* gaterpc/%s */</pre>\n' \
        '<div class="about">%s</div>\n' % (header.name, links.text(about))
    done = set()
    for section in header.sections:
        items = [i for i in section.items if is_shown(i) and i.name not in done]
        if items and section.title:
            body += "<h2>%s</h2>\n" % html.escape(section.title)
        for item in items:
            other = item.name[:-1] if item.name.endswith("_") else item.name + "_"
            twin = [of[other]] if other in of and is_shown(of[other]) else []
            body += entry(item, twin, links)
            done.add(item.name)
    return page(header.name, body)


def errors_page(links):
    rows = "".join(
        '<tr id="%s"><td><code>%s</code></td><td><code>%s</code></td><td>%s</td>'
        "<td>%s</td></tr>\n" % (name, name, cls, code, links.text(text))
        for name, cls, code, text in errors())
    return page("Errors", "<p>What functions return (gate_err_t), the class that a "
                "remote caller sees, and the exit code of the command.</p>\n<table>"
                "<tr><th>code</th><th>class</th><th>exit</th><th>meaning</th></tr>\n"
                + rows + "</table>\n")


def cpp_page(links):
    body = ""
    for name in CPP:
        text = headers.read(name).partition("*/\n")[2]
        body += '<h2 id="%s">%s</h2>\n<pre>%s</pre>\n' % (
            name, name, links.text(text.strip()))
    return page("C++17", "<p>Header only, over the functions of the C headers.</p>\n"
                + body)


def first_sentence(about):
    text = re.sub(r"\s+", " ", re.sub(r"^\w+\.h -- ", "", about))
    return re.split(r"(?<=[.])\s", text, maxsplit=1)[0]


def index_page(all_headers, links):
    rows = "".join(
        '<tr><td><a href="%s">%s</a></td><td>%s</td></tr>\n' % (
            page_of(h.name), h.name, links.text(first_sentence(h.about)))
        for h in all_headers)
    rows += '<tr><td><a href="errors.html">errors.def</a></td><td>every code that a ' \
        "function returns</td></tr>\n"
    rows += '<tr><td><a href="cpp.html">gate.hpp</a></td><td>the C++17 face</td></tr>\n'
    names = sorted((x for x in links.of if x.startswith("gate_")), key=str.lower)
    body = "<table>\n%s</table>\n<h2>All names</h2>\n<ul class=\"names\">\n%s</ul>\n" % (
        rows, "".join('<li><a href="%s">%s</a></li>\n' % (links.of[x], x)
                      for x in names))
    version = re.search(r'GATE_VERSION "([^"]+)"', headers.read("base.h")).group(1)
    return page("gaterpc %s: reference" % version, body, up=False)


def pages():
    found = headers.all_headers()
    links = Links(found)
    out = {page_of(h.name): header_page(h, links) for h in found}
    out["errors.html"] = errors_page(links)
    out["cpp.html"] = cpp_page(links)
    out["index.html"] = index_page(found, links)
    return out


def main(folder):
    os.makedirs(folder, exist_ok=True)
    for name, text in pages().items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: reference.py FOLDER")
    main(sys.argv[1])
