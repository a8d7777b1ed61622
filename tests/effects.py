"""Which test shows what a setting does, on the wire or in behaviour; that it is read is shown by ``unit/config``.

A setting without a line here fails ``tests/functional/test_settings.py``: write its test first.
"""

from collections.abc import Mapping
from typing import Final

_BOOTSTRAP: Final = "functional/test_producer_bootstrap.py"
_CONNECTION: Final = "functional/test_producer_connection.py"
_DAEMON: Final = "functional/test_process_daemon.py"
_FRAME: Final = "unit/hotpath/test_frame.py"
_LIBRARY: Final = "functional/test_library_producer.py"
_LOGIN: Final = "functional/test_producer_login.py"
_PACE: Final = "functional/test_producer_pace.py"
_SETTINGS: Final = "functional/test_settings.py"
_SOCKETS: Final = "functional/test_process_sockets.py"
_TLS: Final = "functional/test_producer_tls.py"
_EVERY_STORE: Final = f"{_TLS}::test_a_client_certificate_from_every_kind_of_store"
_WINDOW: Final = "unit/producer/network/test_tokens.py::test_the_window_is_kafkas"

PRODUCER: Final[Mapping[str, str]] = {
    "bootstrap.servers": f"{_CONNECTION}"
    "::test_a_peer_that_is_no_broker_costs_little_and_the_next_bootstrap_server_is_taken",
    "properties.file": "kafka/test_properties.py::test_the_file_of_a_java_application_starts_the_daemon",
    "client.id": f"{_SETTINGS}::test_client_id_and_the_worker_are_in_every_request",
    "acks": "kafka/test_library.py::test_each_level_of_acks",
    "enable.idempotence": "functional/test_producer_errors.py"
    "::test_with_several_requests_in_flight_and_no_idempotence_a_retry_breaks_the_order",
    "linger.ms": f"{_SETTINGS}::test_linger_ms_is_how_long_a_record_waits_for_others",
    "batch.size": f"{_SETTINGS}::test_batch_size_bounds_batches_that_have_time_to_fill",
    "buffer.memory": f"{_DAEMON}::test_a_full_arena_holds_senders_up_and_costs_nothing",
    "max.request.size": "functional/test_producer_delivery.py::test_a_request_holds_no_more_than_max_request_size",
    "max.block.ms": "kafka/test_refusals.py::test_an_unknown_topic_is_refused_after_max_block_and_others_go_on",
    "delivery.timeout.ms": "functional/test_producer_delivery.py"
    "::test_a_delivery_timeout_fails_only_what_was_never_sent",
    "topic.denied.timeout.ms": "functional/test_producer_refusals.py::test_a_topic_denied_for_too_long_fails",
    "request.timeout.ms": "functional/test_producer_cuts.py"
    "::test_without_an_answer_in_time_all_that_is_in_flight_goes_out_again_and_late_bytes_are_not_read",
    "max.in.flight.requests.per.connection": f"{_PACE}::test_no_more_requests_are_in_flight_than_allowed",
    "retries": f"{_SETTINGS}::test_retries_is_how_often_a_batch_is_sent_again",
    "retry.backoff.ms": f"{_PACE}::test_retries_of_a_batch_back_off_by_the_formula",
    "retry.backoff.max.ms": f"{_PACE}::test_retries_of_a_batch_back_off_by_the_formula",
    "compression.type": "kafka/test_codecs.py::test_every_codec_and_level_is_read_by_librdkafka_and_by_java",
    "compression.gzip.level": "unit/producer/test_compression.py::test_levels_have_their_effect",
    "compression.lz4.level": "unit/producer/test_compression.py::test_levels_have_their_effect",
    "compression.zstd.level": "unit/producer/test_compression.py::test_levels_have_their_effect",
    "partitioner.class": "kafka/test_partitioners.py::test_each_partitioner_does_what_it_says",
    "partitioner.ignore.keys": "kafka/test_partitioners.py::test_each_partitioner_does_what_it_says",
    "partitioner.adaptive.partitioning.enable": "faults/test_partitions.py"
    "::test_a_slow_broker_gets_fewer_records_without_key",
    "partitioner.availability.timeout.ms": "faults/test_partitions.py"
    "::test_the_partitions_of_a_silent_broker_are_left_out",
    "reconnect.backoff.ms": f"{_PACE}::test_a_broker_that_refuses_connections_is_tried_again_by_the_formula",
    "reconnect.backoff.max.ms": f"{_PACE}::test_a_broker_that_refuses_connections_is_tried_again_by_the_formula",
    "socket.connection.setup.timeout.ms": f"{_SETTINGS}::test_the_setup_timeout_doubles_up_to_its_maximum",
    "socket.connection.setup.timeout.max.ms": f"{_SETTINGS}::test_the_setup_timeout_doubles_up_to_its_maximum",
    "connections.max.idle.ms": f"{_CONNECTION}::test_an_idle_connection_is_closed_and_comes_back_when_needed",
    "metadata.max.age.ms": f"{_BOOTSTRAP}::test_metadata_is_refreshed_at_its_age",
    "metadata.max.idle.ms": f"{_BOOTSTRAP}::test_a_topic_without_records_is_not_asked_about_until_it_has_some_again",
    "metadata.recovery.strategy": f"{_BOOTSTRAP}::test_without_recovery_only_brokers_that_were_heard_of_are_tried",
    "metadata.recovery.rebootstrap.trigger.ms": f"{_BOOTSTRAP}"
    "::test_no_metadata_for_too_long_leads_back_to_the_bootstrap_servers",
    "client.dns.lookup": f"{_BOOTSTRAP}::test_aliases_stand_for_the_hosts_behind_them",
    "send.buffer.bytes": f"{_CONNECTION}::test_buffers_are_set_before_connecting_and_nagle_is_off",
    "receive.buffer.bytes": f"{_CONNECTION}::test_buffers_are_set_before_connecting_and_nagle_is_off",
    "security.protocol": f"{_TLS}::test_tls_and_plain_text_that_meet_each_other_are_told",
    "ssl.truststore.location": f"{_TLS}::test_records_go_through_tls",
    "ssl.truststore.type": "unit/producer/network/test_stores.py::test_the_type_that_is_set_counts_and_not_the_content",
    "ssl.truststore.password": _EVERY_STORE,
    "ssl.truststore.certificates": _EVERY_STORE,
    "ssl.keystore.location": _EVERY_STORE,
    "ssl.keystore.type": "unit/producer/network/test_stores.py::test_the_type_that_is_set_counts_and_not_the_content",
    "ssl.keystore.password": _EVERY_STORE,
    "ssl.keystore.key": _EVERY_STORE,
    "ssl.keystore.certificate.chain": _EVERY_STORE,
    "ssl.key.password": _EVERY_STORE,
    "ssl.endpoint.identification.algorithm": f"{_TLS}::test_without_the_host_name_check_another_name_is_taken",
    "ssl.enabled.protocols": f"{_TLS}::test_the_protocol_is_the_highest_that_is_allowed",
    "ssl.protocol": f"{_TLS}::test_the_protocol_is_the_highest_that_is_allowed",
    "ssl.cipher.suites": f"{_TLS}::test_a_chosen_cipher_suite_is_the_one_in_use",
    "sasl.mechanism": f"{_LOGIN}::test_records_go_through_behind_a_login",
    "sasl.username": f"{_LOGIN}::test_a_wrong_password_is_told_without_it_and_the_right_one_recovers",
    "sasl.password": f"{_LOGIN}::test_a_wrong_password_is_told_without_it_and_the_right_one_recovers",
    "sasl.login.password.file": f"{_LOGIN}::test_a_password_file_is_read_at_every_login",
    "sasl.jaas.config": f"{_LOGIN}::test_a_jaas_configuration_logs_in_over_tls",
    "sasl.oauthbearer.token.endpoint.url": f"{_LOGIN}::test_a_token_file_is_read_anew_when_a_token_is_needed",
    "sasl.oauthbearer.client.credentials.client.id": f"{_SETTINGS}"
    "::test_the_token_endpoint_is_told_who_asks_and_for_what",
    "sasl.oauthbearer.client.credentials.client.secret": f"{_SETTINGS}"
    "::test_the_token_endpoint_is_told_who_asks_and_for_what",
    "sasl.oauthbearer.scope": f"{_SETTINGS}::test_the_token_endpoint_is_told_who_asks_and_for_what",
    "sasl.login.connect.timeout.ms": f"{_SETTINGS}::test_a_token_endpoint_that_cannot_be_reached_is_given_up_in_time",
    "sasl.login.read.timeout.ms": f"{_SETTINGS}::test_a_token_endpoint_that_is_silent_is_given_up_in_time",
    "sasl.login.retry.backoff.ms": f"{_SETTINGS}::test_a_token_endpoint_that_fails_is_asked_again_by_the_formula",
    "sasl.login.retry.backoff.max.ms": f"{_SETTINGS}::test_a_token_endpoint_that_fails_is_asked_again_by_the_formula",
    "sasl.login.refresh.window.factor": _WINDOW,
    "sasl.login.refresh.window.jitter": "unit/producer/network/test_tokens.py::test_the_jitter_is_a_share_of_the_life",
    "sasl.login.refresh.min.period.seconds": _WINDOW,
    "sasl.login.refresh.buffer.seconds": _WINDOW,
}

