"""Go's semantics, as real Go showed them (contracts, models sheet 2.3), and what a template may cost."""

from __future__ import annotations

import datetime
import random
import time
from typing import Any

import pytest
from tropilla.common.gotemplate.budget import MAX_OUTPUT
from tropilla.common.gotemplate.builtins import Function
from tropilla.common.gotemplate.faults import ExecutionError, GoTemplateError, ParseError, TooMuch
from tropilla.common.gotemplate.operands import MAX_NESTING
from tropilla.common.gotemplate.template import (
    LOCALAI,
    MAX_SOURCE_CHARACTERS,
    OLLAMA,
    Dialect,
    Template,
    localai,
    ollama,
)
from tropilla.common.gotemplate.values import SpokenList, SpokenMap, Struct

DATA: dict[str, Any] = {
    "A": "x",
    "B": "",
    "L": ["a", "b", "c"],
    "E": [],
    "M": {"k2": "w", "k1": "v"},
    "T": True,
    "Z": None,
    "H": "<&>",
    "U": "héé",
    "Now": datetime.datetime(2026, 1, 2),
}


def rendered(source: str, data: Any = DATA, dialect: Dialect = LOCALAI) -> str:
    return Template(source, dialect).render(data)


#: The sheet's table.
SHEET = [
    ("{{.Missing}}", "<no value>"),
    ("{{.Missing.Deep}}", "<no value>"),
    ("{{if .Missing}}y{{else}}n{{end}}", "n"),
    ("{{.L}} {{.M}} {{.T}}", "[a b c] map[k1:v k2:w] true"),
    ('{{eq .A "q" "x"}}', "true"),
    ('{{eq .Missing "x"}}', "false"),
    ("{{and .A .B}}/{{or .B .A}}/{{not .B}}", "/x/true"),
    ("{{and .B .Z.X}}", ""),
    ("{{range $k, $v := .M}}{{$k}}={{$v}};{{end}}", "k1=v;k2=w;"),
    ("{{range .E}}x{{else}}none{{end}}", "none"),
    ('{{range .L}}{{if eq . "b"}}{{continue}}{{end}}{{.}}{{end}}', "ac"),
    ('{{range .L}}{{if eq . "b"}}{{break}}{{end}}{{.}}{{end}}', "a"),
    ("{{with .A}}[{{.}}]{{end}}{{with .B}}no{{else}}E{{end}}", "[x]E"),
    ('{{$x := "1"}}{{if .T}}{{$x = "2"}}{{end}}{{$x}}', "2"),
    ('{{$x := "1"}}{{if .T}}{{$x := "2"}}{{end}}{{$x}}', "1"),
    ('a  {{- " " -}}  b', "a b"),
    ("{{-3}} {{- 3}}", "-33"),
    ("{{/* c }} */}}z", "z"),
    ('{{ .A | printf "%s-%s" "p" }}', "p-x"),
    ("{{len .L}} {{len .U}}", "3 5"),
    ('{{index .L 1}}{{index .M "k1"}}', "bv"),
    ('{{print 1 2 "a" "b" 3}}', "1 2ab3"),
    ("{{`raw {{x}} \\n`}}", "raw {{x}} \\n"),
    ('{{"esc \\n \\u00e9 \\x41"}}', "esc \n é A"),
    ("{{toJson .H}}{{toJson .M}}{{toJson .Z}}", '"\\u003c\\u0026\\u003e"{"k1":"v","k2":"w"}null'),
    ('{{define "t"}}<{{.}}>{{end}}{{template "t" .A}}', "<x>"),
    ("{{ .A }}}", "x}"),
    ("{{ .A\n}}", "x"),
    ("{{(index .L 0) | upper}}", "A"),
    # Newer Go.
    ("{{range 3}}{{.}}{{end}}", "012"),
    ("{{range $i := 2}}{{$i}}{{end}}", "01"),
    ("{{with .B}}b{{else with .A}}[{{.}}]{{else}}n{{end}}", "[x]"),
    ("{{eq .Z nil}}", "true"),
]


