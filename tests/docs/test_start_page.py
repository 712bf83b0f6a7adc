"""The first page: its files run as they stand, and its commands print what it says."""

from pathlib import Path

from pages import files, page, played, sessions

PAGE = page("start.md")


def test_the_page_s_commands_print_what_it_says_in_their_order(tmp_path: Path) -> None:
    assert list(files(PAGE)) == ["shop.py", "order.py", "work.py", "look.py"]
    assert len(sessions(PAGE)) == 3
    assert played(PAGE, tmp_path) == sessions(PAGE)