TOPIC: Final[Mapping[str, str]] = {
    "partitions": f"{_DAEMON}::test_senders_of_an_unknown_topic_wait_and_are_refused",
}
"""What only a topic has. That its others go before those of ``[producer]``: ``unit/config/test_reader.py``."""

DAEMON: Final[Mapping[str, str]] = {
    "workers": f"{_SOCKETS}::test_every_worker_has_a_path_of_its_own_beside_the_shared_one",
    "state.directory": "functional/test_process_supervisor.py::test_a_second_daemon_names_the_first",
    "arena.directory": f"{_DAEMON}::test_an_arena_of_another_daemon_is_named",
    "durability": f"{_DAEMON}::test_durability_memory_leaves_no_arena",
    "stop.timeout.ms": f"{_SETTINGS}::test_stop_timeout_ms_is_how_long_a_stop_waits_for_kafka",
    "pressure.high": f"{_SETTINGS}::test_pressure_high_is_the_level_at_which_senders_wait",
    "pressure.low": "unit/supervisor/test_pressure.py::test_steps",
    "admin.listen": "functional/test_admin.py::test_every_scrape_balances_while_load_runs",
    "dead.letters.bytes.max": "functional/test_process_dead_letters.py"
    "::test_letters_that_find_no_room_are_lost_and_delivery_goes_on",
    "dead.letters.days.max": "functional/test_process_dead_letters.py::test_days_that_are_over_are_removed",
    "data.loss.suspected": "functional/test_process_data_loss.py"
    "::test_what_is_done_about_suspected_data_loss_is_a_setting",
}

