"""Lines of a file become messages: what is kept, what is refused."""

import pytest

from hunch.cli.messages import BadLine, Message, messages


def read(lines, form="jsonl", **options):
    """The messages of these lines."""
    return list(messages(lines, form, **{"max_bytes": 1000, **options}))


def test_a_jsonl_value_keeps_its_bytes():
    """What the user wrote is what Kafka gets: spacing, order, unknown fields."""
    line = '{"b": 1,  "a": "ä", "id": "x"}'

    assert [Message(None, line.encode())] == read([line + "\n", "\n"])


def test_a_field_can_become_the_key():
    """Text as its bytes, anything else as JSON, null as no key."""
    lines = ['{"k": "user"}', '{"k": 7}', '{"k": null}', '{"k": "\\u00e4"}']

    assert [b"user", b"7", None, "ä".encode()] == [m.key for m in read(lines, key_field="k")]


def test_a_field_can_become_the_id():
    """--id FIELD copies the field to `id`; the field that is called id needs no copy."""
    assert [Message(None, b'{"n":5,"id":5}')] == read(['{"n": 5}'], id_field="n")
    assert [Message(None, b'{"id": 5}')] == read(['{"id": 5}'], id_field="id")


@pytest.mark.parametrize(
    ("line", "options", "why"),
    [
        ("{", {}, "it is not JSON"),
        ("[1]", {}, "it is not a JSON object"),
        ('{"a": "\udcff"}', {}, "it is not JSON"),
        ('{"a": 1}', {"key_field": "b"}, "it has no field 'b'"),
        ('{"a": 1}', {"id_field": "c"}, "it has no field 'c'"),
        ('{"a": "long"}', {"max_bytes": 5}, "it has 13 bytes, max_record_bytes is 5"),
    ],
)
def test_a_bad_line_says_why_and_the_next_one_is_read(line, options, why):
    """One bad line spoils no other, and is named by its number."""
    good = '{"b":1,"c":1}'
    bad, *others = read([line, "", good], **{"max_bytes": 13, **options})

    assert isinstance(bad, BadLine)
    assert 1 == bad.number
    assert bad.why.startswith(why)
    assert len(good) > options.get("max_bytes", 13) or 1 == len(others)


def test_csv_rows_become_objects():
    """The first line names the fields; JSON numbers and lists are such, all else is text."""
    lines = ["\ufeffid,text,pixels\r\n", '7,"a ""b"", c","[0, 1.5]"\r\n', "007,12 apples,\r\n"]

    assert [
        b'{"id":7,"text":"a \\"b\\", c","pixels":[0,1.5]}',
        b'{"id":"007","text":"12 apples","pixels":""}',
    ] == [message.value for message in read(lines, "csv")]


def test_a_csv_row_of_another_length_is_bad():
    """A shifted row must not be sent as something else."""
    bad, good = read(["a,b\n", "1\n", "1,2\n"], "csv")

    assert BadLine(2, "it has 1 cells, the first line has 2") == bad
    assert Message(None, b'{"a":1,"b":2}') == good