@pytest.mark.parametrize(("source", "text"), SHEET)
def test_a_template_renders_as_in_go(source: str, text: str) -> None:
    assert rendered(source) == text


#: (template, error class, what is wrong)
SHEET_FAULTS = [
    ("{{eq .A 1}}", ExecutionError, "incompatible types for comparison"),
    ("{{$y}}", ParseError, 'undefined variable "$y"'),
    ("a {{-.A}}", ParseError, 'bad number syntax: "-.A"'),
    ("{{index .L 9}}", ExecutionError, "index out of range: 9"),
    ("{{nofunc .A}}", ParseError, 'function "nofunc" not defined'),
    ("{{}}", ParseError, "missing value for command"),
    ("{{{ .A }}", ParseError, 'unexpected "{" in command'),
    ("{{if .A}}", ParseError, "unexpected EOF"),
    ("{{ .a-b }}", ParseError, "bad character U+002D '-'"),
    ("{{if .A}}{{else with .A}}{{end}}", ParseError, "unexpected <with> in input"),
    ("{{range .A}}{{end}}", ExecutionError, "range can't iterate over x"),
    ("{{.Z.X}}", ExecutionError, "nil pointer evaluating interface {}.X"),
    ("{{eq .L .L}}", ExecutionError, "error calling eq: non-comparable type []interface {}"),
]


@pytest.mark.parametrize(("source", "kind", "message"), SHEET_FAULTS)
def test_a_template_fails_as_in_go(source: str, kind: type[GoTemplateError], message: str) -> None:
    with pytest.raises(kind) as caught:
        rendered(source)
    assert caught.value.message.startswith("template: :1:")
    assert caught.value.message.endswith(f": {message}")


#: template -> the whole text of its error, with its line
WHOLE_FAULTS = [
    ("{{ .Prompt ", "template: :1: unclosed action"),
    ("a\n\n{{ .Prompt\n", "template: :4: unclosed action started at :3"),
    ("{{ if .Prompt }}\nx\n", "template: :3: unexpected EOF"),
    ("{{ Prompt }}", 'template: :1: function "Prompt" not defined'),
    ("\n{{end}}", "template: :2: unexpected {{end}}"),
    ("{{if 1}}{{else}}{{else}}{{end}}", "template: :1: expected end; found {{else}}"),
    ("{{break}}", "template: :1: {{break}} outside {{range}}"),
    ("{{range .L}}{{define `t`}}{{end}}{{end}}", "template: :1: unexpected <define> in command"),
    ("{{.A | 3}}", "template: :1: non executable command in pipeline stage 2"),
    ("{{1.A}}", 'template: :1: bad number syntax: "1.A"'),
    ("{{(.A}}", "template: :1: unclosed left paren"),
    ("{{.A)}}", "template: :1: unexpected right paren"),
    ('{{"a}}', "template: :1: unterminated quoted string"),
    ("{{/* a }}", "template: :1: unclosed comment"),
    ("{{nil.X}}", 'template: :1: unexpected . after term "nil"'),
    ("{{$a, $b := 1}}", "template: :1: too many declarations in command"),
    ("{{99999999999999999999}}", 'template: :1: integer overflow: "99999999999999999999"'),
    ('{{define "t"}}a{{end}}{{define "t"}}b{{end}}', 'template: :1: template: multiple definition of template "t"'),
    (
        "{{range .L}}\n  {{.X}}{{end}}",
        'template: :2:4: executing "" at <.X>: can\'t evaluate field X in type string',
    ),
    ('{{template "t"}}', 'template: :1:2: executing "" at <{{template "t"}}>: template "t" not defined'),
    (
        '{{define "t"}}{{.X}}{{end}}{{template "t" 1}}',
        'template: :1:16: executing "t" at <.X>: can\'t evaluate field X in type int',
    ),
    ("{{upper 1}}", 'template: :1:2: executing "" at <upper>: wrong type for value; expected string; got int'),
    ("{{upper}}", 'template: :1:2: executing "" at <upper>: wrong number of args for upper: want 1 got 0'),
    ("{{eq}}", 'template: :1:2: executing "" at <eq>: wrong number of args for eq: want at least 1 got 0'),
    ("{{.A 1}}", 'template: :1:2: executing "" at <.A>: A is not a method but has arguments'),
    ("{{nil}}", 'template: :1:2: executing "" at <nil>: nil is not a command'),
    ("{{1 2}}", 'template: :1:2: executing "" at <1>: can\'t give argument to non-function 1'),
    (
        "{{div 1 0}}",
        'template: :1:2: executing "" at <div 1 0>: error calling div: runtime error: integer divide by zero',
    ),
    ("{{$x = 1}}", 'template: :1:2: executing "" at <$x = 1>: undefined variable: $x'),
]


