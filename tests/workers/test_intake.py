from __future__ import annotations

from typing import Any

import pytest
from fakes import BOS, EOS, IM_END, IM_START, FakeVocabulary, request
from tropilla.common.errors import ContextExceeded, InvalidPrompt
from tropilla.common.generation import (
    BAN,
    MAX_SEED,
    ChatPrompt,
    Constraint,
    Fit,
    InfillPrompt,
    Message,
    MixedPrompt,
    PromptToken,
    Sampling,
    TextPrompt,
    Token,
    TokenizeRequest,
    TokenPrompt,
)
from tropilla.workers.answers import Answers
from tropilla.workers.continuation import Past
from tropilla.workers.intake import TOLD_TOKENS, Intake
from tropilla.workers.prompt import ChatTemplate
from tropilla.workers.sampler import Sampler
from tropilla.workers.sequence import Sequence

PLAIN = "{{ bos_token }}{% for m in messages %}[{{ m.role[0] }}:{{ m.content }}]{% endfor %}"


class FakeGrammars:
    """Keeps the grammars that matchers were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def matcher(self, grammar: str) -> Any:
        self.asked.append(grammar)
        return f"matcher {len(self.asked)}"


def sampler_of(one: Sequence) -> Sampler:
    assert isinstance(one.sampler, Sampler)
    return one.sampler


class Kitchen:
    """An intake over the byte vocabulary."""

    def __init__(self, *, context: int = 20, adds_bos: bool = True, template: str = PLAIN) -> None:
        self.template = ChatTemplate(template, bos="<s>", eos="</s>")
        self.vocabulary = FakeVocabulary(adds_bos=adds_bos)
        self.grammars = FakeGrammars()
        answers = Answers(self.template, self.grammars, special=self.vocabulary.tags)
        self.intake = Intake(self.vocabulary, self.template, answers, context=context)

    def sequences(self, *prompts: Any, **fields: Any) -> list[Sequence]:
        return self.intake.sequences(request(prompts=prompts, **fields))

    def tokens(self, prompt: Any, **fields: Any) -> list[int]:
        return self.sequences(prompt, **fields)[0].tokens


def chat(*turns: str, context: tuple[int, ...] = ()) -> ChatPrompt:
    """`u:hello` is a user's turn."""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return ChatPrompt(tuple(Message(roles[turn[0]], turn[2:]) for turn in turns), context=context)


def text_of(tokens: list[int]) -> str:
    return b"".join(map(FakeVocabulary().piece, tokens)).decode()


def test_text_begins_with_one_bos_when_the_model_wants_one() -> None:
    assert Kitchen().tokens(TextPrompt("hi")) == [BOS, *b"hi"]
    assert Kitchen(adds_bos=False).tokens(TextPrompt("hi")) == [*b"hi"]


def test_a_chat_begins_with_one_bos_though_its_template_writes_one_too() -> None:
    assert Kitchen().tokens(chat("u:hi")) == [BOS, *b"[u:hi]"]


def test_an_empty_prompt_starts_from_the_bos() -> None:
    assert Kitchen().tokens(TextPrompt("")) == [BOS]
    assert Kitchen(adds_bos=False).tokens(TextPrompt("")) == [BOS]
    assert Kitchen().tokens(TokenPrompt(())) == [BOS]


def test_token_ids_are_taken_as_they_stand() -> None:
    assert Kitchen().tokens(TokenPrompt((1, 2, 3))) == [1, 2, 3]


def test_ids_and_texts_may_come_in_turn() -> None:
    assert Kitchen().tokens(MixedPrompt((1, "ab", 2, "c"))) == [1, *b"ab", 2, *b"c"]
    assert Kitchen().tokens(MixedPrompt(("ab", 1))) == [BOS, *b"ab", 1]
    assert IM_START not in Kitchen().tokens(MixedPrompt((1, "<|im_start|>")))
    with pytest.raises(InvalidPrompt):
        Kitchen().tokens(MixedPrompt(("a", 999)))


