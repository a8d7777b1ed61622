// Writes the keys on standard input to a topic with Kafka's own producer as it comes: the judge of where keys belong.
// Run as a single source file: java -cp <Kafka's jars> KeyWriter.java BOOTSTRAP TOPIC
// Input: per key its length (4 bytes, big-endian) and its bytes. The value of a record is its number, 4 bytes, from 0.

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.nio.ByteBuffer;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class KeyWriter {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        Throwable[] failed = new Throwable[1];
        DataInputStream input = new DataInputStream(new BufferedInputStream(System.in));
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int number = 0; ; number++) {
                int length;
                try {
                    length = input.readInt();
                } catch (EOFException end) {
                    break;
                }
                byte[] key = input.readNBytes(length);
                byte[] value = ByteBuffer.allocate(4).putInt(number).array();
                producer.send(new ProducerRecord<>(arguments[1], key, value), (metadata, error) -> {
                    if (error != null) failed[0] = error;
                });
            }
        }
        if (failed[0] != null) throw new RuntimeException(failed[0]);
    }
}
