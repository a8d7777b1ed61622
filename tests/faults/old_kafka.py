"""A broker of the oldest Kafka that ingestd speaks to, with the ZooKeeper that it needs."""

import subprocess
import time
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.kafka import artifacts
from tests.kafka.cluster import QUIET_CLIENT, START_SECONDS_MAX, ClusterError
from tests.kafka.processes import free_ports, spawn, tail

LOG4J = """log4j.rootLogger=WARN, A
log4j.appender.A=org.apache.log4j.ConsoleAppender
log4j.appender.A.layout=org.apache.log4j.PatternLayout
log4j.appender.A.layout.ConversionPattern=%d %p %m (%c)%n
"""


class OldKafka:
    """One node. Start it once; a context manager."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.port, self._zookeeper_port = free_ports(2)
        self._processes: list[subprocess.Popen[bytes]] = []
        (folder / "log4j.properties").write_text(LOG4J)
        (folder / "zookeeper.properties").write_text(
            f"dataDir={folder}/zookeeper\nclientPort={self._zookeeper_port}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\n"
        )
        (folder / "server.properties").write_text(
            f"broker.id=1\nzookeeper.connect=127.0.0.1:{self._zookeeper_port}\nlog.dirs={folder}/data\n"
            f"listeners=PLAINTEXT://127.0.0.1:{self.port}\noffsets.topic.replication.factor=1\n"
            "auto.create.topics.enable=false\nzookeeper.connection.timeout.ms=30000\n"
        )

    @property
    def bootstrap(self) -> str:
        """``bootstrap.servers``."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> "OldKafka":
        class_path = ":".join(str(jar) for jar in artifacts.jars(artifacts.OLDEST))
        options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        java = ["java", *options, f"-Dlog4j.configuration=file:{self.folder}/log4j.properties", "-cp", class_path]
        for name, main_class, file in (
            ("zookeeper", "org.apache.zookeeper.server.quorum.QuorumPeerMain", "zookeeper.properties"),
            ("server", "kafka.Kafka", "server.properties"),
        ):
            output = self.folder / f"{name}.log"
            self._processes.append(spawn([*java, main_class, f"{self.folder}/{file}"], output=output))
        try:
            self._wait_ready()
        except ClusterError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    @property
    def admin(self) -> AdminClient:
        """A fresh admin client; keep it for as long as it works."""
        return AdminClient({**QUIET_CLIENT, "bootstrap.servers": self.bootstrap})

    def _wait_ready(self) -> None:
        admin = self.admin
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            try:
                if admin.list_topics(timeout=1).brokers:
                    return
            except KafkaException:
                time.sleep(0.1)
        raise ClusterError(f"the old broker did not serve\n{self.report()}")

    def create_topic(self, name: str, partitions: int) -> None:
        """Creates a topic and waits until it has leaders."""
        admin = self.admin
        admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
        while any(part.leader < 0 for part in admin.list_topics(name).topics[name].partitions.values()):
            time.sleep(0.05)

    def report(self) -> str:
        """The last lines of its log."""
        return tail(self.folder / "zookeeper.log", 10) + tail(self.folder / "server.log")
