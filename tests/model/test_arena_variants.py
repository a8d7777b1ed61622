"""The same lives of an arena under other compilers, which order what the source leaves open in other ways, and under
faults planted in the record path itself, each of which must be seen.
"""

import shutil
from collections.abc import Mapping

import pytest

from tests.model.stepping import refusal
from tests.model.variants import compiled, outcome, planted

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(refusal(far=True)), reason=refusal(far=True)),
]

INTENT = """\
        intent_publish(&self.intent)
        intent_apply(&self.intent, self.intent.count)
        intent_clear(&self.intent)
"""
FAULTS: dict[str, tuple[str, Mapping[str, str]]] = {
    "the intent is cleared before its stores are made": (
        "tables",
        {
            INTENT: """\
        cdef uint32_t count = self.intent.count
        intent_publish(&self.intent)
        intent_clear(&self.intent)
        intent_apply(&self.intent, count)
"""
        },
    ),
    "the stores are made before the intent is published": (
        "tables",
        {
            INTENT: """\
        intent_apply(&self.intent, self.intent.count)
        intent_publish(&self.intent)
        intent_clear(&self.intent)
"""
        },
    ),
    "the cluster id is stored without an intent": (
        "tables",
        {
            "intent_stage_changes(&self.intent, <uint64_t*>self.cluster, <uint64_t*>&new, sizeof(Cluster) // 8)": (
                "memcpy(self.cluster, &new, sizeof(Cluster))"
            )
        },
    ),
    "each batch of a read is committed for itself": (
        "directory",
        {
            """\
        if batch.record_count > 0:
            self.identity_stage(entry, &line)
""": """\
        if batch.record_count > 0:
            self.identity_stage(entry, &line)
            self.intent_commit()
"""
        },
    ),
    "a batch is sealed before its provenance is known": (
        "directory",
        {
            """\
        self.identity_stage(entry, &line)
        self.stamp_stage(entry, &stamp)
""": """\
        self.identity_stage(entry, &line)
        self.intent_commit()
        self.stamp_stage(entry, &stamp)
"""
        },
    ),
    "the books of a read come after its records": (
        "appender",
        {
            "        stores += self._commit_ledger()\n": """\
        self.arena.intent_commit()
        stores += self._commit_ledger()
"""
        },
    ),
    "the session's sequence comes before its records": (
        "appender",
        {
            """\
        for index in range(self.touched_count):
            self.arena.commit_add""": """\
        if self.input != NULL and self.input.session.row != NULL:
            self._commit_session()
            self.arena.intent_commit()
        for index in range(self.touched_count):
            self.arena.commit_add"""
        },
    ),
    "what was delivered is booked before the batch is done": (
        "arena",
        {
            "        self.entry_finish(index, STATE_DONE)": """\
        self.intent_commit()
        self.entry_finish(index, STATE_DONE)"""
        },
    ),
    "a batch is stamped before it has its numbers": (
        "arena",
        {
            """\
        self.stamp_stage(entry, &stamp)
        self.identity_stage(entry, &line)
        self.intent_commit()
        return 0
""": """\
        self.identity_stage(entry, &line)
        self.intent_commit()
        self.stamp_stage(entry, &stamp)
        self.intent_commit()
        return 0
"""
        },
    ),
    "compressed records are promised before they are there": (
        "arena",
        {
            "        memcpy(start + BATCH_HEADER_BYTES, records, record_bytes)\n": "",
            "(seed, start + BATCH_HEADER_BYTES, record_bytes)": "(seed, records, record_bytes)",
            """\
        self.intent_commit()
        self.run_give(old_run)
""": """\
        self.intent_commit()
        memcpy(start + BATCH_HEADER_BYTES, records, record_bytes)
        self.run_give(old_run)
""",
        },
    ),
    "the halves of a batch come one after the other": (
        "splitting",
        {
            "    half_stage(arena, other, index, second": """\
    arena.intent_commit()
    half_stage(arena, other, index, second"""
        },
    ),
}


@pytest.mark.parametrize("module", sorted({module for module, _ in FAULTS.values()}))
def test_without_a_fault_nothing_is_seen(module: str, seed: int) -> None:
    assert outcome(planted(module, {}), seed, 40) == ""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_planted_in_the_record_path_is_seen(fault: str, seed: int) -> None:
    module, changes = FAULTS[fault]
    assert ", store " in outcome(planted(module, changes), seed, 40)


@pytest.mark.parametrize(
    "arguments", [("gcc", "-O0"), ("gcc", "-O3"), ("clang", "-O0"), ("clang", "-O2"), ("clang", "-O3")]
)
def test_lives_under_another_compiler(arguments: tuple[str, str], seed: int) -> None:
    if shutil.which(arguments[0]) is None:
        pytest.skip(f"{arguments[0]} is not installed")
    assert outcome(compiled(arguments), seed, 400) == ""
