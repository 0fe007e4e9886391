"""Messages are read as GNU's format says; Python's gettext, which reads compiled files, is the reference."""

import gettext
import struct

import pytest

from dlcore.data.packages import package_folder
from dlcore.data.text.message_catalogs import read_mo, read_po
from tests.helpers.packages import needs_package

PO = r"""# A translator's comment.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"

#. to translators
#: file.py:3
msgid "one"
msgstr "eins"

msgctxt "month"
msgid "May"
msgstr "Mai"
#, python-format, fuzzy
msgid "wrong"
msgstr "falsch"

#, python-format
msgid ""
"two "
"lines\n"
msgstr "zwei \"Zeilen\"\t\\n \x41\101"

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d Datei"
msgstr[1] "%d Dateien"

msgid "%d wolf"
msgid_plural "%d wolves"
msgstr[0] "%d vlk"
msgstr[1] "%d vlci"
msgstr[2] "%d vlků"

msgid "untranslated"
msgstr ""

#~ msgid "obsolete"
#~ msgstr "veraltet"
"""
PAIRS = [
    ("one", "eins"),
    ("May", "Mai"),
    ("two lines\n", 'zwei "Zeilen"\t\\n AA'),
    ("%d file", "%d Datei"),
    ("%d files", "%d Dateien"),
    ("%d wolf", "%d vlk"),
]


def write(folder, text, name="django.po"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def compiled(pairs, order="<"):
    """A ``.mo`` file: the header, both tables, the texts."""
    texts = [text.encode() for column in zip(*pairs, strict=True) for text in column]
    table, place = b"", 28 + 8 * len(texts)
    for text in texts:
        table += struct.pack(f"{order}2I", len(text), place)
        place += len(text) + 1
    header = struct.pack(f"{order}7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    return header + table + b"".join(text + b"\0" for text in texts)


def test_a_po_file_is_read_by_the_rules_of_the_format(tmp_path):
    assert read_po(write(tmp_path, PO)) == PAIRS
    assert read_po(write(tmp_path, PO.replace("\n", "\r\n"))) == PAIRS
    assert read_po(write(tmp_path, "")) == []


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_mo_file_is_read_in_both_byte_orders(tmp_path, order):
    messages = [
        ("", "Content-Type: text/plain; charset=UTF-8\n"),
        ("%d file\0%d files", "%d Datei\0%d Dateien"),
        ("month\4May", "Mai"),
        ("ä", "ö"),
    ]
    path = write(tmp_path, compiled(messages, order), "a.mo")
    assert read_mo(path) == [("%d file", "%d Datei"), ("%d files", "%d Dateien"), ("May", "Mai"), ("ä", "ö")]
    with path.open("rb") as file:
        assert gettext.GNUTranslations(file).gettext("ä") == "ö"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('msgid "a"\nmsgstr b\n', r"line 2: got 'msgstr b', expected a comment, msgid"),
        ('"a"\n', "line 1: got '\"a\"', expected"),
        ('msgid "a" "b"\n', "line 1"),
        (b"msgid \xff", "no text in UTF-8"),
    ],
)
def test_a_damaged_po_file_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"django\.po.*{message}"):
        read_po(write(tmp_path, text))


def test_a_damaged_mo_file_is_named(tmp_path):
    content = compiled([("a", "b"), ("c", "d")])
    with pytest.raises(ValueError, match=r"a\.mo: got a file that begins with b'text'"):
        read_mo(write(tmp_path, "text", "a.mo"))
    for cut in range(4, len(content) - 1):
        with pytest.raises(ValueError, match=r"a\.mo: got a damaged"):
            read_mo(write(tmp_path, content[:cut], "a.mo"))
    with pytest.raises(ValueError, match=r"a\.mo: got a damaged"):
        read_mo(write(tmp_path, content.replace(b"a\0", b"\xff\0"), "a.mo"))


@needs_package("django")
@pytest.mark.parametrize("language", ["de", "fr", "pl", "ja"])
def test_pos_of_django_hold_what_their_compiled_files_hold(language):
    """Both readers agree, and gettext says the same of every message that has one meaning."""
    folder = package_folder("django") / "django/contrib/admin/locale" / language / "LC_MESSAGES"
    text, binary = read_po(folder / "django.po"), read_mo(folder / "django.mo")
    assert len(text) > 100
    assert set(text) == set(binary)
    with (folder / "django.mo").open("rb") as file:
        reference = gettext.GNUTranslations(file)
    known = [(source, reference.gettext(source)) for source, _ in text]
    assert len(set(known) & set(text)) > 0.8 * len(text)