@pytest.mark.parametrize(("source", "message"), WHOLE_FAULTS)
def test_an_error_says_where_and_what(source: str, message: str) -> None:
    with pytest.raises(GoTemplateError) as caught:
        rendered(source)
    assert caught.value.message == message


STRUCT = Struct("T", {"Name": "n", "List": [1], "None": None})

FILES = Struct(
    "engine.files",
    {"Get": Function(lambda name: f"<{name}>", "s"), "Count": Function(lambda: 3, ""), "In": Struct("I", {"A": 1})},
)

#: (template, text or error): what is asked of a value, as text/template has it
METHODS = [
    ('{{.F.Get "a"}}', "<a>"),
    ('{{"a" | .F.Get | upper}}', "<A>"),
    ('{{$f := .F}}{{$f.Get "a"}}{{(.F).Get "b"}}', "<a><b>"),
    ("{{.F.Count}}{{if .F.Count}}y{{end}}{{len (.F.Get `ab`)}}", "3y4"),
    ("{{.F.Get (print 1)}}", "<1>"),
]
BAD_METHODS = [
    ("{{.F.Get}}", 'executing "" at <.F.Get>: wrong number of args for Get: want 1 got 0'),
    ("{{.F.Get 1 2}}", 'executing "" at <.F.Get>: wrong number of args for Get: want 1 got 2'),
    ("{{.F.Get 1}}", 'executing "" at <.F.Get>: wrong type for value; expected string; got int'),
    ("{{.F.Count.X}}", 'executing "" at <.F.Count.X>: can\'t evaluate field X in type int'),
    ("{{.F.In 1}}", 'executing "" at <.F.In>: In has arguments but cannot be invoked as function'),
]


@pytest.mark.parametrize(("source", "text"), METHODS)
def test_what_is_called_of_a_value(source: str, text: str) -> None:
    assert rendered(source, {"F": FILES}) == text


@pytest.mark.parametrize(("source", "message"), BAD_METHODS)
def test_what_a_value_cannot_be_asked(source: str, message: str) -> None:
    with pytest.raises(ExecutionError) as caught:
        rendered(source, {"F": FILES})
    assert caught.value.message == f"template: :1:4: {message}"


