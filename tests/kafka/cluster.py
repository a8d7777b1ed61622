"""A real Apache Kafka for the tests: KRaft nodes, broker and controller in one, started from the checked jars.

A node has three listeners: CLIENTS, which a test may advertise as the address of a fault proxy; DIRECT, which is never
proxied and serves brokers among themselves, the admin client and the independent reader; CONTROLLER.
"""

import base64
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tests.kafka import artifacts
from tests.kafka.processes import free_ports, spawn, tail

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
# A killed broker may come back once its old registration has timed out; below this a busy machine would fence itself.
SESSION_TIMEOUT_MS = 3000

QUIET_PROPERTIES = {
    "auto.create.topics.enable": "false",
    "broker.heartbeat.interval.ms": "300",
    "broker.session.timeout.ms": str(SESSION_TIMEOUT_MS),
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "num.io.threads": "2",
    "num.network.threads": "2",
    "offsets.topic.num.partitions": "1",
    "producer.id.expiration.check.interval.ms": "1000",
    "transaction.state.log.num.partitions": "1",
}

QUIET_CLIENT = {"log_level": 0, "reconnect.backoff.max.ms": 100}


class ClusterError(Exception):
    """A node did not do what it was told in time; the text ends with its log."""


class Node:
    """One broker and controller. All waits have a deadline and raise :class:`ClusterError`."""

    def __init__(
        self, number: int, folder: Path, properties: Mapping[str, str], port: int, java: Sequence[str]
    ) -> None:
        self.number = number
        self.folder = folder
        self.port = port
        self.log = folder / "server.log"
        self.output = folder / "output.log"
        self._properties = folder / "server.properties"
        self._java = java
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))

    def _command(self, main_class: str, *arguments: str) -> list[str]:
        return [*self._java, f"-Dingestd.test.log={self.log}", main_class, *arguments]

    def begin_format(self, cluster_id: str) -> None:
        """Starts to prepare the empty log folder; :meth:`wait_formatted` must follow."""
        command = self._command("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties))
        self._process = spawn(command, output=self.output, cwd=self.folder)

    def wait_formatted(self) -> None:
        """Waits until the log folder is prepared."""
        assert self._process is not None
        process, self._process = self._process, None
        if process.wait(START_SECONDS_MAX) != 0:
            raise ClusterError(f"format of node {self.number} failed\n{self.report()}")

    @property
    def pid(self) -> int:
        """Process id of the running node."""
        assert self._process is not None, f"node {self.number} is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives (a paused one does)."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Starts the process; does not wait until it serves."""
        assert not self.running, f"node {self.number} runs already"
        self._process = spawn(self._command("kafka.Kafka", str(self._properties)), output=self.output, cwd=self.folder)

    def wait_ready(self) -> None:
        """Waits until the node lists itself among the brokers, that is, until it is registered and serves metadata."""
        admin = AdminClient({**QUIET_CLIENT, "bootstrap.servers": f"127.0.0.1:{self.port}"})
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if not self.running:
                raise ClusterError(f"node {self.number} ended while starting\n{self.report()}")
            try:
                if self.number in admin.list_topics(timeout=1).brokers:
                    return
            except KafkaException:
                pass
            time.sleep(0.05)
        raise ClusterError(f"node {self.number} did not serve within {START_SECONDS_MAX} s\n{self.report()}")

    def start(self) -> None:
        """Starts and waits until it serves."""
        self.launch()
        self.wait_ready()

    def stop(self) -> None:
        """SIGTERM, as an operator does; waits for the end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL; waits for the end."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise ClusterError(f"node {self.number} did not end after {number.name}\n{self.report()}") from None
        finally:
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: the node keeps its connections and says nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, *, kill: bool = False) -> None:
        """Ends the node (SIGTERM, or SIGKILL) and starts it again on the same folder."""
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()

    def report(self) -> str:
        """The last lines of what the node said."""
        return f"--- {self.output}\n{tail(self.output)}--- {self.log}\n{tail(self.log)}"


