"""Prompts with pictures: where a picture stands in the ids, whatever a template does with the text around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from eyes import CLOSE, OPEN, FakeEyes, Files, gallery
from fakes import BOS, EOS, IM_END, IM_START, MARKER_TEXTS, FakeVocabulary, request
from tropilla.common.errors import ContextExceeded, GenerationFailed, InvalidPrompt
from tropilla.common.generation import (
    PICTURE,
    ChatPrompt,
    EmbeddingRequest,
    Fit,
    Image,
    LocalTemplates,
    Message,
    Prompt,
    PromptToken,
    Sampling,
    TextPrompt,
    TokenizeRequest,
    Tool,
    ToolCall,
)
from tropilla.workers import embeddings
from tropilla.workers.answers import Answers
from tropilla.workers.intake import Intake
from tropilla.workers.placeholders import Placeholders
from tropilla.workers.prompt import ChatTemplate
from tropilla.workers.sampler import Sampler
from tropilla.workers.sequence import Sequence

PLAIN = "{% for m in messages %}[{{ m.role[0] }}:{{ m.content }}]{% endfor %}"


class NoGrammars:
    def matcher(self, grammar: str) -> Any:
        raise AssertionError("nothing is constrained here")


class Kitchen:
    """An intake over the byte vocabulary, with eyes or without."""

    def __init__(
        self,
        *,
        context: int = 100,
        template: str = PLAIN,
        blind: bool = False,
        adds_bos: bool = False,
        bare: bool = False,
    ) -> None:
        self.eyes, self.files = FakeEyes(bare=bare), Files()
        self.vocabulary = FakeVocabulary(adds_bos=adds_bos)
        made = ChatTemplate(template, bos="<s>", eos="</s>", markers=MARKER_TEXTS)
        answers = Answers(made, NoGrammars(), special=self.vocabulary.tags)
        seen = None if blind else gallery(self.eyes, self.files.files)
        self.intake = Intake(self.vocabulary, made, answers, context=context, gallery=seen)

    def image(self, width: int = 3) -> Image:
        return self.files.image(width)

    def sequence(self, prompt: Prompt, **fields: Any) -> Sequence:
        return self.intake.sequences(request(prompts=(prompt,), **fields))[0]

    def shown(self, prompt: Prompt, **fields: Any) -> str:
        return shown(self.sequence(prompt, **fields).tokens)

    def told(self, prompt: Prompt) -> tuple[tuple[PromptToken, ...], str]:
        return self.intake.tokenized(TokenizeRequest("r", "m", (prompt,)))[0]


def shown(tokens: list[int]) -> str:
    """Text as it is, a `#` for each place of a picture."""
    return b"".join(b"#" if token < 0 else FakeVocabulary().piece(token) for token in tokens).decode()


def says(text: str, *images: Image, role: str = "user") -> Message:
    """`@` is where an image stands."""
    return Message(role, text.replace("@", PICTURE), images=images)


def refusal(kitchen: Kitchen, prompt: Prompt, **fields: Any) -> tuple[str, str]:
    with pytest.raises(InvalidPrompt) as caught:
        kitchen.sequence(prompt, **fields)
    return caught.value.code, caught.value.message


# -- where they stand ----------------------------------------------------------------------------------------------------


def test_a_picture_takes_its_places_where_it_stands_with_what_the_model_wants_around_it() -> None:
    kitchen = Kitchen()
    sequence = kitchen.sequence(ChatPrompt((says("a @ b", kitchen.image(3)),)))
    assert shown(sequence.tokens) == "[u:a <###> b]"
    assert sequence.tokens[5:10] == [OPEN, -1, -2, -3, CLOSE]
    span = sequence.views.at(6)
    assert span is not None
    assert (span.start, span.stop, span.rows.tolist()) == (6, 9, [[3.0] * 4] * 3)


def test_pictures_stand_in_their_order_and_the_same_one_has_the_same_numbers() -> None:
    kitchen = Kitchen()
    one, two = kitchen.image(1), kitchen.image(2)
    sequence = kitchen.sequence(ChatPrompt((says("@@ and @", one, two, one), says("@", two))))
    assert shown(sequence.tokens) == "[u:<#><##> and <#>][u:<##>]"
    assert [token for token in sequence.tokens if token < 0] == [-1, -2, -3, -1, -2, -3]
    assert kitchen.eyes.encoded == [1, 2]


@pytest.mark.parametrize(
    ("text", "special", "adds_bos", "expected"),
    [
        ("@", False, True, "<s>###\n"),
        ("@", False, False, "###\n"),
        ("@@", False, False, "######\n"),
        ("<|im_end|>@.", True, False, "<|im_end|>###."),
        ("<|im_end|>@", False, True, "<s><|im_end|>###\n"),
    ],
)
def test_a_text_begins_with_a_bos_before_its_picture_and_never_ends_in_one(
    text: str, special: bool, adds_bos: bool, expected: str
) -> None:
    kitchen = Kitchen(adds_bos=adds_bos, bare=True)
    prompt = TextPrompt(text.replace("@", PICTURE), special, images=(kitchen.image(),) * text.count("@"))
    sequence = kitchen.sequence(prompt)
    assert shown(sequence.tokens) == expected
    assert (IM_END in sequence.tokens) == (special and "im_end" in text)
    assert sequence.tokens.count(BOS) == adds_bos


def test_what_stood_before_the_prompt_stands_before_its_pictures() -> None:
    kitchen = Kitchen()
    prompt = TextPrompt(PICTURE + "b", context=(97,), images=(kitchen.image(),))
    assert kitchen.shown(prompt) == "a<###>b"
    assert refusal(kitchen, TextPrompt("b" + PICTURE, context=(-1,), images=(kitchen.image(),)))[1].startswith(
        "token id -1"
    )


#: Templates, and what becomes of a conversation with a picture in each of two neighbouring messages and in a tool's result.
SOURCES = {
    "jinja": PLAIN,
    "trims, and insists on strings": "{% for m in messages %}[{{ m.role[0] }}:{{ (m.content + '') | trim }}]{% endfor %}",
    "parts": "{% for m in messages %}[{{ m.role[0] }}:{% for p in m.content %}{{ p.text }}{% endfor %}]{% endfor %}",
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_picture_survives_what_jinja_templates_do(source: str) -> None:
    kitchen = Kitchen(template=source)
    messages = (says("@ 1", kitchen.image(1), role="system"), says("2 @", kitchen.image(2)))
    assert kitchen.shown(ChatPrompt(messages)) == "[s:<#> 1][u:2 <##>]"


def test_neighbours_that_are_merged_keep_their_pictures_in_order_and_so_do_systems_that_move() -> None:
    insists = (
        "{% for m in messages %}{% if loop.index0 > 0 and m.role == messages[loop.index0 - 1].role %}"
        "{{ raise_exception('twice') }}{% endif %}[{{ m.role[0] }}:{{ m.content }}]{% endfor %}"
    )
    kitchen = Kitchen(template=insists)
    messages = (
        says("@", kitchen.image(1)),
        says("@", kitchen.image(2)),
        says("@", kitchen.image(3), role="system"),
    )
    assert kitchen.shown(ChatPrompt(messages)) == "[s:<###>][u:<#>\n\n<##>]"


def test_a_tool_s_result_may_be_a_picture_also_where_the_template_knows_no_tools() -> None:
    kitchen = Kitchen(context=1000)
    call = Message("assistant", "", tool_calls=(ToolCall("look", "{}", "1"),))
    results = (says("@", kitchen.image(2), role="tool"), says("and @", kitchen.image(1), role="tool"))
    told = kitchen.shown(ChatPrompt((Message("user", "Look."), call, *results), tools=(Tool("look"),)))
    assert told.endswith("<##>\n\nResult of the function:\nand <#>]")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (
            "{{range .Messages}}<{{.Role}}{{if .Images}} sees{{end}}>{{.Content}}{{end}}",
            "<user sees>a <##><assistant>b",
        ),
        ("{{if .Prompt}}[{{.Prompt}}]{{end}}{{.Response}}", "[a <##>]b"),
        (LocalTemplates(chat_message="({{.Content}})", chat="{{.Input}}"), "(a <##>)\n(b"),
    ],
)
def test_a_picture_survives_templates_in_go(template: str | LocalTemplates, expected: str) -> None:
    kitchen = Kitchen()
    messages = (says("a @", kitchen.image(2)), Message("assistant", "b"))
    assert kitchen.shown(ChatPrompt(messages, template=template)) == expected


def test_a_plain_prompt_s_template_writes_around_its_picture() -> None:
    kitchen = Kitchen()
    template = LocalTemplates(completion="Q: {{.Input}} A:")
    assert kitchen.shown(TextPrompt(f"{PICTURE}?", images=(kitchen.image(1),), template=template)) == "Q: <#>? A:"


# -- what is refused -----------------------------------------------------------------------------------------------------


def test_a_model_without_a_projector_reads_no_images() -> None:
    kitchen = Kitchen(blind=True)
    code, message = refusal(kitchen, ChatPrompt((says("@", kitchen.image()),)))
    assert (code, "no projector" in message) == ("unsupported", True)


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        (
            "{% for m in messages %}{% if loop.last %}{{ m.content }}{% endif %}{% endfor %}",
            "template",
            "1 of 2",
        ),
        ("nothing", "template", "leaves out 2 of 2 images"),
    ],
)
def test_a_template_that_leaves_an_image_out_is_not_let_get_away_with_it(source: str, code: str, words: str) -> None:
    kitchen = Kitchen(template=source)
    prompt = ChatPrompt((says("@", kitchen.image(1)), says("a", role="assistant"), says("@", kitchen.image(2))))
    found = refusal(kitchen, prompt)
    assert found[0] == code
    assert words in found[1]
    assert kitchen.eyes.encoded == []


@pytest.mark.parametrize("text", ["", "@@", "a"])
def test_images_and_their_places_are_equally_many(text: str) -> None:
    kitchen = Kitchen()
    assert refusal(kitchen, ChatPrompt((says(text, kitchen.image()),)))[0] == "invalid_prompt"
    assert refusal(kitchen, TextPrompt(text.replace("@", PICTURE), images=(kitchen.image(),)))[0] == "invalid_prompt"


def test_a_place_without_any_image_is_lost() -> None:
    assert Kitchen().shown(ChatPrompt((says("a@b"),))) == "[u:ab]"


def test_nobody_shows_a_picture_by_what_is_no_content() -> None:
    kitchen = Kitchen(
        template="{% for m in messages %}{{ m.name }}|{{ m.reasoning_content }}|{{ m.content }}{% endfor %}"
    )
    said = Message("assistant", PICTURE, name=f"n{PICTURE}", reasoning=PICTURE, images=(kitchen.image(1),))
    assert kitchen.shown(ChatPrompt((said,), continue_last=False)) == "n||<#>"


def test_a_mark_cannot_be_forged_without_its_nonce() -> None:
    places = Placeholders("00c0ffee")
    forged = f"{PICTURE}0{PICTURE} \ufdd30\ufdd3 \ufdd3beef0\ufdd3"
    marked = places.marked(TextPrompt(f"x{PICTURE}", images=(Image("d"),)))
    assert isinstance(marked, TextPrompt)
    assert list(places.pieces(marked.text)) == ["x", 0, ""]
    assert list(places.pieces(forged)) == [forged]


def test_prompts_with_images_have_no_log_probabilities_and_no_vectors() -> None:
    kitchen = Kitchen()
    prompt = TextPrompt(PICTURE, images=(kitchen.image(),))
    assert refusal(kitchen, prompt, prompt_logprobs=0)[0] == "unsupported"
    with pytest.raises(InvalidPrompt, match="no images") as caught:
        embeddings.inputs(EmbeddingRequest("r", "m", (prompt,)), kitchen.vocabulary, longest=9, length=4)
    assert caught.value.code == "unsupported"


def test_an_image_that_is_gone_says_so() -> None:
    with pytest.raises(GenerationFailed) as caught:
        Kitchen().sequence(TextPrompt(PICTURE, images=(Image("0" * 64),)))
    assert caught.value.code == "expired"


# -- what fits, and what is told -----------------------------------------------------------------------------------------


def test_an_image_counts_with_all_its_places() -> None:
    kitchen = Kitchen(context=20)
    prompt = ChatPrompt((says("@", kitchen.image(12)),))
    assert kitchen.sequence(prompt, max_tokens=2).prompt_length == 18
    with pytest.raises(ContextExceeded) as caught:
        kitchen.sequence(ChatPrompt((says("@", kitchen.image(15)),)), max_tokens=2)
    assert caught.value.facts["prompt_tokens"] == 21
    assert kitchen.eyes.encoded == [12]


def test_images_of_messages_that_are_dropped_are_not_encoded() -> None:
    kitchen = Kitchen(context=30)
    messages = (says("@", kitchen.image(9)), says("b", role="assistant"), says("@", kitchen.image(7)))
    assert kitchen.shown(ChatPrompt(messages), fit=Fit("drop"), max_tokens=4) == "[a:b][u:<#######>]"
    assert kitchen.eyes.encoded == [7]


@pytest.mark.parametrize(
    ("keep_last", "expected"),
    [(2, "b]"), (3, ">b]"), (5, ">b]"), (6, "###>b]"), (7, "<###>b]")],
)
def test_a_cut_leaves_nothing_of_an_image_that_it_tears(keep_last: int, expected: str) -> None:
    kitchen = Kitchen()
    prompt = ChatPrompt((says("a @b", kitchen.image(3)),))
    sequence = kitchen.sequence(prompt, fit=Fit(keep_last=keep_last))
    assert shown(sequence.tokens) == expected
    assert bool(sequence.views) == ("#" in expected)


def test_a_prompt_that_is_shortened_in_its_middle_has_its_images_whole() -> None:
    kitchen = Kitchen(context=16)
    text = TextPrompt(f"abc{PICTURE}defghijklm", images=(kitchen.image(6),))
    for keep in range(-1, 12):
        sequence = kitchen.sequence(text, fit=Fit("shorten", keep=keep), max_tokens=1)
        assert shown(sequence.tokens).count("#") in (0, 6)
        assert sequence.tokens[-1] >= 0


@pytest.mark.parametrize("keep", [-1, 7, 99])
def test_where_a_cut_leaves_nothing_of_a_prompt_it_is_refused_with_its_whole_length(keep: int) -> None:
    """The image stands first, and what is kept of the prompt ends within it."""
    kitchen = Kitchen(context=8, bare=True)
    prompt = TextPrompt(f"{PICTURE}abc", images=(kitchen.image(9),))
    with pytest.raises(ContextExceeded, match="the prompt has 12 tokens; the context has 8"):
        kitchen.sequence(prompt, fit=Fit("shorten", keep=keep), max_tokens=1)


def test_an_image_that_leaves_no_room_without_shifting_is_refused_before_it_is_encoded() -> None:
    kitchen = Kitchen(context=20)
    prompt = TextPrompt(f"{PICTURE}b", images=(kitchen.image(9),))
    with pytest.raises(ContextExceeded, match="12 tokens and the answer may have 10; the context has 20"):
        kitchen.sequence(prompt, fit=Fit(shift=True, room="refuse"), max_tokens=10)
    assert kitchen.eyes.encoded == []


def test_a_context_with_an_image_in_it_does_not_shift() -> None:
    kitchen = Kitchen(context=20)
    with_image = kitchen.sequence(TextPrompt(f"{PICTURE}b", images=(kitchen.image(3),)), fit=Fit(shift=True))
    assert (with_image.rules.shift_keep, with_image.rules.max_tokens) == (None, 20 - 6)
    without = kitchen.sequence(TextPrompt("b"), fit=Fit(shift=True))
    assert (without.rules.shift_keep, without.rules.max_tokens) == (0, 200)


def test_places_of_images_are_counted_and_neither_told_nor_penalized() -> None:
    kitchen = Kitchen()
    prompt = TextPrompt(f"a{PICTURE}b", images=(kitchen.image(3),))
    sequence = kitchen.sequence(prompt, want_prompt=True, sampling=Sampling(repeat_penalty=1.5, dry_multiplier=1.0))
    assert sequence.prompt_length == 7
    assert [token.id for token in sequence.reported_prompt] == [*b"a<>b"]
    assert isinstance(sequence.sampler, Sampler)
    assert sequence.finish(0, 0.0, "w").usage.prompt == 7


def test_tokens_are_told_by_measuring_alone_and_an_image_s_text_is_its_number() -> None:
    kitchen = Kitchen()
    tokens, text = kitchen.told(ChatPrompt((says("a @ @", kitchen.image(2), kitchen.image(1)),)))
    assert text == "[u:a [img-0] [img-1]]"
    assert [token.id for token in tokens] == [*b"[u:a <", -1, -1, *b"> <", -1, *b">]"]
    assert tokens[6] == PromptToken(-1, b"", special=True)
    assert kitchen.eyes.encoded == []
    assert kitchen.told(TextPrompt(f"{PICTURE}b", context=(97,), images=(kitchen.image(1),)))[1] == "a[img-0]b"


def test_whoever_is_not_wanted_any_more_has_no_further_picture_unpacked_or_encoded() -> None:
    class Enough(Exception):
        pass

    for asked, measured, encoded in [(1, [1], []), (2, [1, 2], []), (3, [1, 2], [1])]:
        kitchen, left = Kitchen(), iter(range(asked))

        def go_on(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Enough

        prompt = TextPrompt(f"{PICTURE}{PICTURE}b", images=(kitchen.image(1), kitchen.image(2)))
        with pytest.raises(Enough):
            kitchen.intake.sequences(request(prompts=(prompt,)), go_on=go_on)
        assert (kitchen.eyes.measured, kitchen.eyes.encoded) == (measured, encoded)


def test_encoding_is_a_part_of_prefill() -> None:
    kitchen = Kitchen()
    sequence = kitchen.sequence(TextPrompt(PICTURE, images=(kitchen.image(),)))
    sequence.encoding_seconds = 2.0
    sequence.added_at, sequence.started_at, sequence.first_token_at = 1.0, 3.0, 7.0
    timings = sequence.finish(0, 8.0, "w").timings
    assert (timings.queue, timings.prefill, timings.decode) == (2.0, 6.0, 1.0)
    assert kitchen.sequence(TextPrompt("a")).encoding_seconds == 0.0


def test_all_choices_of_a_prompt_see_the_same() -> None:
    kitchen = Kitchen()
    prompts = (TextPrompt(PICTURE, images=(kitchen.image(2),)), TextPrompt(f"b{PICTURE}", images=(kitchen.image(2),)))
    sequences = kitchen.intake.sequences(request(prompts=prompts, n=2))
    assert [shown(one.tokens) for one in sequences] == ["<##>"] * 2 + ["b<##>"] * 2
    assert kitchen.eyes.encoded == [2]


def test_a_marker_beside_a_picture_is_still_no_marker() -> None:
    kitchen = Kitchen()
    tokens = kitchen.sequence(ChatPrompt((says("<|im_start|>@</s>", kitchen.image(1)),))).tokens
    assert not {IM_START, EOS} & set(tokens)
    assert shown(tokens) == "[u:<|im_start|><#></s>]"
