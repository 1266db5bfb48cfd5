from __future__ import annotations

import lesionlab
from lesionlab.reporting.results import MOST, Result, as_result


def test_a_result_is_its_dictionary_and_a_table() -> None:
    def verb(n: int) -> dict[str, object]:
        """Words."""
        return {"schema_version": 1, "n": n, "leaky": True, "metrics": {
            "roc_auc": {"value": 0.9, "low": 0.8, "high": 0.95, "n": n, "method": "x"},
            "<b>": {"value": None, "low": None, "high": None, "n": n},
        }, "text": "<script>"}  # fmt: skip

    wrapped = as_result(verb)
    assert wrapped.__doc__ == "Words."
    found = wrapped(5)
    assert found == verb(5)
    html = found._repr_html_()
    assert "metrics.roc_auc" in html
    assert "0.900 (0.800 to 0.950), n = 5" in html
    assert "too few to say" in html
    assert "LEAKY" in html
    assert "<script>" not in html
    assert "&lt;b&gt;" in html
    assert "schema_version" not in html


def test_long_results_are_cut_and_say_so() -> None:
    html = Result({f"k{i}": i for i in range(MOST + 7)})._repr_html_()
    assert "and 7 more" in html


def test_what_is_no_dictionary_is_left_alone() -> None:
    assert as_result(lambda: [1])() == [1]
    assert lesionlab.split.__name__ == "split"