class Cluster:
    """One or more nodes with one cluster id.

    ``advertised`` gives, per node, the port under which clients of CLIENTS are sent to it (a proxy's); ``properties``
    are added to every node's server.properties; ``protocol`` is what CLIENTS speaks, ``listeners`` are more of them by
    name with their protocols (``port_of`` tells where, on the first node); ``quick`` keeps the JVM at its first
    compiler, which starts faster and serves slower: benchmarks say False; ``release``: of ``artifacts``, another Kafka
    than the usual one; ``java_options``: more of them, for every node's JVM.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int = 1,
        *,
        advertised: Sequence[int] | None = None,
        ports: Sequence[int] | None = None,
        properties: Mapping[str, str] | None = None,
        protocol: str = "PLAINTEXT",
        listeners: Mapping[str, str] | None = None,
        heap_mib: int = 384,
        quick: bool = True,
        release: Path = artifacts.HERE,
        java_options: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        all_ports = free_ports(3 * nodes)
        self.ports = list(ports) if ports is not None else all_ports[:nodes]
        direct, controllers = all_ports[nodes : 2 * nodes], all_ports[2 * nodes :]
        java = [*java_command(heap_mib, quick, release), *java_options]
        self._java = java
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, 1))
        more = listeners or {}
        self._more_ports = [dict(zip(more, free_ports(len(more)), strict=True)) for _ in range(nodes)]
        protocols = {"CLIENTS": protocol, "DIRECT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **more}
        self.nodes = []
        for index in range(nodes):
            also = "".join(f",{name}://127.0.0.1:{port}" for name, port in self._more_ports[index].items())
            folder_of_node = folder / f"node-{index + 1}"
            own = {
                "process.roles": "broker,controller",
                "node.id": str(index + 1),
                "controller.quorum.voters": voters,
                "listeners": f"CLIENTS://127.0.0.1:{self.ports[index]},DIRECT://127.0.0.1:{direct[index]},"
                f"CONTROLLER://127.0.0.1:{controllers[index]}{also}",
                "advertised.listeners": f"CLIENTS://127.0.0.1:{(advertised or self.ports)[index]},"
                f"DIRECT://127.0.0.1:{direct[index]}{also}",
                "listener.security.protocol.map": ",".join(f"{name}:{spoken}" for name, spoken in protocols.items()),
                "inter.broker.listener.name": "DIRECT",
                "controller.listener.names": "CONTROLLER",
                "log.dirs": str(folder_of_node / "data"),
                "default.replication.factor": str(nodes),
                "min.insync.replicas": str(min(nodes, 2)),
                "offsets.topic.replication.factor": str(nodes),
                "transaction.state.log.replication.factor": str(nodes),
                "transaction.state.log.min.isr": str(min(nodes, 2)),
            }
            self.nodes.append(
                Node(index + 1, folder_of_node, {**QUIET_PROPERTIES, **own, **(properties or {})}, direct[index], java)
            )
        self._direct = direct
        self._admin: AdminClient | None = None

    @property
    def bootstrap(self) -> str:
        """``bootstrap.servers`` for the one under test: the advertised way, through a proxy where there is one."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def port_of(self, listener: str) -> int:
        """Where CLIENTS, or one of ``listeners``, is on the first node."""
        return self.ports[0] if listener == "CLIENTS" else self._more_ports[0][listener]

    @property
    def direct(self) -> str:
        """``bootstrap.servers`` for the test's own clients, past any proxy."""
        return ",".join(f"127.0.0.1:{port}" for port in self._direct)

    def start(self) -> None:
        """Formats, starts all nodes at once, waits for each."""
        # The first byte is fixed: an id that begins with a dash would be taken for an option.
        cluster_id = base64.urlsafe_b64encode(b"i" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        for node in self.nodes:
            node.begin_format(cluster_id)
        for node in self.nodes:
            node.wait_formatted()
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()

    def stop(self) -> None:
        """Ends every node that runs, without ceremony: the folder is of no more use."""
        self._admin = None
        for node in self.nodes:
            if node.running:
                node.kill()

    @property
    def admin(self) -> AdminClient:
        """An admin client on the DIRECT listeners."""
        if self._admin is None:
            self._admin = AdminClient({**QUIET_CLIENT, "bootstrap.servers": self.direct})
        return self._admin

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        *,
        config: Mapping[str, str] | None = None,
        replicas: Sequence[Sequence[int]] | None = None,
    ) -> str:
        """Creates a topic on all nodes, waits until every partition has a leader, and returns its name.

        ``replicas``: per partition the nodes that have it, the first of which leads.
        """
        if replicas is None:
            topic = NewTopic(name, partitions, len(self.nodes), config=dict(config or {}))
        else:
            partitions = len(replicas)
            topic = NewTopic(
                name, partitions, replica_assignment=[list(nodes) for nodes in replicas], config=dict(config or {})
            )
        self.admin.create_topics([topic])[name].result(30)
        deadline = time.monotonic() + 30
        while any(self.leader(name, partition) == -1 for partition in range(partitions)):
            if time.monotonic() > deadline:
                raise ClusterError(f"no leader for every partition of {name}")
            time.sleep(0.02)
        return name

    def stored_bytes(self, topic: str) -> int:
        """Size of the topic's log segments on the first node's disk: what the batches take as they were sent."""
        segments = self.nodes[0].folder.glob(f"data/{topic}-*/*.log")
        return sum(segment.stat().st_size for segment in segments)

    def delete_topic(self, name: str) -> None:
        """Deletes a topic."""
        self.admin.delete_topics([name])[name].result(30)

    def add_partitions(self, name: str, total: int) -> None:
        """Grows a topic to ``total`` partitions."""
        self.admin.create_partitions([NewPartitions(name, total)])[name].result(30)

    def leader(self, topic: str, partition: int) -> int:
        """Node number of the leader, -1 where there is none (yet)."""
        found = self.admin.list_topics(topic, timeout=30).topics[topic].partitions.get(partition)
        return -1 if found is None else int(found.leader)

    def tool(self, main_class: str, *arguments: str) -> str:
        """Runs one of Kafka's own tools on the DIRECT listeners; returns what it printed."""
        command = [*self._java, f"-Dingestd.test.log={self.folder}/tools.log", main_class]
        outcome = subprocess.run(
            [*command, "--bootstrap-server", self.direct, *arguments], capture_output=True, text=True, check=False
        )
        if outcome.returncode != 0:
            raise ClusterError(f"{main_class} ended with {outcome.returncode}\n{outcome.stdout}{outcome.stderr}")
        return outcome.stdout

    @property
    def controller(self) -> int:
        """Node number of the active controller."""
        status = self.tool("org.apache.kafka.tools.MetadataQuorumCommand", "describe", "--status")
        return int(next(line.split()[-1] for line in status.splitlines() if line.startswith("LeaderId")))

    def configure_topic(self, name: str, **settings: str) -> None:
        """Sets dynamic topic settings; underscores in the names stand for dots."""
        self._configure(ResourceType.TOPIC, name, settings)

    def configure_brokers(self, **settings: str) -> None:
        """Sets dynamic broker settings on every node; underscores in the names stand for dots."""
        for node in self.nodes:
            self._configure(ResourceType.BROKER, str(node.number), settings)

    def _configure(self, kind: ResourceType, name: str, settings: Mapping[str, str]) -> None:
        entries = [
            ConfigEntry(setting.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for setting, value in settings.items()
        ]
        resource = ConfigResource(kind, name, incremental_configs=entries)
        self.admin.incremental_alter_configs([resource])[resource].result(30)

    def report(self) -> str:
        """The last lines of every node's log."""
        return "".join(node.report() for node in self.nodes)


def java_command(heap_mib: int, quick: bool, release: Path = artifacts.HERE) -> list[str]:
    """``java`` with its options and class path; uses (and makes, once per machine) the archive of loaded classes."""
    quickly = ["-XX:TieredStopAtLevel=1"] if quick else []
    if release != artifacts.HERE:
        return [*_java(heap_mib, release), *quickly]
    archive = class_archive()
    return [*_java(heap_mib), *quickly, f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"]


def _java(heap_mib: int, release: Path = artifacts.HERE) -> list[str]:
    class_path = ":".join(str(jar) for jar in artifacts.jars(release))
    configuration = Path(__file__).with_name("log4j2.xml")
    options = [f"-Xmx{heap_mib}m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={configuration}"]
    return ["java", *options, "-cp", class_path]


def class_archive() -> Path:
    """A class-data archive (AppCDS) of a broker, which brings its start from more than two seconds to less than one.

    It is made by one start and stop of a node and kept beside the jars; a JVM that does not fit it ignores it.
    """
    version = subprocess.run(["java", "-version"], capture_output=True, check=True).stderr
    folder = artifacts.cache_folder()
    archive = folder.parent / f"{folder.name}-{uuid.uuid5(uuid.NAMESPACE_OID, version.decode()).hex[:12]}.jsa"
    if not archive.exists():
        with _trained(archive.with_suffix(f".{os.getpid()}")) as fresh:
            fresh.rename(archive)
    return archive


@contextmanager
def _trained(folder: Path) -> Iterator[Path]:
    """Runs a throw-away node whose JVM writes the archive at its end."""
    fresh = folder / "classes.jsa"
    client, controller = free_ports(2)
    properties = {
        **QUIET_PROPERTIES,
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(folder / "data"),
    }
    node = Node(1, folder, properties, client, [*_java(384), f"-XX:ArchiveClassesAtExit={fresh}"])
    try:
        node.begin_format("aW5nZXN0ZC10cmFpbmluZw")
        node.wait_formatted()
        fresh.unlink(missing_ok=True)
        node.start()
        node.stop()
        yield fresh
    finally:
        if node.running:
            node.kill()
        subprocess.run(["rm", "-rf", str(folder)], check=True)