#: (template, data, text): what the table does not say
MORE = [
    ("a \n{{- .}} \t\n {{.}} \n {{- /* c */ -}} b", "x", "ax \t\n xb"),
    ("{{- -3 -}}", None, "-3"),
    ("{{0x1F}} {{0b101}} {{0o17}} {{017}} {{1_000}} {{'a'}} {{1.5e3}} {{1e6}}", None, "31 5 15 15 1000 97 1500 1e+06"),
    ('{{"\\t\\"\\101\\U0001F44D"}}', None, '\t"A👍'),
    ("{{$a := 1}}{{$b := $a}}{{$a}}{{$b}}{{$}}", "d", "11d"),
    ("{{range $i, $e := .}}{{$i}}{{$e}}{{if eq $i 0}}{{continue}}{{end}};{{end}}", ["a", "b"], "0a1b;"),
    ("{{range .}}{{range .}}{{if eq . 2}}{{break}}{{end}}{{.}}{{end}}|{{end}}", [[1, 2, 3], [4]], "1|4|"),
    ("{{$x := 0}}{{range $x = .}}{{end}}{{$x}}", [1, 2], "2"),
    ("{{range $i := .}}{{$i}}{{end}}", ["a", "b"], "ab"),
    ("{{(index . 0).k}}{{(index . 0).z.z}}", [{"k": "v"}], "v<no value>"),
    ('{{block "b" .}}[{{.}}]{{end}}{{template "b" 2}}', 1, "[1][2]"),
    ('{{define "r"}}{{if .}}{{len .}}{{template "r" rest .}}{{end}}{{end}}{{template "r" .}}', ["a", "b", "c"], "321"),
    ("{{if false}}a{{else if .}}b{{else}}c{{end}}", 0, "c"),
    ("{{if and 1 .}}{{.}}{{end}}{{or 0 . }}", "y", "yy"),
    ("{{or}}", None, ExecutionError),
    ("{{0 | or 1 | and 3}}", None, "1"),
    ("{{not 0}}{{not .}}", STRUCT, "truefalse"),
    ("{{.}}", STRUCT, "{n [1] <nil>}"),
    ("{{.Nope}}", STRUCT, ExecutionError),
    ("{{.None}}{{print .None}}", STRUCT, "<no value><nil>"),
    ("{{toJson .}}", STRUCT, '{"Name":"n","List":[1],"None":null}'),
    ("{{.}}{{index . 0}}", SpokenList([SpokenMap(b="<", a=1)]), '[{"a":1,"b":"\\u003c"}]{"a":1,"b":"\\u003c"}'),
    ("{{.}}", [1.5, 1e20, 1e-7, -0.0, 1234567.0, 100000.0], "[1.5 1e+20 1e-07 -0 1.234567e+06 100000]"),
    ("{{toJson .}}", [1.5, 1e20, 1e21, 1e-7, 22.0], "[1.5,100000000000000000000,1e+21,1e-7,22]"),
    ("{{toJson .}}", "\u2028é\x00\n\x7f", '"\\u2028é\\u0000\\n\x7f"'),
    ("{{lt 1 2}}{{le 2 2}}{{gt 1 2}}{{ge 1 2}}{{ne 1 2}}{{lt `a` `b`}}", None, "truetruefalsefalsetruetrue"),
    ("{{lt 1 1.0}}", None, ExecutionError),
    ("{{eq true 1}}", None, ExecutionError),
    ("{{slice . 1 3}}{{slice . 1}}{{slice .}}", "abcd", ExecutionError),  # Sprig slices no strings
    (
        "{{html .}}{{js .}}{{urlquery .}}",
        "<a b='&'>",
        "&lt;a b=&#39;&amp;&#39;&gt;\\u003Ca b\\u003D\\'\\u0026\\'\\u003E%3Ca+b%3D%27%26%27%3E",
    ),
    ("{{println 1 `a`}}", None, "1 a\n"),
    ("{{range now}}{{end}}", None, ExecutionError),
    ("{{range .}}{{end}}", STRUCT, ExecutionError),
    ("{{if now}}{{len (print now)}}{{end}}", None, "21"),
    ("a\r\n{{.}}\r\n", "x", "a\nx\n"),
    ("{{ . }}\n{{end", "", ParseError),
]


@pytest.mark.parametrize(("source", "data", "wanted"), MORE)
def test_what_go_does_besides(source: str, data: Any, wanted: Any) -> None:
    if isinstance(wanted, str):
        assert rendered(source, data) == wanted
    else:
        with pytest.raises(wanted):
            rendered(source, data)


