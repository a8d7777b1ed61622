"""Where a value comes from, looked up by its key or by the section around it."""

from ingestd.config.sources import DEFAULT, Source, Sources


def test_a_key_has_the_source_of_its_section_unless_it_has_its_own() -> None:
    sources = Sources()
    sources.note("listeners.app", "a.toml")
    sources.note("listeners.app.listen", "b.toml")
    assert sources.of("listeners.app.listen").place == "b.toml"
    assert sources.of("listeners.app.mode").place == "a.toml"
    assert sources.of("listeners.other.mode") == sources.of("") == DEFAULT
    assert sources.exactly("listeners.app.mode") == DEFAULT


def test_what_is_concealed_keeps_its_place() -> None:
    sources = Sources()
    sources.note("producer.client.id", "a.toml")
    sources.conceal("producer.client.id")
    assert sources.of("producer.client.id") == Source("a.toml", concealed=True)
