"""The page on SQL shows the statements that run."""

from __future__ import annotations

import re

from scripts import ROOT
from sql_page import page

PAGE = (ROOT / "docs" / "sql.md").read_bytes()


def test_the_committed_page_is_fresh() -> None:
    assert page().encode() == PAGE, "the statements have changed; run `make sql`"


def test_the_page_is_made_to_be_read() -> None:
    statements = re.findall(
        r"^### [^\n]+\n\n([^\n]+)\n\n```sql\n(.*?)\n```$", PAGE.decode(), re.MULTILINE | re.DOTALL
    )
    assert len(statements) == PAGE.count(b"```sql")
    assert [says for says, _ in statements if not says.endswith((".", ".)"))] == []
    longest = max(len(line) for _, sql in statements for line in sql.splitlines())
    assert longest <= 110


def test_how_a_history_is_cut_stands_once_in_a_statement() -> None:
    times = {sql.count("truncated") for sql in PAGE.decode().split("```sql\n")[1:]}
    assert times == {0, 1}