def test_markers_are_shown_where_the_request_says_so() -> None:
    for shown in (False, True):
        assert Kitchen().sequences(TextPrompt("a"), show_markers=shown)[0].rules.show_markers is shown


def test_markers_in_text_are_markers_only_where_the_request_says_so() -> None:
    assert IM_START in Kitchen().tokens(TextPrompt("<|im_start|>x", special=True))
    assert IM_START not in Kitchen().tokens(TextPrompt("<|im_start|>x"))


@pytest.mark.parametrize("wrong", [-1, 260, 2**40])
def test_token_ids_out_of_the_vocabulary_are_refused(wrong: int) -> None:
    with pytest.raises(InvalidPrompt, match=f"token id {wrong} is out of vocabulary") as caught:
        Kitchen().sequences(TokenPrompt((1, wrong)))
    assert caught.value.code == "invalid_prompt"


def test_context_ids_out_of_the_vocabulary_are_refused_too() -> None:
    for prompt in (TextPrompt("x", context=(999,)), chat("u:x", context=(999,))):
        with pytest.raises(InvalidPrompt):
            Kitchen().sequences(prompt)


def test_context_ids_stand_before_the_turn_without_a_second_bos() -> None:
    assert Kitchen().tokens(TextPrompt("hi", context=(BOS, 7))) == [BOS, 7, *b"hi"]
    assert Kitchen().tokens(chat("u:hi", context=(BOS, 7))) == [BOS, 7, *b"[u:hi]"]


def test_each_choice_has_its_own_seed_number_and_sampler() -> None:
    kitchen = Kitchen()
    made = kitchen.sequences(TextPrompt("a"), TextPrompt("b"), n=2, sampling=Sampling(seed=5))
    assert [(one.choice, one.seed, text_of(one.tokens)) for one in made] == [
        (0, 5, "<s>a"),
        (1, 6, "<s>a"),
        (2, 5, "<s>b"),
        (3, 6, "<s>b"),
    ]
    assert [sampler_of(one).sampling.seed for one in made] == [5, 6, 5, 6]


def test_seeds_wrap_before_the_one_that_means_draw_one_yourself() -> None:
    made = Kitchen().sequences(TextPrompt("a"), n=2, sampling=Sampling(seed=MAX_SEED))
    assert [one.seed for one in made] == [MAX_SEED, 0]


def test_the_prompt_is_reported_when_wanted() -> None:
    silent, told = (Kitchen().sequences(TextPrompt("a"), want_prompt=wanted)[0] for wanted in (False, True))
    assert silent.reported_prompt == ()
    assert told.reported_prompt == (PromptToken(BOS, b"<s>", special=True), PromptToken(ord("a"), b"a"))


def test_the_answer_may_fill_what_the_prompt_leaves() -> None:
    assert Kitchen().sequences(TokenPrompt((1,) * 5))[0].rules.max_tokens == 15
    assert Kitchen().sequences(TokenPrompt((1,) * 5), fit=Fit(context_limit=8))[0].rules.max_tokens == 3
    assert Kitchen().sequences(TokenPrompt((1,) * 5), fit=Fit(context_limit=99))[0].rules.max_tokens == 15


def test_more_than_fits_is_clipped_or_refused() -> None:
    prompt = TokenPrompt((1,) * 15)
    assert Kitchen().sequences(prompt, max_tokens=10)[0].rules.max_tokens == 5
    assert Kitchen().sequences(prompt, max_tokens=5, fit=Fit(room="refuse"))[0].rules.max_tokens == 5
    with pytest.raises(ContextExceeded) as caught:
        Kitchen().sequences(prompt, max_tokens=6, fit=Fit(room="refuse"))
    assert caught.value.facts == {"prompt_tokens": 15, "context": 20, "max_tokens": 6}