#: printf's arguments -> what it writes
PRINTF = [
    ('"%d|%5d|%-5d|%05d|%+d" 1 2 3 -4 5', "1|    2|3    |-0004|+5"),
    ('"%s|%5s|%-5s|%.1s" "a" "b" "c" "de"', "a|    b|c    |d"),
    ('"%q|%q|%v|%v" "a\\n" 97 true .L', "\"a\\n\"|'a'|true|[a b c]"),
    ('"%x|%X|%x|%o|%b|%c|%U" 255 255 "hi" 8 5 65 65', "ff|FF|6869|10|101|A|U+0041"),
    ('"%.2f|%8.3f|%e|%g|%6.2f%%" 3.14159 2.5 1500.0 0.5 99.5', "3.14|   2.500|1.500000e+03|0.5| 99.50%"),
    ('"%t|%T|%T" false "a" 1', "false|string|int"),
    ('"%d" "a"', "%!d(string=a)"),
    ('"%s" 1', "%!s(int=1)"),
    ('"%s %s" "a"', "a %!s(MISSING)"),
    ('"%s" "a" 2', "a%!(EXTRA int=2)"),
    ('"%"', "%!(NOVERB)"),
    ('"%*d|%-*d|" 4 1 3 2', "   1|2  |"),
    ('"%v %v" .M .Z', "map[k1:v k2:w] <nil>"),
    ('"%s" .Z', "%!s(<nil>)"),
    ('"%s" .L', "[a b c]"),
]


@pytest.mark.parametrize(("arguments", "text"), PRINTF)
def test_printf_writes_as_go_does(arguments: str, text: str) -> None:
    assert rendered("{{printf " + arguments + "}}") == text


#: A pipeline of Sprig's functions -> what it gives
SPRIG = [
    ('trim "  a b "', "a b"),
    ('"xax" | trimPrefix "x" | trimSuffix "x"', "a"),
    ('trimAll "$" "$a$b$"', "a$b"),
    ('"a b" | upper | replace "A" "<" | title', "< B"),
    ('(contains "b" "abc") | ternary "yes" "no"', "yes"),
    ('hasPrefix "a" "abc" | and (hasSuffix "b" "abc")', "false"),
    ('quote "a" nil 1', '"a" "1"'),
    ('squote "a"', "'a'"),
    ('(split "," "a,b")._1', "b"),
    ('splitList "," "a,b" | join "-"', "a-b"),
    ('"" | default "d"', "d"),
    ("default 1 .L | len", "3"),
    ("coalesce nil 0 `` 3", "3"),
    ("empty .E", "true"),
    ("add 1 2 3 | add1 | sub 10 | mul 2 3", "18"),
    ("div -7 2", "-3"),
    ("mod -7 2", "-1"),
    ("max 1 3 2", "3"),
    ('min 3 "2"', "2"),
    ("mul 9223372036854775807 2", "-2"),
    ("list 1 2 3 | rest | first", "2"),
    ("last (append .L 9)", "9"),
    ("first .E", "<no value>"),
    ('$d := dict "k" "v" "l"', ""),
    ('dict "k" "v" | toJson', '{"k":"v"}'),
    ('get .M "k1"', "v"),
    ('get .M "no"', ""),
    ('hasKey .M "k1"', "true"),
    ("keys .M", "[k1 k2]"),
    ('indent 2 "a\\nb"', "  a\n  b"),
    ('nindent 1 "a"', "\n a"),
    ('repeat 3 "ab"', "ababab"),
    ('nospace "a b\\tc"', "abc"),
    ("toString 1", "1"),
    ('fromJson `{"a":[1,{"b":null}]}` | toPrettyJson', '{\n  "a": [\n    1,\n    {\n      "b": null\n    }\n  ]\n}'),
    ('fromJson "{"', "<no value>"),
    ('now | date "2006-01-02 15:04:05 Mon Jan 2 3PM"', "2026-01-02 03:04:05 Fri Jan 2 3AM"),
    ("slice .L 1 2", "[b]"),
]


