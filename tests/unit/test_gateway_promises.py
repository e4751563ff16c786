"""What the gateway promises, item by item, and which tests hold it against the real nginx. One that is renamed or taken
away is missed here."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

PROMISES: dict[str, tuple[str, ...]] = {
    "domains, paths, priorities, methods, headers": (
        "contract/test_gateway_requests.py::test_domains_and_paths_choose_the_service",
        "contract/test_gateway_requests.py::test_whole_paths_patterns_methods_headers_and_domains_below_one_choose_the_service",
    ),
    "rewrite": (
        "contract/test_gateway_filters.py::test_paths_are_rewritten_and_so_is_what_a_draining_gateway_passes_on",
    ),
    "redirect": (
        "contract/test_gateway_filters.py::test_a_consumer_is_sent_elsewhere_whether_or_not_an_instance_is_there",
    ),
    "header changes": ("contract/test_gateway_filters.py::test_headers_are_set_and_removed_on_both_ways",),
    "request id": ("contract/test_gateway_requests.py::test_headers_that_the_consumer_may_not_make_up",),
    "trace context": (
        "contract/test_gateway_streams.py::test_a_trace_goes_on_with_its_state",
        "contract/test_gateway_streams.py::test_what_is_no_trace_does_not_go_on_and_neither_does_its_state",
    ),
    "time-outs": ("contract/test_gateway_filters.py::test_a_route_says_how_long_an_instance_may_be_silent",),
    "body size": (
        "contract/test_gateway_filters.py::test_a_body_that_is_too_long_reaches_nobody_whether_its_length_is_told_or_not",
    ),
    "no request repeated that may have run": (
        "contract/test_gateway_requests.py::test_a_request_that_reached_an_app_is_never_repeated",
        "contract/test_gateway_streams.py::test_a_call_that_may_have_run_is_never_repeated",
    ),
    "WebSocket": ("contract/test_gateway_requests.py::test_upgrades_to_websocket_pass_through_and_are_counted",),
    "events": ("contract/test_gateway_requests.py::test_events_of_a_stream_arrive_as_they_are_sent",),
    "HTTP/2": ("contract/test_gateway_tls.py::test_consumers_speak_http_2_and_apps_are_told_of_tls",),
    "gRPC": (
        "contract/test_gateway_streams.py::test_calls_of_one_connection_go_to_all_instances",
        "contract/test_gateway_grpc.py::test_whatever_the_gateway_answers_itself_is_an_answer_of_grpc",
        "contract/test_gateway_grpc.py::test_a_rate_says_that_it_was_too_much_and_when_to_come_again",
        "contract/test_gateway_grpc.py::test_an_instance_whose_calls_fail_is_left_alone_and_one_that_refuses_is_not",
    ),
    "streams apart": ("contract/test_gateway_streams.py::test_streams_at_a_draining_instance_are_told_apart",),
    "streams cut at the drain deadline and reported": (
        "contract/test_gateway_streams.py::test_streams_past_their_time_are_ended_and_nothing_else_is",
        "contract/test_gateway_streams.py::test_a_call_past_its_time_is_ended_and_others_of_its_connection_go_on",
        "contract/test_gateway.py::test_streams_that_are_to_end_have_been_ended_when_that_is_applied",
        "sim/test_platform.py::test_streams_are_ended_at_the_drain_deadline_and_no_sooner",
    ),
    "certificates by SNI": (
        "contract/test_gateway_tls.py::test_the_name_that_is_asked_for_chooses",
        "contract/test_gateway_tls.py::test_certificates_change_while_it_serves",
    ),
    "weights and slow start": (
        "contract/test_gateway_requests.py::test_unequal_weights_are_kept_smoothly",
        "contract/test_gateway_ejection.py::test_one_that_just_came_gets_less_than_its_part",
    ),
    "gray by header, cookie, list, hash, weight": (
        "contract/test_gateway_gray.py::test_a_header_or_a_cookie_has_one_of_some_values_or_any",
        "contract/test_gateway_gray.py::test_the_users_of_a_list_get_the_new_version_and_nobody_else",
        "contract/test_gateway_gray.py::test_a_share_of_users_is_exact_and_only_grows",
        "contract/test_gateway_gray.py::test_a_share_of_all_requests_is_a_matter_of_chance",
        "contract/test_gateway_gray.py::test_who_keeps_the_cookie_stays_on_his_side",
    ),
    "gray of services that others run": (
        "sim/test_registry.py::test_a_service_that_others_run_has_versions_and_shares_its_requests_among_them",
        "contract/test_registry.py::test_others_are_watched_and_never_listed",
    ),
    "gray end to end": (
        "contract/test_gateway_gray.py::test_apps_are_told_the_mark_and_nobody_from_outside_gives_himself_one",
    ),
    "gray steps, promote, abort": (
        "e2e/test_gray.py::test_nothing_is_lost_from_the_first_share_to_the_last_nor_on_the_way_back",
    ),
    "rate": ("contract/test_gateway_limits.py::test_a_burst_goes_through_and_no_more_whichever_workers_it_comes_to",),
    "concurrency and queues": (
        "contract/test_gateway_limits.py::test_no_more_are_open_at_once_than_allowed_and_each_end_makes_room",
        "contract/test_gateway_limits.py::test_some_wait_and_the_rest_is_refused",
    ),
    "shares among gateways": ("contract/test_gateway_shares.py::test_two_gateways_let_through_what_one_may",),
    "load shedding": (
        "contract/test_gateway_ejection.py::test_with_too_much_to_do_what_matters_least_is_refused_first",
    ),
    "ejection, panic threshold": (
        "contract/test_gateway_ejection.py::test_never_more_than_a_share_of_the_instances",
        "contract/test_gateway_ejection.py::test_what_is_known_of_an_instance_goes_with_it_and_not_with_its_address",
    ),
    "API key": ("contract/test_gateway_authentication.py::test_keys_come_and_go_without_a_gap_and_without_a_reload",),
    "signed requests": (
        "contract/test_gateway_signed.py::test_a_signed_request_goes_through_once",
        "contract/test_gateway_signed.py::test_what_was_changed_on_the_way_or_is_too_old_reaches_nobody",
    ),
    "tokens": (
        "contract/test_gateway_signed.py::test_tokens_of_each_algorithm_and_what_the_app_hears_of_them",
        "compat/test_jws_vectors.py::test_no_forged_token_reaches_the_app",
        "contract/test_key_source.py::test_nothing_on_this_machine_is_asked_unless_it_was_allowed",
    ),
    "addresses": (
        "contract/test_gateway_authentication.py::test_requests_are_let_in_by_the_address_that_they_come_from",
    ),
    "firewall": (
        "contract/test_gateway_firewall.py::test_attacks_are_refused_and_reach_no_instance",
        "contract/test_gateway_firewall.py::test_detection_lets_pass_and_tells_without_what_was_sent",
        "contract/test_gateway_firewall.py::test_exclusions_hold_for_what_they_name_and_for_nothing_else",
    ),
    "smuggling and other attacks": (
        "compat/test_smuggling.py::test_what_is_hidden_in_a_request_reaches_no_app",
        "contract/test_gateway_attacks.py::test_nothing_of_a_definition_leaves_its_place",
    ),
    "composition": (
        "contract/test_composition.py::test_three_services_are_one_answer_and_what_goes_along_arrives",
        "contract/test_composition.py::test_a_method_of_dubbo_is_one_of_http",
        "e2e/test_composition.py::test_a_copy_is_stopped_and_a_service_released_without_a_lost_request",
    ),
    "gateways as processes, upgraded under load": (
        "e2e/test_gateways.py::test_gateways_are_upgraded_under_load_and_no_request_is_lost",
        "contract/test_gateway_streams.py::test_who_speaks_http_2_is_told_to_go_and_loses_nothing",
        "contract/test_gateway_leaving.py::test_streams_have_the_whole_time_to_drain_and_are_counted",
    ),
    "partition": ("e2e/test_gateway_partition.py::test_a_gateway_that_is_cut_off_leads_nobody_to_a_wrong_service",),
    "100 services a second": (
        "e2e/test_gateway_change.py::test_single_services_change_all_the_time_and_no_request_notices",
    ),
    "worker, nginx and loop killed": (
        "e2e/test_gateway_faults.py::test_what_a_killed_worker_had_open_is_not_counted_for_ever",
        "e2e/test_gateway_process.py::test_after_a_kill_of_everything_it_starts_again",
    ),
    "full memory, wrong pushes, two writers": (
        "e2e/test_gateway_faults.py::test_an_update_that_does_not_fit_changes_nothing",
        "contract/test_gateway_full_control.py::test_shares_that_do_not_fit_are_refused_whole_and_those_of_before_count",
        "contract/test_gateway_full_control.py::test_what_cannot_be_told_is_not_acknowledged_until_there_is_room",
        "contract/test_gateway_full_control.py::test_a_worker_that_starts_in_a_full_memory_leads_nobody_wrong",
        "contract/test_gateway_wrong_push.py::test_every_wrong_push_changes_nothing",
        "e2e/test_gateway_faults.py::test_two_updates_at_once_are_applied_one_after_the_other",
    ),
    "what is wrong with a gateway": (
        "contract/test_gateway_doctor.py::test_what_runs_is_looked_at_and_who_feeds_it_is_asked",
    ),
    "access log and metrics": (
        "contract/test_gateway_requests.py::test_a_line_of_the_access_log_tells_the_whole_story",
        "contract/test_gateway_traffic.py::test_prometheus_reads_it_all",
        "contract/test_gateway_gray.py::test_metrics_and_access_log_name_the_version",
    ),
}


@pytest.mark.parametrize("promise", PROMISES)
def test_each_promise_is_held_by_a_test(promise: str) -> None:
    for held_by in PROMISES[promise]:
        file, _, name = held_by.partition("::")
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        tree = ast.parse((TESTS / file).read_text())
        assert name in {one.name for one in tree.body if isinstance(one, functions)}, held_by
