"""Every case of OTP's supervisor_SUITE that no trace can show has a test with its name."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent

NAMED = [
    "sup_start_ignore_init",
    "sup_start_error_return",
    "sup_start_fail",
    "sup_start_map",
    "sup_start_map_simple",
    "sup_start_map_faulty_specs",
    "child_specs",
    "child_specs_map",
    "sup_flags",
    "extra_return",
    "count_children",
    "count_children_supervisor",
    "external_start_no_progress_log",
    "simple_one_for_one_extra",
    "simple_one_for_one_corruption",
    "simple_one_for_one_restart_ignore",
    "already_started_outside_supervisor",
    "significant_simple",
    "child_unlink",
    "simple_global_supervisor",
    "do_not_save_start_parameters_for_temporary_children",
    "simple_one_for_one_scale_many_temporary_children",
    "scale_start_stop_many_children",
    "format_log_1",
    "format_log_2",
]

IN_VIRTUAL_TIME = [
    "count_restarting_children",
    "simple_one_for_one_shutdown",
    "hanging_restart_loop",
    "hanging_restart_loop_rest_for_one",
    "hanging_restart_loop_simple",
]


def cases_tested() -> Iterator[str]:
    """Yield what stands between "test_" and "__" in the names of the conformance tests."""
    for path in HERE.glob("test_conformance_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                name, double, _ = node.name.removeprefix("test_").partition("__")
                if double:
                    yield name


def test_there_are_thirty_cases() -> None:
    assert (len(NAMED), len(IN_VIRTUAL_TIME)) == (25, 5)


@pytest.mark.parametrize("case", [*NAMED, *IN_VIRTUAL_TIME])
def test_the_case_has_a_test_of_its_name(case: str) -> None:
    assert case in set(cases_tested())