@pytest.mark.parametrize(("pipeline", "text"), SPRIG)
def test_sprig_functions_do_as_sprigs(pipeline: str, text: str) -> None:
    dialect = localai(lambda: datetime.datetime(2026, 1, 2, 3, 4, 5))
    assert rendered("{{" + pipeline + "}}", dialect=dialect) == text


def test_ollamas_dialect_has_its_own_functions_and_none_of_sprigs() -> None:
    dialect = ollama(lambda: datetime.datetime(2026, 1, 2))
    source = "{{currentDate}} {{yesterdayDate `x`}} {{json .M}} {{slice .A 0 1}} {{toTypeScriptType .A}}"
    assert rendered(source, dialect=dialect) == '2026-01-02 2026-01-01 {"k1":"v","k2":"w"} x any'
    with pytest.raises(ParseError, match='function "upper" not defined'):
        rendered("{{upper .A}}", dialect=dialect)


@pytest.mark.parametrize("name", ["env", "expandenv", "getHostByName", "genPrivateKey", "randAlpha", "osBase", "call"])
def test_no_function_reaches_outside(name: str) -> None:
    for dialect in (LOCALAI, OLLAMA):
        with pytest.raises(ParseError, match=f'function "{name}" not defined'):
            rendered("{{" + name + " 1}}", dialect=dialect)


def test_a_missing_key_is_nil_in_ollamas_dialect() -> None:
    assert rendered("{{.No}}{{if .No}}{{end}}{{(.No).Deep}}", dialect=OLLAMA) == "<no value><no value>"
    with pytest.raises(ExecutionError, match=r"nil pointer evaluating interface \{\}\.Deep"):
        rendered("{{.No.Deep}}", dialect=OLLAMA)


#: Templates that would take all there is, one way or another.
GREEDY = [
    "{{range 1000000000}}{{end}}",
    "{{range 1000000}}" + "x" * 100 + "{{end}}",
    '{{define "r"}}{{template "r" .}}{{end}}{{template "r" .}}',
    '{{define "r"}}{{range 9}}{{template "r" .}}{{end}}{{end}}{{template "r" .}}',
    '{{$x := "ab"}}{{range 99}}{{$x = printf "%s%s" $x $x}}{{end}}',
    '{{$x := repeat 1000000 "a"}}{{range 1000000}}{{$y := eq $x $x}}{{end}}',
    '{{repeat 1000000000 "a"}}',
    "{{$x := list 1}}{{range 99}}{{$x = list $x $x}}{{end}}{{$x}}",
    "{{$x := list 1}}{{range 99}}{{$x = list $x $x}}{{end}}{{toJson $x}}",
    "{{$x := list 1}}{{range 999}}{{$x = list $x}}{{end}}{{$x}}",
    "{{$x := list 1}}{{range 100000}}{{$x = append $x $x}}{{end}}",
    '{{printf "%999999d%999999d%999999d%999999d%999999d" 1 2 3 4 5}}',
    '{{indent 1000000 "\\n\\n\\n\\n\\n\\n\\n\\n\\n"}}',
    "{{$x := 3}}{{range 1000000000}}{{$x = mul $x $x}}{{end}}",
    "".join(f"{{{{$v{n} := 1}}}}" for n in range(1500)) + "{{range 1000000}}{{$}}{{end}}",
]


@pytest.mark.parametrize("source", GREEDY)
def test_a_greedy_template_ends_within_seconds_by_a_clear_error(source: str) -> None:
    began = time.thread_time()
    with pytest.raises(TooMuch, match="template: "):
        rendered(source, "")
    assert time.thread_time() - began < 10


@pytest.mark.parametrize(
    "source",
    [
        "{{if 1}}" * (MAX_NESTING + 1) + "{{end}}" * (MAX_NESTING + 1),
        "{{" + "(" * (MAX_NESTING + 1) + "1" + ")" * (MAX_NESTING + 1) + "}}",
        " " * (MAX_SOURCE_CHARACTERS + 1),
    ],
)
def test_a_source_has_bounds(source: str) -> None:
    with pytest.raises(ParseError, match="more than"):
        Template(source, LOCALAI)