def test_there_may_have_to_be_room_for_the_least_only() -> None:
    """TGI's rule of chunks: the beginning of the answer must fit, and the rest is clipped."""
    prompt = TokenPrompt((1,) * 15)
    assert Kitchen().sequences(prompt, max_tokens=50, fit=Fit(room="refuse", least=5))[0].rules.max_tokens == 5
    with pytest.raises(ContextExceeded) as caught:
        Kitchen().sequences(prompt, max_tokens=50, fit=Fit(room="refuse", least=6))
    assert caught.value.facts["max_tokens"] == 6
    assert Kitchen().sequences(prompt, max_tokens=4, fit=Fit(room="refuse", least=6))[0].rules.max_tokens == 4


def test_a_prompt_must_leave_room_for_one_token_unless_none_is_wanted() -> None:
    assert Kitchen().sequences(TokenPrompt((1,) * 19))[0].rules.max_tokens == 1
    assert Kitchen().sequences(TokenPrompt((1,) * 20), max_tokens=0)[0].rules.max_tokens == 0
    with pytest.raises(ContextExceeded) as caught:
        Kitchen().sequences(TokenPrompt((1,) * 20))
    assert (caught.value.code, caught.value.facts) == ("context_length", {"prompt_tokens": 20, "context": 20})


def test_keep_last_cuts_the_beginning_off_first() -> None:
    ids = TokenPrompt(tuple(range(50)))
    assert Kitchen().tokens(ids, fit=Fit(keep_last=4)) == [46, 47, 48, 49]
    assert Kitchen().tokens(TokenPrompt((1, 2)), fit=Fit(keep_last=4)) == [1, 2]


#: limit, keep -> what is left of 0..9; the first is the example of Ollama's own documentation.
MIDDLES = [
    (8, 3, [0, 1, 2, 7, 8, 9]),
    (8, 0, [6, 7, 8, 9]),
    (8, 7, [0, 1, 2, 3, 4, 5, 6]),
    (8, 99, [0, 1, 2, 3, 4, 5, 6]),
    (8, -1, [0, 1, 2, 3, 4, 5, 6]),
    (2, 1, [0]),
]


@pytest.mark.parametrize(("limit", "keep", "left"), MIDDLES)
def test_shortening_keeps_the_head_and_the_newest(limit: int, keep: int, left: list[int]) -> None:
    fit = Fit(overlong="shorten", keep=keep, context_limit=limit)
    assert Kitchen().tokens(TokenPrompt(tuple(range(10))), fit=fit) == left


def test_shortening_always_leaves_room_for_a_token() -> None:
    kitchen = Kitchen()
    for limit in range(2, 10):
        for keep in range(-1, 11):
            for length in range(1, 20):
                fit = Fit(overlong="shorten", keep=keep, context_limit=limit)
                one = kitchen.sequences(TokenPrompt((1,) * length), fit=fit)[0]
                assert one.rules.max_tokens >= 1
                assert 1 <= one.prompt_length < limit


def test_shortening_a_chat_drops_the_oldest_messages_that_are_not_system_messages() -> None:
    long = chat("s:be", "u:one", "a:two", "s:kind", "u:last")
    shorten = Fit(overlong="shorten")
    assert text_of(Kitchen(context=60).tokens(long, fit=shorten)) == "<s>[s:be][u:one][a:two][s:kind][u:last]"
    assert text_of(Kitchen(context=31).tokens(long, fit=shorten)) == "<s>[s:be][a:two][s:kind][u:last]"
    assert text_of(Kitchen(context=26).tokens(long, fit=shorten)) == "<s>[s:be][s:kind][u:last]"


def test_shortening_a_long_chat_does_not_render_it_once_per_message() -> None:
    kitchen = Kitchen(context=60)
    rendered: list[int] = []
    segments = kitchen.template.segments
    kitchen.template.segments = lambda prompt: rendered.append(len(prompt.messages)) or segments(prompt)  # type: ignore[func-returns-value, method-assign]
    left = kitchen.tokens(chat(*["u:x"] * 500), fit=Fit(overlong="shorten"))
    assert text_of(left) == "<s>" + "[u:x]" * 11
    assert len(rendered) < 20


