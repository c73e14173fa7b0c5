"""What a shell between author and server makes of quotes, undone: aikit's own cases, rewritten (models sheet 1.5)."""

from __future__ import annotations

import pytest
from tropilla.common.manifest.shell import template_text, unescaped, unshelled

#: (as written, as meant)
CASES = [
    (r"{{if eq .RoleName \"assistant\"}}x{{end}}", '{{if eq .RoleName "assistant"}}x{{end}}'),
    (r"name: \"llama\"", 'name: "llama"'),
    # A Go raw string: the shell would have run it, and left `{{}}`.
    (r"<function=f>{{`{{\"name\": \"value\"}}`}}</function>", '<function=f>{{`{{"name": "value"}}`}}</function>'),
    (r"\"\`x\`\" costs \$5, \\n", r'"`x`" costs $5, \n'),
    # Other backslashes are nobody's business.
    (r"\"(?P<name>\w+)\"", r'"(?P<name>\w+)"'),
    ("\\\"a\\\nb\\\"", '"ab"'),
    # Nothing is expanded or run, and `\n` stays two characters.
    (r"\"$HOME `id` \n\"", r'"$HOME `id` \n"'),
    # A pair of backslashes is one, and what follows it is not escaped by it.
    (r"\"a\\\"", '"a\\"'),
]  # fmt: skip

UNTOUCHED = [
    'plain "quotes"',
    "no quotes at all",
    # Both kinds: whoever wrote it meant something else.
    r'a "quote" and \"another\"',
    r"\w+ \$5 \`x\` \\",
    "",
]


@pytest.mark.parametrize(("written", "meant"), CASES)
def test_a_text_for_a_shell_is_read_as_the_shell_would(written: str, meant: str) -> None:
    assert unshelled(written) == meant


@pytest.mark.parametrize("written", UNTOUCHED)
def test_every_other_text_stays(written: str) -> None:
    assert unshelled(written) == written


def test_escapes_are_undone_once() -> None:
    assert unescaped(r"\\\"") == r"\""


def test_a_template_that_only_parses_unescaped_is_repaired() -> None:
    mixed = r'{{if eq .RoleName \"user\"}}"{{.Content}}"{{end}}'
    assert template_text(mixed) == ('{{if eq .RoleName "user"}}"{{.Content}}"{{end}}', True)
    assert template_text(r"{{if eq .RoleName \"user\"}}{{end}}") == ('{{if eq .RoleName "user"}}{{end}}', False)
    assert template_text('{{"a"}} \\"') == ('{{"a"}} \\"', False)
    assert template_text("{{ broken") == ("{{ broken", False)
