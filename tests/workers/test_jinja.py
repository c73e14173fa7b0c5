"""A chat template is a stranger's program: what it may do, and that nothing it does costs more than it may."""

from __future__ import annotations

import datetime
import json
import resource
import time
from typing import Any

import pytest
from tropilla.workers import meter
from tropilla.workers.jinja import MAX_SOURCE_CHARACTERS, Program, TemplateFault
from tropilla.workers.meter import Meter, TooMuch

USER = {"role": "user", "content": "x"}
TREE = [{"name": "a", "children": [{"name": "b", "children": []}]}, {"name": "c", "children": []}]
VARIABLES: dict[str, Any] = {
    "messages": [{"role": "system", "content": " be "}, USER, {"role": "assistant", "content": "y"}],
    "tree": TREE,
    "tool": {"name": "f", "items": 1, "parameters": {"b": [1, 2.5], "a": None}},
    "bos_token": "<s>",
}


def render(source: str) -> str:
    return Program(source, now=lambda: datetime.datetime(2025, 7, 4)).render(VARIABLES)


#: What published templates do -> what comes of it.
IDIOMS = (
    (
        "{% set ns = namespace(n=0, s='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}"
        "{{ ns.n }}{{ ns.s }}",
        "3",
    ),
    (
        "{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}",
        "system",
    ),
    (
        "{% for m in messages[1:] %}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
        "0TrueFalse2 1FalseTrue2 ",
    ),
    ("{% for m in messages[::-1] %}{{ m.role[0] }}{{ loop.nextitem is defined }} {% endfor %}", "aTrue uTrue sFalse "),
    ("{% for m in messages if m.role != 'user' %}{{ m.role }}{% else %}none{% endfor %}", "systemassistant"),
    ("{% for m in [] %}{% else %}none{% endfor %}", "none"),
    ("{% for t in tree recursive %}{{ t.name }}{{ loop(t.children) }}{{ loop.depth }}{% endfor %}", "ab21c1"),
    ("{% macro f(a, b='z') %}{{ a }}{{ b }}{{ varargs }}{% endmacro %}{{ f(1) }}{{ f(1, b=2) }}", "1z()12()"),
    ("{% macro f() %}[{{ caller('x') }}]{% endmacro %}{% call(v) f() %}{{ v }}!{% endcall %}", "[x!]"),
    ("{% macro f(n) %}{{ n }}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "3210"),
    ("{% set x %}a{{ 1 }}{% endset %}{{ x | length }}{{ x is string }}", "2True"),
    ("{% filter upper %}a{{ 'b' }}{% endfilter %}", "AB"),
    ("{% with a = 1 %}{{ a }}{% endwith %}{{ a is defined }}", "1False"),
    ("{{ tool.parameters | tojson(indent=2) }}", json.dumps(VARIABLES["tool"]["parameters"], indent=2)),
    ("{{ tool.parameters | tojson(separators=(',', ':'), sort_keys=true) }}", '{"a":null,"b":[1,2.5]}'),
    ("{{ tool['items'] }} {{ tool.get('name') }} {{ tool.get('no', 'd') }} {{ tool.nope is defined }}", "1 f d False"),
    ("{% for k, v in tool.parameters.items() %}{{ k }}={{ v }} {% endfor %}", "b=[1, 2.5] a=None "),
    (
        "{% for k, v in tool.parameters | dictsort %}{{ k }}{% endfor %}{% for k in tool.keys() | list %}"
        "{{ k[0] }}{% endfor %}",
        "abnip",
    ),
    (
        "{{ messages[0].content | trim }}{{ messages[0].content.strip() }}{{ ' x '.rstrip() }}{{ '--x'.lstrip('-') }}",
        "bebe xx",
    ),
    (
        "{{ 'a</think>b'.split('</think>')[-1] }}{{ 'a b'.split() | join('+') }}{{ 'a.b.c'.rsplit('.', 1) }}",
        "ba+b['a.b', 'c']",
    ),
    ("{{ 'abc'.startswith('a') }}{{ 'abc'.endswith('a') }}{{ 'b' in 'abc' }}{{ 'abc'.find('c') }}", "TrueFalseTrue2"),
    (
        "{{ 'abc'.replace('b', '') }}{{ 'aba' | replace('a', 'x', 1) }}{{ 'Ab'.lower() }}{{ 'ab' | upper }}"
        "{{ 'ab' | title }}",
        "acxbaabABAb",
    ),
    (
        "{{ 'a {} {x} {0}'.replace('{0}', '').format(1, x=2) }}{{ '%s-%05.1f' % ('a', 2) }}{{ '%s' | format('b') }}",
        "a 1 2 a-002.0b",
    ),
    (
        "{{ tool is mapping }}{{ tool is string }}{{ messages is iterable }}{{ none is none }}{{ 1 is odd }}"
        "{{ 1 is number }}",
        "TrueFalseTrueTrueTrueTrue",
    ),
    (
        "{{ 'a' if messages[-1].role == 'assistant' else 'b' }}{{ not messages }}{{ messages and 1 }}{{ 1 < 2 <= 2 }}",
        "aFalse1True",
    ),
    ("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join }}", "x"),
    (
        "{{ messages | rejectattr('role', 'in', ['user']) | list | length }}"
        "{{ messages | map(attribute='role') | first }}",
        "2system",
    ),
    (
        "{{ [3, 1, 1] | sort | unique | list }}{{ [1, 2] | sum }}{{ [1, 2] | last }}{{ 'ab' | reverse }}"
        "{{ [2, 1] | min }}",
        "[1, 3]32ba1",
    ),
    (
        "{{ 'a\nb' | indent(2) }}{{ 'a' | default('d') }}{{ q | default('d') }}{{ '' | default('d', true) }}",
        "a\n  badd",
    ),
    (
        "{{ 'a' ~ 1 ~ none }}{{ 'a' + 'b' }}{{ 'ab' * 2 }}{{ 7 // 2 }}{{ 7 % 4 }}{{ 2 ** 3 }}{{ -1 }}{{ [1] + [2] }}",
        "a1Noneabab" + "ab338-1[1, 2]",
    ),
    (
        "{{ '<b>' | safe }}{{ ('a' | safe) + '<' }}{{ '<' | e }}{{ 3.7 | int }}{{ 3.14159 | round(2) }}"
        "{{ [1] | string }}",
        "<b>a<&lt;33.14[1]",
    ),
    (
        "{{ range(3) | list }}{{ range(5, 0, -2) | list }}{{ dict(a=1) }}{{ {'a': {'b': 2}}.a.b }}{{ (1, 2)[1] }}",
        "[0, 1, 2][5, 3, 1]{'a': 1}22",
    ),
    (
        "{{ strftime_now('%d %B %Y') }}{{ '[1]' | from_json }}{% raw %}{{ x }}{% endraw %}{# no #}",
        "04 July 2025[1]{{ x }}",
    ),
    ("{{ bos_token }}{{- ' a' }}\n{%- if true %}\n  b\n{%- endif %}", "<s> a  b"),
)


@pytest.mark.parametrize(("source", "text"), IDIOMS)
def test_what_published_templates_do_is_done(source: str, text: str) -> None:
    assert render(source) == text


TWICE = "{% set n = namespace(x='xxxxxxxx', l=[1]) %}{% for i in range(60) %}{% set n.x = "
#: Small until somebody writes or compares it.
DEEP = (
    "{% set n = namespace(x=[1], y=[1], t=(1,)) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}"
    "{% set n.y = [n.y, n.y] %}{% set n.t = (n.t, n.t) %}{% endfor %}"
)
MANY = "{% for i in range(100000) %}"
LONG = "{% set s = 'a' * 8000000 %}"
BOMBS = (
    # what is made at once
    "{{ 'a' * 10**9 }}", "{{ 10**9 * 'a' }}", "{{ [0] * 10**9 }}", "{{ 9**9**9 }}", "{{ 2.0 ** 99999 }}",
    "{{ '%999999999d' % 1 }}", "{{ '%*d' % (999999999, 1) }}", "{{ '%(x)999999999s' % {'x': 1} }}",
    "{{ '%999999999d' | format(1) }}", "{{ '{:>999999999}'.format(1) }}", "{{ '{:{}}'.format(1, 999999999) }}",
    "{{ 'x' | center(999999999) }}", "{{ 'x'.center(999999999) }}", "{{ 'x'.ljust(999999999) }}",
    "{{ 'x'.rjust(999999999) }}", "{{ 'x'.zfill(999999999) }}", "{{ '\t'.expandtabs(999999999) }}",
    "{{ 'x\ny' | indent(999999999) }}", "{{ 'x\ny' | indent('z' * 99999) }}", "{{ [1] | tojson(indent=999999999) }}",
    "{{ [1, 2] | tojson(separators=('x' * 9999, ':')) }}", "{{ 2 | round(999999999, 'ceil') }}",
    "{{ 'x' | round(9, 'ceil') }}", "{{ '%999999999d' is odd }}", "{{ '%999999999d' is divisibleby 3 }}",
    "{{ (1).to_bytes(999999999) }}", "{{ 'x'.encode() }}", "{{ lipsum(n=9999999) }}", "{{ [1] | batch(10**9, 2) | list }}",
    "{{ [1] | slice(10**9) | list }}", "{{ strftime_now('%Y' * 9999999) }}", "{{ 'x'.join(range(9)) }}",
    # what doubles
    TWICE + "n.x + n.x %}{% endfor %}", TWICE + "n.x ~ n.x %}{% endfor %}", TWICE + "[n.x, n.x] | join %}{% endfor %}",
    TWICE + "n.x.replace('x', 'xx') %}{% endfor %}", TWICE + "n.x | replace('x', 'xx') %}{% endfor %}",
    TWICE + "n.x.join([n.x, n.x]) %}{% endfor %}", TWICE + "'%s%s' % (n.x, n.x) %}{% endfor %}",
    TWICE + "'{0}{0}'.format(n.x) %}{% endfor %}", TWICE + "n.x * 2 %}{% endfor %}",
    TWICE + "1 %}{% set n.l = n.l + n.l %}{% endfor %}",
    TWICE + "n.x %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}{% endfor %}",
    "{% set n = namespace(x=3) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
    # what is small until it is written, compared or hashed
    *(f"{DEEP}{{{{ {use} }}}}" for use in (
        "n.x", "n.x | string", "n.x | tojson", "n.x | upper", "n.x | trim", "n.x | join", "n.x ~ 'a'", "'%s' % (n.x,)",
        "'{}'.format(n.x)", "{'a': n.x}.items()", "n.x == n.y", "n.x < n.y", "n.x in [n.y]", "n.x is eq(n.y)",
        "[n.x].index(n.y)", "[n.x, n.y] | sort | length", "[n.x, n.y] | max", "[n.t, n.t] | unique | list | length",
        "{}[n.t]", "{n.t: 1} | length", "n.t in {}", "{}.get(n.t)", "dict([(n.t, 1)]) | length", "raise_exception(n.x)",
        "strftime_now(n.x)", "'a'[n.x] + 1",
    )),
    DEEP + "{% for v in [n.x, n.y] %}{{ loop.changed(v) }}{% endfor %}",
    # what goes on
    MANY * 2 + "{% endfor %}" * 2, MANY + "{% for j in range(100000) if false %}{% endfor %}{% endfor %}",
    MANY + "{{ range(100000) | map('string') | list | length }}{% endfor %}",
    MANY + "{{ range(100000) | select('gt', 100000) | first }}{% endfor %}",
    MANY + "{{ -1 in range(100000) | map('abs') }}{% endfor %}",
    MANY + "{% for j in range(100000) | select %}{{ loop.length }}{% break %}{% endfor %}{% endfor %}",
    "{% set l = range(100000) | list %}" + MANY + "{% if -1 in l %}{% endif %}{% endfor %}",
    "{% macro m() %}" + MANY + "{{ caller() }}{% endfor %}{% endmacro %}"
    "{% call m() %}" + MANY + "{% endfor %}{% endcall %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% set n = namespace(x=[]) %}" + MANY * 2 + "{% set n.x = [n.x, i] %}" + "{% endfor %}" * 2,
    # what takes long or much on a long text
    LONG + "{{ s.strip('b' * 4000000 ~ 'a') }}", LONG + "{{ s.rfind('b' ~ 'a' * 4000000) }}",
    LONG + "{{ s.rsplit('b' ~ 'a' * 4000000) }}", "{{ ('a ' * 4000000).split() | length }}",
    "{{ ('\n' * 8000000).splitlines() | length }}", "{{ (' ' * 8000000) | title | length }}",
    "{{ ('ж' * 4000000) | list | length }}", LONG + "{{ ([s ~ 'b', s ~ 'b'] * 9999) | sort | length }}",
    LONG + "{% set n = namespace(x=[]) %}" + MANY + "{% set n.x = n.x + [s[1:]] %}{% endfor %}",
    LONG + MANY + "{% set x = s.count('ab') %}{% endfor %}", LONG + MANY + "{% set x = 'b' in s %}{% endfor %}",
    LONG + MANY + "{% set x = s | upper %}{% endfor %}", "{{ ('9' * 4000) | int ** 9 }}",
    "{{ ('f' * 4000000) | int(base=16) // 3 }}", "{{ 0x" + "f" * 100000 + " // 3 }}", "{{ ('[' * 4000000) | from_json }}",
    "{{ ('[' ~ '[],' * 1000000 ~ '1]') | from_json | length }}",
    # what it has in it
    MANY + "x" * 99999 + "{% endfor %}", "{% set y %}" + MANY + "x" * 99999 + "{% endfor %}{% endset %}",
    "{% macro m() %}" + "x" * 99999 + "{% endmacro %}" + MANY + "{{ m() }}{% endfor %}",
    "{% filter upper %}" + MANY + "x" * 9999 + "{% endfor %}{% endfilter %}", MANY + "{{ '' }}" * 5000 + "{% endfor %}",
    # what does not compile
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "{{ " + "1+" * 5000 + "1 }}", "{{ " + "not " * 5000 + "1 }}",
    "{{ a" + ".b" * 5000 + " }}", "{% if 1 %}" * 2000 + "{% endif %}" * 2000, "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "{% for i in [1] %}" * 50 + "{% endfor %}" * 50, "{{ " + "2**" * 5000 + "2 }}", "{{ 'x'" + "|upper" * 5000 + " }}",
    " " * (MAX_SOURCE_CHARACTERS + 1),
    # what reaches for what it must not have
    "{{ ''.__class__ }}{{ ''.__class__.__mro__ }}", "{{ [].append(1) }}", "{{ messages[0].update(a=1) }}",
    "{{ (''|attr('__class__')) }}", "{{ '{0.__class__}'.format(1) }}", "{{ '{0[0]}'.format([1]) }}",
    "{{ raise_exception.__globals__.x }}", "{{ range.__call__(1) }}", "{{ (messages|map('list')).gi_frame.f_globals.x }}",
    "{{ cycler(1) }}", "{{ self.x() }}", "{{ ''() }}", "{% include 'x' %}", "{% import 'x' as x %}", "{% extends 'x' %}",
    "{% block x %}{% endblock %}", "{% autoescape true %}{{ '<' }}{% endautoescape %}", "{% do 1 %}", "{% break %}",
)  # fmt: skip


@pytest.mark.parametrize("source", BOMBS, ids=lambda source: source[-70:])
def test_a_bomb_is_refused_before_it_costs_much(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "SECONDS", 0.2)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
    with pytest.raises(TemplateFault) as caught:
        render(source)
    # Compiling is not on the meter's clock, and what has begun is ended.
    assert time.thread_time() - began < 2.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10
    assert 0 < len(str(caught.value)) < 1100


def test_each_rendering_has_an_allowance_of_its_own() -> None:
    program = Program("{% for i in range(100000) %}{% for j in range(5) %}{% endfor %}{% endfor %}")
    for _ in range(3):
        program.render({})


def test_what_a_template_reads_and_says_is_known() -> None:
    program = Program("{% set a = b %}{{ a.c }}{{ d['e'] }}{% for m in messages %}{{ 'f' }}{% endfor %}")
    assert {"b", "d", "messages"} <= program.variables
    assert program.words == {"c", "e", "f"}


def test_a_meter_runs_out() -> None:
    fresh = Meter()
    fresh.spend(1 << 20)
    with pytest.raises(TooMuch, match="work"):
        fresh.spend(1 << 30)
    fresh.begin()
    fresh.spend(1 << 20)