def test_a_template_that_refuses_some_shorter_chat_gets_a_still_shorter_one() -> None:
    insists = "{% if messages[0].role == 'assistant' %}{{ raise_exception('no') }}{% endif %}" + PLAIN
    kitchen = Kitchen(context=24, template=insists)
    assert text_of(kitchen.tokens(chat("u:1", "a:2", "u:3", "a:4", "u:5"), fit=Fit(overlong="shorten"))) in (
        "<s>[u:3][a:4][u:5]",
        "<s>[u:5]",
    )


def test_a_chat_that_is_still_too_long_loses_its_middle() -> None:
    fit = Fit(overlong="shorten", keep=3)
    assert text_of(Kitchen(context=9).tokens(chat("u:a", "u:0123456789"), fit=fit)) == "<s>[u:89]"


def test_a_chat_that_is_too_long_is_refused_with_its_whole_length() -> None:
    with pytest.raises(ContextExceeded) as caught:
        Kitchen().sequences(chat("u:0123456789", "u:0123456789"))
    assert caught.value.facts == {"prompt_tokens": 29, "context": 20}


def test_dropping_messages_may_be_allowed_without_cutting_tokens() -> None:
    drop = Fit(overlong="drop")
    assert text_of(Kitchen(context=10).tokens(chat("u:a", "a:b", "u:c"), fit=drop)) == "<s>[u:c]"
    with pytest.raises(ContextExceeded):
        Kitchen(context=9).tokens(chat("u:a", "u:0123456789"), fit=drop)


def test_a_gap_stands_between_prefix_and_suffix_tokens() -> None:
    kitchen = Kitchen()
    with pytest.raises(InvalidPrompt, match="cannot fill in the middle") as caught:
        kitchen.sequences(InfillPrompt("a", "b"))
    assert caught.value.code == "unsupported"
    kitchen.vocabulary.infill = (1, 2, 3)
    assert kitchen.tokens(InfillPrompt("ab", "c")) == [BOS, 1, *b"ab", 2, *b"c", 3]


def test_what_may_not_come_is_biased_away() -> None:
    sampling = Sampling(logit_bias=((7, 1.5), ("ab", -2.0)))
    one = sampler_of(Kitchen().sequences(TextPrompt("x"), sampling=sampling, ignore_eos=True)[0])
    assert one._bias == {7: 1.5, ord("a"): -2.0, ord("b"): -2.0, EOS: BAN, IM_END: BAN}
    with pytest.raises(InvalidPrompt, match="token id 999"):
        Kitchen().sequences(TextPrompt("x"), sampling=Sampling(logit_bias=((999, 1.0),)))


@pytest.mark.parametrize(
    ("fit", "most", "keep"),
    [
        (Fit(), 15, None),
        (Fit(shift=True, keep=3), 200, 4),
        (Fit(shift=True, keep=-1), 200, 5),
        (Fit(shift=True, context_limit=8), 80, 1),
    ],
)
def test_a_context_that_may_shift_has_room_for_ten(fit: Fit, most: int, keep: int | None) -> None:
    one = Kitchen().sequences(TextPrompt("abcd"), fit=fit)[0]
    assert (one.rules.max_tokens, one.rules.shift_keep) == (most, keep)
    assert Kitchen().sequences(TextPrompt("abcd"), fit=fit, max_tokens=4)[0].rules.max_tokens == min(4, most)


def test_a_prompt_is_told_and_scored_only_by_who_begins() -> None:
    kitchen = Kitchen()
    asked = request(prompts=(TextPrompt("a"),), prompt_logprobs=1)
    fresh = kitchen.intake.sequences(asked)[0]
    resumed = kitchen.intake.sequences(asked, Past({0: (Token(0, 0, ord("b"), "b"),)}))[0]
    assert (fresh.scores_prompt, bool(fresh.reported_prompt)) == (True, True)
    assert (resumed.scores_prompt, resumed.reported_prompt, resumed.generated) == (False, (), 1)
    assert text_of(resumed.tokens) == "<s>ab"