def test_what_is_nested_as_deep_as_may_be_runs() -> None:
    deep = MAX_NESTING - 2
    assert rendered("{{if 1}}" * deep + "x" + "{{end}}" * deep) == "x"
    assert rendered("{{" + "(" * deep + "1" + ")" * deep + "}}") == "1"
    chain = "{{if .B}}" + "{{else if .B}}" * 1000 + "{{else}}x{{end}}"
    assert rendered(chain) == "x"


def test_text_may_be_as_long_as_the_bound() -> None:
    assert len(rendered("{{.}}{{.}}", "x" * (MAX_OUTPUT // 2))) == MAX_OUTPUT
    with pytest.raises(TooMuch, match=f"more than {MAX_OUTPUT} characters"):
        rendered("{{.}}{{.}}.", "x" * (MAX_OUTPUT // 2))


PIECES = [
    "{{", "}}", "{{-", "-}}", " ", ".", ".A", ".M.k1", "$", "$x", ":=", "=", "|", "(", ")", ",", "if", "else", "end",
    "range",
    "with", "define", "template", "block", "break", "continue", "nil", "true", "1", "-1.5", "'a'", '"s"', "`r`", '"', "/*",
    "*/",
    "eq", "and", "or", "not", "len", "index", "slice", "print", "printf", "json", "toJson", "list", "dict", "add", "div",
    "first", "append", "split", "join", "indent", "date", "now", "html", "\n", "é", "\\", "%d", "text",
]  # fmt: skip
WHOLES = [
    "{{if .A}}", "{{else}}", "{{else if .B}}", "{{end}}", "{{range $i, $e := .L}}", "{{range .M}}", "{{with .A}}",
    "{{$x := .L}}",
    "{{$x = index .L 1}}", '{{define "t"}}', '{{template "t" .}}', "{{break}}", "{{.A}}", "{{.Z.X}}", "{{slice .U 1 2}}",
    '{{printf "%*d %q" .A .L}}', "{{len .T}}", "{{lt .A .L}}", "{{div 1 .B}}", "{{.M | toJson}}", "{{first .A}}",
    "{{date .A .B}}",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_tried_nothing_comes_out_but_text_or_a_templates_error(seed: int) -> None:
    chance = random.Random(seed)
    parsed, complaints = 0, []
    for _ in range(400):
        kinds = WHOLES if chance.random() < 0.5 else PIECES
        source = "".join(chance.choice(kinds) for _ in range(chance.randrange(1, 14)))
        if chance.random() < 0.3:
            source = "{{" + source + "}}"
        for dialect in (LOCALAI, OLLAMA):
            try:
                template = Template(source, dialect)
                parsed += 1
                assert isinstance(template.render(DATA), str)
            except GoTemplateError as error:
                complaints.append(error.message)
    assert parsed
    assert all(message.startswith("template: ") for message in complaints)


@pytest.mark.parametrize("name", sorted(LOCALAI.functions.keys() | OLLAMA.functions.keys()))
def test_every_function_takes_anything_without_breaking(name: str) -> None:
    chance = random.Random(name)
    values = [
        ".A",
        ".B",
        ".L",
        ".E",
        ".M",
        ".T",
        ".Z",
        ".U",
        "1",
        "-1",
        "1.5",
        "99999999",
        '"%d"',
        '"x"',
        "nil",
        ".Now",
    ]
    complaints = []
    for _ in range(150):
        source = "{{" + " ".join([name, *(chance.choice(values) for _ in range(chance.randrange(4)))]) + "}}"
        for dialect in (LOCALAI, OLLAMA):
            if name in dialect.functions:
                try:
                    rendered(source, dialect=dialect)
                except ExecutionError as error:
                    complaints.append(error.message)
    assert all(name in message for message in complaints)
