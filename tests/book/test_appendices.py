"""Appendices that the build writes from its own records and from the codebook."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from pylmm_helpers import agreement_records


def table_rows(page: str, label: str) -> list[list[str]]:
    """Text of the cells of one table, header left out."""
    found = re.search(rf'id="{label}".*?</table>', page, flags=re.S)
    assert found, label
    rows = re.findall(r"<tr.*?</tr>", found[0], flags=re.S)[1:]
    return [
        [
            html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<td.*?</td>", row, flags=re.S)
        ]
        for row in rows
    ]


def test_agreement_has_a_row_for_each_record_and_says_which_model_it_is(
    book: Path, root: Path
) -> None:
    records = agreement_records(root)
    rows = table_rows((book / "chapters" / "B-agreement.html").read_text("utf-8"), "tbl-agreement")
    assert len(rows) == len(records)
    for row, (_, record) in zip(rows, records.iterrows(), strict=True):
        assert row[0] == record["number"]
        method, data = "REML" if record["reml"] else "ML", record["data"] or "data of the chapter"
        assert row[1] == f"{record['formula']} by {method}, {data}"
    # outcomes that a chapter draws, and rows that no file holds, are ascribed to no file
    package = json.loads((root / "datasets" / "datapackage.json").read_text("utf-8"))
    files = {r["name"]: r for r in package["resources"]}
    for label, record in records[records["data"].notna()].iterrows():
        shipped = files[record["data"]]
        response = re.split(r"\s*~", record["formula"])[0]
        assert response in {f["name"] for f in shipped["schema"]["fields"]}, label
        assert record["n"] <= shipped["rows"], label


def test_codebook_holds_every_file_and_column(book: Path, root: Path) -> None:
    page = (book / "chapters" / "F-codebook.html").read_text("utf-8")
    package = json.loads((root / "datasets" / "datapackage.json").read_text("utf-8"))
    assert [row[0] for row in table_rows(page, "tbl-cb-all")] == [
        r["name"] for r in package["resources"]
    ]
    words = set(re.findall(r"[\w.]+", html.unescape(re.sub(r"<[^>]+>", " ", page))))
    for resource in package["resources"]:
        for field in resource["schema"]["fields"]:
            assert field["name"] in words, (resource["name"], field["name"])
        for source in resource.get("sources", []):
            assert html.escape(source["title"][:20], quote=False) in page, resource["name"]