def test_each_choice_has_a_matcher_of_its_own() -> None:
    kitchen = Kitchen()
    made = kitchen.sequences(TextPrompt("a"), n=2, constraint=Constraint("regex", "a+"))
    assert [sampler_of(one).matcher for one in made] == ["matcher 1", "matcher 2"]
    assert kitchen.grammars.asked[0] == kitchen.grammars.asked[1]


def test_no_end_stands_behind_a_prompt_whatever_the_tokenizer_adds() -> None:
    kitchen = Kitchen()
    kitchen.vocabulary.adds_eos = True
    assert kitchen.tokens(TextPrompt("hi")) == [BOS, *b"hi"]
    assert kitchen.tokens(chat("u:hi")) == [BOS, *b"[u:hi]"]


def tokenized(
    *prompts: Any, opens: bool = True, adds_bos: bool = True, adds_eos: bool = False
) -> list[tuple[list[int], str]]:
    kitchen = Kitchen(adds_bos=adds_bos)
    kitchen.vocabulary.adds_eos = adds_eos
    answers = kitchen.intake.tokenized(TokenizeRequest("k", "m", prompts, opens))
    return [([token.id for token in tokens], text) for tokens, text in answers]


def test_a_chat_is_counted_as_its_template_renders_it() -> None:
    chat = ChatPrompt((Message("user", "a"),))
    [(ids, text)] = tokenized(chat)
    assert text == "[u:a]"
    assert ids == Kitchen().tokens(chat)


def test_a_text_is_counted_with_and_without_what_opens_a_prompt() -> None:
    assert tokenized(TextPrompt("ab")) == [([BOS, *b"ab"], "ab")]
    assert tokenized(TextPrompt("ab"), opens=False) == [(list(b"ab"), "ab")]
    assert tokenized(TextPrompt(""), opens=False) == [([], "")]
    assert tokenized(TextPrompt("")) == [([BOS], "")]
    assert tokenized(TextPrompt(""), adds_bos=False) == [([], "")]
    assert tokenized(TextPrompt("b", context=(97,))) == [([97, 98], "b")]
    assert tokenized(TextPrompt("a"), adds_eos=True) == [([BOS, 97, EOS], "a")]


def test_token_ids_are_spelled_out() -> None:
    assert tokenized(TokenPrompt(tuple("né".encode())), TokenPrompt(())) == [(list("né".encode()), "né"), ([], "")]
    with pytest.raises(InvalidPrompt, match="token id 70000 is out of vocabulary"):
        tokenized(TokenPrompt((70000,)))


def test_no_more_tokens_are_told_than_everybody_else_can_wait_for() -> None:
    [(ids, _)] = tokenized(TextPrompt("a" * TOLD_TOKENS), opens=False)
    assert len(ids) == TOLD_TOKENS
    for prompt in (TextPrompt("a" * TOLD_TOKENS), TokenPrompt((97,) * (TOLD_TOKENS + 1))):
        with pytest.raises(InvalidPrompt, match="there are 65537 tokens; at most 65536 are told"):
            tokenized(prompt)


def shown(kitchen: Kitchen, prompt: Any) -> tuple[list[int], str]:
    ((tokens, text),) = kitchen.intake.tokenized(TokenizeRequest("id", "m", (prompt,)))
    return [token.id for token in tokens], text


def test_a_prompt_may_bring_its_own_template() -> None:
    prompt = ChatPrompt((Message("user", "hi"),), context=(BOS, *b"so "), template="<{{.Prompt}}>")
    assert shown(Kitchen(), prompt) == ([BOS, *b"so <hi>"], "<s>so <hi>")
    assert shown(Kitchen(), InfillPrompt("a", "b", "{{.Prompt}}_{{.Suffix}}")) == ([BOS, *b"a_b"], "a_b")
