from ingestd.client.route import OWN_PATH_PATIENCE_MS, REDIRECTS_IN_A_ROW_MAX, Route

SHARED = "/run/ingestd/app.sock"
OWN = "/run/ingestd/app.sock.1"


def route(path: str = SHARED) -> Route:
    return Route(path, 20, 1000, lambda: 0.5)


def test_at_first_the_shared_path_at_once() -> None:
    assert route().path(0) == SHARED
    assert route().due_ms == 0


def test_attempts_that_fail_grow_apart_up_to_the_limit() -> None:
    way, now, delays = route(), 0, []
    for _ in range(9):
        way.failed(now)
        delays.append(way.due_ms - now)
        now = way.due_ms
    assert delays == [20, 40, 80, 160, 320, 640, 1000, 1000, 1000]


def test_jitter_spreads_by_a_fifth() -> None:
    delays = []
    for jitter in (0.0, 1.0):
        way = Route(SHARED, 100, 1000, lambda jitter=jitter: jitter)  # type: ignore[misc]
        way.failed(0)
        delays.append(way.due_ms)
    assert delays == [80, 120]


def test_after_progress_a_loss_is_repaired_at_once() -> None:
    way = route()
    way.granted(OWN)
    way.lost(100)
    assert way.due_ms == 100
    way.lost(100)
    assert way.due_ms > 100
    way.progress()
    way.lost(900)
    assert way.due_ms == 900


def test_a_session_is_looked_for_at_its_own_path_first() -> None:
    way = route()
    way.granted(OWN)
    way.lost(1000)
    paths = set()
    for now in range(1000, 1000 + OWN_PATH_PATIENCE_MS, 500):
        paths.add(way.path(now))
        way.failed(now)
    assert paths == {OWN}


def test_later_the_shared_path_takes_turns_with_it() -> None:
    way = route()
    way.granted(OWN)
    way.lost(1000)
    late = 1001 + OWN_PATH_PATIENCE_MS
    paths = []
    for _ in range(4):
        paths.append(way.path(late))
        way.failed(late)
    assert paths == [OWN, SHARED, OWN, SHARED]


def test_in_another_mount_namespace_the_directory_is_the_one_we_know() -> None:
    way = route("/sockets/app.sock")
    way.granted(OWN)
    way.lost(0)
    first = way.path(0)
    way.failed(0)
    assert (first, way.path(0)) == (OWN, "/sockets/app.sock.1")


def test_a_redirect_is_followed_at_once_but_not_in_a_ring() -> None:
    way = route()
    for number in range(REDIRECTS_IN_A_ROW_MAX):
        way.redirect(f"{SHARED}.{number}", 50)
        assert (way.due_ms, way.path(50)) == (50, f"{SHARED}.{number}")
    way.redirect(OWN, 50)
    assert way.due_ms > 50
    way.granted(OWN)
    way.redirect(OWN, 5000)
    assert way.due_ms == 5000


def test_without_a_session_it_is_always_the_shared_path() -> None:
    way = route()
    way.granted("")
    way.lost(0)
    assert way.path(0) == SHARED