LISTENER: Final[Mapping[str, str]] = {
    "name": "kafka/test_dead_letters.py::test_one_record_of_ten_thousand_is_refused_kept_and_replayed",
    "listen": f"{_SOCKETS}::test_udp_has_a_socket_per_worker_on_one_port",
    "format": f"{_SOCKETS}::test_only_a_format_with_sessions_needs_own_paths",
    "topic": "kafka/test_end_to_end.py::test_three_sockets_two_workers",
    "topics": "kafka/test_end_to_end.py::test_a_record_off_the_allow_list_is_refused_and_the_others_are_kept",
    "key": "unit/hotpath/test_lines.py::test_key_field",
    "timestamp": f"{_FRAME}::test_arrival_only",
    "timestamp_past_ms": f"{_FRAME}::test_timestamps_out_of_bounds_become_the_arrival",
    "timestamp_future_ms": f"{_FRAME}::test_timestamps_out_of_bounds_become_the_arrival",
    "timestamp_out_of_bounds": f"{_FRAME}::test_a_bad_record_in_a_good_frame",
    "headers": "unit/hotpath/test_intake.py::test_static_headers",
    "when_full": "unit/hotpath/test_stream.py::test_a_stream_can_shed",
    "receive_buffer_bytes": f"{_SOCKETS}::test_udp_has_a_socket_per_worker_on_one_port",
    "mode": f"{_SOCKETS}::test_only_a_format_with_sessions_needs_own_paths",
    "owner": f"{_SOCKETS}::test_a_socket_file_is_given_to_its_owner_and_group",
    "group": f"{_SOCKETS}::test_a_socket_file_is_given_to_its_owner_and_group",
    "shards": f"{_SOCKETS}::test_a_datagram_path_has_one_reader_and_paths_are_spread",
    "connections_max": f"{_DAEMON}::test_connections_beyond_the_limit_are_turned_away",
    "record_bytes_max": "unit/hotpath/test_lines.py::test_too_long_a_line_is_refused_once",
}
